"""Trackers write what the journal writes; absent or failing ones end no run."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import pytest

from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.train import loggers
from hydromae.train.loggers import Tracker, flatten_metrics, open_tracker
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.trainer import train
from synthetic import SMALL, rivers, scaling_of

LINES = [
    {"step": step, "loss": 1 / step, "validation_loss": None if step % 2 else 0.5, "mse": {"riverflow": step / 8}}
    for step in (1, 2, 3)
]


def tracking(kind: str) -> Config:
    return SMALL.having(train={"tracker": kind})


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """As if these were not installed."""
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No key in the environment and none at home."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(home))
    return home


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads in a folder."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = module.EventAccumulator(str(folder)).Reload()
    return {name: [(e.step, e.value) for e in found.Scalars(name)] for name in found.Tags()["scalars"]}


def test_a_line_becomes_flat_numbers():
    assert flatten_metrics(LINES[1]) == {"loss": 0.5, "validation_loss": 0.5, "mse/riverflow": 0.25}
    assert set(flatten_metrics(LINES[0])) == {"loss", "mse/riverflow"}


def test_tensorboard_reads_the_numbers_that_the_journal_wrote(tmp_path):
    with open_tracker(tracking("tensorboard"), tmp_path) as tracker:
        journal = MetricsLog(tmp_path / "journal.jsonl", tracker)
        for line in LINES:
            journal.write(**line)
    found = scalars(tmp_path / "tensorboard")
    assert found["loss"] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert found["validation_loss"] == [(2, 0.5)]
    assert found["mse/riverflow"] == [(1, 0.125), (2, 0.25), (3, 0.375)]


def test_tensorboard_purges_what_a_resumed_run_writes_again(tmp_path):
    for first in (1, 2):
        with open_tracker(tracking("tensorboard"), tmp_path) as tracker:
            for line in LINES[first - 1 :]:
                tracker({**line, "loss": float(first)})
    assert scalars(tmp_path / "tensorboard")["loss"] == [(1, 1.0), (2, 2.0), (3, 2.0)]


def test_wandb_without_an_account_writes_into_the_run_and_goes_on_as_the_same_run(tmp_path, no_account):
    """A real offline run: its record holds the project, the numbers and the configuration, and no server is asked."""
    pytest.importorskip("wandb")
    run = tmp_path / "run"
    run.mkdir()
    for lines in (LINES[:2], LINES[2:]):
        with open_tracker(tracking("wandb"), run) as tracker:
            for line in lines:
                tracker(line)
        time.sleep(1.1)  # W&B names the folder of a run by the second
    identity = (run / "wandb-run-id").read_text()
    records = sorted(run.glob(f"wandb/offline-run-*-{identity}/run-{identity}.wandb"))
    assert records, list(run.rglob("*"))
    assert {folder.name.rsplit("-", 1)[-1] for folder in run.glob("wandb/offline-run-*")} == {identity}
    written = b"".join(record.read_bytes() for record in records)
    for word in (b"water-mae-pretraining", b"mse/riverflow", b"sequence_length", b"0.375"):
        assert word in written, word
    assert not any((no_account / name).exists() for name in (".netrc", "_netrc"))


def test_wandb_is_online_only_with_an_account_and_where_wandb_mode_allows(no_account, monkeypatch):
    assert loggers._mode() == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert loggers._mode() == "offline"
    (no_account / ".netrc").write_text("machine api.elsewhere.org login user password x\n")
    assert loggers._mode() == "offline"
    (no_account / ".netrc").write_text(f"machine api.wandb.ai login user password {'0' * 40}\n")
    assert loggers._mode() == "online"
    (no_account / ".netrc").write_text("machine\n")
    assert loggers._mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert loggers._mode() == "online"
    for mode in ("disabled", "offline"):
        monkeypatch.setenv("WANDB_MODE", mode)
        assert loggers._mode() == mode


def test_project_and_entity_of_wandb_are_those_of_the_run(tmp_path, monkeypatch, no_account):
    wandb, asked = pytest.importorskip("wandb"), {}
    monkeypatch.setattr(wandb, "init", lambda **given: asked.update(given))
    config = SMALL.having(train={"tracker": "wandb", "wandb_project": "rivers", "wandb_entity": "agency"})
    with open_tracker(config, tmp_path) as tracker:
        tracker(LINES[0])
    assert (asked["project"], asked["entity"]) == ("rivers", "agency")
    assert SMALL.train.wandb_project == "water-mae-pretraining" and SMALL.train.wandb_entity is None


def test_a_run_that_goes_on_is_the_same_run_on_wandb_and_another_run_is_not(tmp_path, monkeypatch, no_account):
    wandb, asked = pytest.importorskip("wandb"), []
    monkeypatch.setattr(wandb, "init", lambda **given: asked.append((given["id"], given["resume"])))
    for name in ("one", "one", "other"):
        (tmp_path / name).mkdir(exist_ok=True)
        with open_tracker(tracking("wandb"), tmp_path / name) as tracker:
            tracker(LINES[0])
    assert asked[0] == asked[1] and asked[0][0] != asked[2][0] and asked[0][1] == "allow"


def test_wandb_that_is_disabled_writes_nothing(tmp_path, no_account, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with open_tracker(tracking("wandb"), tmp_path) as tracker:
        tracker(LINES[0])
    assert not list(tmp_path.glob("wandb/*run-*/*.wandb"))


@pytest.mark.parametrize(("kind", "module"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")])
def test_a_tracker_that_is_named_and_absent_is_one_line_before_anything_is_written(tmp_path, monkeypatch, kind, module):
    without(monkeypatch, module)
    with pytest.raises(InputError, match=rf"'{kind}': is not installed; pip install 'hydromae\[{kind}\]'") as caught:
        train(tracking(kind), rivers(), scaling_of(rivers(), SMALL), tmp_path / "run", device="cpu")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_auto_takes_what_is_there_and_absence_is_no_error(tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr(loggers, "_has_wandb", lambda: True)
    chosen.append(open_tracker(tracking("auto"), tmp_path).name)
    monkeypatch.undo()
    without(monkeypatch, "wandb")
    chosen.append(open_tracker(tracking("auto"), tmp_path).name)
    without(monkeypatch, "torch.utils.tensorboard")
    with open_tracker(tracking("auto"), tmp_path) as tracker:
        tracker(LINES[0])
    assert chosen == ["wandb", "tensorboard"]
    assert tracker.name == "auto" and list(tmp_path.iterdir()) == []


def test_a_folder_of_offline_runs_is_not_taken_for_wandb(tmp_path, monkeypatch):
    """Where W&B is not installed, its folder of an earlier run can be imported: it is a namespace without `init`."""
    (tmp_path / "wandb").mkdir()
    for name in [name for name in sys.modules if name.split(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not loggers._has_wandb()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)


class Failing:
    """Fails at the second line, and again when it is closed."""

    def __init__(self) -> None:
        self.lines = 0

    def write(self, step: int, numbers: dict[str, float]) -> None:
        self.lines += 1
        if self.lines == 2:
            raise OSError("network is unreachable")

    def close(self, failed: bool) -> None:
        raise OSError("still unreachable")


def test_a_tracker_that_fails_is_said_once_and_ends_no_run(tmp_path, monkeypatch, caplog):
    writer = Failing()
    monkeypatch.setattr(loggers, "_TensorBoard", lambda out, first: writer)
    with caplog.at_level(logging.WARNING, logger="hydromae"):
        train(tracking("tensorboard"), rivers(), scaling_of(rivers(), SMALL), tmp_path / "run", device="cpu")
    said = [record.getMessage() for record in caplog.records]
    assert (
        said == ["tracker tensorboard: network is unreachable; training goes on, with journal.jsonl alone"]
        and writer.lines == 2
    )
    assert [line["step"] for line in MetricsLog(tmp_path / "run" / "journal.jsonl").read()] == list(range(1, 9))


def test_a_tracker_that_cannot_open_or_close_is_said_once(caplog):
    def broken(first: int) -> Failing:
        raise OSError("no space left")

    with caplog.at_level(logging.WARNING, logger="hydromae"):
        with Tracker("wandb", broken) as tracker:
            for line in LINES:
                tracker(line)
        with Tracker("tensorboard", lambda first: Failing()) as tracker:
            tracker(LINES[0])
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "tracker wandb: no space left",
        "tracker tensorboard: still unreachable",
    ]


def test_a_run_that_fails_closes_its_tracker_as_failed():
    ended = []

    class Heard(Failing):
        def close(self, failed: bool) -> None:
            ended.append(failed)

    for error in (KeyboardInterrupt, None):
        try:
            with Tracker("wandb", lambda first: Heard()) as tracker:
                tracker(LINES[0])
                if error is not None:
                    raise error
        except KeyboardInterrupt:
            pass
    assert ended == [True, False]


def test_a_training_run_is_followed_line_by_line(tmp_path):
    train(tracking("tensorboard"), rivers(), scaling_of(rivers(), SMALL), tmp_path / "run", device="cpu")
    journal = MetricsLog(tmp_path / "run" / "journal.jsonl").read()
    found = scalars(tmp_path / "run" / "tensorboard")
    assert found["loss"] == [(line["step"], pytest.approx(line["loss"])) for line in journal]
    assert [step for step, _ in found["validation_loss"]] == [4, 8]
