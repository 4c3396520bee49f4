"""The picture of a river shows the values of the answer, for datasets and tables of any form and unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.image import imread

import hydromae
from hydromae.cli import main
from hydromae.errors import InputError
from hydromae.io.origin import Origin
from hydromae.report.river_plot import M3_PER_S, MAX_ISSUES, MM_PER_DAY

DAYS = pd.date_range("2009-01-01", periods=30)
LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]
GAP, END = slice(10, 15), slice(27, 30)


def answer() -> xr.Dataset:
    """Two rivers of 86.4 and 172.8 km²; the second has a gap and a forecast, the first is observed."""
    flow = np.stack([1 + np.arange(30.0), 100 + np.arange(30.0)], axis=-1)
    origin = np.full((30, 2), Origin.OBSERVED)
    origin[GAP, 1], origin[END, 1] = Origin.FILLED, Origin.FORECAST
    spread = np.where(origin == Origin.OBSERVED, 0.0, 1.0)
    quantiles = np.stack([flow + (level - 0.5) * 10 * spread for level in LEVELS])
    units, dims = {"units": MM_PER_DAY}, ("time", "catchment")
    return xr.Dataset(
        {
            "riverflow": (dims, flow, units),
            "riverflow_quantile": (("quantile", *dims), quantiles, units),
            "riverflow_origin": (dims, origin),
            "precipitation": (dims, np.full((30, 2), 7.0), units),
            "catchment-area": ("catchment", [86.4, 172.8]),
        },
        coords={"time": DAYS, "catchment": [1001, 39001], "quantile": LEVELS},
    )


def lines(axis: Axes) -> dict[str, np.ndarray]:
    """Labelled lines of a picture."""
    return {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float) for line in axis.lines}


def test_beside_maps_the_rain_is_that_of_the_catchment() -> None:
    beside = (
        answer().rename(precipitation="precipitation_series").assign(precipitation=(("time", "cell"), np.ones((30, 4))))
    )
    _, rain = hydromae.plot(beside, "39001").axes
    assert "highest 7 mm/day" in rain.get_ylabel()


def test_observed_and_predicted_days_are_drawn_with_their_intervals_and_rain() -> None:
    figure = hydromae.plot(answer())
    axis, rain = figure.axes
    assert axis.get_title(loc="left") == "39001", "the river with predicted days"
    drawn, is_predicted = lines(axis), answer()["riverflow_origin"].values[:, 1] != Origin.OBSERVED
    truth = 100 + np.arange(30.0)
    np.testing.assert_array_equal(drawn["observed"], np.where(is_predicted, np.nan, truth))
    np.testing.assert_array_equal(drawn["predicted"], np.where(is_predicted, truth, np.nan))
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert set(labels) == {"filled", "forecast", "90 %", "50 %", "observed", "predicted"}
    wide = next(c for c in axis.collections if c.get_label() == "90 %")
    vertices = np.concatenate([path.vertices for path in wide.get_paths()])
    assert vertices[:, 1].min() == pytest.approx(110 - 4.5) and vertices[:, 1].max() == pytest.approx(129 + 4.5)
    assert "highest 7 mm/day" in rain.get_ylabel() and axis.get_ylabel() == "river flow [mm/day]"


def test_a_gap_that_was_left_missing_is_not_drawn_as_predicted() -> None:
    left = answer()
    left["riverflow_origin"][GAP, 1], left["riverflow"][GAP, 1] = Origin.MISSING, np.nan
    left["riverflow_origin"][:20, 0] = Origin.MISSING
    axis = hydromae.plot(left).axes[0]
    assert axis.get_title(loc="left") == "39001", "missing days are not predicted days"
    assert {text.get_text() for text in axis.get_legend().get_texts()} >= {"forecast"}
    assert "filled" not in {text.get_text() for text in axis.get_legend().get_texts()}


def test_units_are_converted_by_the_area_and_the_axis_may_be_logarithmic() -> None:
    figure = hydromae.plot(answer(), 39001, units=M3_PER_S, log=True)
    axis = figure.axes[0]
    assert lines(axis)["observed"][0] == pytest.approx(100 * 172.8 / 86.4)
    assert axis.get_ylabel() == "river flow [m³/s]" and axis.get_yscale() == "log"
    assert lines(hydromae.plot(answer(), "1001").axes[0])["observed"][0] == 1.0
    for given, message in (
        ({"river": "1002"}, r"river 1002: is not in the answer; choose one of 1001, 39001"),
        ({"units": "l s-1"}, r"units l s-1: the answer is in mm day-1; choose"),
    ):
        with pytest.raises(InputError, match=message):
            hydromae.plot(answer(), **given)
    with pytest.raises(InputError, match="no catchment-area"):
        hydromae.plot(answer().drop_vars("catchment-area"), units=M3_PER_S)
    with pytest.raises(InputError, match="has no river flow"):
        hydromae.plot(answer().drop_vars(["riverflow", "riverflow_quantile"]))


@pytest.mark.parametrize("form", ["long", "wide", "renamed"])
def test_a_table_gives_the_picture_of_the_dataset(form: str) -> None:
    whole = answer()
    expected = lines(hydromae.plot(whole).axes[0])
    by_level = whole["riverflow_quantile"]
    tables = {f"riverflow_q{100 * level:02.0f}": by_level.sel(quantile=level, drop=True) for level in LEVELS}
    if form == "wide":
        parts = [whole["riverflow"].to_pandas(), *(v.to_pandas().add_suffix(n[9:]) for n, v in tables.items())]
        parts.append(whole["riverflow_origin"].to_pandas().add_suffix("_origin"))
        parts[1:] = [part.rename(columns=str) for part in parts[1:]]
        table = pd.concat([parts[0].rename(columns=str), *parts[1:]], axis=1)
        table.attrs["units"] = MM_PER_DAY
    else:
        long = whole[["riverflow", "riverflow_origin"]].assign(tables).drop_vars("quantile", errors="ignore")
        table = long.to_dataframe().reset_index()
        if form == "renamed":
            table = table.rename(columns={"riverflow": "discharge_spec", "time": "Date"}).sample(frac=1, random_state=0)
    figure = hydromae.plot(table, "39001")
    for name, values in lines(figure.axes[0]).items():
        np.testing.assert_allclose(values, expected[name], err_msg=name)
    assert {"90 %", "50 %", "filled"} <= {text.get_text() for text in figure.axes[0].get_legend().get_texts()}


def test_a_forecast_is_a_fan_for_each_issue_day() -> None:
    issues = pd.date_range("2009-01-01", periods=40, freq="5D")
    flow = np.arange(40.0)[:, None] + np.arange(3) / 10
    dims, units = ("issue_time", "lead", "catchment"), {"units": M3_PER_S}
    forecast = xr.Dataset(
        {
            "riverflow": (dims, flow[..., None], units),
            "riverflow_quantile": (("quantile", *dims), np.stack([flow - 1, flow, flow + 1])[..., None], units),
        },
        coords={"issue_time": issues, "lead": [1, 2, 3], "catchment": ["a"], "quantile": [0.05, 0.5, 0.95]},
    )
    axis = hydromae.plot(forecast).axes[0]
    fans = [line for line in axis.lines if len(line.get_xdata()) == 3]
    assert len(fans) == MAX_ISSUES and axis.get_ylabel() == "river flow [m³/s]"
    np.testing.assert_array_equal(fans[0].get_ydata(), flow[0])
    np.testing.assert_array_equal(fans[-1].get_ydata(), flow[-1])
    first = pd.DatetimeIndex(fans[0].get_xdata())
    assert first.tolist() == (issues[0] + pd.to_timedelta([1, 2, 3], unit="D")).tolist()
    table = forecast["riverflow"].to_dataframe().reset_index()
    for level, name in ((0.05, "q05"), (0.95, "q95")):
        column = forecast["riverflow_quantile"].sel(quantile=level, drop=True).to_dataframe()["riverflow_quantile"]
        table[f"riverflow_{name}"] = column.to_numpy()
    same = hydromae.plot(table).axes[0]
    assert len(same.collections) == len([c for c in axis.collections if c.get_label() != "50 %"])
    np.testing.assert_array_equal(same.lines[0].get_ydata(), flow[0])


def test_predict_and_forecast_draw_a_river(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hydromae.virtual import virtual_catchments

    record = virtual_catchments(40, 3, "2009-01-01", 2, missing=False).load()
    record["riverflow"][20:25, 1] = np.nan
    record.to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    name = str(record["catchment"].values[1])
    words = [str(tmp_path / "r.nc"), "--model", "gb-rivers", "--out", str(tmp_path / "a.csv")]
    picture = ["--picture", str(tmp_path / "a.png")]
    for extra, message in (
        (["--river", name], f"--river {name}: is the river of a picture; add --picture FILE.png"),
        ([*picture, "--river", "7"], f"--river 7: is not in the record; choose one of {record['catchment'].values[0]}"),
        (["--picture", str(tmp_path / "a.pdf")], "a picture is written as .png"),
    ):
        assert main(["predict", *words, *extra]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
        assert sorted(file.name for file in tmp_path.iterdir()) == ["r.nc"]
    for command in ("predict", "forecast"):
        assert main([command, *words, *picture, "--river", name]) == 0
        image = imread(tmp_path / "a.png")
        assert image.shape[0] > 300 and image.std() > 0.05
        (tmp_path / "a.png").unlink()
