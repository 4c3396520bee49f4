"""Hydrology of Virtual GB: a soil bucket in each cell, and quick and slow stores in each catchment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hydromae.virtual.catchments import Catchments
from hydromae.virtual.land import Land

_WETTING = 1.5
"""Daily water retained by the topsoil [mm]."""

_SINKING = 12
"""Ratio of the rates of percolation and groundwater discharge."""

_LATE = 0.3
"""Share of a day's quick flow that reaches the gauge on the next day."""


@dataclass(frozen=True)
class Ground:
    """Output of the soil buckets for a block of days: fluxes [mm day⁻¹] and states [mm].

    Attributes:
        recharge, evaporation (arrays (T, N)): Percolation and actual evaporation.
        soil, snow (arrays (T, N)): Soil water and snow at the end of each day.
    """

    recharge: Float[np.ndarray, "T N"]
    evaporation: Float[np.ndarray, "T N"]
    soil: Float[np.ndarray, "T N"]
    snow: Float[np.ndarray, "T N"]


class Soil:
    """A bucket under a snow pack in each cell, after HBV (Lindström et al. 1997, J. Hydrol. 201).

    The share (soil / capacity)^drainage of water above 1.5 mm per day percolates; actual evaporation is potential down to
    half of the capacity and decreases linearly below.
    """

    def __init__(self, land: Land, start_season: float):
        self._land = land
        winter = np.cos(start_season - 2 * np.pi * 40 / 365.25)
        self._soil = (0.66 + 0.24 * winter) * land.capacity
        self._snow = np.zeros_like(self._soil)

    def days(
        self,
        rain: Float[np.ndarray, "T N"],
        temperature: Float[np.ndarray, "T N"],
        potential: Float[np.ndarray, "T N"],
    ) -> Ground:
        """Simulate a block of days and update the state."""
        capacity = self._land.capacity
        recharge, evaporation, soil, snow = (np.empty(rain.shape) for _ in range(4))
        for day in range(len(rain)):
            frozen = np.clip((1.5 - temperature[day]) / 2, 0, 1) * rain[day]
            self._snow += frozen
            melt = np.minimum(self._snow, 3.5 * np.maximum(temperature[day] - 0.3, 0))
            self._snow -= melt
            water = rain[day] - frozen + melt
            percolation = np.maximum(water - _WETTING, 0) * (self._soil / capacity) ** self._land.drainage
            percolation += np.maximum(self._soil + water - percolation - capacity, 0)
            self._soil += water - percolation
            evaporation[day] = np.minimum(potential[day] * np.minimum(self._soil / (0.5 * capacity), 1), self._soil)
            self._soil -= evaporation[day]
            recharge[day], soil[day], snow[day] = percolation, self._soil, self._snow
        return Ground(recharge, evaporation, soil, snow)

    def moisture(self, soil: Float[np.ndarray, "T N"]) -> Float[np.ndarray, "T N"]:
        """Return volumetric soil moisture [m³ m⁻³] of water in the soil [mm]."""
        land = self._land
        return land.residual + (land.saturated - land.residual) * soil / land.capacity


class Rivers:
    """Quick and slow stores of each catchment, with shares and times from its base-flow index and area.

    About the share `bfihost` of the recharge becomes groundwater, whose discharge is quadratic in its storage, as in an
    unconfined aquifer (Brutsaert & Nieber 1977, Water Resour. Res. 13, 637), with a time of 10 days in impermeable rock to
    250 days in chalk. The rest passes two equal linear stores of hours in small to days in large or permeable catchments.
    """

    def __init__(self, catchments: Catchments, recharge: Float[np.ndarray, " C"], generator: np.random.Generator):
        """Initialise the stores in equilibrium with a mean `recharge` [mm day⁻¹]."""
        scatter = generator.standard_normal((3, len(catchments.number)))
        index, area = catchments.attributes["bfihost"], catchments.attributes["catchment-area"]
        self._share = np.clip(1.03 * index + 0.03 + 0.06 * scatter[0], 0.08, 0.97)
        self._slow_time = 10 * np.exp(4.2 * (index - 0.2) + 0.25 * scatter[1])
        self._fast_time = 0.25 * (area / 150) ** 0.4 * np.exp(1.9 * (index - 0.45) + 0.4 * scatter[2])
        mean_recharge = self._share * recharge
        self._decay = 1 / (4 * self._slow_time**2 * mean_recharge)
        self._slow = 2 * self._slow_time * mean_recharge
        self._sinking = mean_recharge * self._slow_time / _SINKING
        self._fast = (1 - self._share) * recharge * self._fast_time
        self._channel = self._fast.copy()

    def days(self, recharge: Float[np.ndarray, "T C"]) -> tuple[Float[np.ndarray, "T C"], Float[np.ndarray, "T C"]]:
        """Return flow [mm day⁻¹] and storage at the end of each day [mm] of a block."""
        flow, storage = np.empty_like(recharge), np.empty_like(recharge)
        fast_share = 1 - np.exp(-1 / self._fast_time)
        sink_share = 1 - np.exp(-_SINKING / self._slow_time)
        for day in range(len(recharge)):
            self._sinking += self._share * recharge[day]
            slow_water = self._slow + sink_share * self._sinking
            self._sinking *= 1 - sink_share
            self._slow = slow_water / (1 + self._decay * slow_water)
            self._fast += (1 - self._share) * recharge[day]
            quick_flow = fast_share * self._fast
            self._fast -= quick_flow
            fast_flow = fast_share * (self._channel + (1 - _LATE) * quick_flow)
            self._channel += quick_flow - fast_flow
            flow[day] = slow_water - self._slow + fast_flow
            storage[day] = self._sinking + self._slow + self._fast + self._channel
        return flow, storage
