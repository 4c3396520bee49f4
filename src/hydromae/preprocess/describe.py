"""Descriptions of sources for `prepare`: content and gaps of a record, and folders without a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from hydromae.datasets import haduk
from hydromae.datasets.discovery import WEATHER
from hydromae.datasets.gridded import GridFile, find_maps, product_of_file
from hydromae.errors import InputError
from hydromae.io import attributes as nrfa
from hydromae.io.conventions import catchment_positions, open_netcdf, variables_in_file
from hydromae.io.locate import files_in
from hydromae.variables import ATTRIBUTES, VARIABLES

PACKED_SUFFIXES = (".zip", ".gz", ".tar", ".tgz", ".7z")
GAUGES = "put files of CAMELS-GB, Caravan or the NRFA beside them (hydromae fetch --help)"


def record_lines(record: xr.Dataset, source: str | Path) -> list[str]:
    """Return lines on the variables and attributes that a record has and lacks."""
    days = record.indexes["time"]
    variables = [str(name) for name in record.data_vars if name in VARIABLES]
    is_known = {a.name for a in ATTRIBUTES if a.name in record.variables and bool(record[a.name].notnull().any())}
    lacking = [name for name in (*WEATHER, "riverflow") if name not in variables]
    lacking += [attribute.name for attribute in ATTRIBUTES if attribute.name not in is_known]
    catchment_count = record.sizes["catchment"] if "catchment" in record.dims else 0
    return [
        f"{source}: {catchment_count} catchments, {days[0]:%Y-%m-%d} … {days[-1]:%Y-%m-%d}",
        f"uses {', '.join(variables) or 'nothing'}",
        *([f"missing: {', '.join(lacking)}"] if lacking else []),
    ]


def unmatched_lines(record: xr.Dataset, attributes: str | Path | None) -> list[str]:
    """Return a line on catchments of a record that are missing in a table of attributes, if any."""
    if attributes is None or "catchment" not in record.indexes:
        return []
    is_known = nrfa.read_attribute_table(attributes).indexes["catchment"]
    index = record.indexes["catchment"]
    is_matched = nrfa.match_catchments(index, is_known).isin(is_known)
    if is_matched.all():
        return []
    return [
        f"{attributes}: has {is_matched.sum()} of the {len(index)} catchments; the first it lacks is {index[~is_matched][0]}"
    ]


def check_positions(
    record: xr.Dataset, source: str | Path, attributes: str | Path | None, progress: Callable[[str], None]
) -> None:
    """Report the catchments that the table of attributes lacks; refuse a record that has a catchment without position."""
    for line in unmatched_lines(record, attributes):
        progress(line)
    catchment_positions(record, source)


def check_gauges_beside_maps(folder: Path, has_record: bool) -> None:
    """Raise InputError if a folder has NetCDF maps of a known product but no record."""
    files = [] if has_record else files_in(folder, ".nc")
    if not files or any(product_of_file(variables_in_file(file)) is None for file in files):
        return
    if any(True for ending in ("*.csv", "*.parquet", "*.zarr") for _ in folder.glob(ending)):
        return
    maps = find_maps(folder)
    raise InputError(no_record_message(folder, maps) if maps else _months(folder, files))


def no_record_message(folder: Path, maps: Mapping[str, tuple[GridFile, ...]]) -> str:
    """Return the message for a folder without a record."""
    if maps:
        product: Any = {file.product for files in maps.values() for file in files}
        detail = f"{' and '.join(sorted(product))}: {', '.join(maps)}"
        return f"{folder}: has daily maps ({detail}), but no gauges; {GAUGES}"
    packed = [file.name for file in files_in(folder, *PACKED_SUFFIXES)]
    detail = f" ({packed[0]} is packed: unpack it)" if packed else ""
    return (
        f"{folder}: no record in this folder{detail}; give a .nc, .zarr, .parquet or .csv file, or files as downloaded"
    )


def _months(folder: Path, files: list[Path]) -> str:
    with open_netcdf(files[0], whole=False) as raw:
        content = haduk.stored_step(raw, files[0])
    return f"{folder}: {files[0].name} has {content}; download daily maps, and {GAUGES}"
