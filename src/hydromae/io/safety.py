"""What a container declares, looked at before it is opened: nothing in it may run code, wait for ever, lead to another
file, or ask for memory out of proportion to what it stores.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import fsspec
import h5py

from hydromae.errors import InputError, first_line

MAX_VALUES = 2**34
"""Values of one variable: a daily 1 km map of Great Britain for 60 years has a third of them."""
MAX_LENGTH = 20_000_000
"""Values along one dimension; coordinates are held in memory."""
UNPROVEN_VALUES = 100_000_000
"""Values that need no proof that they are stored."""
MAX_VALUES_PER_BYTE = 100_000
"""Values that one stored byte may stand for, beyond `UNPROVEN_VALUES`: more than any compressor reaches on a constant."""
CLASSIC = b"CDF"
MAX_CLASSIC_BYTES = 2**31
"""Bytes of a NetCDF-3 file, which is held in memory whole; its values are not packed."""
HEAP = b"GCOL\x01\0\0\0"
MAX_CHUNK_VALUES = 2**31
MAX_UNPACKED_BYTES = 2**30
"""Bytes of a mask once it is unpacked."""
CODECS = frozenset(
    [
        "bytes",
        "transpose",
        "sharding_indexed",
        "zlib",
        "gzip",
        "bz2",
        "lzma",
        "zstd",
        "blosc",
        "lz4",
        "delta",
        "fixedscaleoffset",
        "shuffle",
        "quantize",
        "bitround",
        "packbits",
        "astype",
        "crc32",
        "crc32c",
        "adler32",
        "fletcher32",
        "vlen-utf8",
        "vlen-bytes",
    ]
)
"""Zarr codecs that only move numbers and text about; `pickle` is one of those that are not among them."""
READ_ERRORS = (
    OSError,
    struct.error,
    zlib.error,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    ImportError,
    MemoryError,
)
"""What h5py, h5netcdf, zarr, xarray and torch raise on files that are broken; only to be caught around their calls."""


def check_size(
    source: str, name: str, shape: tuple[int, ...], stored: int | None = None, max_length: int = MAX_LENGTH
) -> None:
    """Refuse an array that is too large to be a record, or much larger than what is stored of it.

    Args:
        source, name: File and array, for the message.
        shape: As declared.
        stored: Bytes that hold it; None where that is not known.
        max_length: Values along one dimension.
    """
    count = math.prod(shape)
    is_unproven = stored is not None and count > UNPROVEN_VALUES and count > MAX_VALUES_PER_BYTE * stored
    if count > MAX_VALUES or max(shape, default=0) > max_length or is_unproven:
        declared = " × ".join(map(str, shape))
        held = "" if stored is None else f" and stores {stored} bytes of them"
        raise InputError(
            f"{source}: {name} declares {declared} values{held}; that is not a record; write the file again"
        )


def check_hdf5(path: str | Path) -> set[str]:
    """Refuse an HDF5 file whose arrays lie elsewhere, are no plain numbers or text, or declare more than they hold.

    Returns:
        set of str: Names of what lies in it.
    """
    try:
        _check_heaps(Path(path))
        with h5py.File(path, "r") as file:
            names = set(file)
            for name in names:
                _check_h5_item(file, name, str(path))
            return names
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(f"{path}: not a readable NetCDF file ({first_line(error)}); give a NetCDF-4 file") from error


def is_classic(path: str | Path) -> bool:
    """Whether a file begins as NetCDF-3 does."""
    with Path(path).open("rb") as stream:
        return stream.read(3) == CLASSIC


def check_classic(path: str | Path) -> set[str]:
    """Refuse a NetCDF-3 file that is of the 64-bit kind, large, or broken.

    It is read by scipy, in Python, of plain numbers and text alone: what it declares beyond its bytes is an error there,
    and memory follows its size, which is bounded by `MAX_CLASSIC_BYTES`.

    Returns:
        set of str: Names of what lies in it.
    """
    from scipy.io import netcdf_file  # takes a while to import, for files that are rare

    file = Path(path)
    with file.open("rb") as stream:
        version = stream.read(4)[3:]
    if version not in (b"\1", b"\2") or file.stat().st_size > MAX_CLASSIC_BYTES:
        declared = "NetCDF-3 of more than 2 GB" if version in (b"\1", b"\2") else "NetCDF-3 with 64-bit data"
        raise InputError(f"{path}: is {declared}; make it NetCDF-4: nccopy -k nc4 {file.name} new.nc")
    try:
        with warnings.catch_warnings(action="error"), netcdf_file(file, mmap=False) as held:
            for name, values in held.variables.items():
                check_size(str(path), name, tuple(values.shape))
            return set(held.variables)
    except InputError:
        raise
    except (*READ_ERRORS, Warning) as error:
        raise InputError(f"{path}: not a readable NetCDF-3 file ({first_line(error)}); download it again") from error


def _check_heaps(path: Path) -> None:
    """Refuse a global heap whose objects do not fill it: the HDF5 library walks it by their lengths, at worst for ever.

    Source: HDF5 File Format Specification 3.0, III.E: a collection has a header of 16 bytes, then objects with headers of
    16 bytes (index, references, reserved, size), whose data are padded to 8; the size of object 0 includes its header.
    """
    with path.open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as held:
            offset = held.find(HEAP)
            while offset >= 0:
                if not _heap_ends(held, offset):
                    raise InputError(f"{path}: not a readable NetCDF file (a heap without an end); restore it")
                offset = held.find(HEAP, offset + 1)


def _heap_ends(held: mmap.mmap, offset: int) -> bool:
    end = offset + int.from_bytes(held[offset + 8 : offset + 16], "little")
    offset += 16
    while offset + 16 <= end <= len(held):
        index, size = struct.unpack("<HxxxxxxQ", held[offset : offset + 16])
        length = size if index == 0 else 16 + (size + 7) // 8 * 8
        if length < 16:
            return False
        offset += length
    return offset <= end <= len(held)


def external_reason(file: h5py.File, name: str) -> str | None:
    """How what has this name in an HDF5 file leads out of it, or None where it does not; nothing is followed or read."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return "is a link to another place"
    held = file[name]
    virtual = isinstance(held, h5py.Dataset) and (held.is_virtual or held.external)
    return "keeps its values in another file" if virtual else None


def _check_h5_item(file: h5py.File, name: str, source: str) -> None:
    reason = external_reason(file, name)
    if reason is not None:
        raise InputError(f"{source}: {name} {reason}; write its values into the file itself")
    held = file[name]
    if not isinstance(held, h5py.Dataset):
        return
    text = h5py.check_string_dtype(held.dtype) is not None
    if held.shape is None or not (held.dtype.kind in "iufbSU" or text):
        raise InputError(f"{source}: {name} holds neither numbers nor text; leave it out, or write it again")
    check_size(source, name, held.shape, held.id.get_storage_size())


def check_zarr(path: str | Path) -> None:
    """Refuse a Zarr group with pipes or devices among its files, with codecs that are not known, or with absurd shapes."""
    try:
        system, name = fsspec.url_to_fs(str(path))
        local = "file" in system.protocol
        files = dict(_regular_files(Path(name))) if local else {f: system.size(f) or 0 for f in system.find(name)}
        for file in files:
            if Path(file).name in ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"):
                _check_zarr_json(file, json.loads(system.cat_file(file)), files, str(path))
    except InputError:
        raise
    except (*READ_ERRORS, RecursionError) as error:
        raise InputError(f"{path}: not a readable Zarr group ({first_line(error)}); give a .zarr folder") from error


def _regular_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Files below a folder with their sizes; a pipe or a device, which would be read for ever, is refused."""
    for offset, _, names in os.walk(folder):
        for name in names:
            file = Path(offset) / name
            found = file.stat()
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"{folder}: {file.relative_to(folder)} is not a plain file; take it away")
            yield str(file), found.st_size


def _check_zarr_json(file: str, held: Any, files: dict[str, int], source: str) -> None:
    name = Path(file).parent.name
    if not isinstance(held, dict):
        raise InputError(f"{source}: {name}/{Path(file).name} is not a JSON object; write the group again")
    for codec in _codecs([held.get(key) for key in ("codecs", "compressor", "filters")]):
        if str(codec).removeprefix("numcodecs.") not in CODECS:
            raise InputError(f"{source}: {name} uses the codec {codec!r}; write it with a common one")
    if Path(file).name == ".zattrs" or "shape" not in held:
        return
    shape, chunks = (
        held["shape"],
        held["chunks"] if "chunks" in held else held["chunk_grid"]["configuration"]["chunk_shape"],
    )
    if any(type(n) is not int or n < 0 for n in (*shape, *chunks)) or len(shape) != len(chunks):
        raise InputError(f"{source}: {name} declares the shape {shape} in chunks {chunks}; write the group again")
    if math.prod(shape) > UNPROVEN_VALUES or math.prod(chunks) > UNPROVEN_VALUES:
        prefix = f"{Path(file).parent}/"
        stored = sum(size for other, size in files.items() if other.startswith(prefix))
        check_size(source, name, tuple(shape), stored)
        if math.prod(chunks) > MAX_CHUNK_VALUES:
            raise InputError(f"{source}: {name} declares chunks of {chunks} values; write it in smaller ones")


def _codecs(held: Any) -> Iterator[Any]:
    """Names of the codecs inside a piece of Zarr metadata, also of those inside shards."""
    if isinstance(held, list):
        for one in held:
            yield from _codecs(one)
    elif isinstance(held, dict):
        yield held.get("id", held.get("name"))
        configuration = held.get("configuration")
        inner = configuration if isinstance(configuration, dict) else {}
        yield from _codecs([inner.get("codecs"), inner.get("index_codecs")])
    elif held is not None:
        yield held


def check_zip(path: str | Path) -> None:
    """Refuse a zip archive (.npz, .pt) that unpacks to more than `MAX_UNPACKED_BYTES`, or that fails its own checksums."""
    try:
        with ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
            broken = archive.testzip() if total <= MAX_UNPACKED_BYTES else None
    except (BadZipFile, *READ_ERRORS) as error:
        raise InputError(f"{path}: not a readable archive ({first_line(error)}); write it again") from error
    if total > MAX_UNPACKED_BYTES:
        raise InputError(f"{path}: unpacks to {total} bytes, more than a land mask has; write it again")
    if broken is not None:
        raise InputError(f"{path}: {broken} fails its checksum; write it again")
