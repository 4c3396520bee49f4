"""The one door: a dataset with NaN goes in, the same dataset with distributions comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.batching.batch import Batch
from hydromae.batching.masking import nothing
from hydromae.batching.record_arrays import Record, record_of
from hydromae.batching.windows import batch_of
from hydromae.config import Config, Precision
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.inference import scenarios
from hydromae.inference.assemble import assemble, catchments_of, levels_of, wanted_days
from hydromae.inference.model_card import model_card, read_card, write_shared
from hydromae.inference.scenarios import FutureWeather
from hydromae.inference.sliding_window import Sums, overlapping
from hydromae.inference.widening import Widening, factors_of, read_widening, saying, text_of
from hydromae.io.folders import WEIGHTS
from hydromae.io.memory import Attributes, attributes_of, record_in
from hydromae.io.options import NegativeFlow, reading_with
from hydromae.io.provenance import provenance, stamped, tally
from hydromae.io.write import forecast_in, forecast_table
from hydromae.model.checksums import sum_of
from hydromae.model.dtypes import float32
from hydromae.model.mae import HydroMAE
from hydromae.model.mixture import Gaussians
from hydromae.model.serialization import load_model, model_in, whole, write_model
from hydromae.runtime import autocast, pick_device, pick_precision, precision_named
from hydromae.store.scaling import Scaling
from hydromae.variables import MODALITIES

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that an answer carries unless others are asked for."""
SITES_AT_ONCE = 600
Watch = Callable[[int, int], None]


def unwatched(done: int, of: int) -> None:
    """Nobody looks on."""


@dataclass(frozen=True)
class _LastDays:
    """A model as a method that predicts the last days of a record alone, which a reader has read already."""

    model: Model
    levels: list[float]
    days: int

    @property
    def name(self) -> str:
        return self.model.name

    def predict(self, dataset: xr.Dataset, /) -> xr.Dataset:
        return self.model.predict_record(dataset, self.levels, last_days=self.days)


SHIPPED = Path(__file__).parents[1] / "assets"


@dataclass(frozen=True)
class Model:
    """A trained model, as `load` gives it.

    Attributes:
        card: What its folder says of it.
        precision: What answers are asked for in; "auto" is what the model was trained in where that is native to the device,
            else fp32.
        loaded_as, sha256: The name that it was loaded by, and the sum of its weights; None where it is of no file.
    """

    network: HydroMAE
    config: Config
    scaling: Scaling
    grid: GridSpec | None
    device: torch.device
    name: str = "hydromae"
    card: str | None = None
    precision: Precision = "auto"
    loaded_as: str | None = None
    sha256: str | None = None
    widening: Widening | None = None

    @property
    def precision_used(self) -> Precision:
        """What answers are computed in: "fp32", "bf16" or "fp16"."""
        return pick_precision(self.precision, self.device, self.config.train.precision)

    @property
    def maker(self) -> dict[str, str | None]:
        """What the provenance of an answer says of the model."""
        return {"model": self.loaded_as or self.name, "sha256": self.sha256, "precision": self.precision_used}

    @overload
    def predict(
        self,
        data: xr.Dataset,
        quantiles: Sequence[float] = LEVELS,
        attributes: Attributes = None,
        watch: Watch = unwatched,
        negative_flow: NegativeFlow = "refuse",
    ) -> xr.Dataset: ...
    @overload
    def predict(
        self,
        data: pd.DataFrame,
        quantiles: Sequence[float] = LEVELS,
        attributes: Attributes = None,
        watch: Watch = unwatched,
        negative_flow: NegativeFlow = "refuse",
    ) -> pd.DataFrame: ...
    def predict(
        self,
        data: xr.Dataset | pd.DataFrame,
        quantiles: Sequence[float] = LEVELS,
        attributes: Attributes = None,
        watch: Watch = unwatched,
        negative_flow: NegativeFlow = "refuse",
    ) -> xr.Dataset | pd.DataFrame:
        """Answer every NaN of every variable that the model knows.

        Args:
            data: A water record (docs/design.md, section 10): `riverflow` [mm day-1, or m3 s-1 by its units] and any of the
                weather, `(time, catchment)`; attributes under the NRFA names. A DataFrame is long (one row a day and
                catchment), or wide: one row a day, a column of flow for each river, its units in `data.attrs["units"]` or in
                the columns (`39001 [m3/s]`).
            quantiles: Levels of `riverflow_quantile`.
            attributes (DataFrame (catchments as its index), Dataset or path, optional): Of the catchments, where the data
                have none: positions at least.
            watch: Told how many windows are answered, and of how many; nothing is printed unless it does.
            negative_flow ({"refuse", "missing"}): "missing": flow below zero (tide, backwater) counts as not observed,
                instead of being refused.

        Returns:
            Dataset or DataFrame: What was observed, bit for bit; in place of NaN the mean of the answer. Beside it
                `riverflow_quantile` (quantile, time, catchment) and `riverflow_origin` (0 observed, 1 filled, 2 forecast, 3
                ungauged); the same of weather that was answered. Attributes say what made it (`io.provenance`) and where
                intervals are widened (`processing`); `outside_training` (catchment; in a table a column) names what of a
                catchment lies outside the training of the model, or is cut to what a river can carry.

        Raises:
            InputError: If the data are no water record, or a value is impossible.
        """
        levels, known = levels_of(quantiles), attributes_of(attributes)
        if not isinstance(data, xr.Dataset | pd.DataFrame):
            raise InputError(f"{type(data).__name__}: cannot be answered; give an xarray Dataset or a pandas DataFrame")
        with reading_with(negative_flow):
            record, layout = record_in(data, known)
        answer = self.predict_record(record, levels, watch)
        call = f"Model.predict(quantiles={levels}, negative_flow={negative_flow!r})"
        made = provenance(self.maker, record, tally(answer, layout.selected), call)
        return stamped(layout.restore(answer, record), made)

    def forecast(
        self,
        data: xr.Dataset | pd.DataFrame,
        days: int = 7,
        issues: str | pd.DatetimeIndex | None = None,
        future_weather: FutureWeather = "observed",
        quantiles: Sequence[float] = LEVELS,
        attributes: Attributes = None,
        watch: Watch = unwatched,
        negative_flow: NegativeFlow = "refuse",
    ) -> xr.Dataset | pd.DataFrame:
        """Forecast the flow of every river after one or more issue days.

        Args:
            data: As for `predict`. Flow observed after an issue day is not used.
            days: Days ahead of each issue day.
            issues: Issue days, or "first/last/every" such as "2014-10-05/2015-09-20/5"; None means the last day on which
                any flow was observed.
            future_weather ({"observed", "none"}): Whether weather after an issue day is used, where the data hold it (what
                was observed, or a weather forecast).
            quantiles, attributes, watch, negative_flow: As for `predict`; progress is counted in issue days.

        Returns:
            Dataset or DataFrame: `riverflow(issue_time, lead, catchment)` in the unit of the data, lead in days from 1, with
                `riverflow_quantile`, `riverflow_origin` and `valid_time(issue_time, lead)`; for a table, a row for each issue
                day, lead and catchment.

        Raises:
            InputError: As for `predict`, and if an issue day lies outside the data.
        """
        levels, known = levels_of(quantiles), attributes_of(attributes)
        with reading_with(negative_flow):
            record, layout = record_in(data, known)
        answer = self.forecast_record(record, days, issues, future_weather, levels, watch)
        column, units = layout.flow
        answer = forecast_in(answer, units, record.get("catchment-area"))
        call = f"Model.forecast(days={days}, future_weather={future_weather!r}, quantiles={levels})"
        made = provenance(self.maker, record, tally(answer), call)
        return stamped(answer if isinstance(data, xr.Dataset) else forecast_table(answer, column), made)

    def forecast_record(
        self,
        record: xr.Dataset,
        days: int = 7,
        issues: str | pd.DatetimeIndex | None = None,
        future_weather: FutureWeather = "observed",
        levels: Sequence[float] = LEVELS,
        watch: Watch = unwatched,
    ) -> xr.Dataset:
        """As `forecast`, for a record that a reader has read; flow in mm/day."""
        if issues is None:
            issues = scenarios.last_flow(record)
        elif isinstance(issues, str):
            issues = scenarios.parse_issues(issues)
        method = _LastDays(self, list(levels), days)
        context = self.config.data.sequence_length
        return scenarios.forecast(method, record, issues, days, future_weather, context, watch)

    def embed(self, data: xr.Dataset | pd.DataFrame, attributes: Attributes = None) -> xr.Dataset:
        """What the encoder makes of rivers and days, to compare or to cluster them.

        Args:
            data, attributes: As `predict` takes them.

        Returns:
            Dataset: `site_embedding` (catchment, feature), the mean over the days, and `day_embedding` (time, feature), the
                mean over the catchments; catchments that share a token share their embedding.
        """
        dataset, _ = record_in(data, attributes_of(attributes))
        record = record_of(dataset, self.config, self.scaling, self.grid)
        record.domain.say(dataset, self.scaling)
        width = self.config.model.d_model
        sites, days = np.zeros((len(record.groups), width)), np.zeros((len(record.days), width))
        weights = np.zeros(len(record.days))
        with torch.inference_mode():
            for batch, weight, starts in self._windows(record, np.ones(len(record.days), dtype=bool)):
                hidden = {name: value.to(self.device) for name, value in nothing(batch).items()}
                with autocast(self.device, self.precision_used):
                    tokens = self.network.represent(batch.to(self.device), hidden).float().cpu().numpy()
                for part, share, start in zip(tokens, weight, starts, strict=True):
                    here = slice(start, start + len(share))
                    sites += np.einsum("t,tsd->sd", share, part)
                    days[here] += share[:, None] * part.mean(axis=1)
                    weights[here] += share
        slots = np.repeat((sites / weights.sum()).T[:, :, None], record.groups.shape[1], axis=2)
        return xr.Dataset(
            {
                "site_embedding": (("catchment", "feature"), catchments_of(slots, record, 0, 1).T),
                "day_embedding": (("time", "feature"), (days / weights[:, None]).astype(np.float32)),
            },
            coords={"catchment": dataset["catchment"].values, "time": dataset["time"].values},
        )

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        datasets: Sequence[str] = (),
        licence: str | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """Write a folder that `hydromae.load` reads and that can be shared as it is: weights, settings, scaling, and a card.

        Args:
            folder: Only the files of a model are replaced there, the rest stays; a run, a checkpoint or a store is refused.
            datasets, licence, scores: What `README.md` says beside what the model itself holds (`model_card.model_card`). A
                model that was loaded with a card keeps it where none of them is given, and a `README.md` in the folder stays.
        """
        asked = bool(datasets or licence or scores)
        card = (None if asked else self.card) or model_card(
            self.network, self.config, self.name, datasets=datasets, licence=licence, scores=scores
        )
        model = (self.network.state_dict(), self.config, self.scaling, self.grid, text_of(self.widening))
        write_shared(Path(folder), lambda aside: write_model(aside, *model), card, asked)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | torch.device | None = "auto", precision: str = "auto"
    ) -> Model:
        """As `hydromae.load`."""
        return load(folder, device, precision)

    def predict_record(
        self, dataset: xr.Dataset, levels: list[float], watch: Watch = unwatched, last_days: int | None = None
    ) -> xr.Dataset:
        """As `predict`, for a record that a reader has read: its form and its values are not checked again.

        Args:
            dataset: A water record in canonical units (docs/design.md, section 10).
            levels: Levels of `riverflow_quantile`, ascending.
            watch: As for `predict`.
            last_days: Only this many days at the end are predicted and returned; None means all.

        Returns:
            Dataset: As for `predict`.
        """
        record = record_of(dataset, self.config, self.scaling, self.grid)
        record.domain.say(dataset, self.scaling)
        factors = factors_of(self.widening, record, self.config.data.sequence_length)
        sums = Sums(record.values, self.scaling, levels, factors)
        with torch.inference_mode(), float32():
            wanted = wanted_days(dataset, record, self.scaling)
            if last_days is not None:
                wanted[: len(wanted) - last_days] = False
            for batch, weight, starts in self._windows(record, wanted, watch):
                days = wanted[starts[:, None] + np.arange(weight.shape[1])] & (weight > 0)
                sums.add(self._forward(batch, record, days), weight, starts)
        answer = saying(assemble(dataset, record, sums), record, factors, self.config.data.sequence_length)
        return answer if last_days is None else answer.isel(time=slice(-last_days, None))

    def _forward(
        self, batch: Batch, record: Record, days: Bool[np.ndarray, "B T"]
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor, Gaussians | None]]:
        """For each modality the asked tokens Bool[B, T, S] of some days, their means Float[N, F], and their distributions."""
        of_days = torch.from_numpy(days)[..., None]
        wanted = {name: (~seen).any(dim=-1) & of_days for name, seen in batch.observed.items()}
        for name in wanted:
            if MODALITIES[name].kind == "map" and not len(record.patches):
                wanted[name] = torch.zeros_like(wanted[name])
        batch, asked = batch.to(self.device), {name: value.to(self.device) for name, value in wanted.items()}
        hidden = {name: value.to(self.device) for name, value in nothing(batch).items()}
        with autocast(self.device, self.precision_used):
            out = self.network(batch, hidden, asked)
        answers = {}
        for name, where in asked.items():
            found = out.gaussians.get(name)
            picked = (
                None
                if found is None
                else Gaussians(*(p[where].cpu() for p in (found.weight, found.centre, found.spread)))
            )
            answers[name] = (wanted[name], out.mean[name][where].cpu(), picked)
        return answers

    def _windows(
        self, record: Record, wanted: np.ndarray, watch: Watch = unwatched
    ) -> Iterator[tuple[Batch, Float[np.ndarray, "B T"], np.ndarray]]:
        """Overlapping windows that hold a wanted day, with the weight of each of their days in the blend."""
        length, starts, weights = overlapping(
            len(record.days), self.config.data.sequence_length, self.config.data.warm_up_days
        )
        useful = np.array([(wanted[s : s + length] & (w > 0)).any() for s, w in zip(starts, weights, strict=True)])
        starts, weights = starts[useful], weights[useful]
        together = max(1, SITES_AT_ONCE // max(1, len(record.groups)))
        days = self.config.data.look_back_days
        for first in range(0, len(starts), together):
            part = slice(first, first + together)
            look_back = [days] * len(starts[part]) if days else None
            yield batch_of(record, starts[part], length, None, look_back), weights[part], starts[part]
            watch(min(first + together, len(starts)), len(starts))


def load(name: str | Path, device: str | torch.device | None = "auto", precision: str = "auto") -> Model:
    """A trained model: a shipped one by its name, a run (its best, else its last state), a checkpoint, or a model folder.

    `device` is "auto" (or None), "cpu", "cuda", "mps" or a torch.device. `precision` "auto" answers in what the model was
    trained in where that is native to the device, else in fp32; "fp32", "bf16" and "fp16" are obeyed, and an operation that
    lacks them runs in fp32.

    Of a folder that holds runs of `pretrain --new-run`, the newest.

    Raises:
        InputError: If there is no model under that name, no such device, or no such precision.
    """
    folder = SHIPPED / str(name) if str(name) in shipped() else Path(name)
    folder = model_in(folder) or folder
    if not folder.exists():
        raise InputError(f"{name}: no such model; name a run, a checkpoint, a model folder, or {', '.join(shipped())}")
    where = pick_device(device)
    asked = precision_named(precision)
    network, config, scaling, grid = load_model(folder)
    named, weights, widening = Path(name).resolve().name, sum_of(whole(folder), WEIGHTS), read_widening(folder)
    network = network.to(where)
    return Model(network, config, scaling, grid, where, "hydromae", read_card(folder), asked, named, weights, widening)


def shipped() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(folder.parent.name for folder in SHIPPED.glob(f"*/{WEIGHTS}"))
