"""A run that stops and goes on is the run that never stopped, to the last bit."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.model.serialization import latest_checkpoint
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.sampler import MaskedBatches
from hydromae.train.trainer import train
from synthetic import GRID, SMALL, SMALL_MAPS, country, rivers, scaling_of

RIVERS = rivers()


def run(out: Path, config: Config = SMALL, **options: object) -> Path:
    """Train on the rivers; other random numbers drawn before must not matter."""
    torch.manual_seed(len(out.name))
    train(config, RIVERS, scaling_of(RIVERS, config), out, device="cpu", **options)
    return out


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """Weights, averaged weights and optimizer of the last checkpoint, and the models that answer."""
    found = latest_checkpoint(run)
    assert found is not None
    files = [found / f"{name}.safetensors" for name in ("model", "average", "optimizer-0")]
    files += [run / name / "model.safetensors" for name in ("best", "last")]
    return {f"{file.parent.name}/{file.stem}/{n}": held for file in files for n, held in load_file(file).items()}


def story(run: Path) -> list[dict[str, object]]:
    """The journal but for the clock."""
    return [{k: v for k, v in line.items() if k != "seconds"} for line in MetricsLog(run / "journal.jsonl").read()]


def state(run: Path) -> dict[str, object]:
    """Step, best loss and counters of the last checkpoint, but for the clock."""
    return {k: v for k, v in json.loads((latest_checkpoint(run) / "state.json").read_text()).items() if k != "seconds"}


def same(one: Path, two: Path) -> None:
    ours, theirs = tensors(one), tensors(two)
    assert set(ours) == set(theirs)
    assert any("/average/" in name for name in ours) and any("exp_avg_sq/" in name for name in ours)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert story(one) == story(two)
    assert state(one) == state(two)


@pytest.mark.parametrize(
    ("settings", "stops"),
    [
        ({}, (4,)),
        ({}, (1, 5, 6)),
        ({"precision": "bf16"}, (3,)),
        ({"precision": "fp16"}, (3,)),
        ({"accumulation": 2}, (5,)),
        ({"workers": 2}, (3,)),
    ],
    ids=["after an epoch", "in the middle of epochs, again and again", "bf16", "fp16", "accumulated", "workers"],
)
def test_n_and_n_steps_are_2n_steps(tmp_path, settings, stops):
    config = SMALL.having(train=settings)
    straight = run(tmp_path / "straight", config)
    for stop in stops:
        run(tmp_path / "broken", config, stop_after=stop, resume=True)
    run(tmp_path / "broken", config, resume=True)
    assert [line["step"] for line in story(straight)] == list(range(1, 9))
    same(straight, tmp_path / "broken")


def test_workers_prepare_the_batches_ahead(tmp_path, monkeypatch):
    """The same run to the last bit; and no batch is cut in the thread that trains."""
    straight = run(tmp_path / "straight")

    def here(*_: object) -> None:
        raise AssertionError("a batch was cut in the thread that trains")

    trains, cut = threading.get_ident(), MaskedBatches.__getitem__
    monkeypatch.setattr(
        MaskedBatches, "__getitem__", lambda s, i: here() if threading.get_ident() == trains else cut(s, i)
    )
    with pytest.raises(AssertionError, match="was cut"):
        run(tmp_path / "alone")
    ahead = run(tmp_path / "ahead", SMALL.having(train={"workers": 2}))
    assert all(torch.equal(held, tensors(ahead)[name]) for name, held in tensors(straight).items())


def test_a_crash_between_two_checkpoints_goes_on_from_the_last_one(tmp_path):
    class Crash(Exception):
        pass

    def crash(progress):
        if progress.step == 5:  # the last checkpoint is that of step 3; the best model may be that of step 4
            raise Crash

    straight = run(tmp_path / "straight")
    with pytest.raises(Crash):
        run(tmp_path / "broken", progress=crash)
    assert latest_checkpoint(tmp_path / "broken").name == "step-0000003"
    run(tmp_path / "broken", resume=True)
    same(straight, tmp_path / "broken")


def test_a_crash_before_the_first_checkpoint_begins_anew(tmp_path):
    def crash(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", progress=crash)
    with (tmp_path / "broken" / "journal.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    run(tmp_path / "broken", resume=True)
    same(run(tmp_path / "straight"), tmp_path / "broken")


def test_maps_resume_too(tmp_path):
    dataset = country()
    scaling = scaling_of(dataset, SMALL_MAPS)
    config = SMALL_MAPS.having(train={"epochs": 2, "ema_decay": 0.5})
    for name, stops in (("straight", (None,)), ("broken", (3, None))):
        for stop in stops:
            train(config, dataset, scaling, tmp_path / name, grid=GRID, resume=True, device="cpu", stop_after=stop)
    same(tmp_path / "straight", tmp_path / "broken")


def test_a_finished_run_that_is_resumed_stays_as_it_is(tmp_path):
    out = run(tmp_path / "run")
    before = tensors(out), story(out)
    run(out, resume=True)
    after = tensors(out), story(out)
    assert before[1] == after[1] and all(torch.equal(held, after[0][name]) for name, held in before[0].items())


def test_another_configuration_is_refused_on_resume(tmp_path):
    out = run(tmp_path / "run", stop_after=1)
    before = files(out)
    other = SMALL.having(optimizer={"lr": 1e-4}, model={"d_model": 32}, train={"workers": 1, "epochs": 1})
    with pytest.raises(InputError) as caught:
        run(out, other, resume=True)
    assert str(caught.value) == (
        f"{out / 'config.json'}: differs from the configuration given: "
        "model.d_model is 16 in the run, 32 given, optimizer.lr is 0.005 in the run, 0.0001 given, "
        "train.epochs is 2 in the run, 1 given; train.epochs may only grow; give the run's own, or name a new folder"
    )
    assert files(out) == before, "a refused start changes no file"


def files(out: Path) -> dict[str, bytes]:
    """All files below a folder, as they are."""
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}


FREE = {
    "data": {"cache_images": False},
    "train": {"workers": 1, "log_every": 2, "keep_last": 1, "validate_every": 2, "checkpoint_every": 9},
}


def test_what_does_not_touch_the_result_may_change_and_is_kept(tmp_path):
    """Other workers, another interval of the journal, other checkpoints: the last model is the undisturbed run's."""
    straight, broken, told = run(tmp_path / "straight"), run(tmp_path / "broken", stop_after=3), []
    first = (broken / "config.json").read_text()
    run(broken, SMALL.having(**FREE), resume=True, log=told.append)
    assert f"{broken}: train.log_every was 1, is 2 from step 4" in told
    assert (broken / "config-step-0000003.json").read_text() == first
    assert Config.from_json((broken / "config.json").read_text()) == SMALL.having(**FREE)
    ours, theirs = (load_file(latest_checkpoint(out) / "model.safetensors") for out in (straight, broken))
    assert all(torch.equal(held, theirs[name]) for name, held in ours.items())


def test_a_longer_run_takes_the_rate_of_the_longer_schedule(tmp_path):
    """A run of 4 steps becomes one of 8: steps 5 to 8 have the rates of a run of 8, on whose cosine they lie."""
    straight, told = run(tmp_path / "straight"), []
    out = run(tmp_path / "longer", SMALL.having(train={"epochs": 1}))
    run(out, SMALL, resume=True, log=told.append)
    assert told == [
        f"{out}: train.epochs was 1, is 2 from step 5",
        f"{out}: from step 5 the learning rate follows the cosine that ends at step 8",
    ]
    rates = [line["lr"] for line in story(out)]
    assert rates[4:] == [line["lr"] for line in story(straight)][4:] and rates[3] < rates[4]
    told.clear()
    run(out, SMALL.having(train={"epochs": 1}), resume=True, log=told.append)
    assert told == [f"{out}: complete, 8 of 8 steps; a larger --train.epochs makes it longer"]
    assert Config.from_json((out / "config.json").read_text()) == SMALL


def test_a_run_without_a_checkpoint_starts_at_step_1_with_a_message(tmp_path):
    told = []
    run(tmp_path / "typo", stop_after=1, resume=True, log=told.append)
    shutil.rmtree(tmp_path / "typo" / "checkpoints")
    run(tmp_path / "typo", stop_after=1, resume=True, log=told.append)
    assert told == [
        f"{tmp_path / 'typo'}: nothing to resume: starting at step 1",
        f"{tmp_path / 'typo'}: nothing to resume (the run there has no checkpoint): starting at step 1",
    ]


def test_a_run_whose_configuration_is_gone_is_known_by_its_checkpoint(tmp_path):
    out = run(tmp_path / "run", stop_after=1)
    (out / "config.json").unlink()
    with pytest.raises(InputError, match="contains a run"):
        run(out)
    with pytest.raises(InputError, match=r"step-0000001|train\.seed is 0 in the run, 3 given"):
        run(out, SMALL.having(train={"seed": 3}), resume=True)


def test_a_run_is_not_written_over(tmp_path):
    out = run(tmp_path / "run", stop_after=1)
    before = tensors_of_last(out)
    with pytest.raises(InputError, match="contains a run"):
        run(out)
    assert all(torch.equal(held, before[name]) for name, held in tensors_of_last(out).items())


def tensors_of_last(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "last" / "model.safetensors")


def test_only_the_last_checkpoints_are_kept(tmp_path):
    out = run(tmp_path / "run", SMALL.having(train={"checkpoint_every": 0.25, "keep_last": 2}))
    kept = sorted(folder.name for folder in (out / "checkpoints").iterdir())
    assert kept == ["step-0000007", "step-0000008"]
