"""DeepSpeed's extension: a build that was killed stops nobody, and no wait is silent or without an end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from hydromae.errors import InputError
from hydromae.train import extension
from hydromae.train.extension import EXTENSION_NAME, build_extension, default_cache, lock_age
from processes import LIMIT, begin, killed_at_the_end

PLACES = [EXTENSION_NAME, f"py311_cpu/{EXTENSION_NAME}"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where builds go that the user chose no folder for; a wait is said after no time here."""
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(extension, "NOTICE_DELAY", 0.0)
    monkeypatch.setattr(extension, "POLL_INTERVAL", 0.01)
    return tmp_path / "cache"


def marked(folder: Path) -> Path:
    """What a build that was killed leaves."""
    (folder / EXTENSION_NAME).mkdir(parents=True, exist_ok=True)
    (folder / EXTENSION_NAME / "lock").touch()
    return folder / EXTENSION_NAME / "lock"


def compiler(built: list[Path], deed: Callable[[Path], None] = lambda folder: None) -> Callable[[], None]:
    """What DeepSpeed does: waits for a lock for ever, then builds where the environment says."""

    def load() -> None:
        folder = Path(os.environ["TORCH_EXTENSIONS_DIR"]) / EXTENSION_NAME
        folder.mkdir(parents=True, exist_ok=True)
        assert not (folder / "lock").exists(), "here it would wait for ever"
        (folder / "lock").touch()
        deed(folder)
        (folder / "extension.so").touch()
        (folder / "lock").unlink()
        built.append(folder)

    return load


@pytest.mark.parametrize("place", PLACES)
def test_a_lock_in_the_users_cache_is_waited_for_with_a_line_and_an_end(tmp_path, monkeypatch, place):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    lock = marked((tmp_path / place).parent)
    built: list[Path] = []
    said: list[str] = []
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        build_extension(compiler(built), 0.3, said.append)
    assert 0.3 <= time.monotonic() - began < 5 and not built and lock.exists()
    line = str(caught.value)
    assert line.startswith(f"{lock}: ") and "remove this file" in line and "--engine torch" in line
    assert len(said) == 1 and said[0].startswith(f"{lock}: ")


def test_a_lock_that_goes_away_is_waited_for_and_no_longer(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    lock = marked(tmp_path)
    built: list[Path] = []
    build_extension(compiler(built), 60, lambda line: lock.unlink())
    assert built == [tmp_path / EXTENSION_NAME] and (tmp_path / EXTENSION_NAME / "extension.so").exists()


def test_a_build_that_was_killed_is_made_again(tmp_path):
    """By SIGKILL in the middle: its lock and its half of a build are there, and nobody waits for them."""

    def endless() -> None:
        build_extension(compiler([], lambda folder: time.sleep(LIMIT)), 1, lambda line: None)

    with killed_at_the_end() as running:
        running.append(begin(endless, tmp_path / "words"))
        until = time.monotonic() + LIMIT
        while not list(default_cache().glob(f"*/{EXTENSION_NAME}/lock")) and time.monotonic() < until:
            time.sleep(0.01)
    assert list(default_cache().glob(f"*/{EXTENSION_NAME}/lock"))
    built: list[Path] = []
    for _ in range(2):
        build_extension(compiler(built), 1, lambda line: None)
    assert [folder.parent.name for folder in built] == ["partial", "whole"], "built aside, then found"
    assert (default_cache() / "whole" / EXTENSION_NAME / "extension.so").exists() and not (
        default_cache() / "partial"
    ).exists()
    assert "TORCH_EXTENSIONS_DIR" not in os.environ


def test_an_extension_that_this_process_has_loaded_is_not_built_again():
    """DeepSpeed then gives what it has, whatever the cache is."""
    build_extension(lambda: None, 1, lambda line: None)
    assert not (default_cache() / "whole").exists()
    built: list[Path] = []
    build_extension(compiler(built), 1, lambda line: None)
    assert [folder.parent.name for folder in built] == ["partial"]


def test_a_start_that_was_killed_beside_a_complete_build_blocks_no_other():
    built: list[Path] = []
    build_extension(compiler(built), 1, lambda line: None)
    lock = marked(default_cache() / "whole")
    build_extension(compiler(built), 1, lambda line: None)
    assert len(built) == 2 and not lock.exists()


def test_a_build_at_work_is_waited_for_longer_than_the_timeout_and_not_for_ever(monkeypatch):
    default_cache().mkdir(parents=True)
    said: list[str] = []
    at_work = FileLock(default_cache() / "hydromae.lock", is_singleton=False)
    at_work.acquire()
    monkeypatch.setattr(extension, "BUILD_TIMEOUT", 0.4)
    with pytest.raises(InputError, match="another process builds DeepSpeed's extension, still after"):
        build_extension(compiler([]), 0.0, said.append)
    assert len(said) == 1 and "waiting at most" in said[0]
    built: list[Path] = []
    build_extension(compiler(built), 0.0, lambda line: at_work.release())
    assert len(built) == 1


@pytest.mark.parametrize(
    "error", [RuntimeError("Ninja is required\nto load"), OSError("no space"), ImportError("x.so")]
)
def test_a_failed_build_is_one_line_and_is_repeated(error):
    def fails(folder: Path) -> None:
        raise error

    with pytest.raises(InputError, match="cannot be built there") as caught:
        build_extension(compiler([], fails), 1, lambda line: None)
    assert "\n" not in str(caught.value) and "C++ compiler" in str(caught.value)
    built: list[Path] = []
    build_extension(compiler(built), 1, lambda line: None)
    assert built[0].parent.name == "partial"


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "file"))
    with pytest.raises(InputError, match="TORCH_EXTENSIONS_DIR"):
        build_extension(compiler([]), 1, lambda line: None)


def test_an_age_is_in_words(tmp_path):
    os.utime(marked(tmp_path), (time.time() - 400,) * 2)
    assert (
        lock_age(tmp_path / EXTENSION_NAME / "lock").startswith("40") and lock_age(tmp_path / "none") == "removed now"
    )
    os.utime(marked(tmp_path), (time.time() - 7200,) * 2)
    assert lock_age(tmp_path / EXTENSION_NAME / "lock") == "2.0 h old"
