"""What is timed: a preset's model on a record invented here, or on a store, ready to take one training step after another."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from clock import Spent
from flops import counted, formula, lstm_flops
from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, draw
from hydromae.batching.record_arrays import RecordArrays, to_record_arrays
from hydromae.batching.windows import windows
from hydromae.config import Config, Precision
from hydromae.config.presets import PRESETS
from hydromae.distributed import ProcessGroup
from hydromae.grid import GridSpec
from hydromae.losses import loss
from hydromae.model.mae import HydroMAE
from hydromae.runtime import pick_precision
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import open_store
from hydromae.train.engine import TorchEngine
from hydromae.variables import ATTRIBUTES, MODALITIES
from tally import Flops, Sizes

LAND_PERCENT = 5  # from which a cell counts as land: 94 patches of at least half land, as in the seed
TYPICAL = {"temperature": (10.0, 5.0), "soil_moisture": (0.3, 0.05)}
FIRST = pd.Timestamp("2001-01-01")
CATCHMENTS = 604


def invented(modalities: list[str], catchments: int, days: int, land: float = 1.0) -> xr.Dataset:
    """A record of noise in the right units, at the right places; what it says does not matter to the clock.

    `land` is the share of the land that it covers, from the south.
    """
    generator = np.random.default_rng(0)
    grid = GridSpec()
    with resources.as_file(resources.files("hydromae") / "assets" / "gb_land_percent.npz") as file:
        cells = np.flatnonzero(np.load(file)["land_percent"].ravel() >= LAND_PERCENT)
    cells = cells[round((1 - land) * len(cells)) :]
    variables = {}
    for name in modalities:
        dim, size = ("cell", len(cells)) if MODALITIES[name].kind == "map" else ("catchment", catchments)
        for variable in MODALITIES[name].variables:
            mean, spread = TYPICAL.get(variable.name, (3.0, 1.0))
            values = np.abs(generator.normal(mean, spread, (days, size))).astype(np.float32)
            variables[variable.name] = (("time", dim), values, {"units": variable.units})
    traits = {a.name: ("catchment", generator.uniform(1.0, 100.0, catchments)) for a in ATTRIBUTES}
    easting, northing = grid.cell_position(generator.choice(cells, catchments))
    return xr.Dataset(
        variables | traits,
        coords={
            "time": pd.date_range("2001-01-01", periods=days, unit="ns"),
            "catchment": 1 + np.arange(catchments),
            "cell": cells,
            "easting": ("catchment", easting),
            "northing": ("catchment", northing),
        },
    )


def shrunk(config: Config) -> Config:
    """A preset narrow and short enough for a test."""
    days = {"sequence_length": 6, "stride": 1, "warm_up_days": 0}
    if config.data.catchments_per_window is not None:
        days["catchments_per_window"] = 6
    return config.having(data=days, model={"d_model": 16, "decoder_dim": 16, "heads": 2})


def prepared(name: str, quick: bool, precision: Precision | None) -> Config:
    """A preset with a period just long enough, one window (of all sites) or two (of some) at a time."""
    config = shrunk(PRESETS[name]) if quick else PRESETS[name]
    used = pick_precision(precision or config.train.precision, torch.device("cpu"))
    return lasting(
        config.having(
            train={"batch_size": 2 if config.data.catchments_per_window is not None else 1, "precision": used}
        )
    )


def lasting(config: Config) -> Config:
    """The same with a training period ten days longer than a window."""
    last = FIRST + pd.Timedelta(days=config.data.sequence_length + 9)
    return config.having(data={"training_period": (str(FIRST)[:10], str(last)[:10])})


@dataclass(frozen=True)
class Trial:
    """A model, its optimizer, and one batch that it learns again and again."""

    config: Config
    engine: TorchEngine
    record: RecordArrays
    batch: Batch
    hidden: Hidden

    @classmethod
    def of(cls, config: Config, dataset: xr.Dataset) -> Trial:
        """The first batch of a record."""
        torch.manual_seed(0)
        model, period = HydroMAE(config), config.data.training_period
        scaling = Scaling.fit(dataset, period)
        record = to_record_arrays(dataset, config, scaling, GridSpec())
        size = config.train.batch_size
        batch = windows(record, config, period, seed=0, augment=True, update=size)(range(size))
        hidden = draw(batch, config.masks, torch.Generator().manual_seed(0))
        engine = TorchEngine(model.set_scaling(scaling), config, ProcessGroup(0, 1, torch.device("cpu")), 1)
        return cls(config, engine, record, batch, hidden)

    @classmethod
    def invented(cls, config: Config, catchments: int, land: float = 1.0) -> Trial:
        """On noise."""
        return cls.of(config, invented(list(config.model.modalities), catchments, _days(config), land))

    @classmethod
    def stored(cls, config: Config, store: Path) -> Trial:
        """On the last days of a store."""
        dataset = open_store(store).isel(time=slice(-_days(config), None)).load()
        period = tuple(str(day)[:10] for day in dataset["time"].values[[0, -1]])
        return cls.of(config.having(data={"training_period": period}), dataset)

    @property
    def model(self) -> HydroMAE:
        """The weights."""
        assert isinstance(self.engine.model, HydroMAE)
        return self.engine.model

    @property
    def sizes(self) -> Sizes:
        """What the batch holds."""
        return Sizes.of(self.batch, self.hidden, self.config.model)

    @property
    def tokens(self) -> int:
        """Of the batch, hidden ones included."""
        return sum(self.batch.values[names[0]][..., 0].numel() for names in self.config.model.shared)

    def step(self) -> tuple[Spent, Spent, Spent]:
        """One training step: what forward (with the loss), backward and optimizer took."""
        return step(self.engine, self.batch, self.hidden, self.config)

    def seen(self) -> int:
        """FLOPs of forward and backward that torch's counter sees."""

        def once() -> None:
            loss(self.engine.predict(self.batch, self.hidden), self.batch, self.hidden, self.config)[0].backward()

        flops = counted(once)
        self.engine.model.zero_grad(set_to_none=True)
        return flops

    def lstm(self) -> int:
        """FLOPs of LSTMs, which it does not see."""
        series = [value for name, value in self.batch.values.items() if MODALITIES[name].kind == "series"]
        return lstm_flops(self.engine.model, series[0][..., 0].numel())

    def formula(self) -> Flops:
        """All of them in closed form."""
        return formula(self.config, self.sizes)

    def data_bytes(self) -> int:
        """Size of the record in memory and of one batch of it."""
        return sum(held.nbytes for held in self.record.values.values()) + sum(
            value.nbytes + self.batch.observed[name].nbytes for name, value in self.batch.values.items()
        )


def _days(config: Config) -> int:
    return config.data.sequence_length + 10


def step(engine: TorchEngine, batch: Batch, hidden: Hidden, config: Config) -> tuple[Spent, Spent, Spent]:
    """What forward (with the loss), backward and optimizer take."""
    began = Spent.now()
    total, _ = loss(engine.predict(batch, hidden), batch, hidden, config)
    forward = Spent.now()
    engine.backward(total)
    backward = Spent.now()
    engine.update(config.optimizer.lr)
    return forward - began, backward - forward, Spent.now() - backward
