"""Flow without units that can only be m³/s is asked about; rivers that carry much or little are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hydromae.datasets.reader import open_record
from hydromae.errors import InputError
from hydromae.io.flow_units_check import check_flow_units


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
        with pytest.raises(InputError, match=rf"{column} has no units .* is 6 times the rain.*'riverflow \[m3/s\]'"):
            open_record(rivers(column, much))
    told = open_record(rivers("riverflow [m3/s]", much))["riverflow"].mean("time").values
    np.testing.assert_allclose(told, 2.5 * much * 86.4 / 500, rtol=0.01)
    for kept in ("riverflow [mm/day]", "discharge_spec"):
        np.testing.assert_allclose(open_record(rivers(kept, much))["riverflow"].mean("time"), 2.5 * much, rtol=0.01)


def test_springs_dry_months_and_half_of_the_rivers_pass() -> None:
    open_record(rivers("riverflow", np.array([2.9, 1.4])))
    open_record(rivers("riverflow", np.array([0.5, 6.0])))
    open_record(rivers("riverflow", np.array([9.0]), days=200))
    open_record(rivers("riverflow", np.array([9.0])).drop(columns="precipitation"))


def test_flow_that_goes_with_the_area_is_asked_about() -> None:
    random = np.random.default_rng(0)
    shares, area = random.uniform(0.2, 0.9, 20), np.geomspace(5, 300, 20)
    np.testing.assert_allclose(open_record(rivers("riverflow", shares, area=area))["catchment-area"], area)
    cubic = shares * area / 86.4
    assert (cubic < 3).all()
    with pytest.raises(InputError, match="grows with the catchments' areas, as m3/s does"):
        open_record(rivers("riverflow", cubic, area=area))
    open_record(rivers("riverflow", cubic[:8], area=area[:8]))


def test_a_month_is_enough_where_several_rivers_carry_what_none_can() -> None:
    """30 days of 2.5 mm rain: 15 mm/day is 375 mm more than falls, which one river may carry, and three of five do not."""
    months = np.array([0.5, 0.6, 6.0, 6.0, 6.0])
    with pytest.raises(InputError, match=r"riverflow has no units .* is 5\.96 times the rain"):
        open_record(rivers("riverflow", months, days=30))
    open_record(rivers("riverflow", months, days=29))
    open_record(rivers("riverflow", months[:3], days=30))
    open_record(rivers("riverflow [mm/day]", months, days=30))


def test_no_river_carries_fifty_millimetres_a_day_for_a_month() -> None:
    """With 2.5 mm of rain 32.5 mm/day are 900 mm more than falls; without rain 45 mm/day are 1350 mm."""
    for share, table in ((14.0, rivers("riverflow", np.array([14.0]), days=30)), (20.0, None)):
        given = (
            rivers("riverflow", np.array([share]), days=30).drop(columns="precipitation") if table is None else table
        )
        with pytest.raises(InputError, match=r"riverflow has no units and, read as mm/day, is .* over the record"):
            open_record(given)
    open_record(rivers("riverflow", np.array([12.0]), days=30))
    open_record(rivers("riverflow", np.array([16.0]), days=30).drop(columns="precipitation"))


def test_areas_tell_without_rain_and_in_a_month() -> None:
    random = np.random.default_rng(0)
    area = np.geomspace(5, 300, 20)
    cubic = random.uniform(0.2, 0.9, 20) * area / 86.4
    for days, left_out in ((30, "id_"), (400, "precipitation")):
        with pytest.raises(InputError, match="grows with the catchments' areas"):
            open_record(rivers("riverflow", cubic, days, area).drop(columns=left_out, errors="ignore"))


@pytest.mark.real
def test_real_rivers_pass_and_are_noticed_in_cubic_metres(real_data: Path) -> None:
    """599 British rivers, and 19 French ones where their file is there: no false alarm; m³/s is noticed."""
    record = open_record(real_data / "camels_gb_daily.nc", real_data / "Catchment_attributes_nrfa.csv")
    held = [record[["riverflow", "precipitation", "catchment-area"]].load()]
    if (real_data / "france_19_daily.nc").is_file():
        held.append(
            open_record(real_data / "france_19_daily.nc")[["riverflow", "precipitation", "catchment-area"]].load()
        )
    for one in held:
        cubic = one.assign(riverflow=one["riverflow"] * one["catchment-area"] / 86.4)
        for days in (30, 365, one.sizes["time"]):
            starts = range(0, one.sizes["time"] - days + 1, 1500)
            noticed = 0
            for part in (slice(start, start + days) for start in starts):
                check_flow_units(one.isel(time=part), "riverflow", "the table")
                try:
                    check_flow_units(cubic.isel(time=part), "riverflow", "the table")
                except InputError:
                    noticed += 1
            assert noticed >= (0.75 if days == 30 else 1) * len(starts), days
