"""The one door: a dataset with NaN goes in, the same dataset with distributions comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.batch import Batch
from hydromae.config import Config
from hydromae.data.readers.table import from_frame, like_frame
from hydromae.data.record import Record, record_of
from hydromae.data.scaling import Scaling, VariableScaling
from hydromae.data.windows import batch_of
from hydromae.errors import InputError
from hydromae.masking import nothing
from hydromae.modalities import MODALITIES, GridSpec, Modality
from hydromae.model.distribution import Gaussians
from hydromae.model.mae import HydroMAE
from hydromae.train.checkpoint import load_model
from hydromae.train.engine import arithmetic, pick_device

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that an answer carries unless others are asked for."""
ORIGINS = ("observed", "filled", "forecast", "ungauged")
SITES_AT_ONCE = 600
SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Model:
    """A trained model, as `load` gives it.

    Attributes
    ----------
    network : HydroMAE
    config : Config
    scaling : Scaling
    grid : GridSpec or None
    device : torch.device
    name : str
    """

    network: HydroMAE
    config: Config
    scaling: Scaling
    grid: GridSpec | None
    device: torch.device
    name: str = "hydromae"

    def predict(
        self, data: xr.Dataset | pd.DataFrame, quantiles: Sequence[float] = LEVELS
    ) -> xr.Dataset | pd.DataFrame:
        """Answer every NaN of every variable that the model knows.

        Parameters
        ----------
        data : Dataset or DataFrame
            A water record (docs/design.md, section 10): `riverflow` [mm day-1, or m3 s-1 by its units] and any of the
            weather, `(time, catchment)`; attributes under the NRFA names. A DataFrame is long: one row a day and catchment.
        quantiles : sequence of float
            Levels of `riverflow_quantile`.

        Returns
        -------
        Dataset or DataFrame
            What was observed, bit for bit; in place of NaN the mean of the answer. Beside it `riverflow_quantile`
            (quantile, time, catchment) and `riverflow_origin` (0 observed, 1 filled, 2 forecast, 3 ungauged).

        Raises
        ------
        InputError
            If the data are no water record, or a value is impossible.
        """
        if isinstance(data, pd.DataFrame):
            return like_frame(self._answer(from_frame(data), quantiles), data)
        return self._answer(data, quantiles)

    def forecast(self, data: xr.Dataset, days: int = 7, quantiles: Sequence[float] = LEVELS) -> xr.Dataset:
        """The record with `days` more days, answered; weather that is known after the last flow is used."""
        step = np.timedelta64(1, "D")
        last = pd.Timestamp(data["time"].values[-1])
        flow = data["riverflow"].notnull().any("catchment").values
        missing = days - (len(flow) - 1 - int(np.flatnonzero(flow)[-1]) if flow.any() else 0)
        if missing > 0:
            times = pd.date_range(data["time"].values[0], last + missing * step, freq="D")
            data = data.reindex(time=times)
        answered = self._answer(data, quantiles)
        return answered

    def _answer(self, dataset: xr.Dataset, quantiles: Sequence[float]) -> xr.Dataset:
        levels = sorted({float(q) for q in quantiles})
        if not levels or not 0 < levels[0] <= levels[-1] < 1:
            raise InputError(f"quantiles {list(quantiles)}: each must lie between 0 and 1, both excluded")
        given, area = dataset, _area(dataset)
        dataset = _in_millimetres(dataset, area)
        record = record_of(dataset, self.config, self.scaling, self.grid)
        sums = _Sums(record, self, levels)
        with torch.inference_mode():
            for batch, weight, starts in self._windows(record, sums.wanted):
                sums.add(self._forward(batch, record), weight, starts)
        return _assemble(given, dataset, record, sums, levels, area)

    def _forward(self, batch: Batch, record: Record) -> dict[str, tuple[torch.Tensor, torch.Tensor, Gaussians | None]]:
        """For each modality the asked tokens Bool[B, T, S], their means Float[N, F], and their distributions."""
        wanted = {name: (~seen).any(dim=-1) for name, seen in batch.observed.items()}
        for name in wanted:
            if MODALITIES[name].kind == "map" and not len(record.patches):
                wanted[name] = torch.zeros_like(wanted[name])
        batch, asked = batch.to(self.device), {name: value.to(self.device) for name, value in wanted.items()}
        hidden = {name: value.to(self.device) for name, value in nothing(batch).items()}
        with arithmetic(self.device, self.config.train.precision):
            out = self.network(batch, hidden, asked)
        answers = {}
        for name, where in asked.items():
            found = out.gaussians.get(name)
            picked = None if found is None else Gaussians(*(p[where].cpu() for p in (found.weight, found.centre, found.spread)))
            answers[name] = (wanted[name], out.mean[name][where].cpu(), picked)
        return answers

    def _windows(
        self, record: Record, wanted: Bool[np.ndarray, " T"]
    ) -> Iterator[tuple[Batch, Float[np.ndarray, "B T"], np.ndarray]]:
        """Overlapping windows that hold a wanted day, with the weight of each of their days in the blend."""
        total, length = len(record.days), min(self.config.data.sequence_length, len(record.days))
        warm = min(self.config.data.warm_up_days, length // 3)
        blend = max(1, length // 6)
        starts = np.arange(0, max(1, total - length + 1), max(1, length - warm - blend))
        if starts[-1] + length < total:
            starts = np.append(starts, total - length)
        weights = np.stack([_ramp(s, total, length, warm, blend) for s in starts])
        useful = np.array([(wanted[s : s + length] & (w > 0)).any() for s, w in zip(starts, weights, strict=True)])
        starts, weights = starts[useful], weights[useful]
        together = max(1, SITES_AT_ONCE // max(1, len(record.groups)))
        for first in range(0, len(starts), together):
            part = slice(first, first + together)
            yield batch_of(record, starts[part], length), weights[part], starts[part]


def _ramp(start: int, total: int, length: int, warm: int, blend: int) -> Float[np.ndarray, " T"]:
    """Weight of a window's days: nothing while it warms up, then rising, falling at the end; full at the record's edges."""
    day = np.arange(length, dtype=np.float64)
    weight = np.ones(length)
    if start > 0:
        weight = np.minimum(weight, np.clip((day - warm + 1) / blend, 0.0, 1.0))
    if start + length < total:
        weight = np.minimum(weight, np.clip((length - day) / blend, 0.0, 1.0))
    return weight


class _Sums:
    """Weighted sums of means and quantiles over the windows that answer a value; quantiles stay ordered in the blend."""

    def __init__(self, record: Record, model: Model, levels: list[float]) -> None:
        self.model, self.levels = model, levels
        asked = {name: ~np.isfinite(held) for name, held in record.values.items()}
        self.wanted = np.stack([a.any(axis=(1, 2)) for n, a in asked.items() if _is_asked(n, record)]).any(axis=0)
        self.mean = {name: np.zeros(held.shape, np.float32) for name, held in record.values.items()}
        self.weight = {name: np.zeros(held.shape[:2], np.float32) for name, held in record.values.items()}
        flow = record.values.get("riverflow")
        self.quantile = None if flow is None else np.zeros((len(levels), *flow.shape), np.float32)

    def add(
        self, answers: dict[str, tuple[torch.Tensor, torch.Tensor, Gaussians | None]], weight: np.ndarray, starts: np.ndarray
    ) -> None:
        for name, (asked, mean, gaussians) in answers.items():
            window, day, site = (index.numpy() for index in asked.nonzero(as_tuple=True))
            share = weight[window, day].astype(np.float32)
            kept = share > 0
            window, day, site, share = window[kept], day[kept], site[kept], share[kept]
            where = (starts[window] + day, site)
            scale = _scaling_of_channels(MODALITIES[name], self.model.scaling, mean.shape[-1])
            value = natural_mean(mean, gaussians, scale)[kept]
            np.add.at(self.mean[name], where, value * share[:, None])
            np.add.at(self.weight[name], where, share)
            if name == "riverflow" and gaussians is not None and self.quantile is not None:
                for row, level in zip(self.quantile, self.levels, strict=True):
                    cut = self.model.scaling.unscale("riverflow", gaussians.quantile(level).double().numpy())[kept]
                    np.add.at(row, where, (np.maximum(cut, 0.0) * share[:, None]).astype(np.float32))


def _is_asked(name: str, record: Record) -> bool:
    return MODALITIES[name].kind == "series" or len(record.patches) > 0


def _scaling_of_channels(modality: Modality, scaling: Scaling, channels: int) -> list[tuple[str, VariableScaling]]:
    """Name and scaling of every channel: variables turn by turn for catchments, one variable for all pixels of a map."""
    variables = modality.variables
    named = [variables[i % len(variables)] for i in range(channels)]
    neutral = VariableScaling("none", 0.0, 1.0)
    return [(v.name, scaling[v.name] if v.name in scaling else neutral) for v in named]


def natural_mean(
    mean: Float[torch.Tensor, "N F"], gaussians: Gaussians | None, scale: list[tuple[str, VariableScaling]]
) -> Float[np.ndarray, "N F"]:
    """Mean of the distribution in the variable's own units; of a map, the unscaled prediction."""
    center = np.array([s.mean for _, s in scale])
    spread = np.array([s.std for _, s in scale])
    plain = mean.double().numpy() * spread + center
    root = np.array([s.transform == "root" for _, s in scale])
    log = np.array([s.transform == "log" for _, s in scale])
    variance = 0.0
    if gaussians is not None:
        second = (gaussians.weight * (gaussians.centre.square() + gaussians.spread.square())).sum(dim=-1)
        variance = np.maximum((second - mean.square()).double().numpy(), 0.0) * spread**2
    plain = np.where(root, np.maximum(plain, 0.0) ** 2 + variance, plain)
    plain = np.where(log, np.exp(np.where(log, plain, 0.0) + 0.5 * variance) - 0.01, plain)
    return plain.astype(np.float32)


def _area(dataset: xr.Dataset) -> np.ndarray | None:
    return dataset["catchment-area"].values.astype(np.float64) if "catchment-area" in dataset else None


def _per_second(dataset: xr.Dataset) -> bool:
    units = str(dataset["riverflow"].attrs.get("units", "mm day-1")) if "riverflow" in dataset else ""
    return units in ("m3 s-1", "m3/s", "m^3/s", "m³/s", "cumecs")


def _in_millimetres(dataset: xr.Dataset, area: np.ndarray | None) -> xr.Dataset:
    """Flow in mm/day, for the model; m³/s needs the catchment's area."""
    if not _per_second(dataset):
        return dataset
    if area is None:
        raise InputError("riverflow [m3 s-1]: the model works in mm/day; add the attribute 'catchment-area' [km2], or convert")
    flow = dataset["riverflow"] * (SECONDS_PER_DAY / 1000.0) / xr.DataArray(area, dims="catchment")
    return dataset.assign(riverflow=flow.assign_attrs(units="mm day-1"))


def _assemble(
    given: xr.Dataset, dataset: xr.Dataset, record: Record, sums: _Sums, levels: list[float], area: np.ndarray | None
) -> xr.Dataset:
    """Lay the answers over the NaN of the dataset that was given."""
    answers: dict[str, xr.DataArray] = {}
    factor = np.ones(dataset.sizes["catchment"]) if not _per_second(given) or area is None else area / 86.4
    for name in record.values:
        modality = MODALITIES[name]
        if not _is_asked(name, record):
            continue
        mean = sums.mean[name] / np.maximum(sums.weight[name], 1e-12)[..., None]
        for index, variable in enumerate(modality.variables):
            if variable.name not in given and variable.name != "riverflow":
                continue
            if modality.kind == "map":
                laid, dims = _cells_of(mean, record, dataset), ("time", "cell")
            else:
                laid, dims = _catchments_of(mean, record, index, len(modality.variables)), ("time", "catchment")
            laid = laid if variable.minimum is None else np.maximum(laid, variable.minimum)
            laid = laid * factor if variable.name == "riverflow" else laid
            known = given[variable.name] if variable.name in given else xr.full_like(xr.DataArray(laid, dims=dims), np.nan)
            if known.dims == dims:
                filled = np.where(np.isfinite(known.values), known.values, laid.astype(known.dtype))
                answers[variable.name] = xr.DataArray(filled, dims=dims, attrs=known.attrs or {"units": variable.units})
    if sums.quantile is not None:
        answers |= _flow_quantiles(given, dataset, record, sums, levels, factor)
    return given.assign(answers)


def _flow_quantiles(
    given: xr.Dataset, dataset: xr.Dataset, record: Record, sums: _Sums, levels: list[float], factor: np.ndarray
) -> dict[str, xr.DataArray]:
    assert sums.quantile is not None
    shape = (dataset.sizes["time"], dataset.sizes["catchment"])
    known = given["riverflow"].values if "riverflow" in given else np.full(shape, np.nan)
    seen = np.isfinite(known)
    units = str(given["riverflow"].attrs.get("units", "mm day-1")) if "riverflow" in given else "mm day-1"
    weight = np.maximum(sums.weight["riverflow"], 1e-12)[..., None]
    stacked = np.stack([_catchments_of(row / weight, record, 0, 1) * factor for row in sums.quantile])
    stacked = np.maximum.accumulate(np.where(seen, known, stacked).astype(np.float32), axis=0)
    origin = np.where(seen, 0, np.where(~seen.any(axis=0), 3, np.where(_after_last(seen), 2, 1))).astype(np.int8)
    quantile = xr.DataArray(
        stacked, dims=("quantile", "time", "catchment"), coords={"quantile": levels},
        attrs={"units": units, "long_name": "river flow not exceeded with this probability"},
    )
    flags = xr.DataArray(
        origin, dims=("time", "catchment"),
        attrs={"flag_values": [0, 1, 2, 3], "flag_meanings": " ".join(ORIGINS), "long_name": "what each river flow is"},
    )
    return {"riverflow_quantile": quantile, "riverflow_origin": flags}


def _after_last(seen: Bool[np.ndarray, "T C"]) -> Bool[np.ndarray, "T C"]:
    return ~np.flip(np.logical_or.accumulate(np.flip(seen, axis=0), axis=0), axis=0)


def _catchments_of(values: np.ndarray, record: Record, index: int, variables: int) -> Float[np.ndarray, "T C"]:
    """From groups of catchments back to the dataset's order."""
    slots = values.reshape(len(values), len(record.groups), -1, variables)[..., index]
    out = np.empty((len(values), len(record.catchments)), np.float32)
    real = record.groups >= 0
    out[:, record.groups[real]] = slots[:, real]
    return out


def _cells_of(values: np.ndarray, record: Record, dataset: xr.Dataset) -> Float[np.ndarray, "T N"]:
    """From patches of pixels back to cells; NaN for cells outside every land patch."""
    patch, pixel, inside = record.cells_of(dataset)
    out = np.full((len(values), dataset.sizes["cell"]), np.nan, np.float32)
    out[:, inside] = values[:, patch, pixel]
    return out


def load(name: str | Path, device: str = "auto") -> Model:
    """A trained model, from a run, a checkpoint, or a model folder.

    Raises
    ------
    InputError
        If there is no model under that name.
    """
    folder = Path(name)
    for candidate in (folder / "best", folder / "last", folder):
        if (candidate / "model.safetensors").is_file():
            folder = candidate
            break
    network, config, scaling, grid = load_model(folder)
    where = pick_device(device)
    return Model(network.to(where), config, scaling, grid, where)


def named(model: Model, name: str) -> Model:
    """The same model under another name, for tables of scores."""
    return replace(model, name=name)
