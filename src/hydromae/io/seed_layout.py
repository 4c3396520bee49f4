"""Raw layout of the reference specification: names of files, and HDF5 files of maps.

A map file contains float32 `[row, column]` on the national grid, rows northward (row 0 is the southernmost), −99999 at sea
and for missing values, in mm/day, m³/m³ or °C.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from jaxtyping import Float, Float32, Shaped

from hydromae.io.atomic import HDF5Stream
from hydromae.variables import MODALITIES, VARIABLES

MISSING = -99999.0
"""Code for missing values."""
CHUNK_DAYS = 30
MAPS = tuple(name for name, modality in MODALITIES.items() if modality.kind == "map")
MASK = "gb_temp_valid_mask_290x180.pt"
ATTRIBUTES = "Catchment_attributes/Catchment_attributes_nrfa.csv"
FLOW_FROM = "1989-01-01"
"""First day of river flow."""

_GZIP = {"compression": "gzip", "compression_opts": 1, "fillvalue": np.float32(MISSING)}


@dataclass(frozen=True)
class Split:
    """Years of a merged file."""

    name: str
    first: int
    last: int

    def file(self, variable: str) -> str:
        """Return the name of the merged file; soil moisture of the validation years is called `soil`."""
        stem = "soil" if (variable, self.name) == ("soil_moisture", "val") else variable
        return f"{stem}_{self.name}_{self.first}_{self.last}.h5"

    def contains(self, days: Shaped[np.ndarray, " T"]) -> Shaped[np.ndarray, " T"]:
        """Return True for days in its years."""
        return (days >= np.datetime64(f"{self.first}-01-01")) & (days <= np.datetime64(f"{self.last}-12-31"))


SPLITS = (Split("train", 1970, 2010), Split("train", 1989, 2010), Split("val", 2011, 2015))


def monthly_file(variable: str, month: str) -> str:
    """Return the path of a month (`YYYY-MM`) inside the folder."""
    return f"{variable}_processed/{variable}_{month.replace('-', '_')}.h5"


def flow_file(catchments: int) -> str:
    """Return the name of the table of evaporation and river flow."""
    return f"riverflow_evaporation_{catchments}catchments_1970_2015.parquet"


def _described(dataset: h5py.Dataset, units: str) -> None:
    dataset.attrs["units"] = units
    dataset.attrs["rows"] = "northward: row 0 is the southernmost"


class MergedFile:
    """Writer of a merged file with `data[days, rows, columns]` and `dates`, in chunks of 30 days.

    Args:
        path: The file.
        units: Units of the values.
        days (array (T,)): All days of the file, ascending.
        shape (int, int): Rows and columns.
    """

    def __init__(self, path: str | Path, units: str, days: Shaped[np.ndarray, " T"], shape: tuple[int, int]):
        self._stream = HDF5Stream(Path(path))
        self._file = h5py.File(self._stream, "w")
        self._file.create_dataset("dates", data=np.datetime_as_string(days, "D").astype("S10"))
        chunk = (min(CHUNK_DAYS, len(days)), *shape)
        self._data = self._file.create_dataset("data", (len(days), *shape), np.float32, chunks=chunk, **_GZIP)
        _described(self._data, units)
        self._pending = np.empty(chunk, np.float32)
        self._written, self._pending_count = 0, 0

    def append(self, maps: Float32[np.ndarray, "T rows columns"]) -> None:
        """Append the maps of the next days."""
        while len(maps):
            count = min(len(maps), len(self._pending) - self._pending_count)
            self._pending[self._pending_count : self._pending_count + count] = maps[:count]
            self._pending_count += count
            maps = maps[count:]
            if self._pending_count == len(self._pending):
                self._flush()

    def _flush(self) -> None:
        self._data[self._written : self._written + self._pending_count] = self._pending[: self._pending_count]
        self._stream.check()
        self._written, self._pending_count = self._written + self._pending_count, 0

    def __enter__(self) -> MergedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._stream, self._file:
            if kind is None:
                self._flush()
                if self._written != len(self._data):
                    raise ValueError(f"{self._written} of {len(self._data)} days were appended")


def write_months(
    folder: Path, variable: str, days: Shaped[np.ndarray, " T"], maps: Float32[np.ndarray, "T rows columns"]
) -> None:
    """Add days to the monthly files of a variable, one dataset `YYYY-MM-DD` per day."""
    keys = np.datetime_as_string(days, "D")
    months = np.datetime_as_string(days, "M")
    for month in np.unique(months):
        path = folder / monthly_file(variable, str(month))
        path.parent.mkdir(parents=True, exist_ok=True)
        is_present = path.exists()
        with HDF5Stream(path) as stream, h5py.File(stream, "r+" if is_present else "w") as file:
            for index in np.flatnonzero(months == month):
                day = file.create_dataset(str(keys[index]), data=maps[index], chunks=maps.shape[1:], **_GZIP)
                _described(day, VARIABLES[variable].units)


def to_grid(
    values: Float[np.ndarray, "T N"], cell: Shaped[np.ndarray, " N"], shape: tuple[int, int]
) -> Float32[np.ndarray, "T rows columns"]:
    """Return values of land cells on the whole grid, −99999 elsewhere and for values that are not finite."""
    grid_values = np.full((len(values), shape[0] * shape[1]), MISSING, np.float32)
    grid_values[:, cell] = np.where(np.isfinite(values), values, MISSING)
    return grid_values.reshape(len(values), *shape)
