"""Chances to exceed thresholds of flow, by river and lead, from a forecast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.evaluate.events import WARNING_PROBABILITY
from hydromae.evaluate.thresholds import FlowThreshold
from hydromae.inference.distribution import exceedance
from hydromae.io.names import FLOW, QUANTILE
from hydromae.io.units import from_canonical

DIMENSIONS = ("issue_time", "lead", "catchment")


def event_probability(forecast: xr.Dataset, threshold: FlowThreshold) -> xr.DataArray:
    """Probability of the event of a threshold (issue_time, lead, catchment); NaN for rivers without a threshold.

    Args:
        forecast: A forecast in mm/day with `riverflow_quantile` (`scenarios.forecast`).
        threshold: Threshold of each catchment of the forecast.
    """
    quantile = forecast[QUANTILE].transpose("quantile", *DIMENSIONS)
    values = quantile.values.astype(np.float64)
    above = exceedance(
        quantile["quantile"].values.astype(float), values, np.broadcast_to(threshold.flow, values.shape[1:])
    )
    probability = above if threshold.side == "above" else 1 - above
    return forecast[FLOW].transpose(*DIMENSIONS).copy(data=probability).drop_attrs()


def warning_table(
    forecast: xr.Dataset, thresholds: Sequence[FlowThreshold], units: str, area: xr.DataArray | None
) -> pd.DataFrame:
    """Return a row for each threshold, issue day, lead and river that has the threshold.

    Args:
        forecast: As for `event_probability`.
        thresholds: Thresholds of the catchments.
        units: Units of the column of the threshold.
        area (DataArray (catchment), optional): Catchment area [km²], for units of volume.

    Returns:
        DataFrame: issue_time, lead [days], date, catchment, threshold, side, flow [units], probability, and warning, which is
            True from a probability of 0.35 (`events.WARNING_PROBABILITY`).
    """
    frames = []
    for threshold in thresholds:
        flow = xr.DataArray(threshold.flow, dims="catchment", coords={"catchment": forecast["catchment"].values})
        probability = event_probability(forecast, threshold)
        issue, lead, site = (index.ravel() for index in np.indices(probability.shape))
        frame = pd.DataFrame(
            {
                "issue_time": forecast["issue_time"].values[issue],
                "lead": forecast["lead"].values[lead],
                "date": forecast["valid_time"].transpose("issue_time", "lead").values[issue, lead],
                "catchment": forecast["catchment"].values[site],
                "threshold": threshold.name,
                "side": threshold.side,
                f"flow [{units}]": from_canonical(flow, FLOW, units, area).values[site],
                "probability": probability.values.ravel(),
            }
        )
        frames.append(frame[np.isfinite(threshold.flow[site])])
    table = pd.concat(frames, ignore_index=True)
    return table.assign(warning=table["probability"] >= WARNING_PROBABILITY)
