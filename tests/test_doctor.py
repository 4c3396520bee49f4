"""What the doctor finds, and what it advises."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

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


def test_it_says_what_is_needed_where_that_is_absent(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def installed(name: str) -> str:
        if name in ("zarr", "starlette", "uvicorn"):
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", installed)
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answer_s"] is None and found["speed"] == {}
    assert found["advice"][:2] == [
        "zarr is absent, and needed: pip install zarr",
        "starlette and uvicorn are absent, for hydromae explore: pip install 'hydromae[explore]'",
    ]
    assert main(["doctor"]) == 0
    assert "zarr is absent" in capsys.readouterr().out


def test_its_packages_and_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {extra: {one.split(">=")[0] for one in held} for extra, held in project["optional-dependencies"].items()}
    assert {one.split(">=")[0] for one in project["dependencies"]} == set(doctor.NEEDED)
    assert {extra: set(packages) for extra, (packages, _) in doctor.EXTRAS.items()} == {
        extra: packages for extra, packages in named.items() if extra not in ("dev", "docs")
    }
