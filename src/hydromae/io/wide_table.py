"""Tables in wide form: a row for each day, a column for each river, or for each variable of each river."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from hydromae.errors import InputError
from hydromae.io.names import ANSWER, named, split_units, unsaid
from hydromae.io.table_keys import CATCHMENTS, DATES, Label, find_key, numbered

UNITS = "units"
NOTES = frozenset("flag flags quality note notes comment comments remark remarks".split())  # noqa: SIM905
"""Words in names of columns that are no rivers."""
WideColumn = tuple[Label, str, str, str, Callable[[str], Label]]
"""A column's label, its variable and units, the name of its river, and the label of what an answer adds beside it."""


def is_wide(flat: pd.DataFrame) -> bool:
    """Whether a table has days, and neither a column of catchments nor one of a known variable."""
    if flat.columns.nlevels > 1:
        return True
    has_keys = find_key(flat, DATES) is not None and find_key(flat, CATCHMENTS) is None
    return has_keys and all(named(label) is None for label in flat.columns)


def wide_columns(flat: pd.DataFrame, date: Label, units: object, where: str) -> tuple[np.ndarray, list[WideColumn]]:
    """The rivers of a wide table, and its columns of values.

    Args:
        flat: As `table_keys.flat_frame` gives it. Its columns are names of rivers (`39001`, or `39001 [m3/s]` with units), or
            have two levels: a variable, and a river. Columns of text, of notes and of a former answer are no rivers.
        date: The column of days.
        units: Those of flow whose column says none; anything but text is no units.
        where: The table, for messages.

    Returns:
        (array (C,), list of WideColumn)

    Raises:
        InputError: Units are not said, a river comes twice, there is none, or the two levels are not a variable and a river.
    """
    said = units if isinstance(units, str) and units.strip() else None
    labels = [label for label in flat.columns if label != date]
    two = flat.columns.nlevels > 1
    columns = _of_two_levels(labels, said, where) if two else _of_flow(flat, labels, said, where)
    if not columns:
        raise InputError(f"{where}: is wide, and no column of it holds the flow of a river; give a column a river")
    pairs = [(variable, river) for _, variable, _, river, _ in columns]
    if len(set(pairs)) < len(pairs):
        variable, river = next(pair for pair in pairs if pairs.count(pair) > 1)
        raise InputError(f"{where}: {variable} of {river} has two columns; keep one")
    return numbered(pd.Series([river for _, _, _, river, _ in columns], dtype=object)).to_numpy(), columns


def _of_flow(flat: pd.DataFrame, labels: list[Label], units: str | None, where: str) -> list[WideColumn]:
    """Columns of flow of a table with one level of names."""
    columns: list[WideColumn] = []
    for label in labels:
        river, own = split_units(label)
        beside = ANSWER.search(river) and ANSWER.sub("", river) in {split_units(other)[0] for other in labels}
        if beside or NOTES & set(re.split(r"[^a-z]+", river.casefold())) or _is_text(pd.Series(flat[label])):
            continue
        spelled = own if own is not None else units
        if spelled is None:
            raise InputError(
                f"{where}: is wide (days, and no column of catchments) and does not say its units; "
                + (
                    'set table.attrs["units"], such as "m3 s-1"'
                    if where == "the table"
                    else f'say --units "m3 s-1", or name its columns "{river} [m3 s-1]"'
                )
            )
        columns.append((label, "riverflow", spelled, river, lambda suffix, river=river: f"{river}{suffix}"))
    return columns


def _of_two_levels(labels: Sequence[Label], units: str | None, where: str) -> list[WideColumn]:
    """Columns of a table whose names have two levels, a variable and a river, in either order."""
    pairs = [label for label in labels if isinstance(label, tuple) and len(label) == 2]
    level = next((level for level in (0, 1) if any(named(label[level]) for label in pairs)), None)
    if level is None or len(pairs) < len(labels):
        raise InputError(
            f"{where}: the levels of its columns are not a variable and a river, such as ('riverflow', 39001); "
            "give one level of names, or these two"
        )
    columns: list[WideColumn] = []
    for label in pairs:
        one = named(label[level])
        if one is None:
            continue
        variable, said = one.variable, one.is_said
        spelled = units if units and variable == "riverflow" and not said else one.units
        if spelled is None:
            raise unsaid(str(label[level]), variable, where)
        columns.append((label, variable, spelled, str(label[1 - level]).strip(), _adder(label, level, variable)))
    return columns


def _adder(label: tuple, level: int, variable: str) -> Callable[[str], Label]:
    return lambda suffix: tuple(f"{variable}{suffix}" if place == level else part for place, part in enumerate(label))


def _is_text(values: pd.Series) -> bool:
    """Whether a column holds something, and no number."""
    if values.dtype.kind not in "OUT":
        return values.dtype.kind not in "iuf"
    held = values.dropna()
    return len(held) > 0 and bool(np.isnan(np.asarray(pd.to_numeric(held, errors="coerce"), np.float64)).all())
