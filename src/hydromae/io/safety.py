"""Safety checks before a file is opened: no code, no endless reads, no links to other files, no excessive memory."""

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
"""Maximum values of a variable, three times a daily 1 km map of Great Britain for 60 years."""
MAX_LENGTH = 20_000_000
"""Maximum length of a dimension; coordinates are in memory."""
UNPROVEN_VALUES = 100_000_000
"""Values that are allowed whatever the stored size."""
MAX_VALUES_PER_BYTE = 100_000
"""Maximum values per stored byte beyond `UNPROVEN_VALUES`: more than the compression of a constant."""
CLASSIC = b"CDF"
MAX_CLASSIC_BYTES = 2**31
"""Maximum size of a NetCDF-3 file, which is read into memory [bytes]."""
HEAP = b"GCOL\x01\0\0\0"
MAX_CHUNK_VALUES = 2**31
MAX_UNPACKED_BYTES = 2**30
"""Maximum size of an unpacked mask [bytes]."""
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
"""Allowed Zarr codecs, which run no code; `pickle` is not among them."""
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
"""Errors of h5py, h5netcdf, zarr, xarray and torch on damaged files; only catch them around their calls."""


def check_size(
    source: str, name: str, shape: tuple[int, ...], stored: int | None = None, max_length: int = MAX_LENGTH
) -> None:
    """Refuse an array that is too large for a record or for its stored size.

    Args:
        source, name: File and array, for the message.
        shape: Declared shape.
        stored: Stored size [bytes]; None if unknown.
        max_length: Maximum length of a dimension.
    """
    count = math.prod(shape)
    is_unproven = stored is not None and count > UNPROVEN_VALUES and count > MAX_VALUES_PER_BYTE * stored
    if count > MAX_VALUES or max(shape, default=0) > max_length or is_unproven:
        declared = " × ".join(map(str, shape))
        stored_text = "" if stored is None else f" and stores {stored} bytes of them"
        raise InputError(
            f"{source}: {name} declares {declared} values{stored_text}; that is not a record; write the file again"
        )


def check_hdf5(path: str | Path) -> set[str]:
    """Refuse an HDF5 file with external arrays, arrays of other types than numbers and text, or excessive shapes.

    Returns:
        set of str: Names in the file.
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
    """Return whether a file is NetCDF-3."""
    with Path(path).open("rb") as stream:
        return stream.read(3) == CLASSIC


def check_classic(path: str | Path) -> set[str]:
    """Refuse a NetCDF-3 file with 64-bit data, of more than `MAX_CLASSIC_BYTES`, or with damage.

    scipy reads it in Python: declared values beyond its size are an error, and memory is bounded by its size.

    Returns:
        set of str: Names in the file.
    """
    from scipy.io import netcdf_file  # slow import for rare files

    file = Path(path)
    with file.open("rb") as stream:
        version = stream.read(4)[3:]
    if version not in (b"\1", b"\2") or file.stat().st_size > MAX_CLASSIC_BYTES:
        declared = "NetCDF-3 of more than 2 GB" if version in (b"\1", b"\2") else "NetCDF-3 with 64-bit data"
        raise InputError(f"{path}: is {declared}; make it NetCDF-4: nccopy -k nc4 {file.name} new.nc")
    try:
        with warnings.catch_warnings(action="error"), netcdf_file(file, mmap=False) as opened:
            for name, values in opened.variables.items():
                check_size(str(path), name, tuple(values.shape))
            return set(opened.variables)
    except InputError:
        raise
    except (*READ_ERRORS, Warning) as error:
        raise InputError(f"{path}: not a readable NetCDF-3 file ({first_line(error)}); download it again") from error


def _check_heaps(path: Path) -> None:
    """Refuse a global heap whose object sizes do not add up: libhdf5 hangs on sizes that lead to an endless walk.

    Source: HDF5 File Format Specification 3.0, III.E: a collection has a header of 16 bytes, then objects with headers of
    16 bytes (index, references, reserved, size), whose data are padded to 8; the size of object 0 includes its header.
    """
    with path.open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            offset = content.find(HEAP)
            while offset >= 0:
                if not _heap_ends(content, offset):
                    raise InputError(f"{path}: not a readable NetCDF file (a heap without an end); restore it")
                offset = content.find(HEAP, offset + 1)


def _heap_ends(content: mmap.mmap, offset: int) -> bool:
    end = offset + int.from_bytes(content[offset + 8 : offset + 16], "little")
    offset += 16
    while offset + 16 <= end <= len(content):
        index, size = struct.unpack("<HxxxxxxQ", content[offset : offset + 16])
        length = size if index == 0 else 16 + (size + 7) // 8 * 8
        if length < 16:
            return False
        offset += length
    return offset <= end <= len(content)


def external_reason(file: h5py.File, name: str) -> str | None:
    """Return how an item of an HDF5 file refers to another file, or None; nothing is followed or read."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return "is a link to another place"
    item = file[name]
    virtual = isinstance(item, h5py.Dataset) and (item.is_virtual or item.external)
    return "stores its values in another file" if virtual else None


def _check_h5_item(file: h5py.File, name: str, source: str) -> None:
    reason = external_reason(file, name)
    if reason is not None:
        raise InputError(f"{source}: {name} {reason}; write its values into the file itself")
    item = file[name]
    if not isinstance(item, h5py.Dataset):
        return
    text = h5py.check_string_dtype(item.dtype) is not None
    if item.shape is None or not (item.dtype.kind in "iufbSU" or text):
        raise InputError(f"{source}: {name} holds neither numbers nor text; leave it out, or write it again")
    check_size(source, name, item.shape, item.id.get_storage_size())


def check_zarr(path: str | Path) -> None:
    """Refuse a Zarr group with pipes or devices, unknown codecs, or excessive shapes."""
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
    """Yield files below a folder with their sizes; refuse pipes and devices, which block."""
    for offset, _, names in os.walk(folder):
        for name in names:
            file = Path(offset) / name
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{folder}: {file.relative_to(folder)} is not a regular file; remove it")
            yield str(file), status.st_size


def _check_zarr_json(file: str, metadata: Any, files: dict[str, int], source: str) -> None:
    name = Path(file).parent.name
    if not isinstance(metadata, dict):
        raise InputError(f"{source}: {name}/{Path(file).name} is not a JSON object; write the group again")
    for codec in _codecs([metadata.get(key) for key in ("codecs", "compressor", "filters")]):
        if str(codec).removeprefix("numcodecs.") not in CODECS:
            raise InputError(f"{source}: {name} uses the codec {codec!r}; write it with a common one")
    if Path(file).name == ".zattrs" or "shape" not in metadata:
        return
    shape, chunks = (
        metadata["shape"],
        metadata["chunks"] if "chunks" in metadata else metadata["chunk_grid"]["configuration"]["chunk_shape"],
    )
    if any(type(n) is not int or n < 0 for n in (*shape, *chunks)) or len(shape) != len(chunks):
        raise InputError(f"{source}: {name} declares the shape {shape} in chunks {chunks}; write the group again")
    if math.prod(shape) > UNPROVEN_VALUES or math.prod(chunks) > UNPROVEN_VALUES:
        prefix = f"{Path(file).parent}/"
        stored = sum(size for other, size in files.items() if other.startswith(prefix))
        check_size(source, name, tuple(shape), stored)
        if math.prod(chunks) > MAX_CHUNK_VALUES:
            raise InputError(f"{source}: {name} declares chunks of {chunks} values; write it in smaller ones")


def _codecs(metadata: Any) -> Iterator[Any]:
    """Yield the codecs in Zarr metadata, including those of shards."""
    if isinstance(metadata, list):
        for one in metadata:
            yield from _codecs(one)
    elif isinstance(metadata, dict):
        yield metadata.get("id", metadata.get("name"))
        configuration = metadata.get("configuration")
        inner = configuration if isinstance(configuration, dict) else {}
        yield from _codecs([inner.get("codecs"), inner.get("index_codecs")])
    elif metadata is not None:
        yield metadata


def check_zip(path: str | Path) -> None:
    """Refuse a zip archive (.npz, .pt) with more than `MAX_UNPACKED_BYTES` or a wrong checksum."""
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
