"""Maps laid on land patches, in memory or in a file that all processes of a machine share."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import xarray as xr
from jaxtyping import Float16

from hydromae.data.scaling import Scaling
from hydromae.errors import InputError
from hydromae.modalities import Modality

Held = TypeVar("Held", bound=np.ndarray)
BLOCK_DAYS = 366
"""Days that are laid at a time, so that memory stays bounded."""


def laid_maps(
    dataset: xr.Dataset,
    modality: Modality,
    scaling: Scaling,
    where: tuple[np.ndarray, np.ndarray, np.ndarray],
    shape: tuple[int, int],
    folder: Path | None = None,
) -> Float16[np.ndarray, "T P F"]:
    """Scaled land cells of a map modality in patches of pixels, NaN where unobserved.

    Parameters
    ----------
    where : (patch, pixel, inside)
        Of each cell in a land patch: the patch's place, its pixel, and its place along `cell`.
    shape : (patches, pixels)
    folder : Path, optional
        Lay them in a file there, mapped into memory day by day as they are asked for; a file that lies there already, from
        an earlier start of the same run or from another process, is taken as it is.

    Raises
    ------
    InputError
        If the file cannot be written or read.
    """
    whole = (dataset.sizes["time"], *shape)
    if folder is None:
        return _lay(np.full(whole, np.nan, dtype=np.float16), dataset, modality, scaling, where)
    file = folder / f"{modality.name}.npy"
    try:
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            aside = file.with_suffix(".partial")
            held = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float16, shape=whole)
            held[:] = np.nan
            _lay(held, dataset, modality, scaling, where).flush()
            aside.replace(file)
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be written or read ({error}); make room there, or remove it") from None
    if mapped.shape != whole or mapped.dtype != np.float16:
        raise InputError(f"{file}: holds other maps than this record; remove it, and it is made again")
    return mapped


def _lay(laid: Held, dataset: xr.Dataset, modality: Modality, scaling: Scaling, where: tuple[np.ndarray, ...]) -> Held:
    name, (patch, pixel, inside) = modality.variables[0].name, where
    if name in dataset and name in scaling and dataset[name].dims == ("time", "cell"):
        for first in range(0, len(laid), BLOCK_DAYS):
            part = slice(first, first + BLOCK_DAYS)
            laid[part, patch, pixel] = scaling.scale(name, dataset[name][part].values[:, inside])
    return laid
