"""Small countries to explore, each with a model whose weights are drawn, and a server of one in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import torch
import xarray as xr

from hydromae.config import Config
from hydromae.explore.server import listening, server_of
from hydromae.explore.session import Session
from hydromae.grid import GridSpec
from hydromae.inference.predictor import Model
from hydromae.model.mae import HydroMAE
from synthetic import GRID, SMALL, SMALL_MAPS, country, rivers, scaling_of

DAYS = 200


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
