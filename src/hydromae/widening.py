"""Intervals on short records: factors, measured for a model, by which its quantiles are widened about their median.

The loss leaves out the first days of every training window, so a model that answers the first days of a record is less
certain than it says. The factors belong to the weights: they are stored beside them, and a model without them widens nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from hydromae.data.record import Record
from hydromae.errors import InputError, first_line

FILE = "calibration.json"
LARGEST = 100.0
"""No factor is larger."""


@dataclass(frozen=True)
class Widening:
    """Factors by day of a record, for records that are shorter than a number of days.

    Attributes
    ----------
    below : int
        Records of fewer days are widened [days].
    day : tuple of float
        Days of a record, counted from 1, ascending.
    gauged, ungauged, simulated : tuple of float
        Factors (1 or more) on these days: for rivers with observed flow in the record, for those without beside others that
        have some, and where no river has any. Between the days they are linear in the logarithm of the day; before the first
        and after the last one they stay as they are.
    """

    below: int
    day: tuple[float, ...]
    gauged: tuple[float, ...]
    ungauged: tuple[float, ...]
    simulated: tuple[float, ...]

    def factors(self, record: Record) -> Float[np.ndarray, "T S F"] | None:
        """Factors for each day and river of a record; None where it is long enough."""
        if len(record.days) >= self.below:
            return None
        seen = np.isfinite(record.values["riverflow"]).any(axis=0)
        day = np.log(np.arange(len(record.days)) + 1.0)
        gauged, other = (
            np.interp(day, np.log(self.day), by)[:, None, None]
            for by in (self.gauged, self.ungauged if seen.any() else self.simulated)
        )
        return np.where(seen, gauged, other)

    def write(self, folder: Path) -> None:
        """Write the factors beside the weights of a model."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def read_widening(folder: Path) -> Widening | None:
    """The factors of a model's folder; None where it has none.

    Raises
    ------
    InputError
        The file is no such factors.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        day, *curves = (tuple(map(float, held[name])) for name in ("day", "gauged", "ungauged", "simulated"))
        found = Widening(int(held["below"]), day, *curves)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{file}: no factors of intervals can be read from it ({first_line(error)}); restore it"
        ) from error
    rising = bool(day) and day[0] >= 1 and all(a < b for a, b in zip(day, (*day[1:], np.inf), strict=True))
    sound = all(len(by) == len(day) and all(1 <= one <= LARGEST for one in by) for by in curves)
    if not (rising and sound):
        raise InputError(f"{file}: days must ascend from 1, each with factors of 1 to {LARGEST:g}; restore it")
    return found


def said_of(record: Record, factors: Float[np.ndarray, "T S F"] | None, window: int) -> str | None:
    """What an answer says of its intervals, in one line; None where the record has `window` days, or no flow is asked for.

    Parameters
    ----------
    record : Record
    factors : Float[T, S, F] or None
        Of `Widening.factors`; None where the model has none, or the record is long enough.
    window : int
        Days from which a record is long enough.
    """
    days = len(record.days)
    if factors is None and days >= window:
        return None
    asked = ~np.isfinite(record.values["riverflow"]) & (record.groups >= 0)
    if not asked.any():
        return None
    if factors is None:
        return f"record of {days} days: intervals are not calibrated below {window} days"
    low, high = (f"{end:.1f}" for end in (factors[asked].min(), factors[asked].max()))
    by = high if low == high else f"{low} to {high}"
    return f"record of {days} days: intervals are widened by {by}, as measured on records below {window} days"
