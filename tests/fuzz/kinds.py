"""Every kind of input that the product reads, broken: a maker for each gives the trial of one broken copy."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import arrays
import containers
import numpy as np
import oracle
import tables
import torch
import xarray as xr
from bases import CONFIG, KEPT, PERIOD, Bases, python_config, record
from damage import damage, displace
from safetensors.torch import load_file, save_file
from trial import Trial

from hydromae.virtual.downloads import LAYOUTS

SERIES = KEPT[:4]
Maker = Callable[[Bases, Path, Random], Trial]


def asked(bases: Bases, file: Path, folder: Path, rng: Random, said: str, reader: Any, valid: bool = False) -> Trial:
    """A record to prepare, to predict or to forecast from, with a check against its plain reading."""
    original = oracle.of_dataset(bases.record)

    def told() -> oracle.Plain:
        return original if valid else reader(file)

    command = rng.choice(
        ("prepare", "predict", "predict", "forecast") if rng.random() < 0.5 else ("prepare", "predict")
    )
    if command == "prepare":
        out = folder / "out.zarr"

        def check() -> str | None:
            return oracle.difference(told(), oracle.of_zarr(out))

        return Trial(["prepare", str(file), str(out), *PERIOD, "--json"], said, _names(file), (out,), check, valid)
    out = folder / ("out.nc" if command == "forecast" else rng.choice(("out.nc", "out.nc", "out.csv", "out.zarr")))

    def check_answer() -> str | None:
        if command == "forecast":
            with xr.open_dataset(out, engine="h5netcdf") as answer:
                return oracle.answered(answer, ("riverflow",))
        if out.suffix == ".nc":
            with xr.open_dataset(out, engine="h5netcdf") as answer:
                if fault := oracle.answered(answer, SERIES):
                    return fault
        areas = zip(map(str, bases.record["catchment"].values), bases.record["catchment-area"].values, strict=True)
        return oracle.kept(told(), oracle.of_answer(out, dict(areas)))

    more = ("--days", "2") if command == "forecast" else ()
    arguments = [command, str(file), "--model", str(bases.model), "--out", str(out), "--device", "cpu", "--json", *more]
    return Trial(arguments, said, _names(file), (out,), check_answer, valid and command != "forecast")


def _names(file: Path) -> tuple[str, ...]:
    return (
        file.name,
        "training period",
        "have no position",
        "riverflow: no observed day",
        "no observed riverflow",
    )


def netcdf(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A record as NetCDF."""
    file = folder / "record.nc"
    way, data, valid, said = rng.random(), bases.record, False, ""
    if way < 0.5:
        change = rng.choice(arrays.HARMLESS if way < 0.15 else arrays.READ_ERRORS)
        said, valid = f"array: {change.__name__}", way < 0.15
        _write(change(data.copy(), rng), file)
    else:
        file.write_bytes(bases.netcdf("record"))
    if 0.5 <= way < 0.75:
        said = damage(file, rng)
    elif 0.75 <= way < 0.93:
        said = containers.h5_surgery(file, rng)
    elif way >= 0.93:
        said = displace(file, rng)
    return asked(bases, file, folder, rng, said, oracle.of_netcdf, valid)


def _write(data: xr.Dataset, file: Path) -> None:
    """As NetCDF; a type that it cannot hold becomes text."""
    odd = {n: data[n].astype("U") for n in data.variables if data[n].dtype.kind in "cb"}
    data.assign(odd).to_netcdf(file, engine="h5netcdf")


def camels(bases: Bases, folder: Path, rng: Random) -> Trial:
    """The arrangement of CAMELS-GB, prepared with the NRFA table."""
    file, table, out = folder / "camels_gb_daily.nc", folder / "attributes.csv", folder / "out.zarr"
    bases.attributes.to_csv(table, index=False)
    said, way = "", rng.random()
    if way < 0.5:
        changes = [c for c in (*arrays.READ_ERRORS, arrays.transposed, arrays.doubles) if "attribute" not in c.__name__]
        change = rng.choice(changes)
        said = f"array: {change.__name__}"
        _write(change(bases.camels.copy(), rng), file)
    else:
        file.write_bytes(bases.netcdf("camels"))
    if 0.5 <= way < 0.75:
        said = damage(file, rng)
    elif way >= 0.75:
        said = containers.h5_surgery(file, rng)

    def check() -> str | None:
        derived = ("potential_evaporation",)
        return oracle.difference(oracle.of_netcdf(file), oracle.of_zarr(out), derived)

    arguments = ["prepare", str(file), str(out), "--attributes", str(table), *PERIOD, "--json"]
    return Trial(arguments, said, (file.name, table.name, "training period"), (out,), check)


def rows_of(bases: Bases) -> tables.Rows:
    """The record as rows of plain Python."""
    frame = bases.frame.assign(date=bases.frame["date"].dt.strftime("%Y-%m-%d"))
    return frame.to_dict("records")


def csv_table(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A record as CSV, compressed or not."""
    file = folder / rng.choice(("record.csv", "record.csv", "record.csv.gz"))
    way, rows, valid, said = rng.random(), rows_of(bases), False, ""
    if way < 0.55:
        change = rng.choice(tables.HARMLESS if way < 0.12 else tables.READ_ERRORS)
        rows, said, valid = change(rows, rng), f"table: {change.__name__}", way < 0.12
    tables.write_csv(rows, file)
    if 0.55 <= way < 0.72 and file.suffix == ".csv":
        said = tables.csv_form(file, rng)
    elif 0.55 <= way < 0.95:
        said = damage(file, rng)
    elif way >= 0.95:
        said = displace(file, rng)
    return asked(bases, file, folder, rng, said, oracle.of_csv, valid)


def parquet(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A record as parquet."""
    file = folder / "record.parquet"
    way, said, valid = rng.random(), "", False
    if way < 0.4:
        change = rng.choice(tables.HARMLESS if way < 0.1 else (tables.twice, tables.fewer, tables.without_column))
        rows, said, valid = change(rows_of(bases), rng), f"table: {change.__name__}", way < 0.1
        tables.pd.DataFrame(rows).to_parquet(file, index=False)
    elif way < 0.65:
        said = tables.write_parquet(bases.frame, file, rng)
    else:
        bases.frame.to_parquet(file, index=False)
        said = damage(file, rng) if way < 0.95 else displace(file, rng)
    return asked(bases, file, folder, rng, said, oracle.of_parquet, valid)


def attributes(bases: Bases, folder: Path, rng: Random) -> Trial:
    """The NRFA table, beside a sound record."""
    file, record, out = folder / "nrfa.csv", folder / "record.csv", folder / "out.zarr"
    bases.frame[["date", "catchment", "riverflow", "precipitation"]].to_csv(record, index=False)
    rows: tables.Rows = bases.attributes.to_dict("records")
    way, said = rng.random(), ""
    if way < 0.55:
        name = rng.choice(list(rows[0]))
        rows[rng.randrange(3)][name] = rng.choice((*tables.CELLS, 520, -1, 0, 1e12))
        said = f"attribute: {name}"
    tables.write_csv(rows, file)
    if 0.55 <= way < 0.7:
        said = tables.csv_form(file, rng)
    elif 0.7 <= way < 0.95:
        said = damage(file, rng)
    elif way >= 0.95:
        said = displace(file, rng)

    def check() -> str | None:
        if fault := oracle.difference(oracle.of_csv(record), oracle.of_zarr(out)):
            return fault
        store = xr.open_zarr(out, consolidated=False, chunks=None)
        told = {
            oracle._site(row["id"]): {str(n).casefold(): held for n, held in row.items()} for row in oracle._rows(file)
        }
        for name in bases.attributes.columns[2:]:
            for site, held in zip(store["catchment"].values, store[name].values, strict=True):
                value = oracle._number(told[str(site)].get(name)) if str(site) in told else None
                if not (np.isnan(held) if value is None else np.isclose(held, value)):
                    return f"{name} of {site} was {value} and is {held}"
        return None

    arguments = ["prepare", str(record), str(out), "--attributes", str(file), *PERIOD, "--json"]
    return Trial(arguments, said, (file.name, record.name), (out,), check)


def zarr_record(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A record as Zarr, version 2 or 3."""
    file = folder / "record.zarr"
    way, data, said, valid = rng.random(), bases.record, "", False
    if way < 0.4:
        change = rng.choice(arrays.HARMLESS if way < 0.1 else arrays.READ_ERRORS)
        data, said, valid = change(data.copy(), rng), f"array: {change.__name__}", way < 0.1
    data.to_zarr(file, zarr_format=rng.choice((2, 3)), consolidated=False)
    if way >= 0.4:
        said = _zarr_damage(file, way, rng)
    return asked(bases, file, folder, rng, said, oracle.of_zarr, valid)


def _zarr_damage(folder: Path, way: float, rng: Random) -> str:
    if way < 0.65:
        return containers.zarr_surgery(folder, rng)
    if way < 0.9:
        return damage(rng.choice(containers.files_of(folder)), rng)
    if way < 0.93:
        return containers.zarr_special(folder, rng)
    return displace(rng.choice(containers.files_of(folder)), rng)


def store(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A store, to inspect, to predict from or to evaluate on."""
    file = folder / "store.zarr"
    shutil.copytree(bases.store, file)
    said = _zarr_damage(file, rng.uniform(0.4, 1.0), rng)
    kind = rng.choice(("inspect", "inspect", "predict", "predict", "pretrain"))
    if kind == "inspect":
        return Trial(["inspect", str(file), "--json"], said, _names(file))
    if kind == "pretrain":
        out = folder / "run"
        arguments = bases.pretrain(out, "--stop-after", "1")
        return Trial([str(file) if a == str(bases.store) else a for a in arguments], said, _names(file))
    trial = asked(bases, file, folder, Random(1), said, oracle.of_zarr)
    original = oracle.of_zarr(bases.store)
    return _same_or_said(trial, original, oracle.of_zarr, file)


def _same_or_said(trial: Trial, original: oracle.Plain, reader: Any, file: Path) -> Trial:
    """What a store holds is checked by its own sums: damage may be found, never taken for values."""

    def check() -> str | None:
        told = reader(file)
        if "json" not in trial.said and (fault := oracle.difference(told, original)):
            return f"damage was taken for values: {fault}"
        return trial.check()

    return Trial(trial.arguments, trial.said, trial.names, trial.outputs, check)


def land_mask(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A land mask, .npz or .pt, of a national record."""
    place = folder / "raw"
    place.mkdir()
    (place / "camels_gb_daily.nc").write_bytes(bases.netcdf("camels"))
    bases.attributes.to_csv(place / "attributes.csv", index=False)
    out = folder / "out.zarr"
    if rng.random() < 0.5:
        file = place / "land_percent.npz"
        said = _npz(file, rng)
    else:
        file = place / "land_mask.pt"
        said = _pt(file, rng)
    way, valid = rng.random(), False
    if said == "" and way < 0.15:
        valid, said = True, "as it was"
    elif said == "":
        said = damage(file, rng) if way < 0.8 else displace(file, rng)
    arguments = ["prepare", str(place), str(out), "--shape", "national", *PERIOD, "--json"]

    def check() -> str | None:
        cells = xr.open_zarr(out, consolidated=False, chunks=None)["cell"].values
        changed = "bytes" in said and len(cells) != (12 if file.suffix == ".npz" else 120)
        return f"damage was taken for a mask: {len(cells)} cells" if changed else None

    return Trial(arguments, said, (file.name, place.name), (out,), check, valid)


def _npz(file: Path, rng: Random) -> str:
    percent = np.full((4, 3), 100, np.uint8)
    east, north = 290000.0 + 20000 * np.arange(3), 190000.0 + 20000 * np.arange(4)
    held: dict[str, Any] = {"land_percent": percent, "easting": east, "northing": north}
    way = rng.random()
    if way < 0.5:
        name = rng.choice(sorted(held))
        wrong: tuple[Any, ...] = (
            np.zeros(0),
            np.full((4, 3), np.nan),
            np.array("text"),
            np.array(["a", "b"]),
            np.full(3, np.nan),
            np.full(4, np.inf),
            np.ones((4, 3), complex),
            np.array([1, 2, 3], "datetime64[D]"),
            np.zeros((4, 3)),
            np.full((4, 3), 250.0),
            np.full((4, 3), -3.0),
            np.full(3, 5.0),
            np.arange(3)[::-1] * 1e3,
            np.zeros((4, 3), [("a", "f4")]),
            np.array(3.0),
            np.array([1.0]),
            np.ones((4, 3), bool),
        )
        held[name] = rng.choice(wrong)
        np.savez(file, **held)
        return f"npz: {name} is {held[name].dtype}{held[name].shape}"
    if way < 0.6:
        del held[rng.choice(sorted(held))]
        np.savez(file, **held)
        return "npz: an array is gone"
    if way < 0.75:
        return _npz_lie(file, rng)
    np.savez_compressed(file, **held)
    return ""


def _npz_lie(file: Path, rng: Random) -> str:
    """Headers that declare 10^12 values, or 300 MB of zeros in 300 kB."""
    shape = rng.choice(((10**12,), (10**6, 10**6), (-1,), (2**63,)))
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape!r}, }}".encode().ljust(117) + b"\n"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        if rng.random() < 0.6:
            for name in ("land_percent", "easting", "northing"):
                archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
            return f"npz: declares {shape}"
        with archive.open("land_percent.npy", "w") as stream:
            for _ in range(300):
                stream.write(bytes(1_000_000))
    return "npz: bomb"


def _pt(file: Path, rng: Random) -> str:
    wrong: tuple[Any, ...] = (
        torch.ones(4, 3, dtype=torch.bool),
        torch.ones(29, 18),
        torch.ones(1, dtype=torch.bool).expand(10**6, 10**6),
        torch.ones(52200, dtype=torch.bool),
        [1, 2],
        {"a": torch.ones(2)},
        "text",
        None,
        torch.ones(290, 180, dtype=torch.bool).to_sparse(),
        torch.zeros(290, 180, dtype=torch.bool),
    )
    if rng.random() < 0.4:
        made = rng.choice(wrong)
        torch.save(made, file)
        return f"pt: {type(made).__name__!s}"
    land = torch.zeros(290, 180, dtype=torch.bool)
    land[78:90, 98:108] = True
    torch.save(land, file)
    return ""


def haduk(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A map of HadUK-Grid, as the normal of a national record: read, or refused."""
    place = folder / "raw"
    place.mkdir()
    (place / "camels_gb_daily.nc").write_bytes(bases.netcdf("camels"))
    bases.attributes.to_csv(place / "attributes.csv", index=False)
    percent = np.full((4, 3), 100, np.uint8)
    axes = {"easting": 290000.0 + 20000 * np.arange(3), "northing": 190000.0 + 20000 * np.arange(4)}
    np.savez(place / "land_percent.npz", land_percent=percent, **axes)
    file, out = place / "rainfall_hadukgrid_uk_mon_2021.nc", folder / "out.zarr"
    data, said, way = bases.haduk.copy(), "", rng.random()
    if rng.random() < 0.5:  # the record's own maps, of days that it has
        data = data.assign_coords(time=data["time"].values - np.timedelta64(20 * 365 + 5, "D"))
    else:
        data = data.assign_attrs(frequency="mon")
    valid = way < 0.1
    if 0.1 <= way < 0.45:
        data, said = _other_map(data, rng)
    data.to_netcdf(file, engine="h5netcdf")
    if 0.45 <= way < 0.75:
        said = damage(file, rng)
    elif way >= 0.75:
        said = containers.h5_surgery(file, rng)
    arguments = ["prepare", str(place), str(out), "--shape", "national", *PERIOD, "--json"]
    if not valid and rng.random() < 0.6:  # as a record of its own: read, then told that it holds no catchments
        arguments = ["prepare", str(file), str(out), *PERIOD, "--json"]
    return Trial(arguments, said, (file.name, place.name, "training period"), (out,), valid=valid)


def _other_map(data: xr.Dataset, rng: Random) -> tuple[xr.Dataset, str]:
    north = "projection_y_coordinate"
    values = data["rainfall"]
    changes: dict[str, Callable[[], xr.Dataset]] = {
        "negative": lambda: data.assign(rainfall=values * -1),
        "no units": lambda: data.assign(rainfall=values.drop_attrs()),
        "no day": lambda: data.isel(time=slice(0, 0)),
        "no row": lambda: data.isel({north: slice(0, 0)}),
        "one row": lambda: data.isel({north: slice(0, 1)}),
        "all fill": lambda: data.assign(rainfall=(values * 0 + 1e20).assign_attrs(values.attrs)),
        "text": lambda: data.assign(rainfall=values.astype("U8").assign_attrs(values.attrs)),
        "integers": lambda: data.assign(rainfall=values.astype(np.int64).assign_attrs(values.attrs)),
        "axis not there": lambda: data.drop_vars(north),
        "axis of text": lambda: data.assign_coords({north: ["a", "b", "c", "d"]}),
        "axis NaN": lambda: data.assign_coords({north: [np.nan] * 4}),
        "axis downward": lambda: data.isel({north: slice(None, None, -1)}),
        "days twice": lambda: data.assign_coords(time=data["time"].values[[0, 0, 1]]),
        "no time": lambda: data.drop_vars("time"),
        "frequency 3": lambda: data.assign_attrs(frequency=3),
        "transposed": lambda: data.transpose(),
        "days as text": lambda: data.assign_coords(time=["a", "b", "c"]),
    }
    name = rng.choice(sorted(changes))
    return changes[name](), f"map: {name}"


NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    1,
    0.5,
    1.5,
    -0.5,
    10**6,
    10**12,
    2**63,
    10**400,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "x",
    "3",
    "",
    None,
    [],
    {},
    True,
    False,
    [0, 0],
    [-1, 5],
    [5, 2],
    ["9999-01-01", "2001-01-01"],
    ["riverflow"],
    ["2001-01-01", "x"],
    ["", ""],
    [10**9, 10**9],
)


def config_file(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A configuration in Python, to train with."""
    tree, file = json.loads(CONFIG.to_json()), folder / "mine.py"
    said = containers.json_surgery(tree, rng, NUMBERS)
    for _ in range(rng.choice((0, 0, 1))):
        said += "; " + containers.json_surgery(tree, rng, NUMBERS) if isinstance(tree, dict) and tree else ""
    way = rng.random()
    file.write_text(python_config(tree).replace(": nan", ": float('nan')").replace("inf", "float('inf')"))
    if way < 0.3:
        said = _direct(file, rng)
    elif way < 0.45:
        file.write_bytes(bases.config.read_bytes())
        said = damage(file, rng)
    elif way < 0.5:
        said = displace(file, rng)
    out = folder / "run"
    names = (file.name, "config:", "data.", "model.", "train.", "period", "optimizer.", "masks.")
    return Trial(bases.pretrain(out, "--stop-after", "1", config=file), said, names, (), lambda: _finite(out))


def _direct(file: Path, rng: Random) -> str:
    """Fields set in Python, past every check of types."""
    section = rng.choice(("data", "model", "masks", "optimizer", "train"))
    fields = json.loads(CONFIG.to_json())[section]
    name, value = rng.choice(sorted(fields)), rng.choice(NUMBERS)
    told = repr(value).replace("nan", "float('nan')").replace("inf", "float('inf')")
    made = f"CONFIG.having({section}={{{name!r}: {told}}})"
    base = json.dumps(CONFIG.to_json())
    file.write_text(f"from hydromae.config import Config\nCONFIG = Config.from_json({base})\nconfig = {made}\n")
    return f"python: {section}.{name} = {str(value)[:40]}"


def _finite(run: Path) -> str | None:
    for file in run.glob("*/model.safetensors"):
        wrong = [name for name, value in load_file(file).items() if not torch.isfinite(value).all()]
        if wrong:
            return f"{file.parent.name}: weight {wrong[0]} is not finite"
    return None


def model_folder(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A model folder, to predict with: refused, or the same answer as from the sound one."""
    file, out = folder / "model", folder / "out.nc"
    shutil.copytree(bases.model, file)
    part = file / rng.choice(("model.safetensors", "model.safetensors", "config.json", "scaling.json"))
    way, free = rng.random(), False
    if way < 0.4:
        said = damage(part, rng)
    elif way < 0.5:
        said = displace(part, rng)
    elif way < 0.6 or part.suffix == ".safetensors":
        part = file / "model.safetensors"
        said = _safetensors(part, rng)
    else:
        said = _loose_json(file, part, rng)
        free = True
    question = bases.folder / "question.nc"
    if not question.exists():
        bases.record.to_netcdf(question, engine="h5netcdf")
    original = answer_of(bases, question)

    def check() -> str | None:
        with xr.open_dataset(out, engine="h5netcdf") as answer:
            scaling = (file / "scaling.json").read_text()  # a variable without scaling was not in training
            if fault := oracle.answered(answer, tuple(name for name in SERIES if f'"{name}"' in scaling)):
                return fault
            if not free and not answer["riverflow"].equals(original):
                return "another answer than the sound model's"
        return oracle.kept(oracle.of_dataset(bases.record), oracle.of_netcdf(out))

    arguments = ["predict", str(question), "--model", str(file), "--out", str(out), "--device", "cpu", "--json"]
    return Trial(arguments, said, (file.name,), (out,), check)


ANSWERS: dict[Path, xr.DataArray] = {}


def answer_of(bases: Bases, question: Path) -> xr.DataArray:
    """The answer of the sound model."""
    from hydromae.cli import main

    out = bases.folder / "sound.nc"
    if out not in ANSWERS:
        command = [
            "predict",
            str(question),
            "--model",
            str(bases.model),
            "--out",
            str(out),
            "--device",
            "cpu",
            "--json",
        ]
        assert main(command) == 0
        ANSWERS[out] = xr.load_dataset(out, engine="h5netcdf")["riverflow"]
    return ANSWERS[out]


def _loose_json(folder: Path, part: Path, rng: Random) -> str:
    """Another JSON under weights that no sum protects, as older versions wrote them."""
    (folder / "checksums.json").unlink()
    tree = json.loads(part.read_text())
    said = containers.json_surgery(tree, rng, NUMBERS)
    part.write_text(json.dumps(tree))
    return f"unsealed {part.name} {said}"


def _safetensors(file: Path, rng: Random) -> str:
    """A header that lies, or tensors that are not those of the model."""
    data = file.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    way = rng.random()
    if way < 0.3:
        held = load_file(file)
        name = rng.choice(sorted(held))
        held[name] = rng.choice(
            (held[name] * float("nan"), held[name].double(), held[name].half(), held[name] + 1, torch.zeros(0))
        )
        save_file(held, file, metadata={"format": "pt"} | header.get("__metadata__", {}))
        return f"tensors: {name}"
    if way < 0.4:
        file.write_bytes(struct.pack("<Q", rng.choice((0, 1, size - 1, size + 1, 2**40, 2**63 - 1))) + data[8:])
        return "header: another length"
    names = [name for name in header if name != "__metadata__"]
    entry = header[rng.choice(names)]
    key = rng.choice(sorted(entry))
    entry[key] = rng.choice(
        ("F16", "I32", "BOOL", "U8", [10**12], [], [-1], [0, 10**15], [4, 0], [2**63, 2**64 - 1], None, "x")
    )
    told = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(told)) + told + body)
    return f"header: {key} = {entry[key]}"


def checkpoint(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A run that stopped, broken, then resumed."""
    run = folder / "run"
    shutil.copytree(bases.run, run)
    files = [p for p in containers.files_of(run) if p.parent.parent.name == "checkpoints" or p.parent == run]
    file = rng.choice(files)
    way = rng.random()
    if way < 0.35 and file.suffix == ".json":
        tree = json.loads(file.read_text())
        said = containers.json_surgery(tree, rng, NUMBERS)
        file.write_text(json.dumps(tree))
        said = f"{file.name} {said}"
    elif way < 0.5 and file.suffix == ".safetensors":
        said = f"{file.name} {_safetensors(file, rng)}"
    elif way < 0.85:
        said = damage(file, rng)
    elif way < 0.93:
        said = displace(file, rng)
    else:
        said = "as it was"
    names = (run.name, "config:")
    return Trial(
        bases.pretrain(run, "--resume", "--stop-after", "2"),
        said,
        names,
        (),
        lambda: _finite(run),
        said == "as it was",
    )


def layout_folder(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A folder of CAMELS-GB, Caravan or the NRFA's CSV with a file for each gauge, one file of it broken."""
    layout, place, out = rng.choice(sorted(LAYOUTS)), folder / "downloads", folder / "out.zarr"
    LAYOUTS[layout](place, record())
    files = containers.files_of(place)
    file, way, said = rng.choice(files), rng.random(), "as it was"
    if 0.1 <= way < 0.45:
        said = damage(file, rng)
    elif 0.45 <= way < 0.65:
        said = tables.csv_form(file, rng)
    elif 0.65 <= way < 0.93:
        said = _one_cell(file, rng)
    elif way >= 0.93:
        said = displace(file, rng)

    def check() -> str | None:
        return oracle.difference(oracle.of_layout(place, layout), oracle.of_zarr(out))

    names = (*(one.name for one in files), place.name, *_names(file))
    return Trial(["prepare", str(place), str(out), *PERIOD, "--json"], said, names, (out,), check, said == "as it was")


def _one_cell(file: Path, rng: Random) -> str:
    """Another text in one cell of a CSV file, be it of the header."""
    lines = file.read_text().splitlines()
    row = rng.randrange(len(lines))
    cells = lines[row].split(",")
    cells[rng.randrange(len(cells))] = str(rng.choice(tables.CELLS))
    lines[row] = ",".join(cells)
    file.write_bytes(("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))
    return f"cell: {cells} of {file.name}"


def coverage(bases: Bases, folder: Path, rng: Random) -> Trial:
    """Soil moisture of two sites of COSMOS-UK, as CoverageJSON."""
    file, out = folder / rng.choice(("cosmos.covjson", "cosmos.json")), folder / "out.zarr"
    tree = oracle.cosmos_tree()
    way, said = rng.random(), "as it was"
    if 0.1 <= way < 0.6:
        said = containers.json_surgery(tree, rng, NUMBERS)
    file.write_text(json.dumps(tree))
    if 0.6 <= way < 0.92:
        said = damage(file, rng)
    elif way >= 0.92:
        said = displace(file, rng)

    def check() -> str | None:
        store = xr.open_zarr(out, consolidated=False, chunks=None)["soil_moisture"].transpose("time", "catchment")
        held = {
            (str(day)[:10], str(site)): float(store.values[row, column])
            for row, day in enumerate(store["time"].values)
            for column, site in enumerate(store["catchment"].values)
            if np.isfinite(store.values[row, column])
        }
        return oracle.difference({"soil_moisture": oracle.of_cosmos(file)}, {"soil_moisture": held})

    names = (file.name, "training period")
    return Trial(["prepare", str(file), str(out), *PERIOD, "--json"], said, names, (out,), check, said == "as it was")


def downloads(bases: Bases, folder: Path, rng: Random) -> Trial:
    """A folder of the NRFA's series, one file of it broken."""
    place, out = folder / "downloads", folder / "out.zarr"
    place.mkdir()
    for name, data in bases.downloads.items():
        (place / name).write_bytes(data)
    file = place / rng.choice(sorted(bases.downloads))
    way = rng.random()
    said = "as it was" if way < 0.1 else damage(file, rng)

    def check() -> str | None:
        return oracle.difference(oracle.of_downloads(place), oracle.of_zarr(out))

    names = (*bases.downloads, place.name, *_names(file))
    return Trial(["prepare", str(place), str(out), *PERIOD, "--json"], said, names, (out,), check, said == "as it was")


KINDS: dict[str, tuple[Maker, int]] = {
    "netcdf": (netcdf, 9),
    "camels-gb": (camels, 4),
    "csv": (csv_table, 13),
    "parquet": (parquet, 8),
    "attributes": (attributes, 6),
    "zarr": (zarr_record, 8),
    "store": (store, 10),
    "land mask": (land_mask, 5),
    "haduk": (haduk, 4),
    "downloads": (downloads, 6),
    "layout": (layout_folder, 5),
    "coverage": (coverage, 3),
    "config": (config_file, 17),
    "model": (model_folder, 12),
    "checkpoint": (checkpoint, 4),
}
"""The makers, each with its share of the inputs [%]."""
