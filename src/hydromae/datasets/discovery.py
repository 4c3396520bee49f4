"""Folders as they were downloaded: which product lies in one, what of it is read, and a record of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import xarray as xr

from hydromae.datasets.gauges import Gauge, Product, chosen_series, side_by_side
from hydromae.errors import InputError
from hydromae.io import table
from hydromae.io.atomic import sha256
from hydromae.io.locate import INVENTED, files_in
from hydromae.progress import counted
from hydromae.variables import ATTRIBUTES, MODALITIES

WEATHER = tuple(variable.name for variable in MODALITIES["weather"].variables)
SAMPLED = 10
"""Files that are opened to say what a folder holds."""
COPIED = re.compile(r" \(\d+\)$| - Copy$")
"""What browsers and desktops add to the name of a file that they write again."""


@dataclass(frozen=True)
class Found:
    """Files of a product in a folder.

    Attributes:
        files: What is read.
        twice: What holds the same as one of these: copies, and Caravan's CSV beside its NetCDF.
        others: All other files of the folder.
    """

    product: Product
    folder: Path
    files: tuple[Path, ...]
    twice: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()

    @cached_property
    def traits(self) -> xr.Dataset | None:
        """Attributes from the product's own tables."""
        return self.product.traits(self.folder)

    @property
    def whose(self) -> str:
        """Whose data these are: the product's, unless `hydromae virtual` invented them in its layout."""
        mark = self.folder / INVENTED
        return mark.read_text(encoding="utf-8", errors="replace")[:200] if mark.is_file() else self.product.source

    def plan(self, maps: Iterable[Path] = ()) -> list[str]:
        """What will be read and what is missing, in lines; from a few files and the tables of traits.

        `maps` are files of the folder that will be read as maps.
        """
        gauges, known = [self.product.open(file) for file in self.files[:SAMPLED]], self.traits
        choices = self.product.columns
        used = {
            variable: self._used(gauges, choices.get(variable, ()))
            for variable in dict.fromkeys((*WEATHER, "riverflow", *choices))
        }
        traits = {trait for gauge in gauges for trait in gauge.traits}
        if known is not None:
            traits |= {str(name) for name in known.variables if known[name].notnull().any()}
        lacking = [name for name, columns in used.items() if not columns]
        lacking += [attribute.name for attribute in ATTRIBUTES if attribute.name not in traits]
        sources = ", ".join(f"{name} ({columns})" for name, columns in used.items() if columns)
        tables = [file for file in self.others if self.product.is_table(file)]
        rest = sorted({*self.others} - {*tables} - {*maps})
        return [
            f"{self.folder}: {self.product.name}, {len(self.files)} files of series; {self.whose}",
            f"uses {sources or 'nothing'}",
            *([f"attributes from {self._listed(tables)}"] if tables else []),
            *([f"missing: {', '.join(lacking)}"] if lacking else []),
            *([f"held twice, read once: {len(self.twice)} files: {self._listed(self.twice)}"] if self.twice else []),
            *([f"not read: {len(rest)} files: {self._listed(rest)}"] if rest else []),
        ]

    def _used(self, gauges: list[Gauge], choices: tuple[tuple[str, str], ...]) -> str:
        """Series that some gauges are read from, the best one first."""
        chosen = {chosen_series(gauge.series, choices) for gauge in gauges}
        return ", else ".join(column for column, _ in choices if column in chosen)

    def _listed(self, files: Iterable[Path]) -> str:
        names = [str(file.relative_to(self.folder)) for file in files]
        return ", ".join(names[:SAMPLED]) + (", …" if len(names) > SAMPLED else "")

    def read(self, attributes: xr.Dataset | None = None) -> xr.Dataset:
        """A water record of all files; `attributes` take the place of the product's own."""
        return self.read_with_raw(attributes)[0]

    def read_with_raw(self, attributes: xr.Dataset | None = None) -> tuple[xr.Dataset, xr.Dataset]:
        """The record, and the series as they stand in the files, in their own units.

        Raises:
            InputError: A file that is not what its name says, a day that a gauge has twice, units or areas that are missing.
        """
        held: dict[int | str, list[Gauge]] = {}
        for file in counted(self.files, "files read", len(self.files)):
            gauge = self.product.open(file)
            held.setdefault(gauge.name, []).append(gauge)
        if len({type(name) for name in held}) > 1:
            raise InputError(f"{self.folder}: some of its gauges have numbers, others text; keep one kind of them")
        known = attributes if attributes is not None else self.traits
        raw = side_by_side(held, self.product, str(self.folder)).assign_attrs(
            source=f"{self.product.name}: {self.whose}"
        )
        return table.from_dataset(raw, known, str(self.folder)), raw


def find(folder: Path, products: Iterable[Product]) -> Found | None:
    """The one product that a folder holds files of, however deep; None where it holds none.

    Raises:
        InputError: It holds files of two.
    """
    files = files_in(folder)
    found = []
    for product in products:
        mine = [file for file in files if product.is_one(file)]
        if mine:
            read, twice = _once(mine)
            found.append(Found(product, folder, read, twice, tuple(sorted(set(files) - set(mine)))))
    if len(found) > 1:
        told = " and of ".join(f"{one.product.name} (in {_place(one.files)})" for one in found)
        raise InputError(f"{folder}: holds files of {told}; name the folder of one of them")
    return found[0] if found else None


def _place(files: tuple[Path, ...]) -> str:
    """The folder of some files, or the one file."""
    return os.path.commonpath(files)


def _once(files: list[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Files, and those that hold the same as one of them: the same bytes under the same name, or CSV of a NetCDF file."""
    alike: dict[str, list[Path]] = {}
    for file in files:
        alike.setdefault(COPIED.sub("", file.stem), []).append(file)
    kept, twice = [], []
    for group in alike.values():
        binary = [file for file in group if file.suffix == ".nc"]
        left = [file for file in group if binary and file not in binary]
        seen: set[tuple[str, str]] = set()
        for file in binary or group:
            mark = (file.suffix, sha256(file)) if len(binary or group) > 1 else ("", "")
            (left if mark in seen else kept).append(file)
            seen.add(mark)
        twice += left
    return tuple(sorted(kept)), tuple(sorted(twice))
