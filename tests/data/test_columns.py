"""Names of columns and their units: read where they are said, asked about where not; the best one of each river."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.datasets import reader
from hydromae.datasets.gauges import Gauge, Product, concat_gauges
from hydromae.errors import InputError
from hydromae.io.dataframe import FrameLayout
from hydromae.io.names import parse_column_name
from hydromae.io.table import from_frame, read_frame

DAYS = pd.date_range("2001-01-01", periods=3)
CANONICAL = {
    "riverflow": "mm day-1",
    "precipitation": "mm day-1",
    "temperature": "degC",
    "potential_evaporation": "mm day-1",
}


def rivers(**columns: list[float]) -> pd.DataFrame:
    """Three days of rivers 1 and 2, of 86.4 and 864 km²: there 1 m³/s is 1 and 0.1 mm/day."""
    keys = {"date": np.repeat(DAYS, 2), "catchment": [1, 2] * 3, "catchment-area": [86.4, 864.0] * 3}
    return pd.DataFrame({**keys, **{name: pd.Series(values, dtype=float) for name, values in columns.items()}})


@pytest.mark.parametrize(
    ("column", "variable", "value", "expected"),
    [
        ("QObs(mm/d)", "riverflow", 2.0, 2.0),
        ("qobs [m3/s]", "riverflow", 2.0, 2.0),
        ("Q (m³/s)", "riverflow", 2.0, 2.0),
        ("gdf [m3/s]", "riverflow", 2.0, 2.0),
        ("Gauged Daily Flow (m3/s)", "riverflow", 2.0, 2.0),
        ("river_flow [l/s]", "riverflow", 2000.0, 2.0),
        ("mean_flow [Ml/d]", "riverflow", 172.8, 2.0),
        ("discharge [cfs]", "riverflow", 1.0, 0.028316846592),
        ("Discharge_vol(m3/s)", "riverflow", 2.0, 2.0),
        ("discharge_spec_obs", "riverflow", 2.0, 2.0),
        ("discharge_vol_obs", "riverflow", 2.0, 2.0),
        ("streamflow_MLd", "riverflow", 172.8, 2.0),
        ("streamflow_m3s", "riverflow", 2.0, 2.0),
        ("streamflow_mmd", "riverflow", 2.0, 2.0),
        ("Qobs_mm", "riverflow", 2.0, 2.0),
        ("Flow m3/s", "riverflow", 2.0, 2.0),
        ("flow", "riverflow", 2.0, 2.0),
        ("runoff_mean [m3 s-1]", "riverflow", 2.0, 2.0),
        ("prcp(mm/day)", "precipitation", 3.0, 3.0),
        ("P [mm/hr]", "precipitation", 0.5, 12.0),
        ("Total rainfall (mm)", "precipitation", 3.0, 3.0),
        ("precip_mm", "precipitation", 3.0, 3.0),
        ("cdr", "precipitation", 3.0, 3.0),
        ("pr [kg m-2 s-1]", "precipitation", 1 / 86400, 1.0),
        ("tmean(C)", "temperature", 4.0, 4.0),
        ("Mean air temperature [degF]", "temperature", 50.0, 10.0),
        ("temperature_mean(degC)", "temperature", 4.0, 4.0),
        ("tavg [K]", "temperature", 273.15, 0.0),
        ("PET(mm/d)", "potential_evaporation", 1.5, 1.5),
        ("pet", "potential_evaporation", 1.5, 1.5),
        ("et0 [mm/day]", "potential_evaporation", 1.5, 1.5),
    ],
)
def test_usual_names_are_read_in_the_units_that_they_say(
    column: str, variable: str, value: float, expected: float
) -> None:
    given = rivers(**{column: [value, value] * 3})
    other = "precipitation" if variable != "precipitation" else "temperature"
    record = from_frame(given.assign(**{other: 1.0}))
    np.testing.assert_allclose(record[variable].sel(catchment=1), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("column", "variable"),
    [
        (name, "riverflow")
        for name in ("qobs", "Q", "gdf", "river_flow", "mean_flow", "Flow", "Gauged Daily Flow", "runoff")
    ]
    + [(name, "precipitation") for name in ("P", "prcp", "precip", "Rainfall")]
    + [("tmean", "temperature"), ("et0", "potential_evaporation"), ("PET", "potential_evaporation")],
)
def test_a_usual_name_without_units_is_asked_about(column: str, variable: str) -> None:
    given = {**dict.fromkeys(CANONICAL, 1.0), column: 1.0}
    del given[variable]
    with pytest.raises(
        InputError, match=rf"no {variable} is read, but '{column}' may be it; call it {variable} \[.*leave"
    ):
        from_frame(rivers().assign(**given))
    known = from_frame(rivers().assign(**given, **{variable: 2.0}))
    np.testing.assert_allclose(known[variable], 2.0)


def test_what_is_no_variable_stays_so() -> None:
    names = [
        "q_mean",
        "p_mean",
        "baseflow",
        "qsim",
        "flow_flag",
        "tmax",
        "tmin",
        "q95",
        "area",
        "river",
        "t",
        "station_name",
        "Quality",
    ]
    assert [name for name in names if parse_column_name(name) is not None] == []
    from_frame(rivers(riverflow=[1.0] * 6).assign(**dict.fromkeys(names, 1.0)))


def test_units_beside_the_names() -> None:
    """`attrs["units"]` of a table, and the attribute of a variable, say units; what the column's name says goes first."""
    flow = rivers(qobs=[1.0, 1.0] * 3)
    flow.attrs["units"] = "m3/s"
    np.testing.assert_allclose(from_frame(flow)["riverflow"].values[0], [1.0, 0.1], rtol=1e-6)
    plain = flow.rename(columns={"qobs": "riverflow"})
    plain.attrs["units"] = {"riverflow": "l/s"}
    np.testing.assert_allclose(from_frame(plain)["riverflow"].values[0], [0.001, 0.0001], rtol=1e-6)
    held = flow.set_index(["date", "catchment"]).to_xarray().rename(date="time")
    held["catchment-area"] = held["catchment-area"].isel(time=0)
    with pytest.raises(InputError, match="'qobs' may be it"):
        reader.open_record(held)
    held["qobs"].attrs["units"] = "m3 s-1"
    held = held.assign(q_mean=held["qobs"].mean("time"), pet_mean=held["qobs"].mean("time"))
    np.testing.assert_allclose(reader.open_record(held)["riverflow"].values[0], [1.0, 0.1], rtol=1e-6)


def test_a_river_without_the_best_column_has_the_second() -> None:
    """Of river 2 only `discharge_vol` is known; 5 m³/s over 864 km² are 0.5 mm/day."""
    nan = np.nan
    given = rivers(discharge_spec=[1.0, nan, nan, nan, 3.0, nan], discharge_vol=[9.0, 5.0, 9.0, nan, 9.0, 5.0])
    record = from_frame(given)
    np.testing.assert_allclose(record["riverflow"], [[1.0, 0.5], [nan, nan], [3.0, 0.5]], rtol=1e-6)
    assert record["riverflow"].attrs["processing"] == (
        "read from discharge_vol for 2, because discharge_spec has no values; from discharge_spec for all others"
    )
    assert "processing" not in from_frame(given.fillna(1.0))["riverflow"].attrs
    areas = given.drop(columns="catchment-area")
    with pytest.raises(InputError, match="m3 s-1 without catchment-area"):
        from_frame(areas)
    np.testing.assert_allclose(from_frame(areas.fillna({"discharge_spec": 2.0}))["riverflow"][1], 2.0)
    with pytest.raises(InputError, match="'qobs' may be it"):
        from_frame(given.rename(columns={"discharge_vol": "qobs"}))


def test_an_answer_holds_what_the_second_column_said(tmp_path: Path) -> None:
    nan = np.nan
    given = rivers(discharge_spec=[1.0, nan] * 3, discharge_vol=[nan, 5.0, nan, 5.0, nan, nan])
    record, layout = read_frame(given)
    answer = record.assign(riverflow=record["riverflow"].fillna(7.0))
    back = layout.restore(answer, record)
    np.testing.assert_allclose(back["discharge_spec"], [1.0, 0.5, 1.0, 0.5, 1.0, 7.0], rtol=1e-6)
    np.testing.assert_array_equal(back["discharge_vol"], given["discharge_vol"])
    whole = layout.to_dataset(answer, record)
    np.testing.assert_allclose(whole["riverflow"].sel(catchment=2), [0.5, 0.5, 7.0], rtol=1e-6)
    given.to_csv(tmp_path / "a.csv", index=False)
    asked = reader.read_for_prediction(tmp_path / "a.csv", as_text=True)
    assert isinstance(asked.layout, FrameLayout)
    text = asked.layout.restore(answer, asked.record)
    assert text["discharge_spec"].tolist() == ["1.0", "0.5", "1.0", "0.5", "1.0", "7.0"]


def test_two_columns_of_one_name_are_refused() -> None:
    given = rivers(riverflow=[1.0] * 6).assign(**{"riverflow [m3/s]": 2.0})
    with pytest.raises(InputError, match=r"'riverflow' and 'riverflow \[m3/s\]' are the same variable; keep one"):
        from_frame(given)


def test_variables_of_two_levels_of_columns_are_read_or_asked_about() -> None:
    pairs = [("QObs(mm/d)", 1), ("QObs(mm/d)", 2), ("prcp(mm/day)", 1)]
    wide = pd.DataFrame(2.0, index=pd.DatetimeIndex(DAYS, name="date"), columns=pd.MultiIndex.from_tuples(pairs))
    record = from_frame(wide)
    assert float(record["riverflow"].min()) == 2.0 and float(record["precipitation"].sel(catchment=1).min()) == 2.0
    plain = wide.rename(columns={"QObs(mm/d)": "QObs"})
    with pytest.raises(InputError, match="'QObs' may be it"):
        from_frame(plain)
    plain.attrs["units"] = "mm/day"
    assert float(from_frame(plain)["riverflow"].min()) == 2.0


def test_a_table_of_one_river_is_no_wide_table() -> None:
    one = pd.DataFrame({"date": DAYS, "Q [m3/s]": 1.0, "P [mm/day]": 2.0})
    with pytest.raises(InputError, match="no catchment column; name one catchment"):
        from_frame(one)


def test_gauges_of_a_product_have_the_best_series_that_holds_a_value() -> None:
    nan = np.full(3, np.nan)
    some = {"spec": nan, "vol": np.array([5.0, 6.0, 7.0]), "rain_b": np.ones(3)}
    held: dict[int | str, list[Gauge]] = {
        1: [Gauge(1, DAYS, {"spec": np.ones(3), "vol": np.ones(3), "rain_a": np.ones(3)})],
        2: [Gauge(2, DAYS, some)],
    }
    columns = {
        "riverflow": (("spec", "mm day-1"), ("vol", "m3 s-1")),
        "precipitation": (("rain_a", "mm day-1"), ("rain_b", "mm day-1")),
    }
    product = Product("x", "y", columns, lambda path: True, lambda path: held[1][0], lambda folder: None)
    raw = concat_gauges(held, product, "here")
    xr.testing.assert_equal(raw["precipitation"], xr.ones_like(raw["precipitation"]))
    assert raw["precipitation"].attrs["processing"].startswith("read from rain_b for 2")
    np.testing.assert_array_equal(raw["vol"].sel(catchment=2), [5.0, 6.0, 7.0])
    assert raw["vol"].attrs["units"] == "m3 s-1" and bool(raw["riverflow"].sel(catchment=2).isnull().all())


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (
            "qobs [m3/s]",
            -99.9,
            r"riverflow has the value -99.9 m3/s in column 'qobs \[m3/s\]', which is -99.9 mm day-1",
        ),
        ("discharge_vol", -9999.0, r"riverflow has the value -9999 m3 s-1 in column 'discharge_vol', which is"),
        ("QObs(mm/d)", -999.0, r"riverflow has the value -999 in column 'QObs\(mm/d\)', outside"),
        ("flow_cfs", -99.0, r"riverflow has the value -99 ft3 s-1 in column 'flow_cfs', which is -2.80337 mm day-1"),
    ],
)
def test_a_code_is_reported_in_the_unit_and_the_column_of_the_file(column: str, value: float, told: str) -> None:
    """Over 86.4 km² a m³/s is a mm/day, and 99 cubic feet per second are 2.80337 m³/s."""
    with pytest.raises(InputError, match=rf"{told}.*a code for missing.*catchment 1 on 2001-01-01"):
        from_frame(rivers(**{column: [value, 1.0] + [1.0] * 4}))
