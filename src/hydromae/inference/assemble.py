"""Predictions on sites become a record: NaN is replaced, and quantiles and origins are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.batching.record_arrays import RecordArrays
from hydromae.batching.shared_arrays import series_name
from hydromae.errors import InputError
from hydromae.inference.recession import days_without_rise, recession_days, without_rises
from hydromae.inference.sliding_window import WindowAverager
from hydromae.io.names import OUTSIDE_TRAINING
from hydromae.io.origin import origin_of
from hydromae.progress import warn_user
from hydromae.store.scaling import Scaling
from hydromae.store.training_domain import outside_training
from hydromae.variables import MODALITIES, RIVERFLOW, Variable


def _is_predicted(name: str, record: RecordArrays) -> bool:
    return MODALITIES[name].kind == "series" or len(record.patches) > 0


def _held_name(dataset: xr.Dataset, modality: str, name: str) -> str:
    """Name of a variable of a modality in a record (`shared_arrays.series_name`)."""
    return series_name(dataset, name) if MODALITIES[modality].kind == "series" else name


def days_to_predict(dataset: xr.Dataset, record: RecordArrays, scaling: Scaling) -> Bool[np.ndarray, " T"]:
    """Days on which a variable that the model can predict has a NaN."""
    is_target = np.zeros(len(record.days), dtype=bool)
    for name in (name for name in record.values if _is_predicted(name, record)):
        site = "cell" if MODALITIES[name].kind == "map" else "catchment"
        for variable in MODALITIES[name].variables:
            held = _held_name(dataset, name, variable.name)
            if held in dataset and variable.name in scaling and site in dataset[held].dims:
                is_target |= ~np.isfinite(dataset[held].values).all(axis=1)
            elif variable.name == RIVERFLOW.name:
                is_target[:] = True
    return is_target


def modalities_to_predict(dataset: xr.Dataset, record: RecordArrays, scaling: Scaling) -> list[str]:
    """Modalities of the model that the record has, weather, and flow."""
    present = [name for name in ("weather", "riverflow") if name in record.values]
    for name in record.values:
        held = MODALITIES[name].variables[0].name
        site = "cell" if MODALITIES[name].kind == "map" else "catchment"
        if _is_predicted(name, record) and held in scaling and held in dataset and site in dataset[held].dims:
            present.append(name)
    return present


def assemble(dataset: xr.Dataset, record: RecordArrays, averager: WindowAverager) -> xr.Dataset:
    """Replace every NaN of a record by the prediction; river flow that the record lacks is predicted on all days.

    Flow is at most `largest_flow`, and does not rise in a recession (`recession`). `outside_training` lists catchments
    outside the training of the model, and those whose flow was limited.
    """
    variables: dict[str, xr.DataArray] = {}
    limit, is_limited = largest_flow(dataset), np.zeros(len(record.catchments), dtype=bool)
    may_not_rise = _days_without_rise(dataset, record, averager)
    for name in (n for n in record.values if _is_predicted(n, record)):
        modality = MODALITIES[name]
        mean = averager.mean[name] / np.maximum(averager.weight[name], 1e-12)[..., None]
        for index, variable in enumerate(modality.variables):
            if modality.kind == "map":
                predicted, dims = to_cells(mean, record, dataset), ("time", "cell")
                if name in averager.quantile and variable.name in dataset:
                    variables[f"{variable.name}_quantile"] = _map_quantiles(dataset, record, averager, name)
            else:
                predicted, dims = to_catchments(mean, record, index, len(modality.variables)), ("time", "catchment")
            held = _held_name(dataset, name, variable.name)
            is_absent = held not in dataset
            is_unscaled = variable.name not in averager.scaling
            if is_unscaled or (is_absent and name != "riverflow") or (not is_absent and dataset[held].dims != dims):
                continue
            observed = predicted * np.nan if is_absent else dataset[held].values
            predicted = predicted if variable.minimum is None else np.maximum(predicted, variable.minimum)
            attributes = {"units": variable.units} if is_absent else dataset[held].attrs
            is_observed = np.isfinite(observed)
            if variable == RIVERFLOW:
                is_clipped = to_catchments(averager.is_clipped[name][None], record, 0, 1)[0].astype(bool)
                is_limited |= is_clipped | (~is_observed & (predicted > limit)).any(axis=0)
                predicted = np.minimum(predicted, limit)
                predicted = predicted if may_not_rise is None else without_rises(predicted, may_not_rise)
            variables[held] = xr.DataArray(np.where(is_observed, observed, predicted), dims=dims, attrs=attributes)
            if variable != RIVERFLOW and (~is_observed & np.isfinite(predicted)).any():
                variables[f"{held}_origin"] = origin_of(is_observed, dims, held)
    if "riverflow" in averager.quantile:
        variables |= _flow_quantiles(dataset, record, averager, limit, may_not_rise)
    if is_limited.any():
        warn_user(
            RIVERFLOW.name,
            f"riverflow of {is_limited.sum()} of {len(is_limited)} catchments, such as "
            f"{record.catchments[is_limited.argmax()]}, is limited to the quantiles of its distribution and to the largest "
            f"flow of a river of that size ({OUTSIDE_TRAINING} lists riverflow for them)",
        )
    outside = outside_training(dataset, record.domain, is_limited)
    return dataset.assign(variables if outside is None else variables | {OUTSIDE_TRAINING: outside})


def largest_flow(dataset: xr.Dataset) -> Float[np.ndarray, " C"]:
    """Largest possible flow of each catchment by its area [mm/day], in single precision.

    The envelope of the largest observed floods, Q = 10⁶ (A / 10⁸)^(1 − K / 10) m³/s with A in km² and K = 6, and at most the
    largest valid flow (`RIVERFLOW.valid`): 1000 mm/day below 783 km², and where the area is unknown.

    Source: Francou and Rodier 1967, IAHS Leningrad symposium on floods; Herschy 2003, World catalogue of maximum observed
    floods, IAHS publication 284.
    """
    area = (
        dataset["catchment-area"].values if "catchment-area" in dataset else np.full(dataset.sizes["catchment"], np.nan)
    )
    envelope = 1e6 * (area.astype(np.float64) / 1e8) ** 0.4 * 86.4 / area
    return np.fmin(envelope, RIVERFLOW.valid[1]).astype(np.float32)


def _days_without_rise(
    dataset: xr.Dataset, record: RecordArrays, averager: WindowAverager
) -> Bool[np.ndarray, "T C"] | None:
    """Predicted days whose flow may not rise (`recession`); None without any."""
    is_recession = recession_days(dataset)
    if is_recession is None or "riverflow" not in averager.weight:
        return None
    weight = np.broadcast_to(averager.weight["riverflow"][..., None], averager.mean["riverflow"].shape)
    is_observed = np.zeros_like(is_recession)
    if "riverflow" in dataset:
        is_observed = dataset["riverflow"].transpose("time", "catchment").notnull().values
    return days_without_rise(is_recession, is_observed, to_catchments(weight, record, 0, 1) > 0)


def _flow_quantiles(
    dataset: xr.Dataset,
    record: RecordArrays,
    averager: WindowAverager,
    limit: Float[np.ndarray, " C"],
    may_not_rise: Bool[np.ndarray, "T C"] | None,
) -> dict[str, xr.DataArray]:
    shape = (dataset.sizes["time"], dataset.sizes["catchment"])
    observed = dataset["riverflow"].values if "riverflow" in dataset else np.full(shape, np.nan)
    is_observed = np.isfinite(observed)
    weight = np.maximum(averager.weight["riverflow"], 1e-12)[..., None]
    by_level = np.stack([to_catchments(row / weight, record, 0, 1) for row in averager.quantile["riverflow"]])
    by_level = np.minimum(by_level, limit)
    by_level = by_level if may_not_rise is None else without_rises(by_level, may_not_rise)
    quantile = _quantile_array(by_level, observed, averager.levels, RIVERFLOW, "catchment")
    return {"riverflow_quantile": quantile, "riverflow_origin": origin_of(is_observed)}


def _map_quantiles(dataset: xr.Dataset, record: RecordArrays, averager: WindowAverager, name: str) -> xr.DataArray:
    variable = MODALITIES[name].variables[0]
    weight = np.maximum(averager.weight[name], 1e-12)[..., None]
    by_level = np.stack([to_cells(row / weight, record, dataset) for row in averager.quantile[name]])
    return _quantile_array(by_level, dataset[variable.name].values, averager.levels, variable, "cell")


def _quantile_array(
    by_level: Float[np.ndarray, "Q T N"],
    observed: Float[np.ndarray, "T N"],
    levels: list[float],
    variable: Variable,
    sites: str,
) -> xr.DataArray:
    """Quantiles in ascending order; of an observed value, the value."""
    values = np.where(np.isfinite(observed), observed, by_level).astype(np.float32)
    label = "river flow" if variable == RIVERFLOW else variable.name.replace("_", " ")
    return xr.DataArray(
        np.maximum.accumulate(values, axis=0),
        dims=("quantile", "time", sites),
        coords={"quantile": levels},
        attrs={"units": variable.units, "long_name": f"{label} not exceeded with this probability"},
    )


def to_catchments(values: np.ndarray, record: RecordArrays, index: int, variables: int) -> Float[np.ndarray, "T C"]:
    """Values of groups of catchments in the order of the dataset."""
    slots = values.reshape(len(values), len(record.groups), -1, variables)[..., index]
    out = np.empty((len(values), len(record.catchments)), np.float32)
    real = record.groups >= 0
    out[:, record.groups[real]] = slots[:, real]
    return out


def to_cells(values: np.ndarray, record: RecordArrays, dataset: xr.Dataset) -> Float[np.ndarray, "T N"]:
    """Values of patches as cells; NaN for cells outside every land patch."""
    assert record.cell_layout is not None
    patch, pixel, inside = record.cell_layout
    out = np.full((len(values), dataset.sizes["cell"]), np.nan, np.float32)
    out[:, inside] = values[:, patch, pixel]
    return out


def parse_levels(quantiles: Sequence[float]) -> list[float]:
    """Levels of quantiles in ascending order.

    Raises:
        InputError: A level is not a number between 0 and 1.
    """
    try:
        levels = sorted({float(q) for q in quantiles})
    except (TypeError, ValueError) as error:
        raise InputError(f"quantiles {quantiles!r}: give a list of levels, such as [0.05, 0.5, 0.95]") from error
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"quantiles {list(quantiles)}: each must be above 0 and below 1")
    return levels
