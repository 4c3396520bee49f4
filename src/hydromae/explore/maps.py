"""Hidden patches of a daily map and their prediction."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from hydromae.errors import InputError
from hydromae.explore.requests import MapRequest
from hydromae.explore.session import Session, rounded
from hydromae.grid import GridSpec

MAP_DAYS = 90
"""Most days of the input of a map. Days farther away add little: the largest part of a prediction is kriging within the day
(docs/experiments.md, "Kriging inside the model")."""


def map_response(session: Session, request: MapRequest) -> dict[str, Any]:
    """Predict a share of hidden land patches of a daily map.

    Returns:
        dict: `rows`, `columns` of the smallest frame around all cells, `row` (southward) and `column` of each; `truth`,
            and `restored`, null outside the hidden patches; `hidden`, the corners of the patches [row, column]; `error`, the
            mean absolute error over the hidden cells, beside `spread`, that of the day's own mean over the visible cells.

    Raises:
        InputError: Unknown map or day.
    """
    started = time.perf_counter()
    if session.maps is None or request.variable not in session.maps:
        available = ", ".join(map(str, session.maps.data_vars)) if session.maps is not None else "none"
        raise InputError(f"map {request.variable[:40]!r} is not available; the store has for this model: {available}")
    day, _ = session.day_range(request.day, request.day)
    grid = session.model.grid or GridSpec()
    length = min(session.model.config.data.sequence_length, MAP_DAYS)
    first = max(0, min(day - length // 2, len(session.days) - length))
    window = session.select(0, slice(first, first + length), None)
    patches = hidden_patches(grid, window["cell"].values, request.share, request.draw)
    patch, _ = grid.patch_of(window["cell"].values)
    is_hidden = np.isin(patch, patches)
    truth = window[request.variable].values[day - first]
    restored = session.model.predict(mask_cells(window, request.variable, day - first, is_hidden))[
        request.variable
    ].values
    return {
        "variable": request.variable,
        "units": str(window[request.variable].attrs["units"]),
        "day": request.day.isoformat(),
        **_frame(grid, window["cell"].values, patches),
        "truth": rounded(truth, 3),
        "restored": rounded(np.where(is_hidden, restored[day - first], np.nan), 3),
        "error": _mean(np.abs(restored[day - first] - truth)[is_hidden]),
        "spread": _mean(np.abs(np.nanmean(truth[~is_hidden]) - truth)[is_hidden]),
        "seconds": round(time.perf_counter() - started, 2),
    }


def hidden_patches(grid: GridSpec, cells: Int[np.ndarray, " N"], share: float, draw: int) -> Int[np.ndarray, " P"]:
    """Return the flat numbers of hidden land patches: a random share, at least one and not all; `draw` is the seed."""
    patches = grid.land_patches_of(cells)
    count = min(max(1, round(share * len(patches))), max(1, len(patches) - 1))
    return np.sort(np.random.default_rng(draw).permutation(patches)[:count])


def mask_cells(window: xr.Dataset, variable: str, day: int, is_hidden: Bool[np.ndarray, " N"]) -> xr.Dataset:
    """Set cells of a map to NaN on one day."""
    values = window[variable].values.copy()
    values[day, is_hidden] = np.nan
    return window.assign({variable: window[variable].copy(data=values)})


def _frame(grid: GridSpec, cells: Int[np.ndarray, " N"], patches: Int[np.ndarray, " P"]) -> dict[str, Any]:
    """Return the frame with rows southward from the northernmost cell, columns eastward from the westernmost."""
    row, column = np.divmod(cells, grid.columns)
    patch_row, patch_column = np.divmod(patches, grid.patch_shape[1])
    north, west = int(row.max()), int(column.min())
    corner = np.stack([north - (patch_row + 1) * grid.patch + 1, patch_column * grid.patch - west], axis=-1)
    return {
        "rows": north - int(row.min()) + 1,
        "columns": int(column.max()) - west + 1,
        "patch": grid.patch,
        "row": (north - row).tolist(),
        "column": (column - west).tolist(),
        "hidden": corner.tolist(),
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 4) if len(known) else None
