"""A few fixed workloads, small enough to be repeated: one side of `compare.py`, which starts this with one commit's source.

A line with a workload's name on standard input is answered by one line of JSON on standard output: seconds of the clock and
of the processor, and an answer (a loss, a mean) by which two commits that should compute the same can be told to do so. Only
names are used that commits share for long; one that lacks a name answers with what it lacks.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

Deed = Callable[[], float]
TYPICAL = {"temperature": (10.0, 5.0), "soil_moisture": (0.3, 0.05)}
FIRST = "2001-01-01"
COLUMNS = 180
LAND = np.add.outer((100 + np.arange(100)) * COLUMNS, 40 + np.arange(100)).ravel()
"""A country of 100 x 100 cells, which are 10 x 10 patches, in the grid of Great Britain."""


def record(names: tuple[str, ...], catchments: int, days: int) -> xr.Dataset:
    """Noise in the right units at the right places."""
    from hydromae.variables import ATTRIBUTES, MODALITIES

    generator = np.random.default_rng(0)
    variables: dict[str, Any] = {a.name: ("catchment", generator.uniform(0.2, 0.9, catchments)) for a in ATTRIBUTES}
    for name in names:
        dim, size = ("cell", len(LAND)) if MODALITIES[name].kind == "map" else ("catchment", catchments)
        for variable in MODALITIES[name].variables:
            mean, spread = TYPICAL.get(variable.name, (3.0, 1.0))
            values = np.abs(generator.normal(mean, spread, (days, size))).astype(np.float32)
            variables[variable.name] = (("time", dim), values, {"units": variable.units})
    place = generator.uniform(0.0, 1.0, (2, catchments))
    variables["latitude"], variables["longitude"] = ("catchment", 52 + 4 * place[1]), ("catchment", -4 + 3 * place[0])
    coords = {"time": pd.date_range(FIRST, periods=days, unit="ns"), "catchment": 1 + np.arange(catchments)}
    if any(MODALITIES[name].kind == "map" for name in names):
        coords["cell"] = LAND
    return xr.Dataset(variables, coords=coords)


def prepared(preset: str, days: int, quick: bool) -> Any:
    """A preset's configuration for windows of `days` days."""
    from hydromae.config.presets import PRESETS

    config = PRESETS[preset].having(data={"sequence_length": days, "stride": 1, "warm_up_days": 0})
    if quick:
        config = config.having(model={"d_model": 16, "decoder_dim": 16, "heads": 2})
    last = str(pd.Timestamp(FIRST) + pd.Timedelta(days=days + 9))[:10]
    return config.having(data={"training_period": (FIRST, last)})


def cut(config: Any, catchments: int) -> tuple[Any, Any]:
    """Windows of an invented record, and its scaling."""
    from hydromae.batching.record_arrays import to_record_arrays
    from hydromae.batching.windows import windows
    from hydromae.store.scaling import Scaling

    period = config.data.training_period
    dataset = record(config.model.modalities, catchments, config.data.sequence_length + 10)
    scaling = Scaling.fit(dataset, period)
    held = to_record_arrays(dataset, config, scaling)
    return windows(held, config, period, seed=0, augment=True, update=config.train.batch_size), scaling


def step(preset: str, days: int, catchments: int, batch: int, quick: bool) -> Deed:
    """Forward, loss, backward, clipping and AdamW, in the preset's precision."""
    from hydromae.batching.masking import draw
    from hydromae.losses import loss
    from hydromae.model.mae import HydroMAE

    config = prepared(preset, days, quick)
    drawn, scaling = cut(config, catchments)
    taken = drawn(range(batch))
    hidden = draw(taken, config.masks, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = HydroMAE(config).set_scaling(scaling)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    half = config.train.precision != "fp32"

    def update() -> float:
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            predicted = model(taken, hidden)
        total, _ = loss(predicted, taken, hidden, config)
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(total.detach())

    return update


def loading(quick: bool) -> Deed:
    """Windows with their masks, `fast`, 30 days: eight at a time."""
    from hydromae.batching.masking import draw

    config = prepared("fast", 4 if quick else 30, quick)
    drawn, _ = cut(config, 24 if quick else 604)
    number = iter(range(0, 10**9, 8))

    def load() -> float:
        first = next(number)
        batch = drawn(range(first, first + 8))
        hidden = draw(batch, config.masks, torch.Generator().manual_seed(first))
        return float(sum(part.sum() for part in hidden.values()))

    return load


def door(quick: bool) -> Deed:
    """A catchment record with a tenth of its flow missing, and one river without any, answered by an untrained `rivers`."""
    from hydromae.inference.predictor import Model
    from hydromae.model.mae import HydroMAE

    config = prepared("rivers", 20 if quick else 365, quick)
    dataset = record(config.model.modalities, 6 if quick else 60, config.data.sequence_length)
    _, scaling = cut(config, 24)
    flow = dataset["riverflow"].values
    flow[np.random.default_rng(1).random(flow.shape) < 0.1] = np.nan
    flow[:, 0] = np.nan
    torch.manual_seed(0)
    model = Model(HydroMAE(config).set_scaling(scaling).eval(), config, scaling, None, torch.device("cpu"))
    return lambda: float(model.predict(dataset)["riverflow"].mean())


def workloads(quick: bool) -> dict[str, Callable[[], Deed]]:
    """Every workload by name; each is made when it is first asked for."""
    few, some = (24, 24) if quick else (604, 96)
    return {
        "rivers step": lambda: step("rivers", 20 if quick else 365, some, 2, quick),
        "fast step, 6 days": lambda: step("fast", 3 if quick else 6, few, 1, quick),
        "base step, 6 days": lambda: step("base", 3 if quick else 6, few, 1, quick),
        "8 windows of 30 days": lambda: loading(quick),
        "door, 60 rivers, a year": lambda: door(quick),
    }


def main() -> None:
    """Answer one line with another until the input ends."""
    import hydromae

    known, ready = workloads("--quick" in sys.argv), {}
    print(json.dumps({"source": hydromae.__file__, "workloads": list(known)}), flush=True)
    for line in sys.stdin:
        name = line.strip()
        try:
            if name not in ready:
                ready[name] = known[name]()
                ready[name]()
            began, worked = time.perf_counter(), time.process_time()
            answer = ready[name]()
            told = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - worked, "answer": answer}
        except (ImportError, AttributeError, TypeError, KeyError, ValueError) as error:
            told = {"lacks": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
