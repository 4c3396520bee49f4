"""A small invented record under the names that the pages use, and what runs a page on it."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.cli import main
from hydromae.inference.predictor import SHIPPED
from hydromae.variables import ATTRIBUTES
from hydromae.virtual import virtual_catchments
from pages import Block, blocks, spelled_out

SERIES = ["riverflow", "precipitation", "temperature", "potential_evaporation"]
TINY = (
    "--preset tiny --data.sequence-length 60 --data.warm-up-days 10 --data.catchments-per-window 6 --data.antecedent-days 0 "
    "--data.training-period 2009-01-01 2010-03-31 --data.validation-period 2010-04-01 2010-12-31 "
    "--model.d-model 16 --model.decoder-dim 16 --model.series-layers 1 --model.neighbours 6 "
    "--train.epochs 1 --train.steps-per-epoch 4 --train.validation-windows 2 --device cpu"
)
SHRUNK: tuple[tuple[str, str], ...] = (
    (r"--catchments 30", "--catchments 12"),
    (r"(virtual FOLDER --layout .*)", r"\1 --days 400 --catchments 4"),
    (r"(prepare +FOLDER .*)", r"\1 --training-period 2009-01-01 2010-03-31"),
    (r"(pretrain .*)--config configs/gb_rivers.py(.*)", rf"\1{TINY}\2"),
    (r"(evaluate FOLDER --protocol gb) --period \S+ \S+ (.*)", r"\1 \2"),
    (r"(evaluate FOLDER .*)", r"\1 --period 2010-07-01 2010-12-31 --questions gap forecast --no-baselines"),
    (r"(--issue-interval 60 .*|gb --out .*)", r"\1 --issue-interval 90"),
    (r"(period 2014-01-05 2014-09-20 --issue-interval) 5", r"\1 120"),
    (r"(evaluate my.zarr .*)--period 2010-01-01 2010-12-31", r"\1--period 2010-07-01 2010-12-31"),
)
"""What is made smaller before a command is run: pattern, and what takes its place."""


def prepare_folder(folder: Path) -> Path:
    """Files that the pages read: records, tables, raw files, what `make demo` leaves."""
    practice = virtual_catchments(730, 0, "2009-01-01", 12)
    practice.to_netcdf(folder / "practice.nc", engine="h5netcdf")
    late = practice.assign_coords(time=pd.date_range("2012-10-01", periods=730, unit="ns"))
    late.to_netcdf(folder / "QUESTION.nc", engine="h5netcdf")
    late.to_netcdf(folder / "RECORD.nc", engine="h5netcdf")
    (folder / "FOLDER").mkdir()
    practice.to_netcdf(folder / "FOLDER" / "rivers.nc", engine="h5netcdf")
    _tables(practice, folder)
    _ours(practice, folder)
    (folder / "demo").mkdir()
    practice.to_netcdf(folder / "demo" / "virtual.nc", engine="h5netcdf")
    shutil.copytree(SHIPPED / "gb-rivers", folder / "demo" / "run")
    return folder


def _tables(practice: xr.Dataset, folder: Path) -> None:
    """`my.csv` and `gauges.csv` with the very columns of the page, and `rivers.csv` with all of them in one table."""
    own, gauges = (
        block.text.splitlines()[0].split(",") for block in blocks(Path("docs/start.md")) if "," in block.text[:5]
    )
    table = practice[SERIES].to_dataframe()[SERIES].reset_index().rename(columns={"time": "date"})
    table[own].to_csv(folder / "my.csv", index=False)
    traits = practice[[a.name for a in ATTRIBUTES]].to_dataframe().reset_index().rename(columns={"catchment": "id"})
    traits[gauges].to_csv(folder / "gauges.csv", index=False)
    whole = table[own].merge(traits, left_on="catchment", right_on="id").drop(columns="id")
    whole.to_csv(folder / "rivers.csv", index=False)


def _ours(practice: xr.Dataset, folder: Path) -> None:
    """The files of the page about readers."""
    (folder / "ours").mkdir()
    for name in practice["catchment"].values[:2]:
        flow = practice["riverflow"].sel(catchment=name).to_series()
        told = pd.DataFrame({"day": flow.index.strftime("%Y-%m-%d"), "flow_m3s": flow.to_numpy()})
        told.to_csv(folder / "ours" / f"ours_{name}.csv", index=False)
    stations = {n: ("station", np.array([51.5, 52.5])) for n in ("lat",)} | {"lon": ("station", np.array([-1.0, -2.0]))}
    flow = (("time", "station"), np.ones((3, 2)), {"units": "m3/s"})
    days = pd.date_range("2010-01-01", periods=3, unit="ns")
    theirs = xr.Dataset({"q": flow, "area": ("station", [86.4, 172.8]), **stations}, {"time": days, "station": [1, 2]})
    theirs.to_netcdf(folder / "theirs.nc", engine="h5netcdf")


def small(command: str) -> str:
    """The command as it is run here."""
    for pattern, instead in SHRUNK:
        command = re.sub(pattern, instead, command)
    return command


def run_page(
    page: Path, given: Path, here: Path, elsewhere: Callable[[str], str | None]
) -> tuple[list[str], dict[str, Any]]:
    """Run code and commands of a page in their order, in the folder `here`.

    Gives the commands that another test runs, and what the code named.
    """
    shutil.copytree(given, here, dirs_exist_ok=True)
    names: dict[str, Any] = {}
    skipped: list[str] = []
    for block in [*blocks(page), Block("", "\n".join(spelled_out(page)))]:
        if block.language == "python":
            exec(compile(block.text, str(page), "exec"), names)
        for folder in re.findall(r"^mkdir -p ~/(\S+)$", block.text, re.MULTILINE):
            (here / folder).mkdir(parents=True)
        for command in block.commands:
            if elsewhere(command):
                skipped.append(command)
            else:
                if command.startswith("hydromae virtual "):
                    place = here / command.split()[2]  # nothing may lie there
                    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
                run(small(command), here)
    return skipped, names


def run(command: str, here: Path) -> None:
    """One command of hydromae, with its output in a file where it says so."""
    told, _, file = command.partition(" > ")
    program, *words = shlex.split(told)
    assert program == "hydromae", f"{command}: nothing runs it; name the test that does in ELSEWHERE"
    held = io.StringIO()
    with contextlib.redirect_stdout(held if file else io.StringIO()):
        try:
            code = main(words)
        except SystemExit as ended:
            code = ended.code
    assert not code, command
    if file:
        (here / file.removeprefix("~/")).write_text(held.getvalue(), encoding="utf-8")
