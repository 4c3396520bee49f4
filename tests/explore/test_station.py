"""What the page shows of a station: attributes, thresholds with their source, the whole record, and the first view."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import xarray as xr

from explored import small_country
from hydromae.evaluate.return_levels import flow_thresholds
from hydromae.explore.opening import opening
from hydromae.explore.requests import HideRequest, StationRequest
from hydromae.explore.responses import hidden_response
from hydromae.explore.session import Session
from hydromae.explore.station import lowest_and_highest, station_response
from hydromae.explore.thresholds import chances
from synthetic import rivers

YEARS = 4750  # days: 2001-01-01 to 2014-01-02, with twelve complete water years


@pytest.fixture(scope="module")
def long() -> Session:
    """Three rivers over thirteen years."""
    return small_country(rivers(3, YEARS, seed=2))


def test_thresholds_are_of_the_training_days_if_those_are_enough(long: Session) -> None:
    told = station_response(long, StationRequest(river="1002"))["thresholds"]
    assert "12 complete water years" in told["fitted"] and "of the whole record" in told["fitted"]
    expected, _ = flow_thresholds(long.record[["riverflow"]].isel(catchment=[1]))
    assert [one["key"] for one in told["levels"]] == ["flood-2", "flood-10", "flood-100", "low-95"]
    assert told["levels"][1]["flow"] == pytest.approx(expected[1].flow, abs=1e-3)
    assert told["levels"][2]["flow"] is None and "12 of the 34 complete water years" in told["levels"][2]["refused"]
    period = {"training_period": ("2001-01-01", "2012-10-01"), "validation_period": ("2012-10-02", "2013-06-01")}
    trained = replace(long, model=replace(long.model, config=long.model.config.having(data=period)))
    told = station_response(trained, StationRequest(river="1002"))["thresholds"]
    assert "11 complete water years" in told["fitted"] and "training days of the model" in told["fitted"]
    expected, _ = flow_thresholds(
        long.record[["riverflow"]].isel(catchment=[1]).sel(time=slice(*period["training_period"]))
    )
    assert told["levels"][0]["flow"] == pytest.approx(expected[0].flow, abs=1e-3)


def test_a_short_record_has_no_thresholds(small: Session) -> None:
    told = station_response(small, StationRequest(river="1001"))["thresholds"]
    assert {one["flow"] for one in told["levels"]} == {None} and all(one["refused"] for one in told["levels"])


def test_chances_are_those_of_the_predicted_distribution() -> None:
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    quantiles = np.outer(levels, [4.0, 8.0, 4.0])  # uniform from 0 to 4, to 8, to 4 mm/day
    thresholds = {
        "levels": [
            {"key": "flood-2", "above": True, "flow": 2.0},
            {"key": "low-95", "above": False, "flow": 1.0},
            {"key": "flood-100", "above": True, "flow": None},
        ]
    }
    shown = np.array([True, True, False])
    flood, low = chances(thresholds, levels, quantiles, np.array([3.0, 0.5, 3.0]), shown)
    assert flood == {"key": "flood-2", "by_day": [0.5, 0.75, None], "expected": 1.25, "observed": 1}
    assert low == {"key": "low-95", "by_day": [0.25, 0.125, None], "expected": 0.38, "observed": 1}


def test_an_answer_has_chances_on_its_predicted_days(long: Session) -> None:
    request = {"river": "1001", "start": date(2012, 1, 1), "end": date(2012, 3, 1)}
    told = hidden_response(long, HideRequest(**request, hide=((date(2012, 1, 20), date(2012, 1, 29)),)))
    assert [one["key"] for one in told["chances"]] == ["flood-2", "flood-10", "low-95"]
    for one in told["chances"]:
        assert [k for k, value in enumerate(one["by_day"]) if value is not None] == list(range(19, 29))
        assert one["expected"] == pytest.approx(sum(filter(None, one["by_day"])), abs=0.02)


def test_lowest_and_highest_flow_lose_no_peak() -> None:
    flow = np.array([1.0, 9.0, 2.0, np.nan, np.nan, np.nan, 3.0])
    told = lowest_and_highest(flow, 3)
    assert told == {"step": 3, "low": [1.0, None, 3.0], "high": [9.0, None, 3.0]}
    flow = np.random.default_rng(0).gamma(1, 1, 16_071)
    told = lowest_and_highest(flow, 1200)
    assert told["step"] == 14 and len(told["high"]) == 1148
    assert max(told["high"]) == pytest.approx(flow.max(), abs=1e-3)


def test_attributes_and_duration(long: Session) -> None:
    told = station_response(long, StationRequest(river="1003"))
    values = {one["name"]: one["value"] for one in told["attributes"]}
    assert (
        values["catchment-area"] == pytest.approx(float(long.record["catchment-area"][2]), abs=1e-3)
        and len(values) == 11
    )
    flow = long.flow[:, 2]
    half = told["duration"]["flow"][told["duration"]["shares"].index(0.5)]
    assert half == pytest.approx(np.median(flow), abs=1e-3) and told["duration"]["days"] == YEARS
    assert told["duration"]["flow"] == sorted(told["duration"]["flow"], reverse=True)


@pytest.mark.parametrize(
    ("source", "river", "page"),
    [
        ("CAMELS-GB: Coxon et al. 2020", 39001, "https://nrfa.ceh.ac.uk/data/station/info/39001"),
        ("CAMELS-GB: Coxon et al. 2020", 7, ""),
        ("CAMELS-FR: Delaigue et al. 2024", 39001, ""),
    ],
)
def test_only_stations_of_the_archive_have_a_page_there(source: str, river: int, page: str) -> None:
    record = rivers(6, 60).assign_coords(catchment=[river, *range(1, 6)]).assign_attrs(source=source)
    assert station_response(small_country(record), StationRequest(river=str(river)))["nrfa"] == page


def test_the_first_view_hides_the_highest_flow_of_the_best_observed_river() -> None:
    record: xr.Dataset = rivers(6, 300, seed=5)
    record["riverflow"][:30, :5] = np.nan
    record["riverflow"][200, 5] = 500.0
    session = small_country(record)
    first = opening(session)
    assert first == {
        "river": "1006",
        "start": "2001-01-01",
        "end": "2001-10-27",
        "hide": [["2001-07-05", "2001-08-03"]],
    }
    record["riverflow"][:] = np.nan
    assert opening(small_country(record))["hide"] == []
