"""Thresholds of warnings: return periods by hand, shares of days, and files of a user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.evaluate.thresholds import annual_maxima, read_thresholds, return_flow, thresholds_of_record
from hydromae.evaluate.warnings import warning_table


def logistic_maxima(count: int, location: float, scale: float, shape: float) -> np.ndarray:
    """Quantiles of a generalised logistic distribution at plotting positions; the T-year value is known."""
    share = (np.arange(count) + 0.5) / count
    return location + scale / shape * (1 - ((1 - share) / share) ** shape)


@pytest.mark.parametrize("shape", [-0.2, 1e-9, 0.15])
def test_return_flows_are_those_of_the_distribution(shape: float) -> None:
    maxima = logistic_maxima(20_000, 10.0, 2.0, shape)
    for years in (1.5, 2.0, 10.0, 50.0):
        exact = 10.0 + 2.0 / shape * (1 - (years - 1) ** -shape)
        assert return_flow(maxima, years) == pytest.approx(exact, rel=0.01)


def test_the_two_year_flow_is_the_median_and_short_records_have_none() -> None:
    maxima = np.array([3.0, 9, 4, 5, 8, 6, 7, 5, np.nan, 4, 12])
    assert return_flow(maxima, 2.0) == pytest.approx(np.nanmedian(maxima))
    flows = [return_flow(maxima, years) for years in (1.5, 2, 5, 10, 30)]
    assert flows == sorted(flows) and np.isnan(return_flow(maxima, 31.0)), "ten maxima allow 30 years"
    assert np.isnan(return_flow(maxima[:9], 2.0))
    assert return_flow(np.full(12, 3.0), 10.0) == 3.0


def record(years: int = 12) -> xr.Dataset:
    """Two rivers: the flow of the second is ten times that of the first, and it has one year of flow."""
    days = pd.date_range("2000-10-01", f"{2000 + years}-09-30")
    flow = np.tile(1.0 + np.arange(len(days))[:, None] % 100, (1, 2)) * [1.0, 10.0]
    flow[400:, 1] = np.nan
    coords = {"time": days, "catchment": [11, 22]}
    area = ("catchment", [86.4, 864.0], {"units": "km2"})
    return xr.Dataset({"riverflow": (("time", "catchment"), flow), "catchment-area": area}, coords)


def test_annual_maxima_of_water_years() -> None:
    one = record()
    maxima = annual_maxima(pd.DatetimeIndex(one["time"].values), one["riverflow"].values)
    assert maxima.shape == (12, 2) and (maxima[:, 0] == 100).all() and np.isfinite(maxima[:, 1]).sum() == 1


def test_thresholds_by_name() -> None:
    two, low, high = thresholds_of_record(record(), ["2-Year", "q95", "q10"])
    assert (two.name, low.side, high.side) == ("2-year", "below", "above")
    assert two.flow[0] == 100 and np.isnan([two.flow[1], low.flow[1]]).all()
    assert low.flow[0] == pytest.approx(5, abs=1) and high.flow[0] == pytest.approx(91, abs=1)
    for wrong in ("1-year", "q0", "2 years", "bank-full"):
        with pytest.raises(InputError, match="is not known"):
            thresholds_of_record(record(), [wrong])


def test_thresholds_of_a_file_have_units(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("catchment,alert [m3/s],warning [mm/day]\n22,5,\n11,7,9\n")
    alert, warning = read_thresholds(file, record())
    assert (alert.name, alert.side) == ("alert", "above") and alert.flow.tolist() == [7.0, 0.5], "Q = q A / 86.4"
    assert warning.flow[0] == 9 and np.isnan(warning.flow[1])
    wrong = {
        "has no units of flow": "catchment,alert\n11,5\n",
        r"'alert \[m\]' has no units": "catchment,alert [m]\n11,5\n",
        "33 is not in the record": "catchment,alert [m3/s]\n33,5\n",
        "11 occurs twice": "catchment,alert [m3/s]\n11,5\n11,6\n",
        "not above zero": "catchment,alert [m3/s]\n11,-5\n",
        "no catchment column": "river,alert [m3/s]\n11,5\n",
        "has no thresholds": "catchment\n11\n",
        "high": "catchment,alert [m3/s]\n11,high\n",
    }
    for words, text in wrong.items():
        file.write_text(text)
        with pytest.raises(InputError, match=words):
            read_thresholds(file, record())


def test_the_table_has_the_chance_of_each_river_and_lead() -> None:
    levels = np.array([0.1, 0.5, 0.9])
    quantiles = np.stack([np.full((1, 2, 2), value) for value in (50.0, 100.0, 150.0)]) * np.array([1.0, 0.1])[:, None]
    forecast = xr.Dataset(
        {
            "riverflow": (("issue_time", "lead", "catchment"), quantiles[1]),
            "riverflow_quantile": (("quantile", "issue_time", "lead", "catchment"), quantiles),
        },
        {"quantile": levels, "issue_time": pd.DatetimeIndex(["2012-09-30"]), "lead": [1, 2], "catchment": [11, 22]},
    )
    valid = forecast["issue_time"] + forecast["lead"] * np.timedelta64(1, "D")
    forecast = forecast.assign_coords(valid_time=valid.transpose("issue_time", "lead"))
    table = warning_table(
        forecast, thresholds_of_record(record(), ["2-year", "q95"]), "m3 s-1", record()["catchment-area"]
    )
    assert table["catchment"].tolist() == [11] * 4, "the second river has no threshold"
    flood = table[table["threshold"] == "2-year"]
    assert flood["probability"].to_numpy() == pytest.approx([0.5, 0.0], abs=1e-6) and flood["warning"].tolist() == [
        True,
        False,
    ]
    assert flood["flow [m3 s-1]"].tolist() == [100.0, 100.0]
    assert flood["date"].astype(str).tolist() == ["2012-10-01", "2012-10-02"]
    low = table[table["threshold"] == "q95"]["probability"].to_numpy()
    assert low == pytest.approx([0.01, 0.1 + 0.0], abs=0.11) and low[0] < low[1], "the chance of less flow"
