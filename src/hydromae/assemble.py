"""From answers on sites to a record: laid over the NaN of what was asked, in its order, with quantiles and origins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.blend import Sums
from hydromae.data.origin import origin_of
from hydromae.data.record import Record
from hydromae.data.scaling import Scaling
from hydromae.errors import InputError
from hydromae.modalities import MODALITIES, RIVERFLOW


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
            unknown = variable.name not in sums.scaling
            if unknown or (absent and name != "riverflow") or (not absent and dataset[variable.name].dims != dims):
                continue
            known = laid * np.nan if absent else dataset[variable.name].values
            laid = laid if variable.minimum is None else np.maximum(laid, variable.minimum)
            attributes = {"units": variable.units} if absent else dataset[variable.name].attrs
            seen = np.isfinite(known)
            answers[variable.name] = xr.DataArray(np.where(seen, known, laid), dims=dims, attrs=attributes)
            if variable != RIVERFLOW and (~seen & np.isfinite(laid)).any():
                answers[f"{variable.name}_origin"] = origin_of(seen, dims, variable.name)
    if sums.quantile is not None:
        answers |= _flow_quantiles(dataset, record, sums)
    return dataset.assign(answers)


def _flow_quantiles(dataset: xr.Dataset, record: Record, sums: Sums) -> dict[str, xr.DataArray]:
    assert sums.quantile is not None
    shape = (dataset.sizes["time"], dataset.sizes["catchment"])
    known = dataset["riverflow"].values if "riverflow" in dataset else np.full(shape, np.nan)
    seen = np.isfinite(known)
    weight = np.maximum(sums.weight["riverflow"], 1e-12)[..., None]
    stacked = np.stack([catchments_of(row / weight, record, 0, 1) for row in sums.quantile])
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

    Raises
    ------
    InputError
        They are no numbers between 0 and 1.
    """
    try:
        levels = sorted({float(q) for q in quantiles})
    except (TypeError, ValueError) as error:
        raise InputError(f"quantiles {quantiles!r}: give a list of levels, such as [0.05, 0.5, 0.95]") from error
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"quantiles {list(quantiles)}: each must lie between 0 and 1, both excluded")
    return levels
