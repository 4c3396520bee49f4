"""Where missing values are looked for: tables, HDF5 maps, folders of them, NetCDF, Zarr and stores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from hydromae.datasets.map_file import MapFile
from hydromae.datasets.map_files import Maps, map_files, named_files
from hydromae.errors import InputError
from hydromae.io.conventions import daily, open_file
from hydromae.io.locate import one_of
from hydromae.io.long_table import LongTable
from hydromae.io.names import named
from hydromae.io.seed_layout import CHUNK_DAYS, MAPS
from hydromae.io.table import open_zarr
from hydromae.io.table_keys import CATCHMENTS
from hydromae.io.unobserved import FILLED, marks_of, unmarked
from hydromae.preprocess.missing import Codes, Held, codes_of
from hydromae.store.zarr_store import SHARD_DAYS, is_store, open_store

TABLES = (".parquet", ".pq", ".csv", ".csv.gz")


def held_in(source: str | Path, variables: tuple[str, ...] = ()) -> list[Held]:
    """The variables of a source, whose values are read when they are walked.

    Args:
        source: A table in long form (CSV, parquet), an HDF5 file of maps (merged or a month), a folder of such files (the
            seed's, or one of its monthly folders), NetCDF, Zarr, or a store.
        variables: Names to keep; all where empty. A table's are those of its columns.

    Raises:
        InputError: Nothing is there, it is of no known kind or damaged, or it has no such variable.
    """
    found = _held(source)
    names = [held.variable for held in found]
    unknown = [name for name in variables if name not in names]
    if unknown:
        raise InputError(f"{source}: no variable {unknown[0]} in it; it has {', '.join(names)}")
    return [held for held in found if not variables or held.variable in variables]


def _held(source: str | Path) -> list[Held]:
    name, place = str(source), Path(source)
    if is_store(source):
        return _of_dataset(open_store(source), name)
    if not place.exists():
        raise InputError(f"{source}: no such file or folder; check the path")
    if name.endswith(TABLES):
        return _of_table(LongTable.read(source))
    if name.endswith(".h5"):
        return [_of_files((MapFile.open(place, variable_of(place)),))]
    if name.endswith((".nc", ".nc4")):
        return _of_dataset(open_file(source), name)
    if name.endswith(".zarr"):
        return _of_dataset(open_zarr(source), name)
    if place.is_dir():
        return _of_folder(place)
    raise InputError(f"{source}: this kind of file is not known; give .csv, .parquet, .h5, .nc, .zarr or a folder")


def variable_of(path: Path) -> str:
    """The variable of an HDF5 file of maps, told by its name."""
    match = re.match(r"(precipitation|soil|temperature)", path.name)
    if match is None:
        raise InputError(f"{path}: its name begins with none of {', '.join(MAPS)}; rename it")
    return "soil_moisture" if match[1] == "soil" else match[1]


def _of_folder(folder: Path) -> list[Held]:
    found = [_of_files(map_files(folder, name)) for name in MAPS if any(named_files(folder, name))]
    table = one_of(folder, ("riverflow_evaporation_*.parquet", "*.parquet"))
    if table is not None:
        found += _of_table(LongTable.read(table))
    if not found:
        raise InputError(
            f"{folder}: no maps such as precipitation_1989_01.h5 and no parquet in it; name another folder"
        )
    return found


def _of_table(table: LongTable) -> list[Held]:
    def held(column: str) -> Held:
        def codes() -> Iterator[Codes]:
            yield codes_of(table.values(column), table.marks(column))

        return Held(column, "series", table.catchments, table.days, codes)

    return [held(column) for column in table.columns]


def _of_files(files: tuple[MapFile, ...]) -> Held:
    """Maps of HDF5 files on every day from the first to the last; a day that none holds is missing everywhere."""
    shape = files[0].shape
    for file in files:
        if file.shape != shape:
            raise InputError(f"{file.path}: maps of another shape than {files[0].path.name}; look at them one by one")
    first, last = min(f.days[0] for f in files), max(f.days[-1] for f in files)
    maps = Maps.over(files, np.arange(first, last + 1))
    cells = shape[0] * shape[1]

    def codes() -> Iterator[Codes]:
        for run, file, begin in maps.runs(0, len(maps.days)):
            length = run.stop - run.start
            if file is None:
                for done in range(0, length, CHUNK_DAYS):
                    yield np.ones((min(CHUNK_DAYS, length - done), cells), np.uint8)
            else:
                for _, values in file.pieces(begin, begin + length):
                    yield codes_of(values.reshape(len(values), -1))

    return Held(files[0].variable, "map", np.arange(cells), maps.days, codes)


def _of_dataset(dataset: xr.Dataset, where: str) -> list[Held]:
    names = [str(n) for n in dataset.data_vars if named(n) is not None and "time" in dataset[n].dims]
    if not names:
        raise InputError(f"{where}: no riverflow, precipitation, temperature or evaporation over time in it")
    marks = {f"{name}{FILLED}": _marks(dataset, name, where) for name in names}
    record = daily(dataset[names].assign({name: mark for name, mark in marks.items() if mark is not None}), where)
    days = record["time"].values.astype("datetime64[D]")

    def held(name: str) -> Held:
        values = record[name].transpose("time", ...)
        places = values.dims[1:]
        mark = record[f"{name}{FILLED}"].transpose(*values.dims) == 1 if f"{name}{FILLED}" in record else None
        alone = str(places[0]) if len(places) == 1 and places[0] in values.indexes else None
        sites = values[alone].values if alone else np.arange(int(np.prod(values.shape[1:])))

        def codes() -> Iterator[Codes]:
            for start in range(0, len(days), SHARD_DAYS):
                days_of_block = slice(start, start + SHARD_DAYS)
                block = values[days_of_block].values
                filled = None if mark is None else mark[days_of_block].values.reshape(len(block), -1)
                yield codes_of(block.reshape(len(block), -1).astype(np.float64), filled)

        series = any(place in CATCHMENTS for place in places)
        return Held(name, "series" if series else "map", sites, days, codes)

    return [held(name) for name in names]


def _marks(dataset: xr.Dataset, name: str, where: str) -> xr.DataArray | None:
    """1 where a variable beside a variable says that its value was filled in or answered; None where there is no such one."""
    if not any(mark in dataset.variables for mark in marks_of(name)):
        return None
    return (unmarked(dataset, name, where).isnull() & dataset[name].notnull()).astype(np.float32)
