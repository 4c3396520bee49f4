"""A river of a record with its nearest neighbours, for fine-tuning."""

from __future__ import annotations

from difflib import get_close_matches

import numpy as np
import xarray as xr

from hydromae.errors import InputError
from hydromae.io.conventions import catchment_positions
from hydromae.io.names import shortened


def select_nearest(dataset: xr.Dataset, river: str, neighbours: int, period: tuple[str, str]) -> xr.Dataset:
    """The record of a river and the catchments whose gauges are nearest to it, in the order of the record.

    Args:
        dataset: A record with positions.
        river: Name of the catchment.
        neighbours: Number of other catchments, fewer if the record has fewer.
        period: First and last training day.

    Raises:
        InputError: The record does not have the river, or no flow of it in the period; or fewer than one neighbour is asked.
    """
    names = dataset["catchment"].values.astype(str)
    if neighbours < 1:
        raise InputError(f"--neighbours {neighbours}: give 1 or more")
    if river not in names:
        close = get_close_matches(river, names.tolist(), n=5, cutoff=0.5)
        choice = f"near names are {', '.join(close)}" if close else f"choose one of {shortened(names)}"
        raise InputError(f"--near {river}: is not in the record; {choice}")
    index = int(np.flatnonzero(names == river)[0])
    flow = dataset["riverflow"].isel(catchment=index).sel(time=slice(*period)) if "riverflow" in dataset else None
    if flow is None or not bool(flow.notnull().any()):
        raise InputError(
            f"--near {river}: has no flow from {period[0]} to {period[1]} to train on; choose a --training-period with flow"
        )
    distance = distances_km(dataset, index)
    order = np.argsort(np.where(np.arange(len(names)) == index, -1.0, distance), kind="stable")
    return dataset.isel(catchment=np.sort(order[: neighbours + 1]))


def distances_km(dataset: xr.Dataset, index: int) -> np.ndarray:
    """Distance [km] of the gauge of every catchment from that of one of them."""
    position = np.stack(catchment_positions(dataset), axis=-1) / 1000
    return np.linalg.norm(position - position[index], axis=1)


def describe_nearest(dataset: xr.Dataset, river: str, held_out: tuple[str, ...]) -> str:
    """A line on the catchments that a selection trains on."""
    names = dataset["catchment"].values.astype(str)
    index = int(np.flatnonzero(names == river)[0])
    distance = distances_km(dataset, index)
    order = [number for number in np.argsort(distance, kind="stable") if number != index]
    trained = [int(number) for number in order if names[number] not in held_out]
    line = f"trained on {river} and {len(trained)} of its neighbours"
    line += f" within {distance[trained].max():.0f} km ({shortened(names[trained], 5)})" if trained else ""
    left = len(order) - len(trained)
    return line + (f"; {left} that the model held out are not used" if left else "")
