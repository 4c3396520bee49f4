"""Changes to a record of arrays (NetCDF, Zarr): shapes, types, days, units, values. Each returns the changed record.

Those in `HARMLESS` keep the meaning: the product must accept them, and answer as for the record itself.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import xarray as xr

Change = Callable[[xr.Dataset, Random], xr.Dataset]
NONSENSE: tuple[object, ...] = (
    "furlong",
    "",
    " ",
    "None",
    3,
    2.5,
    [1, 2],
    "m3",
    "days since 2000-01-01",
    "K",
    "mm" * 500,
)
EXTREMES = (np.inf, -np.inf, -99999.0, 1e20, -1e20, 1e-45, 1e300, -0.0, -1e-3, -5.0, 1e6, 1e38, -9999.0, np.nan)


def series(data: xr.Dataset, rng: Random) -> str:
    """One of the variables of time."""
    return rng.choice([str(name) for name in data.data_vars if "time" in data[name].dims])


def replaced(data: xr.Dataset, name: str, values: np.ndarray) -> xr.Dataset:
    """The record with other values of a variable, its attributes kept."""
    return data.assign({name: (data[name].dims, values, data[name].attrs)})


def transposed(data: xr.Dataset, rng: Random) -> xr.Dataset:
    name = series(data, rng)
    return data.assign({name: data[name].transpose()})


def doubles(data: xr.Dataset, rng: Random) -> xr.Dataset:
    name = series(data, rng)
    return replaced(data, name, data[name].values.astype(rng.choice((np.float64, ">f4", ">f8"))))


def shuffled(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.isel(time=rng.sample(range(data.sizes["time"]), data.sizes["time"]))


def at_noon(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.assign_coords(time=data["time"] + np.timedelta64(12, "h"))


def named_otherwise(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.rename(catchment=rng.choice(("gauge_id", "station", "id")))


def with_more(data: xr.Dataset, rng: Random) -> xr.Dataset:
    site = next(str(name) for name in data["latitude"].dims) if "latitude" in data else "catchment"
    more = {"remark": (site, np.array(["a", "b", "c"])), "other": (("time", "z"), np.ones((data.sizes["time"], 2)))}
    return data.assign(more).assign_attrs(title="../../x", history=rng.choice(("", "é" * 50)))


def in_volume(data: xr.Dataset, rng: Random) -> xr.Dataset:
    held = data["riverflow"].astype(np.float64) * data["catchment-area"] / 86.4
    return data.assign(riverflow=held.assign_attrs(units=rng.choice(("m3 s-1", "m3/s"))))


def in_kelvin(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.assign(temperature=(data["temperature"].astype(np.float64) + 273.15).assign_attrs(units="K"))


def spelled_otherwise(data: xr.Dataset, rng: Random) -> xr.Dataset:
    data = data.copy()
    data["precipitation"].attrs["units"] = rng.choice(("mm/d", "mm"))
    return data


def filled_by_sentinel(data: xr.Dataset, rng: Random) -> xr.Dataset:
    value = rng.choice((-99999.0, 1e20, np.inf, -np.inf))
    return replaced(data, "riverflow", np.where(np.isnan(data["riverflow"].values), value, data["riverflow"].values))


def reversed_sites(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.isel(catchment=[2, 0, 1])


HARMLESS: tuple[Change, ...] = (
    transposed,
    doubles,
    shuffled,
    at_noon,
    named_otherwise,
    with_more,
    in_volume,
    in_kelvin,
    spelled_otherwise,
    filled_by_sentinel,
    reversed_sites,
)


def another_type(data: xr.Dataset, rng: Random) -> xr.Dataset:
    name = series(data, rng)
    held = np.nan_to_num(data[name].values)
    made: tuple[Callable[[], np.ndarray], ...] = (
        lambda: held.astype(np.int16),
        lambda: held.astype(np.int64),
        lambda: (np.abs(held) * 10).astype(np.uint8),
        lambda: held.astype(bool),
        lambda: held.astype("U8"),
        lambda: held.astype("S8"),
        lambda: held.astype(np.int64).astype("datetime64[s]").astype("datetime64[ns]"),
        lambda: held.astype(np.int64).astype("timedelta64[s]").astype("timedelta64[ns]"),
        lambda: held.astype(np.complex64),
        lambda: np.where(held > 1, held.astype("U8"), "").astype(object),
    )
    changed = replaced(data, name, rng.choice(made)())
    if changed[name].dtype.kind in "mM":
        del changed[name].attrs["units"]
    return changed


def without_variable(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.drop_vars(rng.choice([str(name) for name in data.variables]))


def without_series(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.drop_vars([name for name in data.data_vars if "time" in data[name].dims])


def without_dimension(data: xr.Dataset, rng: Random) -> xr.Dataset:
    name, dim = series(data, rng), rng.choice(("time", "catchment"))
    return data.assign({name: data[name].isel({d: 0 for d in data[name].dims if d == dim}, drop=True)})


def one_more_dimension(data: xr.Dataset, rng: Random) -> xr.Dataset:
    name = series(data, rng)
    return data.assign({name: data[name].expand_dims(ensemble=rng.choice((1, 3)))})


def dimension_renamed(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.rename({rng.choice(("time", "catchment")): rng.choice(("when", "basin", "row", "cell"))})


def no_days(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.isel(time=slice(0, rng.choice((0, 0, 1, 2))))


def no_sites(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.isel(catchment=slice(0, rng.choice((0, 0, 1))))


def double_days(data: xr.Dataset, rng: Random) -> xr.Dataset:
    days = data["time"].values.copy()
    days[rng.randrange(1, len(days))] = days[0] + np.timedelta64(rng.choice((0, 3)), "h")
    return data.assign_coords(time=days)


def gaps(data: xr.Dataset, rng: Random) -> xr.Dataset:
    return data.isel(time=sorted(rng.sample(range(data.sizes["time"]), rng.randint(1, 50))))


def a_far_day(data: xr.Dataset, rng: Random) -> xr.Dataset:
    days = data["time"].values.astype("datetime64[s]").copy()
    days[rng.randrange(len(days))] = np.datetime64(rng.choice(("1700-01-01", "2250-01-01", "1001-01-01", "9999-01-01")))
    return data.assign_coords(time=days)


def other_calendar(data: xr.Dataset, rng: Random) -> xr.Dataset:
    units, calendar = "days since 2001-01-01", rng.choice(("noleap", "360_day", "julian", "all_leap", "nonsense"))
    return data.assign_coords(time=("time", np.arange(data.sizes["time"]), {"units": units, "calendar": calendar}))


def other_time(data: xr.Dataset, rng: Random) -> xr.Dataset:
    days = data.sizes["time"]
    made: tuple[tuple[np.ndarray, dict[str, object]], ...] = (
        (np.arange(days), {}),
        (np.arange(days), {"units": "furlongs since 2001-01-01"}),
        (np.arange(days), {"units": "days since the flood"}),
        (np.arange(days) * 1e12, {"units": "days since 2001-01-01"}),
        (np.full(days, np.nan), {"units": "days since 2001-01-01"}),
        (np.where(np.arange(days) == 7, np.nan, np.arange(days)), {"units": "days since 2001-01-01"}),
        (np.arange(days), {"units": 3}),
        (np.arange(days) * 24.0, {"units": "hours since 2001-01-01"}),
        (np.arange(days), {"units": "days since 0001-01-01"}),
        (np.arange(days), {"units": "days since 2001-01-01 00:00:00 +05:00"}),
        (np.array([f"2001-01-{1 + d % 31:02d}" for d in range(days)]), {}),
        (np.arange(days) % 2 == 0, {}),
        (np.linspace(0, 1, days), {"units": "days since 2001-01-01"}),
    )
    values, attrs = rng.choice(made)
    return data.assign_coords(time=("time", values, attrs))


def other_sites(data: xr.Dataset, rng: Random) -> xr.Dataset:
    made: tuple[np.ndarray, ...] = (
        np.array([1, 1, 2]),
        np.array([1.5, 2.5, np.nan]),
        np.array([1001.0, 1002.0, 1003.0]),
        np.array([np.nan, np.nan, 1.0]),
        np.array(["a", "b", "a"]),
        np.array(["../../x", "/etc/passwd", "..\\y"]),
        np.array(["", " ", "\n"]),
        np.array(["é", "川", "a/b"]),
        np.array([b"a", b"b", b"c"]),
        np.array([True, False, True]),
        np.array([-1, 0, 2**62]),
        np.array([1, 2, 3], "datetime64[D]").astype("datetime64[ns]"),
        np.array([1, 2, 3], np.complex64),
    )
    return data.assign_coords(catchment=rng.choice(made))


def other_units(data: xr.Dataset, rng: Random) -> xr.Dataset:
    data, name = data.copy(), series(data, rng)
    if rng.random() < 0.3:
        data[name].attrs.pop("units", None)
    else:
        data[name].attrs["units"] = rng.choice(NONSENSE)
    return data


def extreme_values(data: xr.Dataset, rng: Random) -> xr.Dataset:
    name = series(data, rng)
    held = data[name].values.astype(np.float64)
    for _ in range(rng.choice((1, 3, 40))):
        held.flat[rng.randrange(held.size)] = rng.choice(EXTREMES)
    with np.errstate(over="ignore"):
        return replaced(data, name, held.astype(rng.choice((np.float32, np.float64))))


def constant_values(data: xr.Dataset, rng: Random) -> xr.Dataset:
    name = series(data, rng)
    return replaced(data, name, np.full(data[name].shape, rng.choice((0.0, np.nan, np.inf, 1e20, 7.0, -99999.0))))


def attribute_values(data: xr.Dataset, rng: Random) -> xr.Dataset:
    name = rng.choice(("latitude", "longitude", "catchment-area"))
    held = data[name].values.copy()
    held[rng.randrange(3)] = rng.choice((np.nan, np.inf, -99999.0, 0.0, -1.0, 520.0, 1e20, 1e-30, 90.0, 1e12))
    return replaced(data, name, held)


def attribute_shape(data: xr.Dataset, rng: Random) -> xr.Dataset:
    name = rng.choice(("latitude", "longitude", "catchment-area"))
    made: tuple[tuple[str | tuple[str, ...], np.ndarray], ...] = (
        (("time", "catchment"), np.ones((data.sizes["time"], 3))),
        ((), np.array(3.0)),
        ("time", np.ones(data.sizes["time"])),
        ("catchment", np.array(["51", "52", "53"])),
        ("catchment", np.array(["n", "o", "p"])),
        ("catchment", np.array([True, False, True])),
        ("catchment", np.array([1, 2, 3], "datetime64[ns]")),
        ("catchment", np.array([51, 52, 53], np.complex64)),
    )
    return data.assign({name: rng.choice(made)})


def packed(data: xr.Dataset, rng: Random) -> xr.Dataset:
    """Stored as small integers, with whatever scale and fill."""
    data, name = data.copy(), series(data, rng)
    scale = rng.choice((0.1, 0.01, 0.0, np.nan, -0.1, 1e30))
    values = np.nan_to_num(data[name].values * 10).astype(np.int16)
    attrs = {**data[name].attrs, "scale_factor": scale, "_FillValue": np.int16(rng.choice((-1, 0, -32768)))}
    return data.assign({name: (data[name].dims, values, attrs)})


def filled_within(data: xr.Dataset, rng: Random) -> xr.Dataset:
    """A fill value that is a value, or of another type."""
    data, name = data.copy(), series(data, rng)
    data[name].attrs[rng.choice(("_FillValue", "missing_value"))] = np.float32(rng.choice((0.0, 10.0, np.nan, 1e20)))
    return data


READ_ERRORS: tuple[Change, ...] = (
    another_type,
    another_type,
    without_variable,
    without_series,
    without_dimension,
    one_more_dimension,
    dimension_renamed,
    no_days,
    no_sites,
    double_days,
    gaps,
    a_far_day,
    other_calendar,
    other_time,
    other_time,
    other_sites,
    other_sites,
    other_units,
    other_units,
    extreme_values,
    extreme_values,
    constant_values,
    attribute_values,
    attribute_shape,
    packed,
    filled_within,
)
