"""Conditional simulation: maps that equal derived ones at the catchments and vary between them as their field does.

Kriging gives the mean of all fields that agree with the catchments, which is smoother than any of them. A simulated field has
the covariance itself, so a model that learns from it sees the small-scale variation of real maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hydromae.datasets.derived import BlockKriging
from hydromae.footprints import Footprints, footprint_mean
from hydromae.grid import GridSpec

VARIANCE_DAYS = 64
"""Fields from which the variance of the residual of each cell is estimated."""
MAX_VARIATION = 2.0
"""Largest coefficient of variation of rain of a day."""


@dataclass(frozen=True)
class ConditionalField:
    """Residuals of a field of variance 1 that is 0 at the catchments: a random field minus its kriging.

    Source: Journel and Huijbregts (1978), Mining Geostatistics, section VII.A (conditioning by kriging); the random fields by
    circulant embedding (Dietrich and Newsam 1997, SIAM J. Sci. Comput. 18, 1088).

    Attributes:
        kriging: From catchments to cells.
        footprints: Of the catchments on the cells.
        cell (array (N,)): Flat numbers of the cells on the grid.
        amplitude (array (2 rows, 2 columns)): Square roots of the eigenvalues of the covariance on a torus.
        precision (array (C, C)): Inverse of the covariance of the catchments.
        seed: Of all fields; a field depends on the seed and the day.
        variance (array (N,)): Of the residual of each cell.
    """

    kriging: BlockKriging
    footprints: Footprints
    cell: Int[np.ndarray, " N"]
    amplitude: Float[np.ndarray, "R K"]
    precision: Float[np.ndarray, "C C"]
    seed: int
    variance: Float[np.ndarray, " N"]

    @classmethod
    def build(
        cls, kriging: BlockKriging, footprints: Footprints, cell: Int[np.ndarray, " N"], grid: GridSpec, seed: int
    ) -> ConditionalField:
        """Prepare the simulation on the cells of a grid."""
        rows, columns = (2 * size for size in grid.shape)
        row, column = (np.minimum(np.arange(n), n - np.arange(n)) * grid.cell_size for n in (rows, columns))
        covariance = np.exp(-np.hypot(row[:, None], column[None, :]) / kriging.length)
        amplitude = np.sqrt(np.maximum(np.fft.fft2(covariance).real, 0.0) / covariance.size)
        arguments = (kriging, footprints, cell, amplitude, np.linalg.inv(kriging.covariance), seed)
        field = cls(*arguments, np.ones(len(cell), np.float32))
        return cls(*arguments, field.residuals(-np.arange(1, VARIANCE_DAYS + 1)).var(axis=0))

    def residuals(self, days: Int[np.ndarray, " T"]) -> Float[np.ndarray, "T N"]:
        """Residuals of days, independent of each other."""
        fields = np.stack([self._field(int(day)) for day in days])
        catchments = len(self.kriging.covariance)
        return fields - self.kriging.maps(footprint_mean(self.footprints, fields, catchments))

    def _field(self, day: int) -> Float[np.ndarray, " N"]:
        rows, columns = self.amplitude.shape
        generator = np.random.default_rng([self.seed, day % 2**32])
        noise = generator.standard_normal((2, rows, columns))
        field = np.fft.ifft2(self.amplitude * (noise[0] + 1j * noise[1])).real * self.amplitude.size
        return field[: rows // 2, : columns // 2].ravel()[self.cell].astype(np.float32)

    def sill(self, values: Float[np.ndarray, "T C"]) -> Float[np.ndarray, " T"]:
        """Variance of the field on each day, from the errors of leave-one-out kriging of the catchments.

        Source: Dubrule (1983), Math. Geol. 15, 687 (cross-validation of kriging in one inversion).
        """
        complete = self.kriging.complete(values)
        scaled_errors = complete @ self.precision
        return (scaled_errors**2 / np.diag(self.precision)).mean(axis=1)

    def rain(
        self, maps: Float[np.ndarray, "T N"], share: Float[np.ndarray, "T C"], days: Int[np.ndarray, " T"]
    ) -> Float[np.ndarray, "T N"]:
        """Kriged rain times a lognormal factor with mean 1; `share` is rain relative to the normal of each catchment."""
        known = np.isfinite(share)
        mean = np.where(known, share, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        variation = np.sqrt(self.sill(share)) / np.maximum(mean, 1e-6)
        spread = np.sqrt(np.log1p(np.minimum(np.nan_to_num(variation), MAX_VARIATION) ** 2))[:, None]
        return maps * np.exp(spread * self.residuals(days) - spread**2 * self.variance / 2).astype(np.float32)

    def temperature(
        self, maps: Float[np.ndarray, "T N"], anomaly: Float[np.ndarray, "T C"], days: Int[np.ndarray, " T"]
    ) -> Float[np.ndarray, "T N"]:
        """Kriged temperature plus residuals; `anomaly` is the difference from the normal of each catchment [°C]."""
        spread = np.sqrt(np.nan_to_num(self.sill(anomaly)))[:, None]
        return maps + (spread * self.residuals(-days - 2**31)).astype(np.float32)
