"""The commands of docs/questions/every-morning.md, on two mornings, against a server on this machine."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from ea_service import Service
from hydromae.cli import main
from hydromae.fetch import environment_agency as ea
from hydromae.fetch import nrfa
from hydromae.virtual import virtual_catchments
from local_server import running_server
from pages import commands
from synthetic import repeated

STATIONS, MEMBERS, DAYS = 10, 3, 5
WEATHER = ["precipitation", "temperature", "potential_evaporation"]
PAGE = Path("docs/questions/every-morning.md")


def weather(record: xr.Dataset, yesterday: str, file: Path) -> None:
    """Members after a day, as a provider gives them."""
    future = (
        record[WEATHER].sel(time=slice(pd.Timestamp(yesterday) + pd.Timedelta(days=1), None)).isel(time=slice(DAYS))
    )
    table = future.to_dataframe()[WEATHER].reset_index().rename(columns={"time": "date"})
    members = [table.assign(member=n, precipitation=table["precipitation"] * (n + 1) / 2) for n in range(MEMBERS)]
    pd.concat(members).assign(issue_time=str(future["time"].values[0])[:10]).to_csv(file, index=False)


def test_two_mornings_of_ten_stations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = [1001 + n for n in range(STATIONS)]
    short = virtual_catchments(730, 1, "2013-01-01", STATIONS, missing=False).load()
    record = repeated(short, 4100).assign_coords(catchment=numbers)
    volumes = (record["riverflow"] * record["catchment-area"] / 86.4).transpose("time", "catchment")
    first, second, third = (str(day)[:10] for day in record["time"].values[[-20, -19, -18]])
    lines = [line for line in commands(PAGE) if line.startswith("hydromae")]
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    with running_server() as server:
        monkeypatch.setattr(nrfa, "URL", f"{server.url}/none")
        monkeypatch.setattr(ea, "FIRST_DAY", datetime(2013, 1, 1).date())
        service = Service(first)
        service.stations = [
            service.station(f"{number}x", stationReference=str(number))
            | {
                "lat": float(one["latitude"]),
                "long": float(one["longitude"]),
                "catchmentArea": float(one["catchment-area"]),
            }
            for number in numbers
            for one in [record.sel(catchment=number)]
        ]
        for number in numbers:
            flow = volumes.sel(catchment=number).to_series()
            service.flows[f"{number}x"] = flow.set_axis(flow.index.strftime("%Y-%m-%d"))
        service.gauges = [
            service.gauge(f"{number}r", float(record.sel(catchment=number)["latitude"])) for number in numbers
        ]
        for gauge, number in zip(service.gauges, numbers, strict=True):
            gauge["long"] = float(record.sel(catchment=number)["longitude"])
            service.rain[gauge["notation"]] = float(number % 7)
        server.services.append(service)
        fetch = shlex.split(lines[0].replace("39001,54001", ",".join(map(str, numbers))))[1:]
        fetch += ["--pause", "0", "--url", f"{server.url}/hydrology"]
        asked, codes = [], []
        for yesterday, today in ((first, second), (second, third)):
            service.today = pd.Timestamp(yesterday)

            class Clock(datetime):
                day = today

                @classmethod
                def now(cls, tz: object = None) -> datetime:
                    return datetime.fromisoformat(f"{cls.day}T10:30+00:00")

            monkeypatch.setattr(ea, "datetime", Clock)
            weather(record, yesterday, Path("weather.csv"))
            before = len(server.asked)
            codes.append([main(words) for words in (fetch, *(shlex.split(line)[1:] for line in lines[1:]))])
            asked.append([path for path, _ in server.asked[before:] if "readings" in path])
    assert codes == [[0, 0, 2], [0, 0, 0]], "on the first morning, nothing can be verified"
    assert [len(paths) for paths in asked] == [STATIONS * 2 * 2, STATIONS * 2], (
        "two parts of 12 years of flow and rain; the second morning asks for the new days alone"
    )
    assert sorted(file.name for file in Path("issued").iterdir()) == [f"forecast-{day}.nc" for day in (first, second)]
    table, page = pd.read_csv("warnings.csv"), Path("warnings.html").read_text()
    assert set(table["catchment"]) == set(numbers) and set(table["issue_time"]) == {second}
    assert table["flow [m3/s]"].gt(0).all() and "weather of 3 members" in page
    assert "Chance of flow above the 2-year flood" in page and "below Q95" in page and "1001x (1001)" in page
    assert "Skill by lead" in Path("verification.html").read_text() and Path("verification.csv").is_file()
    said = " ".join(capsys.readouterr().out.split())
    assert "1 issue days are new" in said and "2 issue days; 10 daily flows scored, 90 wait for an observation" in said
