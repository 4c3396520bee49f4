"""Missing values: counts by kind and decade, and runs of missing days."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from hydromae.io.unobserved import is_missing_code
from hydromae.progress import report_progress

KINDS = ("nan", "sentinel", "infinite", "filled")
"""Kinds of missing values, coded 1 to 4 (0 is observed): NaN or absent, codes (−99999, 1e20, …), ±inf, marked as filled."""

Codes = UInt8[np.ndarray, "T S"]


def codes_of(values: Float[np.ndarray, "T S"], filled: Bool[np.ndarray, "T S"] | None = None) -> Codes:
    """Return 0 for observed values, else the index in `KINDS` from 1."""
    codes = np.zeros(values.shape, np.uint8)
    if filled is not None:
        codes[filled] = 4
    codes[is_missing_code(values)] = 2
    codes[np.isinf(values)] = 3
    codes[np.isnan(values)] = 1
    return codes


@dataclass(frozen=True)
class VariableSource:
    """Values of one variable of a source, read once in order.

    Attributes:
        kind ({"map", "series"})
        sites (array (S,)): Catchments, or flat numbers of cells.
        days (array (T,)): Consecutive days (datetime64[D]).
        codes: Yields `codes_of` blocks of days in order.
    """

    variable: str
    kind: Literal["map", "series"]
    sites: Shaped[np.ndarray, " S"]
    days: Shaped[np.ndarray, " T"]
    codes: Callable[[], Iterable[Codes]]


@dataclass(frozen=True)
class MissingSummary:
    """Missing values of one variable.

    Attributes:
        decades (int array (Y,)): First years of the decades, ascending.
        days (int array (Y,)): Days of the record in each decade.
        counts (int array (Y, 4, S)): Missing values by decade, kind and site.
        site, first, last (int arrays (R,)): Runs of missing days: index of the site, first and last day, sorted by site and
            day.
    """

    source: VariableSource
    decades: Int[np.ndarray, " Y"]
    days: Int[np.ndarray, " Y"]
    counts: Int[np.ndarray, "Y K S"]
    site: Int[np.ndarray, " R"]
    first: Int[np.ndarray, " R"]
    last: Int[np.ndarray, " R"]

    @classmethod
    def of(cls, source: VariableSource) -> MissingSummary:
        """Count missing values block by block."""
        years = source.days.astype("datetime64[Y]").astype(np.int64) + 1970
        decades, decade = np.unique(years // 10 * 10, return_inverse=True)
        counts = np.zeros((len(decades), len(KINDS), len(source.sites)), np.int64)
        changes = _Changes(len(source.sites))
        day = 0
        for codes in source.codes():
            inside = decade[day : day + len(codes)]
            for decade_index in np.unique(inside):
                decade_codes = codes[inside == decade_index]
                counts[decade_index] += [(decade_codes == code).sum(axis=0) for code in range(1, len(KINDS) + 1)]
            changes.add(codes > 0)
            day += len(codes)
            report_progress(f"days of {source.variable}", day, len(source.days))
        if day != len(source.days):
            raise ValueError(f"{day} of {len(source.days)} days came in blocks")
        site, first, last = changes.runs()
        return cls(source, decades, np.bincount(decade), counts, site, first, last)

    @property
    def is_counted(self) -> Bool[np.ndarray, " S"]:
        """Return True for counted sites: all catchments, and cells with an observation (others are sea)."""
        missing = self.counts.sum(axis=(0, 1))
        return (missing < len(self.source.days)) | (self.source.kind == "series")

    def report(self) -> dict[str, Any]:
        """Return `variable`, `kind`, `period`, `sites`, `never_observed`, `values`, `missing`, and `by_decade`.

        `by_decade` has for "1990s", …: `values` (sites × days) and counts of each of `KINDS`. Cells that were never observed
        do not count; catchments always do.
        """
        counted = self.is_counted
        is_never_observed = self.counts.sum(axis=(0, 1)) == len(self.source.days)
        by_kind = self.counts[..., counted].sum(axis=2)
        by_decade = {
            f"{decade}s": {"values": int(days * counted.sum())} | dict(zip(KINDS, map(int, row), strict=True))
            for decade, days, row in zip(self.decades, self.days, by_kind, strict=True)
        }
        return {
            "variable": self.source.variable,
            "kind": self.source.kind,
            "period": [str(self.source.days[0]), str(self.source.days[-1])],
            "sites": int(counted.sum()),
            "never_observed": int(is_never_observed.sum()),
            "values": int(len(self.source.days) * counted.sum()),
            "missing": int(by_kind.sum()),
            "by_decade": by_decade,
        }

    def runs(self) -> pd.DataFrame:
        """Return runs of missing days, one per row: `variable`, `site`, `first`, `last`, `days`; without cells of the sea."""
        is_counted = self.is_counted[self.site]
        site, first, last = self.site[is_counted], self.first[is_counted], self.last[is_counted]
        return pd.DataFrame(
            {
                "variable": self.source.variable,
                "site": self.source.sites[site],
                "first": np.datetime_as_string(self.source.days[first]),
                "last": np.datetime_as_string(self.source.days[last]),
                "days": last - first + 1,
            }
        )


class _Changes:
    """Where runs begin and end, carried from block to block."""

    def __init__(self, sites: int):
        self._before = np.zeros(sites, dtype=bool)
        self._day = 0
        self._found: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, missing: Bool[np.ndarray, "T S"]) -> None:
        """Add the next days."""
        day, site = np.nonzero(missing ^ np.concatenate([self._before[None], missing[:-1]]))
        self._found.append((site, day + self._day))
        self._before, self._day = missing[-1], self._day + len(missing)

    def runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return site, first and last day of each run; an open run ends on the last day."""
        open_sites = np.flatnonzero(self._before)
        changes_found = [*self._found, (open_sites, np.full(len(open_sites), self._day))]
        site, day = (np.concatenate(part) for part in zip(*changes_found, strict=True))
        order = np.lexsort((day, site))  # starts and ends alternate within a site
        site, day = site[order], day[order]
        return site[::2], day[::2], day[1::2] - 1


def longest_runs(summaries: Iterable[MissingSummary], count: int | None = None) -> pd.DataFrame:
    """Return the `count` longest runs (default all) of missing days of all variables, longest first."""
    runs = pd.concat([summary.runs() for summary in summaries], ignore_index=True)
    return runs.sort_values("days", ascending=False, kind="stable").head(len(runs) if count is None else count)
