"""From answers on sites to a record: laid over the NaN of what was asked, in its order, with quantiles and origins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.batching.record_arrays import Record
from hydromae.errors import InputError
from hydromae.inference.sliding_window import Sums
from hydromae.io.names import OUTSIDE
from hydromae.io.origin import origin_of
from hydromae.progress import remark
from hydromae.store.scaling import Scaling
from hydromae.store.training_domain import outside_training
from hydromae.variables import MODALITIES, RIVERFLOW


def _is_asked(name: str, record: Record) -> bool:
    return MODALITIES[name].kind == "series" or len(record.patches) > 0


def wanted_days(dataset: xr.Dataset, record: Record, scaling: Scaling) -> Bool[np.ndarray, " T"]:
    """Days on which a variable that the model can answer has a NaN."""
    wanted = np.zeros(len(record.days), dtype=bool)
    for variable in (v for name in record.values if _is_asked(name, record) for v in MODALITIES[name].variables):
        if variable.name in dataset and variable.name in scaling:
            wanted |= ~np.isfinite(dataset[variable.name].values).all(axis=1)
        elif variable.name == RIVERFLOW.name:
            wanted[:] = True
    return wanted


def assemble(dataset: xr.Dataset, record: Record, sums: Sums) -> xr.Dataset:
    """Lay the answers over the NaN of a record; a river flow that the record lacks altogether is answered whole.

    No flow is above `largest_flow`. Where a catchment lies outside the training of the model, or its flow was cut,
    `outside_training` says so.
    """
    answers: dict[str, xr.DataArray] = {}
    limit, cut = largest_flow(dataset), np.zeros(len(record.catchments), dtype=bool)
    for name in (n for n in record.values if _is_asked(n, record)):
        modality = MODALITIES[name]
        mean = sums.mean[name] / np.maximum(sums.weight[name], 1e-12)[..., None]
        for index, variable in enumerate(modality.variables):
            if modality.kind == "map":
                laid, dims = cells_of(mean, record, dataset), ("time", "cell")
            else:
                laid, dims = catchments_of(mean, record, index, len(modality.variables)), ("time", "catchment")
            absent = variable.name not in dataset
            unknown = variable.name not in sums.scaling
            if unknown or (absent and name != "riverflow") or (not absent and dataset[variable.name].dims != dims):
                continue
            known = laid * np.nan if absent else dataset[variable.name].values
            laid = laid if variable.minimum is None else np.maximum(laid, variable.minimum)
            attributes = {"units": variable.units} if absent else dataset[variable.name].attrs
            seen = np.isfinite(known)
            if variable == RIVERFLOW:
                outside_span = catchments_of(sums.cut[name][None], record, 0, 1)[0].astype(bool)
                cut |= outside_span | (~seen & (laid > limit)).any(axis=0)
                laid = np.minimum(laid, limit)
            answers[variable.name] = xr.DataArray(np.where(seen, known, laid), dims=dims, attrs=attributes)
            if variable != RIVERFLOW and (~seen & np.isfinite(laid)).any():
                answers[f"{variable.name}_origin"] = origin_of(seen, dims, variable.name)
    if sums.quantile is not None:
        answers |= _flow_quantiles(dataset, record, sums, limit)
    if cut.any():
        remark(
            RIVERFLOW.name,
            f"riverflow of {cut.sum()} of {len(cut)} catchments, such as {record.catchments[cut.argmax()]}, is cut to what "
            f"its own distribution and a river of that size allow ({OUTSIDE} in the answer has riverflow there)",
        )
    outside = outside_training(dataset, record.domain, cut)
    return dataset.assign(answers if outside is None else answers | {OUTSIDE: outside})


def largest_flow(dataset: xr.Dataset) -> Float[np.ndarray, " C"]:
    """What a river of each catchment's size can carry at most [mm/day], in single precision.

    The envelope of the largest floods that were ever observed, Q = 10⁶ (A / 10⁸)^(1 − K / 10) m³/s with A in km² and K = 6
    (Francou and Rodier 1967, IAHS Leningrad symposium on floods; Herschy 2003, World catalogue of maximum observed
    floods, IAHS publication 284), and nowhere more than is read of any river (`RIVERFLOW.valid`): 1000 mm/day below
    783 km², and where the area is unknown.
    """
    area = (
        dataset["catchment-area"].values if "catchment-area" in dataset else np.full(dataset.sizes["catchment"], np.nan)
    )
    envelope = 1e6 * (area.astype(np.float64) / 1e8) ** 0.4 * 86.4 / area
    return np.fmin(envelope, RIVERFLOW.valid[1]).astype(np.float32)


def _flow_quantiles(
    dataset: xr.Dataset, record: Record, sums: Sums, limit: Float[np.ndarray, " C"]
) -> dict[str, xr.DataArray]:
    assert sums.quantile is not None
    shape = (dataset.sizes["time"], dataset.sizes["catchment"])
    known = dataset["riverflow"].values if "riverflow" in dataset else np.full(shape, np.nan)
    seen = np.isfinite(known)
    weight = np.maximum(sums.weight["riverflow"], 1e-12)[..., None]
    stacked = np.minimum(np.stack([catchments_of(row / weight, record, 0, 1) for row in sums.quantile]), limit)
    stacked = np.maximum.accumulate(np.where(seen, known, stacked).astype(np.float32), axis=0)
    quantile = xr.DataArray(
        stacked,
        dims=("quantile", "time", "catchment"),
        coords={"quantile": sums.levels},
        attrs={"units": RIVERFLOW.units, "long_name": "river flow not exceeded with this probability"},
    )
    return {"riverflow_quantile": quantile, "riverflow_origin": origin_of(seen)}


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


def levels_of(quantiles: Sequence[float]) -> list[float]:
    """Levels of quantiles, ascending.

    Raises:
        InputError: They are no numbers between 0 and 1.
    """
    try:
        levels = sorted({float(q) for q in quantiles})
    except (TypeError, ValueError) as error:
        raise InputError(f"quantiles {quantiles!r}: give a list of levels, such as [0.05, 0.5, 0.95]") from error
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"quantiles {list(quantiles)}: each must lie between 0 and 1, both excluded")
    return levels
