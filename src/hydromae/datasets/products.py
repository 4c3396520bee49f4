"""Downloaded products: recognition of their files, and the columns that are read.

The formats follow documentation and samples of the NRFA.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import xarray as xr

from hydromae.datasets import cosmos, environment_agency
from hydromae.datasets import nrfa as nrfa_files
from hydromae.datasets.gauges import Gauge, Product, gauge_from_table
from hydromae.errors import InputError
from hydromae.io.attributes import numeric_column
from hydromae.io.conventions import open_netcdf, site_names
from hydromae.io.credits import OGL
from hydromae.io.csv_parquet import read_csv
from hydromae.io.locate import files_in
from hydromae.io.names import EVAPORATION
from hydromae.progress import track

TOPOGRAPHY = {
    "gauge_lat": "latitude",
    "gauge_lon": "longitude",
    "gauge_easting": "easting",
    "gauge_northing": "northing",
    "area": "catchment-area",
    "dpsbar": "dpsbar",
    "elev_min": "minimum-altitude",
    "elev_10": "10-percentile-altitude",
    "elev_50": "50-percentile-altitude",
    "elev_90": "90-percentile-altitude",
    "elev_max": "maximum-altitude",
}
"""Columns of CAMELS-GB and Caravan -> NRFA names; `bfihost` and `propwet` are absent."""

PERIOD = r"_(\w+?)_19701001-\d{8}\.csv"
HEADER_BYTES = 2**20
"""Bytes of a NetCDF file that contain the names of its variables."""


def _by_name(pattern: str) -> Callable[[Path], bool]:
    """Return a test whether the name of a file matches the pattern."""
    full_pattern = re.compile(pattern, re.ASCII)
    return lambda path: full_pattern.fullmatch(path.name) is not None


def _camels(pattern: str, columns: Mapping[str, tuple[tuple[str, str], ...]]) -> Callable[[Path], Gauge]:
    names = [column for choices in columns.values() for column, _ in choices]
    full_pattern = re.compile(pattern, re.ASCII)

    def open_(path: Path) -> Gauge:
        name_match = full_pattern.fullmatch(path.name)
        assert name_match is not None
        return gauge_from_table(name_match.group(1), read_csv(path), "date", names, path)

    return open_


def _attribute_tables(pattern: str, columns: Mapping[str, str]) -> Callable[[Path], xr.Dataset | None]:
    """Return a reader of attributes from tables with `gauge_id`, completed from an NRFA catalogue in the folder."""
    full_pattern = re.compile(pattern, re.ASCII)

    def static_attributes(folder: Path) -> xr.Dataset | None:
        files = [file for file in files_in(folder, ".csv") if full_pattern.fullmatch(file.name)]
        if not files:
            return nrfa_files.static_attributes(folder)
        columns_by_name = pd.concat([_keyed(file, columns) for file in track(files, "tables read", len(files))])
        is_duplicate = columns_by_name.reset_index().duplicated().to_numpy()  # a copy of a table
        own_attributes = nrfa_files.attributes_of(
            pd.DataFrame(columns_by_name[~is_duplicate]), " and ".join(map(str, files))
        )
        return nrfa_files.with_catalogue(own_attributes, nrfa_files.static_attributes(folder))

    return static_attributes


def _keyed(file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    table = read_csv(file)
    if "gauge_id" not in table.columns:
        raise InputError(f"{file}: no column gauge_id; the name of the table does not fit its content")
    columns_by_name = {
        name: numeric_column(table, column, file) for column, name in columns.items() if column in table.columns
    }
    return pd.DataFrame(columns_by_name, index=pd.Index(site_names(table["gauge_id"].to_numpy(), str(file))))


def _is_table(pattern: str) -> Callable[[Path], bool]:
    """Return a test whether a file is a table of that name, or an NRFA catalogue."""
    is_named = _by_name(pattern)
    return lambda path: is_named(path) or nrfa_files.is_catalogue(path)


def _is_caravan(path: Path) -> bool:
    """Return whether a file is `timeseries/{csv,netcdf}/{source}/{source}_{id}.{csv,nc}`, or in a folder `{source}`."""
    source, kind = path.parent, path.parent.parent
    if path.suffix not in (".csv", ".nc") or not path.name.startswith(f"{source.name}_"):
        return False
    if kind.parent.name == "timeseries" and kind.name in ("csv", "netcdf"):
        return path.suffix == {"csv": ".csv", "netcdf": ".nc"}[kind.name]
    return b"streamflow" in nrfa_files.read_start(
        path, nrfa_files.SNIFFED_BYTES if path.suffix == ".csv" else HEADER_BYTES
    )


def _caravan(path: Path) -> Gauge:
    columns = [column for choices in CARAVAN_COLUMNS.values() for column, _ in choices]
    if path.suffix == ".csv":
        return gauge_from_table(path.stem, read_csv(path), "date", columns, path)
    raw = open_netcdf(path)
    if "date" not in raw.indexes:
        raise InputError(f"{path}: no coordinate date; this is not a file of Caravan")
    available = [column for column in columns if column in raw.data_vars and raw[column].dims == ("date",)]
    frame = pd.DataFrame({"date": raw["date"].values, **{column: raw[column].values for column in available}})
    return gauge_from_table(path.stem, frame, "date", available, path)


MM, DEGREES, CUBIC = "mm day-1", "degC", "m3 s-1"
CAMELS_1 = {
    "precipitation": (("precipitation", MM),),
    "temperature": (("temperature", DEGREES),),
    "potential_evaporation": tuple((kind, MM) for kind in EVAPORATION),
    "riverflow": (("discharge_spec", MM), ("discharge_vol", CUBIC)),
}
CAMELS_2 = {
    "precipitation": (("precipitation_haduk", MM), ("precipitation_cehgear", MM)),
    "temperature": (("temperature_haduk", DEGREES), ("temperature_chess", DEGREES)),
    "potential_evaporation": tuple((f"{kind}_{by}", MM) for by in ("hydrope", "chess") for kind in EVAPORATION),
    "riverflow": (("discharge_spec", MM), ("discharge_vol", CUBIC)),
}
CARAVAN_COLUMNS = {
    "precipitation": (("total_precipitation_sum", MM),),
    "temperature": (("temperature_2m_mean", DEGREES),),
    "potential_evaporation": (
        ("potential_evaporation_sum_FAO_PENMAN_MONTEITH", MM),
        ("potential_evaporation_sum_ERA5_LAND", MM),
        ("potential_evaporation_sum", MM),
    ),
    "riverflow": (("streamflow", MM),),
}
NRFA_COLUMNS = {"precipitation": (("cdr", "mm"),), "riverflow": (("gdf", "m3/s"),)}
CAMELS_1_FILE = "CAMELS_GB_hydromet_timeseries" + PERIOD
CAMELS_2_FILE = "camels_gb_v2_hydromet_daily_timeseries" + PERIOD

PRODUCTS = (
    Product(
        "CAMELS-GB version 1",
        f"Coxon et al. 2020, doi:10.5285/8344e4f3-d2ea-44f5-8afa-86d2987543a9, {OGL}",
        CAMELS_1,
        _by_name(CAMELS_1_FILE),
        _camels(CAMELS_1_FILE, CAMELS_1),
        _attribute_tables("CAMELS_GB_topographic_attributes.csv", TOPOGRAPHY),
        _is_table("CAMELS_GB_topographic_attributes.csv"),
    ),
    Product(
        "CAMELS-GB version 2",
        f"doi:10.5285/9a46d428-958f-4ac1-86eb-94eee70c0955, {OGL}",
        CAMELS_2,
        _by_name(CAMELS_2_FILE),
        _camels(CAMELS_2_FILE, CAMELS_2),
        _attribute_tables("camels_gb_v2_topographic_attributes.csv", TOPOGRAPHY),
        _is_table("camels_gb_v2_topographic_attributes.csv"),
    ),
    Product(
        "Caravan",
        "Kratzert et al. 2023, doi:10.5281/zenodo.6522634, CC-BY 4.0",
        CARAVAN_COLUMNS,
        _is_caravan,
        _caravan,
        _attribute_tables(r"attributes_other_\w+\.csv", TOPOGRAPHY),
        _is_table(r"attributes_other_\w+\.csv"),
    ),
    Product(
        "NRFA",
        f"UK National River Flow Archive, https://nrfa.ceh.ac.uk, {OGL}",
        NRFA_COLUMNS,
        nrfa_files.is_series,
        nrfa_files.open_series,
        nrfa_files.static_attributes,
        nrfa_files.is_catalogue,
    ),
    Product(
        "Environment Agency",
        f"Environment Agency hydrology service, https://environment.data.gov.uk/hydrology, {OGL}",
        {"precipitation": ((environment_agency.RAIN, "mm"),), "riverflow": ((environment_agency.FLOW, "m3/s"),)},
        environment_agency.is_series,
        environment_agency.open_series,
        environment_agency.static_attributes,
        nrfa_files.is_catalogue,
        {environment_agency.RAIN: environment_agency.RAIN_NOTE},
    ),
    Product(
        "COSMOS-UK",
        cosmos.SOURCE,
        {"soil_moisture": ((cosmos.PARAMETER, "%"),)},
        cosmos.is_cosmos_file,
        cosmos.open_site,
        lambda folder: None,
    ),
)
