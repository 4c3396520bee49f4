"""Write catchment datasets in the layouts of CAMELS-GB, Caravan and the NRFA."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hydromae.datasets.products import TOPOGRAPHY
from hydromae.io.units import cubic_metres_per_second
from hydromae.variables import ATTRIBUTES

UNKNOWN = ("humidity", "shortwave_rad", "longwave_rad", "windspeed")
"""Columns of CAMELS-GB that are absent in a record and written as NaN."""


def write_camels_gb(folder: str | Path, record: xr.Dataset) -> None:
    """Write CAMELS-GB version 1: `data/timeseries/CAMELS_GB_hydromet_timeseries_{id}_19701001-20150930.csv`, topography.

    Args:
        folder: Created if necessary.
        record: `riverflow`, `precipitation`, `potential_evaporation` [mm day-1], `temperature` [degC] `(time, catchment)`,
            NaN if unobserved, and attributes under the NRFA names.
    """
    data = Path(folder) / "data"
    (data / "timeseries").mkdir(parents=True)
    for station, station_series in _stations(record):
        columns = {
            "date": station_series["date"],
            "precipitation": station_series["precipitation"],
            "pet": station_series["potential_evaporation"],
            "temperature": station_series["temperature"],
            "discharge_spec": station_series["riverflow"],
            "discharge_vol": _volume(station_series["riverflow"], record, station),
            "peti": station_series["potential_evaporation"],
        }
        table = pd.DataFrame(columns | dict.fromkeys(UNKNOWN, np.nan))
        file = data / "timeseries" / f"CAMELS_GB_hydromet_timeseries_{station}_19701001-20150930.csv"
        table.to_csv(file, index=False, na_rep="NaN")
    table = _topography(record)
    table.insert(1, "gauge_name", [f"gauge {station}" for station in table["gauge_id"]])
    table.to_csv(data / "CAMELS_GB_topographic_attributes.csv", index=False)


def write_caravan(folder: str | Path, record: xr.Dataset) -> None:
    """Write Caravan CSV: `timeseries/csv/camelsgb/camelsgb_{id}.csv`, `attributes/camelsgb/attributes_other_camelsgb.csv`.

    `folder` and `record` are as in `write_camels_gb`. Caravan has position and area of a gauge.
    """
    series, attribute_folder = (
        Path(folder) / "timeseries" / "csv" / "camelsgb",
        Path(folder) / "attributes" / "camelsgb",
    )
    series.mkdir(parents=True)
    attribute_folder.mkdir(parents=True)
    for station, station_series in _stations(record):
        columns = {
            "date": station_series["date"],
            "streamflow": station_series["riverflow"],
            "total_precipitation_sum": station_series["precipitation"],
            "temperature_2m_mean": station_series["temperature"],
            "potential_evaporation_sum_ERA5_LAND": station_series["potential_evaporation"],
            "potential_evaporation_sum_FAO_PENMAN_MONTEITH": station_series["potential_evaporation"],
        }
        pd.DataFrame(columns).to_csv(series / f"camelsgb_{station}.csv", index=False)
    table = _topography(record)[["gauge_id", "gauge_lat", "gauge_lon", "area"]]
    table["gauge_id"] = [f"camelsgb_{station}" for station in table["gauge_id"]]
    table.insert(3, "gauge_name", table["gauge_id"])
    table.insert(4, "country", "United Kingdom")
    table.to_csv(attribute_folder / "attributes_other_camelsgb.csv", index=False)


def write_nrfa(folder: str | Path, record: xr.Dataset) -> None:
    """Write NRFA files: `{id}_gdf.csv` [m³/s] and `{id}_cdr.csv` [mm] with headers, and the catalogue as CSV.

    `folder` and `record` are as in `write_camels_gb`. Days without a value are not in a file; temperature and evaporation
    are not the NRFA's.
    """
    station_index = Path(folder)
    station_index.mkdir(parents=True)
    for station, station_series in _stations(record):
        for kind, units, values in (
            ("gdf", "m3/s", _volume(station_series["riverflow"], record, station)),
            ("cdr", "mm", station_series["precipitation"]),
        ):
            text = nrfa_csv(station, kind, units, dict(zip(station_series["date"], values, strict=True)))
            (station_index / f"{station}_{kind}.csv").write_text(text, encoding="utf-8")
    table = pd.DataFrame({a.name: record[a.name].values for a in ATTRIBUTES})
    table.insert(0, "id", record["catchment"].values)
    table.to_csv(station_index / "catalogue.csv", index=False)


def nrfa_csv(station: object, kind: str, units: str, values: Mapping[str, object]) -> str:
    """Return a file in the format `nrfa-csv`: rows `key,subkey,value`, then one row per day without NaN.

    Examples:
        >>> nrfa_csv(39001, "gdf", "m3/s", {"2022-01-01": 1.5, "2022-01-02": float("nan")}).splitlines()[-2:]
        ['data,last,2022-01-01', '2022-01-01,1.5']
    """
    measured_values = {day: value for day, value in values.items() if value == value}
    parameter, measured = ("Flow", "Mean") if kind == "gdf" else ("Rainfall", "Accumulation")
    rows = [
        "file,timestamp,2025-10-14T08:22:36",
        "database,id,nrfa-public-30",
        "database,name,UK National River Flow Archive",
        f"station,id,{station}",
        f'station,name,"gauge {station}"',
        "station,descriptionSummary,",
        f"dataType,id,{kind}",
        f"dataType,name,{'Gauged Daily Flow' if kind == 'gdf' else 'Catchment Daily Rainfall'}",
        f"dataType,parameter,{parameter}",
        f"dataType,units,{units}",
        "dataType,period,P1D",
        f"dataType,measurementType,{measured}",
        f"data,first,{min(measured_values, default='')}",
        f"data,last,{max(measured_values, default='')}",
    ]
    return "\n".join([*rows, *(f"{day},{value}" for day, value in measured_values.items())]) + "\n"


LAYOUTS: Mapping[str, Callable[[str | Path, xr.Dataset], None]] = {
    "camels-gb": write_camels_gb,
    "caravan": write_caravan,
    "nrfa": write_nrfa,
}
"""Name of a layout -> function that writes it."""


def _stations(record: xr.Dataset) -> Iterator[tuple[int | str, dict[str, np.ndarray]]]:
    """Yield number and series of each gauge; `date` is text."""
    dates = np.datetime_as_string(record["time"].values, "D")
    names = ("riverflow", "precipitation", "temperature", "potential_evaporation")
    series_by_name = {name: record[name].transpose("time", "catchment").values.astype(np.float32) for name in names}
    for station_index, station in enumerate(record["catchment"].values.tolist()):
        yield station, {"date": dates, **{name: values[:, station_index] for name, values in series_by_name.items()}}


def _volume(flow: np.ndarray, record: xr.Dataset, station: object) -> np.ndarray:
    """Return flow [mm/day] of a gauge in m³/s, rounded to 0.001."""
    area = float(record["catchment-area"].sel(catchment=station))
    return np.round(cubic_metres_per_second(flow.astype(np.float64), area), 3)


def _topography(record: xr.Dataset) -> pd.DataFrame:
    series_by_name = {column: record[name].values for column, name in TOPOGRAPHY.items() if name in record.variables}
    return pd.DataFrame({"gauge_id": record["catchment"].values, **series_by_name})
