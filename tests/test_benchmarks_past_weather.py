"""Forecasts without some weather of the past."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import past_weather
from hydromae.preprocess.prepare import prepare
from hydromae.virtual import virtual_catchments


def test_each_forecast_lacks_what_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, store = tmp_path / "raw.nc", tmp_path / "rivers.zarr"
    virtual_catchments(260, 0, "2001-01-01", 4, missing=False).to_netcdf(raw, engine="h5netcdf")
    prepare(raw, store)
    asked = []
    plain = past_weather.Model.forecast_record

    def noted(model, record, days, issues, **more):
        past = record.sel(time=slice(None, issues[0]))
        asked.append(tuple(name for name in past_weather.HIDDEN["none"] if past[name].isnull().all()))
        assert record["precipitation"].sel(time=slice(issues[0], None)).isel(time=slice(1, None)).notnull().all()
        return plain(model, record, days, issues, **more)

    monkeypatch.setattr(past_weather.Model, "forecast_record", noted)
    period = ["--period", "2001-07-01", "2001-09-07", "--rivers", "3"]
    monkeypatch.setattr(sys, "argv", ["past_weather.py", str(store), *period])
    past_weather.main()
    assert asked == [names for names in past_weather.HIDDEN.values() for _ in range(4)]
    printed = capsys.readouterr().out
    assert all(past in printed for past in past_weather.HIDDEN) and "median" in printed and "p10" in printed
