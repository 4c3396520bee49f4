"""Small countries to explore, each with a model whose weights are drawn, and a server of one in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import numpy as np
import torch
import xarray as xr

from hydromae.batching.windows import ALWAYS_KNOWN_ATTRIBUTES
from hydromae.config import Config
from hydromae.explore.server import listening, server_of
from hydromae.explore.session import Session
from hydromae.grid import GridSpec
from hydromae.inference.predictor import Model, load
from hydromae.model.mae import HydroMAE
from hydromae.variables import ATTRIBUTES
from synthetic import GRID, SMALL, SMALL_MAPS, country, rivers, scaling_of

DAYS, GAUGES = 200, 599


def drawn(config: Config, dataset: xr.Dataset, grid: GridSpec | None = None) -> Model:
    """A model whose weights are drawn, in evaluation mode."""
    torch.manual_seed(1)
    scaling = scaling_of(dataset, config)
    network = HydroMAE(config, 100 if grid is None else grid.patch**2).set_scaling(scaling).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Model(network, config, scaling, grid, torch.device("cpu"))


def small_country(dataset: xr.Dataset | None = None, scores: xr.Dataset | None = None) -> Session:
    """Six rivers whose flow is filtered rain; the model looks at the nearest four."""
    return Session(rivers(6, DAYS, seed=5) if dataset is None else dataset, None, MODEL, scores, "small.zarr", "drawn")


MODEL = drawn(SMALL, rivers(6, DAYS, seed=5))


def mapped_country() -> Session:
    """Eight rivers, three maps of 42 cells, 60 days."""
    record = country(8, 60)
    maps = ["precipitation", "soil_moisture", "temperature"]
    series = record.drop_dims("cell")
    return Session(series, record[maps], drawn(SMALL_MAPS, record, GRID), None, "mapped.zarr", "drawn")


def gauged_country() -> Session:
    """As many gauges as the real country has, the shipped model, and scores that are drawn."""
    unknown = [
        one.name for one in ATTRIBUTES if one.name not in ALWAYS_KNOWN_ATTRIBUTES
    ]  # those of `rivers` are no real river's
    record, generator = rivers(GAUGES, 400).drop_vars(unknown), np.random.default_rng(0)
    record["latitude"][:], record["longitude"][:] = generator.uniform([[50.5], [-4.5]], [[58.0], [0.0]], (2, GAUGES))
    nse = 1 - generator.gamma(1.0, 0.25, (2, 1, GAUGES))
    coords = {"question": ["gap", "ungauged"], "method": ["hydromae"], "catchment": record["catchment"].values}
    scores = xr.Dataset({"nse": (("question", "method", "catchment"), nse)}, coords=coords)
    return Session(record, None, load("gb-rivers", "cpu"), scores, "virtual.zarr", "gb-rivers")


def long_country() -> Session:
    """Twelve stations of the archive over 36 years: 39004 is observed for 11 of them, the area of 39005 is unknown."""
    record = rivers(12, 36 * 365, seed=7)
    names = [f"{water} at {place}" for water in ("Mill Brook", "Black Water", "Avon") for place in "ABCD"]
    record = record.assign_coords(catchment=39001 + np.arange(12), name=("catchment", names))
    record["riverflow"][: 25 * 365, 3] = np.nan
    record["catchment-area"][4] = np.nan
    return small_country(record.assign_attrs(source="CAMELS-GB: Coxon et al. 2020"))


@contextmanager
def serving(country: Session) -> Iterator[str]:
    """A server in a thread; gives its address."""
    taken = listening(0)
    server = server_of(country)
    thread = Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        taken.close()
