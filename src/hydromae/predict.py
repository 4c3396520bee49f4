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
from hydromae.data.readers.table import answer_dataset, answer_frame, from_dataset, from_frame
from hydromae.data.record import Record, record_of
from hydromae.data.scaling import Scaling, VariableScaling
from hydromae.data.windows import batch_of
from hydromae.errors import InputError
from hydromae.masking import nothing
from hydromae.modalities import MODALITIES, RIVERFLOW, GridSpec, Modality
from hydromae.model.distribution import Gaussians
from hydromae.model.mae import HydroMAE
from hydromae.train.checkpoint import load_model
from hydromae.train.engine import arithmetic, pick_device

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that an answer carries unless others are asked for."""
ORIGINS = ("observed", "filled", "forecast", "ungauged")
SITES_AT_ONCE = 600
UNSCALED = VariableScaling("none", 0.0, 1.0)


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
        levels = sorted({float(q) for q in quantiles})
        if not levels or not 0 < levels[0] <= levels[-1] < 1:
            raise InputError(f"quantiles {list(quantiles)}: each must lie between 0 and 1, both excluded")
        if isinstance(data, pd.DataFrame):
            return answer_frame(self._answer(from_frame(data), levels), data)
        return answer_dataset(self._answer(from_dataset(data), levels), data)

    def _answer(self, dataset: xr.Dataset, levels: list[float]) -> xr.Dataset:
        record = record_of(dataset, self.config, self.scaling, self.grid)
        sums = _Sums(record, self, levels)
        with torch.inference_mode():
            for batch, weight, starts in self._windows(record, sums.wanted):
                sums.add(self._forward(batch, record), weight, starts)
        return _assemble(dataset, record, sums)

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
            picked = (
                None
                if found is None
                else Gaussians(*(p[where].cpu() for p in (found.weight, found.centre, found.spread)))
            )
            answers[name] = (wanted[name], out.mean[name][where].cpu(), picked)
        return answers

    def _windows(
        self, record: Record, wanted: np.ndarray
    ) -> Iterator[tuple[Batch, Float[np.ndarray, "B T"], np.ndarray]]:
        """Overlapping windows that hold a wanted day, with the weight of each of their days in the blend."""
        total, length = len(record.days), self.config.data.sequence_length
        if total <= length + length // 4:
            length = total
        warm = min(self.config.data.warm_up_days, length // 3)
        blend = max(1, length // 6)
        starts = np.arange(0, max(1, total - length + 1), max(1, length - warm - blend))
        if starts[-1] + length < total:
            starts = np.append(starts, total - length)
        weights = np.stack([_ramp(int(s), total, length, warm, blend) for s in starts])
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
        days = [a.any(axis=(1, 2)) for n, a in asked.items() if _is_asked(n, record)]
        self.wanted = np.logical_or.reduce(days)
        self.mean = {name: np.zeros(held.shape, np.float32) for name, held in record.values.items()}
        self.weight = {name: np.zeros(held.shape[:2], np.float32) for name, held in record.values.items()}
        flow = record.values.get("riverflow")
        self.quantile = None if flow is None else np.zeros((len(levels), *flow.shape), np.float32)

    def add(
        self,
        answers: dict[str, tuple[torch.Tensor, torch.Tensor, Gaussians | None]],
        weight: np.ndarray,
        starts: np.ndarray,
    ) -> None:
        for name, (asked, mean, gaussians) in answers.items():
            scale = _scaling_of_channels(MODALITIES[name], self.model.scaling, mean.shape[-1])
            value = natural_mean(mean, gaussians, scale)
            cuts = self._cuts(gaussians) if name == "riverflow" and gaussians is not None else None
            window, day, site = (index.numpy() for index in asked.nonzero(as_tuple=True))
            for index, start in enumerate(starts):
                mine = window == index
                share = weight[index][day[mine]].astype(np.float32)
                where = (start + day[mine], site[mine])
                self.weight[name][where] += share
                self.mean[name][where] += value[mine] * share[:, None]
                if cuts is not None and self.quantile is not None:
                    self.quantile[:, *where] += cuts[:, mine] * share[:, None]

    def _cuts(self, gaussians: Gaussians) -> Float[np.ndarray, "Q N F"]:
        """Quantiles of river flow [mm/day]."""
        scaled = np.stack([gaussians.quantile(level).double().numpy() for level in self.levels])
        return np.maximum(self.model.scaling.unscale("riverflow", scaled), 0.0).astype(np.float32)


def _is_asked(name: str, record: Record) -> bool:
    return MODALITIES[name].kind == "series" or len(record.patches) > 0


def _scaling_of_channels(modality: Modality, scaling: Scaling, channels: int) -> list[VariableScaling]:
    """Scaling of every channel: variables turn by turn for catchments, one variable for all pixels of a map."""
    names = [modality.variables[i % len(modality.variables)].name for i in range(channels)]
    return [scaling.variables.get(name, UNSCALED) for name in names]


def natural_mean(
    mean: Float[torch.Tensor, "N F"], gaussians: Gaussians | None, scale: list[VariableScaling]
) -> Float[np.ndarray, "N F"]:
    """Mean of the distribution in the variable's own units; of a map, the unscaled prediction."""
    center = np.array([s.mean for s in scale])
    spread = np.array([s.std for s in scale])
    plain = mean.double().numpy() * spread + center
    root = np.array([s.transform == "root" for s in scale])
    log = np.array([s.transform == "log" for s in scale])
    variance = 0.0
    if gaussians is not None:
        second = (gaussians.weight * (gaussians.centre.square() + gaussians.spread.square())).sum(dim=-1)
        variance = np.maximum((second - mean.square()).double().numpy(), 0.0) * spread**2
    plain = np.where(root, np.maximum(plain, 0.0) ** 2 + variance, plain)
    plain = np.where(log, np.exp(np.where(log, plain, 0.0) + 0.5 * variance) - 0.01, plain)
    return plain.astype(np.float32)


def _assemble(dataset: xr.Dataset, record: Record, sums: _Sums) -> xr.Dataset:
    """Lay the answers over the NaN of a record; a river flow that the record lacks altogether is answered whole."""
    answers: dict[str, xr.DataArray] = {}
    for name in (n for n in record.values if _is_asked(n, record)):
        modality = MODALITIES[name]
        mean = sums.mean[name] / np.maximum(sums.weight[name], 1e-12)[..., None]
        for index, variable in enumerate(modality.variables):
            if modality.kind == "map":
                laid, dims = cells_of(mean, record, dataset), ("time", "cell")
            else:
                laid, dims = catchments_of(mean, record, index, len(modality.variables)), ("time", "catchment")
            absent = variable.name not in dataset
            if (absent and name != "riverflow") or (not absent and dataset[variable.name].dims != dims):
                continue
            known = laid * np.nan if absent else dataset[variable.name].values
            laid = laid if variable.minimum is None else np.maximum(laid, variable.minimum)
            attributes = {"units": variable.units} if absent else dataset[variable.name].attrs
            answers[variable.name] = xr.DataArray(
                np.where(np.isfinite(known), known, laid), dims=dims, attrs=attributes
            )
    if sums.quantile is not None:
        answers |= _flow_quantiles(dataset, record, sums)
    return dataset.assign(answers)


def _flow_quantiles(dataset: xr.Dataset, record: Record, sums: _Sums) -> dict[str, xr.DataArray]:
    assert sums.quantile is not None
    shape = (dataset.sizes["time"], dataset.sizes["catchment"])
    known = dataset["riverflow"].values if "riverflow" in dataset else np.full(shape, np.nan)
    seen = np.isfinite(known)
    weight = np.maximum(sums.weight["riverflow"], 1e-12)[..., None]
    stacked = np.stack([catchments_of(row / weight, record, 0, 1) for row in sums.quantile])
    stacked = np.maximum.accumulate(np.where(seen, known, stacked).astype(np.float32), axis=0)
    origin = np.where(seen, 0, np.where(~seen.any(axis=0), 3, np.where(_after_last(seen), 2, 1))).astype(np.int8)
    quantile = xr.DataArray(
        stacked,
        dims=("quantile", "time", "catchment"),
        coords={"quantile": sums.levels},
        attrs={"units": RIVERFLOW.units, "long_name": "river flow not exceeded with this probability"},
    )
    flags = xr.DataArray(
        origin,
        dims=("time", "catchment"),
        attrs={"flag_values": [0, 1, 2, 3], "flag_meanings": " ".join(ORIGINS), "long_name": "what each river flow is"},
    )
    return {"riverflow_quantile": quantile, "riverflow_origin": flags}


def _after_last(seen: Bool[np.ndarray, "T C"]) -> Bool[np.ndarray, "T C"]:
    return ~np.flip(np.logical_or.accumulate(np.flip(seen, axis=0), axis=0), axis=0)


def catchments_of(values: np.ndarray, record: Record, index: int, variables: int) -> Float[np.ndarray, "T C"]:
    """From groups of catchments back to the dataset's order."""
    slots = values.reshape(len(values), len(record.groups), -1, variables)[..., index]
    out = np.empty((len(values), len(record.catchments)), np.float32)
    real = record.groups >= 0
    out[:, record.groups[real]] = slots[:, real]
    return out


def cells_of(values: np.ndarray, record: Record, dataset: xr.Dataset) -> Float[np.ndarray, "T N"]:
    """From patches of pixels back to cells; NaN for cells outside every land patch."""
    assert record.laid is not None
    patch, pixel, inside = record.laid
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
