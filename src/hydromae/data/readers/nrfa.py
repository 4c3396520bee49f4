"""The NRFA catalogue: static attributes of catchments, from CSV.

Source: UK National River Flow Archive, https://nrfa.ceh.ac.uk, Open Government Licence.
"""

from __future__ import annotations

import datetime
import gzip
import io
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.data.readers.record import check_attribute, describe, positions, site_names
from hydromae.data.readers.unobserved import is_code, marked
from hydromae.errors import InputError, first_line
from hydromae.modalities import ATTRIBUTES

NAMES = tuple(a.name for a in ATTRIBUTES)
ODD = (bool, bytes, list, dict, np.ndarray, datetime.date, datetime.time, datetime.timedelta)
"""What a column may hold that pandas would take for numbers, or stumble over."""
UNREADABLE = (
    pd.errors.ParserError,
    pd.errors.EmptyDataError,
    ValueError,
    OSError,
    EOFError,
    OverflowError,
    zlib.error,
)
"""What pandas and gzip raise on a file that is no CSV."""
EMPTY = frozenset(
    ["", "-", "--", "---", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "none", "m", "missing"]
)
"""Text that says nothing was measured, in any case."""
MOST_PACKED, LEAST_UNPACKED = 200, 2**26
BRITISH = "camelsgb_"
"""What stands before the NRFA's number in Caravan's names of British gauges."""
COORDINATES = ("easting", "northing", "centroid-easting", "centroid-northing")


def read(path: str | Path) -> xr.Dataset:
    """Attributes of catchments from a CSV with the NRFA names.

    Parameters
    ----------
    path : path
        CSV with a column `id` (or `catchment`, `gauge_id`) and the 11 columns of `modalities.ATTRIBUTES`; columns
        `easting`, `northing`, `centroid-easting`, `centroid-northing` [m] and `name` are read where they are there.

    Returns
    -------
    Dataset
        `(catchment)` variables under the NRFA names, float64, NaN = unknown; coordinates `easting`, `northing` [m]
        (from latitude and longitude where absent), `centroid_easting`, `centroid_northing` [m] and `name`.

    Raises
    ------
    InputError
        No such file, no CSV, a column that is missing, text where a number belongs, or a catchment that comes twice.
    """
    table = read_csv(path)
    key = next((c for c in ("id", "catchment", "gauge_id", "ID") if c in table.columns), None)
    if key is None:
        raise InputError(f"{path}: no column id; add one with the catchment number (columns are {_listed(table)})")
    lacking = [name for name in NAMES if name not in table.columns]
    if lacking:
        raise InputError(f"{path}: no column {', '.join(lacking)}; add it, empty where unknown, under the NRFA names")
    table[key] = site_names(table[key].to_numpy(), str(path))
    twice = table[key].duplicated().to_numpy()
    if twice.any():
        raise InputError(f"{path}: catchment {table[key].to_numpy()[twice][0]} comes twice; keep one row")
    table = table.set_index(key)
    present = [c for c in COORDINATES if c in table.columns]
    columns = {name: numeric(table, name, path) for name in (*NAMES, *present)}
    for name, values in columns.items():
        check_attribute(name, values, table.index.to_numpy(), str(path))
    dataset = xr.Dataset({name: ("catchment", columns[name]) for name in NAMES}, {"catchment": table.index.to_numpy()})
    coords = {name.replace("-", "_"): ("catchment", columns[name]) for name in present}
    dataset = dataset.assign_coords(coords)
    if "name" in table.columns:
        dataset = dataset.assign_coords(name=("catchment", table["name"].astype(str).to_numpy(dtype=str)))
    for name in ("centroid_easting", "centroid_northing"):
        if name in dataset.coords:
            dataset[name].attrs |= {"units": "m", "long_name": name.replace("_", " of the catchment: ")}
    dataset["catchment"].attrs["long_name"] = "NRFA station number"
    return describe(positions(dataset))


def of_frame(table: pd.DataFrame, where: str = "the attributes") -> xr.Dataset:
    """Attributes from a table in memory with catchments as its index: columns under the NRFA names, any of them.

    Raises
    ------
    InputError
        None of the names, a catchment that comes twice, or a value that is none.
    """
    columns = [name for name in (*NAMES, *COORDINATES) if name in table.columns]
    if not columns:
        raise InputError(f"{where}: no column of an attribute in it (it has {_listed(table)}); name one latitude")
    names = site_names(table.index.to_numpy(), where)
    if len(set(names.tolist())) < len(names):
        raise InputError(f"{where}: a catchment comes twice in its index; keep one row")
    degrees = ("latitude", "longitude") if "easting" in columns else ()  # these follow from easting and northing
    held = {name: np.full(len(table), np.nan) for name in NAMES if name not in degrees}
    held |= {name: numeric(table, name, where) for name in columns}
    for name, values in held.items():
        check_attribute(name, values, names, where)
    spelled = {name if name in NAMES else name.replace("-", "_"): ("catchment", v) for name, v in held.items()}
    return describe(positions(xr.Dataset(spelled, {"catchment": names})))


def read_csv(path: str | Path) -> pd.DataFrame:
    """A CSV (or .csv.gz) file as a table, or one line that says why it is not one."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        with _unpacked(Path(path)) as stream, warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            header = pd.read_csv(stream, header=None, nrows=1, dtype=str, index_col=False)
            stream.seek(0)
            table = pd.read_csv(stream, index_col=False, low_memory=False)
    except (*UNREADABLE, pd.errors.ParserWarning) as error:
        if _has_semicolons(Path(path)):
            raise InputError(_SEMICOLONS.format(path)) from error
        raise InputError(f"{path}: not a readable CSV file ({first_line(error)}); give a CSV with a header") from error
    if header.shape[1] == 1 and ";" in str(header.iloc[0, 0]):
        raise InputError(_SEMICOLONS.format(path))
    names = header.iloc[0].dropna()
    if names.duplicated().any():
        raise InputError(f"{path}: two columns are named {names[names.duplicated()].iloc[0]!r}; keep one")
    return table


_SEMICOLONS = (
    "{}: has semicolons between its columns; save it with commas and decimal points, or hand over in Python what "
    "pandas.read_csv(FILE, sep=';', decimal=',') gives"
)


def _has_semicolons(path: Path) -> bool:
    """Whether the first line of a plain file has semicolons and no comma."""
    with path.open("rb") as file:
        first = file.readline(4000)
    return b";" in first and b"," not in first


def _unpacked(path: Path) -> io.BufferedIOBase:
    """The bytes of a file, unpacked where its name ends in .gz; one that grows out of proportion is refused."""
    if path.suffix != ".gz":
        return path.open("rb")
    bound = max(LEAST_UNPACKED, MOST_PACKED * path.stat().st_size)
    with gzip.open(path) as stream:
        data = stream.read(bound + 1)
    if len(data) > bound:
        raise InputError(f"{path}: unpacks to more than {bound} bytes, {MOST_PACKED} times its size; write it again")
    return io.BytesIO(data)


def numeric(table: pd.DataFrame, name: str, where: str | Path) -> np.ndarray:
    """A column as float64 with NaN for empty, for codes and for what is marked as filled; text is refused by name."""
    values = numbers(table, name, where)
    return np.where(is_code(values) | marked(table, name, where), np.nan, values)


def numbers(table: pd.DataFrame, name: str, where: str | Path) -> np.ndarray:
    """A column as float64 as it stands, NaN where it is empty; text is refused by name."""
    held = table[name].to_numpy()
    if held.dtype.kind not in "iufOUT" or any(isinstance(one, ODD) for one in (held if held.dtype.kind == "O" else ())):
        raise InputError(f"{where}: {name} holds {table[name].dtype}; write numbers, or leave it empty")
    try:
        with np.errstate(invalid="ignore"):  # a NaN of another pattern of bits
            values = np.asarray(pd.to_numeric(table[name], errors="coerce"), np.float64)
    except OverflowError:
        raise InputError(
            f"{where}: {name} holds a number of hundreds of digits; correct it, or leave it empty"
        ) from None
    wrong = np.isnan(values) & ~pd.isna(held)
    wrong[wrong] = [not (isinstance(one, str) and one.strip().lower() in EMPTY) for one in held[wrong]]
    if wrong.any():
        raise InputError(f"{where}: {name} holds {held[wrong][0]!r}; write a number, or leave it empty")
    return values


def _listed(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.columns[:8]))


def keys_of(catchments: pd.Index, known: pd.Index) -> pd.Index:
    """Names of catchments as a table has them: `camelsgb_1001` of Caravan is 1001 where the table has that number alone.

    Examples
    --------
    >>> keys_of(pd.Index(["camelsgb_1001", "camelsgb_9", "lamah_1001"]), pd.Index([1001, 2001])).tolist()
    [1001, 'camelsgb_9', 'lamah_1001']
    """
    if catchments.isin(known).all():
        return catchments
    told = {str(name): name for name in known}
    keys = [name if str(name) in told else str(name).removeprefix(BRITISH) for name in catchments]
    return pd.Index([told.get(str(key), name) for key, name in zip(keys, catchments, strict=True)])


def with_attributes(record: xr.Dataset, attributes: xr.Dataset, where: str) -> xr.Dataset:
    """The record with the attributes of its catchments (`keys_of`); a catchment that the table lacks has NaN.

    Raises
    ------
    InputError
        None of the record's catchments is in the table.
    """
    if "catchment" not in record.indexes:
        raise InputError(f"{where}: there are no catchments in it that could have attributes")
    index = record.indexes["catchment"]
    keys = keys_of(index, attributes.indexes["catchment"])
    if not keys.isin(attributes.indexes["catchment"]).any():
        raise InputError(
            f"{where}: none of its {len(index)} catchments (first: {index[0]}) is in the attributes table; "
            "use the same catchment numbers in both"
        )
    names = attributes["name"].to_series().reindex(keys).fillna("") if "name" in attributes.coords else None
    rows = attributes.drop_vars("name", errors="ignore").reindex(catchment=keys)
    rows = rows.drop_vars("catchment").assign_coords(catchment=record["catchment"])
    merged = record.drop_vars([n for n in rows.variables if n in record.variables and n != "catchment"]).merge(
        rows, combine_attrs="override"
    )
    if names is not None:
        merged = merged.assign_coords(name=("catchment", names.to_numpy(dtype=str)))
    return merged
