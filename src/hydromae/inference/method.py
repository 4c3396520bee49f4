"""A model as a method, for forecasts and evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xarray as xr

from hydromae.inference.windows import ProgressCallback, no_progress

if TYPE_CHECKING:
    from hydromae.inference.predictor import Model

DEFAULT_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Default levels of the predicted quantiles."""


@dataclass(frozen=True)
class ModelMethod:
    """A model as a method on canonical records, which are not checked again.

    Attributes:
        name: Name in tables of scores.
        levels: Levels of the predicted quantiles, ascending.
        progress: As for `Model.predict`.
    """

    model: Model
    name: str
    levels: Sequence[float] = DEFAULT_LEVELS
    progress: ProgressCallback = no_progress

    def predict(self, dataset: xr.Dataset, /) -> xr.Dataset:
        """Predict every NaN."""
        return self.model.predict_record(dataset, list(self.levels), self.progress)

    def predict_last_days(self, dataset: xr.Dataset, days: int, /) -> xr.Dataset:
        """Predict every NaN of the last `days` days, without the others."""
        return self.model.predict_record(dataset, list(self.levels), self.progress, days)
