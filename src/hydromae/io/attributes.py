"""The NRFA catalogue: static attributes of catchments, from CSV.

Source: UK National River Flow Archive, https://nrfa.ceh.ac.uk, Open Government Licence.
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.attribute_ranges import check_attribute
from hydromae.io.conventions import STATIC, set_cf_attributes, site_names, static_attribute, with_positions
from hydromae.io.csv_parquet import read_csv, read_parquet
from hydromae.io.names import shortened
from hydromae.io.table_keys import CATCHMENTS, find_key, flat_frame
from hydromae.io.unobserved import is_filled, is_missing_code
from hydromae.variables import ATTRIBUTES

NAMES = tuple(a.name for a in ATTRIBUTES)
NON_NUMERIC_TYPES = (bool, bytes, list, dict, np.ndarray, datetime.date, datetime.time, datetime.timedelta)
"""Types that pandas would convert to numbers or fail on."""
EMPTY_TEXTS = frozenset(
    ["", "-", "--", "---", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "none", "m", "missing"]
)
"""Texts for a missing value, in lower case."""
CARAVAN_GB_PREFIX = "camelsgb_"
"""Prefix of the NRFA number in Caravan names of British gauges."""
COORDINATES = ("easting", "northing", "centroid-easting", "centroid-northing")


def read_attribute_table(path: str | Path) -> xr.Dataset:
    """Read static attributes from a CSV or parquet file with the NRFA names.

    Args:
        path: A table with a column `id` (`catchment`, `gauge_id`, `station`) and any of the 11 columns of
            `variables.ATTRIBUTES`; optional `easting`, `northing`, `centroid-easting`, `centroid-northing` [m] and `name`.

    Returns:
        Dataset: `(catchment)` variables under the NRFA names, float64, NaN = unknown; coordinates `easting`, `northing` [m]
            (from latitude and longitude if absent), `centroid_easting`, `centroid_northing` [m] and `name`.

    Raises:
        InputError: No such file, not a table, no attribute, text instead of a number, or a duplicate catchment.
    """
    is_parquet = str(path).endswith((".parquet", ".pq"))
    table = read_parquet(path) if is_parquet else read_csv(path)
    if find_key(flat_frame(table), CATCHMENTS) is None:
        raise InputError(
            f"{path}: no column id; add one with the catchment number (columns are {shortened(table.columns)})"
        )
    return attributes_from_frame(table, str(path))


def attributes_from_frame(table: pd.DataFrame, source: str = "the attributes") -> xr.Dataset:
    """Return attributes as `read` does from a table in memory, whose catchments are its index or a column.

    Raises:
        InputError: No attribute, a duplicate catchment, or an invalid value.
    """
    if isinstance(table.index, pd.RangeIndex) or table.index.names[0] in CATCHMENTS:
        flat = flat_frame(table, source)
        key = find_key(flat, CATCHMENTS)
        table = table if key is None else flat.set_index(key)
    table = _standard_names(table, source)
    columns = [name for name in (*NAMES, *COORDINATES) if name in table.columns]
    if not columns:
        raise InputError(
            f"{source}: no column of an attribute in it (it has {shortened(table.columns)}); name one latitude"
        )
    names = site_names(table.index.to_numpy(), source)
    duplicated = pd.Index(names).duplicated()
    if duplicated.any():
        raise InputError(f"{source}: catchment {names[duplicated][0]} occurs twice; keep one row")
    degrees = ("latitude", "longitude") if "easting" in columns else ()  # derived from easting and northing
    values_by_name = {name: np.full(len(table), np.nan) for name in NAMES if name not in degrees}
    values_by_name |= {name: numeric_column(table, name, source) for name in columns}
    for name, values in values_by_name.items():
        check_attribute(name, values, names, source)
    dataset = xr.Dataset({n: ("catchment", v) for n, v in values_by_name.items() if n in NAMES}, {"catchment": names})
    gauge_coordinates = {n.replace("-", "_"): ("catchment", v) for n, v in values_by_name.items() if n in COORDINATES}
    dataset = dataset.assign_coords(gauge_coordinates)
    if "name" in table.columns:
        dataset = dataset.assign_coords(name=("catchment", table["name"].astype(str).to_numpy(dtype=str)))
    for name in ("centroid_easting", "centroid_northing"):
        if name in dataset.coords:
            dataset[name].attrs |= {"units": "m", "long_name": name.replace("_", " of the catchment: ")}
    dataset["catchment"].attrs["long_name"] = "NRFA station number"
    return set_cf_attributes(with_positions(dataset))


def _standard_names(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Rename attributes to the NRFA names, whatever their capitals and separators (`catchment_area`)."""
    known = {*NAMES, *COORDINATES}
    normalized = {label: re.sub(r"[\s_.]+", "-", str(label).strip().casefold()) for label in table.columns}
    renames = {
        label: name for label, name in normalized.items() if name in known and (name == label or name not in normalized)
    }
    if len(set(renames.values())) < len(renames):
        duplicated = next(name for name in renames.values() if list(renames.values()).count(name) > 1)
        raise InputError(f"{source}: two columns are {duplicated}; keep one")
    return table.rename(columns=renames)


def numeric_column(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """Return a column as float64 with NaN for empty cells, codes for missing and marked values; refuse text."""
    values = parse_numbers(table, name, source)
    return np.where(is_missing_code(values) | is_filled(table, name, source), np.nan, values)


def parse_numbers(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """Return a column as float64 with NaN for empty cells; refuse text."""
    cells = table[name].to_numpy()
    if cells.dtype.kind not in "iufOUT" or any(
        isinstance(one, NON_NUMERIC_TYPES) for one in (cells if cells.dtype.kind == "O" else ())
    ):
        raise InputError(f"{source}: {name} holds {table[name].dtype}; write numbers, or leave it empty")
    try:
        with np.errstate(invalid="ignore"):  # NaN with another bit pattern
            values = np.asarray(pd.to_numeric(table[name], errors="coerce"), np.float64)
    except OverflowError:
        raise InputError(
            f"{source}: {name} holds a number of hundreds of digits; correct it, or leave it empty"
        ) from None
    wrong = np.isnan(values) & ~pd.isna(cells)
    wrong[wrong] = [not (isinstance(one, str) and one.strip().lower() in EMPTY_TEXTS) for one in cells[wrong]]
    if wrong.any():
        raise InputError(f"{source}: {name} holds {cells[wrong][0]!r}; write a number, or leave it empty")
    return values


def match_catchments(catchments: pd.Index, known: pd.Index) -> pd.Index:
    """Return the catchments under their names in a table, which may be numbers or text.

    Identical names match first, then `camelsgb_1001` of Caravan and 1001, then numbers without leading zeros if that is
    unique.

    Examples:
        >>> match_catchments(pd.Index(["camelsgb_1001", "camelsgb_9", "lamah_1001"]), pd.Index([1001, 2001])).tolist()
        [1001, 'camelsgb_9', 'lamah_1001']
        >>> match_catchments(pd.Index(["01013500", "39001.0"]), pd.Index([1013500, 39001])).tolist()
        [1013500, 39001]
    """
    if catchments.isin(known).all():
        return catchments
    by_text = {str(name): name for name in known}
    bare_known, bare_own = _bare_numbers(known), _bare_numbers(catchments)
    keys = [name if str(name) in by_text else str(name).removeprefix(CARAVAN_GB_PREFIX) for name in catchments]
    by_number = {name: bare_known[number] for number, name in bare_own.items() if number in bare_known}
    return pd.Index(
        [by_text.get(str(key), by_number.get(name, name)) for key, name in zip(keys, catchments, strict=True)]
    )


def _bare_numbers(names: pd.Index) -> dict[str, Any]:
    """Return unique names by their numbers without leading zeros."""
    by_number: dict[str, list] = {}
    for name in names:
        match = re.fullmatch(r"0*(\d+)(?:\.0*)?", str(name).strip(), re.ASCII)
        if match is not None:
            by_number.setdefault(match.group(1), []).append(name)
    return {number: same[0] for number, same in by_number.items() if len(same) == 1}


def with_attributes(record: xr.Dataset, attributes: xr.Dataset, source: str) -> xr.Dataset:
    """Add attributes, positions and names from a table to a record (`match_catchments`); missing catchments get NaN.

    An attribute without any value in the table keeps the values of the record.

    Raises:
        InputError: No catchment of the record is in the table, or an attribute is not a number or not physically possible.
    """
    if "catchment" not in record.indexes:
        raise InputError(f"{source}: it has no catchments")
    if "catchment" not in attributes.indexes:
        raise InputError(f"{source}: its attributes have no coordinate catchment; name the catchments in it")
    index = record.indexes["catchment"]
    keys = match_catchments(index, attributes.indexes["catchment"])
    if not keys.isin(attributes.indexes["catchment"]).any():
        raise InputError(
            f"{source}: none of its {len(index)} catchments (first: {index[0]}) is in the attributes table; "
            "use the same catchment numbers in both"
        )
    names = attributes["name"].to_series().reindex(keys).fillna("") if "name" in attributes.coords else None
    table = attributes.reset_coords()
    static = [n for n in STATIC if n in table.variables and (n not in record.variables or table[n].notnull().any())]
    table = table.assign({name: static_attribute(table[name], f"{source}: its attributes") for name in static})
    rows = table[static].set_coords([n for n in static if n not in NAMES]).reindex(catchment=keys)
    rows = rows.drop_vars("catchment").assign_coords(catchment=record["catchment"])
    merged = record.drop_vars(static, errors="ignore").merge(rows, combine_attrs="override")
    if names is not None:
        merged = merged.assign_coords(name=("catchment", names.to_numpy(dtype=str)))
    return merged
