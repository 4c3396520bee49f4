"""The form of a table or a dataset: an answer comes back in it, whatever the names, dates, units, types and order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hydromae.datasets import reader
from hydromae.errors import InputError
from hydromae.io import attributes as nrfa
from hydromae.io import table
from hydromae.io.csv_parquet import detect_dialect, read_csv_as_text
from hydromae.io.dataframe import FrameLayout
from hydromae.io.names import quantile_suffix
from hydromae.io.write import write_answer
from hydromae.preprocess.fill import fill

AREA = 43.2
"""Areas [km²] at which 1 mm/day is 0.5 m³/s."""
LEVELS = (0.025, 0.5, 0.995)
ADDED = ["riverflow_q02.5", "riverflow_q50", "riverflow_q99.5", "riverflow_origin"]


def answered(record: xr.Dataset) -> xr.Dataset:
    """A stand-in for a model: flow is 2 mm/day where it lacks, its quantiles 1, 2 and 4; weather is 7."""
    shape = (record.sizes["time"], record.sizes["catchment"])
    flow = record["riverflow"] if "riverflow" in record else xr.DataArray(np.full(shape, np.nan), dims=record.dims)
    answer = record.fillna({name: 7.0 for name in record.data_vars if record[name].dims == ("time", "catchment")})
    answer = answer.assign(riverflow=(("time", "catchment"), flow.fillna(2.0).values.astype(np.float32)))
    quantiles = np.stack([np.where(np.isnan(flow.values), 2.0 * times, flow.values) for times in (0.5, 1, 2)])
    answer["riverflow_quantile"] = (("quantile", "time", "catchment"), quantiles.astype(np.float32))
    answer["riverflow_origin"] = (("time", "catchment"), np.isnan(flow.values).astype(np.int8))
    return answer.assign_coords(quantile=list(LEVELS))


def ask(file: Path, out: Path, **options: str) -> pd.DataFrame | xr.Dataset:
    """What the command line does with a file, with the stand-in for a model; the answer as it is read from its file."""
    question = reader.read_for_prediction(file, as_text=out.suffix == ".csv", **options)
    is_table = out.suffix in (".csv", ".parquet")
    form = question.layout.to_frame if is_table else question.layout.to_dataset
    write_answer(form(answered(question.record), question.record), out, question.dialect)
    if out.suffix == ".parquet":
        return pd.read_parquet(out)
    return read_csv_as_text(out, detect_dialect(out)) if is_table else table.open_netcdf(out)


def ask_python(frame: pd.DataFrame) -> pd.DataFrame:
    record, layout = table.read_frame(frame)
    return layout.restore(answered(record), record)


QUESTION = """note,riverflow [m3/s],Date,gauge_id,catchment-area,flag
"a, b",51.8,05/01/2009 12:00,01013500,43.2,1
,,06/01/2009 12:00,01013500,43.2,
low,1.10,06/01/2009 12:00,01022500,43.2,2
"""
FILLED = f"""note,riverflow [m3/s],Date,gauge_id,catchment-area,flag,{",".join(ADDED)}
"a, b",51.8,05/01/2009 12:00,01013500,43.2,1,51.8,51.8,51.8,0
,1.0,06/01/2009 12:00,01013500,43.2,,0.5,1.0,2.0,1
low,1.10,06/01/2009 12:00,01022500,43.2,2,1.10,1.10,1.10,0
"""


@pytest.mark.parametrize(
    ("question", "filled", "encoding"),
    [
        (QUESTION, FILLED, "utf-8"),
        (QUESTION.replace("\n", "\r\n"), FILLED.replace("\n", "\r\n"), "utf-8-sig"),
        (QUESTION.replace("\nlow", "\ntief °"), FILLED.replace("\nlow", "\ntief °"), "cp1252"),
        (QUESTION, FILLED, "utf-16"),
    ],
)
def test_a_csv_file_comes_back_cell_by_cell_in_its_own_dialect(
    tmp_path: Path, question: str, filled: str, encoding: str
) -> None:
    (tmp_path / "q.csv").write_bytes(question.encode(encoding))
    ask(tmp_path / "q.csv", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes().decode(encoding) == filled


def test_semicolons_and_decimal_commas_stay(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("date;catchment;riverflow;note\n2020-01-01;1;1,5;a,b\n2020-01-02;1;;\n")
    record = table.read_record_file(tmp_path / "q.csv")
    np.testing.assert_array_equal(record["riverflow"].values, [[1.5], [np.nan]])
    ask(tmp_path / "q.csv", tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[1:] == ["2020-01-01;1;1,5;a,b;1,5;1,5;1,5;0", "2020-01-02;1;2,0;;1,0;2,0;4,0;1"]
    (tmp_path / "q.csv").write_text("date;catchment;riverflow;rain_flag\n2020-01-01;1;1,234;1.5\n")
    with pytest.raises(InputError, match=r"q.csv: holds numbers with decimal points and with decimal commas"):
        table.read_record_file(tmp_path / "q.csv")


def test_a_wide_csv_says_its_units_or_is_asked_for_them(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text(",01013500,2,note\n1/2/2009,1.5,,x\n2/2/2009,,,\n")
    with pytest.raises(InputError, match=r"q.csv: is wide .*has no units; give --units"):
        ask(tmp_path / "q.csv", tmp_path / "a.csv")
    ask(tmp_path / "q.csv", tmp_path / "a.csv", units="mm/day")
    river = ("_q02.5", "_q50", "_q99.5", "_origin")
    header = ["", "01013500", "2", "note", *(f"01013500{end}" for end in river), *(f"2{end}" for end in river)]
    lines = [line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines()]
    assert lines[0] == header
    assert lines[1] == ["1/2/2009", "1.5", "2.0", "x", "1.5", "1.5", "1.5", "0", "1.0", "2.0", "4.0", "1"]
    record = reader.read_for_prediction(tmp_path / "q.csv", units="mm/day").record
    assert record["catchment"].values.tolist() == ["01013500", "2"]
    assert [str(day)[:10] for day in record["time"].values] == ["2009-02-01", "2009-02-02"]
    (tmp_path / "q.csv").write_text("time,1 [l]\n2009-02-01,1.5\n")
    with pytest.raises(InputError, match="units 'l'"):
        table.read_record_file(tmp_path / "q.csv")
    (tmp_path / "q.csv").write_text("date,catchment,riverflow\n2009-02-01,1,1.5\n")
    with pytest.raises(InputError, match="not a wide table"):
        ask(tmp_path / "q.csv", tmp_path / "a.csv", units="mm/day")


def test_two_levels_of_columns_are_a_variable_and_a_river() -> None:
    days = pd.date_range("2009-01-01", periods=3, tz="Asia/Tokyo").set_names("when")
    frame = pd.DataFrame(
        [[1.0, 5.0, 1.0], [np.nan, 6.0, 2.0], [3.0, np.nan, np.nan]],
        index=days,
        columns=pd.MultiIndex.from_tuples(
            [(7, "riverflow"), (7, "precipitation"), (8, "riverflow")], names=["river", "what"]
        ),
    )
    answer = ask_python(frame)
    assert answer.index.equals(frame.index) and answer.columns.names == ["river", "what"]
    assert list(answer.columns[:3]) == list(frame.columns)
    assert answer[(7, "riverflow")].tolist() == [1.0, 2.0, 3.0] and answer[(8, "riverflow")].tolist() == [1.0, 2.0, 2.0]
    assert answer[(7, "precipitation")].tolist() == [5.0, 6.0, 7.0]
    assert answer[(7, "riverflow_q99.5")].tolist() == [1.0, 4.0, 3.0]
    with pytest.raises(InputError, match="levels of its columns are not a variable and a river"):
        table.read_frame(frame.rename(columns={"riverflow": "a", "precipitation": "b"}))


def test_days_that_are_filled_are_written_as_the_others(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("date,catchment,riverflow\n1/2/2009,5,1.0\n3/2/2009,5,3.0\n")
    fill(tmp_path / "q.csv", tmp_path / "f.parquet", 3)
    filled = pd.read_parquet(tmp_path / "f.parquet").set_index("date")["riverflow"]
    assert filled.to_dict() == {"1/2/2009": 1.0, "2/2/2009": 2.0, "3/2/2009": 3.0}
    assert table.read_record_file(tmp_path / "f.parquet").sizes["time"] == 3


def test_names_match_whatever_their_type(tmp_path: Path) -> None:
    known = pd.DataFrame({"id": ["01013500", "39001"], "catchment-area": [AREA, 2 * AREA]})
    known.to_csv(tmp_path / "g.csv", index=False)
    known.to_parquet(tmp_path / "g.parquet")
    for source in (tmp_path / "g.csv", tmp_path / "g.parquet"):
        attributes = nrfa.read_attribute_table(source)
        assert attributes["catchment"].values.tolist() == ["01013500", "39001"]
        for names in (["01013500", "39001"], [1013500, 39001], [1013500.0, 39001.0], ["1013500", "39001.0"]):
            frame = pd.DataFrame({"date": "2009-01-01", "catchment": names, "riverflow [m3/s]": 1.0})
            record = table.from_frame(frame, attributes)
            np.testing.assert_allclose(record["riverflow"].values, [[2.0, 1.0]])
    both = pd.DataFrame({"id": ["0123", "123"], "catchment-area": [1.0, 2.0]}).set_index("id")
    frame = pd.DataFrame({"date": "2009-01-01", "catchment": ["0123", "00123"], "riverflow": 1.0})
    areas = table.from_frame(frame, nrfa.attributes_from_frame(both))["catchment-area"].values
    np.testing.assert_array_equal(areas, [1.0, np.nan])


def test_names_of_attributes_are_read_in_any_spelling(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("ID,Latitude,LONGITUDE,catchment_area,Minimum Altitude\n5,51,-1,20,7\n")
    attributes = nrfa.read_attribute_table(tmp_path / "g.csv")
    told = [attributes[name].item() for name in ("latitude", "longitude", "catchment-area", "minimum-altitude")]
    assert told == [51.0, -1.0, 20.0, 7.0]
    (tmp_path / "g.csv").write_text("id,Latitude,LATITUDE\n5,51,52\n")
    with pytest.raises(InputError, match="two columns are latitude"):
        nrfa.read_attribute_table(tmp_path / "g.csv")
    (tmp_path / "g.csv").write_text("id,latitude,bfihost\0\n5,51,0.5\n")
    with pytest.raises(InputError, match=r"'bfihost\\x00', holds a control character"):
        nrfa.read_attribute_table(tmp_path / "g.csv")


def test_attributes_give_no_flow_and_leave_what_they_lack() -> None:
    days = pd.date_range("2009-01-01", periods=1)
    truth = xr.Dataset({"riverflow": (("time", "catchment"), [[9.0]], {"units": "mm/day"})}, {"time": days})
    truth = truth.assign(catchment=[5], latitude=("catchment", [51.0]), longitude=("catchment", [-1.0]))
    asked = truth.assign(riverflow=truth["riverflow"] * np.nan, bfihost=("catchment", [0.4]))
    asked["riverflow"].attrs["units"] = "mm/day"
    record = table.from_dataset(asked, truth)
    assert np.isnan(record["riverflow"].values).all(), "the flow of the attributes is the answer"
    assert record["bfihost"].item() == 0.4 and record["latitude"].item() == 51.0


@pytest.mark.parametrize("out", ["a.nc", "a.csv", "a.parquet"])
@pytest.mark.parametrize("units", ["mm day-1", "m3/s"])
def test_a_dataset_comes_back_in_its_own_form(tmp_path: Path, out: str, units: str) -> None:
    days = pd.to_datetime(["2009-01-03 12:00", "2009-01-01 12:00"])
    question = xr.Dataset(
        {
            "station_id": ("Station", ["01013500", "5"]),
            "quality": (("Station", "date"), np.int16([[1, 2], [3, 4]])),
            "discharge": (("Station", "date"), [[51.8, np.nan], [2.25, 3.0]], {"units": units}),
            "rainfall": (("date", "Station"), [[1.5, 0.5], [np.nan, 0.25]], {"units": "mm/day"}),
            "catchment-area": ("Station", [AREA, AREA]),
        },
        {"date": days},
        {"title": "mine"},
    ).rename(discharge="streamflow")
    question["rainfall"].encoding = {"dtype": "int16", "scale_factor": 0.25, "_FillValue": -1}
    question["date"].encoding = {"units": "hours since 1900-01-01", "dtype": "int32"}
    question.to_netcdf(tmp_path / "q.nc", engine="h5netcdf")
    answer = ask(tmp_path / "q.nc", tmp_path / out)
    times = 0.5 if units == "m3/s" else 1.0
    if isinstance(answer, xr.Dataset):
        assert answer["streamflow"].dims == ("Station", "date") and answer.attrs["title"] == "mine"
        assert answer["streamflow"].attrs["units"] == units and answer["riverflow_quantile"].attrs["units"] == units
        np.testing.assert_array_equal(answer["streamflow"], [[51.8, 2 * times], [2.25, 3.0]])
        np.testing.assert_array_equal(answer["riverflow_quantile"][2], [[51.8, 2.25], [4 * times, 3.0]])
        np.testing.assert_array_equal(answer["rainfall"], [[1.5, 0.5], [7.0, 0.25]])
        assert answer["quality"].dtype == np.int16 and answer["date"].encoding["units"] == "hours since 1900-01-01"
        assert (answer["date"].values == question["date"].values).all()
        return
    name = "streamflow" if units == "mm day-1" else "streamflow [m3/s]"
    assert list(answer.columns) == ["date", "catchment", "quality", name, "rainfall", *ADDED]
    assert answer[name].astype(float).tolist() == [51.8, 2.25, 2 * times, 3.0]
    assert answer["catchment"].tolist() == ["01013500", "5"] * 2
    assert table.from_frame(
        answer.astype({"catchment": str})[list(answer.columns[:5])].assign(**{"catchment-area": AREA})
    )


def test_a_table_in_a_dataset_has_its_units_and_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text(QUESTION)
    answer = ask(tmp_path / "q.csv", tmp_path / "a.nc")
    assert answer["riverflow"].attrs["units"] == "m3/s" and answer["catchment"].values.tolist() == [
        "01013500",
        "01022500",
    ]
    np.testing.assert_array_equal(answer["riverflow"], [[51.8, 1.0], [1.0, 1.1]])
    np.testing.assert_array_equal(answer["catchment-area"], [AREA, AREA])


def test_quantiles_have_one_name_each() -> None:
    levels = (0.005, 0.02, 0.025, 0.05, 0.5, 0.995)
    assert [quantile_suffix(level) for level in levels] == ["_q00.5", "_q02", "_q02.5", "_q05", "_q50", "_q99.5"]


def test_a_folder_is_read_as_prepare_reads_it(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("date,catchment,riverflow\n2009-01-01,5,\n2009-01-02,5,1.5\n")
    (tmp_path / "my_attributes.csv").write_text("id,latitude,longitude\n5,51,-1\n")
    question = reader.read_for_prediction(tmp_path)
    assert isinstance(question.layout, FrameLayout) and question.record["latitude"].item() == 51.0
    (tmp_path / "other.csv").write_text("date,catchment,riverflow\n2009-01-01,5,\n")
    with pytest.raises(InputError, match=r"2 files match \*\.csv"):
        reader.read_for_prediction(tmp_path)


# ---------------------------------------------------------------- Python and the command line, in every container


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.DataFrame, str]:
    """A table of two rivers and up to five days, long or wide, with its units of flow."""
    units = draw(st.sampled_from(["mm/day", "m3/s", "m3 s-1"]))
    names = draw(st.sampled_from([[39001, 5], ["01013500", "5"], ["camels_1", "b"], [1.0, 2.0]]))
    days = pd.date_range("2009-01-29", periods=draw(st.integers(1, 5)))
    style = draw(st.sampled_from(["%Y-%m-%d", "%d/%m/%Y", "%Y-%m-%dT12:00", "stamp", "zone"]))
    written = {"stamp": list(days + pd.Timedelta("9h")), "zone": list(days.tz_localize("Asia/Tokyo"))}
    dates = written.get(style) or [day.strftime(style) for day in days]
    values = st.one_of(st.none(), st.floats(0.0625, 90.0, width=32))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    if draw(st.booleans()):
        columns = {
            f"{name} [{units}]": draw(st.lists(values, min_size=len(days), max_size=len(days))) for name in names
        }
        frame = pd.DataFrame({"Date": dates} | columns).astype(dict.fromkeys(columns, kind))
        return (frame.sample(frac=1.0, random_state=1) if draw(st.booleans()) else frame), units
    rows = [(date, name) for date in dates for name in names]
    count = len(rows)
    frame = pd.DataFrame(rows, columns=["time", "station"])
    frame[f"riverflow [{units}]"] = np.array(draw(st.lists(values, min_size=count, max_size=count)), dtype=kind)
    frame["precipitation"] = np.array(draw(st.lists(values, min_size=count, max_size=count)), dtype=np.float64)
    frame["note"] = draw(st.lists(st.sampled_from(["", "a, b", 'say "x"', "é"]), min_size=count, max_size=count))
    frame["quality"] = range(count)
    kept = draw(st.integers(1, count))
    order = draw(st.permutations(range(count)))[:kept]
    return frame.iloc[order][draw(st.permutations(list(frame.columns)))].reset_index(drop=True), units


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=tables())
def test_python_and_the_command_line_give_the_same(tmp_path: Path, asked: tuple[pd.DataFrame, str]) -> None:
    frame, units = asked
    names = [39001, "5", "01013500", "camels_1", "b", 1, 2]
    pd.DataFrame({"id": names, "catchment-area": AREA}).to_csv(tmp_path / "g.csv", index=False)
    record, layout = table.read_frame(frame, nrfa.read_attribute_table(tmp_path / "g.csv"))
    python = layout.restore(answered(record), record)
    own = list(frame.columns)
    assert list(python.columns[: len(own)]) == own and len(python) == len(frame)
    pd.testing.assert_series_equal(python.dtypes[own], frame.dtypes)
    for name in own:
        seen = frame[name].notna()
        pd.testing.assert_series_equal(python.loc[seen, name], frame.loc[seen, name])
        assert python[name].notna().all()
    flow = next(name for name in own if units in str(name))
    if frame[flow].isna().any():
        assert set(python.loc[frame[flow].isna(), flow]) == {2.0 if units == "mm/day" else 1.0}

    frame.to_parquet(tmp_path / "q.parquet")
    frame.to_csv(tmp_path / "q.csv", index=False)
    pd.testing.assert_frame_equal(
        ask(tmp_path / "q.parquet", tmp_path / "a.parquet", attributes=tmp_path / "g.csv"), python
    )
    told = ask(tmp_path / "q.csv", tmp_path / "a.csv", attributes=tmp_path / "g.csv")
    text = pd.read_csv(tmp_path / "q.csv", dtype=str, keep_default_na=False)
    assert list(told.columns) == [str(name) for name in python.columns]
    for name in own:
        pd.testing.assert_series_equal(told[name][text[name] != ""], text[name][text[name] != ""], check_dtype=False)
    for name in python.columns[len(own) :]:
        np.testing.assert_array_equal(told[name].astype(np.float32), python[name].astype(np.float32))
    if layout.site is not None:  # NetCDF takes the most time
        return
    ask(tmp_path / "q.csv", tmp_path / "a.nc", attributes=tmp_path / "g.csv")
    back = ask(tmp_path / "a.nc", tmp_path / "b.nc")
    expected = layout.to_dataset(answered(record), record)["riverflow"].astype(np.float32)
    np.testing.assert_array_equal(back["riverflow"].astype(np.float32), expected)


def test_names_of_bytes_are_text_in_zarr(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Zarr has no specification of bytes of a fixed length, and warns; names that are not UTF-8 have escapes."""
    names = np.array([b"a", "é".encode(), b"\xff"])
    write_answer(xr.Dataset({"riverflow": ("catchment", [1.0, 2.0, 3.0])}, {"catchment": names}), tmp_path / "a.zarr")
    assert not recwarn.list
    read = xr.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None)
    assert read["catchment"].values.tolist() == ["a", "é", "\\xff"]
