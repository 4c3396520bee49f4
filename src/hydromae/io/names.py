"""Names of columns: exact, alias and ambiguous names of variables."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import NamedTuple

from hydromae.errors import InputError
from hydromae.io import units
from hydromae.variables import VARIABLES

QUANTILES, ORIGIN = "_quantile", "_origin"
"""Suffixes of the variables of an answer that contain quantiles, and the origin of each value."""
FLOW, QUANTILE = "riverflow", f"riverflow{QUANTILES}"
"""Variables of river flow and its quantiles in an answer."""
EVAPORATION = ("peti", "pet")
"""Potential evaporation in British products, the best first: with and without interception correction."""
# column -> (variable, units if the name has none); the first column of a variable is the best
COLUMNS: dict[str, tuple[str, str]] = {
    **{name: (name, variable.units) for name, variable in VARIABLES.items()},
    "discharge_spec": ("riverflow", "mm day-1"),
    "discharge_spec_obs": ("riverflow", "mm day-1"),
    "streamflow": ("riverflow", "mm day-1"),
    "discharge_vol": ("riverflow", "m3 s-1"),
    "discharge_vol_obs": ("riverflow", "m3 s-1"),
    "flow": ("riverflow", "m3 s-1"),
    "rainfall": ("precipitation", "mm day-1"),
    "cdr": ("precipitation", "mm day-1"),
    "total_precipitation_sum": ("precipitation", "mm day-1"),
    "tas": ("temperature", "degC"),
    "temperature_2m_mean": ("temperature", "degC"),
    **dict.fromkeys(EVAPORATION, ("potential_evaporation", "mm day-1")),
    "potential_evaporation_sum_FAO_PENMAN_MONTEITH": ("potential_evaporation", "mm day-1"),
    "potential_evaporation_sum_ERA5_LAND": ("potential_evaporation", "mm day-1"),
    "potential_evaporation_sum": ("potential_evaporation", "mm day-1"),
}
RANKS = {name.casefold(): rank for rank, name in enumerate(COLUMNS)}
BY_RANK = tuple(COLUMNS.values())
ALIASES = {
    name: variable
    for variable, names in {
        "riverflow": "q qobs q_obs obs_q gdf discharge runoff river_flow stream_flow flow_rate flowrate tsd_q",
        "precipitation": "p pr pobs p_obs prec prcp pcp ppt precip rain tsd_prec",
        "temperature": "tmean t_mean tavg t_avg tair t_air t2m tobs t_obs tsd_temp",
        "potential_evaporation": "pe et0 eto pev pet_ou tsd_pet potential_evapotranspiration",
    }.items()
    for name in names.split()
}
"""Other names of columns (CAMELS of other countries, HYSETS, GRDC, NRFA), which need units."""
MODIFIERS = frozenset(
    "daily day mean average avg gauged gaged river observed obs measured catchment basin areal air total sum".split()  # noqa: SIM905
)
"""Words that do not change the meaning of a name."""
SUFFIXES = {
    **dict.fromkeys(("mm", "mmd", "mm_d", "mmday", "mm_day"), "mm day-1"),
    **dict.fromkeys(("m3s", "m3_s", "m3_sec", "m3_s_1", "cms", "cumec", "cumecs"), "m3 s-1"),
    **dict.fromkeys(("cfs", "ft3s", "ft3_s"), "ft3 s-1"),
    **dict.fromkeys(("ls", "l_s", "lps"), "l s-1"),
    **dict.fromkeys(("mld", "ml_d", "ml_day"), "ML day-1"),
    **dict.fromkeys(("c", "degc", "deg_c", "celsius"), "degC"),
    **dict.fromkeys(("k", "kelvin"), "K"),
    **dict.fromkeys(("f", "degf", "deg_f"), "degF"),
}
"""Suffixes of names that state units."""
PLAIN_FLOW = ("riverflow", "streamflow", "flow")
"""Names of flow without stated units."""
SIMILAR_WORDS = {
    "precipitation": ("precipitation", "precip", "rainfall", "rain", "ppt", "prcp"),
    "temperature": ("temperature", "temp", "tmean", "tavg"),
    "potential_evaporation": ("pet", "peti", "pe", "pev", "et0", "evapotranspiration"),
    "riverflow": ("riverflow", "streamflow", "discharge", "flow"),
}
MIN_LETTERS = 4
"""Minimum letters of a name with `MODIFIERS`: q_mean and p_mean are attributes of catchments."""
AUXILIARY_WORDS = frozenset(
    "flag flags quality code filled origin id name station source max min std units".split()  # noqa: SIM905
)
"""Words in names of auxiliary columns."""


OUTSIDE_TRAINING = "outside_training"
"""Variable or column of an answer: attributes of each catchment outside the training range of the model."""
ANSWER_SUFFIX = re.compile(rf"_(q\d{{2}}(\.\d+)?|origin|{OUTSIDE_TRAINING})$", re.ASCII)
"""Suffixes of columns that an answer adds to a table."""


def shortened(names: Iterable[object], limit: int = 8) -> str:
    """Return the first `limit` names separated by commas, and the number of the others."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:limit]) + (f" and {len(texts) - limit} more" if len(texts) > limit else "")


def split_units(label: Hashable) -> tuple[str, str | None]:
    """Split a column's name and its units, None without units.

    Examples:
        >>> split_units("riverflow [m3/s]"), split_units("QObs(mm/d)"), split_units(39001)
        (('riverflow', 'm3/s'), ('QObs', 'mm/d'), ('39001', None))
    """
    match = re.fullmatch(r"\s*([^\[(]+?)\s*[\[(](.*)[\])]\s*", str(label))
    return (match.group(1), match.group(2)) if match else (str(label).strip(), None)


class ColumnName(NamedTuple):
    """Parsed name of a column.

    Attributes:
        units: None if they are unknown.
        rank: The column with the lower rank is better.
        has_units: Whether the name contains the units.
    """

    variable: str
    units: str | None
    rank: int
    has_units: bool


def parse_column_name(label: Hashable) -> ColumnName | None:
    """Parse the name of a column; None if it is not a variable.

    Examples:
        >>> names = "QObs(mm/d)", "streamflow_m3s", "Gauged Daily Flow"
        >>> [parse_column_name(name)[:2] for name in names], parse_column_name("q_mean")
        ([('riverflow', 'mm/d'), ('riverflow', 'm3 s-1'), ('riverflow', None)], None)
    """
    name, units_text = split_units(label)
    rank = RANKS.get(name.casefold())
    if rank is not None:
        variable, usual_units = BY_RANK[rank]
        implied_units = usual_units if name in COLUMNS else None
        return ColumnName(variable, implied_units if units_text is None else units_text, rank, units_text is not None)
    words = _words(name)
    for count in (3, 2, 1):
        unit_spelling = SUFFIXES.get("_".join(words[-count:]))
        variable = _variable_of(words[:-count])
        if unit_spelling is not None and variable is not None and units.is_known(unit_spelling, variable):
            return ColumnName(variable, unit_spelling if units_text is None else units_text, len(RANKS), True)
    variable = _variable_of(words)
    return None if variable is None else ColumnName(variable, units_text, len(RANKS), units_text is not None)


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.casefold()) if word]


def _variable_of(words: list[str]) -> str | None:
    """Return the variable that the words name, with or without `MODIFIERS`."""
    essential = [word for word in words if word not in MODIFIERS]
    for candidate_words in (words, essential if len("".join(essential)) >= MIN_LETTERS else []):
        name = "_".join(candidate_words)
        if name in ALIASES:
            return ALIASES[name]
        if name in RANKS:
            return BY_RANK[RANKS[name]][0]
    return None


def with_units(name: str, unit_spelling: str) -> str:
    """Add units to a column's name unless they are implied."""
    parsed = parse_column_name(name)
    implied = None if parsed is None else parsed.units
    return (
        name
        if implied is not None and units.plain(implied) == units.plain(unit_spelling)
        else f"{name} [{unit_spelling}]"
    )


def quantile_suffix(level: float) -> str:
    """Return the suffix of a quantile column: the level in percent with at least two integer digits.

    Examples:
        >>> [quantile_suffix(level) for level in (0.005, 0.02, 0.025, 0.5, 0.995)]
        ['_q00.5', '_q02', '_q02.5', '_q50', '_q99.5']
    """
    whole, dot, rest = f"{100 * level:.8g}".partition(".")
    return f"_q{whole:0>2}{dot}{rest}"


class SourceColumn(NamedTuple):
    """Column of a variable and its units, None if unknown."""

    column: str
    units: str | None


def select_columns(
    columns: Iterable[str], source: str, given: Mapping[str, str] | None = None
) -> dict[str, tuple[SourceColumn, ...]]:
    """Return the columns of each variable, the best first, which has units.

    Args:
        columns: Names; a plain name has the units of `COLUMNS`, a name of `ALIASES` has none.
        source: The source, for messages.
        given: Units of columns from elsewhere, such as attributes of variables.

    Raises:
        InputError: No variable, an ambiguous name, or unknown units.
    """
    columns, given = list(columns), given or {}
    parsed_columns = [
        (one, SourceColumn(column, given.get(column, one.units)))
        for column in columns
        if (one := parse_column_name(column))
    ]
    by_variable: dict[str, list[tuple[int, SourceColumn]]] = {}
    for one, choice in sorted(parsed_columns, key=lambda pair: (pair[1].units is None, pair[0].rank)):
        by_variable.setdefault(one.variable, []).append((one.rank, choice))
    for pairs in by_variable.values():
        ranks = [rank for rank, _ in pairs if rank < len(RANKS)]
        if len(set(ranks)) < len(ranks):
            duplicate_rank = next(rank for rank in ranks if ranks.count(rank) > 1)
            similar_words = " and ".join(repr(choice.column[:40]) for rank, choice in pairs if rank == duplicate_rank)
            raise InputError(f"{source}: columns {similar_words} are the same variable; keep one")
    for variable, ((_, best), *_) in by_variable.items():
        if best.units is None:
            raise unclear_column(best.column, variable, source)
    if not by_variable:
        raise InputError(
            f"{source}: no riverflow, precipitation, temperature or evaporation in it "
            f"(it has {shortened(columns) or 'nothing'})"
        )
    implied = {choice.column for _, choice in parsed_columns}
    check_similar([column for column in columns if column not in implied], by_variable, source)
    return {variable: tuple(choice for _, choice in pairs) for variable, pairs in by_variable.items()}


def attached_units(labels: Iterable[Hashable], units: object) -> dict[str, str]:
    """Return units by column from `frame.attrs["units"]`: a mapping, or the units of flow columns without units."""
    if isinstance(units, Mapping):
        return {str(label): str(unit_spelling) for label, unit_spelling in units.items()}
    if not isinstance(units, str) or not units.strip():
        return {}
    flows = {str(label): one for label in labels if (one := parse_column_name(label)) and one.variable == "riverflow"}
    return {name: units for name, one in flows.items() if name.strip() in PLAIN_FLOW or one.units is None}


def unclear_column(column: str, variable: str, source: str) -> InputError:
    """Return the error for a column with an ambiguous name or without units."""
    return InputError(
        f"{source}: no {variable} is read, but {column[:40]!r} may be it; call it {variable} "
        f"[{VARIABLES[variable].units}] (or other units), or leave it out"
    )


def check_similar(columns: Iterable[str], known: Collection[str], source: str) -> None:
    """Raise InputError if a variable is absent and a column has a similar name."""
    for column in columns:
        words = _words(column)
        if not words or AUXILIARY_WORDS.intersection(words) or ANSWER_SUFFIX.search(column):
            continue
        for variable, similar_words in SIMILAR_WORDS.items():
            if variable not in known and words[0] in similar_words:
                raise unclear_column(column, variable, source)
