"""Workbooks: a sheet for each river, values with their origin, valid names, and limits in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.io import excel, outputs, table
from hydromae.io.origin import Origin, origin_of
from hydromae.io.write import write_answer

DAYS = pd.date_range("2001-01-01", periods=6)


def question(units: str = "m3/s", days: pd.DatetimeIndex = DAYS) -> xr.Dataset:
    """Two rivers of 86.4 km², on other dimensions than those of a record; the second has a gap and ends early."""
    flow = np.array([[1.1, 2.2, 3.3, 4.4, 5.5, 6.6], [0.1, np.nan, 0.3, 0.4, np.nan, np.nan]], np.float32)
    return xr.Dataset(
        {
            "discharge": (("station", "date"), flow, {"units": units}),
            "catchment-area": ("station", [86.4, 86.4], {"units": "km2"}),
            "latitude": ("station", [52.0, 53.0]),
            "longitude": ("station", [-1.0, -2.0]),
        },
        coords={"date": days, "station": ["=1+1", "01013500"]},
    ).rename(discharge="riverflow")


def answered(data: xr.Dataset | pd.DataFrame) -> tuple[xr.Dataset, xr.Dataset, object]:
    """A record, its layout, and an answer that says 9 wherever it was asked."""
    read = table.read_dataset if isinstance(data, xr.Dataset) else table.read_frame
    record, layout = read(data)
    flow = record["riverflow"].transpose("time", "catchment")
    origin = origin_of(flow.notnull().values)
    levels = xr.concat([flow.fillna(8.0), flow.fillna(10.0)], pd.Index([0.05, 0.95], name="quantile"))
    answer = record.assign(riverflow=flow.fillna(9.0), riverflow_quantile=levels, riverflow_origin=origin)
    return answer, record, layout


def written(data: xr.Dataset | pd.DataFrame, file: Path) -> dict[str, pd.DataFrame]:
    write_answer(excel.prediction_table(*answered(data)), file)
    return pd.read_excel(file, sheet_name=None, dtype={"catchment": str})


@pytest.mark.parametrize("kind", ["dataset", "wide", "long"])
def test_a_river_has_a_sheet_with_units_and_origin_and_is_never_read_as_observed(kind: str, tmp_path: Path) -> None:
    data: xr.Dataset | pd.DataFrame = question()
    if kind == "wide":
        data = question()["riverflow"].transpose("date", "station").to_pandas().astype(str).astype(float)
        data.attrs["units"] = "mm/day"
    elif kind == "long":
        frame = question("mm/day")["riverflow"].to_series().astype(str).astype(float).reset_index()
        data = frame.rename(columns={"riverflow": "riverflow [mm/day]"})
    sheets = written(data, tmp_path / "a.xlsx")
    assert list(sheets) == ["=1+1", "01013500"]
    sheet, units = sheets["01013500"], "m3/s" if kind == "dataset" else "mm/day"
    levels = [f"riverflow_q{level} [{units}]" for level in ("05", "95")]
    assert list(sheet.columns)[:4] == ["date", "catchment", f"observed [{units}]", f"riverflow [{units}]"]
    assert list(sheet.columns)[4:7] == [*levels, "riverflow_origin"]
    assert sheet["riverflow_origin"].tolist() == ["observed", "filled", "observed", "observed", "forecast", "forecast"]
    assert sheet[f"observed [{units}]"].fillna(-1).tolist() == [0.1, -1, 0.3, 0.4, -1, -1], "the digits of the input"
    assert sheet[f"riverflow [{units}]"].tolist() == [0.1, 9, 0.3, 0.4, 9, 9]
    assert pd.DatetimeIndex(sheet["date"]).equals(DAYS)
    for name, river in sheets.items():
        columns = {"catchment-area": 86.4, "latitude": 52.0, "longitude": -1.0}
        again = table.from_frame(river.assign(**columns))["riverflow"].values[:, 0]
        kept = river["riverflow_origin"].to_numpy() == "observed"
        np.testing.assert_array_equal(np.isfinite(again), kept, err_msg=name)
        with pytest.raises(InputError, match="no riverflow"):
            table.from_frame(river.drop(columns=[f"riverflow [{units}]", "riverflow_origin"]))


def test_texts_are_no_formulas_and_early_dates_are_text(tmp_path: Path) -> None:
    written(question(days=pd.date_range("1899-12-30", periods=6)), tmp_path / "a.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx")["=1+1"]
    assert (sheet["B2"].value, sheet["B2"].data_type) == ("=1+1", "s")
    assert [cell.value for cell in sheet["A"]][1:3] == ["1899-12-30", "1899-12-31"]
    assert sheet.freeze_panes == "A2"


def test_a_value_left_missing_is_empty_and_a_model_without_distributions_has_origins(tmp_path: Path) -> None:
    answer, record, layout = answered(question())
    left = answer["riverflow"].where(answer["riverflow_origin"] != Origin.FILLED)
    origin = answer["riverflow_origin"].where(answer["riverflow_origin"] != Origin.FILLED, Origin.MISSING)
    frame = excel.prediction_table(answer.assign(riverflow=left, riverflow_origin=origin), record, layout)
    assert frame["riverflow_origin"].tolist()[6:8] == ["observed", "missing"] and np.isnan(frame["riverflow [m3/s]"][7])
    bare = excel.prediction_table(answer.drop_vars(["riverflow_quantile", "riverflow_origin"]), record, layout)
    assert bare["riverflow_origin"].tolist()[6:] == [
        "observed",
        "filled",
        "observed",
        "observed",
        "forecast",
        "forecast",
    ]
    assert "quantile" not in " ".join(bare.columns)


def test_names_of_sheets_are_valid_and_different() -> None:
    long = "Severn at Bewdley, upstream of the bridge"
    names = excel.sheet_names([long, f"{long} 2", "a/b", "A:B", "'quoted'", "", "history", "[x]", 39001])
    assert names[0] == "Severn at Bewdley, upstream of" and names[1] == "Severn at Bewdley, upstream (2)"[:31]
    assert names[2:] == ["a_b", "A_B (2)", "quoted", "river", "history_", "_x_", "39001"]
    assert all(1 <= len(name) <= 31 for name in names) and len({name.lower() for name in names}) == len(names)


def test_more_than_a_workbook_holds_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.xlsx"
    excel.check_workbook_size(file, 200, 1_048_575)
    excel.check_workbook_size(tmp_path / "a.csv", 5000, 10**7)
    with pytest.raises(InputError, match=r"201 rivers are more than the 200 sheets of a workbook; write .csv"):
        excel.check_workbook_size(file, 201, 3)
    with pytest.raises(InputError, match=r"1,048,576 rows of a river are more .*\(1,048,576\); write .csv"):
        excel.check_workbook_size(file, 1, 1_048_576)
    many = pd.DataFrame({"catchment": np.arange(201), "riverflow": 1.0})
    with pytest.raises(InputError, match="201 rivers"):
        write_answer(many, file)
    monkeypatch.setattr(outputs, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"a.xlsx: Excel files need openpyxl: pip install 'hydromae\[excel\]'"):
        write_answer(many[:1], file)
    assert list(tmp_path.iterdir()) == []
