"""The prediction API: `Model` fills every NaN of a dataset with a prediction and its distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import pandas as pd
import torch
import xarray as xr

from hydromae.batching.record_arrays import to_record_arrays
from hydromae.config import Config, Precision
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.inference import scenarios
from hydromae.inference.assemble import parse_levels, to_catchments
from hydromae.inference.long_gaps import check_longest_gap, leave_long_gaps
from hydromae.inference.method import DEFAULT_LEVELS, ModelMethod
from hydromae.inference.model_card import model_card, read_card, write_model_folder
from hydromae.inference.own_maps import adjust_to_own_maps
from hydromae.inference.own_record import adjust_to_own_record
from hydromae.inference.scenarios import FutureWeather
from hydromae.inference.single_pass import predict_once
from hydromae.inference.spot_gaugings import adjust_to_spot_gaugings
from hydromae.inference.widening import Widening, read_widening, widening_files
from hydromae.inference.windows import ProgressCallback, mean_tokens, no_progress
from hydromae.io.folders import WEIGHTS
from hydromae.io.memory import Attributes, read_attributes, read_record
from hydromae.io.options import NegativeFlow, use_reading_options
from hydromae.io.provenance import count_origins, provenance, with_provenance
from hydromae.io.write import forecast_in_units, forecast_table
from hydromae.model.checksums import checksum_of
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import find_model, intact_folder, load_model, write_model
from hydromae.runtime import parse_precision, pick_device, pick_precision
from hydromae.store.scaling import Scaling
from hydromae.store.training_domain import TrainingDomain

Record = TypeVar("Record", xr.Dataset, pd.DataFrame)
"""A dataset or a table: the prediction has the type of the data."""
SHIPPED = Path(__file__).parents[1] / "assets"


@dataclass(frozen=True)
class Model:
    """A trained model (`hydromae.load`).

    Attributes:
        card: Text of the model card of its folder.
        precision: Requested precision; "auto" is that of training where the device computes in it natively, else fp32.
        loaded_as, sha256: Name of its folder and SHA-256 of its weights; None for a model without a file.
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
        """Precision of the predictions: "fp32", "bf16" or "fp16"."""
        return pick_precision(self.precision, self.device, self.config.train.precision)

    @property
    def identity(self) -> dict[str, str | None]:
        """The entries of the model in the provenance of a prediction."""
        return {"model": self.loaded_as or self.name, "sha256": self.sha256, "precision": self.precision_used}

    def _summary(self) -> dict[str, str]:
        return {
            "name": self.loaded_as or self.name,
            "modalities": ", ".join(self.config.model.modalities),
            "parameters": f"{sum(parameter.numel() for parameter in self.network.parameters()):,}",
            "precision": self.precision_used,
            "device": str(self.device),
        }

    def __repr__(self) -> str:
        """One line: name, modalities, number of parameters, precision and device."""
        return f"Model({', '.join(f'{key}={value!r}' for key, value in self._summary().items())})"

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        rows = "".join(f"<tr><th>{key}</th><td>{escape(value)}</td></tr>" for key, value in self._summary().items())
        return f"<table><caption>hydromae.Model</caption>{rows}</table>"

    def predict(
        self,
        data: Record,
        quantiles: Sequence[float] = DEFAULT_LEVELS,
        attributes: Attributes = None,
        progress: ProgressCallback = no_progress,
        negative_flow: NegativeFlow = "refuse",
        longest_gap: int | None = None,
    ) -> Record:
        """Predict every NaN of every variable of the model.

        Args:
            data: A water record (docs/design.md, section 10): `riverflow` [mm day-1, or m3 s-1 by its units] and any of the
                weather variables, `(time, catchment)`; attributes under the NRFA names. A DataFrame is long (a row for each
                day and catchment), or wide: a row for each day and a column of flow for each river, with the units in
                `data.attrs["units"]` or in the column names (`39001 [m3/s]`).
            quantiles: Levels of `riverflow_quantile`.
            attributes (DataFrame (index: catchments), Dataset or path, optional): Static attributes that the data lack; the
                model needs at least positions.
            progress: Called with the number of finished windows and the number of all windows.
            negative_flow ({"refuse", "missing"}): "missing": flow below zero (tide, backwater) counts as not observed.
            longest_gap: Longest gap that is filled [days], in every variable; longer ones stay NaN, with the origin 4
                (missing). Days without observations at the ends of a river's record are gaps, too.

        Returns:
            Dataset or DataFrame: Observed values do not change; NaN is replaced by the predicted mean. New variables:
                `riverflow_quantile` (quantile, time, catchment), `riverflow_origin` (0 observed, 1 filled, 2 forecast, 3
                ungauged) and the origin of predicted weather; `outside_training` (catchment; a column in a table) lists what
                is outside the training of the model, and predictions that were limited. Attributes contain the provenance
                (`io.provenance`) and the widening of intervals (`processing`).

        Raises:
            InputError: The data are not a water record, or contain an impossible value.
        """
        check_longest_gap(longest_gap)
        levels, static_attributes = parse_levels(quantiles), read_attributes(attributes)
        if not isinstance(data, xr.Dataset | pd.DataFrame):
            raise InputError(
                f"data: a {type(data).__name__} is not a record; give an xarray Dataset or a pandas DataFrame"
            )
        with use_reading_options(negative_flow):
            record, layout = read_record(data, static_attributes)
        answer = leave_long_gaps(self.predict_record(record, levels, progress), record, longest_gap)
        call = f"Model.predict(quantiles={levels}, negative_flow={negative_flow!r}"
        call += ")" if longest_gap is None else f", longest_gap={longest_gap})"
        provenance_attrs = provenance(self.identity, record, count_origins(answer, layout.selected), call)
        return cast(Record, with_provenance(layout.restore(answer, record), provenance_attrs))

    def forecast(
        self,
        data: xr.Dataset | pd.DataFrame,
        days: int = 7,
        issues: pd.DatetimeIndex | None = None,
        future_weather: FutureWeather = "observed",
        quantiles: Sequence[float] = DEFAULT_LEVELS,
        attributes: Attributes = None,
        progress: ProgressCallback = no_progress,
        negative_flow: NegativeFlow = "refuse",
    ) -> xr.Dataset | pd.DataFrame:
        """Forecast the flow of every river after one or more issue days.

        Args:
            data: As for `predict`. Flow observed after an issue day is not used.
            days: Forecast days after each issue day.
            issues: Issue days, e.g. `pandas.date_range("2014-10-05", "2015-09-20", freq="5D")`; None means the last day with
                observed flow.
            future_weather ({"observed", "none"}): Whether the weather that the data contain after an issue day (observed, or
                a weather forecast) is used.
            quantiles, attributes, progress, negative_flow: As for `predict`; progress is counted in issue days.

        Returns:
            Dataset or DataFrame: `riverflow(issue_time, lead, catchment)` in the unit of the data, lead in days from 1, with
                `riverflow_quantile`, `riverflow_origin` and `valid_time(issue_time, lead)`; for a table, a row for each issue
                day, lead and catchment.

        Raises:
            InputError: As for `predict`; or an issue day is outside the record.
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
        levels: Sequence[float] = DEFAULT_LEVELS,
        progress: ProgressCallback = no_progress,
    ) -> xr.Dataset:
        """As `forecast`, for a canonical record, which is not checked again; flow in mm/day."""
        if issues is None:
            issues = scenarios.last_flow_day(record)
        method = ModelMethod(self, self.name, levels)
        context = self.config.data.sequence_length
        return scenarios.forecast(method, record, issues, days, future_weather, context, progress)

    def embed(self, data: xr.Dataset | pd.DataFrame, attributes: Attributes = None) -> xr.Dataset:
        """Features of catchments and days from the encoder, to compare or to cluster them.

        Args:
            data, attributes: As `predict` takes them.

        Returns:
            Dataset: `site_embedding` (catchment, feature), the mean over the days, and `day_embedding` (time, feature), the
                mean over the catchments. Catchments of one token have the same embedding.
        """
        dataset, _ = read_record(data, read_attributes(attributes))
        record = to_record_arrays(dataset, self.config, self.scaling, self.grid)
        record.domain.warn(dataset, self.scaling)
        with torch.inference_mode():
            sites, days = mean_tokens(self.network, self.device, self.precision_used, record, self.config)
        slots = np.repeat(sites.T[:, :, None], record.groups.shape[1], axis=2)
        return xr.Dataset(
            {
                "site_embedding": (("catchment", "feature"), to_catchments(slots, record, 0, 1).T),
                "day_embedding": (("time", "feature"), days.astype(np.float32)),
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
        """Write weights, configuration, scaling and model card as a folder that `hydromae.load` reads.

        Args:
            folder: Only files of a model are replaced; a run, a checkpoint or a store is refused.
            datasets, licence, scores: Entries of the model card (`model_card.model_card`). If none of them is given, a model
                that was loaded with a card keeps it, and an existing `README.md` is not replaced.
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
        """As `predict`, for a canonical record, which is not checked again.

        Args:
            dataset: A water record in canonical units (docs/design.md, section 10).
            levels: Levels of `riverflow_quantile`, ascending.
            progress: As for `predict`.
            last_days: Only this many last days are predicted and returned, without adjustments; None means all.
        """
        if last_days is not None:
            return predict_once(self, dataset, levels, progress, last_days)
        once = partial(predict_once, self, progress=progress)
        is_outside = TrainingDomain.of(dataset, self.scaling).position
        adjusted = partial(adjust_to_own_record, is_outside=is_outside, predict=once)
        answer = adjust_to_spot_gaugings(dataset, levels, adjusted)
        return adjust_to_own_maps(answer, dataset, self.grid, partial(once, levels=[0.5]))


def load(name: str | Path, device: str | torch.device | None = "auto", precision: str = "auto") -> Model:
    """Load a trained model.

    Args:
        name: A shipped model, a run (its best state, else its last), a folder of runs of `pretrain --new-run` (the newest
            one), a checkpoint, or a model folder.
        device: "auto" or None, "cpu", "cuda", "mps" or a torch.device.
        precision: "auto" is that of training where the device computes in it natively, else fp32; or "fp32", "bf16" or
            "fp16", and operations without that precision run in fp32.

    Raises:
        InputError: The model, the device or the precision does not exist.
    """
    folder = SHIPPED / str(name) if str(name) in shipped() else Path(name)
    folder = find_model(folder) or folder
    if not folder.exists():
        raise InputError(f"{name}: no such model; name a run, a checkpoint, a model folder, or {', '.join(shipped())}")
    target_device, requested = pick_device(device), parse_precision(precision)
    network, config, scaling, grid = load_model(folder)
    return Model(
        network.to(target_device),
        config,
        scaling,
        grid,
        target_device,
        card=read_card(folder),
        precision=requested,
        loaded_as=Path(name).resolve().name,
        sha256=checksum_of(intact_folder(folder), WEIGHTS),
        widening=read_widening(folder),
    )


def shipped() -> list[str]:
    """Names of the models in the package."""
    return sorted(folder.parent.name for folder in SHIPPED.glob(f"*/{WEIGHTS}"))
