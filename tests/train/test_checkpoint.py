"""Checkpoints: plain formats, whole at every moment, and one line of text where a file is not what it should be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hydromae.train.checkpoint as module
from hydromae.config import Config
from hydromae.distributed import ProcessGroup
from hydromae.errors import InputError
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import checkpoints, latest_checkpoint, load_model
from hydromae.store.scaling import Scaling
from hydromae.train.checkpoint import load_checkpoint, prune_checkpoints, save_checkpoint, save_model
from hydromae.train.engine import TorchEngine
from synthetic import GRID, SMALL, SMALL_MAPS, country, rivers, scaling_of

SCALING = scaling_of(rivers(), SMALL)


def weights(value: float) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(held, value) for name, held in HydroMAE(SMALL).state_dict().items()}


ALONE = ProcessGroup(0, 1, torch.device("cpu"))
STATE = {
    "step": 4,
    "windows": 2,
    "parts": 1,
    "skipped": 0,
    "loss_scale": None,
    "updates": 3,
    "seconds": 1.5,
    "best": None,
}


def engine_of(config: Config = SMALL) -> TorchEngine:
    return TorchEngine(HydroMAE(config), config, ALONE, 1)


def checkpoint(folder: Path, engine: TorchEngine, average: dict[str, torch.Tensor] | None = None) -> Path:
    save_checkpoint(folder, engine, average or {}, dict(STATE), SMALL, SCALING, GRID, ALONE)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "best", weights(0.25), SMALL, SCALING, None)
    return tmp_path / "best"


def value_of(folder: Path) -> float:
    return float(next(iter(load_model(folder)[0].state_dict().values())).flatten()[0])


def message(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_comes_back_whole_and_in_evaluation_mode(folder):
    model, config, scaling, grid = load_model(folder)
    assert (config, scaling, grid, model.training) == (SMALL, SCALING, None, False)
    assert all(torch.equal(held, torch.full_like(held, 0.25)) for held in model.state_dict().values())


def test_a_model_of_maps_carries_its_grid(tmp_path):
    scaling = scaling_of(country(), SMALL_MAPS)
    save_model(tmp_path / "m", HydroMAE(SMALL_MAPS, GRID.patch**2).state_dict(), SMALL_MAPS, scaling, GRID)
    assert load_model(tmp_path / "m")[3] == GRID


def test_only_safetensors_and_json(tmp_path):
    checkpoint(tmp_path / "c", engine_of())
    names = {file.name for file in (tmp_path / "c").iterdir()}
    assert names == {
        "model.safetensors",
        "average.safetensors",
        "optimizer-0.safetensors",
        "state.json",
        "config.json",
        "scaling.json",
        "grid.json",
        "checksums.json",
    }
    for file in (tmp_path / "c").iterdir():
        if file.suffix == ".json":
            json.loads(file.read_text())
        else:
            load_file(file)


def test_a_failure_in_the_middle_of_writing_leaves_the_old_one_whole(folder, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Scaling, "to_json", full)
    with pytest.raises(InputError, match=r"best: cannot be written \(no space left on device\); make room there"):
        save_model(folder, weights(0.5), SMALL, SCALING, None)
    assert [entry.name for entry in folder.parent.iterdir()] == ["best"]
    monkeypatch.undo()
    assert value_of(folder) == 0.25
    save_model(folder, weights(0.5), SMALL, SCALING, None)
    assert value_of(folder) == 0.5
    assert [entry.name for entry in folder.parent.iterdir()] == ["best"]


def test_a_crash_between_the_renames_loses_nothing(folder):
    folder.rename(folder.with_name("best.old"))
    assert value_of(folder) == 0.25
    save_model(folder, weights(0.5), SMALL, SCALING, None)
    assert value_of(folder) == 0.5
    assert not folder.with_name("best.old").exists()


def test_a_leftover_beside_a_whole_folder_is_no_obstacle(folder):
    shutil.copytree(folder, folder.with_name("best.old"))
    save_model(folder, weights(0.5), SMALL, SCALING, None)
    assert value_of(folder) == 0.5
    assert not folder.with_name("best.old").exists()


def test_the_last_n_checkpoints_stay_and_one_under_its_old_name_is_put_back(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for step in (1, 2, 3, 10):
        (tmp_path / "checkpoints" / f"step-{step:07d}").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-0000011.partial").mkdir()
    prune_checkpoints(tmp_path, 2)
    assert [found.name for found in checkpoints(tmp_path)] == ["step-0000003", "step-0000010"]
    latest_checkpoint(tmp_path).rename(tmp_path / "checkpoints" / "step-0000010.old")
    assert latest_checkpoint(tmp_path).name == "step-0000010"
    prune_checkpoints(tmp_path, 5)
    assert len(checkpoints(tmp_path)) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "scaling.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert str(folder / name) in message(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "scaling.json", "grid.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\x80\x02}q\x00.", b"not what it says"])
def test_a_foreign_or_cut_file_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    assert str(folder / name) in message(folder)


def test_weights_cut_short_are_named(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert str(file) in message(folder)


def test_weights_of_another_model_are_refused_by_name(folder):
    held = load_file(folder / "model.safetensors")
    name = sorted(held)[3]
    save_file(held | {name: torch.zeros(7, 7, 7)}, folder / "model.safetensors")
    assert f"weight '{name}' does not fit" in message(folder)
    del held[name]
    save_file(held, folder / "model.safetensors")
    assert f"weight '{name}' does not fit" in message(folder)


def test_an_unknown_field_of_the_configuration_is_named(folder):
    text = json.loads(SMALL.to_json())
    text["train"]["learning_rat"] = 3
    (folder / "config.json").write_text(json.dumps(text))
    assert "config.json: field 'train.learning_rat'" in message(folder)
    with pytest.raises(InputError, match=r"here: field 'data\.stride'"):
        Config.from_json(SMALL.to_json().replace('"stride": 20', '"stride": "often"'), "here")


def test_a_grid_of_another_program_is_named(folder):
    (folder / "grid.json").write_text('{"rows": 3, "height": 4}')
    assert "grid.json: is not a grid" in message(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("optimizer-0.safetensors", b"\x80\x02}q\x00."),
        ("average.safetensors", b""),
        ("state.json", b"{"),
        ("state.json", b"3"),
        ("state.json", b'{"step": 1}'),
    ],
)
def test_a_checkpoint_of_another_program_is_refused(tmp_path, name, content):
    engine = engine_of()
    (checkpoint(tmp_path / "c", engine) / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        load_checkpoint(tmp_path / "c", engine, SCALING)


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    engine = engine_of()
    checkpoint(tmp_path / "c", engine)
    other = Scaling({**SCALING.variables, "riverflow": replace(SCALING["riverflow"], mean=0.25)})
    with pytest.raises(InputError, match=r"scaling\.json: differs from that of the store"):
        load_checkpoint(tmp_path / "c", engine, other)


def test_optimizer_and_average_come_back(tmp_path):
    torch.manual_seed(3)
    engine = engine_of()
    for parameter in engine.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    engine.update(0.1)
    average = {name: torch.randn_like(held) for name, held in engine.model.state_dict().items()}
    checkpoint(tmp_path / "c", engine, average)
    torch.manual_seed(99)
    fresh = engine_of()
    found, state = load_checkpoint(tmp_path / "c", fresh, SCALING)
    assert state == STATE
    assert all(torch.equal(found[name], average[name]) for name in average)
    for one, two in zip(engine.model.parameters(), fresh.model.parameters(), strict=True):
        assert torch.equal(one, two)
        for key in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(engine.optimizer.state[one][key], fresh.optimizer.state[two][key])


def test_nothing_in_the_room_reads_pickles():
    source = Path(module.__file__).read_text()
    assert "torch.load" not in source and "pickle" not in source


def test_what_training_did_not_write_stays(tmp_path):
    """Notes beside a model or a checkpoint outlive it: they move to its successor, or stay where they are."""
    folder = tmp_path / "best"
    save_model(folder, weights(0.5), SMALL, SCALING, None)
    (folder / "README.md").write_text("my card")
    save_model(folder, weights(0.25), SMALL, SCALING, None)
    assert (folder / "README.md").read_text() == "my card" and not folder.with_name("best.old").exists()
    load_model(folder)
    for step in (1, 2, 3):
        save_model(tmp_path / "checkpoints" / f"step-{step:07d}", weights(0.5), SMALL, SCALING, None)
    (tmp_path / "checkpoints" / "step-0000001" / "notes.txt").write_text("mine")
    prune_checkpoints(tmp_path, 1)
    left = sorted(str(file.relative_to(tmp_path / "checkpoints")) for file in (tmp_path / "checkpoints").rglob("*.*"))
    assert "step-0000001/notes.txt" in left and not [name for name in left if name.startswith("step-0000002/")]
    assert [name for name in left if name.startswith("step-0000001/")] == ["step-0000001/notes.txt"]
