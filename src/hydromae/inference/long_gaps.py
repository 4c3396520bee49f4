"""Gaps longer than a limit stay missing in a prediction."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from hydromae.errors import InputError
from hydromae.io.dataset import origin_names
from hydromae.io.names import FLOW, ORIGIN, QUANTILES
from hydromae.io.origin import Origin, flag_attributes
from hydromae.io.value_ranges import PROCESSING, joined_notes


def check_longest_gap(longest_gap: int | None) -> None:
    """Refuse a limit below one day.

    Raises:
        InputError: The limit is below 1.
    """
    if longest_gap is not None and longest_gap < 1:
        raise InputError(f"longest gap of {longest_gap} days: give 1 day or more, or leave it out to fill every gap")


def gap_lengths(observed: Bool[np.ndarray, "T S"]) -> Int[np.ndarray, "T S"]:
    """Length [days] of the gap that contains a value, 0 where it is observed; the record's first and last day end a gap."""
    day = np.arange(len(observed))[:, None]
    before = np.maximum.accumulate(np.where(observed, day, -1), axis=0)
    after = np.minimum.accumulate(np.where(observed, day, len(observed))[::-1], axis=0)[::-1]
    return np.where(observed, 0, after - before - 1)


def leave_long_gaps(answer: xr.Dataset, record: xr.Dataset, longest_gap: int | None) -> xr.Dataset:
    """Remove predictions in gaps that are longer than a limit.

    Args:
        answer: Prediction of every NaN of `record` (`Model.predict_record`).
        record: The canonical record; a variable that it lacks is one gap of its whole length.
        longest_gap: Longest gap that stays filled [days]; None for all.

    Returns:
        Dataset: Values and quantiles of the other gaps are NaN and their origin is `Origin.MISSING`; the attribute
            `processing` of the quantiles (of the origin, for variables without quantiles) has the number of gaps and days.
    """
    if longest_gap is None:
        return answer
    names = dict.fromkeys([FLOW, *(name.removesuffix(ORIGIN) for name in origin_names(answer))])
    for name in (name for name in names if name in answer):
        observed = record[name].notnull() if name in record else xr.zeros_like(answer[name], dtype=bool)
        lengths = gap_lengths(observed.transpose("time", ...).values)
        if (lengths > longest_gap).any():
            answer = _without_values(answer, name, lengths, longest_gap)
    return answer


def _without_values(answer: xr.Dataset, name: str, lengths: Int[np.ndarray, "T S"], longest_gap: int) -> xr.Dataset:
    """Remove the values of a variable in gaps of more than `longest_gap` days."""
    is_left = xr.DataArray(lengths > longest_gap, dims=("time", *(d for d in answer[name].dims if d != "time")))
    changed = {name: answer[name].where(~is_left)}
    quantile, origin = f"{name}{QUANTILES}", f"{name}{ORIGIN}"
    if quantile in answer:
        changed[quantile] = answer[quantile].where(~is_left)
    if origin in answer:
        changed[origin] = answer[origin].where(~is_left, np.int8(Origin.MISSING))
        changed[origin].attrs |= flag_attributes(tuple(Origin))
    noted = changed.get(quantile, changed.get(origin, changed[name]))
    days = int(is_left.sum())
    gaps = int(np.round((1.0 / lengths[is_left.values]).sum()))
    note = f"{gaps:,} gap{'' if gaps == 1 else 's'} of more than {longest_gap} days ({days:,} days in all) left missing"
    noted.attrs[PROCESSING] = joined_notes(noted.attrs.get(PROCESSING), note)
    return answer.assign({n: values.transpose(*answer[n].dims) for n, values in changed.items()})
