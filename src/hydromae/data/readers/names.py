"""Names of columns: those of a variable, and those that are almost so, better asked about than left out in silence."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from hydromae.errors import InputError
from hydromae.modalities import VARIABLES

EVAPORATION = ("peti", "pet")
"""Potential evaporation in British products, the best one first: with what plants catch of the rain, and without."""
# column -> (variable, units where the column's name says none); where two name one variable, the first is taken
COLUMNS: dict[str, tuple[str, str]] = {
    **{name: (name, variable.units) for name, variable in VARIABLES.items()},
    "discharge_spec": ("riverflow", "mm day-1"),
    "streamflow": ("riverflow", "mm day-1"),
    "discharge_vol": ("riverflow", "m3 s-1"),
    "flow": ("riverflow", "m3 s-1"),
    "rainfall": ("precipitation", "mm day-1"),
    "total_precipitation_sum": ("precipitation", "mm day-1"),
    "tas": ("temperature", "degC"),
    "temperature_2m_mean": ("temperature", "degC"),
    **dict.fromkeys(EVAPORATION, ("potential_evaporation", "mm day-1")),
    "potential_evaporation_sum_FAO_PENMAN_MONTEITH": ("potential_evaporation", "mm day-1"),
    "potential_evaporation_sum_ERA5_LAND": ("potential_evaporation", "mm day-1"),
    "potential_evaporation_sum": ("potential_evaporation", "mm day-1"),
}
WORDS = {
    "precipitation": ("precipitation", "precip", "rainfall", "rain", "ppt", "prcp"),
    "temperature": ("temperature", "temp", "tmean", "tavg"),
    "potential_evaporation": ("pet", "peti", "pe", "pev", "et0", "evapotranspiration"),
    "riverflow": ("riverflow", "streamflow", "discharge", "flow"),
}
BESIDE = frozenset(
    "flag flags quality code filled origin id name station source max min std units".split()  # noqa: SIM905
)
"""Words in names of columns that stand beside a variable and are none."""


def refuse_alike(columns: Iterable[str], known: Collection[str], where: str) -> None:
    """Raise InputError where a variable is absent and a column is called almost so.

    Parameters
    ----------
    columns : iterable of str
        Names that nothing is read from.
    known : collection of str
        Variables that are read.
    where : str
        The source, for the message.

    Examples
    --------
    >>> refuse_alike(["Rain_gauge_mm"], {"riverflow"}, "the table")
    Traceback (most recent call last):
    hydromae.errors.InputError: the table: no precipitation is read, but 'Rain_gauge_mm' may be it; call it \
precipitation [mm day-1] (or other units), or leave it out
    """
    for column in columns:
        words = [word for word in re.split(r"[^a-z0-9]+", column.lower()) if word]
        if not words or BESIDE.intersection(words) or re.search(r"_q\d", column):
            continue
        for variable, alike in WORDS.items():
            if variable not in known and words[0] in alike:
                raise InputError(
                    f"{where}: no {variable} is read, but {column[:40]!r} may be it; call it {variable} "
                    f"[{VARIABLES[variable].units}] (or other units), or leave it out"
                )
