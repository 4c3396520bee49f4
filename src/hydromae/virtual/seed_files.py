"""Virtual GB in the seed's raw layout: every file of it, streamed block by block of days."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool

from hydromae.io import seed_layout
from hydromae.io.seed_layout import MAPS, MISSING, SPLITS, MergedFile
from hydromae.io.units import cubic_metres_per_second
from hydromae.variables import ATTRIBUTES, VARIABLES
from hydromae.virtual.record import build_country, draw_observed_days
from hydromae.virtual.truth import DayBlock, VirtualBritain

START, DAYS = "1970-01-01", 16801
"""Period of the raw layout: 1970-01-01 to 2015-12-31."""

_ALWAYS_KNOWN = ("latitude", "longitude", "catchment-area")
_EMPTY_SHARE = 1 / 400
_COLUMNS = pa.schema(
    [("date", pa.timestamp("ms")), ("ID", pa.int64()), ("evaporation", pa.float32()), ("discharge_vol", pa.float32())]
)


def write_seed(
    folder: str | Path,
    days: int = DAYS,
    seed: int = 0,
    start: str = START,
    catchments: int = 604,
    missing: bool = True,
) -> None:
    """Write `virtual_record` as float32 in the raw layout of the reference specification.

    Args:
        folder: Created if necessary. Files without a day of the record are not written. Memory grows with `days` by one
            number per gauge and day.
        days, seed, start, catchments: As in `virtual_record`.
        missing: Whether gauges start late and have gaps, as in `virtual_catchments`; flow before 1989 is always missing.

    Raises:
        InputError: A number is below 1, or `start` is not a date.
    """
    folder = Path(folder)
    country = build_country(days, seed, start, catchments)
    folder.mkdir(parents=True, exist_ok=True)
    _write_mask(folder / seed_layout.MASK, country)
    _write_attributes(folder / seed_layout.ATTRIBUTES, country, np.random.default_rng([seed, catchments]))
    time = np.datetime64(start, "D") + np.arange(days)
    is_measured = np.repeat((time >= np.datetime64(seed_layout.FLOW_FROM))[:, None], catchments, axis=1)
    if missing:
        is_measured &= draw_observed_days(np.random.default_rng([seed, days, catchments]), days, catchments)
    shape = country.land.grid.shape
    with ExitStack() as stack:
        table = stack.enter_context(pq.ParquetWriter(folder / seed_layout.flow_file(catchments), _COLUMNS))
        merged = [
            (
                split,
                name,
                stack.enter_context(MergedFile(folder / split.file(name), VARIABLES[name].units, split_days, shape)),
            )
            for split in SPLITS
            if len(split_days := time[split.contains(time)])
            for name in MAPS
        ]
        for block in country.blocks():
            days_slice = slice(block.first, block.first + len(block.rain))
            table.write_table(_rows(block, time[days_slice], is_measured[days_slice], country))
            maps = _maps(block, country)
            for name, values in maps.items():
                seed_layout.write_months(folder, name, time[days_slice], values)
            for split, name, file in merged:
                file.append(maps[name][split.contains(time[days_slice])])


def _maps(block: DayBlock, country: VirtualBritain) -> dict[str, np.ndarray]:
    maps_by_name = {"precipitation": block.rain, "soil_moisture": block.soil_moisture, "temperature": block.temperature}
    cell, shape = country.land.cell, country.land.grid.shape
    return {name: seed_layout.to_grid(values, cell, shape) for name, values in maps_by_name.items()}


def _rows(block: DayBlock, days: np.ndarray, is_measured: Bool[np.ndarray, "T C"], country: VirtualBritain) -> pa.Table:
    """Long form, day by day: actual evaporation [mm/day] and river flow [m³/s], −99999 if unobserved."""
    number, area = country.catchments.number, country.catchments.attributes["catchment-area"]
    flow = np.where(is_measured, cubic_metres_per_second(block.series["riverflow"], area), MISSING)
    columns = (
        np.repeat(days, len(number)).astype("datetime64[ms]"),
        np.tile(number, len(days)),
        block.series["evaporation"].ravel().astype(np.float32),
        flow.ravel().astype(np.float32),
    )
    return pa.table([pa.array(column) for column in columns], schema=_COLUMNS)


def _write_attributes(path: Path, country: VirtualBritain, generator: np.random.Generator) -> None:
    """Write `id` and the 11 attributes; a few are unknown, but never position or area."""
    rivers = country.catchments
    table = pd.DataFrame({a.name: rivers.attributes[a.name] for a in ATTRIBUTES})
    names = [a.name for a in ATTRIBUTES if a.name not in _ALWAYS_KNOWN]
    unknown = generator.random((len(table), len(names))) < _EMPTY_SHARE
    table[names] = table[names].mask(unknown)
    table.insert(0, "id", rivers.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def _write_mask(path: Path, country: VirtualBritain) -> None:
    import torch  # only this file needs it, and it takes seconds to load

    land = np.zeros(country.land.grid.shape, dtype=bool)
    land.ravel()[country.land.cell] = True
    image = io.BytesIO()  # torch's own writer fails on a full disk with an error that names no file
    torch.save(torch.from_numpy(land), image)
    path.write_bytes(image.getvalue())
