"""The seed's launch commands, with the real launchers, on a small country: `python`, `torchrun`, `deepspeed`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from hydromae.config import Config
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import write_store
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.trainer import train
from processes import LIMIT, free_port, program
from synthetic import GRID, SMALL_MAPS, country

ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
DEEPSPEED = [sys.executable, "-m", "deepspeed.launcher.runner"]
with_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A configuration file like the seed's, whose store and output lie beside it."""
    folder = tmp_path_factory.mktemp("launch")
    data = country()
    scaling = Scaling.fit(data, SMALL_MAPS.data.training_period)
    write_store(data, folder / "store.zarr", scaling=scaling, sources=[], grid=GRID)
    file = folder / "mae_config.py"
    file.write_text(
        "from hydromae.config import Config\n"
        f"config = Config.from_json({SMALL_MAPS.having(train={'epochs': 3}).to_json()!r})\n"
        f"store = {str(folder / 'store.zarr')!r}\n"
        f"output = {str(folder / 'output')!r}\n"
    )
    return file


Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launched(extensions: Path) -> Iterator[Launch]:
    """Starts a launcher, which ends with the test, and all that it started; warnings are not what is tested."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    held = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"}
    held["XDG_CACHE_HOME"] = str(extensions)
    held.pop("TORCH_EXTENSIONS_DIR", None)
    with ExitStack() as running:

        def launch(*words: object, **environment: str) -> subprocess.Popen[str]:
            options = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            return running.enter_context(program(words, {**held, **environment}, **options))

        yield launch


def ended(launch: subprocess.Popen[str], code: int = 0) -> str:
    told, _ = launch.communicate(timeout=LIMIT)
    assert launch.returncode == code, told
    return told


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in MetricsLog(out / "journal.jsonl").read()]


def entry(config: Path, out: Path, *options: object) -> list[object]:
    return ["train_mae.py", "--config", config, "--out", out, "--device", "cpu", *options]


HALF = ("--train.batch-size", 1, "--model.dropout", 0)
WHOLE = ("--train.batch-size", 2, "--model.dropout", 0)


def test_one_process_and_torchrun_learn_the_same(launched, config, tmp_path):
    """Two processes write into one new folder, whose name the first of them decides."""
    options = (*HALF, "--engine", "torch", "--new-run")
    launch = launched(*TORCHRUN, "--standalone", "--nproc_per_node=2", *entry(config, tmp_path / "two", *options))
    ended(launched(sys.executable, *entry(config, tmp_path / "one", *WHOLE)))
    told = ended(launch)
    assert len(losses(tmp_path / "one")) == 8
    (two,) = (tmp_path / "two").iterdir()
    assert losses(two) == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert told.count("the model with the lowest validation loss") == 1, "the first process speaks for all"


def test_two_processes_finetune_as_one(launched, config, tmp_path):
    """Both begin at the same pretrained model, in a folder that only the first one writes."""
    data = country()
    scaling = Scaling.fit(data, SMALL_MAPS.data.training_period)
    train(SMALL_MAPS.having(model={"dropout": 0.0}), data, scaling, tmp_path / "run", grid=GRID, stop_after=1)
    given = [config.parent / "store.zarr", "--model", tmp_path / "run", "--device", "cpu", "--stop-after", 3]
    command = ["-m", "hydromae", "finetune", *given]
    launch = launched(
        *TORCHRUN, "--standalone", "--nproc_per_node=2", *command, "--batch-size", 1, "--out", tmp_path / "two"
    )
    ended(launched(sys.executable, *command, "--batch-size", 2, "--out", tmp_path / "one"))
    ended(launch)
    assert len(losses(tmp_path / "one")) > 0
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert (tmp_path / "two" / "finetune.json").read_text() == (tmp_path / "one" / "finetune.json").read_text()


@with_deepspeed
def test_two_experiments_at_once_with_deepspeed(launched, config, tmp_path):
    """`--num_gpus` and `--include`, each with its own output and port; on CPUs, LOCAL_SIZE says how many slots there are."""
    first = launched(
        *DEEPSPEED, "--num_gpus=2", f"--master_port={free_port()}", *entry(config, tmp_path / "one", *HALF)
    )
    second = launched(
        *DEEPSPEED,
        "--include",
        "localhost:0,1",
        f"--master_port={free_port()}",
        *entry(config, tmp_path / "two", *HALF, "--masks.map-ratio", 0.6),
        LOCAL_SIZE="2",
    )
    ended(first)
    ended(second)
    assert len(losses(tmp_path / "one")) == len(losses(tmp_path / "two")) == 8
    assert losses(tmp_path / "one") != losses(tmp_path / "two")


@with_deepspeed
def test_torchrun_drives_deepspeed_where_it_is_installed(launched, config, tmp_path):
    ended(launched(*TORCHRUN, "--standalone", "--nproc_per_node=2", *entry(config, tmp_path / "two", *HALF)))
    ended(launched(sys.executable, *entry(config, tmp_path / "one", *WHOLE)))
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)


def test_the_file_names_store_and_output_and_options_take_their_place(launched, config, tmp_path):
    ended(launched(sys.executable, "train_mae.py", f"--config={config}", "--device", "cpu", "--local_rank=0"))
    assert len(losses(config.parent / "output")) == 8
    written = Config.from_json((config.parent / "output" / "config.json").read_text())
    assert written == SMALL_MAPS.having(train={"epochs": 3})


def test_a_file_without_a_store_is_one_line(launched, tmp_path):
    (tmp_path / "c.py").write_text("from hydromae.config.presets import BASE\nconfig = BASE\n")
    told = ended(launched(sys.executable, "train_mae.py", "--config", tmp_path / "c.py"), code=2)
    assert told.startswith(f"train_mae: {tmp_path / 'c.py'}: has no `store`")
    assert len(told.splitlines()) == 1


@with_deepspeed
def test_a_port_in_use_is_one_line_and_ends_all_processes(launched, config, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = ended(
            launched(*DEEPSPEED, "--num_gpus=2", f"--master_port={port}", *entry(config, tmp_path / "out")), code=2
        )
    lines = [line for line in told.splitlines() if line.startswith("hydromae: ")]
    assert lines == [
        f"hydromae: process 0 of 2: port {port} is in use on this machine, by another run or program; "
        "give the launcher another --master_port (torchrun: or --standalone)"
    ]
    assert "Traceback" not in told, told
    assert {file.name for file in tmp_path.glob("out/*")} <= {"scaling.json"}, (
        "what is made of the store, and not of a run"
    )
