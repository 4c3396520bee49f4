"""Wider intervals on short records: factors by which the distances of quantiles from the median are multiplied.

The loss excludes the first days of every training window, so intervals are too narrow on the first days of a record. The
factors are measured for a model and stored with its weights; a model without factors widens no interval.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float

from hydromae.batching.record_arrays import RecordArrays
from hydromae.errors import InputError, first_line
from hydromae.io.value_ranges import PROCESSING, span

CALIBRATION_FILE = "calibration.json"
MAX_FACTOR = 100.0
"""Largest valid factor."""


@dataclass(frozen=True)
class Widening:
    """Factors by day of the record, for records shorter than the windows of the model.

    Factors are interpolated in the logarithm of the day, and constant before the first and after the last day.

    Attributes:
        day: Days of the record, counted from 1, ascending.
        gauged, ungauged: Factors (at least 1) on these days, for rivers with and without observed flow in the record, if the
            flow of a river is observed on the day.
        gauged_alone, ungauged_alone: Factors if no flow is observed on the day.
    """

    day: tuple[float, ...]
    gauged: tuple[float, ...]
    gauged_alone: tuple[float, ...]
    ungauged: tuple[float, ...]
    ungauged_alone: tuple[float, ...]


def widening_factors(widening: Widening | None, record: RecordArrays, window: int) -> Float[np.ndarray, "T S F"] | None:
    """Factors for each day and river of a record; None for a model without factors, or a record of at least `window` days."""
    if widening is None or "riverflow" not in record.values or len(record.days) >= window:
        return None
    has_flow = np.isfinite(record.values["riverflow"])
    day, knot_days = np.log(np.arange(len(record.days)) + 1.0), np.log(widening.day)
    curves = (widening.gauged, widening.gauged_alone, widening.ungauged, widening.ungauged_alone)
    gauged, gauged_alone, ungauged, ungauged_alone = (np.interp(day, knot_days, by)[:, None, None] for by in curves)
    has_flow_on_day = has_flow.any(axis=(1, 2), keepdims=True)
    return np.where(
        has_flow.any(axis=0),
        np.where(has_flow_on_day, gauged, gauged_alone),
        np.where(has_flow_on_day, ungauged, ungauged_alone),
    )


def note_widening(
    answer: xr.Dataset, record: RecordArrays, factors: Float[np.ndarray, "T S F"] | None, window: int
) -> xr.Dataset:
    """The prediction; of a record below `window` days, `processing` of its quantiles describes the widening."""
    if "riverflow" not in record.values or len(record.days) >= window:
        return answer
    is_requested = ~np.isfinite(record.values["riverflow"]) & (record.groups >= 0)
    if not is_requested.any():
        return answer
    note = f"intervals are not calibrated below {window} days"
    if factors is not None:
        by = span(factors[is_requested].min(), factors[is_requested].max(), ".1f")
        note = f"intervals are widened by {by}, as measured on records below {window} days"
    answer["riverflow_quantile"].attrs[PROCESSING] = f"record of {len(record.days)} days: {note}"
    return answer


def widening_files(widening: Widening | None) -> dict[str, str]:
    """Name and text of the file of the factors; empty for a model without factors."""
    return {} if widening is None else {CALIBRATION_FILE: json.dumps(asdict(widening), indent=1)}


def read_widening(folder: Path) -> Widening | None:
    """The factors in a model folder; None if it has none.

    Raises:
        InputError: The file cannot be read, or contains invalid factors.
    """
    file = folder / CALIBRATION_FILE
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        day, *curves = (tuple(map(float, values[part.name])) for part in fields(Widening))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{file}: no factors of intervals can be read from it ({first_line(error)}); restore the file"
        ) from error
    is_ascending = bool(day) and day[0] >= 1 and all(a < b for a, b in zip(day, (*day[1:], np.inf), strict=True))
    is_valid = all(len(by) == len(day) and all(1 <= factor <= MAX_FACTOR for factor in by) for by in curves)
    if not (is_ascending and is_valid):
        raise InputError(f"{file}: days must ascend from 1, each with factors of 1 to {MAX_FACTOR:g}; restore the file")
    return Widening(day, *curves)
