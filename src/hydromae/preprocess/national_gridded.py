"""A national record from maps as they were downloaded (HadUK-Grid, CHESS, ERA5-Land) and the flow of gauges beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.datasets import land
from hydromae.datasets.derived import usual_training
from hydromae.datasets.discovery import WEATHER
from hydromae.datasets.gridded import GridFile, GridFiles
from hydromae.datasets.target_grid import Onto
from hydromae.errors import InputError
from hydromae.footprints import Footprints, disc_footprints, footprint_mean
from hydromae.grid import GridSpec
from hydromae.io.conventions import describe
from hydromae.io.credits import MAP_CREDITS
from hydromae.io.locate import one_of, refuse_missing
from hydromae.io.parse import parse_period
from hydromae.io.seed_layout import MAPS
from hydromae.preprocess.national import LAND_SHARE, MapMaker, centroids
from hydromae.progress import counted
from hydromae.store.streaming import write_made
from hydromae.store.zarr_store import SHARD_DAYS, source_of

Maps = Mapping[str, tuple[GridFile, ...]]


@dataclass(frozen=True)
class Mapped:
    """What a national record is made of.

    Attributes:
        flow (Dataset (time, catchment)): The gauges on the days of the maps.
        maps: By variable; `potential_evaporation` becomes the evaporation of catchments that have none.
        cells: Coordinates of the land cells.
        maker: Derives the maps that lack, where the gauges have weather.
        record: The gauges on all of their days, for what the maker runs before the first one.
    """

    flow: xr.Dataset
    maps: dict[str, GridFiles]
    onto: Onto
    cells: xr.Dataset
    maker: MapMaker | None
    record: xr.Dataset

    @property
    def measured(self) -> list[str]:
        """Variables of the record's maps that files hold."""
        return [name for name in MAPS if name in self.maps]

    @property
    def footprints(self) -> Footprints | None:
        """Cells above each catchment, where evaporation of catchments is taken from maps."""
        if "potential_evaporation" in self.flow or "potential_evaporation" not in self.maps:
            return None
        place = (self.cells["cell_easting"].values, self.cells["cell_northing"].values)
        area = self.flow["catchment-area"].values.astype(np.float64)
        return disc_footprints(*place, *centroids(self.flow), area, self.onto.grid.cell_size)

    def template(self) -> xr.Dataset:
        """The record without its values."""
        if self.maker is not None:
            made = self.maker.template(self.flow)
        else:
            static = self.flow.drop_vars([n for n in (*WEATHER, "riverflow") if n in self.flow]).merge(self.cells)
            hollow = np.broadcast_to(np.float32(np.nan), (self.flow.sizes["time"], self.cells.sizes["cell"]))
            held = {name: (("time", "cell"), hollow, {"grid_mapping": "crs"}) for name in self.measured}
            series = {"riverflow": self.flow["riverflow"]}
            if "potential_evaporation" in self.flow:
                series["evaporation"] = self.flow["potential_evaporation"]
            elif "potential_evaporation" in self.maps:
                series["evaporation"] = xr.full_like(self.flow["riverflow"], np.nan)
            made = describe(static.assign(held | series))
            if "evaporation" in made:
                made["evaporation"].attrs["derived"] = "potential evaporation, not measured by an instrument"
        for name in self.measured:
            made[name].attrs.pop("derived", None)
            made[name].attrs["long_name"] = f"{name.replace('_', ' ')} of {_products(self.maps[name].used)}"
        return made

    def values(self, first: int, last: int) -> dict[str, np.ndarray]:
        """The maps that files hold, of some days (time, cell)."""
        return {n: self.maps[n].block(first, last, self.onto, self.cells.sizes["cell"]) for n in self.measured}

    def blocks(self) -> Iterator[xr.Dataset]:
        """The values, `SHARD_DAYS` days at a time."""
        if self.maker is not None:
            yield from self.maker.blocks(self.record, self.flow, self.values)
            return
        footprints, count = self.footprints, self.flow.sizes["catchment"]
        for first in range(0, self.flow.sizes["time"], SHARD_DAYS):
            last = min(first + SHARD_DAYS, self.flow.sizes["time"])
            days = self.flow.isel(time=slice(first, last)).transpose("time", "catchment", ...)
            held = {name: (("time", "cell"), values) for name, values in self.values(first, last).items()}
            held["riverflow"] = (("time", "catchment"), days["riverflow"].values)
            if footprints is not None:
                demand = self.maps["potential_evaporation"].block(first, last, self.onto, self.cells.sizes["cell"])
                held["evaporation"] = (("time", "catchment"), footprint_mean(footprints, demand, count))
            elif "potential_evaporation" in self.flow:
                held["evaporation"] = (("time", "catchment"), days["potential_evaporation"].values)
            yield xr.Dataset(held)


def prepare_mapped(
    folder: Path,
    found: Maps,
    record: xr.Dataset,
    out: str | Path,
    period: tuple[str, str] | None,
    training_period: tuple[str, str] | None,
    *,
    sources: list[dict[str, Any]],
    land_threshold: float,
    allow_missing: bool,
    say: Callable[[str], None],
) -> str:
    """A store of a national record: maps that files hold, what of them can be derived from the gauges' weather, and flow.

    Args:
        folder: May hold a land mask (`*land*.npz`, `*mask*.pt`), whose grid is then the record's; else the finest grid of
            HadUK-Grid there, else its 5 km grid, with the outline of Great Britain that comes with the package.
        found: Files of maps by variable (`gridded.find_maps`).
        record (Dataset (time, catchment)): The gauges, with places and areas.
        out, period, training_period, land_threshold, say: As in `prepare.prepare`; the period's default is from the first to
            the last day that maps of all variables have.
        sources: Of the gauges (`zarr_store.source_of`); those of the maps follow.
        allow_missing: Take days that no file of a variable holds as unobserved; the period's default is then that of any
            variable.

    Raises:
        InputError: One line that names file, value and remedy.
    """
    days = _period(found, period, folder, allow_missing)
    onto = _onto(folder, found)
    maps = {name: GridFiles.over(files, days) for name, files in found.items()}
    if not allow_missing:
        refuse_missing({name: held.days[held.file < 0] for name, held in maps.items()}, folder)
    if not record.indexes["time"].isin(days).any():
        begin, end = record.indexes["time"][[0, -1]]
        raise InputError(
            f"{folder}: its flow, {begin:%Y-%m-%d} … {end:%Y-%m-%d}, has no day of its maps, {days[0]:%Y-%m-%d} … "
            f"{days[-1]:%Y-%m-%d}; put maps and flow of the same days there"
        )
    assert onto.land is not None
    cells = land.cell_coordinates(land.land_cells(onto.land, onto.threshold), onto.grid, onto.land)
    flow = record.reindex(time=days)
    weather = all(name in flow and bool(flow[name].notnull().any("catchment").all()) for name in WEATHER)
    maker = MapMaker.build(record, cells, onto.grid, onto.land, None, None) if weather else None
    made = Mapped(flow, maps, onto, cells, maker, record)
    for line in _plan(folder, made, chosen=period is not None):
        say(line)
    template = made.template()
    training = training_period or usual_training(template, say)
    used: dict[tuple[Path, str], list[str]] = {}
    for name, held in maps.items():
        for file in held.used:
            used.setdefault((file.path, file.product), []).extend([name] if name in template else [])
    files = counted(used.items(), "sums of the maps", len(used))
    sources += [
        source_of(path, template[names] if names else None, MAP_CREDITS[product]) for (path, product), names in files
    ]
    return write_made(template, made.blocks(), out, sources, training, land.with_threshold(onto.grid, land_threshold))


def _onto(folder: Path, found: Maps) -> Onto:
    """The grid of the record, and its land."""
    mask = one_of(folder, ("*land*.npz", "*mask*.pt"))
    if mask is not None:
        fraction = land.read(mask)
        return Onto(
            land.grid_of_axes(fraction["column"].values, fraction["row"].values, str(mask)), fraction, LAND_SHARE
        )
    own = [file for files in found.values() for file in files if file.grid is not None]
    finest = min(own, key=lambda file: file.rank, default=None)
    if finest is None or finest.grid is None or finest.grid.lies_as(GridSpec()):
        with resources.as_file(resources.files("hydromae") / "assets" / "gb_land_percent.npz") as shipped:
            return Onto(GridSpec(), land.read(shipped), LAND_SHARE)
    seen = finest.read(Onto(finest.grid))["cell"].values
    fraction = np.zeros(finest.grid.shape, np.float32)
    fraction.ravel()[seen] = 1.0
    return Onto(finest.grid, xr.DataArray(fraction, dims=("row", "column")), LAND_SHARE)


def _period(found: Maps, period: tuple[str, str] | None, folder: Path, allow_missing: bool) -> pd.DatetimeIndex:
    """Days of the record: those of the period; else from the first to the last that all variables have, or any has."""
    begins, ends = _ends(found)
    first, last = min(begins.values()), max(ends.values())
    if period is not None:
        start, end = parse_period(period)
    elif allow_missing:
        start, end = first, last
    else:
        start, end = max(begins.values()), min(ends.values())
        if start > end:
            late, early = max(begins, key=lambda n: begins[n]), min(ends, key=lambda n: ends[n])
            raise InputError(
                f"{folder}: maps of {late} begin on {start:%Y-%m-%d}, after those of {early} end ({end:%Y-%m-%d}); put maps "
                "of the same days there, or --allow-missing"
            )
    if start < first or end > last:
        raise InputError(
            f"{folder}: the period {start:%Y-%m-%d} … {end:%Y-%m-%d} is not inside {first:%Y-%m-%d} … {last:%Y-%m-%d}, the "
            "days of its maps; choose days inside"
        )
    return pd.date_range(start, end, freq="D", unit="ns")


def _ends(found: Maps) -> tuple[dict[str, Any], dict[str, Any]]:
    """First and last day (Timestamp) of each variable's maps."""
    held = {name: np.concatenate([file.days.values for file in files]) for name, files in found.items()}
    begins = {name: pd.Timestamp(days.min()) for name, days in held.items()}
    return begins, {name: pd.Timestamp(days.max()) for name, days in held.items()}


def _products(files: tuple[GridFile, ...]) -> str:
    return " and ".join(dict.fromkeys(file.product for file in files))


def _other(held: GridFiles) -> str:
    """Which of several columns of one variable are taken, and which are there for nothing; empty where there is one."""
    taken = dict.fromkeys(file.column for file in held.used if file.product == "CHESS")
    left = dict.fromkeys(file.column for file in held.files if file.product == "CHESS" and file.column not in taken)
    if not taken or len(taken) + len(left) < 2:
        return ""
    return f" {' and '.join(taken)}" + (f", not {' and '.join(left)}" if left else "")


def _plan(folder: Path, made: Mapped, chosen: bool) -> list[str]:
    """What the record will hold, in lines."""
    days = made.flow.indexes["time"]
    told = ", ".join(f"{n} ({_products(m.used)}{_other(m)}, {len(m.used)} files)" for n, m in made.maps.items())
    lacking = [name for name in MAPS if name not in made.maps]
    where = f"{made.cells.sizes['cell']} land cells of {made.onto.grid.cell_size / 1000:g} km"
    begins, ends = _ends({name: held.files for name, held in made.maps.items()})
    outside = ", ".join(
        f"{name} {begins[name]:%Y-%m-%d} … {ends[name]:%Y-%m-%d}"
        for name in begins
        if not chosen and (begins[name] < days[0] or ends[name] > days[-1])
    )
    said = dict.fromkeys(f"{f.path.name}: {f.variable}: {f.said}" for m in made.maps.values() for f in m.used if f.said)
    way = "derived from the weather of catchments" if made.maker is not None else "missing"
    return [
        f"{folder}: maps of {told}, {days[0]:%Y-%m-%d} … {days[-1]:%Y-%m-%d}, on {where}",
        *said,
        *([f"maps {way}: {', '.join(lacking)}"] if lacking else []),
        *(
            [f"days at the edges that only some maps have are left out: {outside}; --allow-missing keeps them"]
            if outside
            else []
        ),
    ]
