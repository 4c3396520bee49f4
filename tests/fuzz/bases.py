"""Valid inputs of every kind, 3 catchments × 60 days, and a tiny model; each is made once and then broken in copies."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

import hydromae.store.inspect  # noqa: F401 takes seconds to load, which are no hang
from hydromae.cli import main
from hydromae.model.mae import HydroMAE
from hydromae.store.zarr_store import open_store, scaling_of
from hydromae.train.checkpoint import save_model
from hydromae.variables import ATTRIBUTES
from records import rain_maps
from synthetic import SMALL, rivers

TRAINING = ("2001-01-01", "2001-02-10")
KEPT = ("riverflow", "precipitation", "temperature", "potential_evaporation", "latitude", "longitude", "catchment-area")
PERIOD = ("--training-period", *TRAINING)
CONFIG = SMALL.having(
    data={
        "training_period": TRAINING,
        "validation_period": ("2001-02-11", "2001-03-01"),
        "sequence_length": 12,
        "warm_up_days": 2,
        "stride": 6,
        "catchments_per_window": 3,
    },
    model={"d_model": 8, "decoder_dim": 8, "neighbours": 3},
    masks={"gap_days": (2, 5), "lead_days": 3},
    train={"epochs": 1, "steps_per_epoch": 2, "warmup_epochs": 0, "validation_windows": 2, "ema_decay": 0.9},
)


def record() -> xr.Dataset:
    """The record: gaps in flow and rain, area and position known."""
    made = rivers(3, 60)
    made["riverflow"][10:18, 1] = np.nan
    made["riverflow"][50:, 0] = np.nan
    made["precipitation"][5, 2] = np.nan
    made["riverflow"][20, 2] = 0.0
    return made


@dataclass(frozen=True)
class Bases:
    """The valid inputs in a folder."""

    folder: Path
    _files: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def record(self) -> xr.Dataset:
        """The record, without the attributes that nobody needs."""
        return record()[list(KEPT)]

    @cached_property
    def attributes(self) -> pd.DataFrame:
        """The NRFA table of the record's catchments."""
        made = record()
        table = pd.DataFrame({"id": made["catchment"].values, "name": ["Aire", "Brue", "Calder"]})
        return table.assign(**{a.name: made[a.name].values for a in ATTRIBUTES})

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The record in long form."""
        long = self.record.to_dataframe().reset_index()
        return long.rename(columns={"time": "date"})

    @cached_property
    def camels(self) -> xr.Dataset:
        """The record in the arrangement of CAMELS-GB."""
        made = self.record[["precipitation", "temperature", "riverflow"]].copy()
        climate = 2 + np.cos(2 * np.pi * (np.arange(365)[:, None] - 199) / 365) + np.zeros(3)
        made["potential_evaporation_climatology"] = (("day_of_year", "catchment"), climate, {"units": "mm day-1"})
        return made.assign_coords(day_of_year=np.arange(1, 366))

    @cached_property
    def downloads(self) -> dict[str, bytes]:
        """The record as the NRFA gives it: flow as JSON, rain as CSV, and the catalogue."""
        made, files = record(), {}
        days = [str(day)[:10] for day in made["time"].values]
        stations = []
        for place, station in enumerate(made["catchment"].values.tolist()):
            area = float(made["catchment-area"][place])
            flow = made["riverflow"].values[:, place] * area / 86.4
            told = [
                part for day, value in zip(days, flow, strict=True) if value == value for part in (day, float(value))
            ]
            kind = {"id": "gdf", "name": "Gauged Daily Flow", "units": "m3/s"}
            named = {"station": {"id": station, "name": "x"}, "data-type": kind, "data-stream": told}
            files[f"{station}_gdf.json"] = json.dumps(named).encode()
            rain = made["precipitation"].values[:, place]
            head = "file,timestamp,now\ndatabase,id,nrfa-public-30\n"
            head += f"station,id,{station}\ndataType,id,cdr\ndataType,units,mm\n"
            rows = [f"{day},{'' if value != value else value}" for day, value in zip(days, rain, strict=True)]
            files[f"{station}_cdr.csv"] = (head + "data,last,x\n" + "\n".join(rows) + "\n").encode()
            stations.append({"id": station} | {a.name: float(made[a.name][place]) for a in ATTRIBUTES})
        return files | {"station-info.json": json.dumps({"data": stations}).encode()}

    @cached_property
    def haduk(self) -> xr.Dataset:
        """Three days of rain on 4 × 3 cells."""
        return rain_maps(190000.0, 290000.0)

    def netcdf(self, name: str) -> bytes:
        """The record, CAMELS-GB or HadUK as a NetCDF file."""
        if name not in self._files:
            file = self.folder / "once.nc"
            {"record": self.record, "camels": self.camels, "haduk": self.haduk}[name].to_netcdf(file, engine="h5netcdf")
            self._files[name] = file.read_bytes()
        return self._files[name]

    @cached_property
    def store(self) -> Path:
        """The record as a store."""
        file, store = self.folder / "base.nc", self.folder / "store.zarr"
        self.record.to_netcdf(file, engine="h5netcdf")
        assert main(["prepare", str(file), str(store), "--training-period", *TRAINING, "--json"]) == 0
        return store

    @cached_property
    def model(self) -> Path:
        """A model folder, its weights at random."""
        torch.manual_seed(0)
        scaling = scaling_of(open_store(self.store))
        save_model(self.folder / "model", HydroMAE(CONFIG).set_scaling(scaling).state_dict(), CONFIG, scaling, None)
        return self.folder / "model"

    @cached_property
    def run(self) -> Path:
        """A run stopped after its first step."""
        run = self.folder / "run"
        assert main(self.pretrain(run, "--stop-after", "1")) == 0
        return run

    @cached_property
    def config(self) -> Path:
        """A configuration as a Python file."""
        file = self.folder / "config.py"
        file.write_text(python_config(json.loads(CONFIG.to_json())))
        return file

    def pretrain(self, run: Path, *more: str, config: Path | None = None) -> list[str]:
        """The command that trains a run."""
        fixed = ("--config", str(config or self.config), "--device", "cpu", "--json")
        return ["pretrain", str(self.store), "--out", str(run), *fixed, *more]


def python_config(fields: object) -> str:
    """A Python file that builds a configuration of these fields."""
    return f"import json\nfrom hydromae.config import Config\nconfig = Config.from_json(json.dumps({fields!r}))\n"
