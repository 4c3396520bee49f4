"""Hidden parts of maps: predictions, weighed against kriging by the errors of both in the record's own maps.

Visible patches of some days are hidden and predicted (pseudo-hidden patches). Least squares on their cells gives the weight
of the model in the mean; the rest is ordinary kriging of the values of the day. The products of a variable differ in how
smooth they are, so that no weight suits all of them. Days without an observed map have no kriging and do not change.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.grid import GridSpec
from hydromae.io.value_ranges import PROCESSING, joined_notes
from hydromae.model.kriging import PatchKriging, neighbour_patches
from hydromae.variables import VARIABLES

CHECK_DAYS = 30
"""Most days with pseudo-hidden patches, in succession."""
HIDDEN_SHARE = 0.2
"""Share of the visible patches of such a day that are hidden."""
MIN_DAYS = 10
"""Fewest such days that are used."""
REACH = 2
"""Patches around a patch that kriging reads, in each direction."""
BLOCK_DAYS = 180
"""Days that are kriged at once."""
FACTOR_BOUNDS = (0.2, 5.0)
"""Bounds of the factor of quantiles of a variable that is at least zero."""
OFFSET = 0.05
"""Added to the mean before and after in this factor, as a part of the mean of all values."""


class PatchCells:
    """The cells of a record as patches of its grid, those on coasts with few cells among them.

    Args:
        grid: Grid of the record.
        cell: Flat cell numbers [N].
    """

    def __init__(self, grid: GridSpec, cell: np.ndarray) -> None:
        patch, self.pixel = grid.patch_of(cell)
        patches, self.patch = np.unique(patch, return_inverse=True)
        self.is_inside = np.isin(patch, grid.land_patches_of(cell))
        east, north = grid.patch_position(patches)
        self.position, self.pixels = np.stack([east, north], axis=-1) / 1000.0, grid.patch**2

    def krige(self, values: Float[np.ndarray, "T N"]) -> Float[np.ndarray, "T N"]:
        """Kriging of each NaN from the values of the day around it; NaN where none is near, and elsewhere."""
        kriged = np.full(values.shape, np.nan, np.float32)
        days = np.flatnonzero(np.isnan(values[:, self.is_inside]).any(axis=1))
        for block in np.split(days, range(BLOCK_DAYS, len(days), BLOCK_DAYS)):
            kriged[block] = self._krige(values[block])
        return kriged

    def _krige(self, values: Float[np.ndarray, "T N"]) -> Float[np.ndarray, "T N"]:
        shape = len(values), len(self.position), self.pixels
        patches, wanted = np.full(shape, np.nan, np.float32), np.zeros(shape, dtype=bool)
        patches[:, self.patch, self.pixel] = values
        wanted[:, self.patch, self.pixel] = np.isnan(values) & self.is_inside
        field = torch.from_numpy(patches)[None]
        around, _ = neighbour_patches(torch.from_numpy(self.position.astype(np.float32))[None], REACH)
        kriging = PatchKriging(field.isfinite(), around, torch.from_numpy(wanted)[None])
        estimate = torch.where(kriging.exists, kriging(field.nan_to_num()), torch.nan)[0].numpy()
        return np.where(self.is_inside, estimate[:, self.patch, self.pixel], np.nan)

    def pseudo_hidden(self, values: Float[np.ndarray, "T N"]) -> Bool[np.ndarray, "T N"]:
        """Observed cells of a share of the patches of each day that have any, drawn with the seed 0."""
        generator, hidden = np.random.default_rng(0), np.isfinite(values) & self.is_inside
        for day in hidden:
            visible = np.unique(self.patch[day])
            day &= np.isin(self.patch, generator.choice(visible, round(HIDDEN_SHARE * len(visible)), replace=False))
        return hidden


def adjust_to_own_maps(
    answer: xr.Dataset, dataset: xr.Dataset, grid: GridSpec | None, predict: Callable[[xr.Dataset], xr.Dataset]
) -> xr.Dataset:
    """Weigh predictions of hidden parts of maps against kriging.

    Quantiles of a variable that is at least zero are multiplied by the factor of the mean; others are shifted with it.

    Args:
        answer: Prediction of the record.
        dataset: The record.
        grid: Grid of its maps; without one, nothing changes.
        predict: Predicts every NaN of a record.
    """
    names = [str(n) for n, v in dataset.data_vars.items() if "cell" in v.dims and f"{n}_quantile" in answer]
    if grid is None or not names:
        return answer
    cells = PatchCells(grid, dataset["cell"].values)
    kriged = {name: cells.krige(dataset[name].transpose("time", "cell").values) for name in names}
    kriged = {name: values for name, values in kriged.items() if np.isfinite(values).any()}
    if not kriged:
        return answer
    weights = _weights(dataset, cells, kriged, predict)
    return answer.assign(
        {n: v for name, w in weights.items() if w < 1 for n, v in _adjusted(answer, name, kriged[name], w).items()}
    )


def _weights(
    dataset: xr.Dataset,
    cells: PatchCells,
    kriged: dict[str, Float[np.ndarray, "T N"]],
    predict: Callable[[xr.Dataset], xr.Dataset],
) -> dict[str, float]:
    """Weight of the model for each variable, 0 to 1; 1 where too few days can be used."""
    asked = np.flatnonzero(np.any([np.isfinite(values).any(axis=1) for values in kriged.values()], axis=0))
    first = int(np.clip(asked[len(asked) // 2] - CHECK_DAYS // 2, 0, max(len(dataset["time"]) - CHECK_DAYS, 0)))
    record = dataset.isel(time=slice(first, first + CHECK_DAYS))
    truth = {name: record[name].transpose("time", "cell").values for name in kriged}
    hidden = {name: cells.pseudo_hidden(values) for name, values in truth.items()}
    masked = {name: np.where(hidden[name], np.nan, values) for name, values in truth.items()}
    if max(hidden[name].any(axis=1).sum() for name in kriged) < MIN_DAYS:
        return dict.fromkeys(kriged, 1.0)
    check = predict(record.assign({name: (("time", "cell"), values) for name, values in masked.items()}))
    found = {}
    for name in kriged:
        simple = cells.krige(masked[name])
        used = hidden[name] & np.isfinite(simple)
        difference, error = (
            (values - simple)[used].astype(np.float64)
            for values in (check[name].transpose("time", "cell").values, truth[name])
        )
        is_enough = used.any(axis=1).sum() >= MIN_DAYS and bool((difference**2).sum() > 0)
        found[name] = float(np.clip((difference @ error) / (difference @ difference), 0, 1)) if is_enough else 1.0
    return found


def _adjusted(
    answer: xr.Dataset, name: str, kriged: Float[np.ndarray, "T N"], weight: float
) -> dict[str, xr.DataArray]:
    """The mean and the quantiles of a variable where kriging exists."""
    mean = answer[name].transpose("time", "cell")
    quantiles = answer[f"{name}_quantile"].transpose("quantile", "time", "cell")
    minimum, is_changed = VARIABLES[name].minimum, np.isfinite(kriged)
    before = mean.values
    after = np.where(is_changed, weight * before + (1 - weight) * kriged, before)
    if minimum is None:
        moved = quantiles.values + (after - before)
    else:
        after = np.maximum(after, minimum)
        offset = OFFSET * float(np.nanmean(before)) + np.finfo(np.float32).tiny
        moved = quantiles.values * np.clip((after + offset) / (before + offset), *FACTOR_BOUNDS)
    note = f"hidden parts of maps are weighed by pseudo-hidden patches: {weight:.2f} of the model, the rest kriging"
    adjusted = quantiles.copy(data=np.where(is_changed, moved, quantiles.values).astype(quantiles.dtype))
    adjusted.attrs[PROCESSING] = joined_notes(adjusted.attrs.get(PROCESSING), note)
    return {name: mean.copy(data=after.astype(mean.dtype)), f"{name}_quantile": adjusted}
