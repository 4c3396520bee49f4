"""Large-scale circulation and temperature of each day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hydromae.virtual.fields import smooth_fields
from hydromae.virtual.land import Land

_FAST, _SLOW = np.exp(-1 / 2.4), np.exp(-1 / 30.0)
_AIR_MASS, _PATTERN = np.exp(-1 / 1.5), np.exp(-1 / 3.0)
_PATTERNS = 10


@dataclass(frozen=True)
class Circulation:
    """Daily indices of the circulation; the winds have unit variance around their means.

    Attributes:
        westerly, southerly (arrays (T,)): Strength of the wind from the west and from the south.
        cyclonic (array (T,)): Cyclonicity; its persistence makes wet and dry spells.
        season (array (T,)): Angle of the day in the year [rad], 0 on 1 January.
    """

    westerly: Float[np.ndarray, " T"]
    southerly: Float[np.ndarray, " T"]
    cyclonic: Float[np.ndarray, " T"]
    season: Float[np.ndarray, " T"]

    @property
    def winter(self) -> Float[np.ndarray, " T"]:
        """1 in the middle of winter (20 January), −1 in the middle of summer."""
        return np.cos(self.season - 2 * np.pi * 19 / 365.25)

    @property
    def stormy(self) -> Float[np.ndarray, " T"]:
        """1 in the season of deep depressions (30 November), −1 half a year away."""
        return np.cos(self.season - 2 * np.pi * 333 / 365.25)


def season_angle(dates: np.ndarray) -> Float[np.ndarray, " T"]:
    """Return the angle of each date in its year [rad]."""
    day = dates.astype("datetime64[D]")
    return (day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.float64) * (2 * np.pi / 365.25)


def autoregressive(innovations: Float[np.ndarray, "T ..."], correlation: float) -> Float[np.ndarray, "T ..."]:
    """Return a first-order autoregressive process of unit variance along the first axis."""
    state = np.empty_like(innovations)
    state[0] = innovations[0]
    gain = np.sqrt(1 - correlation**2)
    for day in range(1, len(innovations)):
        state[day] = correlation * state[day - 1] + gain * innovations[day]
    return state


def draw_circulation(generator: np.random.Generator, dates: np.ndarray) -> Circulation:
    """Draw the circulation as the sum of a fast and a slow autoregressive process."""
    noise = generator.standard_normal((len(dates), 2, 3))
    index = 0.93 * autoregressive(noise[:, 0], _FAST) + 0.37 * autoregressive(noise[:, 1], _SLOW)
    season = season_angle(dates)
    winter = np.cos(season - 2 * np.pi * 19 / 365.25)
    return Circulation(index[:, 0] + 0.85 + 0.2 * winter, index[:, 1] + 0.25, index[:, 2], season)


class Temperature:
    """Daily mean temperature: climatology plus the anomaly of the air mass.

    The climatology has a lapse rate of 6.2 K km⁻¹, a gradient to the north and a smaller seasonal cycle at the coast. The
    anomaly is the effect of the circulation (mild south-westerly winters, warm settled summers) plus large-scale patterns.
    """

    def __init__(self, land: Land, circulation: Circulation, generator: np.random.Generator):
        days = len(circulation.season)
        north = (land.northing - 350e3) / 1e5
        inland = 1 - np.exp(-land.coast / 35)
        self._mean = 10.3 - 0.27 * north - 6.2e-3 * land.altitude - 0.15 * inland
        self._swing = 5.2 + 0.9 * inland - 0.13 * north
        patterns = smooth_fields(generator, _PATTERNS, land.grid, 260.0).reshape(_PATTERNS, -1)[:, land.cell]
        self._patterns = patterns / np.sqrt((patterns**2).mean(axis=0))
        noise = generator.standard_normal((days, _PATTERNS + 1))
        states = autoregressive(noise, _PATTERN)
        self._loadings = states[:, :_PATTERNS] / np.sqrt(_PATTERNS)
        self._anomaly = self._air_mass(circulation) + 0.55 * states[:, _PATTERNS]
        self._spread = 2.45 + 0.2 * circulation.winter
        self._season = circulation.season

    @staticmethod
    def _air_mass(circulation: Circulation) -> Float[np.ndarray, " T"]:
        """Return the anomaly of the circulation with about unit variance [1], filtered by mixing."""
        winter = (1 + circulation.winter) / 2
        west, south, cyclonic = circulation.westerly - 0.85, circulation.southerly - 0.25, circulation.cyclonic
        advected = (0.62 * winter - 0.15) * west + 0.65 * south + (0.6 * winter - 0.55 * (1 - winter)) * cyclonic
        filtered = np.empty_like(advected)
        filtered[0] = advected[0]
        for day in range(1, len(advected)):
            filtered[day] = _AIR_MASS * filtered[day - 1] + (1 - _AIR_MASS) * advected[day]
        return filtered

    def days(self, first: int, last: int) -> Float[np.ndarray, "T N"]:
        """Return maps of the days `first` to `last` (exclusive) [°C]."""
        days_slice = slice(first, last)
        seasonal_cycle = -np.cos(self._season[days_slice] - 2 * np.pi * 25 / 365.25)
        anomaly = self._anomaly[days_slice, None] + 0.55 * np.einsum(
            "tk,kn->tn", self._loadings[days_slice], self._patterns
        )
        return self._mean + seasonal_cycle[:, None] * self._swing + self._spread[days_slice, None] * anomaly


def potential_evaporation(
    temperature: Float[np.ndarray, "T N"], season: Float[np.ndarray, " T"], northing: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "T N"]:
    """Return potential evaporation from temperature and solar geometry [mm day⁻¹].

    PE = Rₑ / λ × (T + 5) / 100 where T > −5 °C (Oudin et al. 2005, J. Hydrol. 303, equation 3), Rₑ the radiation
    above the atmosphere (Allen et al. 1998, FAO 56, equation 21), λ = 2.45 MJ kg⁻¹; times 0.9, because the formula
    overestimates the Penman–Monteith values of CAMELS-GB (mean 504 mm a year).
    """
    latitude = np.deg2rad(49.77 + northing / 111_200.0)
    declination = 0.409 * np.sin(season - 1.39)[:, None]
    distance = 1 + 0.033 * np.cos(season)[:, None]
    sunset = np.arccos(np.clip(-np.tan(latitude) * np.tan(declination), -1, 1))
    geometry = sunset * np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.sin(sunset)
    radiation = 24 * 60 / np.pi * 0.0820 * distance * geometry
    return 0.9 * radiation / 2.45 * np.maximum(temperature + 5, 0) / 100
