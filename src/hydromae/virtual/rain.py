"""Daily rain of Virtual GB: moving fronts, showers and orographic effects."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from hydromae.virtual.circulation import Circulation
from hydromae.virtual.fields import coloured, matern, padded_shape, wavenumbers, white_spectra
from hydromae.virtual.land import Land

_SLOTS = 5
"""Maximum new fronts per day."""

_REACH = 2
"""Days of rain before and after a front crosses the centre."""

_CENTRE = (390.0, 480.0)
"""Easting and northing of the centre of the country [km]."""

_DIRECTIONS = 24
"""Number of wind directions with precomputed orographic factors."""

_SCALE = 0.7
"""Factor for an annual rain of 958 mm in the median catchment, as observed."""


class Rain:
    """Daily rain maps, block by block.

    A front is a moving band with a sech² profile, so that its daily rain is a difference of two hyperbolic tangents; its
    occurrence, path and depth depend on the circulation. A random field elongated along the wind makes it patchy. Showers are
    the peaks of a finer field. Orographic effects follow the linear theory of Smith & Barstad (2004, J. Atmos. Sci. 61, 1377)
    for the wind of the day. Parameters are tuned to the bounds of the package docstring.
    """

    def __init__(self, land: Land, circulation: Circulation, generator: np.random.Generator):
        """Draw the fronts of all days; the circulation must extend two days beyond the last map."""
        self._land = land
        self._east, self._north = land.easting / 1e3 - _CENTRE[0], land.northing / 1e3 - _CENTRE[1]
        self._circulation = circulation
        fronts, self._texture = generator.spawn(2)
        self._heading = np.arctan2(circulation.southerly, circulation.westerly)
        self._front = self._draw_fronts(fronts.standard_normal((len(circulation.season), _SLOTS, 8)))
        self._hills = hill_factors(land)

    def _draw_fronts(self, noise: Float[np.ndarray, "T S 8"]) -> dict[str, Float[np.ndarray, "T S"]]:
        """Return parameters of each slot of each day; a slot without a front has depth 0."""
        state = self._circulation
        unsettled, stormy = state.cyclonic[:, None], state.stormy[:, None]
        width = 80 * np.exp(0.4 * noise[..., 0])
        speed = np.maximum(560 * np.exp(0.36 * noise[..., 1] + 0.1 * stormy), 150)
        strength = np.exp(0.42 * noise[..., 2] + 0.15 * unsettled + 0.1 * stormy)
        is_present = noise[..., 3] < -0.84 + 0.55 * unsettled + 0.22 * stormy
        return {
            "width": width,
            "speed": speed,
            "depth": np.where(is_present, 5.9 * strength * (width / 80) ** 0.5 * (560 / speed) ** 0.7, 0.0),
            "heading": self._heading[:, None] + 0.35 * noise[..., 4],
            "offset": 330 - 100 * unsettled + 420 * noise[..., 5],
            "length": 290 * np.exp(0.45 * noise[..., 6]),
            "crossing": 0.5 + 0.5 * np.tanh(0.8 * noise[..., 7]),
        }

    def days(self, first: int, last: int) -> Float32[np.ndarray, "T N"]:
        """Return maps of the days `first` to `last` (exclusive) [mm day⁻¹]; call it for blocks in order."""
        patchy, fine = self._textures(first, last)
        state, days_slice = self._circulation, slice(first, last)
        spread = (0.47 - 0.07 * state.winter[days_slice, None]).astype(np.float32)
        frontal = self._frontal(first, last) * np.exp(spread * patchy - spread**2 / 2)
        active = np.exp(0.45 * state.cyclonic[days_slice] - 0.35 * state.winter[days_slice])[:, None].astype(np.float32)
        showers = (
            2.2 * active * np.maximum(fine + 0.9 * patchy + 0.5 * state.cyclonic[days_slice, None] - 1.2, 0) ** 1.4
        )
        direction_index = np.rint(self._heading[days_slice] / (2 * np.pi / _DIRECTIONS)).astype(int) % _DIRECTIONS
        rain = _SCALE * (frontal + showers) * self._hills[direction_index]
        return np.maximum(rain - 0.2, 0).astype(np.float32)

    def _frontal(self, first: int, last: int) -> Float32[np.ndarray, "T N"]:
        """Return rain of all fronts on each day, before patches and orography [mm day⁻¹]."""
        lag = np.arange(-_REACH, _REACH + 1)
        birth_day = np.arange(first, last)[:, None] + lag
        depth = self._front["depth"]
        nearby_depth = (
            depth[np.clip(birth_day, 0, len(depth) - 1)] * ((birth_day >= 0) & (birth_day < len(depth)))[..., None]
        )
        day, shift, slot = np.nonzero(nearby_depth)
        source = birth_day[day, shift]
        parameters = {name: values[source, slot][:, None].astype(np.float32) for name, values in self._front.items()}
        start = (-lag[shift][:, None] - parameters["crossing"]).astype(np.float32)
        total = self._passage(parameters, start)
        day_matrix = (np.arange(last - first)[:, None] == day).astype(np.float32)
        return day_matrix @ total

    def _passage(
        self, front: dict[str, Float32[np.ndarray, "M 1"]], start: Float32[np.ndarray, "M 1"]
    ) -> Float32[np.ndarray, "M N"]:
        """Return daily rain of each front; `start` is the start of the day relative to the crossing of the centre [d]."""
        cosine, sine = np.cos(front["heading"]), np.sin(front["heading"])
        east, north = self._east.astype(np.float32), self._north.astype(np.float32)
        along_front = east * cosine + north * sine
        across_front = north * cosine - east * sine - front["offset"]
        bowed = along_front + across_front**2 / 2500
        front_position = front["speed"] * start
        rain_share = np.tanh((front_position + front["speed"] - bowed) / front["width"]) - np.tanh(
            (front_position - bowed) / front["width"]
        )
        return front["depth"] / 2 * rain_share * np.exp(-((across_front / front["length"]) ** 2) / 2)

    def _textures(self, first: int, last: int) -> tuple[Float32[np.ndarray, "T N"], Float32[np.ndarray, "T N"]]:
        """Draw two fields of unit variance per day: elongated patches and a fine field."""
        grid = self._land.grid
        north, east = wavenumbers(grid)
        heading = self._heading[first:last, None, None].astype(np.float32)
        along = east * np.cos(heading) + north * np.sin(heading)
        across = north * np.cos(heading) - east * np.sin(heading)
        squared = (along * 90) ** 2 + (across * 45) ** 2
        spectra = white_spectra(self._texture, 2 * (last - first), grid)
        patchy = coloured(spectra[::2], matern(squared, 0.9), grid)
        fine = coloured(spectra[1::2], matern(squared / 16, 1.2), grid)
        cell = self._land.cell
        return patchy.reshape(len(patchy), -1)[:, cell], fine.reshape(len(fine), -1)[:, cell]


def hill_factors(land: Land) -> Float32[np.ndarray, "D N"]:
    """Return orographic factors of rain for each wind direction, with a mean of 1 over the country.

    Uplift is h × iσ / ((1 + iστ)²), σ the wind's wavenumber, τ = 1500 s the delay of forming and falling rain (Smith &
    Barstad 2004, equation 49 without the wave part); altitude increases rain for all winds, and rain decreases downwind.
    """
    grid = land.grid
    rows, columns = padded_shape(grid)
    surface = np.zeros((rows, columns))
    surface[: grid.rows, : grid.columns] = land.on_grid(land.altitude, 0.0)
    spectrum = np.fft.rfft2(surface)
    north, east = wavenumbers(grid)
    heading = np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS
    factors = np.empty((_DIRECTIONS, len(land.cell)), dtype=np.float32)
    for index, angle in enumerate(heading):
        sigma = 15e-3 * (east * np.cos(angle) + north * np.sin(angle))
        lifted = np.fft.irfft2(spectrum * 1j * sigma / (1 + 1500j * sigma) ** 2, s=(rows, columns))
        uplift = lifted[: grid.rows, : grid.columns].ravel()[land.cell]
        fetch = (land.easting / 1e3 - _CENTRE[0]) * np.cos(angle) + (land.northing / 1e3 - _CENTRE[1]) * np.sin(angle)
        exponent = 9.5 * uplift + 1.0e-3 * land.altitude - fetch / 275
        factors[index] = np.exp(np.clip(exponent, -1.5, 1.6))
        factors[index] /= factors[index].mean()
    return factors


def mean_wetness(land: Land) -> Float[np.ndarray, " N"]:
    """Return rain of each cell relative to the country mean, for the mean distribution of winds."""
    heading = np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS
    weight = np.exp(1.2 * np.cos(heading - np.deg2rad(16)))
    return (weight[:, None] * hill_factors(land)).sum(axis=0) / weight.sum()
