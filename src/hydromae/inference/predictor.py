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
from hydromae.batching.record_arrays import RecordArrays, to_record_arrays
from hydromae.batching.windows import cut_batch
from hydromae.config import Config, Precision
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.inference import scenarios
from hydromae.inference.assemble import assemble, days_to_predict, parse_levels, to_catchments
from hydromae.inference.model_card import model_card, read_card, write_model_folder
from hydromae.inference.scenarios import FutureWeather
from hydromae.inference.sliding_window import WindowAverager, overlapping_windows
from hydromae.inference.widening import Widening, note_widening, read_widening, widening_factors, widening_files
from hydromae.io.folders import WEIGHTS
from hydromae.io.memory import Attributes, read_attributes, read_record
from hydromae.io.options import NegativeFlow, use_reading_options
from hydromae.io.provenance import count_origins, provenance, with_provenance
from hydromae.io.write import forecast_in_units, forecast_table
from hydromae.model.checksums import checksum_of
from hydromae.model.dtypes import default_float32
from hydromae.model.mae import HydroMAE
from hydromae.model.mixture import GaussianMixture
from hydromae.model.serialization import find_model, intact_folder, load_model, write_model
from hydromae.runtime import autocast, parse_precision, pick_device, pick_precision
from hydromae.store.scaling import Scaling
from hydromae.variables import MODALITIES

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that an answer carries unless others are asked for."""
MAX_SITES_PER_BATCH = 600
ProgressCallback = Callable[[int, int], None]


def no_progress(done: int, of: int) -> None:
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
    def identity(self) -> dict[str, str | None]:
        """What the provenance of an answer says of the model."""
        return {"model": self.loaded_as or self.name, "sha256": self.sha256, "precision": self.precision_used}

    @overload
    def predict(
        self,
        data: xr.Dataset,
        quantiles: Sequence[float] = LEVELS,
        attributes: Attributes = None,
        progress: ProgressCallback = no_progress,
        negative_flow: NegativeFlow = "refuse",
    ) -> xr.Dataset: ...
    @overload
    def predict(
        self,
        data: pd.DataFrame,
        quantiles: Sequence[float] = LEVELS,
        attributes: Attributes = None,
        progress: ProgressCallback = no_progress,
        negative_flow: NegativeFlow = "refuse",
    ) -> pd.DataFrame: ...
    def predict(
        self,
        data: xr.Dataset | pd.DataFrame,
        quantiles: Sequence[float] = LEVELS,
        attributes: Attributes = None,
        progress: ProgressCallback = no_progress,
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
            progress: Called with how many windows are answered, and of how many; nothing is printed unless it does.
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
        levels, static_attributes = parse_levels(quantiles), read_attributes(attributes)
        if not isinstance(data, xr.Dataset | pd.DataFrame):
            raise InputError(f"{type(data).__name__}: cannot be answered; give an xarray Dataset or a pandas DataFrame")
        with use_reading_options(negative_flow):
            record, layout = read_record(data, static_attributes)
        answer = self.predict_record(record, levels, progress)
        call = f"Model.predict(quantiles={levels}, negative_flow={negative_flow!r})"
        provenance_attrs = provenance(self.identity, record, count_origins(answer, layout.selected), call)
        return with_provenance(layout.restore(answer, record), provenance_attrs)

    def forecast(
        self,
        data: xr.Dataset | pd.DataFrame,
        days: int = 7,
        issues: pd.DatetimeIndex | None = None,
        future_weather: FutureWeather = "observed",
        quantiles: Sequence[float] = LEVELS,
        attributes: Attributes = None,
        progress: ProgressCallback = no_progress,
        negative_flow: NegativeFlow = "refuse",
    ) -> xr.Dataset | pd.DataFrame:
        """Forecast the flow of every river after one or more issue days.

        Args:
            data: As for `predict`. Flow observed after an issue day is not used.
            days: Days ahead of each issue day.
            issues: Issue days, e.g. `pandas.date_range("2014-10-05", "2015-09-20", freq="5D")`; None means the last day on
                which any flow was observed.
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
        levels, static_attributes = parse_levels(quantiles), read_attributes(attributes)
        with use_reading_options(negative_flow):
            record, layout = read_record(data, static_attributes)
        answer = self.forecast_record(record, days, issues, future_weather, levels, progress)
        column, units = layout.flow
        answer = forecast_in_units(answer, units, record.get("catchment-area"))
        call = f"Model.forecast(days={days}, future_weather={future_weather!r}, quantiles={levels})"
        provenance_attrs = provenance(self.identity, record, count_origins(answer), call)
        return with_provenance(
            answer if isinstance(data, xr.Dataset) else forecast_table(answer, column), provenance_attrs
        )

    def forecast_record(
        self,
        record: xr.Dataset,
        days: int = 7,
        issues: pd.DatetimeIndex | None = None,
        future_weather: FutureWeather = "observed",
        levels: Sequence[float] = LEVELS,
        progress: ProgressCallback = no_progress,
    ) -> xr.Dataset:
        """As `forecast`, for a record that a reader has read; flow in mm/day."""
        if issues is None:
            issues = scenarios.last_flow_day(record)
        method = _LastDays(self, list(levels), days)
        context = self.config.data.sequence_length
        return scenarios.forecast(method, record, issues, days, future_weather, context, progress)

    def embed(self, data: xr.Dataset | pd.DataFrame, attributes: Attributes = None) -> xr.Dataset:
        """What the encoder makes of rivers and days, to compare or to cluster them.

        Args:
            data, attributes: As `predict` takes them.

        Returns:
            Dataset: `site_embedding` (catchment, feature), the mean over the days, and `day_embedding` (time, feature), the
                mean over the catchments; catchments that share a token share their embedding.
        """
        dataset, _ = read_record(data, read_attributes(attributes))
        record = to_record_arrays(dataset, self.config, self.scaling, self.grid)
        record.domain.warn(dataset, self.scaling)
        width = self.config.model.d_model
        sites, days = np.zeros((len(record.groups), width)), np.zeros((len(record.days), width))
        weights = np.zeros(len(record.days))
        with torch.inference_mode():
            for batch, weight, starts in self._window_batches(record, np.ones(len(record.days), dtype=bool)):
                hidden = {name: value.to(self.device) for name, value in nothing(batch).items()}
                with autocast(self.device, self.precision_used):
                    tokens = self.network.encode(batch.to(self.device), hidden).float().cpu().numpy()
                for part, day_weights, start in zip(tokens, weight, starts, strict=True):
                    day_slice = slice(start, start + len(day_weights))
                    sites += np.einsum("t,tsd->sd", day_weights, part)
                    days[day_slice] += day_weights[:, None] * part.mean(axis=1)
                    weights[day_slice] += day_weights
        slots = np.repeat((sites / weights.sum()).T[:, :, None], record.groups.shape[1], axis=2)
        return xr.Dataset(
            {
                "site_embedding": (("catchment", "feature"), to_catchments(slots, record, 0, 1).T),
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
        requested = bool(datasets or licence or scores)
        card = (None if requested else self.card) or model_card(
            self.network, self.config, self.name, datasets=datasets, licence=licence, scores=scores
        )
        model = (self.network.state_dict(), self.config, self.scaling, self.grid, widening_files(self.widening))
        write_model_folder(Path(folder), lambda aside: write_model(aside, *model), card, requested)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | torch.device | None = "auto", precision: str = "auto"
    ) -> Model:
        """As `hydromae.load`."""
        return load(folder, device, precision)

    def predict_record(
        self,
        dataset: xr.Dataset,
        levels: list[float],
        progress: ProgressCallback = no_progress,
        last_days: int | None = None,
    ) -> xr.Dataset:
        """As `predict`, for a record that a reader has read: its form and its values are not checked again.

        Args:
            dataset: A water record in canonical units (docs/design.md, section 10).
            levels: Levels of `riverflow_quantile`, ascending.
            progress: As for `predict`.
            last_days: Only this many days at the end are predicted and returned; None means all.

        Returns:
            Dataset: As for `predict`.
        """
        record = to_record_arrays(dataset, self.config, self.scaling, self.grid)
        record.domain.warn(dataset, self.scaling)
        factors = widening_factors(self.widening, record, self.config.data.sequence_length)
        averager = WindowAverager(record.values, self.scaling, levels, factors)
        with torch.inference_mode(), default_float32():
            targets = days_to_predict(dataset, record, self.scaling)
            if last_days is not None:
                targets[: len(targets) - last_days] = False
            for batch, weight, starts in self._window_batches(record, targets, progress):
                days = None if last_days is None else targets[starts[:, None] + np.arange(weight.shape[1])]
                averager.add(self._forward(batch, record, days), weight, starts)
        answer = note_widening(assemble(dataset, record, averager), record, factors, self.config.data.sequence_length)
        return answer if last_days is None else answer.isel(time=slice(-last_days, None))

    def _forward(
        self, batch: Batch, record: RecordArrays, days: Bool[np.ndarray, "B T"] | None
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor, GaussianMixture | None]]:
        """For each modality the target tokens Bool[B, T, S], their means Float[N, F] and distributions.

        Args:
            batch, record: Windows of a record.
            days: Days whose tokens are targets; None means all.
        """
        targets = {name: (~seen).any(dim=-1) for name, seen in batch.observed.items()}
        if days is not None:
            targets = {name: target & torch.from_numpy(days)[..., None] for name, target in targets.items()}
        for name in targets:
            if MODALITIES[name].kind == "map" and not len(record.patches):
                targets[name] = torch.zeros_like(targets[name])
        batch, requested = batch.to(self.device), {name: value.to(self.device) for name, value in targets.items()}
        hidden = {name: value.to(self.device) for name, value in nothing(batch).items()}
        with autocast(self.device, self.precision_used):
            out = self.network(batch, hidden, requested, few_days=days is not None)
        answers = {}
        for name, where in requested.items():
            mixture = out.gaussians.get(name)
            selected = (
                None
                if mixture is None
                else GaussianMixture(*(p[where].cpu() for p in (mixture.weight, mixture.centre, mixture.spread)))
            )
            answers[name] = (targets[name], out.mean[name][where].cpu(), selected)
        return answers

    def _window_batches(
        self, record: RecordArrays, targets: np.ndarray, progress: ProgressCallback = no_progress
    ) -> Iterator[tuple[Batch, Float[np.ndarray, "B T"], np.ndarray]]:
        """Overlapping windows that hold a wanted day, with the weight of each of their days in the blend."""
        length, starts, weights = overlapping_windows(
            len(record.days), self.config.data.sequence_length, self.config.data.warm_up_days
        )
        is_needed = np.array([(targets[s : s + length] & (w > 0)).any() for s, w in zip(starts, weights, strict=True)])
        starts, weights = starts[is_needed], weights[is_needed]
        windows_per_batch = max(1, MAX_SITES_PER_BATCH // max(1, len(record.groups)))
        days = self.config.data.antecedent_days
        for first in range(0, len(starts), windows_per_batch):
            part = slice(first, first + windows_per_batch)
            antecedent_days = [days] * len(starts[part]) if days else None
            yield cut_batch(record, starts[part], length, None, antecedent_days), weights[part], starts[part]
            progress(min(first + windows_per_batch, len(starts)), len(starts))


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
    folder = find_model(folder) or folder
    if not folder.exists():
        raise InputError(f"{name}: no such model; name a run, a checkpoint, a model folder, or {', '.join(shipped())}")
    where = pick_device(device)
    requested = parse_precision(precision)
    network, config, scaling, grid = load_model(folder)
    folder_name, weights, widening = (
        Path(name).resolve().name,
        checksum_of(intact_folder(folder), WEIGHTS),
        read_widening(folder),
    )
    network = network.to(where)
    return Model(
        network, config, scaling, grid, where, "hydromae", read_card(folder), requested, folder_name, weights, widening
    )


def shipped() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(folder.parent.name for folder in SHIPPED.glob(f"*/{WEIGHTS}"))
