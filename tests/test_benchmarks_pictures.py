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
    assert sorted(first) == ["performance.svg", "results.svg"]
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
