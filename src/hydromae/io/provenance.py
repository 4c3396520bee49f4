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
from hydromae.io.credits import credit_attributes
from hydromae.io.dataframe import Layout
from hydromae.io.dataset import DatasetLayout
from hydromae.io.names import ORIGIN
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
        values: As `count_origins` gives it.
        call: The command, or the call of Python.

    Returns:
        dict: `history` (a list of one line), `source`, `model`, `sha256`, `precision`, `hydromae` (its version), `inputs` (of
            every variable how many values were observed, 0 where the record lacks it), `attributes` (of each, how many
            catchments have it), `values`, and `data`: what the record says of whose its data are.
    """
    earlier = _earlier_provenance(record.attrs)
    names = (*VARIABLES, *(attribute.name for attribute in ATTRIBUTES))
    count = {name: int(record[name].notnull().sum()) if name in record.variables else 0 for name in names}
    return {
        "history": [_line(call)],
        "source": model_line(maker),
        **maker,
        "hydromae": __version__,
        "inputs": {name: count[name] for name in count if name in VARIABLES},
        "attributes": {name: count[name] for name in count if name not in VARIABLES},
        "values": {name: dict(counts) for name, counts in values.items()},
        "data": earlier["data"] if earlier else credit_attributes(record.attrs),
    }


def model_line(maker: Mapping[str, str | None]) -> str:
    """The model and the version of hydromae that answered, in words."""
    return f"{maker['model']} (weights sha256 {maker['sha256'] or 'of no file'}), hydromae {__version__}"


def count_origins(answer: xr.Dataset, select: Selection = lambda values, _: values.values) -> dict[str, dict[str, int]]:
    """Of each variable of an answer, how many values are observed, filled, forecast, ungauged, and missing still.

    Args:
        answer: In canonical units, with origins (`riverflow_origin`); a variable without one was observed.
        select: The values that count, of an array and the variable's name; all of it unless the form of the answer has fewer.
    """
    counts = {}
    for name in (n for n in VARIABLES if n in answer.data_vars):
        is_known = np.isfinite(select(answer[name], name))
        has_origin = f"{name}{ORIGIN}" in answer.data_vars
        origin = select(answer[f"{name}{ORIGIN}"], name) if has_origin else np.full(is_known.shape, Origin.OBSERVED)
        if is_known.size:
            counts[name] = {kind.name.lower(): int((is_known & (origin == kind)).sum()) for kind in Origin}
            counts[name]["missing"] = int((~is_known).sum())
    return counts


def value_selector(layout: Layout, as_table: bool) -> Selection:
    """The values of an answer that a table or a dataset of a form holds."""
    if as_table or isinstance(layout, DatasetLayout):
        return layout.selected
    days = layout.days.unique()  # a table as a dataset: all of its days by all of its catchments
    return lambda values, _: values.sel(time=days).values


def with_provenance(answer: Answer, provenance_record: Mapping[str, Any]) -> Answer:
    """An answer with its provenance in its attributes; the history of what was asked follows, its other attributes stay."""
    if isinstance(answer, pd.DataFrame):
        answer.attrs[KEY] = {
            **provenance_record,
            "history": [*provenance_record["history"], *_earlier_provenance(answer.attrs).get("history", [])],
        }
        return answer
    lines = [*provenance_record["history"], *str(answer.attrs.get("history", "")).splitlines()]
    source = "; observed: ".join(filter(None, (provenance_record["source"], provenance_record["data"].get("source"))))
    as_text = json.dumps({**provenance_record, "history": lines})
    return answer.assign_attrs({"history": "\n".join(lines), "source": source, KEY: as_text})


def _earlier_provenance(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """The provenance of what was asked, where it is an answer itself."""
    earlier_record = attributes.get(KEY)
    try:
        earlier_record = json.loads(earlier_record) if isinstance(earlier_record, str) else earlier_record
    except (ValueError, RecursionError):
        earlier_record = None
    if (
        isinstance(earlier_record, dict)
        and isinstance(earlier_record.get("data"), dict)
        and isinstance(earlier_record.get("history"), list)
    ):
        return earlier_record
    return {}


def _line(call: str) -> str:
    """A line of history; what of a call is no text is written as its code."""
    return f"{utc_now()} hydromae {__version__}: {call.encode('utf-8', 'backslashreplace').decode()}"


def utc_now() -> str:
    """This moment in UTC, or that of SOURCE_DATE_EPOCH [s] where it is set.

    Raises:
        InputError: SOURCE_DATE_EPOCH is no moment.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError(f"SOURCE_DATE_EPOCH {epoch!r}: is not a number of seconds since 1970; unset it") from None
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
