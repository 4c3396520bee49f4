"""Wide tables: one row per day, one column per catchment, or per variable and catchment."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from hydromae.errors import InputError
from hydromae.io.names import ANSWER_SUFFIX, parse_column_name, split_units, unclear_column
from hydromae.io.table_keys import CATCHMENTS, DATES, Label, as_numbers, find_key

UNITS = "units"
NOTE_WORDS = frozenset("flag flags quality note notes comment comments remark remarks".split())  # noqa: SIM905
"""Words in names of columns that are not catchments."""
WideColumn = tuple[Label, str, str, str, Callable[[str], Label]]
"""Label, variable, units, name of the catchment, and a function for labels of added columns."""


def is_wide(flat: pd.DataFrame) -> bool:
    """Return whether a table has days, but neither a column of catchments nor one of a known variable."""
    if flat.columns.nlevels > 1:
        return True
    has_keys = find_key(flat, DATES) is not None and find_key(flat, CATCHMENTS) is None
    return has_keys and all(parse_column_name(label) is None for label in flat.columns)


def wide_columns(flat: pd.DataFrame, date: Label, units: object, source: str) -> tuple[np.ndarray, list[WideColumn]]:
    """Return the catchments of a wide table and its columns of values.

    Args:
        flat: Result of `table_keys.flat_frame`. Columns are names of catchments (`39001`, or `39001 [m3/s]` with units), or
            have two levels, variable and catchment. Columns of text, notes and an earlier answer are skipped.
        date: Column of days.
        units: Units of flow columns without units; other types than text are missing units.
        source: Name of the table, for messages.

    Returns:
        (array (C,), list of WideColumn)

    Raises:
        InputError: Unknown units, a duplicate or no catchment, or two levels that are not variable and catchment.
    """
    units_text = units if isinstance(units, str) and units.strip() else None
    labels = [label for label in flat.columns if label != date]
    has_two_levels = flat.columns.nlevels > 1
    columns = (
        _two_level_columns(labels, units_text, source)
        if has_two_levels
        else _flow_columns(flat, labels, units_text, source)
    )
    if not columns:
        raise InputError(f"{source}: is wide, and no column of it holds the flow of a river; give a column a river")
    pairs = [(variable, river) for _, variable, _, river, _ in columns]
    if len(set(pairs)) < len(pairs):
        variable, river = next(pair for pair in pairs if pairs.count(pair) > 1)
        raise InputError(f"{source}: {variable} of {river} has two columns; keep one")
    return as_numbers(pd.Series([river for _, _, _, river, _ in columns], dtype=object)).to_numpy(), columns


def _flow_columns(flat: pd.DataFrame, labels: list[Label], units: str | None, source: str) -> list[WideColumn]:
    """Return the flow columns of a table with one level of names."""
    columns: list[WideColumn] = []
    for label in labels:
        river, label_units = split_units(label)
        is_answer_column = ANSWER_SUFFIX.search(river) and ANSWER_SUFFIX.sub("", river) in {
            split_units(other)[0] for other in labels
        }
        if (
            is_answer_column
            or NOTE_WORDS & set(re.split(r"[^a-z]+", river.casefold()))
            or _is_text(pd.Series(flat[label]))
        ):
            continue
        column_units = label_units if label_units is not None else units
        if column_units is None:
            raise InputError(
                f"{source}: is wide (days, and no column of catchments) and has no units; "
                + (
                    'set table.attrs["units"], such as "m3 s-1"'
                    if source == "the table"
                    else f'give --units "m3 s-1", or name its columns "{river} [m3 s-1]"'
                )
            )
        columns.append((label, "riverflow", column_units, river, lambda suffix, river=river: f"{river}{suffix}"))
    return columns


def _two_level_columns(labels: Sequence[Label], units: str | None, source: str) -> list[WideColumn]:
    """Return the columns of a table with two levels, variable and catchment, in either order."""
    pairs = [label for label in labels if isinstance(label, tuple) and len(label) == 2]
    level = next((level for level in (0, 1) if any(parse_column_name(label[level]) for label in pairs)), None)
    if level is None or len(pairs) < len(labels):
        raise InputError(
            f"{source}: the levels of its columns are not a variable and a river, such as ('riverflow', 39001); "
            "give one level of names, or these two"
        )
    columns: list[WideColumn] = []
    for label in pairs:
        one = parse_column_name(label[level])
        if one is None:
            continue
        variable, units_text = one.variable, one.has_units
        column_units = units if units and variable == "riverflow" and not units_text else one.units
        if column_units is None:
            raise unclear_column(str(label[level]), variable, source)
        columns.append(
            (label, variable, column_units, str(label[1 - level]).strip(), _label_maker(label, level, variable))
        )
    return columns


def _label_maker(label: tuple, level: int, variable: str) -> Callable[[str], Label]:
    return lambda suffix: tuple(f"{variable}{suffix}" if place == level else part for place, part in enumerate(label))


def _is_text(values: pd.Series) -> bool:
    """Return whether a column has values but no numbers."""
    if values.dtype.kind not in "OUT":
        return values.dtype.kind not in "iuf"
    present = values.dropna()
    return len(present) > 0 and bool(np.isnan(np.asarray(pd.to_numeric(present, errors="coerce"), np.float64)).all())
