"""Folders of downloads: detect the product and read its record."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import xarray as xr

from hydromae.datasets.gauges import Gauge, Product, choose_series, concat_gauges
from hydromae.datasets.gridded import GridFile
from hydromae.errors import InputError
from hydromae.io import table
from hydromae.io.atomic import sha256
from hydromae.io.locate import SYNTHETIC_MARKER, files_in
from hydromae.io.names import shortened
from hydromae.progress import track
from hydromae.variables import ATTRIBUTES, MODALITIES

WEATHER = tuple(variable.name for variable in MODALITIES["weather"].variables)
MAX_SAMPLED_FILES = 10
"""Maximum number of files that are opened to describe a folder."""
COPY_SUFFIX = re.compile(r" \(\d+\)$| - Copy$")
"""Suffixes that browsers and desktops add to copies of a file."""


@dataclass(frozen=True)
class ProductFiles:
    """Files of a product in a folder.

    Attributes:
        files: Files that are read.
        duplicates: Files with the same content: copies, and CSV of Caravan beside NetCDF.
        other_files: All other files of the folder.
    """

    product: Product
    folder: Path
    files: tuple[Path, ...]
    duplicates: tuple[Path, ...] = ()
    other_files: tuple[Path, ...] = ()

    @cached_property
    def static_attributes(self) -> xr.Dataset | None:
        """Return the attributes of the tables of the product."""
        return self.product.static_attributes(self.folder)

    @property
    def credit(self) -> str:
        """Return the credit of the product, or of synthetic data in its layout (`hydromae virtual`)."""
        marker = self.folder / SYNTHETIC_MARKER
        return marker.read_text(encoding="utf-8", errors="replace")[:200] if marker.is_file() else self.product.source

    def plan(self, maps: Mapping[str, Iterable[GridFile]] = MappingProxyType({})) -> list[str]:
        """Return lines on what will be read and what is missing, from a sample of files and the tables of attributes.

        `maps` are the maps of the folder by variable.
        """
        gauges, table_attributes = (
            [self.product.open(file) for file in self.files[:MAX_SAMPLED_FILES]],
            self.static_attributes,
        )
        choices = self.product.columns
        columns_used = {
            variable: self._used(gauges, choices.get(variable, ()))
            for variable in dict.fromkeys((*WEATHER, "riverflow", *choices))
        }
        static_attributes = {attribute_name for gauge in gauges for attribute_name in gauge.static_attributes}
        if table_attributes is not None:
            static_attributes |= {
                str(name) for name in table_attributes.variables if table_attributes[name].notnull().any()
            }
        missing_names = [name for name, columns in columns_used.items() if not columns and name not in maps]
        missing_names += [attribute.name for attribute in ATTRIBUTES if attribute.name not in static_attributes]
        sources = ", ".join(f"{name} ({columns})" for name, columns in columns_used.items() if columns)
        tables = [file for file in self.other_files if self.product.is_table(file)]
        unread = sorted({*self.other_files} - {*tables} - {file.path for files in maps.values() for file in files})
        return [
            f"{self.folder}: {self.product.name}, {len(self.files)} files of series; {self.credit}",
            f"uses {sources or 'nothing'}",
            *([f"attributes from {self._listed(tables)}"] if tables else []),
            *([f"missing: {', '.join(missing_names)}"] if missing_names else []),
            *(
                [f"duplicates, read once: {len(self.duplicates)} files: {self._listed(self.duplicates)}"]
                if self.duplicates
                else []
            ),
            *([f"not read: {len(unread)} files: {self._listed(unread)}"] if unread else []),
        ]

    def _used(self, gauges: list[Gauge], choices: tuple[tuple[str, str], ...]) -> str:
        """Return the columns that some gauges are read from, the best first."""
        chosen = {choose_series(gauge.series, choices) for gauge in gauges}
        return ", else ".join(column for column, _ in choices if column in chosen)

    def _listed(self, files: Iterable[Path]) -> str:
        return shortened((file.relative_to(self.folder) for file in files), MAX_SAMPLED_FILES)

    def read(self, attributes: xr.Dataset | None = None) -> xr.Dataset:
        """Read the record of all files; `attributes` replace those of the product."""
        return self.read_with_raw(attributes)[0]

    def read_with_raw(self, attributes: xr.Dataset | None = None) -> tuple[xr.Dataset, xr.Dataset]:
        """Read the record, and the series in their own units.

        Raises:
            InputError: An invalid file, a duplicate day of a gauge, or missing units or areas.
        """
        gauges_by_name: dict[int | str, list[Gauge]] = {}
        for file in track(self.files, "files read", len(self.files)):
            gauge = self.product.open(file)
            gauges_by_name.setdefault(gauge.name, []).append(gauge)
        if len({type(name) for name in gauges_by_name}) > 1:
            raise InputError(f"{self.folder}: some of its gauges have numbers, others text; keep one kind of them")
        table_attributes = attributes if attributes is not None else self.static_attributes
        raw = concat_gauges(gauges_by_name, self.product, str(self.folder)).assign_attrs(
            source=f"{self.product.name}: {self.credit}"
        )
        return table.from_dataset(raw, table_attributes, str(self.folder)), raw


def find_product(folder: Path, products: Iterable[Product]) -> ProductFiles | None:
    """Return the only product with files below a folder, or None.

    Raises:
        InputError: Files of two products.
    """
    files = files_in(folder)
    folders = []
    for product in products:
        matching = [file for file in files if product.is_product_file(file)]
        if matching:
            unique, duplicates = _without_copies(matching)
            folders.append(ProductFiles(product, folder, unique, duplicates, tuple(sorted(set(files) - set(matching)))))
    if len(folders) > 1:
        products_text = " and of ".join(f"{one.product.name} (in {_common_path(one.files)})" for one in folders)
        raise InputError(f"{folder}: has files of {products_text}; name the folder of one of them")
    return folders[0] if folders else None


def _common_path(files: tuple[Path, ...]) -> str:
    """Return the common folder of some files, or the only file."""
    return os.path.commonpath(files)


def _without_copies(files: list[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return files and their duplicates: the same bytes under the same name, or CSV of a NetCDF file."""
    by_stem: dict[str, list[Path]] = {}
    for file in files:
        by_stem.setdefault(COPY_SUFFIX.sub("", file.stem), []).append(file)
    unique_files, duplicates = [], []
    for group in by_stem.values():
        binary = [file for file in group if file.suffix == ".nc"]
        repeated = [file for file in group if binary and file not in binary]
        marks: set[tuple[str, str]] = set()
        for file in binary or group:
            marker = (file.suffix, sha256(file)) if len(binary or group) > 1 else ("", "")
            (repeated if marker in marks else unique_files).append(file)
            marks.add(marker)
        duplicates += repeated
    return tuple(sorted(unique_files)), tuple(sorted(duplicates))
