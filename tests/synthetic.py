"""Small invented records and configurations for tests: rivers that are filtered rain, and a country of 8 × 6 cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.config import Config
from hydromae.config.presets import PRESETS
from hydromae.grid import GridSpec
from hydromae.store.scaling import Scaling
from hydromae.variables import ATTRIBUTES, VARIABLES

TRAINING = ("2001-01-01", "2001-10-27")
VALIDATION = ("2001-10-28", "2002-02-04")
GRID = GridSpec(rows=8, columns=6, patch=2, northing=202500.0, easting=302500.0, land_threshold=0.5)


def rivers(catchments: int = 6, days: int = 400, seed: int = 0) -> xr.Dataset:
    """Catchments whose flow is their rain through a linear reservoir (a tenth of the store flows out each day)."""
    generator = np.random.default_rng(seed)
    shared = generator.gamma(0.4, 8.0, (days, 1))
    rain = (0.7 * shared + 0.3 * generator.gamma(0.4, 8.0, (days, catchments))).astype(np.float32)
    flow, store = np.empty_like(rain), np.full(catchments, 20.0, np.float32)
    for day in range(days):
        store = store + 0.6 * rain[day]
        flow[day] = 0.1 * store
        store = store - flow[day]
    season = np.cos(2 * np.pi * (np.arange(days) - 200) / 365)[:, None]
    temperature = (10 + 6 * season + generator.normal(0, 1, (days, catchments))).astype(np.float32)
    evaporation = np.maximum(1.5 + 1.2 * season + np.zeros_like(rain), 0).astype(np.float32)
    held = {"riverflow": flow, "precipitation": rain, "temperature": temperature, "potential_evaporation": evaporation}
    variables = {n: (("time", "catchment"), v, {"units": VARIABLES[n].units}) for n, v in held.items()}
    return xr.Dataset(
        variables | _traits(catchments, generator),
        coords={
            "time": pd.date_range("2001-01-01", periods=days, unit="ns"),
            "catchment": 1001 + np.arange(catchments),
        },
    )


def country(catchments: int = 10, days: int = 60, seed: int = 0) -> xr.Dataset:
    """A national record on `GRID`, whose first row of cells is sea: three maps, evaporation and flow of catchments."""
    generator = np.random.default_rng(seed)
    record = rivers(catchments, days, seed)
    cells = np.arange(GRID.columns, GRID.rows * GRID.columns)
    shape = (days, len(cells))
    maps = {
        "precipitation": generator.gamma(0.5, 6.0, shape),
        "soil_moisture": generator.uniform(0.15, 0.45, shape),
        "temperature": generator.normal(10.0, 5.0, shape),
    }
    series = {"riverflow": record["riverflow"], "evaporation": record["potential_evaporation"]}
    return xr.Dataset(
        {n: (("time", "cell"), v.astype(np.float32), {"units": VARIABLES[n].units}) for n, v in maps.items()}
        | series
        | {a.name: record[a.name] for a in ATTRIBUTES},
        coords={"time": record["time"], "catchment": record["catchment"], "cell": cells},
    )


def _traits(catchments: int, generator: np.random.Generator) -> dict[str, tuple[str, np.ndarray]]:
    """Inside `GRID`, areas of 50 to 150 km², everything else at random."""
    high = {a.name: min(100.0, a.valid[1]) for a in ATTRIBUTES}
    traits = {n: ("catchment", generator.uniform(0.002 * most, most, catchments)) for n, most in high.items()}
    traits["latitude"] = ("catchment", generator.uniform(51.75, 52.0, catchments))
    traits["longitude"] = ("catchment", generator.uniform(-3.35, -3.1, catchments))
    traits["catchment-area"] = ("catchment", generator.uniform(50.0, 150.0, catchments))
    return traits


SMALL = PRESETS["tiny"].having(
    data={
        "training_period": TRAINING,
        "validation_period": VALIDATION,
        "sequence_length": 40,
        "stride": 20,
        "catchments_per_window": 4,
        "warm_up_days": 5,
        "attribute_dropout": 0.2,
        "position_jitter": 1.0,
        "variable_dropout": 0.2,
    },
    model={
        "d_model": 16,
        "heads": 2,
        "series_layers": 1,
        "dropout": 0.1,
        "neighbours": 4,
        "decoder_dim": 16,
        "components": 2,
        "recurrent_width": 8,
        "lstm_width": 8,
        "lstm_ar_width": 6,
    },
    masks={"mixture": (("gap", 0.4), ("ungauged", 0.3), ("forecast", 0.3)), "gap_days": (3, 15)},
    optimizer={"lr": 5e-3},
    train={
        "epochs": 2,
        "warmup_epochs": 0.5,
        "steps_per_epoch": 4,
        "ema_decay": 0.9,
        "log_every": 1,
        "validation_windows": 4,
        "checkpoint_every": 0.75,
        "keep_last": 3,
    },
)
"""A very small `rivers`."""

SMALL_MAPS = PRESETS["base"].having(
    data={
        "training_period": ("2001-01-01", "2001-02-09"),
        "validation_period": ("2001-02-10", "2001-03-01"),
        "sequence_length": 8,
        "stride": 8,
        "vector_patch_size": 4,
    },
    model={
        "d_model": 16,
        "heads": 2,
        "map_layers": 1,
        "series_layers": 1,
        "fusion_layers": 1,
        "decoder_dim": 16,
        "decoder_layers": 1,
    },
    train={
        "batch_size": 2,
        "epochs": 1,
        "warmup_epochs": 0,
        "log_every": 1,
        "validation_windows": 2,
        "checkpoint_every": 1,
        "precision": "fp32",
    },
)
"""A very small `base`: five modalities, joint attention."""


def scaling_of(dataset: xr.Dataset, config: Config) -> Scaling:
    """Scaling from the training days of a record."""
    return Scaling.fit(dataset, config.data.training_period)


def repeated(record: xr.Dataset, days: int) -> xr.Dataset:
    """The days of a record again and again, until there are so many: long enough for return periods, and made at once."""
    first = pd.Timestamp(record["time"].values[0])
    again = record.isel(time=np.arange(days) % record.sizes["time"])
    return again.assign_coords(time=pd.date_range(first, periods=days, unit="ns"))
