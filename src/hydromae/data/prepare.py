"""Prepare: from raw files to a store, for both shapes of input."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import xarray as xr

from hydromae.data.derived import TRAINING_PERIOD
from hydromae.data.national import LAND_SHARE, MapMaker
from hydromae.data.readers import camels_gb, land, nrfa, read
from hydromae.data.readers.record import within
from hydromae.data.scaling import Scaling
from hydromae.data.store import building, source_of, stamp, write_blocks, write_store
from hydromae.errors import InputError

Shape = Literal["catchments", "national"]


def prepare_catchments(
    source: str | Path,
    attributes: str | Path | None,
    out: str | Path,
    period: tuple[str, str] | None = None,
    training_period: tuple[str, str] = TRAINING_PERIOD,
) -> str:
    """A store of a catchment dataset.

    Parameters
    ----------
    source : path
        The CAMELS-GB arrangement, or a user's NetCDF, Zarr, CSV or parquet (`readers.read`).
    attributes : path or None
        NRFA attributes CSV; None where the source has attributes of its own.
    out : path or fsspec URL
        Where the store will lie.
    period : (str, str), optional
        First and last day to keep; default all.
    training_period : (str, str)
        Days that scaling, and the derived evaporation of CAMELS-GB, may see.

    Returns
    -------
    str
        The path of the store.

    Raises
    ------
    InputError
        From the readers, the scaling or the store.
    """
    record = within(read(source, attributes, training_period=training_period), period, str(source))
    if "catchment" not in record.dims or "cell" in record.dims:
        raise InputError(f"{source}: not a catchment dataset (dimensions {', '.join(map(str, record.dims))})")
    sources = [source_of(source, record)] + ([] if attributes is None else [source_of(attributes)])
    scaling = Scaling.fit(record, training_period)
    return write_store(record, out, scaling=scaling, sources=sources, training_period=training_period)


def prepare_national(
    source_nc: str | Path,
    attributes_csv: str | Path,
    land_file: str | Path,
    out: str | Path,
    period: tuple[str, str] | None = None,
    training_period: tuple[str, str] = TRAINING_PERIOD,
    *,
    rain_normal: str | Path | None = None,
    temperature_normal: str | Path | None = None,
) -> str:
    """A store of a national record: derived maps on land cells, evaporation and river flow of catchments.

    Parameters
    ----------
    source_nc : path
        The CAMELS-GB arrangement.
    attributes_csv : path
        NRFA attributes, with centroids where they are known.
    land_file : path
        Land share of the grid (`readers.land`); cells of at least 5 % land are kept.
    out : path or fsspec URL
        Where the store will lie.
    period, training_period
        As in `prepare_catchments`; the soil bucket also runs over the two years before the period.
    rain_normal, temperature_normal : path, optional
        HadUK-Grid files on the same grid whose mean over time is the normal pattern of rain and temperature. Without
        them the maps know no relief between catchments.

    Returns
    -------
    str
        The path of the store.

    Raises
    ------
    InputError
        From the readers, the scaling or the store.
    """
    record = camels_gb.read(source_nc, training_period)
    record = nrfa.with_attributes(record, nrfa.read(attributes_csv), str(source_nc))
    kept = within(record, period, str(source_nc))
    fraction = land.read(land_file)
    grid = land.grid_of_axes(fraction["column"].values, fraction["row"].values, str(land_file))
    cells = land.cell_coordinates(land.land_cells(fraction, LAND_SHARE), grid, fraction)
    maker = MapMaker.build(record, cells, grid, fraction, rain_normal, temperature_normal)
    template = maker.template(kept)
    given = [attributes_csv, land_file, rain_normal, temperature_normal]
    sources = [source_of(source_nc, record), *(source_of(path) for path in given if path is not None)]
    with building(out) as aside:
        write_blocks(aside, template, maker.blocks(record, kept))
        written = xr.open_zarr(aside, consolidated=False, zarr_format=3, chunks=None)
        scaling = Scaling.fit(written, training_period)
        stamp(aside, scaling=scaling, sources=sources, grid=grid, training_period=training_period)
    return str(out)


def prepare(
    source: str | Path,
    out: str | Path,
    shape: Shape = "catchments",
    *,
    attributes: str | Path | None = None,
    period: tuple[str, str] | None = None,
    training_period: tuple[str, str] = TRAINING_PERIOD,
) -> str:
    """A store from a file, or from what is found in a folder; what `hydromae prepare` calls.

    In a folder: the one `camels_gb_daily.nc` (else the one `.nc`, `.zarr`, `.parquet` or `.csv` that is no attributes
    table), `*attributes*.csv`, and for a national record `*land*.npz` (or `*mask*.pt`), `rainfall_*_mon_*.nc` and
    `tas_*_mon_*.nc` (the normals, where they are there). `attributes` names another attributes table.
    """
    place = Path(source)
    if not place.exists():
        raise InputError(f"{source}: no such file or folder; check the path")
    is_folder = place.is_dir() and place.suffix != ".zarr"
    folder = place if is_folder else place.parent
    record = _one(folder, ("camels_gb_daily.nc", "*.nc", "*.zarr", "*.parquet", "*.csv")) if is_folder else place
    if record is None:
        raise InputError(f"{source}: no record in this folder; give a .nc, .zarr, .parquet or .csv file")
    if attributes is None and (is_folder or shape == "national"):
        attributes = _one(folder, ("*attributes*.csv",), keep_attributes=True)
    if shape == "catchments":
        return prepare_catchments(record, attributes, out, period, training_period)
    mask = _one(folder, ("*land*.npz", "*mask*.pt"))
    if attributes is None or mask is None:
        what = "*attributes*.csv" if attributes is None else "*land*.npz or *mask*.pt"
        raise InputError(f"{folder}: no {what} in it, which a national record needs; put one there")
    normals: dict[str, Any] = {
        "rain_normal": _one(folder, ("rainfall_*_mon_*.nc",)),
        "temperature_normal": _one(folder, ("tas_*_mon_*.nc",)),
    }
    return prepare_national(record, attributes, mask, out, period, training_period, **normals)


def _one(folder: Path, patterns: tuple[str, ...], keep_attributes: bool = False) -> Path | None:
    """The one file of the first pattern that matches any; two are refused."""
    for pattern in patterns:
        found = sorted(p for p in folder.glob(pattern) if keep_attributes or "attributes" not in p.name.lower())
        if len(found) > 1:
            raise InputError(
                f"{folder}: {len(found)} files match {pattern}: {found[0].name}, {found[1].name}; name one"
            )
        if found:
            return found[0]
    return None
