"""What the explorer is told: through the one door, with nothing seen that was hidden, scored as the formula says."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from explored import small_country
from hydromae.errors import InputError
from hydromae.explore.maps import hidden_patches, map_response
from hydromae.explore.neighbours import neighbours
from hydromae.explore.requests import ForecastRequest, HideRequest, MapRequest, ViewRequest, parsed
from hydromae.explore.responses import forecast_response, hidden_response, view_response
from hydromae.explore.session import Session
from hydromae.grid import GridSpec
from hydromae.io.catchment_footprints import catchment_footprints
from hydromae.model.mae import HydroMAE
from synthetic import GRID, rivers

FIRST = date(2001, 1, 1)
WHOLE = {"river": "1001", "start": FIRST, "end": FIRST + timedelta(days=199)}
GAP = (FIRST + timedelta(days=100), FIRST + timedelta(days=119))
QUESTION = HideRequest(**WHOLE, hide=(GAP,))


def changed(name: str, days: slice, place: int = 0) -> Session:
    """The small country with other values of a variable on some days of a river."""
    record = rivers(6, 200, seed=5)
    values = record[name].values.copy()
    values[days, place] = 3 * values[days, place] + 1
    return small_country(record.assign({name: record[name].copy(data=values)}))


def test_a_view_shows_what_the_record_holds(small: Session) -> None:
    told = view_response(small, ViewRequest(river="1003", start=FIRST, end=FIRST + timedelta(days=9)))
    assert (told["start"], told["end"]) == ("2001-01-01", "2001-01-10")
    np.testing.assert_allclose(told["flow"], small.record["riverflow"].values[:10, 2], atol=5e-5)
    np.testing.assert_allclose(told["rain"], small.record["precipitation"].values[:10, 2], atol=5e-3)


def test_without_days_it_is_the_last_measured_year(small: Session) -> None:
    record = small.record.copy(deep=True)
    record["riverflow"][150:, 1] = np.nan
    told = view_response(small_country(record), ViewRequest(river="1002"))
    assert told["start"] == "2001-01-01" and told["end"] == "2001-05-31", "one day after the last measured one"


def test_an_answer_is_the_doors(small: Session) -> None:
    told = hidden_response(small, QUESTION)
    question = small.record.isel(catchment=small.nearest(0, 25)).copy(deep=True)
    question["riverflow"][100:120, 0] = np.nan
    assert told["inputs"] == {"rivers": 6, "days": 40}, "one window of the model: 13 days before, 7 after"
    part = question.isel(time=slice(87, 127))
    expected = small.model.predict(part)["riverflow"].values[13:33, 0]
    np.testing.assert_allclose(told["mean"][100:120], expected, atol=1e-4)
    assert all(value is None for value in told["mean"][:100] + told["mean"][120:])


def test_what_is_hidden_never_reaches_the_model(small: Session) -> None:
    one, two = hidden_response(small, QUESTION), hidden_response(changed("riverflow", slice(100, 120)), QUESTION)
    assert one["mean"] == two["mean"] and one["quantiles"] == two["quantiles"]
    assert one["flow"] != two["flow"] and one["score"]["nse"] != two["score"]["nse"]
    assert one["mean"] != hidden_response(changed("riverflow", slice(119, 121)), QUESTION)["mean"], (
        "the day after is seen"
    )


def test_the_score_is_the_formulas(small: Session) -> None:
    told = hidden_response(small, QUESTION)
    truth, mean = np.array(told["flow"][100:120]), np.array(told["mean"][100:120])
    nse = 1 - ((mean - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    low, high = (np.array(told["quantiles"][row][100:120]) for row in (0, 4))
    assert told["score"]["nse"] == pytest.approx(nse, abs=1e-3) and told["score"]["days"] == 20
    assert told["score"]["error"] == pytest.approx(np.abs(mean - truth).mean(), abs=1e-3)
    before, after = (float(np.log(told["flow"][day] + 0.01)) for day in (99, 120))
    line = np.exp(np.linspace(before, after, 22)[1:-1]) - 0.01
    interpolation, donors = told["baselines"]
    np.testing.assert_allclose(interpolation["flow"][100:120], line, atol=2e-3)
    assert interpolation["error"] == pytest.approx(np.abs(line - truth).mean(), abs=1e-3)
    assert interpolation["days"] == donors["days"] == 20 and set(donors["flow"][:100]) == {None}
    assert told["score"]["coverage90"] == pytest.approx(((truth >= low) & (truth <= high)).mean(), abs=0.051)
    assert (np.diff(np.array(told["quantiles"])[:, 100:120].astype(float), axis=0) >= 0).all()


def test_days_that_nobody_measured_are_answered_and_not_scored() -> None:
    record = rivers(6, 200, seed=5)
    record["riverflow"][110:115, 0] = np.nan
    told = hidden_response(small_country(record), QUESTION)
    assert told["score"]["days"] == 15 and told["flow"][112] is None and told["mean"][112] is not None
    told = hidden_response(small_country(record), HideRequest(**WHOLE))
    assert told["hidden"] == [] and told["score"]["days"] == 0 and told["score"]["nse"] is None
    assert [k for k, value in enumerate(told["mean"]) if value is not None] == list(range(110, 115))


def test_nothing_hidden_asks_nothing_of_the_model(small: Session) -> None:
    told = hidden_response(small, HideRequest(**WHOLE))
    assert told["inputs"] == {"rivers": 0, "days": 0} and set(told["mean"]) == {None}
    assert len(told["neighbours"]) == 3 and told["seen"] == ""


def test_hidden_days_are_said_joined_and_training_days_are_named(small: Session) -> None:
    two = (GAP, (GAP[1] + timedelta(days=1), GAP[1] + timedelta(days=3)))
    told = hidden_response(small, HideRequest(**WHOLE, hide=two))
    assert told["hidden"] == [["2001-04-11", "2001-05-03"]]
    assert told["seen"] == (
        "Training may have seen this flow, if it used rivers of these names: it held none out; its training period, "
        "2001-01-01 to 2001-10-27, has 23 of the 23 days."
    )
    held = small.model.config.having(data={"held_out": ("1001",)})
    assert not hidden_response(replace(small, model=replace(small.model, config=held)), QUESTION)["seen"]


def test_neighbours_are_the_nearest_with_their_measured_share_and_weight(small: Session) -> None:
    record = rivers(6, 200, seed=5)
    away = np.linalg.norm(small.positions - small.positions[0], axis=1)
    order = np.argsort(away)[1:4]
    record["riverflow"][100:110, order[0]] = np.nan
    record["riverflow"][:, order[1]] = np.nan
    asked = np.zeros(200, dtype=bool)
    asked[100:120] = True
    found = neighbours(small_country(record), 0, asked)
    assert [one["river"] for one in found] == [str(1001 + k) for k in order], (
        "the model looks at four, itself among them"
    )
    assert [one["observed"] for one in found] == [0.5, 0.0, 1.0]
    np.testing.assert_allclose([one["distance"] for one in found], away[order], atol=0.051)
    assert found[1]["weight"] == 0 and sum(one["weight"] for one in found) == pytest.approx(1, abs=1e-3)


def test_a_forecast_sees_nothing_after_its_issue_day_but_known_weather(small: Session) -> None:
    asked = ForecastRequest(river="1001", issue=FIRST + timedelta(days=150), days=5)
    one = forecast_response(small, asked)
    assert one["issue"] == "2001-05-31" and one["score"]["days"] == 5 and len(one["flow"]) == 66
    assert [k for k, value in enumerate(one["mean"]) if value is not None] == list(range(61, 66))
    assert one["seen"].endswith("its training period, 2001-01-01 to 2001-10-27, has 5 of the 5 days.")
    staying = np.abs(np.array(one["flow"][61:]) - one["flow"][60]).mean()
    assert [(row["name"], row["error"]) for row in one["baselines"]] == [
        ("persistence", pytest.approx(staying, abs=1e-3))
    ]
    assert forecast_response(changed("riverflow", slice(151, 200)), asked)["mean"] == one["mean"]
    assert forecast_response(changed("riverflow", slice(150, 151)), asked)["mean"] != one["mean"]
    wetter = changed("precipitation", slice(151, 200))
    assert forecast_response(wetter, asked)["mean"] != one["mean"], "weather after it is known"
    blind = asked.model_copy(update={"future_weather": "none"})
    assert forecast_response(wetter, blind)["mean"] == forecast_response(small, blind)["mean"]


def test_a_forecast_reaches_beyond_the_record(small: Session) -> None:
    told = forecast_response(small, ForecastRequest(river="1001", issue=FIRST + timedelta(days=199), days=4))
    assert told["end"] == "2001-07-23" and told["score"]["days"] == 0
    assert told["flow"][-4:] == [None] * 4 and all(value is not None for value in told["mean"][-4:])


def test_a_map_is_hidden_in_whole_patches_and_restored(mapped: Session) -> None:
    told = map_response(mapped, MapRequest(variable="temperature", day=date(2001, 1, 20), share=0.5, draw=3))
    gone = [value is not None for value in told["restored"]]
    assert len(told["truth"]) == 42 and (told["rows"], told["columns"], told["patch"]) == (7, 6, 2)
    inside = [
        any(r <= row < r + 2 and c <= column < c + 2 for r, c in told["hidden"])
        for row, column in zip(told["row"], told["column"], strict=True)
    ]
    assert gone == inside and 0 < sum(gone) < 42
    truth, restored = (np.array(told[name], dtype=float) for name in ("truth", "restored"))
    assert told["error"] == pytest.approx(np.abs(restored - truth)[gone].mean(), abs=1e-3)
    maps = mapped.maps
    assert maps is not None
    np.testing.assert_allclose(truth, maps["temperature"].values[19], atol=1e-3)


def test_restored_maps_do_not_depend_on_what_was_hidden(mapped: Session) -> None:
    asked = MapRequest(variable="precipitation", day=date(2001, 1, 20), draw=1)
    one = map_response(mapped, asked)
    assert mapped.maps is not None
    values = mapped.maps["precipitation"].values.copy()
    values[19, [value is not None for value in one["restored"]]] += 50.0
    other = mapped.maps.assign(precipitation=mapped.maps["precipitation"].copy(data=values))
    two = map_response(Session(mapped.record, other, mapped.model), asked)
    assert two["restored"] == one["restored"] and two["truth"] != one["truth"]


def test_a_model_of_maps_looks_at_all_rivers_and_has_no_weights(mapped: Session) -> None:
    gap = (date(2001, 1, 20), date(2001, 1, 22))
    told = hidden_response(
        mapped, HideRequest(river="1003", start=date(2001, 1, 10), end=date(2001, 1, 30), hide=(gap,))
    )
    assert told["inputs"] == {"rivers": 8, "days": 8} and told["score"]["days"] == 3
    assert len(told["neighbours"]) == 7 and {one["weight"] for one in told["neighbours"]} == {None}


def test_the_weight_of_a_donor_is_the_same_where_a_token_holds_several_catchments(mapped: Session) -> None:
    asked = np.arange(60) == 30
    found = []
    for size in (1, 3):
        config = mapped.model.config.having(data={"vector_patch_size": size}, model={"estimators": True})
        network = HydroMAE(config, pixels=GRID.patch**2)
        found.append(neighbours(replace(mapped, model=replace(mapped.model, config=config, network=network)), 2, asked))
    assert found[0] == found[1] and all(one["weight"] for one in found[0])


def test_a_river_of_a_record_with_maps_has_its_rain_and_the_maps_around_it(mapped: Session) -> None:
    rain = rivers(8, 60)["precipitation"]
    config = mapped.model.config.having(
        data={"catchments_per_window": 2, "patches_per_window": 3}, model={"neighbours": 2, "footprints": False}
    )
    session = replace(
        mapped,
        record=mapped.record.assign(precipitation_series=rain),
        model=replace(mapped.model, config=config),
    )
    told = view_response(session, ViewRequest(river="1003", start=FIRST, end=FIRST + timedelta(days=9)))
    np.testing.assert_allclose(told["rain"], rain.values[:10, 2], atol=5e-3)
    assert session.maps is not None and mapped.model.grid is not None
    few, all_cells = (session.select(2, slice(0, 5), count) for count in (2, None))
    assert all_cells.sizes["cell"] == session.maps.sizes["cell"] == 42 > few.sizes["cell"]
    grid, cell = mapped.model.grid, few["cell"].values
    patches, counts = np.unique(grid.patch_of(cell)[0], return_counts=True)
    assert 3 <= len(patches) < 12 and (counts >= 2).all(), "whole patches, those of the footprints among them"
    centres = np.stack(grid.patch_position(np.unique(grid.patch_of(session.maps["cell"].values)[0])), axis=-1) / 1000
    nearest = np.linalg.norm(centres - session.positions[2], axis=1).argmin()
    assert np.unique(grid.patch_of(session.maps["cell"].values)[0])[nearest] in patches
    footprints = catchment_footprints(few, session.maps["cell"].values, grid)
    assert set(session.maps["cell"].values[footprints.cell]) <= set(cell)
    np.testing.assert_array_equal(
        few["temperature"],
        session.maps["temperature"].sel(time=few["time"]).isel(cell=np.isin(session.maps["cell"], cell)),
    )


def test_a_draw_takes_a_share_of_the_land_patches() -> None:
    grid = GridSpec(rows=8, columns=8, patch=2, land_threshold=0.5)
    cells = np.arange(64)
    assert len(hidden_patches(grid, cells, 0.25, 0)) == 4 and len(hidden_patches(grid, cells, 0.001, 0)) == 1
    assert len(hidden_patches(grid, cells, 0.999, 0)) == 15, "one is left to see"
    assert not np.array_equal(hidden_patches(grid, cells, 0.25, 0), hidden_patches(grid, cells, 0.25, 1))


def test_a_record_without_flow_or_places_is_refused(small: Session) -> None:
    with pytest.raises(InputError, match="no riverflow"):
        small_country(small.record.drop_vars("riverflow"))
    with pytest.raises(InputError, match="have no position"):
        small_country(small.record.drop_vars(["latitude", "longitude"]))


def test_scores_stand_beside_the_rivers_they_belong_to(small: Session) -> None:
    nse = np.array([[[0.5, np.nan]], [[0.25, 0.75]]])
    scores = xr.Dataset(
        {"nse": (("question", "method", "catchment"), nse)},
        coords={"question": ["gap", "forecast-3"], "method": ["hydromae"], "catchment": [1003, 1001]},
    )
    found = small_country(scores=scores).overview()["scores"]
    assert found["method"] == "hydromae"
    assert [one["title"] for one in found["questions"]] == ["Filling gaps", "Forecast, 3 days ahead"]
    assert found["questions"][0]["nse"] == [None, None, 0.5, None, None, None]
    assert found["questions"][1]["nse"] == [0.75, None, 0.25, None, None, None]


MONTH = {"river": "1", "start": "2001-01-01", "end": "2001-02-01"}


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        (ViewRequest, {"river": "1", "start": "2001-01-01"}, "give start and end"),
        (ViewRequest, {"river": "1", "start": "2001-02-30", "end": "2001-03-01"}, "start"),
        (ViewRequest, {"river": "1", "start": "1900-01-01", "end": "2001-03-01"}, "more than 1100 days"),
        (
            HideRequest,
            {**MONTH, "hide": [["2001-03-01", "2001-03-02"]]},
            "not inside",
        ),
        (
            HideRequest,
            {**MONTH, "hide": [["2001-01-03", "2001-01-02"]]},
            "before it starts",
        ),
        (HideRequest, {**MONTH, "more": 1}, "more"),
        (ForecastRequest, {"river": "1", "issue": "2001-01-01", "days": 31}, "days"),
        (ForecastRequest, {"river": "1", "issue": "2001-01-01", "future_weather": "fine"}, "future_weather"),
        (MapRequest, {"variable": "rain", "day": "2001-01-01", "share": 1.0}, "share"),
    ],
)
def test_requests_are_bounded(kind: type, words: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        parsed(kind, words)


def test_days_are_counted_from_the_records_first(small: Session) -> None:
    assert small.day_range(FIRST, FIRST + timedelta(days=199)) == (0, 199)
    assert small.days[199] == pd.Timestamp("2001-07-19")
    with pytest.raises(InputError, match="2001-07-20 lies outside the record"):
        small.day_range(FIRST, FIRST + timedelta(days=200))
