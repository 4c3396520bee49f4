"""Answers of the hydrology service of the Environment Agency, in the form of the documented samples."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd

READINGS = {"measure": {"@id": "m"}, "valid": "10000", "invalid": "0", "missing": "0", "completeness": "Complete"}

SERIES = re.compile(r"/hydrology/id/measures/(.+)-(?:flow-m-86400-m3s|rainfall-t-86400-mm)-qualified/readings.json")


class Service:
    """The hydrology service: stations and rain gauges, their series, and readings until `today`."""

    def __init__(self, today: str) -> None:
        self.today = pd.Timestamp(today)
        self.stations: list[dict[str, Any]] = [
            self.station("aaaa", stationReference="1001", riverName="River Wick"),
            self.station("bbbb", stationReference="3400TH", nrfaStationID="39001", riverName="Thames"),
            self.station("cccc", stationReference="1234TH", riverName="Thames", label="Nameless"),
        ]
        self.gauges: list[dict[str, Any]] = []
        self.rain: dict[str, float] = {}
        self.changes: dict[str, dict[str, Any]] = {}
        self.unit = "m3/s"
        self.flows: dict[str, pd.Series] = {}
        self.without_readings: set[str] = set()

    def station(self, guid: str, **more: str) -> dict[str, Any]:
        place = {"lat": 58.4762, "long": -3.26706, "catchmentArea": 161.9}
        return {"stationGuid": guid, "notation": guid, "label": guid, **place, **more}

    def gauge(self, guid: str, latitude: float, **more: str) -> dict[str, Any]:
        return {
            "stationGuid": guid,
            "notation": guid,
            "label": f"gauge {guid}",
            "lat": latitude,
            "long": -3.26706,
            **more,
        }

    def __call__(self, path: str, query: dict[str, str]) -> bytes | None:
        if path == "/hydrology/id/stations.json":
            items = {"waterFlow": self.stations, "rainfall": self.gauges}[query["observedProperty"]]
            return json.dumps({"items": items}).encode()
        if path == "/hydrology/id/measures.json":
            is_rain = query["station"] in {one["stationGuid"] for one in self.gauges}
            kinds = ("flow-i-900-m3s", "flow-max-86400-m3s", "flow-m-86400-m3s")
            kinds = ("rainfall-t-900-mm", "rainfall-t-86400-mm") if is_rain else kinds
            unit = "mm" if is_rain else self.unit
            items = [{"notation": f"{query['station']}-{kind}-qualified", "unitName": unit} for kind in kinds]
            return json.dumps({"items": items}).encode()
        found = SERIES.fullmatch(path)
        guid = found[1] if found else ""
        known = {one["stationGuid"] for one in [*self.stations, *self.gauges]} - self.without_readings
        return self.readings(guid, query) if guid in known else None

    def readings(self, guid: str, query: dict[str, str]) -> bytes:
        days = pd.date_range(query["mineq-date"], min(pd.Timestamp(query["maxeq-date"]), self.today))
        items = []
        for day in (f"{day:%Y-%m-%d}" for day in days):
            value = round(float(self.flows[guid].get(day, 0.0)), 3) if guid in self.flows else self.rain.get(guid, 2.5)
            reading = {**READINGS, "date": day, "dateTime": f"{day}T09:00:00", "value": value, "quality": "Good"}
            reading |= self.changes.get(day, {})
            items.append({name: value for name, value in reading.items() if value is not None})
        return json.dumps({"meta": {}, "items": items}).encode()
