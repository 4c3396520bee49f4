"""Names of columns: those of a variable, and those that are almost so, better asked about than left out in silence."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable

from hydromae.data.readers.units import plain
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


ANSWER = re.compile(r"_(q\d{2}(\.\d+)?|origin)$", re.ASCII)
"""How the columns end that an answer adds to a table."""


def split_units(label: Hashable) -> tuple[str, str | None]:
    """A column's name and the units that it says, None where it says none.

    Examples
    --------
    >>> split_units("riverflow [m3/s]"), split_units("QObs(mm/d)"), split_units(39001)
    (('riverflow', 'm3/s'), ('QObs', 'mm/d'), ('39001', None))
    """
    match = re.fullmatch(r"\s*([^\[(]+?)\s*[\[(](.*)[\])]\s*", str(label))
    return (match.group(1), match.group(2)) if match else (str(label).strip(), None)


def with_units(name: str, spelled: str) -> str:
    """A column's name that says its units, where the name alone would not be read in them."""
    return name if name in COLUMNS and plain(COLUMNS[name][1]) == plain(spelled) else f"{name} [{spelled}]"


def quantile_suffix(level: float) -> str:
    """What a column of a quantile ends in: its level in percent, of two digits at least before the point.

    Examples
    --------
    >>> [quantile_suffix(level) for level in (0.005, 0.02, 0.025, 0.5, 0.995)]
    ['_q00.5', '_q02', '_q02.5', '_q50', '_q99.5']
    """
    whole, dot, rest = f"{100 * level:.8g}".partition(".")
    return f"_q{whole:0>2}{dot}{rest}"


def variables_in(columns: Iterable[str], where: str) -> dict[str, tuple[str, str]]:
    """Variable -> its column and units; `name [units]` says units, a plain name has those of `COLUMNS`.

    Raises
    ------
    InputError
        None of the columns is a variable, or one is called almost so.
    """
    spelled = {}
    columns = list(columns)
    for column in columns:
        name, said = split_units(column)
        if name in COLUMNS:
            spelled[name] = (column, COLUMNS[name][1] if said is None else said)
    found: dict[str, tuple[str, str]] = {}
    for name, (variable, _) in COLUMNS.items():
        if name in spelled:
            found.setdefault(variable, spelled[name])
    if not found:
        held = ", ".join(columns[:8]) or "nothing"
        raise InputError(f"{where}: no riverflow, precipitation, temperature or evaporation in it (it holds {held})")
    refuse_alike([column for column in columns if column not in {held for held, _ in spelled.values()}], found, where)
    return found


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
        if not words or BESIDE.intersection(words) or ANSWER.search(column):
            continue
        for variable, alike in WORDS.items():
            if variable not in known and words[0] in alike:
                raise InputError(
                    f"{where}: no {variable} is read, but {column[:40]!r} may be it; call it {variable} "
                    f"[{VARIABLES[variable].units}] (or other units), or leave it out"
                )
