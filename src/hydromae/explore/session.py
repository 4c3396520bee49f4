"""Session of the explorer: store, model and optional scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int

from hydromae.config import Precision
from hydromae.errors import InputError
from hydromae.evaluate.score import Evaluation
from hydromae.evaluate.summary import reported_method
from hydromae.grid import GridSpec
from hydromae.inference.predictor import Model, load
from hydromae.io.catchment_footprints import catchment_footprints
from hydromae.io.conventions import catchment_positions
from hydromae.io.credits import list_credits
from hydromae.io.provenance import model_line
from hydromae.report.labels import question_label
from hydromae.store.validate import store_errors
from hydromae.store.zarr_store import open_store
from hydromae.variables import MODALITIES

FORMAT = 1
YEAR = 365


@dataclass(frozen=True)
class Session:
    """Record, model and scores.

    Attributes:
        record: Series in memory (docs/design.md, section 10).
        maps: Maps of the same days, read lazily; None if the model uses no map of the store.
        scores: Scores of `evaluate.score.Evaluation`.
        name, model_name: Names of the record and the model on the page.
    """

    record: xr.Dataset
    maps: xr.Dataset | None
    model: Model
    scores: xr.Dataset | None = None
    name: str = "record"
    model_name: str = "hydromae"

    def __post_init__(self) -> None:
        """Refuse a record without flow or positions."""
        if "riverflow" not in self.record:
            raise InputError(f"{self.name}: has no riverflow to explore; prepare a store with flow")
        catchment_positions(self.record)

    @cached_property
    def names(self) -> list[str]:
        """Return the names of the rivers."""
        return [str(name) for name in self.record["catchment"].values]

    @cached_property
    def days(self) -> pd.DatetimeIndex:
        """Return the days of the record."""
        return pd.DatetimeIndex(self.record["time"].values)

    @cached_property
    def positions(self) -> Float[np.ndarray, "C 2"]:
        """Return easting and northing of the gauges [km]."""
        return np.stack(catchment_positions(self.record), axis=-1) / 1000

    @cached_property
    def flow(self) -> Float[np.ndarray, "T C"]:
        """Return river flow [mm/day], NaN if unobserved."""
        return self.record["riverflow"].transpose("time", "catchment").values

    def river_index(self, river: str) -> int:
        """Return the index of a river.

        Raises:
            InputError: Unknown river.
        """
        if river not in self._river_indices:
            raise InputError(f"river {river[:40]!r} is not in the record; choose among its {len(self.names)}")
        return self._river_indices[river]

    @cached_property
    def _river_indices(self) -> dict[str, int]:
        return {name: river_index for river_index, name in enumerate(self.names)}

    def day_range(self, start: date, end: date) -> tuple[int, int]:
        """Return the indices of first and last day.

        Raises:
            InputError: A day is outside the record.
        """
        first_day, last_day = (day.astype("datetime64[D]").item() for day in self.record["time"].values[[0, -1]])
        for day in (start, end):
            if not first_day <= day <= last_day:
                raise InputError(f"{day} lies outside the record; choose days from {first_day} to {last_day}")
        return (start - first_day).days, (end - first_day).days

    def last_year(self, river_index: int) -> tuple[int, int]:
        """Return the indices of the last observed year of a river, or else of the record."""
        measured = np.flatnonzero(np.isfinite(self.flow[:, river_index]))
        last = min(int(measured[-1]) + 1, len(self.days) - 1) if len(measured) else len(self.days) - 1
        return max(0, last - YEAR + 1), last

    def nearest(self, river_index: int, count: int) -> Int[np.ndarray, " N"]:
        """Return `count` rivers by distance of their gauges from a river, itself first."""
        distance = np.linalg.norm(self.positions - self.positions[river_index], axis=1)
        distance[river_index] = -1.0
        return np.argsort(distance, kind="stable")[:count]

    def select(self, river_index: int, days: slice, rivers: int | None) -> xr.Dataset:
        """Return days of a river and its nearest ones, itself first, with the maps around them; `rivers` None is all."""
        river_indices = self.nearest(river_index, len(self.names) if rivers is None else rivers)
        part = self.record.isel(catchment=river_indices, time=days)
        if self.maps is None:
            return part
        with store_errors(self.name):
            maps = self.maps if rivers is None else self.maps.isel(cell=self._cells(part, river_index))
            return part.merge(maps.isel(time=days).load())

    def _cells(self, part: xr.Dataset, river_index: int) -> Int[np.ndarray, " N"]:
        """Return the indices of the cells of the footprints and of as many patches as a training window has, the nearest."""
        assert self.maps is not None
        cell, grid = self.maps["cell"].values.astype(np.int64), self.model.grid or GridSpec()
        limit = self.model.config.data.patches_per_window
        patch, patches = grid.patch_of(cell)[0], grid.land_patches_of(cell)
        centres = np.stack(grid.patch_position(patches), axis=-1) / 1000
        distance = np.linalg.norm(centres - self.positions[river_index], axis=1)
        near = patches[np.argsort(distance, kind="stable")[:limit]]
        footprints = catchment_footprints(part, cell, grid)
        return np.flatnonzero(np.isin(patch, np.union1d(near, patch[footprints.cell])))

    def overview(self) -> dict[str, Any]:
        """Return the data of the page without a river."""
        record = self.record
        area = record["catchment-area"].values if "catchment-area" in record else np.full(len(self.names), np.nan)
        gauge_names = record["name"].values if "name" in record.variables else np.full(len(self.names), "")
        return {
            "format": FORMAT,
            "record": self.name,
            "model": self.model_name,
            "start": f"{self.days[0]:%Y-%m-%d}",
            "end": f"{self.days[-1]:%Y-%m-%d}",
            "river": self.names,
            "name": [str(title) for title in gauge_names],
            "easting": rounded(self.positions[:, 0], 1),
            "northing": rounded(self.positions[:, 1], 1),
            "area": rounded(area, 1),
            "observed": rounded(np.isfinite(self.flow).mean(axis=0), 3),
            "sources": list_credits(record),
            "predicted_by": f"{model_line(self.model.identity)}, in {self.model.precision_used}",
            "scores": self._scores(),
            "maps": [] if self.maps is None else [str(name) for name in self.maps.data_vars],
        }

    def _scores(self) -> dict[str, Any] | None:
        """Return the NSE of all rivers and tasks, null without a score."""
        if self.scores is None:
            return None
        method = reported_method(self.scores, self.model.name)
        rows = []
        for row in map(str, self.scores["question"].values):
            nse = self.scores["nse"].sel({"question": row})
            if not nse.notnull().any():
                continue
            nse = nse.sel({"method": method})
            by_name = {str(c): float(v) for c, v in zip(nse["catchment"].values, nse.values, strict=True)}
            values = np.array([by_name.get(name, np.nan) for name in self.names])
            rows.append({"question": row, "title": question_label(row).title, "nse": rounded(values, 3)})
        return {"method": method, "questions": rows}


def rounded(values: Float[np.ndarray, " N"], digits: int = 4) -> list[float | None]:
    """Round numbers for JSON, with null for NaN."""
    return [round(float(value), digits) if np.isfinite(value) else None for value in values]


def open_session(
    store: Path, model: str | Path, scores: Path | None = None, device: str = "auto", precision: Precision = "auto"
) -> Session:
    """Open a store, a model and scores.

    Raises:
        InputError: A path is missing or invalid, or the parts do not belong together.
    """
    model_loaded = load(model, device, precision)
    store_record = open_store(store)
    map_variables = [str(name) for name in store_record.data_vars if "cell" in store_record[name].dims]
    with store_errors(store):
        record = store_record.drop_vars(map_variables).drop_dims("cell", errors="ignore").load()
    map_names = [
        name
        for name in model_loaded.config.model.modalities
        if MODALITIES[name].kind == "map" and name in map_variables
    ]
    maps = store_record[map_names].reset_coords(drop=True) if map_names else None
    scores_found = None if scores is None else Evaluation.load(scores).scores
    return Session(record, maps, model_loaded, scores_found, store.name, Path(model).name or str(model))
