"""Scaling: transform and standardisation of variables, from observations of the training period."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from hydromae.errors import InputError
from hydromae.io.parse import training_slice
from hydromae.progress import track
from hydromae.variables import ATTRIBUTES, VARIABLES, Transform

LOG_OFFSET = 0.01
SMALLEST_STD = 1e-6
LARGEST_SCALE = 1e4  # upper limit of mean and standard deviation of transformed values
FIT_DAYS = 900  # days per block
CHUNK_VALUES = 2**16  # values per chunk, to fit the processor cache


def apply_transform(transform: Transform, values: np.ndarray) -> np.ndarray:
    """Apply root (sqrt(max(x, 0))), log (ln(max(x, 0) + 0.01)) or none (x); NaN stays."""
    if transform == "root":
        return np.sqrt(np.maximum(values, 0))
    if transform == "log":
        return np.log(np.maximum(values, 0) + LOG_OFFSET)
    return values


def undo_transform(transform: Transform, values: np.ndarray) -> np.ndarray:
    """Invert `apply_transform`; a negative root or a value below ln 0.01 becomes zero."""
    if transform == "root":
        return np.square(np.maximum(values, 0))
    if transform == "log":
        return np.maximum(np.exp(values) - LOG_OFFSET, 0)
    return values


def training_days(dataset: xr.Dataset, training_period: tuple[str, str]) -> xr.Dataset:
    """Return the training days of a record; refuse a period without any."""
    return dataset.isel(time=training_slice(pd.DatetimeIndex(dataset["time"].values), training_period))


@dataclass(frozen=True)
class VariableScaling:
    """Scaling of a variable or attribute: (transform(x) − mean) / std."""

    transform: Transform
    mean: float
    std: float

    def scale(self, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Values in canonical units as scaled values; NaN passes."""
        return (apply_transform(self.transform, values) - self.mean) / self.std

    def unscale(self, scaled: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Scaled values in canonical units; NaN passes."""
        return undo_transform(self.transform, scaled * self.std + self.mean)

    def expected_value(self, mean: Any, variance: Any = 0.0) -> Any:
        """Expected value in canonical units of a quantity whose scaled value has this mean and variance.

        E[r²] = E[r]² + Var[r] for a root, where a negative mean counts as 0; exp(E[l] + Var[l] / 2) − 0.01 for a logarithm of
        Gaussian distribution. Arrays are NumPy's or torch's.
        """
        value = mean * self.std + self.mean
        spread = variance * (self.std * self.std)
        if self.transform == "root":
            return value.clip(min=0.0) ** 2 + spread
        if self.transform == "log":
            value = value + 0.5 * spread
            value = (np.exp(value) if isinstance(value, np.ndarray) else value.exp()) - LOG_OFFSET
        return value


@dataclass(frozen=True)
class Scaling:
    """Scaling of all variables and attributes, by name.

    It is fitted to observations of training days and training catchments, pooled over sites, as an ungauged river has no
    statistics of its own.

    Attributes:
        ranges (mapping of str to (float, float)): Minimum and maximum of each attribute of the training catchments, in its
            own units; empty if unknown. Ranges do not affect scaled values or equality.
    """

    variables: Mapping[str, VariableScaling]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict, compare=False)

    @classmethod
    def fit(
        cls,
        dataset: xr.Dataset,
        training_period: tuple[str, str],
        catchments: Sequence[int] | Sequence[str] | np.ndarray | None = None,
    ) -> Scaling:
        """Fit mean and standard deviation of the transformed observations.

        Args:
            dataset: A record, read in blocks of `FIT_DAYS` days.
            training_period (str, str): First and last training day; other days are not read.
            catchments: Training catchments; others are not read. Maps are not affected.

        Raises:
            InputError: No training day in the dataset, or a variable without observations on these days.
        """
        training_record = dataset if catchments is None else dataset.sel(catchment=np.asarray(catchments))
        days = training_days(training_record, training_period)
        names = [str(n) for n in dataset.data_vars if n in VARIABLES]
        moments = Moments(training_period)
        for name in names:
            starts = range(0, days.sizes["time"], FIT_DAYS)
            # one block in memory at a time
            for start in track(starts, f"blocks of {name} scaled", len(starts)):
                moments.add(name, days[name].isel(time=slice(start, start + FIT_DAYS)).values)
        return moments.scaling(names, training_record)

    def __getitem__(self, name: str) -> VariableScaling:
        if name not in self.variables:
            raise InputError(
                f"scaling: {name} is not in it (it has {', '.join(self.variables)}); prepare the store again"
            )
        return self.variables[name]

    def __contains__(self, name: str) -> bool:
        return name in self.variables

    def scale(self, name: str, array: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Scale values in canonical units, keeping dtype and NaN."""
        return self[name].scale(array).astype(array.dtype)

    def unscale(self, name: str, array: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Convert scaled values to canonical units, keeping dtype and NaN."""
        return self[name].unscale(array).astype(array.dtype)

    def with_ranges(self, attributes: xr.Dataset) -> Scaling:
        """Extend the range of each attribute to these training catchments.

        Args:
            attributes: `(catchment)` variables in their own units, NaN if unknown.
        """
        ranges = dict(self.ranges)
        for name in (a.name for a in ATTRIBUTES if a.name in self.variables and a.name in attributes.variables):
            values = attributes[name].values.astype(np.float64)
            values_known = [*values[np.isfinite(values)].tolist(), *ranges.get(name, ())]
            ranges |= {name: (min(values_known), max(values_known))} if values_known else {}
        return replace(self, ranges=ranges)

    def to_json(self) -> str:
        """Return JSON: `{name: {"transform", "mean", "std"}}`, with "low" and "high" of known ranges."""
        range_entries = {name: {"low": low, "high": high} for name, (low, high) in self.ranges.items()}
        return json.dumps(
            {name: asdict(scaling) | range_entries.get(name, {}) for name, scaling in self.variables.items()}
        )

    @classmethod
    def from_json(cls, text: str) -> Scaling:
        """Parse the result of `to_json`."""
        try:
            entries_json = json.loads(text).items()
            entries = {n: (e["transform"], float(e["mean"]), float(e["std"])) for n, e in entries_json}
            ranges = {n: (float(e["low"]), float(e["high"])) for n, e in entries_json if "low" in e or "high" in e}
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
            raise InputError(
                f"scaling: not the JSON of a scaling ({str(text)[:60]!r}); prepare the store again"
            ) from error
        for name, (_, mean, std) in entries.items():
            if not (abs(mean) <= LARGEST_SCALE and 0 < std <= LARGEST_SCALE):
                raise InputError(f"scaling: {name} has mean {mean:g} and std {std:g}; prepare the store again")
        valid = {attribute.name: attribute.valid for attribute in ATTRIBUTES}
        for name, (low, high) in ranges.items():
            lowest, highest = valid.get(name, (-LARGEST_SCALE, LARGEST_SCALE))
            if not lowest <= low <= high <= highest:
                raise InputError(f"scaling: {name} has the range {low:g} … {high:g}; prepare the store again")
        unknown = {str(transform) for transform, _, _ in entries.values()} - set(get_args(Transform))
        if unknown:
            raise InputError(f"scaling: transform {unknown.pop()!r} is not known; prepare the store again")
        return cls({name: VariableScaling(*entry) for name, entry in entries.items()}, ranges)


def _moments(values: xr.DataArray, transform: Transform) -> VariableScaling:
    return _RunningMoments.of(values.values, transform).scaling(transform)


class Moments:
    """Running mean and standard deviation of variables over blocks of days."""

    def __init__(self, training_period: tuple[str, str]) -> None:
        self.period = training_period
        self.sums: dict[str, _RunningMoments] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        """Add values of training days of a variable, in canonical units, NaN if unobserved."""
        sums = self.sums.get(name, _RunningMoments(0, 0.0, 0.0))
        self.sums[name] = sums.merge(_RunningMoments.of(values, VARIABLES[name].transform))

    def scaling(self, names: Sequence[str], attributes: xr.Dataset) -> Scaling:
        """Return the scaling of variables from added values, and of attributes from a dataset.

        Raises:
            InputError: A variable has no observations.
        """
        for name in names:
            if name not in self.sums or self.sums[name].count == 0:
                first, last = self.period
                raise InputError(
                    f"training period {first}/{last}: no {name} was observed in it; choose another training period"
                )
        attributes_present = [a for a in ATTRIBUTES if a.name in attributes.variables]
        return Scaling(
            {name: self.sums[name].scaling(VARIABLES[name].transform) for name in names}
            | {a.name: _moments(attributes[a.name], a.transform) for a in attributes_present}
        ).with_ranges(attributes)


@dataclass(frozen=True)
class _RunningMoments:
    """Count, mean and sum of squared deviations; merged after Chan, Golub and LeVeque (1983), eq. 2.1."""

    count: int
    mean: float
    squares: float

    @classmethod
    def of(cls, values: np.ndarray, transform: Transform) -> _RunningMoments:
        total, flat = cls(0, 0.0, 0.0), values.reshape(-1)
        for start in range(0, len(flat), CHUNK_VALUES):
            total = total.merge(cls._of_chunk(flat[start : start + CHUNK_VALUES], transform))
        return total

    @classmethod
    def _of_chunk(cls, values: np.ndarray, transform: Transform) -> _RunningMoments:
        finite = np.isfinite(values)
        finite_values = values if finite.all() else values[finite]
        transformed = apply_transform(transform, finite_values.astype(np.float64))
        if transformed.size == 0:
            return cls(0, 0.0, 0.0)
        mean = transformed.mean()
        deviations = np.subtract(transformed, mean, out=transformed)
        return cls(transformed.size, float(mean), float(np.square(deviations, out=deviations).sum()))

    def merge(self, other: _RunningMoments) -> _RunningMoments:
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        mean = self.mean + step * other.count / count
        return _RunningMoments(count, mean, self.squares + other.squares + step**2 * self.count * other.count / count)

    def scaling(self, transform: Transform) -> VariableScaling:
        """Return the scaling; a constant or missing attribute has a standard deviation of one."""
        std = float(np.sqrt(self.squares / self.count)) if self.count else 0.0
        return VariableScaling(transform, self.mean, std if std > SMALLEST_STD else 1.0)


def exclude_catchments(dataset: xr.Dataset, held_out: tuple[str, ...]) -> xr.Dataset:
    """Remove held-out catchments from a record.

    Raises:
        InputError: If a held-out catchment is not in the record, or no other is left.
    """
    names = np.array([str(name) for name in dataset["catchment"].values])
    unknown = sorted(set(held_out) - set(names.tolist()))
    if unknown:
        raise InputError(f"data.held_out: the store has no catchment '{unknown[0]}'; name catchments that it has")
    kept_indices = np.flatnonzero(~np.isin(names, held_out))
    if not len(kept_indices):
        raise InputError(f"data.held_out: holds out all {len(names)} catchments; leave some for training")
    return dataset if len(kept_indices) == len(names) else dataset.isel(catchment=kept_indices)
