"""What lies where a command writes is safe: looked at before any work, held by one process, and told in one line."""

from __future__ import annotations

import errno
import json
import typing
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from filelock import FileLock

from hydromae.cli import COMMANDS, main
from hydromae.errors import InputError
from hydromae.io import outputs
from hydromae.io.folders import EVALUATION, MODEL, RUN, SWEEP
from hydromae.io.outputs import (
    answer_output,
    new_output,
    output_folder,
    replaceable_file,
    reserve_output,
    reserve_outputs,
)

WRITES = {
    "demo": ("out",),
    "virtual": ("out",),
    "fetch": ("out",),
    "prepare": ("out",),
    "inspect": ("picture",),
    "merge": ("out",),
    "patches": ("out", "picture"),
    "missing": ("fill",),
    "pretrain": ("out",),
    "finetune": ("out",),
    "sweep": ("out",),
    "predict": ("out", "picture"),
    "forecast": ("out", "picture", "warnings", "warnings_page", "keep"),
    "verify": ("out", "page"),
    "evaluate": ("out",),
    "report": ("out",),
    "explore": ("export",),
    "convert-config": ("out",),
    "doctor": (),
}
"""The fields of each command that name what it writes; all its other paths are read."""
READS = {
    "prepare": ("boundaries", "source", "attributes"),
    "inspect": ("store",),
    "merge": ("folder",),
    "patches": ("source", "attributes"),
    "missing": ("source",),
    "convert-config": ("original",),
    "pretrain": ("store", "config", "held_out"),
    "finetune": ("store", "model", "oof_runs"),
    "sweep": ("store", "config"),
    "predict": ("boundaries", "question", "model", "attributes"),
    "forecast": ("boundaries", "record", "model", "attributes", "ensemble", "threshold_file"),
    "verify": ("folder", "record", "attributes"),
    "evaluate": ("store", "model"),
    "report": ("evaluation", "journal", "card"),
    "explore": ("store", "model", "scores"),
}
LINES: dict[str, list[str]] = {
    "demo": ["demo", "OUT"],
    "virtual": ["virtual", "OUT.nc"],
    "virtual layout": ["virtual", "OUT", "--layout", "seed"],
    "fetch": ["fetch", "nrfa", "--stations", "39001", "--out", "OUT"],
    "prepare": ["prepare", "READ", "OUT.zarr"],
    "inspect": ["inspect", "READ", "--picture", "OUT.png"],
    "merge": ["merge", "READ", "OUT.h5", "--period", "2001-01-01", "2001-01-31"],
    "patches": ["patches", "READ", "--out", "OUT.json"],
    "patches picture": ["patches", "READ", "--picture", "OUT.png"],
    "missing": ["missing", "READ", "--fill", "OUT.parquet"],
    "convert-config": ["convert-config", "READ", "--out", "OUT.py"],
    "pretrain": ["pretrain", "READ", "--out", "OUT"],
    "pretrain anew": ["pretrain", "READ", "--out", "OUT", "--new-run"],
    "finetune": ["finetune", "READ", "--model", "READ", "--out", "OUT"],
    "sweep": ["sweep", "READ", "--out", "OUT"],
    **{f"predict {kind}": ["predict", "READ", "--model", "READ", "--out", f"OUT.{kind}"] for kind in ("nc", "csv")},
    "predict zarr": ["predict", "READ", "--model", "READ", "--out", "OUT.zarr"],
    "predict parquet": ["predict", "READ", "--model", "READ", "--out", "OUT.parquet"],
    "predict xlsx": ["predict", "READ", "--model", "READ", "--out", "OUT.xlsx"],
    "forecast": ["forecast", "READ", "--model", "READ", "--out", "OUT.nc"],
    "forecast keep": ["forecast", "READ", "--model", "READ", "--out", "other.nc", "--keep", "OUT"],
    "forecast warnings": ["forecast", "READ", "--model", "READ", "--out", "other.nc", "--warnings", "OUT.csv"],
    "forecast page": ["forecast", "READ", "--model", "READ", "--out", "other.nc", "--warnings-page", "OUT.html"],
    "verify": ["verify", "READ", "READ", "--out", "OUT.csv"],
    "verify page": ["verify", "READ", "READ", "--page", "OUT.html"],
    "evaluate": ["evaluate", "READ", "--out", "OUT"],
    "report": ["report", "READ", "--out", "OUT.html"],
    "explore": ["explore", "READ", "--model", "READ", "--export", "OUT.html"],
}
"""Every way to write, with the names of what is read and written."""
SHARED = ("fetch", "pretrain anew", "forecast keep")
"""These add to a folder, whatever lies there; what they replace is tested with them."""
READING = [name for name, words in LINES.items() if "READ" in words]


def line(name: str, read: str, out: str) -> list[str]:
    """The words of a command; `out` stands for the whole name of what is written where it holds a suffix already."""
    words = [read if word == "READ" else word for word in LINES[name]]
    return [
        word if not word.startswith("OUT") else out + (word[3:] if "." not in Path(out).name else "") for word in words
    ]


def written(name: str) -> str:
    """The name of what a command writes, where `OUT` stands for out."""
    return next(word for word in LINES[name] if word.startswith("OUT")).replace("OUT", "out")


def content(folder: Path) -> dict[str, bytes]:
    """Everything that lies in a folder, hidden names included."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a folder that can be named as any input."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "read").mkdir()
    (tmp_path / "read" / "measured.csv").write_text("years of work")
    return tmp_path


def refused(words: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command ends with code 2 and one line, and nothing that lay here has changed."""
    before = content(here)
    capsys.readouterr()
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1, captured.err
    assert message in captured.err
    assert content(here) == before


def paths_of(command: Callable[..., object]) -> set[str]:
    """The fields of a command that hold paths."""
    hints = typing.get_type_hints(command)
    return {name for name, kind in hints.items() if kind is Path or Path in flat(kind)}


def flat(kind: object) -> set[object]:
    """All types inside a type."""
    inside = typing.get_args(kind)
    return {kind}.union(*(flat(one) for one in inside)) if inside else {kind}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_path_of_a_command_is_read_or_written(name: str) -> None:
    """A new command, or a new path of one, needs a row here, and what it writes a line in `LINES`."""
    assert paths_of(COMMANDS[name]) == {*WRITES[name], *READS.get(name, ())}
    assert not WRITES[name] or name in {words[0] for words in LINES.values()}


@pytest.mark.parametrize("name", LINES)
def test_a_folder_of_the_users_own_is_never_written(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = here / written(name)
    place.mkdir()
    (place / "thesis.tex").write_text("three years")
    if name in SHARED:
        with (
            reserve_output(outputs.shared_folder(place, is_exclusive=False)),
            reserve_output(outputs.shared_folder(place)),
        ):
            assert {"thesis.tex", ".lock"} == {file.name for file in place.iterdir()}
        assert [file.name for file in place.iterdir()] == ["thesis.tex"]
        return
    refused(line(name, "read", "out"), place.name, here, capsys)


@pytest.mark.parametrize("name", [name for name in READING if "." not in written(name) or "zarr" in written(name)])
@pytest.mark.parametrize("spelled", ["{}", "./{}/", "sub/../{}", "link"])
def test_an_input_is_never_written(name: str, spelled: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "sub").mkdir()
    read = here / f"v{Path(written(name)).suffix}"
    (here / "read").rename(read)
    (here / f"link{read.suffix}").symlink_to(read)
    refused(line(name, read.name, spelled.format(read.name)), f"is the input {read.name}", here, capsys)


@pytest.mark.parametrize("name", ["predict csv", "predict nc", "predict parquet", "forecast"])
@pytest.mark.parametrize("link", ["itself", "symlink", "hardlink", "of a folder"])
def test_a_file_that_is_read_is_never_replaced(
    name: str, link: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read, out = here / f"v{Path(written(name)).suffix}", here / written(name)
    read.write_text("years of work")
    if link == "itself":
        out = read
    elif link == "symlink":
        out.symlink_to(read)
    elif link == "hardlink":
        out.hardlink_to(read)
    else:  # a folder is read, in which a link leads to the file
        out.write_text("years of work")
        (here / "read" / "flow").symlink_to(out)
        read = here / "read"
    refused(line(name, read.name, out.name), f"is the input {read.name}", here, capsys)


@pytest.mark.parametrize("name", READING)
def test_nothing_is_written_into_an_input(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "way").symlink_to(here / "read")
    for place in ("read", "way"):
        refused(line(name, "read", f"{place}/out"), "is inside the input read", here, capsys)


@pytest.mark.parametrize("name", ["pretrain", "sweep", "evaluate", "finetune"])
def test_a_folder_that_holds_an_input_is_not_written(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(line(name, "read", "."), "contains the input read", here, capsys)


def test_a_run_goes_on_with_its_own_configuration(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--config run/config.json --out run` is refused for a new run; with --resume it is read, never written."""
    from hydromae.config.presets import PRESETS

    (here / "run").mkdir()
    (here / "run" / "config.json").write_text(PRESETS["tiny"].to_json())
    words = ["pretrain", "absent.zarr", "--config", "run/config.json", "--out", "run"]
    refused(words, "run: contains the input run/config.json", here, capsys)
    refused([*words, "--resume"], "absent.zarr: no such store", here, capsys)


@pytest.mark.parametrize("name", LINES)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    name: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "file").write_text("no folder")
    refused(line(name, "read", "file/out"), "file/out", here, capsys)
    refused(line(name, "read", "n" * 300), "n" * 300, here, capsys)
    for number, said in ((errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")):

        def full(folder: Path, number: int = number) -> None:
            raise OSError(number, "No space left on device" if number == errno.ENOSPC else "Read-only file system")

        monkeypatch.setattr(outputs, "_probe", full)
        refused(line(name, "read", "out"), said, here, capsys)


@pytest.mark.parametrize("name", [name for name in LINES if name != "pretrain anew"])  # each begins in its own folder
def test_two_processes_never_write_one_place(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = here / written(name)
    inside = name in ("fetch", "pretrain", "finetune", "sweep", "evaluate", "forecast keep")
    folder, file = outputs._lock_location(outputs.Output(place, lambda path: None, inside))
    folder.mkdir(exist_ok=True)
    with FileLock(folder / file):
        refused(line(name, "read", "out"), "another process of hydromae writes there", here, capsys)
    (folder / file).unlink()
    with reserve_output(new_output(here / "other")):
        assert content(here).keys() - {"read/measured.csv"}  # the lock, while it is held
    assert set(content(here)) == {"read/measured.csv"}


def test_nothing_is_written_into_the_package(here: Path) -> None:
    for place in (outputs.PACKAGE / "assets" / "gb-rivers", outputs.PACKAGE, outputs.PACKAGE / "assets" / "new"):
        with (
            pytest.raises(InputError, match="inside the installed package"),
            reserve_outputs([output_folder(place, RUN)]),
        ):
            pass


def test_the_other_processes_of_a_launcher_leave_the_check_to_the_first(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert main(["inspect", "read", "--picture", "read/p.png"]) == 2
    assert "not a hydromae store" in capsys.readouterr().err


SIGNS = {
    RUN: ("config.json", json.dumps(dict.fromkeys(RUN.keys))),
    SWEEP: ("sweep.json", json.dumps(dict.fromkeys(SWEEP.keys))),
    EVALUATION: ("settings.json", json.dumps({"period": [], "questions": []})),
    MODEL: ("config.json", json.dumps(dict.fromkeys(MODEL.keys))),
}


@pytest.mark.parametrize("kind", SIGNS, ids=lambda kind: kind.name)
def test_a_folder_is_recognised_by_what_the_command_itself_writes(kind, tmp_path: Path) -> None:
    sign, text = SIGNS[kind]
    assert kind.fault(tmp_path / "absent") is None and kind.fault(tmp_path) is None
    for litter in (".lock", ".DS_Store", ".hydromae-12.partial"):
        (tmp_path / litter).write_text("")
    (tmp_path / "lost+found").mkdir()
    assert kind.fault(tmp_path) is None
    for name in kind.needs:
        (tmp_path / name).write_text("")
    for wrong in ("{", "[]", '{"architectures": ["BertModel"]}'):  # of another program
        (tmp_path / sign).write_text(wrong)
        (tmp_path / "notes.txt").write_text("mine")
        assert "name an empty or a new folder" in str(kind.fault(tmp_path))
    (tmp_path / sign).write_text(text)
    assert kind.fault(tmp_path) is None  # what lies beside it stays
    for name in kind.forbidden:
        (tmp_path / name).write_text("")
        assert name in str(kind.fault(tmp_path))
        (tmp_path / name).unlink()
    assert "is a file" in str(kind.fault(tmp_path / sign))


def test_a_run_is_known_by_its_checkpoint_where_its_configuration_is_gone(tmp_path: Path) -> None:
    step = tmp_path / "checkpoints" / "step-0000003"
    step.mkdir(parents=True)
    assert "not a run (it contains checkpoints)" in str(RUN.fault(tmp_path))
    (step / "config.json").write_text(SIGNS[RUN][1])
    assert RUN.fault(tmp_path) is None


def test_a_file_that_is_replaced_is_an_ordinary_one_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    (tmp_path / "thesis.tex").write_text("three years")
    assert replaceable_file(tmp_path / "page.html", outputs.PAGES).fault(tmp_path / "page.html") is None
    for place, why in (
        (tmp_path / "thesis.tex", "is not a .html"),
        (tmp_path, "is a folder"),
        (Path("/dev/null"), "regular"),
    ):
        assert why in str(replaceable_file(place, outputs.PAGES).fault(place))


def test_a_lock_leaves_no_litter_and_may_be_entered_again(tmp_path: Path) -> None:
    run = output_folder(tmp_path / "deep" / "run", RUN)
    with reserve_output(run), reserve_output(run):
        assert (tmp_path / "deep" / "run" / ".lock").is_file()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), reserve_output(run):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arrays", [(), ("notes.txt",), ("riverflow_origin/zarr.json", "notes.txt"), ("flow/zarr.json",)]
)
def test_a_zarr_folder_is_replaced_only_where_it_is_an_answer(arrays: tuple[str, ...], tmp_path: Path) -> None:
    place = tmp_path / "a.zarr"
    for name in ("zarr.json", *arrays):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text('{"attributes": {}}')
    assert "not an answer of hydromae" in str(answer_output(place).fault(place))


@pytest.mark.parametrize(("stamp", "safe"), [({}, False), ({"hydromae_format": "hydromae-store-1"}, True)])
def test_an_answer_that_is_a_store_is_not_replaced(stamp: dict[str, str], safe: bool, tmp_path: Path) -> None:
    place = tmp_path / "a.zarr"
    (place / "riverflow_origin").mkdir(parents=True)
    (place / "riverflow_origin" / "zarr.json").write_text("{}")
    (place / "zarr.json").write_text(json.dumps({"attributes": stamp}))
    with (
        pytest.raises(InputError, match="not an answer") if safe else nullcontext(),
        reserve_output(answer_output(place)),
    ):
        pass
