"""What was not measured is unobserved in every container: codes for missing, marks of filled values, answers read again."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from hydromae.datasets.map_file import MapFile
from hydromae.datasets.map_files import MapSeries
from hydromae.datasets.reader import load_record
from hydromae.datasets.seed_flow_table import FlowTable
from hydromae.errors import InputError
from hydromae.io import table
from hydromae.io.long_table import LongTable
from hydromae.io.unobserved import is_missing_code, mark_columns
from hydromae.preprocess.missing import MissingSummary
from hydromae.preprocess.missing_sources import list_variables
from hydromae.preprocess.prepare import prepare
from hydromae.store.zarr_store import FORMAT, is_store, load_store, open_store

DAYS = pd.date_range("2001-01-01", periods=5)
PLACE = {"latitude": 52.0, "longitude": -1.0, "catchment-area": 86.4}
MISSING_CODES = (np.nan, -99999.0, 1e20, -1e20, 9.969209968386869e36, np.inf, -np.inf, -32767.0, -2147483647.0, -9.2e18)


def answered() -> xr.Dataset:
    """Five days of one river, flow 1 … 5 mm/day; the third is an answer, as `predict` marks it, and so is its rain."""
    flow = np.arange(1.0, 6.0)[:, None]
    origins = np.array([[0], [0], [1], [0], [0]], np.int8)
    held = {name: (("time", "catchment"), flow, {"units": "mm/day"}) for name in ("riverflow", "precipitation")}
    held |= {f"{name}_origin": (("time", "catchment"), origins) for name in ("riverflow", "precipitation")}
    quantile = flow + np.array([-0.1, 0.1])[:, None, None]
    held["riverflow_quantile"] = (("quantile", "time", "catchment"), quantile, {"units": "mm/day"})
    static = {name: ("catchment", [value]) for name, value in PLACE.items()}
    return xr.Dataset(held | static, {"time": DAYS, "catchment": [7], "quantile": [0.05, 0.95]})


def long_frame() -> pd.DataFrame:
    return answered().drop_dims("quantile").to_dataframe().reset_index().rename(columns={"time": "date"})


def saved(kind: str, path: Path) -> Path:
    if kind in ("csv", "parquet"):
        place = path / f"answer.{kind}"
        long_frame().to_csv(place, index=False) if kind == "csv" else long_frame().to_parquet(place, index=False)
        return place
    place = path / f"answer.{kind}"
    if kind == "nc":
        answered().to_netcdf(place, engine="h5netcdf")
    else:
        answered().to_zarr(place, zarr_format=3, consolidated=False)
    return place


@pytest.mark.parametrize("kind", ["csv", "parquet", "nc", "zarr"])
def test_an_answer_read_again_is_unobserved_where_it_was_answered(kind: str, tmp_path: Path) -> None:
    place = saved(kind, tmp_path)
    record = load_record(place)
    for name in ("riverflow", "precipitation"):
        np.testing.assert_array_equal(record[name].values[:, 0], [1, 2, np.nan, 4, 5])
    assert "riverflow_quantile" not in record and "riverflow_origin" not in record
    store = load_store(prepare(place, tmp_path / "store.zarr"))
    np.testing.assert_array_equal(store["riverflow"].values[:, 0], [1, 2, np.nan, 4, 5])
    counts = {h.variable: MissingSummary.of(h).report()["by_decade"]["2000s"]["filled"] for h in list_variables(place)}
    assert counts == {"riverflow": 1, "precipitation": 1}


def test_an_answer_with_the_stamp_of_a_store_is_none(tmp_path: Path) -> None:
    place = saved("nc", tmp_path)
    made = Path(prepare(place, tmp_path / "store.zarr"))
    origins = answered()["riverflow_origin"].drop_vars(["time", "catchment"]).to_dataset()
    assert is_store(made)
    origins.to_zarr(made, mode="a", zarr_format=3, consolidated=False)  # as older versions wrote answers
    zarr.open_group(made, mode="r+").update_attributes({"hydromae_format": FORMAT})
    assert not is_store(made)
    with pytest.raises(InputError, match=r"store.zarr: is an answer \(it has riverflow_origin\).*hydromae prepare"):
        open_store(made)
    np.testing.assert_array_equal(load_record(made)["riverflow"].values[:, 0], [1, 2, np.nan, 4, 5])


def test_a_mark_goes_with_the_column_that_gives_the_variable(tmp_path: Path) -> None:
    frame = long_frame().rename(columns={"riverflow": "discharge_vol"})
    assert np.isnan(table.from_frame(frame)["riverflow"].values[2, 0])
    named = long_frame().rename(columns={"riverflow": "riverflow [m3/s]"})
    assert np.isnan(table.from_frame(named)["riverflow"].values[2, 0])
    frame["ID"], frame["evaporation"] = frame["catchment"], 1.0
    frame.to_parquet(tmp_path / "flow.parquet", index=False)
    area = xr.DataArray([86.4], {"catchment": [7]}, ("catchment",))
    flow = FlowTable.open(tmp_path / "flow.parquet").days(DAYS, area)["riverflow"]
    np.testing.assert_allclose(flow.values[:, 0], [1, 2, np.nan, 4, 5])
    read = LongTable.read(tmp_path / "flow.parquet")
    assert read.marks("discharge_vol")[:, 0].tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("marks", "kept"),
    [
        ([0, 0, 2, 3, 1], [1, 2, np.nan, np.nan, np.nan]),
        ([0.0, np.nan, 1.0, None, 0], [1, 2, np.nan, 4, 5]),
        (["observed", "filled", "Forecast", "", "ungauged"], [1, np.nan, np.nan, 4, np.nan]),
        ([False, True, False, False, False], [1, np.nan, 3, 4, 5]),
        (["0", "4", "missing", "4.0", "observed"], [1, np.nan, np.nan, np.nan, 5]),
    ],
)
def test_spellings_of_an_origin(marks: list, kept: list) -> None:
    frame = long_frame().assign(riverflow_origin=marks)
    np.testing.assert_array_equal(table.from_frame(frame)["riverflow"].values[:, 0], kept)


def test_a_mark_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="riverflow_origin holds 'good'; write 0 for observed, 1 for filled"):
        table.from_frame(long_frame().assign(riverflow_origin="good"))
    with pytest.raises(InputError, match="riverflow_filled holds 'perhaps'; write true where"):
        table.from_frame(long_frame().assign(riverflow_filled="perhaps"))
    with pytest.raises(InputError, match=r"riverflow_origin has the dimensions \('x',\)"):
        table.from_dataset(answered().assign(riverflow_origin=("x", [0, 1])))


def test_marks_of_filled_values_count_in_datasets_too() -> None:
    is_filled = answered()[["riverflow", *PLACE]].assign(
        riverflow_filled=(("time", "catchment"), answered()["riverflow"].values > 3)
    )
    np.testing.assert_array_equal(table.from_dataset(is_filled)["riverflow"].values[:, 0], [1, 2, 3, np.nan, np.nan])
    assert mark_columns("riverflow [m3/s]") == ("riverflow [m3/s]_filled", "riverflow_filled", "riverflow_origin")


def test_numbers_that_are_codes() -> None:
    assert is_missing_code(np.array(MISSING_CODES)).all() and is_missing_code(np.array(MISSING_CODES, np.float32)).all()
    assert not is_missing_code(np.array([-9999.0, -999.0, 0.0, -0.0, 1e6, -40000.0, 9999.0])).any(), (
        "a file has to declare these"
    )
    for kind, code in (("i1", -127), ("i2", -32767), ("i4", -2147483647), ("i8", -9223372036854775806)):
        assert is_missing_code(np.array([0, code], kind)).tolist() == [False, True]
    for kind, code in (("u1", 255), ("u2", 65535), ("u4", 4294967295), ("u8", 18446744073709551614)):
        assert is_missing_code(np.array([0, code], kind)).tolist() == [False, True]
    assert is_missing_code(np.array([-127.0, 255.0])).tolist() == [False, False]
    signalling = np.array([0x7FA00000, 0x3F800000], np.uint32).view(
        np.float32
    )  # a NaN that warns where it is converted
    assert is_missing_code(signalling).tolist() == [True, False]


@pytest.mark.parametrize("code", [*MISSING_CODES, "NaN", "NA", "M", "---", "", "null", "n/a"])
@pytest.mark.parametrize("kind", ["frame", "csv", "parquet", "wide"])
def test_a_code_is_the_same_in_every_table(code: object, kind: str, tmp_path: Path) -> None:
    frame = long_frame().drop(columns=["riverflow_origin", "precipitation_origin"])
    frame["riverflow"] = frame["riverflow"].astype(object if isinstance(code, str) else float)
    frame.loc[2, "riverflow"] = code
    if kind == "wide":
        wide = frame.pivot(index="date", columns="catchment", values="riverflow")
        wide.attrs["units"] = "mm/day"
        record = table.from_frame(wide)
    elif kind == "frame":
        record = table.from_frame(frame)
    else:
        if kind == "csv":
            frame.to_csv(tmp_path / "t.csv", index=False)
        else:
            frame.astype({"riverflow": str} if isinstance(code, str) else {}).to_parquet(
                tmp_path / "t.parquet", index=False
            )
        record = load_record(tmp_path / f"t.{kind}")
    np.testing.assert_array_equal(record["riverflow"].values[:, 0], [1, 2, np.nan, 4, 5])


@pytest.mark.parametrize("kind", ["nc", "zarr", "memory"])
def test_a_code_is_the_same_in_every_dataset(kind: str, tmp_path: Path) -> None:
    """A river for each code, one whose file declares −9999, and one of packed integers that declare nothing."""
    flow = np.repeat(answered()["riverflow"].values, len(MISSING_CODES), axis=1)
    flow[2] = MISSING_CODES
    held = xr.Dataset({"riverflow": (("time", "catchment"), flow, {"units": "mm/day"})}, {"time": DAYS})
    held["precipitation"] = (held["riverflow"].dims, np.where(flow == flow[0], -9999.0, 1.0), {"units": "mm/day"})
    held["precipitation"].attrs["missing_value" if kind == "memory" else "_FillValue"] = -9999.0
    rain = np.where(flow == flow[0], -32767, 20).astype(np.int16)
    packed = {"units": "degC", "scale_factor": 0.5, "add_offset": 0.25}
    held["temperature"] = (held["riverflow"].dims, rain, packed)
    held = held.assign_coords(catchment=np.arange(len(MISSING_CODES)))
    if kind == "nc":
        held.to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    elif kind == "zarr":
        held.to_zarr(tmp_path / "t.zarr", zarr_format=3, consolidated=False)
    else:
        held = xr.decode_cf(held)
        held["precipitation"].attrs["missing_value"] = held["precipitation"].encoding.pop("missing_value")
        held["precipitation"] = held["precipitation"].fillna(-9999.0)
    record = table.from_dataset(held) if kind == "memory" else load_record(tmp_path / f"t.{kind}")
    np.testing.assert_array_equal(record["riverflow"].values, np.array([[1.0], [2], [np.nan], [4], [5]]) + 0 * flow[:1])
    first = np.arange(5) == 0
    np.testing.assert_array_equal(record["precipitation"].values, np.where(first[:, None], np.nan, 1.0) + 0 * flow[:1])
    np.testing.assert_array_equal(record["temperature"].values, np.where(first[:, None], np.nan, 10.25) + 0 * flow[:1])


@pytest.mark.parametrize("kind", ["nc", "zarr", "memory"])
@pytest.mark.parametrize(("key", "number"), [("scale_factor", 0.0), ("scale_factor", np.nan), ("add_offset", np.inf)])
def test_packing_that_loses_the_values_is_refused(kind: str, key: str, number: float, tmp_path: Path) -> None:
    packing = {"units": "mm/day", "scale_factor": 0.1, key: number}
    held = xr.Dataset({"riverflow": (("time", "catchment"), np.ones((5, 1), np.int16), packing)}, {"time": DAYS})
    held = held.assign_coords(catchment=[39001])
    if kind == "nc":
        held.to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    elif kind == "zarr":
        held.to_zarr(tmp_path / "t.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match=f"riverflow is packed with {key} = {number}; write its values again"):
        _ = table.from_dataset(xr.decode_cf(held)) if kind == "memory" else load_record(tmp_path / f"t.{kind}")


def test_a_fill_value_that_is_text_is_refused(tmp_path: Path) -> None:
    held = xr.Dataset({"riverflow": (("time", "catchment"), np.ones((5, 1)), {"units": "mm/day"})}, {"time": DAYS})
    held.assign_coords(catchment=[39001]).to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    with h5py.File(tmp_path / "t.nc", "a") as file:
        del file["riverflow"].attrs["_FillValue"]
        file["riverflow"].attrs["_FillValue"] = ""
    with pytest.raises(InputError, match=r"t\.nc: riverflow has the _FillValue , which is not a number"):
        load_record(tmp_path / "t.nc")


def test_hdf5_maps_have_codes_and_declare_others(tmp_path: Path) -> None:
    days = np.arange(np.datetime64("2001-01-01"), np.datetime64("2001-01-03"))
    with h5py.File(tmp_path / "precipitation_a.h5", "w") as file:
        file["data"] = np.array([[[1.0, -9999.0]], [[9.969209968386869e36, -32767.0]]], np.float32)
        file["data"].attrs["_FillValue"] = np.float32(-9999.0)
        file["dates"] = np.array(days.astype(str), dtype="S10")
    maps = MapSeries.over((MapFile.open(tmp_path / "precipitation_a.h5", "precipitation"),), days)
    np.testing.assert_array_equal(maps.block(0, 2, np.arange(2)), [[1, np.nan], [np.nan, np.nan]])


def test_a_wide_answer_is_asked_again_without_what_it_says_beside_a_river() -> None:
    wide = pd.DataFrame({7: [1.0, 2.0, 3.0], "7_origin": [0, 1, 0], "7_q05": 0.5, 8: [4.0, 1e20, 6.0]}, DAYS[:3])
    wide.attrs["units"] = "mm/day"
    record, layout = table.read_frame(wide)
    np.testing.assert_array_equal(record["riverflow"].values.T, [[1, np.nan, 3], [4, np.nan, 6]])
    told = record["riverflow"].copy(data=np.float32([[1, 4], [9, 8], [3, 6]]))
    origin = record["riverflow"].isnull().astype(np.int8)
    back = layout.restore(record.assign(riverflow=told, riverflow_origin=origin), record)
    assert list(back.columns) == [7, "7_origin", 8, "8_origin"], "the quantile is of the former answer"
    assert back[7].tolist() == [1, 9, 3] and back[8].tolist() == [4, 8, 6] and back["7_origin"].tolist() == [0, 1, 0]
