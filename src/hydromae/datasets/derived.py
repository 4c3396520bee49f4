"""Derived variables: maps from catchments, evaporation from temperature, soil moisture from both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.footprints import Footprints, footprint_mean
from hydromae.io.parse import training_slice

TRAINING_PERIOD = ("1970-01-01", "2010-12-31")
SMOOTHING_DAYS = 31  # as in the evaporation climatology
EVAPORATION_NOTE = (
    "derived, not measured: mean of the day of the year x (T + 5) / (smoothed mean T of that day of the year + 5), "
    "after Oudin et al. 2005, means from {0} to {1}"
)


def oudin_evaporation(
    temperature: xr.DataArray, climatology: Float[np.ndarray, "365 C"], training_period: tuple[str, str]
) -> xr.DataArray:
    """Return daily potential evaporation [mm/day] from its mean by day of the year.

    E(t) = clim(d) × max(T(t) + 5, 0) / max(mean T(d) + 5, 1), where d is the day of the year and mean T is over
    training days, smoothed over 31 days. The temperature term is that of Oudin et al. (2005),
    J. Hydrol. 303, 290–306, eq. 3. Day 366 uses the mean of day 365.

    Args:
        temperature (DataArray (time, catchment)): Daily mean [°C].
        climatology (array (365, C)): Mean potential evaporation of each day of the year [mm/day].
        training_period (str, str): First and last day of the mean temperature.
    """
    days = pd.DatetimeIndex(temperature["time"].values)
    training = training_slice(days, training_period)
    values = temperature.transpose("time", "catchment").values.astype(np.float32)
    day = np.minimum(days.day_of_year.to_numpy(), 365) - 1
    mean = day_of_year_mean(values[training], day[training])
    warmth = np.maximum(values + 5, 0) / np.maximum(mean + 5, 1)[day]
    note = EVAPORATION_NOTE.format(*training_period)
    evaporation = (climatology[day] * warmth).astype(np.float32)
    return xr.DataArray(evaporation, temperature.coords, ("time", "catchment"), attrs={"derived": note})


def day_of_year_mean(values: Float[np.ndarray, "T C"], day: np.ndarray) -> Float[np.ndarray, "365 C"]:
    """Return the mean by day of the year (0 … 364), smoothed cyclically over `SMOOTHING_DAYS`, without NaN."""
    is_observed = np.isfinite(values)
    total, count = np.zeros((2, 365, values.shape[1]))
    np.add.at(total, day, np.where(is_observed, values, 0))
    np.add.at(count, day, is_observed)
    return _smooth_year(total) / np.where(count.sum(0) > 0, np.maximum(_smooth_year(count), 1e-9), np.nan)


def _smooth_year(values: Float[np.ndarray, "365 C"]) -> Float[np.ndarray, "365 C"]:
    half = SMOOTHING_DAYS // 2
    wrapped = np.concatenate([values[-half:], values, values[:half]])
    return np.lib.stride_tricks.sliding_window_view(wrapped, SMOOTHING_DAYS, axis=0).mean(-1)


def default_training_period(record: xr.Dataset, progress: Callable[[str], None]) -> tuple[str, str]:
    """Return the default training period or, if the record has no day of it, all of the record."""
    days = record.indexes["time"]
    if days.slice_indexer(*TRAINING_PERIOD).stop > days.slice_indexer(*TRAINING_PERIOD).start:
        return TRAINING_PERIOD
    full_period = (f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}")
    progress(
        f"no day of {' to '.join(TRAINING_PERIOD)} is in it: the scaling uses all days; --training-period selects others"
    )
    return full_period


@dataclass(frozen=True)
class BlockKriging:
    """Block kriging from means over catchments to map cells.

    The field has the covariance exp(−d / `length`) and an unknown mean; a catchment observes the mean over its footprint.

    Source: Journel and Huijbregts (1978), Mining Geostatistics, section V.A ("optimal interpolation" in meteorology).

    Attributes:
        weights (array (N, C)): Cells = weights · catchments if all catchments are observed; rows sum to one.
        covariance (array (C, C)): Covariance of the catchments, which estimates unobserved ones first; for a Gaussian field
            this equals kriging from the observed ones.
        length: Of the covariance [m].
    """

    weights: Float[np.ndarray, "N C"]
    covariance: Float[np.ndarray, "C C"]
    length: float = 150e3

    @classmethod
    def build(
        cls,
        footprints: Footprints,
        cell_easting: Float[np.ndarray, " N"],
        cell_northing: Float[np.ndarray, " N"],
        catchments: int,
        length: float = 150e3,
        noise: float = 0.02,
    ) -> BlockKriging:
        """Compute the weights for cells at positions [m] and footprints of catchments.

        `length` [m] and `noise` (nugget variance of a catchment, for a field of variance 1) were selected with HadUK-Grid
        12 km rain of 2010–2014, where both have a flat optimum.
        """
        covariance_to_cells = np.empty((len(cell_easting), catchments), np.float32)
        for start in range(0, len(cell_easting), 1000):
            rows = slice(start, start + 1000)
            distance = np.hypot(
                cell_easting[rows, None] - cell_easting[None, :], cell_northing[rows, None] - cell_northing[None, :]
            )
            covariance_to_cells[rows] = footprint_mean(
                footprints, np.exp(-distance.astype(np.float32) / length), catchments
            )
        # a large variance of the mean makes it unknown: ordinary kriging
        mean_variance = 100.0
        covariance = footprint_mean(footprints, covariance_to_cells.T.astype(np.float64), catchments) + mean_variance
        covariance = (covariance + covariance.T) / 2 + noise * np.eye(catchments)
        weights = np.linalg.solve(covariance, covariance_to_cells.T.astype(np.float64) + mean_variance).T
        return cls(np.ascontiguousarray(weights, np.float32), covariance, length)

    def complete(self, values: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "T C"]:
        """Estimate unobserved (NaN) catchments from the observed ones of the day; a day without any stays NaN."""
        observed = np.isfinite(values)
        patterns, pattern_index = np.unique(np.packbits(observed, axis=1), axis=0, return_inverse=True)
        filled = values.copy()
        for pattern in range(len(patterns)):
            days = np.flatnonzero(pattern_index == pattern)
            is_observed = observed[days[0]]
            if is_observed.any() and not is_observed.all():
                weights = np.linalg.solve(
                    self.covariance[np.ix_(is_observed, is_observed)],
                    self.covariance[np.ix_(is_observed, ~is_observed)],
                )
                filled[np.ix_(days, ~is_observed)] = values[np.ix_(days, is_observed)] @ weights
        return filled

    def maps(self, values: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "T N"]:
        """Interpolate values of catchments (NaN if unobserved) to the cells; float32."""
        return self.complete(values).astype(np.float32) @ self.weights.T


def rain_maps(
    kriging: BlockKriging,
    rain: Float[np.ndarray, "T C"],
    cell_normal: Float[np.ndarray, " N"],
    catchment_normal: Float[np.ndarray, " C"],
) -> Float[np.ndarray, "T N"]:
    """Return maps of rain [mm/day]: interpolated ratio to the normal, times the normal of the cell."""
    return np.maximum(kriging.maps(rain / catchment_normal), 0) * cell_normal.astype(np.float32)


def temperature_maps(
    kriging: BlockKriging,
    temperature: Float[np.ndarray, "T C"],
    cell_normal: Float[np.ndarray, " N"],
    catchment_normal: Float[np.ndarray, " C"],
) -> Float[np.ndarray, "T N"]:
    """Return maps of temperature [°C]: interpolated anomaly plus the normal of the cell."""
    return kriging.maps(temperature - catchment_normal) + cell_normal.astype(np.float32)


@dataclass(frozen=True)
class Bucket:
    """Single-layer soil moisture model for records without observed soil moisture.

    Against ERA5-Land (Caravan) at 377 British catchments, January to April 1981, driven by CAMELS-GB rain and derived
    evaporation: median correlation over time 0.85 with the upper 28 cm and 0.75 with the upper metre, bias -0.006, and
    a standard deviation of 0.0205 against 0.0206. Summers were not compared.

    Attributes:
        depth: Depth of the column [mm].
        residual, saturation: Volumetric content of the empty and the full bucket [m³ m⁻³].
        stress: Saturation below which evaporation decreases linearly (Manabe 1969).
        drainage, power: Drainage is `drainage` [mm/day] × saturation ^ `power` (Clapp and Hornberger 1978).
    """

    depth: float = 500.0
    residual: float = 0.12
    saturation: float = 0.46
    stress: float = 0.6
    drainage: float = 10.0
    power: float = 8.0

    def start(self, cells: int) -> Float[np.ndarray, " N"]:
        """Return an initial storage of three quarters [mm]; its effect decays within about a year."""
        return np.full(cells, 0.75 * (self.saturation - self.residual) * self.depth, np.float32)

    def run(
        self, rain: Float[np.ndarray, "T N"], evaporation: Float[np.ndarray, "T N"], storage: Float[np.ndarray, " N"]
    ) -> tuple[Float[np.ndarray, "T N"], Float[np.ndarray, " N"]]:
        """Return the volumetric content [m³ m⁻³] at the end of each day and the final storage [mm].

        Rain and potential evaporation are in mm/day. A day without either keeps the storage and is NaN.
        """
        full = np.float32((self.saturation - self.residual) * self.depth)
        known = np.isfinite(rain) & np.isfinite(evaporation)
        water = np.where(known, rain, 0).astype(np.float32)
        demand = np.where(known, np.maximum(evaporation, 0), 0).astype(np.float32)
        content = np.empty_like(water)
        state = storage.copy()
        for day in range(len(water)):  # sequential over days, vectorised over cells
            state = np.minimum(state + water[day], full)
            share = state / full
            loss = demand[day] * np.minimum(share / self.stress, 1)
            loss += np.where(known[day], self.drainage * share**self.power, 0)
            state = np.maximum(state - loss, 0)
            content[day] = state
        return _masked(self.residual + content / np.float32(self.depth), known), state


def _masked(values: Float[np.ndarray, "T N"], known: Bool[np.ndarray, "T N"]) -> Float[np.ndarray, "T N"]:
    return np.where(known, values, np.nan).astype(np.float32)
