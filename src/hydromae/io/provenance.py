"""Provenance of an answer: which model made it, when, by which call, from what. It goes where the answer goes.

`Dataset.attrs` holds `history` (newest line first) and `source` as CF has them, and all of it as JSON under `provenance`;
`DataFrame.attrs["provenance"]` is the same as a dictionary, and beside a file of a table it is a file of JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hydromae import __version__
from hydromae.errors import InputError
from hydromae.io.credits import said_of
from hydromae.io.dataframe import Layout
from hydromae.io.dataset import ORIGIN, DatasetLayout
from hydromae.io.origin import Origin
from hydromae.variables import ATTRIBUTES, VARIABLES

KEY = "provenance"
Answer = xr.Dataset | pd.DataFrame
Selection = Callable[[xr.DataArray, str], np.ndarray]


def provenance(
    maker: Mapping[str, str | None], record: xr.Dataset, values: Mapping[str, Mapping[str, int]], call: str
) -> dict[str, Any]:
    """What made an answer, of plain types.

    Args:
        maker: `model`, `sha256` of its weights (None where they are of no file) and the `precision` that was computed in.
        record: What the model was given.
        values: As `tally` gives it.
        call: The command, or the call of Python.

    Returns:
        dict: `history` (a list of one line), `source`, `model`, `sha256`, `precision`, `hydromae` (its version), `inputs` (of
            every variable how many values were observed, 0 where the record lacks it), `attributes` (of each, how many
            catchments have it), `values`, and `data`: what the record says of whose its data are.
    """
    earlier = _earlier(record.attrs)
    given = (*VARIABLES, *(attribute.name for attribute in ATTRIBUTES))
    count = {name: int(record[name].notnull().sum()) if name in record.variables else 0 for name in given}
    return {
        "history": [_line(call)],
        "source": described(maker),
        **maker,
        "hydromae": __version__,
        "inputs": {name: count[name] for name in count if name in VARIABLES},
        "attributes": {name: count[name] for name in count if name not in VARIABLES},
        "values": {name: dict(counts) for name, counts in values.items()},
        "data": earlier["data"] if earlier else said_of(record.attrs),
    }


def described(maker: Mapping[str, str | None]) -> str:
    """The model and the version of hydromae that answered, in words."""
    return f"{maker['model']} (weights sha256 {maker['sha256'] or 'of no file'}), hydromae {__version__}"


def tally(answer: xr.Dataset, select: Selection = lambda values, _: values.values) -> dict[str, dict[str, int]]:
    """Of each variable of an answer, how many values are observed, filled, forecast, ungauged, and missing still.

    Args:
        answer: In canonical units, with origins (`riverflow_origin`); a variable without one was observed.
        select: The values that count, of an array and the variable's name; all of it unless the form of the answer has fewer.
    """
    counts = {}
    for name in (n for n in VARIABLES if n in answer.data_vars):
        known = np.isfinite(select(answer[name], name))
        marked = f"{name}{ORIGIN}" in answer.data_vars
        origin = select(answer[f"{name}{ORIGIN}"], name) if marked else np.full(known.shape, Origin.OBSERVED)
        if known.size:
            counts[name] = {kind.name.lower(): int((known & (origin == kind)).sum()) for kind in Origin}
            counts[name]["missing"] = int((~known).sum())
    return counts


def selection_of(layout: Layout, as_table: bool) -> Selection:
    """The values of an answer that a table or a dataset of a form holds."""
    if as_table or isinstance(layout, DatasetLayout):
        return layout.selected
    days = layout.days.unique()  # a table as a dataset: all of its days by all of its catchments
    return lambda values, _: values.sel(time=days).values


def stamped(answer: Answer, made: Mapping[str, Any]) -> Answer:
    """An answer with its provenance in its attributes; the history of what was asked follows, its other attributes stay."""
    if isinstance(answer, pd.DataFrame):
        answer.attrs[KEY] = {**made, "history": [*made["history"], *_earlier(answer.attrs).get("history", [])]}
        return answer
    lines = [*made["history"], *str(answer.attrs.get("history", "")).splitlines()]
    source = "; observed: ".join(filter(None, (made["source"], made["data"].get("source"))))
    whole = json.dumps({**made, "history": lines})
    return answer.assign_attrs({"history": "\n".join(lines), "source": source, KEY: whole})


def _earlier(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """The provenance of what was asked, where it is an answer itself."""
    held = attributes.get(KEY)
    try:
        held = json.loads(held) if isinstance(held, str) else held
    except (ValueError, RecursionError):
        held = None
    if isinstance(held, dict) and isinstance(held.get("data"), dict) and isinstance(held.get("history"), list):
        return held
    return {}


def _line(call: str) -> str:
    """A line of history; what of a call is no text is written as its code."""
    return f"{now()} hydromae {__version__}: {call.encode('utf-8', 'backslashreplace').decode()}"


def now() -> str:
    """This moment in UTC, or that of SOURCE_DATE_EPOCH [s] where it is set.

    Raises:
        InputError: SOURCE_DATE_EPOCH is no moment.
    """
    said = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(said), UTC) if said else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError(f"SOURCE_DATE_EPOCH {said!r}: is no number of seconds since 1970; unset it") from None
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
