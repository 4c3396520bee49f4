"""Provenance of an answer: model, time, call and inputs.

`Dataset.attrs` has the CF attributes `history` (newest line first) and `source`, and `provenance` as JSON;
`DataFrame.attrs["provenance"]` is a dictionary, and a table file has a JSON file beside it.
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
from hydromae.io.value_ranges import processing_by_variable
from hydromae.variables import ATTRIBUTES, VARIABLES

KEY = "provenance"
Answer = xr.Dataset | pd.DataFrame
Selection = Callable[[xr.DataArray, str], np.ndarray]


def provenance(
    maker: Mapping[str, str | None], record: xr.Dataset, values: Mapping[str, Mapping[str, int]], call: str
) -> dict[str, Any]:
    """Return the provenance of an answer in plain types.

    Args:
        maker: `model`, `sha256` of its weights (None without a file) and `precision`.
        record: Input of the model.
        values: Result of `count_origins`.
        call: The command or the call in Python.

    Returns:
        dict: `history` (a list of one line), `source`, `model`, `sha256`, `precision`, `hydromae` (its version), `inputs`
            (values of each variable), `processing` (notes of the readers by variable, such as weather from maps),
            `attributes` (catchments with each attribute), `values`, and `data` (credits).
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
        "processing": processing_by_variable(record),
        "attributes": {name: count[name] for name in count if name not in VARIABLES},
        "values": {name: dict(counts) for name, counts in values.items()},
        "data": earlier["data"] if earlier else credit_attributes(record.attrs),
    }


def model_line(maker: Mapping[str, str | None]) -> str:
    """Return a line on the model and the version of hydromae."""
    return f"{maker['model']} (weights sha256 {maker['sha256'] or 'of no file'}), hydromae {__version__}"


def count_origins(answer: xr.Dataset, select: Selection = lambda values, _: values.values) -> dict[str, dict[str, int]]:
    """Count observed, filled, forecast, ungauged and missing values of each variable of an answer.

    Args:
        answer: Answer with origins (`riverflow_origin`); a variable without origin is observed.
        select: Returns the counted values of an array and the name of its variable; default all.
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
    """Return the selection of values that an output of a layout contains."""
    if as_table or isinstance(layout, DatasetLayout):
        return layout.selected
    days = layout.days.unique()  # a table as a dataset: all days and catchments
    return lambda values, _: values.sel(time=days).values


def with_provenance(answer: Answer, provenance_record: Mapping[str, Any]) -> Answer:
    """Add provenance to the attributes of an answer, before the history of its input."""
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
    """Return the provenance of an input that is an answer itself, or an empty dictionary."""
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
    """Return a line of history, with invalid characters as escapes."""
    return f"{utc_now()} hydromae {__version__}: {call.encode('utf-8', 'backslashreplace').decode()}"


def utc_now() -> str:
    """Return the current time in UTC, or SOURCE_DATE_EPOCH [s] if it is set.

    Raises:
        InputError: SOURCE_DATE_EPOCH is not a time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError(f"SOURCE_DATE_EPOCH {epoch!r}: is not a number of seconds since 1970; unset it") from None
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
