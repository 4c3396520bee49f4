"""Correlated Gaussian random fields on a periodic grid, generated in the Fourier domain."""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex64, Float, Float32

from hydromae.grid import GridSpec


def padded_shape(grid: GridSpec) -> tuple[int, int]:
    """Return rows and columns of the periodic grid: the next multiples of 12, for a fast Fourier transform."""
    return (grid.rows // 12 + 1) * 12, (grid.columns // 12 + 1) * 12


def wavenumbers(grid: GridSpec) -> tuple[Float32[np.ndarray, "R 1"], Float32[np.ndarray, "1 K"]]:
    """Return northward and eastward wavenumbers [rad km⁻¹] of the real Fourier transform of the periodic grid."""
    rows, columns = padded_shape(grid)
    step = grid.cell_size / 1e3
    north = 2 * np.pi * np.fft.fftfreq(rows, step)[:, None]
    east = 2 * np.pi * np.fft.rfftfreq(columns, step)[None, :]
    return north.astype(np.float32), east.astype(np.float32)


def matern(scaled: Float[np.ndarray, "*shape"], smoothness: float) -> Float[np.ndarray, "*shape"]:
    """Return the amplitude of a two-dimensional Matérn spectrum of the squared wavenumber × length (Whittle 1954)."""
    return (1 + scaled) ** (-(smoothness + 1) / 2)


def white_spectra(generator: np.random.Generator, count: int, grid: GridSpec) -> Complex64[np.ndarray, "M R K"]:
    """Draw spectra of `count` fields of white noise."""
    rows, columns = padded_shape(grid)
    noise = generator.standard_normal((count, rows, columns // 2 + 1, 2), dtype=np.float32)
    return noise.view(np.complex64)[..., 0]


def coloured(
    spectra: Complex64[np.ndarray, "M R K"], amplitude: Float[np.ndarray, "#M R K"], grid: GridSpec
) -> Float32[np.ndarray, "M rows columns"]:
    """Filter white spectra with `amplitude` and transform them to the grid: expected mean 0, variance 1."""
    rows, columns = padded_shape(grid)
    shaped = amplitude.astype(np.float32)
    shaped[..., 0, 0] = 0
    squared = shaped.astype(np.float64) ** 2
    power = 4 * squared.sum(axis=(-2, -1)) - 3 * squared[..., 0].sum(axis=-1)
    scale = rows * columns / np.sqrt(power)
    field = np.fft.irfft2(spectra * shaped, s=(rows, columns))[..., : grid.rows, : grid.columns]
    return field * scale.astype(np.float32)[:, None, None]


def smooth_fields(
    generator: np.random.Generator, count: int, grid: GridSpec, length: float, smoothness: float = 1.5
) -> Float32[np.ndarray, "M rows columns"]:
    """Draw `count` isotropic random fields of unit variance with a correlation length of about `length` [km]."""
    north, east = wavenumbers(grid)
    amplitude = matern((north**2 + east**2) * length**2, smoothness)[None]
    return coloured(white_spectra(generator, count, grid), amplitude, grid)
