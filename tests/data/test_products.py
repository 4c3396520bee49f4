"""Products as they are downloaded: each built to the letter of its documentation, with its traps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.cli import main
from hydromae.datasets import nrfa
from hydromae.datasets.discovery import find_product
from hydromae.datasets.products import PRODUCTS
from hydromae.datasets.reader import open_record
from hydromae.errors import InputError
from hydromae.preprocess.describe import unmatched_lines
from hydromae.preprocess.prepare import prepare
from hydromae.store.zarr_store import load_store
from hydromae.variables import ATTRIBUTES
from records import rain_maps

DAYS = pd.date_range("2010-01-01", "2010-12-31")
FORMATS = Path(__file__).parents[3] / "shared" / "formats"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def series(columns: dict[str, float], days: pd.DatetimeIndex = DAYS, date: str = "%Y-%m-%d") -> pd.DataFrame:
    """Each column is its number plus the day's place."""
    frame = pd.DataFrame({name: start + np.arange(len(days)) / 100 for name, start in columns.items()})
    return frame.assign(date=days.strftime(date))[["date", *columns]]


def camels_1(folder: Path) -> Path:
    """Two gauges; the first has no flow in spring, and its flow comes empty."""
    columns = {"precipitation": 1.0, "pet": 2.0, "temperature": 3.0, "discharge_spec": 4.0, "discharge_vol": 40.0}
    columns |= {"peti": 5.0, "humidity": 6.0, "shortwave_rad": 7.0, "longwave_rad": 8.0, "windspeed": 9.0}
    for gauge, more in ((1001, 0.0), (39001, 0.5)):
        frame = series({name: start + more for name, start in columns.items()})
        frame.loc[60:120, ["discharge_spec", "discharge_vol"]] = np.nan if gauge == 1001 else 1.0
        file = folder / "data" / "timeseries" / f"CAMELS_GB_hydromet_timeseries_{gauge}_19701001-20150930.csv"
        write(file, frame.to_csv(index=False))
    topography = (
        "gauge_id,gauge_name,gauge_lat,gauge_lon,gauge_easting,gauge_northing,gauge_elev,area,dpsbar,elev_mean,elev_min,"
        "elev_10,elev_50,elev_90,elev_max\n"
        "1001,Wick at Tarroul,58.48,-3.27,326202,954915,13,161.9,30.1,80,12.9,30.6,78.8,135.2,241.4\n"
        "39001,Thames at Kingston,51.42,-0.31,517700,169800,5,9948,43.2,110,4.9,60.2,100.1,170.2,330.1\n"
        "39002,Not downloaded,51.6,-1.2,458000,193000,5,3444,43.2,110,4.9,60.2,100.1,170.2,330.1\n"
    )
    write(folder / "data" / "CAMELS_GB_topographic_attributes.csv", topography)
    write(folder / "data" / "CAMELS_GB_hydrologic_attributes.csv", "gauge_id,baseflow_index\n1001,0.4\n39001,0.6\n")
    return folder


def test_camels_gb_version_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, store = camels_1(tmp_path / "camels"), tmp_path / "rivers.zarr"
    assert main(["prepare", str(folder), str(store), "--training-period", "2010-01-01", "2010-06-30"]) == 0
    told = capsys.readouterr().out
    assert "CAMELS-GB version 1, 2 files of series" in told and "potential_evaporation (peti)" in told
    assert "missing: propwet, bfihost" in told.replace("\n", " ")
    record = load_store(store)
    assert record["catchment"].values.tolist() == [1001, 39001]
    np.testing.assert_allclose(record["riverflow"].values[:3, 1], [4.5, 4.51, 4.52], rtol=1e-6)
    np.testing.assert_allclose(record["potential_evaporation"].values[0], [5.0, 5.5])
    assert record["riverflow"].isel(catchment=0).isnull().values[60:121].all()
    assert record["catchment-area"].values.tolist() == [161.9, 9948.0] and np.isnan(record["bfihost"]).all()
    assert record["easting"].values.tolist() == [326202.0, 517700.0]


def test_camels_gb_version_2_takes_what_goes_on_and_minds_no_ragged_table(tmp_path: Path) -> None:
    columns = {"precipitation_cehgear": 1.0, "precipitation_haduk": 2.0, "pet_chess": 3.0, "pet_hydrope": 4.0}
    columns |= {"peti_chess": 5.0, "peti_hydrope": 6.0, "temperature_chess": 7.0, "temperature_haduk": 8.0}
    frame = series({**columns, "discharge_spec": 9.0, "discharge_vol": 10.0})
    frame.loc[200:, [c for c in frame if "chess" in c or "cehgear" in c]] = np.nan  # they end in 2019
    place = tmp_path / "Catchment_Timeseries" / "hydro-meteorological" / "daily"
    write(
        place / "camels_gb_v2_hydromet_daily_timeseries_1001_19701001-20220930.csv",
        frame.to_csv(index=False, na_rep=""),
    )
    tables = tmp_path / "Catchment_Attributes"
    write(tables / "camels_gb_v2_hydrometry_attributes.csv", "gauge_id,a,b\n1001,1,2,3\n1002,1\n")
    write(
        tables / "camels_gb_v2_topographic_attributes.csv",
        "gauge_id,gauge_lat,gauge_lon,area\n1001,58.48,-3.27,161.9\n",
    )
    record = open_record(tmp_path)
    first = [float(record[name].values[0, 0]) for name in ("precipitation", "potential_evaporation", "temperature")]
    assert first == [2.0, 6.0, 8.0] and float(record["riverflow"].values[0, 0]) == 9.0
    assert record["precipitation"].notnull().all()


@pytest.mark.parametrize("kind", ["csv", "netcdf"])
def test_caravan(tmp_path: Path, kind: str) -> None:
    columns = {"streamflow": 1.0, "total_precipitation_sum": 2.0, "temperature_2m_mean": 3.0}
    columns |= {"temperature_2m_max": 9.0, "potential_evaporation_sum_ERA5_LAND": 4.0}
    columns |= {"potential_evaporation_sum_FAO_PENMAN_MONTEITH": 5.0, "volumetric_soil_water_layer_1_mean": 0.3}
    for gauge, start in (("camelsgb_1001", 0), ("camelsgb_39001", 100)):  # the second begins later
        frame = series(columns, DAYS[start:])
        place = tmp_path / "timeseries" / kind / "camelsgb"
        place.mkdir(parents=True, exist_ok=True)
        if kind == "csv":
            frame.to_csv(place / f"{gauge}.csv", index=False)
        else:
            dataset = frame.assign(date=DAYS[start:]).set_index("date").to_xarray()
            dataset.attrs["Units"] = "streamflow: mm/d"
            dataset.to_netcdf(place / f"{gauge}.nc", engine="h5netcdf")
    other = "gauge_id,gauge_lat,gauge_lon,gauge_name,country,area\n"
    other += "camelsgb_1001,58.48,-3.27,Wick,GB,161.9\ncamelsgb_39001,51.42,-0.31,Thames,GB,9948\n"
    write(tmp_path / "attributes" / "camelsgb" / "attributes_other_camelsgb.csv", other)
    write(
        tmp_path / "attributes" / "camelsgb" / "attributes_caravan_camelsgb.csv", "gauge_id,p_mean\ncamelsgb_1001,3\n"
    )
    record = open_record(tmp_path)
    assert record["catchment"].values.tolist() == ["camelsgb_1001", "camelsgb_39001"]
    assert record["potential_evaporation"].values[0, 0] == 5.0, "Penman–Monteith's, not ERA5-Land's"
    assert record["riverflow"].isel(catchment=1).isnull().values[:100].all()
    assert record["riverflow"].values[100, 1] == 1.0 and record["catchment-area"].values[1] == 9948.0


def test_caravan_takes_attributes_by_the_number_of_the_nrfa(tmp_path: Path) -> None:
    place = tmp_path / "raw" / "timeseries" / "csv" / "camelsgb"
    place.mkdir(parents=True)
    for gauge in (1001, 39001):
        frame = series({"streamflow": 1.0, "total_precipitation_sum": 2.0})
        frame.to_csv(place / f"camelsgb_{gauge}.csv", index=False)
    rows = [
        {a.name: min(place, a.valid[1]) for a in ATTRIBUTES} | {"id": gauge}
        for gauge, place in ((1001, 58.0), (39001, 51.0))
    ]
    table, told = tmp_path / "attributes.csv", list[str]()
    pd.DataFrame(rows).to_csv(table, index=False)
    record = load_store(prepare(tmp_path / "raw", tmp_path / "a.zarr", attributes=table, progress=told.append))
    assert record["catchment"].values.tolist() == ["camelsgb_1001", "camelsgb_39001"]
    assert record["latitude"].values.tolist() == [58.0, 51.0] and not any("of the 2" in line for line in told)
    pd.DataFrame(rows[:1]).to_csv(table, index=False)
    rivers = open_record(tmp_path / "raw", table)
    assert rivers["dpsbar"].values[0] == 58.0 and np.isnan(rivers["bfihost"].values[1])
    (line,) = unmatched_lines(rivers, table)
    assert line.endswith("attributes.csv: has 1 of the 2 catchments; the first it lacks is camelsgb_39001")
    pd.DataFrame(rows[:1]).assign(id=7).to_csv(table, index=False)
    with pytest.raises(InputError, match=r"none of its 2 catchments \(first: camelsgb_1001\) is in the attributes"):
        open_record(tmp_path / "raw", table)


def nrfa_csv(station: int, kind: str, units: str, values: list[str]) -> str:
    """A file as `format=nrfa-csv` gives it: `key,subkey,value`, then days, sometimes with a third column."""
    header = [
        "file,timestamp,2025-10-14T08:22:36",
        "database,id,nrfa-public-30",
        "database,name,UK National River Flow Archive",
        f"station,id,{station}",
        'station,name,"Wick, at Tarroul"',
        "station,gridReference,ND2620254915",
        "station,descriptionSummary,",
        f"dataType,id,{kind}",
        "dataType,name,Gauged Daily Flow",
        "dataType,parameter,Flow",
        f"dataType,units,{units}",
        "dataType,period,P1D",
        "dataType,measurementType,Mean",
        "data,first,2022-01-01",
        f"data,last,2022-01-{len(values):02d}",
    ]
    return "\n".join([*header, *values]) + "\n"


STATION = {"id": 1001, "name": "Wick", "catchment-area": 161.9, "easting": 326202.0, "northing": 954915.0}
STATION |= {"latitude": 58.4762, "longitude": -3.26706, "bfihost": 0.36, "propwet": None}


def test_nrfa_csv_by_hand_with_the_catalogue_beside(tmp_path: Path) -> None:
    flow = ["2022-01-01,1.552", "2022-01-02,,", "2022-01-04,7.232,E"]  # a value that lacks, a day that lacks, a flag
    write(tmp_path / "1001_gdf.csv", nrfa_csv(1001, "gdf", "m3/s", flow))
    write(tmp_path / "1001_cdr.csv", nrfa_csv(1001, "cdr", "mm", ["2022-01-01,0.2", "2022-01-02,1.7"]))
    write(tmp_path / "notes.csv", "a,b\n1,2\n")
    write(tmp_path / "station-info.json", json.dumps({"data": [STATION]}))
    record = open_record(tmp_path)
    assert record["catchment"].values.tolist() == [1001] and record.sizes["time"] == 4
    flows = record["riverflow"].values[:, 0]
    np.testing.assert_allclose(flows[[0, 3]], np.array([1.552, 7.232]) * 86.4 / 161.9, rtol=1e-6)
    assert np.isnan(flows[[1, 2]]).all() and record["precipitation"].values[1, 0] == np.float32(1.7)
    assert float(record["bfihost"][0]) == 0.36 and np.isnan(record["propwet"]).all()
    found = find_product(tmp_path, PRODUCTS)
    assert found is not None
    plan = " ".join(found.plan())
    assert "riverflow (gdf)" in plan and "missing: temperature, potential_evaporation" in plan and "propwet" in plan
    assert "attributes from station-info.json" in plan and "not read: 1 files: notes.csv" in plan


@pytest.mark.parametrize(
    ("kind", "period", "rows"),
    [
        ("cmr", "P1M", ["1989-01,88", "1989-02,70"]),
        ("amax-flow", "P1Y", ["1969-02-03T11:15:00,88", "1990-02-03T11:15:00,90"]),
        ("pot-stage", "", ["1969-02-03T11:15:00,2.5"]),
        ("gmf", "P1M", ["1989-01,88"]),
        ("dmf", "P1D", ["1989-01-01,88"]),
    ],
)
def test_other_series_of_the_nrfa_are_listed_and_change_nothing(
    tmp_path: Path, kind: str, period: str, rows: list[str]
) -> None:
    write(tmp_path / "1001_gdf.csv", nrfa_csv(1001, "gdf", "m3/s", ["2022-01-01,1", "2022-01-02,2"]))
    write(tmp_path / "s.json", json.dumps({"data": [STATION]}))
    alone = open_record(tmp_path)
    write(tmp_path / f"1001_{kind}.csv", nrfa_csv(1001, kind, "m3/s", rows).replace("P1D", period))
    write(
        tmp_path / f"1001_{kind}.json",
        json.dumps(
            {"station": {"id": 1001}, "data-type": {"id": kind, "units": "m3/s"}, "data-stream": ["1989-01", 5]}
        ),
    )
    xr.testing.assert_identical(open_record(tmp_path), alone)
    found = find_product(tmp_path, PRODUCTS)
    assert found is not None and f"not read: 2 files: 1001_{kind}.csv, 1001_{kind}.json" in " ".join(found.plan())


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("2022-01-02", "gdf has no value after '2022-01-02'"),
        ("2022-0,1", "'2022-0' is not a day"),
        ("2022-01-02,1.2.3", "gdf holds '1.2.3', which is not a number"),
        ("2022-01-02,1e", "gdf holds '1e', which is not a number"),
    ],
)
def test_a_bad_row_of_the_nrfa_names_file_and_line(tmp_path: Path, row: str, told: str) -> None:
    """The header of `nrfa_csv` has 15 lines."""
    write(tmp_path / "1001_gdf.csv", nrfa_csv(1001, "gdf", "m3/s", ["2022-01-01,1", row, "2022-01-03,3"]))
    with pytest.raises(InputError, match=rf"1001_gdf.csv: line 17: {told}; correct it"):
        open_record(tmp_path)


def test_a_series_of_the_nrfa_without_the_end_of_its_header_is_refused(tmp_path: Path) -> None:
    """All its rows would be taken for the header, and the river would have no flow."""
    text = nrfa_csv(1001, "gdf", "m3/s", ["2022-01-01,1.5"])
    (tmp_path / "1001_gdf.csv").write_text(text.replace("data,last", "data,lasu"))
    with pytest.raises(InputError, match=r"1001_gdf\.csv: has no row data,last before its days; download it again"):
        nrfa.open_series(tmp_path / "1001_gdf.csv")


def test_nrfa_csv_that_went_through_a_spreadsheet(tmp_path: Path) -> None:
    days = [f"{day.strftime('%d/%m/%Y')},{day.day}" for day in pd.date_range("2022-01-30", periods=4)]
    write(tmp_path / "g.csv", nrfa_csv(1001, "gdf", "m3/s", days))
    write(tmp_path / "s.json", json.dumps({"data": [STATION]}))
    record = open_record(tmp_path)
    assert [str(day)[:10] for day in record["time"].values] == ["2022-01-30", "2022-01-31", "2022-02-01", "2022-02-02"]
    write(tmp_path / "g.csv", nrfa_csv(1001, "gdf", "m3/s", ["01/13/2022,1"]))
    with pytest.raises(InputError, match="01/13/2022, which is not day/month/year"):
        open_record(tmp_path)


@pytest.mark.parametrize("pairs", [False, True])
def test_nrfa_json_flat_or_in_pairs(tmp_path: Path, pairs: bool) -> None:
    stream = [["2022-01-01", 1.0], ["2022-01-03", 3.0]]
    flat = [part for pair in stream for part in pair]
    kind = {"id": "gdf", "name": "Gauged Daily Flow", "units": "m3/s", "period": "P1D"}
    told = {
        "timestamp": "x",
        "station": {k: STATION[k] for k in ("id", "name", "latitude", "longitude")},
        "data-type": kind,
    }
    write(tmp_path / "gdf.json", json.dumps({**told, "data-stream": stream if pairs else flat}))
    with pytest.raises(InputError, match="without catchment-area"):
        open_record(tmp_path)
    write(tmp_path / "info.json", json.dumps({"data": [STATION]}))
    flows = open_record(tmp_path)["riverflow"].values[:, 0]
    np.testing.assert_allclose(flows[[0, 2]], np.array([1.0, 3.0]) * 86.4 / 161.9, rtol=1e-6)
    assert np.isnan(flows[1])


@pytest.mark.real
def test_the_samples_of_the_nrfa(tmp_path: Path) -> None:
    if not FORMATS.is_dir():
        pytest.skip("the samples are not here")
    for file in FORMATS.glob("*.json"):
        write(tmp_path / file.name, file.read_text(encoding="utf-8"))
    record = open_record(tmp_path)
    assert record["catchment"].values.tolist() == [1001] and record.sizes["time"] == 31
    np.testing.assert_allclose(record["riverflow"].values[0, 0], 1.552 * 86.4 / 161.9, rtol=1e-6)
    assert record["precipitation"].values[3, 0] == np.float32(9.1)
    assert all(record[attribute.name].notnull().all() for attribute in ATTRIBUTES)


def test_two_products_in_one_folder_are_refused(tmp_path: Path) -> None:
    camels_1(tmp_path)
    write(tmp_path / "g.csv", nrfa_csv(1001, "gdf", "m3/s", ["2022-01-01,1"]))
    with pytest.raises(InputError, match=r"has files of CAMELS-GB version 1 .* and of NRFA"):
        open_record(tmp_path)


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no files of a known product"):
        open_record(tmp_path)
    file = write(tmp_path / "g.csv", nrfa_csv(1001, "gdf", "m3/s", ["2022-01-01,high"]))
    with pytest.raises(InputError, match=r"gdf holds 'high'"):
        open_record(tmp_path)
    write(file, nrfa_csv(1001, "gdf", "m3/s", ["2022-01-01,1", "2022-01-01,2"]))
    with pytest.raises(InputError, match="has 2022-01-01 twice"):
        open_record(tmp_path)
    write(file, "file,timestamp,nrfa\nstation\n")
    with pytest.raises(InputError, match="not a series of the NRFA"):
        open_record(tmp_path)
    file.unlink()
    write(
        tmp_path / "g.json",
        '{"station": {"id": 1}, "data-type": {"id": "gdf", "units": "m3/s"}, "data-stream": ["2022-01-01"]}',
    )
    with pytest.raises(InputError, match="not a series of the NRFA"):
        open_record(tmp_path)
    wrong = tmp_path / "c" / "CAMELS_GB_hydromet_timeseries_1001_19701001-20150930.csv"
    write(wrong, "day,flow\n1,2\n")
    with pytest.raises(InputError, match="no column date"):
        open_record(wrong.parent)


def test_a_gauge_that_comes_twice_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.csv", nrfa_csv(1001, "gdf", "m3/s", ["2022-01-01,1"]))
    with pytest.raises(InputError, match="gauge 1001 has gdf in 2 files"):
        open_record(tmp_path)


def test_a_folder_of_downloads_is_read_past_what_else_lies_there(tmp_path: Path) -> None:
    """Copies, other files, what macOS packs beside files; what is a series but for how it was saved is refused by name."""
    place = tmp_path / "Téléchargements (2)"
    camels_1(place / "CAMELS GB")
    camels_1(place / "copy of it")
    write(place / "package.json", '{"data": [1, 2]}')
    write(place / "broken.json", "[1,")
    write(place / "__MACOSX" / "._rain.nc", "no NetCDF")
    write(place / "CAMELS GB" / "._hidden.csv", "x")
    write(place / "catalogue.csv", f"id,{','.join(a.name for a in ATTRIBUTES)}\n1001,{','.join(['0.5'] * 11)}\n")
    found = find_product(place, PRODUCTS)
    assert found is not None and len(found.files) == 2 and len(found.duplicates) == 2
    plan = " ".join(found.plan())
    assert "duplicates, read once: 2 files: copy of it" in plan and "package.json" in plan and "missing" not in plan
    record = load_store(prepare(place, tmp_path / "out.zarr"))
    assert record["bfihost"].values.tolist()[0] == 0.5 and np.isnan(record["bfihost"].values[1]), "of the catalogue"
    assert record["catchment-area"].values.tolist() == [161.9, 9948.0], "its own"
    broken = {
        "semicolons": "file;timestamp;x\n",
        "is empty": "",
        "not a series": "a,b\n",
        "UTF-16": "file,timestamp,nrfa",
    }
    for told, head in broken.items():
        file = write(place / "39001_gdf.csv", head)
        if told == "UTF-16":
            file.write_text(head, encoding="utf-16")
        with pytest.raises(InputError, match=f"39001_gdf.csv: .*{told}"):
            open_record(place)


def test_caravan_in_two_formats_is_read_once_and_the_folder_of_a_source_is_known(tmp_path: Path) -> None:
    frame = series({"streamflow": 1.0, "total_precipitation_sum": 2.0})
    write(tmp_path / "camelsgb" / "camelsgb_1001.csv", frame.to_csv(index=False))
    write(tmp_path / "camelsgb" / "camelsgb_notes.csv", "a,b\n1,2\n")
    assert open_record(tmp_path)["riverflow"].values[0, 0] == 1.0
    packed = frame.assign(date=DAYS, streamflow=7.0).set_index("date").to_xarray()
    packed.to_netcdf(tmp_path / "camelsgb" / "camelsgb_1001.nc", engine="h5netcdf")
    found = find_product(tmp_path, PRODUCTS)
    assert found is not None and [file.suffix for file in found.duplicates] == [".csv"]
    assert found.read()["riverflow"].values[0, 0] == 7.0


def test_cosmos_uk_is_known_by_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = {"t": {"values": ["2015-01-01T00:00:00Z"]}, "x": {"values": [-1.2]}, "y": {"values": [51.7]}}
    told = {"type": "Coverage", "id": "CHIMN", "domain": {"axes": axes}, "ranges": {"cosmos_vwc": {"values": [30.0]}}}
    told["parameters"] = {"cosmos_vwc": {"unit": {"symbol": "%"}}}
    write(tmp_path / "raw" / "CHIMN.json", json.dumps(told))
    assert main(["prepare", str(tmp_path / "raw"), str(tmp_path / "soil.zarr")]) == 0
    assert "uses soil_moisture (cosmos_vwc)" in capsys.readouterr().out
    assert float(load_store(tmp_path / "soil.zarr")["soil_moisture"].values[0, 0]) == pytest.approx(0.3, rel=1e-6)
    write(tmp_path / "raw" / "two.json", json.dumps({**told, "type": "CoverageCollection", "coverages": [told, told]}))
    with pytest.raises(InputError, match="has 2 sites"):
        open_record(tmp_path / "raw")


def test_a_folder_without_a_record_says_what_lies_there(tmp_path: Path) -> None:
    rain_maps(190000.0, 290000.0).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=r"daily maps \(HadUK-Grid: precipitation\), but no gauges"):
        prepare(tmp_path, tmp_path / "out.zarr")
    monthly = rain_maps(190000.0, 290000.0).assign_attrs(frequency="mon")
    monthly.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=r"has monthly values; download daily maps"):
        prepare(tmp_path, tmp_path / "out.zarr")
    (tmp_path / "a.nc").rename(tmp_path / "Caravan-nc.zip")
    with pytest.raises(InputError, match=r"no record in this folder.*Caravan-nc.zip is packed"):
        prepare(tmp_path, tmp_path / "out.zarr")


def test_a_table_of_ones_own_is_described_before_it_is_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"date": DAYS, "catchment": 7, "riverflow": 1.0, "latitude": 52.0, "longitude": -1.0})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    said: list[str] = []
    prepare(tmp_path, tmp_path / "out.zarr", progress=said.append)
    assert said[0].endswith("mine.csv: 1 catchments, 2010-01-01 … 2010-12-31") and said[1] == "uses riverflow"
    assert said[2].startswith("missing: precipitation, temperature, potential_evaporation, minimum-altitude")


def test_gauges_without_a_position_make_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "mine.csv"
    both = pd.concat(
        [series({"riverflow": 1.0}).assign(id=name, latitude=place) for name, place in ((1, 51.5), (2, None))]
    )
    for more, said in (
        ({}, "2 of its 2 catchments (first: 1)"),
        ({"longitude": -1.0}, "1 of its 2 catchments (first: 2)"),
    ):
        both.assign(**more).to_csv(table, index=False)
        assert main(["prepare", str(table), str(tmp_path / "out.zarr")]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert said in told and "add latitude and longitude, or --attributes CSV" in told
        assert ("or leave them out" in told) == bool(more)
    assert not (tmp_path / "out.zarr").exists()


def test_a_folder_is_predicted_and_what_is_not_read_in_it_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = camels_1(tmp_path / "camels")
    (folder / "levels.csv").write_text("date,stage\n2010-01-01,1.5\n")
    assert main(["predict", str(folder), "--model", "gb-rivers", "--out", str(tmp_path / "answer.nc")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "levels.csv" in said.partition("not read: ")[2]
    answer = xr.load_dataset(tmp_path / "answer.nc", engine="h5netcdf")
    assert answer["riverflow"].notnull().all()
