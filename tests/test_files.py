"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.io.atomic import sha256, write_text_atomic
from hydromae.io.text_file import read_text
from hydromae.model.serialization import read_json_object
from hydromae.store.zarr_store import is_store
from hydromae.train.resume import read_previous_run


def test_text_is_written_whole_in_a_folder_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "new" / "note.json"
    write_text_atomic(file, "first", "mend that")
    write_text_atomic(file, "zweites, ä", "mend that")
    assert file.read_bytes() == "zweites, ä".encode()
    assert [held.name for held in file.parent.iterdir()] == ["note.json"], "nothing is left aside"


def test_a_disk_that_refuses_leaves_what_lay_there(tmp_path: Path) -> None:
    file = tmp_path / "note.json"
    file.write_text("before")
    (tmp_path / "note.json.partial").symlink_to("/dev/full")
    with pytest.raises(
        InputError, match=r"note\.json: the note cannot be kept \(No space left on device\); mend that$"
    ):
        write_text_atomic(file, "after", "mend that", "the note cannot be kept")
    assert file.read_text() == "before"


def test_sum_of_a_file(tmp_path: Path) -> None:
    """NIST's example of one block: the three bytes "abc" (FIPS 180-2, appendix B.1)."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    """Reading a named pipe would wait for ever: as a file of a run and as metadata of a store it is refused or absent."""
    os.mkfifo(tmp_path / "zarr.json")
    os.mkfifo(tmp_path / "state.json")
    assert not is_store(tmp_path)
    with pytest.raises(OSError, match="is not a regular file"):
        read_text(tmp_path / "state.json")
    with pytest.raises(InputError, match=r"state\.json: not found"):
        read_json_object(tmp_path / "state.json")
    checkpoint = tmp_path / "run" / "checkpoints" / "step-0000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "config.json").write_text(Config().to_json())
    os.mkfifo(checkpoint / "state.json")
    assert not read_previous_run(tmp_path / "run").complete
