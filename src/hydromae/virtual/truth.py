"""Simulation of Virtual GB: weather, soil and rivers, in blocks of days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hydromae.footprints import footprint_mean
from hydromae.progress import track
from hydromae.virtual.catchments import Catchments, place_catchments
from hydromae.virtual.circulation import Circulation, Temperature, draw_circulation, potential_evaporation, season_angle
from hydromae.virtual.land import Land, build_land
from hydromae.virtual.rain import Rain, mean_wetness
from hydromae.virtual.rivers import Rivers, Soil

_BLOCK = 32
_SPIN_UP = 6 * _BLOCK


@dataclass(frozen=True)
class DayBlock:
    """Block of days: maps (T, N) over the land cells, series (T, C) over the catchments.

    Attributes:
        first: Index of the first day in the record.
        rain, temperature, soil_moisture (arrays (T, N)): Maps [mm day⁻¹], [°C], [m³ m⁻³].
        series (dict of arrays (T, C)): Footprint means of `precipitation`, `temperature`, `potential_evaporation`,
            `evaporation` (actual), then `riverflow` [mm day⁻¹] and `storage`, total water in snow, soil and stores [mm].
    """

    first: int
    rain: Float[np.ndarray, "T N"]
    temperature: Float[np.ndarray, "T N"]
    soil_moisture: Float[np.ndarray, "T N"]
    series: dict[str, Float[np.ndarray, "T C"]]


class VirtualBritain:
    """Land, catchments and simulation of one seed."""

    def __init__(self, seed: int, start: str, days: int, catchments: int):
        streams = np.random.default_rng(seed).spawn(6)
        blocks = -(-(days + _SPIN_UP) // _BLOCK)
        first = np.datetime64(start, "D") - _SPIN_UP
        dates = first + np.arange(blocks * _BLOCK + 2)
        self.days = days
        self.land: Land = build_land(streams[0])
        wetness = mean_wetness(self.land)
        self.catchments: Catchments = place_catchments(self.land, wetness, catchments, streams[1])
        self._circulation: Circulation = draw_circulation(streams[2], dates)
        self._rain = Rain(self.land, self._circulation, streams[3])
        self._temperature = Temperature(self.land, self._circulation, streams[4])
        self._soil = Soil(self.land, float(season_angle(dates[:1])[0]))
        mean_recharge = np.maximum(self.catchments.mean(wetness) * 3.0 - 1.2, 0.3)
        self._rivers = Rivers(self.catchments, mean_recharge, streams[5])
        self._blocks = blocks

    def blocks(self) -> Iterator[DayBlock]:
        """Yield the blocks of the record in order; call it once."""
        for index in track(range(self._blocks), "months simulated", self._blocks):
            block = self._run(index * _BLOCK, (index + 1) * _BLOCK)
            begin, end = max(-block.first, 0), min(self.days - block.first, _BLOCK)
            if end > begin:
                yield _cut(block, begin, end)

    def _run(self, first: int, last: int) -> DayBlock:
        """Simulate days `first` to `last` (exclusive), counted from the start of the spin-up."""
        land, season = self.land, self._circulation.season[first:last]
        rain = self._rain.days(first, last)
        temperature = self._temperature.days(first, last)
        potential = potential_evaporation(temperature, season, land.northing)
        ground = self._soil.days(rain, temperature, potential)
        mean = {
            name: footprint_mean(self.catchments.footprints, values, len(self.catchments.number))
            for name, values in (
                ("precipitation", rain),
                ("temperature", temperature),
                ("potential_evaporation", potential),
                ("evaporation", ground.evaporation),
                ("recharge", ground.recharge),
                ("storage", ground.soil + ground.snow),
            )
        }
        mean["riverflow"], river_storage = self._rivers.days(mean.pop("recharge"))
        mean["storage"] = mean["storage"] + river_storage
        return DayBlock(first - _SPIN_UP, rain, temperature, self._soil.moisture(ground.soil), mean)


def _cut(block: DayBlock, begin: int, end: int) -> DayBlock:
    """Return days `begin` to `end` (exclusive) of a block."""
    days_slice = slice(begin, end)
    return DayBlock(
        block.first + begin,
        block.rain[days_slice],
        block.temperature[days_slice],
        block.soil_moisture[days_slice],
        {name: values[days_slice] for name, values in block.series.items()},
    )
