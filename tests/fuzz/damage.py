"""Damage to the bytes of any file, and things that stand where a file should."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random


def flip(data: bytes, rng: Random) -> bytes:
    """Flip one to eight bits."""
    held = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        held[rng.randrange(len(held))] ^= 1 << rng.randrange(8)
    return bytes(held)


def overwrite(data: bytes, rng: Random) -> bytes:
    """Set one to four bytes to extreme values."""
    held = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        held[rng.randrange(len(held))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(held)


def truncate(data: bytes, rng: Random) -> bytes:
    """Cut the end off."""
    return data[: rng.randrange(len(data))]


def behead(data: bytes, rng: Random) -> bytes:
    """Cut the beginning off."""
    return data[rng.randrange(1, len(data)) :]


def empty(data: bytes, rng: Random) -> bytes:
    """Nothing is left."""
    return b""


def extend(data: bytes, rng: Random) -> bytes:
    """Zeros, noise or the file itself after the end."""
    return data + rng.choice((bytes(500), rng.randbytes(500), data))


def swap(data: bytes, rng: Random) -> bytes:
    """Two blocks change places."""
    size = rng.randint(1, max(1, len(data) // 4))
    one, two = sorted((rng.randrange(len(data) - size + 1), rng.randrange(len(data) - size + 1)))
    if two < one + size:
        return data[one:] + data[:one]
    return data[:one] + data[two : two + size] + data[one + size : two] + data[one : one + size] + data[two + size :]


def zero(data: bytes, rng: Random) -> bytes:
    """A block becomes zeros or ones."""
    size = rng.randint(1, max(1, len(data) // 8))
    start = rng.randrange(len(data) - size + 1)
    return data[:start] + rng.choice((b"\0", b"\xff")) * size + data[start + size :]


def foreign(data: bytes, rng: Random) -> bytes:
    """Another kind of file altogether."""
    others = (
        b"hello\n",
        rng.randbytes(300),
        gzip.compress(data),
        pickle.dumps({"riverflow": [1.0, 2.0]}),
        b"\x89HDF\r\n\x1a\n" + bytes(200),
        b"PAR1" + bytes(40) + b"PAR1",
        b"PK\x03\x04" + bytes(60),
        b"CDF\x01" + bytes(40),
        b"\xff\xfe" + "riverflow,date\n".encode("utf-16-le"),
        b"<html><body>404</body></html>",
        b"{}",
        b"[]",
        b"null",
        b"[" * 100_000,
    )
    return rng.choice(others)


BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    flip,
    flip,
    flip,
    flip,
    overwrite,
    overwrite,
    truncate,
    truncate,
    behead,
    empty,
    extend,
    swap,
    zero,
    zero,
    foreign,
)


def damage(file: Path, rng: Random) -> str:
    """Change the bytes of a file; what was done is returned."""
    data = file.read_bytes()
    change = rng.choice(BYTES) if data else extend
    file.write_bytes(change(data, rng))
    return f"bytes: {change.__name__} of {file.name}"


def a_folder(file: Path, rng: Random) -> None:
    """An empty folder, or one that holds the file."""
    held = file.read_bytes()
    file.unlink()
    file.mkdir()
    if rng.random() < 0.5:
        (file / "inner").write_bytes(held)


def a_fifo(file: Path, rng: Random) -> None:
    """A pipe that nobody writes to: whoever opens it waits for ever."""
    file.unlink()
    os.mkfifo(file)


def a_loop(file: Path, rng: Random) -> None:
    """A link to itself."""
    file.unlink()
    file.symlink_to(file)


def a_dead_link(file: Path, rng: Random) -> None:
    """A link to nothing."""
    file.unlink()
    file.symlink_to(file.with_name("nothing-is-here"))


def a_device(file: Path, rng: Random) -> None:
    """A link to bytes without end."""
    file.unlink()
    file.symlink_to("/dev/zero")


def nothing(file: Path, rng: Random) -> None:
    """The file is gone."""
    file.unlink()


def a_link(file: Path, rng: Random) -> None:
    """A link to the file: as good as the file."""
    shutil.move(file, file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))


PLACES: tuple[Callable[[Path, Random], None], ...] = (
    a_folder,
    a_fifo,
    a_loop,
    a_dead_link,
    a_device,
    nothing,
    a_link,
)


def displace(file: Path, rng: Random) -> str:
    """Put something else where the file was; what was done is returned."""
    change = rng.choice(PLACES)
    change(file, rng)
    return f"place: {change.__name__} for {file.name}"
