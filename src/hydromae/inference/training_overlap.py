"""Whether training may have used flow that is evaluated, by the catchments and periods in the configuration of a model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Shaped

from hydromae.config.schema import DataConfig


def seen_in_training(data: DataConfig, catchments: Iterable[object], days: Shaped[np.ndarray, " T"]) -> str:
    """A sentence on the flow of these catchments and days that training may have used; empty if it used none.

    The configuration contains the held-out catchments and two periods, but not the catchments of the training record: the
    sentence says "may". The configuration of a fine-tuned model describes its last run only.

    Args:
        data: Data configuration of the model.
        catchments: Names, compared as text.
        days (datetime64 array (T,)): Days of the flow.
    """
    names = [str(name) for name in catchments]
    not_held_out = [name for name in names if name not in data.held_out]
    periods = {
        "training period": data.training_period,
        "validation period (which chooses the epoch)": data.validation_period,
    }
    counts = {
        f"{period_name}, {low} to {high}": int(_inside(days, low, high).sum())
        for period_name, (low, high) in periods.items()
    }
    period_clause = " and ".join(
        f"its {period_name}, has {count} of the {len(days)} days" for period_name, count in counts.items() if count
    )
    if not not_held_out or not period_clause:
        return ""
    subject = f"{not_held_out[0]} is" if len(names) == 1 else f"{len(not_held_out)} of {len(names)} are"
    held_out_clause = (
        f"{subject} not among the {len(data.held_out)} that it held out" if data.held_out else "it held none out"
    )
    return f"Training may have seen this flow, if it used rivers of these names: {held_out_clause}; {period_clause}."


def _inside(days: Shaped[np.ndarray, " T"], low: str, high: str) -> np.ndarray:
    return (days >= np.datetime64(low)) & (days <= np.datetime64(high))
