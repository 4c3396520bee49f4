"""Five starting points: the commands of docs/data.md, typed on files as they are downloaded, give the right answer."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import starting_points
from hydromae.cli import main
from hydromae.virtual import virtual_catchments

ROOT = Path(__file__).parents[1]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Commands run in this process, which has started already; a short training of the seed's files."""

    def typed(command: str, folder: Path) -> None:
        monkeypatch.chdir(folder)
        if not command.startswith("hydromae "):
            exec(compile(command, "docs/data.md", "exec"), {})
            return
        short = shlex.split("--train.epochs 0.15 --train.warmup-epochs 0.03") if " pretrain " in command else []
        assert main([*shlex.split(command)[1:], *short]) == 0, command

    monkeypatch.setattr(starting_points, "typed", typed)
    monkeypatch.setattr(starting_points, "SEED_START", "2010-01-01")
    monkeypatch.setattr(starting_points, "SEED_DAYS", 548)
    monkeypatch.setattr(starting_points, "SEED_RIVERS", 12)
    return tmp_path


@pytest.mark.parametrize("name", ["nrfa", "camels-gb", "caravan", "dataframe"])
def test_the_shipped_model_answers_what_was_downloaded(name: str, in_process: Path) -> None:
    record = virtual_catchments(300, 5, "2011-01-01", 10)
    found = starting_points.of_catchments(name, record, "invented", in_process)
    assert found.faults == () and found.hidden > 300
    assert len(found.commands) == (1 if name == "dataframe" else 2)


def test_the_seeds_files_are_prepared_trained_on_and_answered(in_process: Path) -> None:
    found = starting_points.of_seed(in_process)
    assert found.faults == () and found.hidden > 500


def test_a_command_is_typed_in_its_folder_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    starting_points.typed("from pathlib import Path; Path('here').touch()", tmp_path)
    assert (tmp_path / "here").is_file()
    with pytest.raises(RuntimeError, match=r"exit code 2: hydromae: absent: no such file"):
        starting_points.typed("hydromae prepare absent rivers.zarr", tmp_path)


def test_a_wrong_answer_is_found() -> None:
    dims = ("time", "catchment")
    told = xr.DataArray([[1.0], [np.nan], [3.0]], dims=dims)
    hidden = told.isnull()
    answer = xr.Dataset({"riverflow": told.fillna(2.0), "riverflow_origin": hidden.astype(np.int8)})
    assert starting_points.faults_of(answer, told, hidden) == []
    moved = answer.assign(riverflow=answer["riverflow"] * np.float32(1 + 1e-6))
    assert starting_points.faults_of(moved, told, hidden) == ["an observed value is not what the file says"]
    marked = answer.assign(riverflow_origin=1 - answer["riverflow_origin"])
    assert len(starting_points.faults_of(marked, told, hidden)) == 2
    assert starting_points.faults_of(answer.assign(riverflow=told), told, hidden) == ["a day is not answered"]


def test_the_documentation_shows_these_commands() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for name, commands in starting_points.COMMANDS.items():
        for command in commands:
            assert command.strip() in text, f"{name}: {command}"
