"""Several processes are one: the same loss and weights, whoever shares the windows; and none waits for a lost one."""

from __future__ import annotations

import os
import resource
import signal
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import hydromae.train.updates as under_way
from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.model.serialization import latest_checkpoint
from hydromae.train import extension
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.trainer import train
from processes import LIMIT, together
from synthetic import SMALL, rivers, scaling_of

RIVERS = rivers()
DEEPSPEED = find_spec("deepspeed") is not None
with warnings.catch_warnings():  # of their import, which is here once and not in every process
    warnings.simplefilter("ignore")
    import torch.distributed.optim

    if DEEPSPEED:
        import deepspeed  # noqa: F401
pytestmark = pytest.mark.usefixtures("built_extension")
ENGINES = [
    "torch",
    pytest.param("deepspeed", marks=pytest.mark.skipif(not DEEPSPEED, reason="deepspeed is not installed")),
]
STILL = SMALL.having(model={"dropout": 0.0})
"""Nothing but the windows is drawn."""
LONG = STILL.having(train={"epochs": 13, "steps_per_epoch": 4, "validate_every": 13, "checkpoint_every": 13})
"""52 updates."""


def deed(out: Path, config: Config, **options: object) -> Callable[[], None]:
    def run() -> None:
        train(config, RIVERS, scaling_of(RIVERS, config), out, device="cpu", **{"timeout": LIMIT, **options})

    return run


def sized(config: Config, batch: int) -> Config:
    return config.having(train={"batch_size": batch})


def story(run: Path) -> list[dict[str, object]]:
    return [{**line, "seconds": 0} for line in MetricsLog(run / "journal.jsonl").read()]


def losses(run: Path) -> torch.Tensor:
    return torch.tensor([line["loss"] for line in story(run)], dtype=torch.float64)


def held(run: Path) -> dict[str, torch.Tensor]:
    """Everything that the last checkpoint and the models that answer hold."""
    files = [
        *sorted(latest_checkpoint(run).glob("*.safetensors")),
        *(run / n / "model.safetensors" for n in ("best", "last")),
    ]
    return {f"{file.parent.name}/{file.name}/{n}": value for file in files for n, value in load_file(file).items()}


def well(told: list[tuple[int | None, str]]) -> None:
    assert [code for code, _ in told] == [0] * len(told), told


def same(one: Path, two: Path) -> None:
    ours, theirs = held(one), held(two)
    assert set(ours) == set(theirs) and any("exp_avg_sq/" in name for name in ours)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert story(one) == story(two)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_two_and_four_processes_train_the_same(tmp_path, engine):
    for size in (1, 2, 4):
        well(together(size, deed(tmp_path / str(size), sized(LONG, 4 // size), engine=engine), tmp_path / "words"))
    one = losses(tmp_path / "1")
    assert len(one) == 52 and one[-10:].mean() < 0.7 * one[:10].mean()
    for size in (2, 4):
        torch.testing.assert_close(losses(tmp_path / str(size)), one, rtol=1e-5, atol=0)


def test_torch_alone_and_deepspeed_train_the_same(tmp_path):
    """A parameter without a gradient decays under DeepSpeed and rests under torch, so they agree within that."""
    pytest.importorskip("deepspeed")
    for engine in ("torch", "deepspeed"):
        well(together(2, deed(tmp_path / engine, STILL, engine=engine), tmp_path / "words"))
    torch.testing.assert_close(losses(tmp_path / "torch"), losses(tmp_path / "deepspeed"), rtol=1e-3, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "settings",
    [{"workers": 1}, {"precision": "bf16", "accumulation": 2}, {"precision": "fp16", "loss_scale": 2.0**18}],
    ids=["fp32 with workers", "bf16 accumulated", "fp16"],
)
def test_n_and_n_steps_are_2n_steps_in_two_processes(tmp_path, engine, settings):
    """From the middle of an epoch; dropout and all that drops out in the data included."""
    config = SMALL.having(train=settings)
    well(together(2, deed(tmp_path / "straight", config, engine=engine), tmp_path / "words"))
    for stop in (3, None):
        again = deed(tmp_path / "broken", config, engine=engine, resume=True, stop_after=stop)
        well(together(2, again, tmp_path / "words"))
    same(tmp_path / "straight", tmp_path / "broken")
    skipped = story(tmp_path / "broken")[-1]["skipped"]
    assert (skipped > 0) == ("loss_scale" in settings), "gradients times 2**18 overflow fp16, and the scale falls"


@pytest.mark.parametrize(
    "path", [("torch", 2, "torch", 1), ("torch", 1, "torch", 4), ("torch", 2, "deepspeed", 4)], ids=str
)
def test_a_run_goes_on_in_another_number_of_processes_and_under_another_engine(tmp_path, path):
    """The same within rounding, and said; an update keeps its windows."""
    first, before, second, after = path
    if "deepspeed" in path:
        pytest.importorskip("deepspeed")
    config = sized(STILL, 4 // before)
    said = tmp_path / "said.txt"
    well(together(before, deed(tmp_path / "straight", config, engine=first), tmp_path / "words"))
    well(together(before, deed(tmp_path / "moved", config, engine=first, stop_after=3), tmp_path / "words"))
    again = deed(tmp_path / "moved", config, engine=second, resume=True, log=lambda line: said.open("a").write(line))
    well(together(after, again, tmp_path / "words"))
    close = 1e-5 if first == second else 1e-3
    torch.testing.assert_close(losses(tmp_path / "moved"), losses(tmp_path / "straight"), rtol=close, atol=0)
    assert said.read_text().count(f"4 windows an update, as before: {after} processes take") == 1


def test_processes_that_cannot_share_an_update_are_refused(tmp_path):
    well(together(2, deed(tmp_path / "run", SMALL, stop_after=2), tmp_path / "words"))
    for code, words in together(3, deed(tmp_path / "run", SMALL, resume=True), tmp_path / "words"):
        assert code == 2 and words.startswith("3 processes cannot share the 4 windows of an update evenly")
        assert "\n" not in words


def spoiled(rank: int, step: int, what: Callable[[], None]) -> None:
    """Something happens to one process before it takes a loss the `step`-th time."""
    taken, plain = iter(range(10**6)), under_way.loss

    def loss(*given: object) -> object:
        total, parts = plain(*given)
        if next(taken) == step and os.environ["RANK"] == str(rank):
            changed = what()
            total = total if changed is None else total * changed
        return total, parts

    under_way.loss = loss


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_in_one_process_is_skipped_by_all(tmp_path, engine, bad):
    def run() -> None:
        spoiled(1, 4, lambda: bad)
        deed(tmp_path / "run", SMALL.having(train={"accumulation": 2}), engine=engine)()

    well(together(2, run, tmp_path / "words"))
    told = story(tmp_path / "run")
    assert [line["skipped"] for line in told] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert told[2]["loss"] is None and told[2]["gradient_norm"] is None
    assert all(torch.isfinite(value).all() for value in held(tmp_path / "run").values())


@pytest.mark.parametrize(
    "lost", [lambda: os._exit(9), lambda: os.kill(os.getpid(), signal.SIGSTOP)], ids=["dead", "silent"]
)
def test_no_process_waits_for_a_lost_one(tmp_path, lost):
    """One that dies is noticed at once, one that is silent after the timeout; the run goes on from its checkpoint."""

    def run() -> None:
        spoiled(1, 5, lost)
        deed(tmp_path / "run", SMALL, engine="torch", timeout=15)()

    told = together(2, run, tmp_path / "words", until_end_of=0)
    assert told[0][0] == 2 and told[0][1].startswith("process 0 of 2: another process was lost ("), told
    assert "\n" not in told[0][1] and "--resume" in told[0][1]
    well(together(2, deed(tmp_path / "run", SMALL, engine="torch", resume=True), tmp_path / "words"))
    well(together(2, deed(tmp_path / "straight", SMALL, engine="torch"), tmp_path / "words"))
    same(tmp_path / "straight", tmp_path / "run")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_full_disk_in_one_process_ends_all_with_a_line_and_loses_nothing(tmp_path, rank):
    def run() -> None:
        def full() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY)
            )  # no file grows beyond 2,000 bytes

        spoiled(rank, 5, full)
        deed(tmp_path / "run", SMALL, engine="torch")()

    told = together(2, run, tmp_path / "words")
    assert [code for code, _ in told] == [2, 2], told
    assert all("\n" not in words for _, words in told)
    assert "cannot be written" in told[rank][1] and "--resume" in told[rank][1]
    assert latest_checkpoint(tmp_path / "run").name == "step-0000003"
    assert not list((tmp_path / "run").rglob("*.partial"))
    well(together(2, deed(tmp_path / "run", SMALL, engine="torch", resume=True), tmp_path / "words"))
    well(together(2, deed(tmp_path / "straight", SMALL, engine="torch"), tmp_path / "words"))
    same(tmp_path / "straight", tmp_path / "run")


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change [ns] of every file of a folder."""
    found = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns) for file in found}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, built_extension: None) -> Path:
    """A run of two processes that can be gone on with."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    well(together(2, deed(out, SMALL, engine="torch", stop_after=2), out.parent / "words"))
    return out


def one_cannot_read() -> None:
    """The second process finds its checkpoint damaged."""
    plain = under_way.load_checkpoint

    def load(folder: Path, *given: object) -> object:
        if os.environ["RANK"] == "1":
            raise InputError(f"{folder}: is damaged; use another checkpoint")
        return plain(folder, *given)

    under_way.load_checkpoint = load


@pytest.mark.parametrize(
    ("size", "config", "options", "fault"),
    [
        (2, SMALL, {}, "contains a run"),
        (2, SMALL.having(optimizer={"lr": 1e-4}), {"resume": True}, "differs"),
        (3, SMALL, {"resume": True}, "cannot share"),
        (2, SMALL, {"resume": True}, "is damaged"),
    ],
    ids=["a run is there", "another configuration", "another number of processes", "one process cannot read"],
)
def test_a_refused_start_changes_no_file_of_the_run(stopped, tmp_path, size, config, options, fault):
    before = files_of(stopped)

    def run() -> None:
        if fault == "is damaged":
            one_cannot_read()
        deed(stopped, config, engine="torch", **options)()

    told = together(size, run, tmp_path / "words")
    assert [code for code, _ in told] == [2] * size and any(fault in words for _, words in told), told
    assert all("\n" not in words for _, words in told)
    assert files_of(stopped) == before and not [folder for folder in stopped.rglob("*") if folder.name == "record-0"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_stale_lock_of_a_build_ends_all_processes_with_a_line_and_changes_nothing(
    stopped, tmp_path, monkeypatch, resume
):
    """In a cache that the user chose; `test_extension.py` has all the rest."""
    pytest.importorskip("deepspeed")
    lock = tmp_path / "chosen" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "chosen"))
    out, build = stopped if resume else tmp_path / "new", extension.build_extension
    before = files_of(out)
    monkeypatch.setattr(extension, "build_extension", lambda load, timeout, say: build(load, 0.2, say))
    told = together(2, deed(out, SMALL, engine="deepspeed", resume=resume), tmp_path / "words")
    assert [code for code, _ in told] == [2, 2], told
    assert all(words.startswith(f"{lock}: ") and "\n" not in words for _, words in told)
    assert files_of(out) == before and lock.exists()
