"""Small water records with values that tell where they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.config import Config
from hydromae.config.presets import PRESETS
from hydromae.grid import GridSpec
from hydromae.store.scaling import Scaling, VariableScaling
from hydromae.variables import ATTRIBUTES

GRID = GridSpec(rows=8, columns=12, cell_size=1000.0, northing=500.0, easting=500.0, patch=4, land_threshold=0.5)
"""2 × 3 patches of 4 × 4 cells of 1 km."""
FIRST = "2000-01-01"
PLAIN = VariableScaling("none", 0.0, 1.0)
SCALING = Scaling(
    dict.fromkeys(
        (
            *("precipitation", "soil_moisture", "temperature", "potential_evaporation", "evaporation", "riverflow"),
            *(attribute.name for attribute in ATTRIBUTES),
        ),
        PLAIN,
    )
)
"""Leaves every value as it is."""

SOUTH, WEST = 190000.0, 290000.0
DAYS = ["2021-01-01", "2021-01-02", "2021-01-03"]
POSITIONS = {1001: (310000.0, 210000.0), 1002: (330000.0, 230000.0)}
"""Gauges at the centres of the cells (1, 1) and (2, 2) of 20 km."""


def catchments(count: int = 5, days: int = 40) -> xr.Dataset:
    """A catchment dataset: flow 1000 × catchment + day, weather near it; catchments 3 km apart on a line eastward."""
    flow = 1000.0 * np.arange(count) + np.arange(days)[:, None]
    dataset = xr.Dataset(
        {
            "riverflow": (("time", "catchment"), flow.astype(np.float32)),
            "precipitation": (("time", "catchment"), (flow + 0.25).astype(np.float32)),
            "temperature": (("time", "catchment"), (flow + 0.5).astype(np.float32)),
            "potential_evaporation": (("time", "catchment"), (flow + 0.75).astype(np.float32)),
        },
        coords={
            "time": np.datetime64(FIRST, "ns") + np.arange(days) * np.timedelta64(1, "D").astype("timedelta64[ns]"),
            "catchment": np.array([f"c{i}" for i in range(count)]),
            "easting": ("catchment", 1500.0 + 3000.0 * np.arange(count)),
            "northing": ("catchment", np.full(count, 1500.0)),
        },
    )
    for index, attribute in enumerate(ATTRIBUTES):
        dataset[attribute.name] = ("catchment", 10.0 * index + np.arange(count))
    return dataset


def national(count: int = 4, days: int = 12) -> xr.Dataset:
    """A national record on `GRID`: land everywhere but in the patch in the north east; a cell holds its flat number."""
    cell = np.arange(GRID.rows * GRID.columns)
    row, column = np.divmod(cell, GRID.columns)
    land = cell[(row < 4) | (column < 8)]
    dataset = catchments(count, days).drop_vars(["precipitation", "temperature", "potential_evaporation"])
    dataset["evaporation"] = dataset["riverflow"] + 0.5
    for offset, name in enumerate(("precipitation", "soil_moisture", "temperature")):
        values = land + 100.0 * offset + 0.0 * np.arange(days)[:, None]
        dataset[name] = (("time", "cell"), values.astype(np.float32))
    dataset["catchment-area"] = ("catchment", np.full(count, 1.0))
    return dataset.assign_coords(cell=("cell", land))


def config_of(preset: str, **data: object) -> Config:
    """A preset that trains on the first 30 days of these records in windows of 6 days."""
    periods = {"training_period": (FIRST, "2000-01-30"), "validation_period": ("2000-01-31", "2000-02-09")}
    plain = {"sequence_length": 6, "stride": 4, "warm_up_days": 0}
    plain |= {"attribute_dropout": 0.0, "position_jitter": 0.0, "variable_dropout": 0.0}
    return PRESETS[preset].having(data={**periods, **plain, **data})


def rain_maps(south: float, west: float) -> xr.Dataset:
    """HadUK-Grid: three days of rain at noon on 4 × 3 cells of 20 km, cell value = 10 × row + column + day, one of them sea.

    `south` and `west` are the centres of the first row and column [m].
    """
    value = 10.0 * np.arange(4)[None, :, None] + np.arange(3)[None, None, :] + np.arange(3)[:, None, None]
    value[:, 0, 0] = 1e20
    dims = ("time", "projection_y_coordinate", "projection_x_coordinate")
    return xr.Dataset(
        {"rainfall": (dims, value, {"units": "mm"})},
        {
            "time": pd.to_datetime(["2021-01-01T12", "2021-01-02T12", "2021-01-03T12"]).as_unit("ns"),
            "projection_y_coordinate": south + 20000 * np.arange(4),
            "projection_x_coordinate": west + 20000 * np.arange(3),
        },
        {"frequency": "day", "source": "HadUK-Grid"},
    )


def save(dataset: xr.Dataset, path: Path) -> Path:
    dataset.to_netcdf(path, engine="h5netcdf")
    return path


def chess_warmth(kelvin: float = 280.15) -> xr.Dataset:
    """1 km cells over the whole grid, in Kelvin, one degree warmer every day."""
    x, y = 280500.0 + 1000 * np.arange(60), 180500.0 + 1000 * np.arange(80)
    values = kelvin + np.arange(3.0)[:, None, None] + np.zeros((3, 80, 60))
    times = pd.to_datetime(DAYS).as_unit("ns")
    return xr.Dataset({"tas": (("time", "y", "x"), values, {"units": "K"})}, {"time": times, "y": y, "x": x})


def era5_demand() -> xr.Dataset:
    """Hourly, accumulated from midnight: 1, 2 and 3 mm on the three days; the sum of a day stands at the midnight after."""
    hours = pd.date_range("2021-01-01T01:00", "2021-01-04T00:00", freq="h")
    hour, day = np.asarray(hours.hour), np.arange(len(hours)) // 24 + 1
    along = -np.where(hour == 0, 24, hour) / 24 * day / 1000
    latitude, longitude = np.arange(52.6, 51.3, -0.1), np.arange(-4.2, -2.7, 0.1)
    values = np.broadcast_to(along[:, None, None], (len(hours), len(latitude), len(longitude))).copy()
    coords = {"valid_time": hours, "latitude": latitude, "longitude": longitude}
    return xr.Dataset({"pev": (("valid_time", "latitude", "longitude"), values, {"units": "m"})}, coords)
