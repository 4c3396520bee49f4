"""What the doctor finds, and what it advises."""

from __future__ import annotations

import json
import os
import re
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from hydromae import runtime
from hydromae.cli import doctor, main
from hydromae.cli.doctor import Doctor
from hydromae.model import kernels


def test_it_measures_and_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["torch"].startswith("2.") and "cpu" in found["machine"]["devices"]
    assert found["speed"]["fp32 [GFLOP/s]"] > 0.1 and 0 < found["answer_s"] < 120
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "a small prediction" in said and "bf16 [GFLOP/s]" in said and "precision on cpu" in said
    assert found["failed"] == {}


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


def test_a_check_that_fails_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("could not create a primitive\nmore words")

    monkeypatch.setattr(doctor, "_speed", fails)
    monkeypatch.setattr(doctor, "_devices", fails)
    monkeypatch.setattr(doctor, "_answer", lambda: 1.5)
    assert main(["doctor", "--json"]) == 0, "a check that fails is advice"
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == dict.fromkeys(("devices", "speed"), "could not create a primitive")
    assert found["answer_s"] == 1.5 and found["machine"]["cores"] >= 1 and found["precision"]["precision on cpu"]
    assert sum("failed (could not create a primitive)" in line for line in found["advice"]) == 2
    monkeypatch.setattr(doctor, "_answer", fails)
    assert main(["doctor"]) == 2, "the shipped model cannot answer"
    said = capsys.readouterr().out
    assert (
        "a small prediction failed (could not create a primitive)" in " ".join(said.split())
        and "precision on cpu" in said
    )


def test_it_says_which_precision_is_used_and_what_has_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "emulation_reason", lambda kind, dtype: None)
    monkeypatch.setattr(runtime, "unsupported_operations", lambda dtype, device: {"LSTM": "no primitive"})
    monkeypatch.setitem(kernels.PRIVATE, "gelu_backward", None)
    rows = doctor._precision()
    assert rows["precision on cpu"] == "fp32; bf16 is not native to this device (no kernel for LSTM: no primitive)"
    assert rows["operators that this torch lacks"] == "gelu_backward; public ones are used"


def test_a_lock_that_a_killed_build_left_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert doctor._build_locks() == {}
    left = [tmp_path / "deepspeed_shm_comm" / "lock", tmp_path / "py311_cpu" / "other" / "lock"]
    for file in left:
        file.parent.mkdir(parents=True)
        file.touch()
    os.utime(left[0], (0, 0))
    monkeypatch.setattr(doctor, "_answer", lambda: 1.0)
    monkeypatch.setattr(doctor, "_speed", lambda: {"fp32 [GFLOP/s]": 1.0, "bf16 [GFLOP/s]": 2.0})
    marks = list(Doctor().run(lambda shown: None)["advice"])[-2:]
    assert [line.split(":")[0] for line in marks] == [str(file) for file in left]
    assert re.search(r"\d{5,}\.\d h old", marks[0]) and re.search(r"\d+ s old", marks[1])
    assert all("remove this file" in line for line in marks) and all(file.exists() for file in left)


def test_it_says_what_is_needed_where_that_is_absent(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def installed(name: str) -> str:
        if name in ("zarr", "starlette", "uvicorn"):
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("importlib.metadata.version", installed)
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answer_s"] is None and found["speed"] == {}
    assert found["advice"][:2] == [
        "zarr is missing: pip install zarr",
        "starlette and uvicorn are missing, for hydromae explore: pip install 'hydromae[explore]'",
    ]
    assert main(["doctor"]) == 0
    assert "zarr is missing" in capsys.readouterr().out


def test_its_packages_and_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {extra: {one.split(">=")[0] for one in held} for extra, held in project["optional-dependencies"].items()}
    assert {one.split(">=")[0] for one in project["dependencies"]} == set(doctor.NEEDED)
    assert {extra: set(packages) for extra, (packages, _) in doctor.EXTRAS.items()} == {
        extra: packages for extra, packages in named.items() if extra not in ("dev", "docs")
    }
