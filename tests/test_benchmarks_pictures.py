"""The pictures that are drawn from the tables of the documentation."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import table_pictures
from pages import DOCS


def test_the_pictures_of_the_pages_are_drawn_from_their_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(DOCS / "tables", tmp_path / "tables")
    monkeypatch.setattr("sys.argv", ["table_pictures.py", "--docs", str(tmp_path)])
    table_pictures.main()
    first = {file.name: file.read_bytes() for file in tmp_path.glob("*.svg")}
    assert sorted(first) == ["few_gauges.svg", "performance.svg", "results.svg"]
    table_pictures.main()
    assert first == {file.name: file.read_bytes() for file in tmp_path.glob("*.svg")}
    assert "performance.svg" in capsys.readouterr().out


def test_bars_are_the_shares_with_a_least_value() -> None:
    columns = {"measure": ["a: share of the GEMM rate", "b", "c"], "unit": ["%", "%", "s"]}
    columns |= {"bound": ["at least", "at most", "at least"], "target": [75.0, 33.0, 5.0]}
    figure = table_pictures.performance(
        pd.DataFrame(columns | {name: [40.0, 30.0, 2.0] for name in ("zen5", "intel", "zen4")})
    )
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a"]
    assert [bar.get_width() for bar in axes.patches] == [40.0] * 3
    plt.close(figure)


def test_dots_are_medians() -> None:
    columns = {"task": ["fill"], "nse_median": [0.9], "nse_p10": [0.7]}
    columns |= {"baseline_nse_median": [0.8], "baseline_nse_p10": [0.6]}
    figure = table_pictures.results(pd.DataFrame(columns))
    dots = [float(np.asarray(line.get_xdata())[0]) for line in figure.axes[0].lines]
    assert dots == [0.9, 0.8]
    plt.close(figure)


def test_a_panel_of_few_gauges_has_the_years_of_its_question_and_number_of_gauges() -> None:
    rows = [
        {"question": question, "method": method, "gauges": gauges, "years": years, "nse_median": years / 100 + gauges}
        for question in table_pictures.QUESTIONS
        for method in table_pictures.WAYS
        for gauges in (5, 20)
        for years in (20, 1, 5)
    ]
    figure = table_pictures.few_gauges(pd.DataFrame(rows))
    assert len(figure.axes) == 6
    for axes, gauges in zip(figure.axes, (5, 20) * 3, strict=True):
        assert len(axes.lines) == len(table_pictures.WAYS)
        for line in axes.lines:
            assert np.asarray(line.get_xdata()).tolist() == [1, 5, 20]
            assert np.asarray(line.get_ydata()).tolist() == pytest.approx([gauges + 0.01, gauges + 0.05, gauges + 0.2])
    plt.close(figure)
