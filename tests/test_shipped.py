"""The model that comes with the package: small, loads by its name, and answers rivers that it never saw."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hydromae
from hydromae import metrics
from hydromae.evaluate import pretrained_lstm
from hydromae.inference import scenarios
from hydromae.inference.predictor import SHIPPED, shipped
from hydromae.virtual import virtual_catchments


@pytest.mark.parametrize("name", ["gb-rivers", "gb-national"])
def test_shipped_model_is_small_and_says_what_it_is(name: str) -> None:
    folder = SHIPPED / name
    assert name in shipped()
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    for word in ("trained on", "licence", "NSE", "limits"):
        assert word in card.lower() or word in card, word


def test_shipped_model_answers_gaps_of_an_invented_country(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was trained on real rivers; rivers of Virtual GB are new to it, and obey the same water balance."""
    monkeypatch.chdir(tmp_path)
    truth = virtual_catchments(500, 5, "2001-01-01", 40, missing=False)
    hidden = scenarios.gap_pattern(truth["time"], truth["catchment"], 10, 40, np.arange(40))
    answer = hydromae.load("gb-rivers").predict(scenarios.fill_gaps(truth, hidden))
    assert float(metrics.nse(answer["riverflow"], truth["riverflow"].where(hidden)).median()) > 0.5


def test_the_model_with_maps_is_the_model_of_rivers_where_there_are_none() -> None:
    record = virtual_catchments(60, 5, "2001-01-01", 4, missing=False).load()
    record["riverflow"][20:30, 1] = np.nan
    answers = [hydromae.load(name, "cpu", "fp32").predict(record) for name in ("gb-rivers", "gb-national")]
    for name in ("riverflow", "riverflow_quantile"):
        np.testing.assert_array_equal(answers[0][name], answers[1][name])


def test_networks_that_come_with_the_package_answer_each_its_own_question() -> None:
    """The LSTM baselines of the protocol: small, of rivers that the model did not learn from either, and they simulate."""
    there = [
        name for name in pretrained_lstm.LSTM_CONFIGS if pretrained_lstm.has_network(pretrained_lstm.NETWORKS, name)
    ]
    assert there and sum(file.stat().st_size for file in pretrained_lstm.NETWORKS.rglob("*") if file.is_file()) < 6e6
    assert {folder.name for folder in pretrained_lstm.NETWORKS.iterdir() if folder.is_dir()} == set(there)
    truth = virtual_catchments(700, 5, "2001-01-01", 20, missing=False)
    (simulator, *_) = pretrained_lstm.load_methods(truth, pretrained_lstm.NETWORKS)["simulate"]
    answer = simulator.predict(scenarios.simulate(truth)).isel(time=slice(365, None))
    assert float(metrics.nse(answer["riverflow"], truth["riverflow"].isel(time=slice(365, None))).median()) > 0.3


def test_an_answer_does_not_wait_for_a_compiler(tmp_path: Path) -> None:
    """`hydromae predict` on a small file imports neither torch's compiler nor sympy, which take longer than the answer."""
    virtual_catchments(30, 5, "2001-01-01", 3).to_netcdf(tmp_path / "question.nc", engine="h5netcdf")
    words = ["predict", str(tmp_path / "question.nc"), "--model", "gb-rivers", "--out", str(tmp_path / "answer.nc")]
    code = (
        "import sys, hydromae.cli as cli\n"
        f"assert cli.main({words!r}) == 0\n"
        "heavy = {'torch._dynamo', 'torch._inductor', 'sympy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "answer.nc").is_file()
