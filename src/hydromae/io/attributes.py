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
"""What a column may hold that pandas would take for numbers, or stumble over."""
EMPTY_TEXTS = frozenset(
    ["", "-", "--", "---", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "none", "m", "missing"]
)
"""Text that says nothing was measured, in any case."""
CARAVAN_GB_PREFIX = "camelsgb_"
"""What stands before the NRFA's number in Caravan's names of British gauges."""
COORDINATES = ("easting", "northing", "centroid-easting", "centroid-northing")


def read(path: str | Path) -> xr.Dataset:
    """Attributes of catchments from a CSV or parquet file with the NRFA names.

    Args:
        path: A table with a column `id` (`catchment`, `gauge_id`, `station`) and any of the 11 columns of
            `variables.ATTRIBUTES`; columns `easting`, `northing`, `centroid-easting`, `centroid-northing` [m] and `name` are
            read where they are there.

    Returns:
        Dataset: `(catchment)` variables under the NRFA names, float64, NaN = unknown; coordinates `easting`, `northing` [m]
            (from latitude and longitude where absent), `centroid_easting`, `centroid_northing` [m] and `name`.

    Raises:
        InputError: No such file, no table, no attribute in it, text where a number belongs, or a catchment that comes twice.
    """
    is_parquet = str(path).endswith((".parquet", ".pq"))
    table = read_parquet(path) if is_parquet else read_csv(path)
    if find_key(flat_frame(table), CATCHMENTS) is None:
        raise InputError(
            f"{path}: no column id; add one with the catchment number (columns are {shortened(table.columns)})"
        )
    return attributes_from_frame(table, str(path))


def attributes_from_frame(table: pd.DataFrame, source: str = "the attributes") -> xr.Dataset:
    """Attributes as `read` gives them from a table in memory, whose catchments are its index or one of these columns.

    Raises:
        InputError: None of the names, a catchment that comes twice, or a value that is none.
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
    degrees = ("latitude", "longitude") if "easting" in columns else ()  # these follow from easting and northing
    held = {name: np.full(len(table), np.nan) for name in NAMES if name not in degrees}
    held |= {name: numeric_column(table, name, source) for name in columns}
    for name, values in held.items():
        check_attribute(name, values, names, source)
    dataset = xr.Dataset({n: ("catchment", v) for n, v in held.items() if n in NAMES}, {"catchment": names})
    gauge_coordinates = {n.replace("-", "_"): ("catchment", v) for n, v in held.items() if n in COORDINATES}
    dataset = dataset.assign_coords(gauge_coordinates)
    if "name" in table.columns:
        dataset = dataset.assign_coords(name=("catchment", table["name"].astype(str).to_numpy(dtype=str)))
    for name in ("centroid_easting", "centroid_northing"):
        if name in dataset.coords:
            dataset[name].attrs |= {"units": "m", "long_name": name.replace("_", " of the catchment: ")}
    dataset["catchment"].attrs["long_name"] = "NRFA station number"
    return set_cf_attributes(with_positions(dataset))


def _standard_names(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """The table with attributes under the NRFA names, also where it has them in capitals, or as `catchment_area`."""
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
    """A column as float64 with NaN for empty, for codes and for what is marked as filled; text is refused by name."""
    values = parse_numbers(table, name, source)
    return np.where(is_missing_code(values) | is_filled(table, name, source), np.nan, values)


def parse_numbers(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """A column as float64 as it stands, NaN where it is empty; text is refused by name."""
    held = table[name].to_numpy()
    if held.dtype.kind not in "iufOUT" or any(
        isinstance(one, NON_NUMERIC_TYPES) for one in (held if held.dtype.kind == "O" else ())
    ):
        raise InputError(f"{source}: {name} holds {table[name].dtype}; write numbers, or leave it empty")
    try:
        with np.errstate(invalid="ignore"):  # a NaN of another pattern of bits
            values = np.asarray(pd.to_numeric(table[name], errors="coerce"), np.float64)
    except OverflowError:
        raise InputError(
            f"{source}: {name} holds a number of hundreds of digits; correct it, or leave it empty"
        ) from None
    wrong = np.isnan(values) & ~pd.isna(held)
    wrong[wrong] = [not (isinstance(one, str) and one.strip().lower() in EMPTY_TEXTS) for one in held[wrong]]
    if wrong.any():
        raise InputError(f"{source}: {name} holds {held[wrong][0]!r}; write a number, or leave it empty")
    return values


def match_catchments(catchments: pd.Index, known: pd.Index) -> pd.Index:
    """Names of catchments as a table has them, whether they are numbers or text there.

    The same name goes first; then `camelsgb_1001` of Caravan is 1001; then numbers are compared without zeros before them,
    where that leaves no two catchments alike.

    Examples:
        >>> keys_of(pd.Index(["camelsgb_1001", "camelsgb_9", "lamah_1001"]), pd.Index([1001, 2001])).tolist()
        [1001, 'camelsgb_9', 'lamah_1001']
        >>> keys_of(pd.Index(["01013500", "39001.0"]), pd.Index([1013500, 39001])).tolist()
        [1013500, 39001]
    """
    if catchments.isin(known).all():
        return catchments
    told = {str(name): name for name in known}
    bare_known, bare_own = _bare_numbers(known), _bare_numbers(catchments)
    keys = [name if str(name) in told else str(name).removeprefix(CARAVAN_GB_PREFIX) for name in catchments]
    by_number = {name: bare_known[number] for number, name in bare_own.items() if number in bare_known}
    return pd.Index([told.get(str(key), by_number.get(name, name)) for key, name in zip(keys, catchments, strict=True)])


def _bare_numbers(names: pd.Index) -> dict[str, Any]:
    """Number without zeros before it -> the one name that is this number."""
    found: dict[str, list] = {}
    for name in names:
        match = re.fullmatch(r"0*(\d+)(?:\.0*)?", str(name).strip(), re.ASCII)
        if match is not None:
            found.setdefault(match.group(1), []).append(name)
    return {number: same[0] for number, same in found.items() if len(same) == 1}


def with_attributes(record: xr.Dataset, attributes: xr.Dataset, source: str) -> xr.Dataset:
    """The record with the attributes of its catchments (`match_catchments`); a catchment that the table lacks has NaN.

    Only attributes, positions and names are taken; an attribute that the table has of no catchment stays the record's own.

    Raises:
        InputError: None of the record's catchments is in the table, or an attribute is not a number or physically impossible.
    """
    if "catchment" not in record.indexes:
        raise InputError(f"{source}: it has no catchments")
    if "catchment" not in attributes.indexes:
        raise InputError("the attributes: have no coordinate catchment; name the catchments in it")
    index = record.indexes["catchment"]
    keys = match_catchments(index, attributes.indexes["catchment"])
    if not keys.isin(attributes.indexes["catchment"]).any():
        raise InputError(
            f"{source}: none of its {len(index)} catchments (first: {index[0]}) is in the attributes table; "
            "use the same catchment numbers in both"
        )
    names = attributes["name"].to_series().reindex(keys).fillna("") if "name" in attributes.coords else None
    told = attributes.reset_coords()
    static = [n for n in STATIC if n in told.variables and (n not in record.variables or told[n].notnull().any())]
    told = told.assign({name: static_attribute(told[name], "the attributes") for name in static})
    rows = told[static].set_coords([n for n in static if n not in NAMES]).reindex(catchment=keys)
    rows = rows.drop_vars("catchment").assign_coords(catchment=record["catchment"])
    merged = record.drop_vars(static, errors="ignore").merge(rows, combine_attrs="override")
    if names is not None:
        merged = merged.assign_coords(name=("catchment", names.to_numpy(dtype=str)))
    return merged
