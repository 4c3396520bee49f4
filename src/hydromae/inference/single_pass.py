"""The prediction of a record in one pass over its windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from hydromae.batching.record_arrays import to_record_arrays
from hydromae.inference.assemble import assemble, days_to_predict, modalities_to_predict
from hydromae.inference.sliding_window import WindowAverager
from hydromae.inference.widening import note_widening, widening_factors
from hydromae.inference.windows import ProgressCallback, predict_windows, window_batches
from hydromae.model.dtypes import default_float32

if TYPE_CHECKING:
    from hydromae.inference.predictor import Model


def predict_once(
    model: Model, dataset: xr.Dataset, levels: list[float], progress: ProgressCallback, last_days: int | None = None
) -> xr.Dataset:
    """As `Model.predict_record`, without the adjustment of rivers outside the training area."""
    record = to_record_arrays(dataset, model.config, model.scaling, model.grid)
    record.domain.warn(dataset, model.scaling)
    window = model.config.data.sequence_length
    factors = widening_factors(model.widening, record, window)
    exists = {name: record.exists(name) for name in modalities_to_predict(dataset, record, model.scaling)}
    averager = WindowAverager(record.values, model.scaling, levels, factors)
    with torch.inference_mode(), default_float32():
        targets = days_to_predict(dataset, record, model.scaling)
        if last_days is not None:
            targets[: max(0, len(targets) - last_days)] = False
        for batch, weight, starts in window_batches(record, targets, model.config.data, progress):
            days = None if last_days is None else targets[starts[:, None] + np.arange(weight.shape[1])]
            predicted = predict_windows(model.network, model.device, model.precision_used, batch, days, exists)
            averager.add(predicted, weight, starts)
    answer = note_widening(assemble(dataset, record, averager), record, factors, window)
    return answer if last_days is None else answer.isel(time=slice(-last_days, None))
