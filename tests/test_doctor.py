"""What the doctor finds, and what it advises."""

from __future__ import annotations

import json

import pytest

from hydromae.cli import doctor, main


def test_it_measures_and_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["torch"].startswith("2.") and "cpu" in found["machine"]["devices"]
    assert found["speed"]["fp32 [GFLOP/s]"] > 0.1 and 0 < found["answer_s"] < 120
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "a small question, answered" in said and "bf16 [GFLOP/s]" in said


def test_advice_names_what_is_missing_and_what_helps() -> None:
    machine = {"memory [GB]": 2.0, "disk free here [GB]": 1.0, "devices": "cpu"}
    found = {
        "versions": {"torch": "2.13", "zarr": "absent", "optuna": "absent"},
        "machine": machine,
        "speed": {"fp32 [GFLOP/s]": 100.0, "bf16 [GFLOP/s]": 50.0},
    }
    lines = doctor._advice(found)
    for words in ("pip install zarr", "hydromae[optuna]", "memory is short", "nearly full", "precision fp32", "no GPU"):
        assert any(words in line for line in lines), words
    rich = {"memory [GB]": 64.0, "disk free here [GB]": 100.0, "devices": "cpu, cuda (H100)"}
    fine = {"versions": {"zarr": "3"}, "machine": rich, "speed": {"fp32 [GFLOP/s]": 1.0, "bf16 [GFLOP/s]": 2.0}}
    assert doctor._advice(fine) == []
