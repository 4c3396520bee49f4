"""A full disk while something is written, and standard streams that are closed or full: one line, and nothing is lost."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from hydromae import cli
from hydromae.cli import main
from hydromae.cli.streams import Screen, redirect_to_null, reopen_closed_streams, show
from hydromae.errors import InputError
from hydromae.io.atomic import HDF5Stream, atomic_path, write_netcdf
from hydromae.io.seed_layout import MergedFile, write_months
from hydromae.io.write import write_answer
from hydromae.store.zarr_store import atomic_output

SMALL = 2**15


@pytest.fixture(scope="module")
def answer() -> xr.Dataset:
    """An answer of more than a small disk holds: values that cannot be compressed."""
    flow = np.random.default_rng(0).random((4000, 10))
    dims = ("time", "catchment")
    coords = {
        "time": np.datetime64("2001-01-01", "ns") + np.arange(4000) * np.timedelta64(1, "D"),
        "catchment": range(10),
    }
    return xr.Dataset({"riverflow": (dims, flow), "riverflow_origin": (dims, np.ones((4000, 10), np.int8))}, coords)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in which no file grows beyond 32 KiB: the system refuses to write on, as a full disk does."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, hard))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["a.nc", "a.zarr", "a.csv", "a.parquet"])
def test_an_answer_that_finds_no_room_leaves_what_lay_there(name: str, answer: xr.Dataset, small_disk: Path) -> None:
    few, many = answer.isel(time=slice(5)), answer
    if name in ("a.csv", "a.parquet"):
        few, many = (one.to_dataframe().reset_index() for one in (few, many))
    write_answer(few, small_disk / name)
    before = {file: file.read_bytes() for file in small_disk.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match=rf"{name}: cannot be written \(.*; make room there"):
        write_answer(many, small_disk / name)
    assert {file: file.read_bytes() for file in small_disk.rglob("*") if file.is_file()} == before


def test_hdf5_finds_no_room(small_disk: Path) -> None:
    """h5py alone ends the process here, with a segmentation fault."""
    maps = np.random.default_rng(0).random((40, 60, 60), np.float32)
    days = np.datetime64("2001-01-01") + np.arange(40)
    with (
        pytest.raises(OSError, match="File too large"),
        MergedFile(small_disk / "a.h5", "mm", days, (60, 60)) as merged,
    ):
        merged.append(maps)
    with pytest.raises(OSError, match="File too large"):
        write_months(small_disk, "precipitation", days, maps)


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".parquet"])
def test_what_is_built_aside_finds_no_room(suffix: str, answer: xr.Dataset, small_disk: Path) -> None:
    """As `virtual`, `prepare`, `merge` and `missing --fill` write."""
    out = small_disk / f"a{suffix}"
    with (
        pytest.raises(InputError, match=r"a\..*: cannot be written \(.*; make room there"),
        atomic_output(out) as aside,
    ):
        if suffix == ".nc":
            write_netcdf(answer, Path(aside))
        elif suffix == ".zarr":
            answer.to_zarr(aside, zarr_format=3, consolidated=False)
        else:
            answer.to_dataframe().to_parquet(aside)
    assert list(small_disk.iterdir()) == []


def test_what_hdf5_wrote_through_a_stream_is_read_as_ever(tmp_path: Path) -> None:
    for mode in ("w", "r+"):
        with HDF5Stream(tmp_path / "a.h5") as stream, h5py.File(stream, mode) as file:
            file.create_dataset(mode[0], data=np.arange(5000), chunks=(1000,), compression="gzip")
    with h5py.File(tmp_path / "a.h5") as file:
        assert (file["w"][:] == np.arange(5000)).all() and (file["r"][:] == np.arange(5000)).all()


def test_a_file_that_fails_half_way_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("old")
    with (
        pytest.raises(InputError, match=r"a\.png: cannot be written \(No space"),
        atomic_path(tmp_path / "a.png") as aside,
    ):
        aside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"] and (tmp_path / "a.png").read_text() == "old"
    (tmp_path / "link.png").symlink_to("a.png")
    with atomic_path(tmp_path / "link.png") as aside:
        aside.write_text("new")
    assert (tmp_path / "link.png").is_symlink() and (tmp_path / "a.png").read_text() == "new"


def test_netcdf_goes_to_the_disk_in_one_piece(tmp_path: Path, answer: xr.Dataset) -> None:
    write_netcdf(answer, tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as again:
        xr.testing.assert_equal(again.load(), answer)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/a.nc"),
            "/x/a.nc: cannot be read or written (Permission",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "a.nc: cannot be read or written (No space left on device)"),
        (OSError("Can't write data\n(file write failed)"), "a.nc: cannot be read or written (Can't write data)"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: OSError, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(self: object, say: object) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.Virtual, "run", run)
    assert main(["virtual", "a.nc"]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith(f"hydromae: {line}") and captured.count("\n") == 1


def in_shell(command: str, folder: Path) -> tuple[int, str]:
    """The exit code of `hydromae`, started by a shell, and what it says on stderr."""
    program = f"{sys.executable} -W error -m hydromae"
    script = f"set -o pipefail; {command.replace('hydromae', program, 1)}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=folder)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("hydromae --version >&- 2>&-", 0, ""),
        ("hydromae --version > /dev/full", 2, "standard output: cannot be written"),
        ("hydromae --help | true", 0, ""),
        ("hydromae inspect absent.zarr 2>/dev/full", 2, ""),
    ],
)
def test_streams_that_cannot_be_written(command: str, code: int, said: str, tmp_path: Path) -> None:
    if "/dev/full" in command and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    found, error = in_shell(command, tmp_path)
    assert found == code and "Traceback" not in error and "Exception" not in error, error
    assert said in error and error.count("\n") == bool(said)


@pytest.mark.parametrize("act", [reopen_closed_streams, lambda: redirect_to_null(sys.stdout)])
def test_streams_that_are_no_files_are_left_alone(act: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> None:
    act()
    show(Screen(), "still here")
    assert capsys.readouterr().out == "still here\n"


def test_a_stream_that_is_gone_before_python_starts_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    reopen_closed_streams()
    with sys.stdout as stream:
        assert stream.write("nothing") == 7
