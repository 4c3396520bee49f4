"""Flow without units that can only be m³/s is asked about; rivers that carry much or little are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hydromae.data.readers import read
from hydromae.errors import InputError


def rivers(column: str, shares: np.ndarray, days: int = 400, area: np.ndarray | float = 500.0) -> pd.DataFrame:
    """A catchment for each share of rain that flows off; rain of 0 and 5 mm in turn."""
    count = len(shares)
    rain = np.tile(np.where(np.arange(days) % 2, 5.0, 0.0), count)
    place = np.repeat(np.arange(count), days)
    flow = 2.5 * shares[place] * (1 + 0.2 * np.sin(np.arange(days * count)))
    dates = np.tile(pd.date_range("2001-01-01", periods=days).strftime("%Y-%m-%d"), count)
    areas = np.broadcast_to(area, count)[place]
    return pd.DataFrame({"date": dates, "id": place, column: flow, "precipitation": rain, "catchment-area": areas})


def test_flow_far_above_rain_is_asked_about() -> None:
    much = np.array([0.5, 6.0, 7.0])
    for column in ("riverflow", "streamflow"):
        with pytest.raises(InputError, match=rf"{column} says no units .* is 6 times the rain.*'riverflow \[m3/s\]'"):
            read(rivers(column, much))
    told = read(rivers("riverflow [m3/s]", much))["riverflow"].mean("time").values
    np.testing.assert_allclose(told, 2.5 * much * 86.4 / 500, rtol=0.01)
    for kept in ("riverflow [mm/day]", "discharge_spec"):
        np.testing.assert_allclose(read(rivers(kept, much))["riverflow"].mean("time"), 2.5 * much, rtol=0.01)


def test_springs_dry_months_and_half_of_the_rivers_pass() -> None:
    read(rivers("riverflow", np.array([2.9, 1.4])))
    read(rivers("riverflow", np.array([0.5, 6.0])))
    read(rivers("riverflow", np.array([9.0]), days=200))
    read(rivers("riverflow", np.array([9.0])).drop(columns="precipitation"))


def test_flow_that_goes_with_the_area_is_asked_about() -> None:
    random = np.random.default_rng(0)
    shares, area = random.uniform(0.2, 0.9, 20), np.geomspace(5, 300, 20)
    np.testing.assert_allclose(read(rivers("riverflow", shares, area=area))["catchment-area"], area)
    cubic = shares * area / 86.4
    assert (cubic < 3).all()
    with pytest.raises(InputError, match="grows with the catchments' areas, as m3/s does"):
        read(rivers("riverflow", cubic, area=area))
    read(rivers("riverflow", cubic[:8], area=area[:8]))
