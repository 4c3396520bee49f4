"""Prepare stores from raw files: catchment datasets, national records and the raw layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import xarray as xr

from hydromae.datasets import camels_gb, land
from hydromae.datasets.boundaries import refuse_unused_boundaries
from hydromae.datasets.derived import TRAINING_PERIOD, default_training_period
from hydromae.datasets.discovery import ProductFiles, find_product
from hydromae.datasets.gridded import GridFile, find_maps, map_products
from hydromae.datasets.map_weather import MapWeather, with_map_weather
from hydromae.datasets.products import PRODUCTS
from hydromae.datasets.reader import open_record
from hydromae.datasets.seed import SeedFolder
from hydromae.datasets.target_grid import LAND_SHARE
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io import attributes as nrfa
from hydromae.io.conventions import open_netcdf, select_period
from hydromae.io.credits import MAP_CREDITS
from hydromae.io.locate import ATTRIBUTES_FILE, RECORDS, find_record, one_of
from hydromae.io.options import reading_options
from hydromae.io.parse import grid_from_json, parse_period
from hydromae.io.value_ranges import processing_notes
from hydromae.preprocess.describe import check_gauges_beside_maps, check_positions, no_record_message, record_lines
from hydromae.preprocess.national import MapMaker
from hydromae.preprocess.national_gridded import prepare_gridded
from hydromae.progress import track
from hydromae.store.scaling import Scaling
from hydromae.store.streaming import write_streamed
from hydromae.store.zarr_store import SHARD_DAYS, describe_source, write_store

Shape = Literal["catchments", "national"]
LAND_THRESHOLD = GridSpec.land_threshold
SEED_TRAINING = ("1989-01-01", "2010-12-31")


def prepare_catchments(
    source: str | Path | ProductFiles,
    attributes: str | Path | None,
    out: str | Path,
    period: tuple[str, str] | None = None,
    training_period: tuple[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
    maps: Mapping[str, tuple[GridFile, ...]] = MappingProxyType({}),
) -> str:
    """Write a store of a catchment dataset.

    Args:
        source: The CAMELS-GB arrangement, a user's NetCDF, Zarr, CSV or parquet (`open_record`), or files of a product.
        attributes: CSV file of NRFA attributes; None if the source has attributes.
        out: The store.
        period (str, str), optional: First and last day; default all.
        training_period (str, str), optional: Period of the scaling and the derived evaporation of CAMELS-GB; default
            1970-01-01 to 2010-12-31, or all days of a record without these days.
        maps: Maps beside the source by variable, for the weather of catchments without series (`map_weather`).

    Returns:
        str: The path of the store.

    Raises:
        InputError: From the readers, the scaling or the store; or a catchment has no position.
    """
    if product := isinstance(source, ProductFiles):
        record = source.read(None if attributes is None else nrfa.read_attribute_table(attributes))
        source = source.folder
    else:
        record = open_record(source, attributes, training_period=training_period or TRAINING_PERIOD)
    record = select_period(record, period, str(source))
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    weather = with_map_weather(record, maps, folder) if maps and "catchment" in record.dims else MapWeather(record)
    record = weather.record
    plan = [] if product else record_lines(record, source)
    for line in [*plan, *weather.lines, *processing_notes(record, source)]:
        progress(line)
    if "catchment" not in record.dims or "cell" in record.dims:
        raise InputError(f"{source}: not a catchment dataset (dimensions {', '.join(map(str, record.dims))})")
    check_positions(record, source, attributes, progress)
    map_sources = [
        describe_source(file.path, credit=MAP_CREDITS[file.product])
        for file in {file.path: file for file in weather.files}.values()
    ]
    training = training_period or default_training_period(record, progress)
    return _write(record, out, source, attributes, training, sources=map_sources)


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
    land_threshold: float = LAND_THRESHOLD,
    simulation_seed: int | None = None,
) -> str:
    """Write a store of a national record: derived maps on land cells, evaporation and river flow of catchments.

    Args:
        source_nc: The CAMELS-GB arrangement.
        attributes_csv: NRFA attributes, with optional centroids.
        land_file: Land share of the grid (`datasets.land`); cells of at least 5 % land are kept.
        out: The store.
        period, training_period: As in `prepare_catchments`; the soil bucket also runs over the two years before the period.
        rain_normal, temperature_normal: HadUK-Grid files on the same grid, whose temporal means are the normals; without
            them, maps have no effect of relief.
        land_threshold: Minimum share of land cells of a patch, stored with the grid.
        simulation_seed: Rain and temperature between the catchments are simulated (`datasets.simulated_maps`); None: kriged.

    Returns:
        str: The path of the store.

    Raises:
        InputError: From the readers, the scaling or the store.
    """
    record = camels_gb.read_camels_gb(source_nc, training_period)
    record = nrfa.with_attributes(record, nrfa.read_attribute_table(attributes_csv), str(source_nc))
    selected = select_period(record, period, str(source_nc))
    fraction = land.read_land_fraction(land_file)
    grid = land.grid_of_axes(fraction["column"].values, fraction["row"].values, str(land_file))
    cells = land.cell_coordinates(land.land_cells(fraction, LAND_SHARE), grid, fraction)
    maker = MapMaker.build(record, cells, grid, fraction, rain_normal, temperature_normal, simulation_seed)
    sources, haduk_credit = _sources(source_nc, record, attributes_csv, land_file), MAP_CREDITS["HadUK-Grid"]
    sources += [describe_source(n, credit=haduk_credit) for n in (rain_normal, temperature_normal) if n is not None]
    grid = land.with_threshold(grid, land_threshold)
    return write_streamed(maker.template(selected), maker.blocks(record, selected), out, sources, training_period, grid)


def prepare_maps(
    source: str | Path,
    attributes: str | Path | None,
    out: str | Path,
    period: tuple[str, str] | None = None,
    training_period: tuple[str, str] = TRAINING_PERIOD,
    *,
    land_threshold: float = LAND_THRESHOLD,
) -> str:
    """Write a store of a national record with maps: NetCDF or Zarr with `(time, cell)` and an attribute `grid`.

    Args:
        source: As `hydromae virtual --shape national` writes it; `grid` is the JSON of a `GridSpec`, and `cell` the flat
            number of each land cell on it.
        attributes, out, period, training_period, land_threshold: As in `prepare_catchments` and `prepare_national`.

    Raises:
        InputError: From the readers, the scaling or the store; no cells, or no grid.
    """
    record = select_period(open_record(source, attributes, training_period=training_period), period, str(source))
    if not {"cell", "catchment"} <= set(record.dims):
        raise InputError(f"{source}: no maps (time, cell) beside its catchments; use --shape catchments")
    if "grid" not in record.attrs or "cell" not in record.indexes:
        raise InputError(
            f"{source}: the positions of its cells are unknown; add the attribute grid and a coordinate cell"
        )
    grid = land.with_threshold(
        grid_from_json(str(record.attrs["grid"]), f"{source}: the attribute grid"), land_threshold
    )
    cell = record["cell"].values
    if not np.issubdtype(cell.dtype, np.integer) or cell.min() < 0 or cell.max() >= grid.rows * grid.columns:
        raise InputError(f"{source}: cell is not all flat numbers below {grid.rows} × {grid.columns}; number the cells")
    return _write(record, out, source, attributes, training_period, grid)


def prepare_seed(
    folder: str | Path,
    out: str | Path,
    attributes: str | Path | None = None,
    period: tuple[str, str] | None = None,
    training_period: tuple[str, str] = SEED_TRAINING,
    *,
    land_threshold: float = LAND_THRESHOLD,
    allow_missing: bool = False,
) -> str:
    """Write a store of a folder in the raw layout of the reference specification (`datasets.seed`), in blocks.

    Args:
        folder: Maps (merged files, else monthly ones), the table of flow, attributes, the mask.
        out, attributes: As in `prepare_catchments`; default attributes of the folder.
        period (str, str), optional: First and last day; default from the first training day to the last day of the maps.
        training_period (str, str): Period of the scaling; the longer record has 1970-01-01 to 2010-12-31.
        land_threshold: Minimum share of land cells of a patch.
        allow_missing: Treat days without a file of a variable as unobserved.

    Returns:
        str: The path of the store.

    Raises:
        InputError: One line that names file, value and remedy.
    """
    training_start = f"{parse_period(training_period)[0]:%Y-%m-%d}"
    seed_folder = SeedFolder.open(folder, attributes, period, training_start, allow_missing)
    grid = land.with_threshold(seed_folder.grid, land_threshold)
    template = seed_folder.template()
    files = track(seed_folder.sources.items(), "sums of the sources", len(seed_folder.sources))
    sources = [describe_source(path, template[list(names)]) for path, names in files]
    return write_streamed(template, seed_folder.blocks(SHARD_DAYS), out, sources, training_period, grid)


def prepare(
    source: str | Path,
    out: str | Path,
    shape: Shape | None = None,
    *,
    attributes: str | Path | None = None,
    period: tuple[str, str] | None = None,
    training_period: tuple[str, str] | None = None,
    land_threshold: float = LAND_THRESHOLD,
    allow_missing: bool = False,
    simulation_seed: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> str:
    """Write a store from a file or a folder, as `hydromae prepare` does.

    A folder contains the files of a product (`datasets.products`), or one record (`camels_gb_daily.nc`, or the only `.nc`,
    `.zarr`, `.parquet` or `.csv` that is not a table of attributes); optional `*attributes*.csv`; daily maps
    (`datasets.gridded`), which make a national record (`national_gridded`), by default if they are beside a product, and
    otherwise give weather to catchments without series (`map_weather`); and for derived maps `*land*.npz` (or `*mask*.pt`)
    and optional normals `rainfall_*_mon_*.nc` and `tas_*_mon_*.nc`. `attributes` replaces the table. `simulation_seed` is for
    derived maps alone. `progress` gets a description of the folder first.
    """
    source_path = Path(source)
    if not source_path.exists():
        raise InputError(f"{source}: no such file or folder; check the path")
    is_folder = source_path.is_dir() and source_path.suffix != ".zarr"
    folder = source_path if is_folder else source_path.parent
    product = find_product(source_path, PRODUCTS) if is_folder else None
    series_files = (*product.files, *product.duplicates) if product else ()
    maps = find_maps(source_path, series_files) if is_folder else {}
    shape = shape or ("national" if maps and product and reading_options().boundaries is None else "catchments")
    refuse_unused_boundaries(source, maps and shape == "catchments")
    for line in product.plan(maps) if product else ():
        progress(line)
    if is_folder and product is None and not maps:
        check_gauges_beside_maps(source_path, has_record=(source_path / RECORDS[0]).exists())
    record = find_record(folder, map_products(folder)) if is_folder and product is None else source_path
    if record is None:
        raise InputError(no_record_message(source_path, maps))
    with_maps = shape == "national" and product is None and not maps and _has_maps(record)
    if simulation_seed is not None and (shape == "catchments" or maps or product is not None or with_maps):
        raise InputError(
            f"{source}: --simulate-maps is for maps derived from catchments (--shape national); leave it out"
        )
    has_attributes = product is not None and product.static_attributes is not None
    if attributes is None and not has_attributes and (is_folder or (shape == "national" and not with_maps)):
        attributes = one_of(folder, ATTRIBUTES_FILE)
    if shape == "catchments":
        return prepare_catchments(product or record, attributes, out, period, training_period, progress, maps)
    if maps:
        gauges = _gauges(product, record, attributes)
        check_positions(gauges, record, attributes, progress)
        options: dict[str, Any] = {"land_threshold": land_threshold, "allow_missing": allow_missing}
        options |= {"progress": progress}
        options["sources"] = _sources(record, gauges[[n for n in ("riverflow",) if n in gauges]], attributes)
        return prepare_gridded(folder, maps, gauges, out, period, training_period, **options)
    if product is not None:
        raise InputError(f"{folder}: no daily maps beside its gauges; add HadUK-Grid, CHESS or ERA5-Land")
    training_period = training_period or TRAINING_PERIOD
    if with_maps:
        return prepare_maps(record, attributes, out, period, training_period, land_threshold=land_threshold)
    mask = one_of(folder, ("*land*.npz", "*mask*.pt"))
    required = "*attributes*.csv" if attributes is None else "*land*.npz or *mask*.pt"
    if attributes is None or mask is None:
        raise InputError(f"{folder}: no {required} in it, which a national record needs; put one there")
    options = {
        "rain_normal": one_of(folder, ("rainfall_*_mon_*.nc",)),
        "temperature_normal": one_of(folder, ("tas_*_mon_*.nc",)),
    }
    options |= {"land_threshold": land_threshold, "simulation_seed": simulation_seed}
    return prepare_national(record, attributes, mask, out, period, training_period, **options)


def _gauges(product: ProductFiles | None, record: Path, attributes: str | Path | None) -> xr.Dataset:
    """Read the gauges beside maps."""
    if product is not None:
        return product.read(None if attributes is None else nrfa.read_attribute_table(attributes))
    return open_record(record, attributes)


def _has_maps(record: Path) -> bool:
    """Return whether a file has maps over cells; Zarr always has, because CAMELS-GB is NetCDF."""
    if record.suffix != ".nc":
        return record.suffix == ".zarr"
    with open_netcdf(record) as raw:
        return "cell" in raw.dims


def _sources(source: str | Path, record: xr.Dataset, *others: str | Path | None) -> list[dict[str, Any]]:
    return [describe_source(source, record), *(describe_source(path) for path in others if path is not None)]


def _write(
    record: xr.Dataset,
    out: str | Path,
    source: str | Path,
    attributes: str | Path | None,
    training_period: tuple[str, str],
    grid: GridSpec | None = None,
    sources: Iterable[dict[str, Any]] = (),
) -> str:
    """Write a store of a record; `sources` follow those of the record and its attributes."""
    sources = [*_sources(source, record, attributes), *sources]
    scaling = Scaling.fit(record, training_period)
    return write_store(record, out, scaling=scaling, sources=sources, grid=grid, training_period=training_period)
