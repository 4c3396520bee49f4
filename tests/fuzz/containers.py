"""Changes to the insides of HDF5 files and Zarr folders that no library would write: lies, bombs, links, pickles."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

ONE = ("riverflow", "precipitation", "temperature", "time", "catchment", "latitude", "rainfall", "catchment-area")


def h5_surgery(file: Path, rng: Random) -> str:
    """Change a NetCDF file from inside; what was done is returned."""
    change = rng.choice(H5)
    with h5py.File(file, "r+") as held:
        present = [name for name in ONE if name in held]
        change(held, rng.choice(present), rng)
    return f"h5: {change.__name__}"


def bomb(held: h5py.File, name: str, rng: Random) -> None:
    """10^12 values declared, none stored."""
    attrs = dict(held[name].attrs)
    rank = held[name].ndim
    del held[name]
    shape = (10**12,) if rank == 1 else (10**6, 10**6, 10)[:rank]
    made = held.create_dataset(name, shape, "f4", chunks=(10,) * rank, fillvalue=1.0)
    made.attrs["units"] = attrs.get("units", "mm")


def all_bombs(held: h5py.File, name: str, rng: Random) -> None:
    """Every dimension is long."""
    for key in list(held):
        if isinstance(held[key], h5py.Dataset):
            rank, units = held[key].ndim, held[key].attrs.get("units", "1")
            del held[key]
            made = held.create_dataset(key, (10**9,) * rank, "f4", chunks=(64,) * rank, fillvalue=1.0)
            made.attrs["units"] = units
    for scale in ("time", "catchment"):
        if scale in held:
            held[scale].make_scale(scale)


def external_link(held: h5py.File, name: str, rng: Random) -> None:
    del held[name]
    held[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "absent.h5", held.filename)), f"/{name}")


def soft_link(held: h5py.File, name: str, rng: Random) -> None:
    del held[name]
    held[name] = h5py.SoftLink(rng.choice((f"/{name}", "/nowhere", "/riverflow")))


def external_storage(held: h5py.File, name: str, rng: Random) -> None:
    shape = held[name].shape
    del held[name]
    where = rng.choice(("/etc/passwd", "/dev/zero", "absent.bin"))
    held.create_dataset(name, shape, "f4", external=[(where, 0, h5py.h5f.UNLIMITED)])


def virtual(held: h5py.File, name: str, rng: Random) -> None:
    shape = held[name].shape
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource("absent.h5", "x", shape)
    del held[name]
    held.create_virtual_dataset(name, layout, fillvalue=5.0)


def a_group(held: h5py.File, name: str, rng: Random) -> None:
    del held[name]
    held.create_group(name).create_group("deeper")


def many_groups(held: h5py.File, name: str, rng: Random) -> None:
    held.create_group("/".join("g" * 500))


def opaque(held: h5py.File, name: str, rng: Random) -> None:
    shape = held[name].shape
    del held[name]
    values = np.zeros(shape, "V16")
    held.create_dataset(name, data=values)


def compound(held: h5py.File, name: str, rng: Random) -> None:
    shape = held[name].shape
    del held[name]
    held.create_dataset(name, data=np.zeros(shape, [("a", "f4"), ("b", "i4")]))


def ragged(held: h5py.File, name: str, rng: Random) -> None:
    shape = held[name].shape
    del held[name]
    held.create_dataset(name, shape, h5py.vlen_dtype(np.float32))


def enumerated(held: h5py.File, name: str, rng: Random) -> None:
    shape = held[name].shape
    del held[name]
    held.create_dataset(name, shape, h5py.enum_dtype({"a": 0, "b": 1}))


def references(held: h5py.File, name: str, rng: Random) -> None:
    shape = held[name].shape
    del held[name]
    held.create_dataset(name, shape, h5py.ref_dtype)


def a_scalar(held: h5py.File, name: str, rng: Random) -> None:
    del held[name]
    held[name] = rng.choice((3.0, "text", np.float32(1)))


def no_space(held: h5py.File, name: str, rng: Random) -> None:
    del held[name]
    held[name] = h5py.Empty("f4")


def strange_attributes(held: h5py.File, name: str, rng: Random) -> None:
    key = rng.choice(
        ("units", "_FillValue", "scale_factor", "add_offset", "coordinates", "calendar", "dtype", "grid_mapping")
    )
    value: Any = rng.choice(
        (
            b"\xff\xfe",
            np.array([1.0, 2.0]),
            np.void(b"\x80\x04N."),
            "os.system",
            np.nan,
            "",
            3,
            "riverflow time catchment",
            h5py.Empty("f4"),
            np.array([], "f4"),
            np.array(["a", "b"], h5py.string_dtype()),
        )
    )
    held[name].attrs[key] = value


def no_scales(held: h5py.File, name: str, rng: Random) -> None:
    for key in list(held):
        for attribute in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "_Netcdf4Dimid"):
            if isinstance(held[key], h5py.Dataset) and attribute in held[key].attrs:
                del held[key].attrs[attribute]


def gone(held: h5py.File, name: str, rng: Random) -> None:
    del held[name]


H5: tuple[Callable[[h5py.File, str, Random], None], ...] = (
    bomb,
    bomb,
    all_bombs,
    external_link,
    soft_link,
    external_storage,
    virtual,
    a_group,
    many_groups,
    opaque,
    compound,
    ragged,
    enumerated,
    references,
    a_scalar,
    no_space,
    strange_attributes,
    strange_attributes,
    strange_attributes,
    no_scales,
    gone,
)

WRONG: tuple[Any, ...] = (
    None,
    0,
    -1,
    1,
    2**40,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../etc",
    [],
    {},
    [[]],
    True,
    [10**12],
    [10**6, 10**6],
    [-1, 3],
    [0, 0],
    "|O",
    "<M8[ns]",
    "<U4",
    "bool",
    "complex64",
    "float64",
    "int32",
    {"name": "pickle"},
    {"id": "pickle"},
    {"name": "zstd", "configuration": {"level": 99}},
    {"name": "numcodecs.pickle", "configuration": {}},
    [{"id": "pickle"}],
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a JSON tree."""
    inner = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    return [(*path, key) for key, _ in inner] + [p for key, value in inner for p in places(value, (*path, key))]


def json_surgery(tree: Any, rng: Random, wrong: tuple[Any, ...] = WRONG) -> str:
    """Change one value of a JSON tree in place, or take it away; what was done is returned."""
    path = rng.choice(places(tree))
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    what = ".".join(map(str, path))
    if isinstance(parent, dict) and rng.random() < 0.15:
        del parent[path[-1]]
        return f"json: {what} is gone"
    if isinstance(parent, dict) and rng.random() < 0.1:
        parent[f"{path[-1]}_"] = parent.pop(path[-1])
        return f"json: {what} is renamed"
    parent[path[-1]] = rng.choice(wrong)
    return f"json: {what} = {str(parent[path[-1]])[:40]}"


def zarr_surgery(folder: Path, rng: Random) -> str:
    """Change the metadata of a Zarr folder, or a file of it; what was done is returned."""
    metadata = sorted(p for p in folder.rglob("*") if p.name in ("zarr.json", ".zarray", ".zattrs", ".zgroup"))
    file = rng.choice(metadata)
    tree = json.loads(file.read_text())
    said = json_surgery(tree, rng) if tree else "json: as it was"
    file.write_text(json.dumps(tree))
    return f"{said} in {file.relative_to(folder)}"


def zarr_special(folder: Path, rng: Random) -> str:
    """A pipe or an endless device among the chunks."""
    chunks = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".json" and p.name[:2] != ".z")
    file = rng.choice(chunks)
    file.unlink()
    if rng.random() < 0.5:
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    return f"special: {file.relative_to(folder)}"


def files_of(folder: Path) -> list[Path]:
    """The regular files below a folder, in order."""
    return sorted(p for p in folder.rglob("*") if p.is_file())
