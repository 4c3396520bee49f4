"""Store: a Zarr v3 group with a prepared record, its scaling and its sources."""

from __future__ import annotations

import glob
import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io.atomic import UNWRITABLE, sha256, write_error
from hydromae.io.credits import credit_line
from hydromae.io.names import FLOW, ORIGIN
from hydromae.io.outputs import new_output, reserve_output
from hydromae.io.parse import grid_from_json, sources_from_json
from hydromae.io.safety import READ_ERRORS, check_zarr
from hydromae.io.text_file import read_text
from hydromae.progress import report_progress, track
from hydromae.store.scaling import Scaling
from hydromae.store.validate import check_record, store_errors
from hydromae.variables import ATTRIBUTES, VARIABLES

FORMAT = "hydromae-store-1"
ANSWER_VARIABLE = f"{FLOW}{ORIGIN}"
CHUNK_DAYS = 30
SHARD_DAYS = 900
CODECS = (BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec())
"""Codecs with a checksum of each chunk, to detect damage."""


def write_store(
    dataset: xr.Dataset,
    path: str | Path,
    *,
    scaling: Scaling,
    sources: Sequence[dict[str, Any]],
    grid: GridSpec | None = None,
    training_period: tuple[str, str] | None = None,
) -> str:
    """Write a record as a store, `SHARD_DAYS` days at a time.

    Args:
        dataset: A canonical record (docs/design.md, section 10), lazy or in memory.
        path: The store, which must not exist. It is written beside `path` and renamed, so that a store is always complete.
            The next run removes the files of an interrupted one.
        scaling: Fitted on the training period.
        sources: File, hash and units of each source (`describe_source`).
        grid: Grid of the maps; required with a dimension `cell`.
        training_period (str, str), optional: Training period of `scaling`.

    Returns:
        str: The path.

    Raises:
        InputError: `path` exists.
    """
    with atomic_output(path) as temporary:
        write_blocks(temporary, dataset, iter_blocks(dataset))
        write_metadata(temporary, scaling=scaling, sources=sources, grid=grid, training_period=training_period)
    return str(path)


def iter_blocks(dataset: xr.Dataset) -> Iterator[xr.Dataset]:
    """Yield consecutive, loaded blocks of `SHARD_DAYS` days."""
    for start in range(0, dataset.sizes["time"], SHARD_DAYS):
        yield dataset.isel(time=slice(start, start + SHARD_DAYS)).load()


@contextmanager
def atomic_output(path: str | Path) -> Iterator[str]:
    """Yield a temporary path; rename it to `path` at the end, or remove it after an error.

    Temporary files of an earlier, killed process are removed first.
    """
    system, name = fsspec.url_to_fs(str(path))
    with reserve_output(new_output(Path(path))) if "file" in system.protocol else nullcontext():
        if system.exists(name):
            raise InputError(f"{path}: exists already; remove it or name another path")
        for leftover in system.glob(f"{glob.escape(name)}.partial-*"):
            if re.fullmatch(r"[0-9a-f]+", leftover.rpartition("-")[2]):
                system.rm(leftover, recursive=True)
        temporary = f"{name}.partial-{uuid.uuid4().hex[:8]}"
        try:
            yield temporary if "file" in system.protocol else system.unstrip_protocol(temporary)
            Path(temporary).rename(name) if "file" in system.protocol else system.mv(temporary, name, recursive=True)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            raise write_error(path, error) from error
        finally:
            if system.exists(temporary):
                system.rm(temporary, recursive=True)


def write_blocks(temporary: str, template: xr.Dataset, blocks: Iterable[xr.Dataset]) -> None:
    """Write the structure of `template`, then each block of consecutive days.

    Blocks have `SHARD_DAYS` days (the last may be shorter), so that each shard is written once.
    """
    time_variables = [name for name in template.data_vars if "time" in template[name].dims]
    static = template.drop_vars(time_variables).drop_encoding().compute()
    # Zarr v3 specifies strings of variable length only
    text = {name: static[name].astype(object) for name in static.variables if static[name].dtype.kind == "U"}
    lazy_template = static.assign_coords(text).assign(
        {name: _empty_variable(template[name]) for name in time_variables}
    )
    encoding: dict[Any, dict[str, Any]] = {name: {"compressors": CODECS} for name in static.variables}
    encoding |= {name: _encoding(template[name]) for name in time_variables}
    encoding["time"] = {"units": "days since 1900-01-01", "dtype": "int32", "compressors": CODECS}
    lazy_template.to_zarr(
        temporary, mode="w", zarr_format=3, consolidated=False, encoding=encoding, compute=False, align_chunks=False
    )
    start = 0
    for block in blocks:
        days = slice(start, start + block.sizes["time"])
        start = days.stop
        values = block[time_variables].reset_coords(drop=True).drop_encoding()
        values = values.drop_vars(list(values.coords))
        values.to_zarr(temporary, region={"time": days}, consolidated=False, zarr_format=3)
        report_progress("days written", start, template.sizes["time"])
    if start != template.sizes["time"]:
        raise ValueError(f"{start} of {template.sizes['time']} days came in blocks")


def _empty_variable(values: xr.DataArray) -> xr.DataArray:
    import dask.array as da  # an array without memory

    empty = da.empty(values.shape, dtype=np.float32, chunks=(SHARD_DAYS, *values.shape[1:]))
    return xr.DataArray(empty, dims=values.dims, attrs=values.attrs)


def _encoding(values: xr.DataArray) -> dict[str, Any]:
    days, *sites = values.shape
    chunk = min(CHUNK_DAYS, days)
    shard = chunk * max(1, min(SHARD_DAYS // CHUNK_DAYS, -(-days // chunk)))
    chunks, shards = (chunk, *sites), (shard, *sites)
    return {
        "chunks": chunks,
        "shards": shards,
        "compressors": CODECS,
        "dtype": "float32",
        "_FillValue": np.nan,
    }


def write_metadata(
    temporary: str,
    *,
    scaling: Scaling,
    sources: Sequence[dict[str, Any]],
    grid: GridSpec | None,
    training_period: tuple[str, str] | None,
) -> None:
    """Write the metadata of a store last: format, scaling, sources, grid, training period."""
    attrs: dict[str, Any] = {
        "Conventions": "CF-1.11",
        "scaling": scaling.to_json(),
        "sources": json.dumps(list(sources)),
        "hydromae_format": FORMAT,
    }
    credits = dict.fromkeys(str(source["credit"]) for source in sources if "credit" in source)
    attrs |= {"source": "; ".join(credits)} if len(credits) > 1 else {}
    if grid is not None:
        attrs["grid"] = json.dumps(asdict(grid))
    if training_period is not None:
        attrs["training_period"] = "/".join(training_period)
    zarr.open_group(temporary, mode="r+").update_attributes(attrs)


def is_store(path: str | Path) -> bool:
    """Return whether a path or URL is a store; an answer is not, even with the metadata of a store."""
    system, name = fsspec.url_to_fs(str(path))
    try:
        is_local = "file" in system.protocol
        text = read_text(Path(name, "zarr.json")) if is_local else system.cat_file(f"{name}/zarr.json")
        store_format = json.loads(text)["attributes"]["hydromae_format"]
    except READ_ERRORS:
        return False
    return store_format == FORMAT and not _is_answer(path)


def _is_answer(path: str | Path) -> bool:
    """Return whether a group is an answer of `predict`."""
    system, name = fsspec.url_to_fs(str(path))
    return system.exists(f"{name}/{ANSWER_VARIABLE}/zarr.json") or system.exists(f"{name}/{ANSWER_VARIABLE}/.zarray")


def open_store(path: str | Path) -> xr.Dataset:
    """Open the record of a store lazily.

    Raises:
        InputError: The path does not exist or is not a store.
    """
    system, name = fsspec.url_to_fs(str(path))
    if not system.exists(name):
        raise InputError(f"{path}: no such store; make one with hydromae prepare")
    if _is_answer(path):
        raise InputError(
            f"{path}: is an answer (it has {ANSWER_VARIABLE}), not a store; hydromae prepare makes a store of observations"
        )
    if not is_store(path):
        raise InputError(f"{path}: not a hydromae store (no {FORMAT} stamp); make one with hydromae prepare")
    check_zarr(path)
    with store_errors(path):
        stored = xr.open_zarr(str(path), consolidated=False, zarr_format=3, chunks=None)
        for values in stored.variables.values():
            if values.ndim < 2:
                values.load()
    check_record(stored, str(path))
    text = {name: stored[name].astype(object).astype(str) for name in stored.coords if stored[name].dtype.kind in "OT"}
    order = [name for name in (*VARIABLES, *(a.name for a in ATTRIBUTES)) if name in stored.data_vars]
    ordered = {name: stored[name] for name in (*order, *(n for n in stored.data_vars if n not in order))}
    return stored.drop_vars(list(ordered)).assign(ordered).assign_coords(text)


def read_blocks(values: xr.DataArray, path: str | Path) -> Iterator[np.ndarray]:
    """Yield the values of a variable of a store, `SHARD_DAYS` days at a time.

    Raises:
        InputError: A chunk has a wrong checksum or cannot be decompressed.
    """
    starts = range(0, values.sizes["time"], SHARD_DAYS)
    for start in track(starts, f"blocks of {values.name}", len(starts)):
        with store_errors(path):
            block = values.isel(time=slice(start, start + SHARD_DAYS)).values
        yield block


def check_store(path: str | Path) -> None:
    """Read all values of a store to detect damage.

    Raises:
        InputError: As `open_store` and `read_blocks`.
    """
    stored = open_store(path)
    for name in (n for n in stored.data_vars if stored[n].ndim == 2):
        for _ in read_blocks(stored[name], path):
            pass


def load_store(path: str | Path) -> xr.Dataset:
    """Read a store into memory.

    Raises:
        InputError: As `open_store` and `read_blocks`.
    """
    stored = open_store(path)
    with store_errors(path):
        for values in track(stored.variables.values(), "variables read", len(stored.variables)):
            values.load()
    return stored


def _attribute(dataset: xr.Dataset, name: str) -> str:
    if name not in dataset.attrs:
        raise InputError(f"the record has no attribute {name}; open it from a store made with hydromae prepare")
    return str(dataset.attrs[name])


def scaling_of(dataset: xr.Dataset) -> Scaling:
    """Return the scaling of a store."""
    return Scaling.from_json(_attribute(dataset, "scaling"))


def grid_of(dataset: xr.Dataset) -> GridSpec:
    """Return the grid of the maps of a store."""
    return grid_from_json(_attribute(dataset, "grid"), "the store's grid")


def sources_of(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Return file, hash and units of each source of a store."""
    return sources_from_json(_attribute(dataset, "sources"), "the store")


def describe_source(path: str | Path, record: xr.Dataset | None = None, credit: str = "") -> dict[str, Any]:
    """Return name and SHA-256 of a file or a Zarr folder, with units and credit of its record."""
    source_path = Path(path)
    if source_path.is_dir():
        files = sorted(p for p in source_path.rglob("*") if p.is_file())
        progress_files = track(files, f"sums of the files of {source_path.name}", len(files))
        digest = hashlib.sha256(
            "".join(f"{p.relative_to(source_path)} {sha256(p)}\n" for p in progress_files).encode()
        ).hexdigest()
    else:
        digest = sha256(source_path)
    variables = [] if record is None else [str(name) for name in record.data_vars if name in VARIABLES]
    source = {"file": source_path.name, "sha256": digest, "units": {n: VARIABLES[n].units for n in variables}}
    credit = credit or ("" if record is None else credit_line(record.attrs))
    return source | ({"credit": credit} if credit else {})
