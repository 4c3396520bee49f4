"""Sources for the report of missing values: tables, HDF5 maps, folders of maps, NetCDF, Zarr and stores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from hydromae.datasets.map_file import MapFile
from hydromae.datasets.map_files import MapSeries, map_files, named_files
from hydromae.errors import InputError
from hydromae.io.conventions import open_netcdf, to_daily
from hydromae.io.locate import one_of
from hydromae.io.long_table import LongTable
from hydromae.io.names import parse_column_name
from hydromae.io.seed_layout import CHUNK_DAYS, MAPS
from hydromae.io.table import open_zarr
from hydromae.io.table_keys import CATCHMENTS
from hydromae.io.unobserved import FILLED_SUFFIX, mark_columns, without_filled
from hydromae.preprocess.missing import Codes, VariableSource, codes_of
from hydromae.store.zarr_store import SHARD_DAYS, is_store, open_store

TABLES = (".parquet", ".pq", ".csv", ".csv.gz")


def list_variables(source: str | Path, variables: tuple[str, ...] = ()) -> list[VariableSource]:
    """Return the variables of a source, whose values are read lazily.

    Args:
        source: A long table (CSV, parquet), an HDF5 file of maps (merged or monthly), a folder of these, NetCDF, Zarr, or a
            store.
        variables: Selected names (columns of a table); default all.

    Raises:
        InputError: The source does not exist, has an unknown type or damage, or lacks a variable.
    """
    variables_found = _open_source(source)
    names = [variable_source.variable for variable_source in variables_found]
    unknown = [name for name in variables if name not in names]
    if unknown:
        raise InputError(f"{source}: no variable {unknown[0]} in it; it has {', '.join(names)}")
    return [
        variable_source for variable_source in variables_found if not variables or variable_source.variable in variables
    ]


def _open_source(source: str | Path) -> list[VariableSource]:
    name, path = str(source), Path(source)
    if is_store(source):
        return _of_dataset(open_store(source), name)
    if not path.exists():
        raise InputError(f"{source}: no such file or folder; check the path")
    if name.endswith(TABLES):
        return _of_table(LongTable.read(source))
    if name.endswith(".h5"):
        return [_of_files((MapFile.open(path, variable_of(path)),))]
    if name.endswith((".nc", ".nc4")):
        return _of_dataset(open_netcdf(source), name)
    if name.endswith(".zarr"):
        return _of_dataset(open_zarr(source), name)
    if path.is_dir():
        return _of_folder(path)
    raise InputError(f"{source}: unknown file type; give .csv, .parquet, .h5, .nc, .zarr or a folder")


def variable_of(path: Path) -> str:
    """Return the variable of an HDF5 file of maps from its name."""
    match = re.match(r"(precipitation|soil|temperature)", path.name)
    if match is None:
        raise InputError(f"{path}: its name begins with none of {', '.join(MAPS)}; rename it")
    return "soil_moisture" if match[1] == "soil" else match[1]


def _of_folder(folder: Path) -> list[VariableSource]:
    variables_found = [_of_files(map_files(folder, name)) for name in MAPS if any(named_files(folder, name))]
    table = one_of(folder, ("riverflow_evaporation_*.parquet", "*.parquet"))
    if table is not None:
        variables_found += _of_table(LongTable.read(table))
    if not variables_found:
        raise InputError(
            f"{folder}: no maps such as precipitation_1989_01.h5 and no parquet in it; name another folder"
        )
    return variables_found


def _of_table(table: LongTable) -> list[VariableSource]:
    def variable_source(column: str) -> VariableSource:
        def codes() -> Iterator[Codes]:
            yield codes_of(table.values(column), table.marks(column))

        return VariableSource(column, "series", table.catchments, table.days, codes)

    return [variable_source(column) for column in table.columns]


def _of_files(files: tuple[MapFile, ...]) -> VariableSource:
    """Return maps of HDF5 files on all days from the first to the last; a day without a map is missing everywhere."""
    shape = files[0].shape
    for file in files:
        if file.shape != shape:
            raise InputError(f"{file.path}: maps of another shape than {files[0].path.name}; report them separately")
    first, last = min(f.days[0] for f in files), max(f.days[-1] for f in files)
    maps = MapSeries.over(files, np.arange(first, last + 1))
    cells = shape[0] * shape[1]

    def codes() -> Iterator[Codes]:
        for run, file, begin in maps.runs(0, len(maps.days)):
            length = run.stop - run.start
            if file is None:
                for start_day in range(0, length, CHUNK_DAYS):
                    yield np.ones((min(CHUNK_DAYS, length - start_day), cells), np.uint8)
            else:
                for _, values in file.pieces(begin, begin + length):
                    yield codes_of(values.reshape(len(values), -1))

    return VariableSource(files[0].variable, "map", np.arange(cells), maps.days, codes)


def _of_dataset(dataset: xr.Dataset, source: str) -> list[VariableSource]:
    names = [str(n) for n in dataset.data_vars if parse_column_name(n) is not None and "time" in dataset[n].dims]
    if not names:
        raise InputError(f"{source}: no riverflow, precipitation, temperature or evaporation over time in it")
    marks = {f"{name}{FILLED_SUFFIX}": _marks(dataset, name, source) for name in names}
    record = to_daily(
        dataset[names].assign({name: is_marked for name, is_marked in marks.items() if is_marked is not None}), source
    )
    days = record["time"].values.astype("datetime64[D]")

    def variable_source(name: str) -> VariableSource:
        values = record[name].transpose("time", ...)
        site_dims = values.dims[1:]
        is_marked = (
            record[f"{name}{FILLED_SUFFIX}"].transpose(*values.dims) == 1
            if f"{name}{FILLED_SUFFIX}" in record
            else None
        )
        site_dim = str(site_dims[0]) if len(site_dims) == 1 and site_dims[0] in values.indexes else None
        sites = values[site_dim].values if site_dim else np.arange(int(np.prod(values.shape[1:])))

        def codes() -> Iterator[Codes]:
            for start in range(0, len(days), SHARD_DAYS):
                days_of_block = slice(start, start + SHARD_DAYS)
                block = values[days_of_block].values
                filled = None if is_marked is None else is_marked[days_of_block].values.reshape(len(block), -1)
                yield codes_of(block.reshape(len(block), -1).astype(np.float64), filled)

        series = any(dim in CATCHMENTS for dim in site_dims)
        return VariableSource(name, "series" if series else "map", sites, days, codes)

    return [variable_source(name) for name in names]


def _marks(dataset: xr.Dataset, name: str, source: str) -> xr.DataArray | None:
    """Return 1 where a mark variable shows a filled or predicted value; None without mark variables."""
    if not any(is_marked in dataset.variables for is_marked in mark_columns(name)):
        return None
    return (without_filled(dataset, name, source).isnull() & dataset[name].notnull()).astype(np.float32)
