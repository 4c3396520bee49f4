"""The report: numbers worked out by hand, a self-contained page, and escaped data."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.evaluate.score import EVENTS
from hydromae.evaluate.summary import FEW_NOTE, scored_questions
from hydromae.report.chart import Scale, area_path, line_path
from hydromae.report.examples import example_groups
from hydromae.report.gb_map import coast_path, score_class
from hydromae.report.labels import question_label
from hydromae.report.loss_history import LossHistory
from hydromae.report.page import write_report
from hydromae.report.plots import Hydrograph, axis_top, central_interval, hydrograph_chart, shown_days, true_runs
from hydromae.report.sections import line_styles, river_labels, summarise_questions
from hydromae.report.text import format_number

CARD: dict[str, object] = {"name": "rivers", "weights": 341000}


class Structure(HTMLParser):
    """Checks that tags are nested, and collects them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def render(evaluation: Any, journal: Path | None, folder: Path, title: str = "Rivers", **card: object) -> str:
    out = write_report(evaluation, journal, folder / "new" / "report.html", title=title, model_card={**CARD, **card})
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]
    return out.read_text(encoding="utf-8")


def test_probes_are_a_section_with_bounds_and_the_share_of_rivers_inside(evaluation: Any, tmp_path: Path) -> None:
    assert "Physical probes" not in render(evaluation, None, tmp_path)
    rows = {"method": "a<b", "probe": "rain × 1.2", "quantity": ["elasticity"] * 4, "catchment": range(4)}
    probes = pd.DataFrame(rows | {"value": [0.5, 2.0, 2.0, 2.0]})
    page = render(replace(evaluation, probes=probes), None, tmp_path)
    Structure(page)
    assert "<b>75 %</b>" in page and "<td>1 to 3</td>" in page and "a&lt;b" in page
    inside = probes.assign(value=2.0)
    assert "<td>100 %</td>" in render(replace(evaluation, probes=inside), None, tmp_path)


def test_rows_of_a_question_and_their_order(evaluation: Any) -> None:
    orders = {
        model: [[row.method for row in question.rows] for question in summarise_questions(evaluation.scores, model)]
        for model in ("rivers", "donors")
    }
    assert orders == {
        "rivers": [["rivers", "donors"], ["rivers", "persistence"]],
        "donors": [["donors", "rivers"], ["rivers", "persistence"]],
    }
    assert [question.best for question in summarise_questions(evaluation.scores, "donors")] == [0.8, 0.4]
    assert scored_questions(evaluation.scores.where(evaluation.scores["question"] == "gap")) == ["gap"]


def test_numbers_and_titles_are_formatted() -> None:
    assert [format_number(value) for value in (-0.004, -0.5, np.nan, 0.125)] == ["0.00", "−0.50", "–", "0.12"]
    assert question_label("forecast-blind").title == "Blind forecast"
    assert question_label("forecast-1").title == "Forecast, 1 day ahead"
    assert question_label("forecast-blind-7").title == "Blind forecast, 7 days ahead"
    assert question_label("gap-10").title == "Gaps of 10 days"
    assert question_label("gap-summer").title == "Filling gaps, summer"
    assert question_label("fillet").title == "fillet"
    assert question_label("drought").title == "drought"


def test_positions_of_scales_lines_and_areas() -> None:
    scale = Scale(0.0, 4.0, down=True)
    assert scale(np.array([0.0, 1.0, 4.0])).tolist() == [1000.0, 750.0, 0.0]
    assert scale.ticks(4) == [0.0, 1.0, 2.0, 3.0, 4.0]
    at = np.array([0.0, 10.0, 20.0, 30.0])
    drawn = line_path(at, np.array([1.0, 2.0, np.nan, 4.0]), "truth")
    assert 'class="truth" d="M0.0 1.0L10.0 2.0"' in drawn and 'class="truth dot" d="M30.0 4.0h0"' in drawn
    assert line_path(at, np.full(4, np.nan), "truth") == ""
    upper, lower = np.array([1.0, 1.0, np.nan, 1.0]), np.array([5.0, 6.0, 5.0, 5.0])
    assert 'd="M0.0 1.0L10.0 1.0L10.0 6.0L0.0 5.0ZM26.5 1.0L33.5 1.0L33.5 5.0L26.5 5.0Z"' in area_path(
        at, upper, lower, "wide"
    )


def test_methods_of_one_chart_have_different_styles() -> None:
    """Of twelve methods, more than there are styles, six answer a question; the fifth and the twelfth share one."""
    names = ["model", *(f"m{k}" for k in range(1, 12))]
    asked = [["model", *names[1:6]], ["model", *names[6:11]], ["model", "m4", "m11"]]
    nse = np.full((3, 12, 400), np.nan)
    for place, members in enumerate(asked):
        for name in members:
            nse[place, names.index(name)] = 0.5
    days = np.where(np.isfinite(nse), 500.0, np.nan)
    scores = xr.Dataset(
        {name: (("question", "method", "catchment"), values) for name, values in (("nse", nse), ("target_days", days))},
        coords={"question": ["gap", "ungauged", "simulate"], "method": names, "catchment": np.arange(400)},
    )
    others = dict.fromkeys(("kge", "crps", "coverage50", "coverage90", *EVENTS), scores["nse"])
    scores = scores.assign(answered_days=scores["target_days"], **others)
    styles = line_styles(summarise_questions(scores, "model"), "model")
    assert set(styles) == set(names) and [name for name in names if styles[name] == "l0"] == ["model"]
    for members in asked:
        assert len({styles[name] for name in members}) == len(members)


def test_classes_of_nse_at_their_limits() -> None:
    assert score_class(np.array([np.nan, -3.0, 0.0, 0.3, 0.69, 0.7, 0.8, 0.9, 1.0])) == [0, 0, 1, 2, 3, 4, 5, 6, 6]


def test_the_coast_spans_great_britain() -> None:
    east, south = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", coast_path()), dtype=float).T
    assert 50 < east.min() < 75 and 640 < east.max() < 665  # Outer Hebrides and Lowestoft [km]
    assert -1225 < south.min() < -1205 and -20 < south.max() < 0  # Shetland and the Lizard or Scilly


def graph_with(levels: list[float], days: int = 10) -> Hydrograph:
    truth = np.linspace(1.0, 2.0, days)
    quantiles = np.array(levels)[:, None] * np.ones((1, days)) * 10
    hidden = np.arange(days) >= 7
    return Hydrograph(
        pd.date_range("2013-03-01", periods=days), truth, truth, hidden, np.array(levels), quantiles, np.full(days, 2.0)
    )


def test_intervals_are_interpolated_and_not_extrapolated() -> None:
    found = central_interval(graph_with([0.1, 0.5, 0.9]), 0.5)
    assert found is not None
    np.testing.assert_allclose([found[0][0], found[1][0]], [2.5, 7.5])
    assert central_interval(graph_with([0.1, 0.5, 0.9]), 0.9) is None
    assert central_interval(graph_with([]), 0.5) is None


def test_a_hydrograph_has_at_most_365_days_with_most_scores() -> None:
    scored = np.zeros(1000, bool)
    scored[400:500:5] = True
    assert shown_days(scored, np.ones(1000, bool)) == slice(131, 496)
    assert shown_days(scored, np.arange(1000) < 300) == slice(0, 300)
    assert shown_days(np.zeros(9, bool), np.zeros(9, bool)) == slice(0, 9)


def test_runs_of_hidden_days() -> None:
    assert true_runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert true_runs(np.zeros(3, bool)) == []


def test_hidden_days_are_shaded_and_only_they_have_predictions() -> None:
    drawn = hydrograph_chart(graph_with([0.05, 0.25, 0.75, 0.95]), "a river")
    assert '<rect class="hidden" x="700.0" width="300.0"' in drawn
    (mean,) = re.findall(r'class="mean" d="([^"]+)"', drawn)
    assert mean.startswith("M750.0") and mean.count("L") == 2
    (truth,) = re.findall(r'class="truth" d="([^"]+)"', drawn)
    assert truth.startswith("M50.0") and truth.count("L") == 9
    assert drawn.count("<title>") == 10 and drawn.count("predicted") == 3
    assert 'class="wide"' in drawn and 'class="narrow"' in drawn
    assert 'class="wide"' not in hydrograph_chart(graph_with([0.25, 0.75]), "a river")


@pytest.mark.parametrize(
    ("days", "labels"),
    [(12, ["1 Mar", "4 Mar"]), (40, ["1 Mar", "8 Mar"]), (200, ["Mar", "Apr"]), (1500, ["2014", "2015"])],
)
def test_time_axes_have_3_to_10_labels(days: int, labels: list[str]) -> None:
    found = re.findall(r'<span class="bottom[^>]*>([^<]+)</span>', hydrograph_chart(graph_with([], days), "a river"))
    assert set(labels) <= set(found) and 3 <= len(found) <= 10


def test_a_dry_river_without_rain_has_axes() -> None:
    still = replace(graph_with([]), truth=np.zeros(10), mean=np.full(10, np.nan), precipitation=np.full(10, np.nan))
    assert 'class="truth"' in hydrograph_chart(still, "a river") and "NaN" not in hydrograph_chart(still, "a river")
    assert axis_top(np.zeros(2)) == 1.0


def test_the_page_has_every_section_and_is_self_contained(evaluation: Any, journal: Path, tmp_path: Path) -> None:
    text = render(evaluation, journal, tmp_path)
    found = Structure(text)
    assert found.open == []
    headings = {attributes["id"] for tag, attributes in found.seen if tag == "h2"}
    assert headings == {"where", "rivers", "scores", "spread", "reliability", "training", "made"}
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in found.seen}
    asked = [value for _, attributes in found.seen for name, value in attributes.items() if name in {"href", "src"}]
    assert set(asked) == {"#land"} and "url(" not in text and "@import" not in text
    regions = [attributes for _, attributes in found.seen if attributes.get("role") == "region"]
    assert len(regions) == 3 and all(region["tabindex"] == "0" and region["aria-label"] for region in regions)
    assert len(text.encode()) < 300_000


def test_the_page_contains_the_numbers(evaluation: Any, journal: Path, tmp_path: Path) -> None:
    text = render(evaluation, journal, tmp_path)
    assert "<b>0.80</b><span>no baseline with enough catchments</span>" in text, (
        "two of the three have a score of donors"
    )
    assert "<b>0.40</b><span>best baseline 0.10, persistence</span>" in text
    cells = ("0.750", "0.720", "0.800", "0.500", "3", "0", "400", "100 %")
    assert '<td class="best">0.800</td>' + "".join(f"<td>{cell}</td>" for cell in cells) in text
    assert "<td>3</td><td>1</td><td>400</td><td>67 %</td>" in text  # donors answered 800 of 1,200 days
    assert "<td>0.500*</td>" in text and f"{FEW_NOTE}.</p>" in text, "two of the three have a score of donors"
    assert "<title>54001: NSE 0.80</title>" in text
    assert "<td>50 %</td><td>88 %</td>" in text
    tenths = text.split("Low and high flow")[1].split("</section>")[0]
    assert tenths.count('scope="row"') == 1, "the other question gives no distribution"
    assert "".join(f"<td>{share}</td>" for share in range(81, 100, 2)) in tenths
    assert "20 entries in the journal, 3 minutes. Not drawn: 1 without" in text
    assert "<title>step 4: 0.5</title>" in text
    assert "hydromae evaluate A</pre>" in text and "CAMELS-GB" not in text, "it is not known whose data these are"
    assert "All 30 days predicted by rivers, 1" in text  # the second river's unknown half is cut off


def test_gaps_by_length_have_a_section_of_their_own(evaluation: Any, tmp_path: Path) -> None:
    gap = evaluation.scores.sel(question="gap")
    rows = [
        (gap.assign(nse=gap["nse"] - 0.1 * n)).assign_coords(question=f"gap-{days}") for n, days in ((1, 30), (0, 3))
    ]
    scores = xr.concat([evaluation.scores, *rows], dim="question")
    examples = evaluation.examples.isel(example=[0, 1, 1])
    examples = examples.assign_coords(question=("example", ["forecast-3", "gap", "gap-30"]))
    text = render(replace(evaluation, scores=scores, examples=examples), None, tmp_path)
    section = text.split('<h2 id="lengths">')[1].split("</section>")[0]
    assert re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", section) == ["Method", "3 days", "30 days"]
    assert '<td class="best">0.800</td><td class="best">0.700</td>' in section, "the model is the first row"
    assert "<td>0.500*</td><td>0.400*</td>" in section and "<td>88 %</td><td>88 %</td>" in section
    assert "rivers: 3 days 0.80, 30 days 0.70" in section and "persistence" not in section
    tiles = text.split('<ul class="tiles"')[1].split("</ul>")[0]
    assert "Filling gaps" in tiles and "Gaps of" not in tiles and "Gaps of 30 days" in text.split('id="scores"')[1]
    for part in ("where", "rivers", "spread"):
        assert "Gaps of" not in text.split(f'<h2 id="{part}">')[1].split("</section>")[0], part
    chart = section.split("<table>")[0]
    assert ">0.75</span>" in chart or ">0.80</span>" in chart, "two digits: 0.75 is not 0.8"
    alone = replace(evaluation, scores=xr.concat(rows, dim="question"), examples=examples)
    assert "Gaps of 30 days" in render(alone, None, tmp_path).split('<ul class="tiles"')[1].split("</ul>")[0]


def test_a_median_of_two_rivers_is_in_the_table_and_not_on_a_card(evaluation: Any, tmp_path: Path) -> None:
    scores = evaluation.scores.isel(catchment=[0, 1])
    text = render(replace(evaluation, scores=scores), None, tmp_path)
    tiles = text.split('<ul class="tiles"')[1].split("</ul>")[0]
    assert tiles.count("<b>–</b><span>too few catchments for a median</span>") == 2 and "0.85" not in tiles
    assert "<br>2 catchments</figcaption>" in text, "nor under a map"
    assert ">0.850*</td>" in text.split('id="scores"')[1]


def test_rivers_have_the_names_of_the_record(evaluation: Any, tmp_path: Path) -> None:
    names = ["Cherwell at Banbury", "Severn at Bewdley", "", "27009"]
    scores = evaluation.scores.assign_coords(name=("catchment", names))
    assert list(river_labels(scores).values()) == [
        "Cherwell at Banbury (39001)",
        "Severn at Bewdley (54001)",
        "8006",
        "27009",
    ]
    text = render(replace(evaluation, scores=scores), None, tmp_path)
    assert "<title>Severn at Bewdley (54001): NSE 0.80</title>" in text and "<title>8006: NSE 0.70</title>" in text
    assert "<b>Severn at Bewdley (54001)</b>, NSE" in text and "Hydrograph of Severn at Bewdley (54001)." in text


def fan_examples(evaluation: Any) -> xr.Dataset:
    """Forecasts of leads 1, 3 and 7 of two rivers, issued on days 0, 10, 20, …; the mean is the lead."""
    part = evaluation.examples.isel(example=[0] * 6)
    day, leads, number = np.arange(60), np.array([1, 3, 7] * 2), np.array([39001] * 3 + [54001] * 3)
    asked = (day - leads[:, None]) % 10 == 0
    truth = np.broadcast_to(1.0 + day / 60, asked.shape)
    mean = np.where(asked & (day >= leads[:, None]), leads[:, None], np.nan)
    quantiles = mean * np.array([0.5, 0.8, 1.0, 1.2, 2.0])[:, None, None]
    part = part.assign(truth=(("example", "time"), truth), mean=(("example", "time"), mean))
    part = part.assign(quantile_value=(("quantile", "example", "time"), quantiles))
    names = [f"forecast-{lead}" for lead in leads]
    nse = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    return part.assign_coords(question=("example", names), catchment=("example", number), nse=("example", nse))


def test_a_forecast_is_a_fan_of_its_leads_from_the_flow_of_the_issue_day(evaluation: Any) -> None:
    groups = example_groups(
        fan_examples(evaluation), ["forecast-1", "forecast-3", "forecast-7"], {"54001": "Severn (54001)"}
    )
    (group,) = groups
    assert group["title"] == "Forecast" and len(group["others"]) == 1
    figure = group["middle"]
    assert figure["river"] == "Severn (54001)" and figure["score"].startswith(
        "NSE 0.60, 0.50, 0.40 for 1, 3, 7 days ahead"
    )
    chart = str(figure["chart"])
    assert chart.count('class="mean"') == 6 and chart.count('class="mean dot"') == 18, "six issue days of three leads"
    assert chart.count('class="wide"') == 6 == chart.count('class="narrow"')
    first = re.search(r'class="mean" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L', chart)
    assert first is not None
    x0, y0, x1, _ = map(float, first.groups())
    assert x0 == pytest.approx(1000 * 0.5 / 60, abs=0.1) and x1 == pytest.approx(1000 * 1.5 / 60, abs=0.1)
    truth = re.search(r'class="truth" d="M[\d.]+ ([\d.]+)L', chart)
    assert truth is not None and float(truth.group(1)) == y0, "it starts at the observed flow"
    assert "3 days ahead 3.00 (1.50 to 6.00)" in chart and "1 day ahead 1.00" in chart


def test_a_fan_without_its_issue_day_or_without_quantiles_has_its_leads(evaluation: Any) -> None:
    examples = fan_examples(evaluation)
    truth = examples["truth"].where(np.arange(60) % 10 != 0)
    bare = examples.assign(truth=truth).drop_vars("quantile_value").isel(example=[1, 2])
    (group,) = example_groups(bare, ["forecast-3", "forecast-7"], {})
    chart = str(group["middle"]["chart"])
    assert chart.count('class="mean"') == 6 and chart.count("wide") == 0 and group["others"] == []
    assert group["middle"]["river"] == "39001"


def test_sections_without_data_are_left_out(evaluation: Any, tmp_path: Path) -> None:
    scores = evaluation.scores.assign(
        {name: evaluation.scores[name] * np.nan for name in ("crps", "coverage50", "coverage90", "decile_coverage90")}
    )
    bare = replace(evaluation, scores=scores, examples=evaluation.examples.isel(example=slice(0)), settings={})
    said = replace(evaluation, settings={"data": "Mine, CC-BY 4.0"})
    assert "<dt>data</dt><dd>Mine, CC-BY 4.0</dd>" in render(said, None, tmp_path)
    text = render(bare, None, tmp_path, data_licence="Invented data, CC0")
    headings = {attributes["id"] for tag, attributes in Structure(text).seen if tag == "h2"}
    assert headings == {"where", "scores", "spread", "made"}
    old = replace(evaluation, scores=evaluation.scores.drop_vars("decile_coverage90"))
    assert "Low and high flow" not in render(old, None, tmp_path) and "reliability" in render(old, None, tmp_path)
    assert "Invented data, CC0" in text and "CAMELS-GB" not in text


def test_markup_in_data_is_escaped(evaluation: Any, journal: Path, tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>'
    scores = evaluation.scores.assign_coords(
        question=["gap", evil], method=["rivers", evil, "persistence"], catchment=[evil, "b", "c", "d"]
    )
    examples = evaluation.examples.assign_coords(
        catchment=("example", [evil, "b"]), question=("example", [evil, "gap"]), method=("example", [evil, "rivers"])
    )
    settings: dict[str, object] = {"period": [evil, "2014"], evil: evil, "command": evil}
    text = render(
        replace(evaluation, scores=scores, examples=examples, settings=settings),
        journal,
        tmp_path,
        title=evil,
        **{evil: {evil: evil}},
        data_licence=evil,
    )
    found = Structure(text)
    assert found.open == []
    assert "script" not in {tag for tag, _ in found.seen}
    assert not any(name.startswith("on") for _, attributes in found.seen for name in attributes)


def test_an_incomplete_last_line_of_the_journal_is_ignored(journal: Path) -> None:
    losses = LossHistory.read(journal)
    assert losses.step.tolist() == list(range(1, 21))
    assert losses.loss[1] == 1.0 and losses.seconds[-1] == 180.0
    assert losses.validation_loss[3] == 0.5 and np.isnan(losses.validation_loss[0])
    assert losses.is_drawable.sum() == 19


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no step in the journal"),
        (
            '{"step": 1, "loss": 2}\n[]\n{"step": 2, "loss": 1}\n',
            "journal.jsonl: a line is not the record of a step; restore",
        ),
        ('{"step": 1, "loss": 2}\n{"loss": 1}\n', "journal.jsonl: a line is not the record of a step; restore"),
        ('{"step": 1, "loss": "low"}\n', "cannot be read"),
        ('{"step": 1, "loss": {}}\n', "cannot be read"),
    ],
)
def test_an_invalid_journal_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        LossHistory.read(file)


def test_a_journal_without_a_finite_loss_is_reported(evaluation: Any, tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_text('{"step": 1, "loss": null}\n{"step": 2, "loss": 0.0}\n')
    assert "Not drawn: 2 without a positive finite loss" in render(evaluation, file, tmp_path)


def test_mistakes_of_a_user_are_refused_in_one_line(evaluation: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no step in the journal"):
        render(evaluation, tmp_path / "absent.jsonl", tmp_path)
    empty = evaluation.scores.assign(nse=evaluation.scores["nse"] * np.nan)
    with pytest.raises(InputError, match="no score"):
        render(replace(evaluation, scores=empty), None, tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(evaluation, None, tmp_path / "file" / "report.html", title="Rivers", model_card=CARD)
