"""A user's own tables: in, and back out in the same form."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.io import table


def test_a_long_table_becomes_a_record(long_table):
    record = table.from_frame(long_table)
    assert record["catchment"].values.tolist() == [7, 9]
    assert record.sizes["time"] == 4
    # m³/s × 86.4 / area: catchment 7 of 86.4 km² keeps its numbers, 9 of 864 km² has a tenth
    np.testing.assert_allclose(record["riverflow"].sel(catchment=7).values, [1, np.nan, np.nan, 3])
    np.testing.assert_allclose(record["riverflow"].sel(catchment=9).values, [np.nan, 4, 6, np.nan])
    np.testing.assert_array_equal(record["precipitation"].sel(catchment=9).values, [4, 3, 5, np.nan])
    np.testing.assert_array_equal(record["catchment-area"].values, [86.4, 864.0])


def test_units_in_a_name_and_the_first_of_two_flows(long_table):
    frame = long_table.rename(columns={"precipitation": "rainfall [m/day]"})
    frame["rainfall [m/day]"] /= 1000
    frame["discharge_spec"] = 5.0
    record = table.from_frame(frame)
    np.testing.assert_allclose(record["precipitation"].sel(catchment=7).values, [0, 1, np.nan, 2])
    assert float(record["riverflow"].sel(catchment=7)[0]) == 5.0


def test_index_levels_serve_as_columns(long_table):
    frame = long_table.assign(date=pd.to_datetime(long_table["date"]))
    for indexed in (
        frame.set_index(["date", "gauge_id"]),
        frame.set_index("date"),
        frame.set_index("date").rename_axis(None),
    ):
        xr.testing.assert_equal(table.from_frame(indexed), table.from_frame(long_table))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda f: f.drop(columns="date"), "no date column; name one date or time"),
        (lambda f: f.drop(columns="gauge_id"), "no catchment column; name one catchment"),
        (lambda f: f.drop(columns=["discharge_vol", "precipitation"]), "no riverflow, precipitation"),
        (lambda f: f.drop(columns="catchment-area"), "m3 s-1 without catchment-area"),
        (lambda f: f.assign(date=["27.02.2012"] * 6), "date is not all dates"),
        (lambda f: f.assign(date=["02/27/2012"] * 6), "02/27/2012, which is not day/month/year"),
        (lambda f: f.assign(date=[None] * 6), "date is empty in row 0"),
        (lambda f: f.assign(gauge_id=[7, None, 7, 9, 9, 9]), "gauge_id is empty in row 1"),
        (lambda f: f.assign(precipitation=["wet"] * 6), "precipitation holds 'wet'"),
        (lambda f: f.assign(date=["2012-02-28"] * 6), "catchment 7 has 2012-02-28 twice"),
    ],
)
def test_bad_tables_are_refused(long_table, change, line):
    with pytest.raises(InputError, match=line):
        table.from_frame(change(long_table), source="mine.csv")


def test_parquet_of_the_seed_layout(tmp_path, long_table):
    seed = long_table.rename(columns={"gauge_id": "ID", "precipitation": "evaporation"})
    path = tmp_path / "riverflow_evaporation.parquet"
    seed.to_parquet(path)
    record = table.read_record_file(path)
    assert set(record.data_vars) >= {"evaporation", "riverflow"}
    path.write_text("no parquet")
    with pytest.raises(InputError, match="not a readable parquet"):
        table.read_record_file(path)


def test_kinds_of_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        table.read_record_file(tmp_path / "absent.csv")
    (tmp_path / "a.xlsx").write_text("")
    with pytest.raises(InputError, match="unknown file type"):
        table.read_record_file(tmp_path / "a.xlsx")
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(InputError, match="not a readable Zarr group"):
        table.read_record_file(tmp_path / "a.zarr")


def test_a_dataset_may_name_its_sites_and_flow_otherwise(tmp_path):
    dataset = xr.Dataset(
        {"streamflow": (("time", "gauge_id"), [[8.64], [17.28]], {"units": "m^3/s"})},
        {"time": pd.date_range("2000-01-01", periods=2, unit="ns"), "gauge_id": [3]},
    )
    dataset["catchment-area"] = ("gauge_id", [8.64])
    record = table.from_dataset(dataset)
    np.testing.assert_allclose(record["riverflow"].values, [[86.4], [172.8]], rtol=1e-6)
    dataset.to_zarr(tmp_path / "mine.zarr", zarr_format=3, consolidated=False)
    np.testing.assert_allclose(
        table.read_record_file(tmp_path / "mine.zarr")["riverflow"].values, [[86.4], [172.8]], rtol=1e-6
    )
    dataset["streamflow"] = ("gauge_id", [1.0], {"units": "mm day-1"})
    with pytest.raises(InputError, match="streamflow has the dimensions"):
        table.from_dataset(dataset)
    with pytest.raises(InputError, match="it has nothing"):
        table.from_dataset(xr.Dataset())


def test_an_answer_goes_back_in_the_form_of_the_table(long_table):
    shuffled = long_table.iloc[[3, 0, 5, 1, 4, 2]]
    record, layout = table.read_frame(shuffled)
    answer = record.assign(riverflow=record["riverflow"].fillna(2.0))
    answer["riverflow_quantile"] = answer["riverflow"].expand_dims(quantile=[0.05, 0.95]) * xr.DataArray(
        [0.5, 2.0], dims="quantile"
    )
    answer["riverflow_origin"] = record["riverflow"].isnull().astype(np.int8)
    back = layout.restore(answer, record)
    assert list(back.columns) == [*long_table.columns, "riverflow_q05", "riverflow_q95", "riverflow_origin"]
    assert back.index.tolist() == shuffled.index.tolist()
    # an unobserved 2 mm/day is 2 m³/s on 86.4 km² and 20 m³/s on 864 km²; the sentinel is filled too
    np.testing.assert_allclose(back["discharge_vol"].values, [40, 1, 60, 2, 20, 3])
    # a quantile of what was observed is what was observed
    np.testing.assert_allclose(back["riverflow_q95"].values, [40, 1, 60, 4, 40, 3], rtol=1e-6)
    assert back["riverflow_origin"].tolist() == [0, 0, 0, 1, 1, 0]
    given = shuffled["discharge_vol"].values > 0
    assert (back["discharge_vol"].values[given] == shuffled["discharge_vol"].values[given]).all()
