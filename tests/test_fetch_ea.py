"""Flow of the Environment Agency, from a server on this machine whose answers have the form of the documented samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ea_service import Service
from hydromae.cli import main
from hydromae.datasets.reader import open_record
from hydromae.fetch import environment_agency as ea
from hydromae.fetch import nrfa
from hydromae.fetch.ea_rain import nearest_gauges
from local_server import Server, running_server

PLACES = {"near": 0.1, "at": 0.0, "closed": 0.01, "far": 0.5}
"""Rain gauges, and how far north of the station they are [degrees]."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with running_server() as server:
        monkeypatch.setattr(nrfa, "URL", f"{server.url}/ws")
        yield server


@pytest.fixture
def service(server: Server, monkeypatch: pytest.MonkeyPatch) -> Service:
    one = Service("2024-03-01")
    server.services.append(one)
    at_noon(monkeypatch, "2024-03-02")
    return one


def at_noon(monkeypatch: pytest.MonkeyPatch, day: str) -> None:
    """Set the clock."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.fromisoformat(f"{day}T12:00+00:00")

    monkeypatch.setattr(ea, "datetime", Clock)


@pytest.fixture
def command(server: Server, service: Service, tmp_path: Path) -> list[str]:
    return ["fetch", "ea", "--out", str(tmp_path / "n"), "--pause", "0", "--url", f"{server.url}/hydrology"]


def flow(folder: Path) -> Any:
    return open_record(folder)["riverflow"].load()


def test_stations_become_a_record_in_the_units_of_the_answer(
    server: Server, service: Service, command: list[str], tmp_path: Path
) -> None:
    assert main([*command, "--stations", "1001,39001", "--period", "2023", "2024"]) == 0
    record = open_record(tmp_path / "n")
    assert record["catchment"].values.tolist() == [1001, 39001] and record["bfihost"].values.tolist() == [0.3, 0.3]
    assert str(record["time"].values[0])[:10] == "2023-01-01" and str(record["time"].values[-1])[:10] == "2024-03-01"
    assert record["riverflow"].values == pytest.approx(2.5 * 86.4 / 161.9)
    service.unit = "furlongs"
    assert main([*command, "--out", str(tmp_path / "other"), "--stations", "1001", "--period", "2024", "2024"]) == 0
    with pytest.raises(Exception, match="furlongs"):
        flow(tmp_path / "other")


def test_the_next_morning_fetches_only_what_is_new(
    server: Server, service: Service, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ea, "FIRST_DAY", date(2020, 1, 1))
    command += ["--stations", "1001,39001"]
    assert main(command) == 0
    first = len(server.asked)
    assert first == 1 + 2 * (1 + 1) + 1 + 1, "stations; series and days of two; the catalogue; rain gauges"
    assert main(command) == 0 and len(server.asked) == first, "nothing is new on the same day"
    at_noon(monkeypatch, "2024-03-03")
    service.today += pd.Timedelta(days=1)
    service.changes["2024-02-28"] = {"value": 5.0}
    assert main(command) == 0
    asked = [path for path, _ in server.asked[first:]]
    assert len(asked) == 2 and all("mineq-date=2024-02-23&maxeq-date=2024-03-02" in path for path in asked)
    values = flow(tmp_path / "n")
    assert str(values["time"].values[-1])[:10] == "2024-03-02" and values.notnull().all()
    assert float(values.sel(time="2024-02-28")[0]) == pytest.approx(5.0 * 86.4 / 161.9), "a revised value is taken"
    service.today = pd.Timestamp("2024-03-02")
    for days in range(1, 3):
        at_noon(monkeypatch, f"202{4 + days}-03-02")
        before = len(server.asked)
        assert main(command) == 0
        begin = {"2024-02-24"} if days == 1 else {"2024-12-24"}
        asked = [path for path, _ in server.asked[before:]]
        assert {path.split("mineq-date=")[1][:10] for path in asked} == begin, (
            "a closed station is asked for late days alone"
        )
    first = len(server.asked)
    assert main([*command, "--period", "2005", "2024"]) == 0
    asked = [path.split("mineq-date=")[1][:10] for path, _ in server.asked[first:]]
    assert asked == ["2015-01-01", "2005-01-01"] * 2, "earlier years are added, the latest first"


def test_only_measured_days_are_observed(
    server: Server, service: Service, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = {
        "2024-01-01": {"quality": "Good"},
        "2024-01-02": {"quality": "Unchecked"},
        "2024-01-03": {"quality": "Estimated"},
        "2024-01-04": {"quality": "Suspect"},
        "2024-01-05": {"quality": "Missing", "value": None},
        "2024-01-06": {"quality": "of a new kind"},
        "2024-01-07": {"quality": None},
        "2024-01-08": {"completeness": "Incomplete"},
        "2024-01-09": {"completeness": None},
    }
    service.changes = days
    assert main([*command, "--stations", "1001", "--period", "2024-01-01", "2024-01-09"]) == 0
    is_observed = np.isfinite(flow(tmp_path / "n").values[:, 0])
    assert is_observed.tolist() == [True, True, False, False, False, False, False, False, True]
    said = " ".join(capsys.readouterr().out.split())
    assert "2 Good, 1 Unchecked; not used: 1 Estimated, 1 Suspect, 1 Missing" in said
    assert "1 Good of incomplete days" in said


def test_a_station_that_is_missing_does_not_stop_the_others(
    server: Server, service: Service, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.stations += [
        service.station("dddd", stationReference="77"),
        *[service.station("e", nrfaStationID="88")] * 2,
    ]
    service.without_readings.add("dddd")
    period = ["--period", "2024", "2024"]
    assert main([*command, "--stations", "77,1001,88,99", "--json", *period]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["fetched"] == ["1001"] and said["failed"] == ["88", "99", "77"]
    assert flow(tmp_path / "n")["catchment"].values.tolist() == [1001]
    server.services.clear()
    assert main([*command, "--stations", "99", *period]) == 2
    assert "404" in capsys.readouterr().err


def test_a_river_by_its_name(
    server: Server, service: Service, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    period = ["--period", "2024", "2024"]
    assert main([*command, "--river", "wick, River Thames", *period]) == 0
    assert flow(tmp_path / "n")["catchment"].values.tolist() == [1001, 39001]
    assert "Nameless: no number of the NRFA" in capsys.readouterr().out
    assert main([*command, "--river", "Nile", *period]) == 2
    assert "river Nile: has no flow station" in capsys.readouterr().err


def test_an_interrupted_fetch_continues_and_a_missing_catalogue_is_reported(
    server: Server, service: Service, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hydromae.fetch.transfer.time.sleep", lambda seconds: None)
    monkeypatch.setattr(nrfa, "URL", f"{server.url}/nothing")
    command += ["--stations", "1001", "--period", "1990", "2020"]
    server.faults = [0, 0, 0, 0, 404]
    assert main(command) == 2, "the years from 2010 fail, and no station is left"
    asked = len(server.asked)
    assert main(command) == 0
    days = [path.split("mineq-date=")[1][:10] for path, _ in server.asked[asked:] if "mineq" in path]
    assert days == ["2009-12-24", "2019-01-01"], "the week before the end of 2009 is asked for again"
    values = flow(tmp_path / "n")
    assert values.sizes["time"] == 11323 and values.notnull().all(), "position and area are those of the station"


def test_the_rain_of_a_station_is_the_mean_of_the_gauges_near_it(
    server: Server, service: Service, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near, at, closed, far = (service.gauge(name, 58.4762 + north) for name, north in PLACES.items())
    nameless = {"stationGuid": "n", "label": "no notation"}
    service.gauges = [far, near, closed | {"dateClosed": "2001-01-01"}, at, {**at, "notation": "../x"}, nameless]
    service.rain = {"near": 3.0, "at": 6.0, "closed": 90.0, "far": 90.0}
    command += ["--stations", "1001,39001", "--period", "2024-01-01", "2024-01-09"]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "station 1001: rain is the mean of 2 gauges near it: gauge at (0 km), gauge near (11.1 km)" in said
    record = open_record(tmp_path / "n")
    assert record["precipitation"].values == pytest.approx(4.5)
    assert "not of the catchment" in record["precipitation"].attrs["processing"]
    asked = len(server.asked)
    assert main([*command, "--json"]) == 0 and len(server.asked) == asked, "nothing is new"
    assert json.loads(capsys.readouterr().out)["rain"] == ["1001", "39001"]
    service.changes["2024-01-10"] = {"quality": "Missing", "value": None}
    service.without_readings.add("near")
    assert main([*command[:-1], "2024-01-11"]) == 0
    rain = open_record(tmp_path / "n")["precipitation"].values[:, 0]
    assert rain == pytest.approx([4.5] * 9 + [np.nan, 6.0], nan_ok=True), "the gauges measured on a day"
    assert "not fetched: rain gauge gauge near" in " ".join(capsys.readouterr().out.split())


def test_a_large_catchment_has_gauges_at_all_distances() -> None:
    service = Service("2024-03-01")
    station = service.stations[0] | {"catchmentArea": 10_000}
    gauges = [service.gauge(str(km), 58.4762 + km / 111.4) for km in range(0, 90, 3)]
    km = [round(distance) for _, distance in nearest_gauges(station, gauges)]
    assert len(km) == 8 and km[0] == 0 and 50 <= km[-1] <= 57 and max(np.diff(km)) <= 12, (
        "the disc has a radius of 56 km"
    )
    assert [round(far) for _, far in nearest_gauges(station | {"catchmentArea": 3}, gauges)] == [0, 3, 6]
    assert nearest_gauges(station | {"lat": None}, gauges) == [] and nearest_gauges(station, []) == []
    assert nearest_gauges(station, gauges[-1:]) == [], "too far"


def test_rain_is_left_out_or_reported_where_it_is_missing(
    server: Server, service: Service, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.gauges = [service.gauge("at", 58.4762)]
    command += ["--stations", "1001", "--period", "2024-01-01", "2024-01-09"]
    assert main([*command, "--no-rain"]) == 0
    assert not any("rainfall" in path for path, _ in server.asked) and "precipitation" not in open_record(
        tmp_path / "n"
    )
    assert main(["fetch", "nrfa", "--stations", "1001", "--out", str(tmp_path / "m"), "--no-rain"]) == 2
    assert "--no-rain: belongs to ea" in capsys.readouterr().err
    server.faults = [404]
    assert main(command) == 0 and "rain not fetched" in capsys.readouterr().out, "flow is kept"
    (tmp_path / "n" / "at_ea-rain.json").write_text("mine")
    assert main(command) == 2 and (tmp_path / "n" / "at_ea-rain.json").read_text() == "mine"
    (tmp_path / "n" / "at_ea-rain.json").unlink()
    assert main(command) == 0 and float(open_record(tmp_path / "n")["precipitation"][0, 0]) == 2.5
    capsys.readouterr()
    assert main([*command, "--no-rain"]) == 0
    assert "of an earlier run, and still read; remove it" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "n" / "ea-rain-gauges.json").write_text('{"1001": [{"gauge": "../../secret"}]}')
    with pytest.raises(Exception, match="not a list of rain gauges"):
        open_record(tmp_path / "n")


def test_no_file_of_the_user_is_replaced(
    server: Server, service: Service, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "1001_ea-flow.json").write_text("mine")
    assert main([*command, "--stations", "1001"]) == 2 and not server.asked
    assert main([*command, "--river", "Wick"]) == 2
    assert "exists and was not fetched by hydromae" in capsys.readouterr().err
    assert (tmp_path / "n" / "1001_ea-flow.json").read_text() == "mine"


def test_mistakes_and_damaged_answers_are_one_line(
    server: Server, service: Service, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistakes = {
        "both are missing": command,
        "is not a number": [*command, "--stations", "x"],
        "belongs to nrfa": [*command, "--stations", "1", "--update"],
        "belongs to ea": ["fetch", "nrfa", *command[2:], "--river", "Wye"],
        "begins after yesterday": [*command, "--stations", "1001", "--period", "2030", "2031"],
    }
    for words, wrong in mistakes.items():
        assert main(wrong) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and words in lines[0], lines
    file = tmp_path / "n" / "1001_ea-flow.json"
    assert main([*command, "--stations", "1001", "--period", "2024", "2024"]) == 0
    for damage in ('{"catchment": "1001"}', '{"catchment": ', "[]"):
        file.write_text(damage)
        with pytest.raises(Exception, match="fetch it again"):
            flow(tmp_path / "n")
    assert (
        main([*command, "--stations", "1001", "--period", "2024", "2024"]) == 0 and flow(tmp_path / "n").notnull().all()
    )
    for day in ("2025-01-05", "2024-02-31", "5 January"):
        service.changes["2024-01-05"] = {"date": day}
        assert main([*command, "--stations", "39001", "--period", "2024", "2024"]) == 2
        assert "which was not asked for" in capsys.readouterr().err
