"""Attributes and positions of a record outside the training range of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.io.conventions import to_degrees
from hydromae.io.names import OUTSIDE_TRAINING
from hydromae.progress import warn_user
from hydromae.store.scaling import Scaling
from hydromae.variables import ATTRIBUTES

MARGIN = 0.5
"""Tolerance of the training range [standard deviations of scaled values]."""
POSITION_NAMES = ("latitude", "longitude")
ATTRIBUTE_NAMES = tuple(attribute.name for attribute in ATTRIBUTES)


@dataclass(frozen=True)
class TrainingDomain:
    """Attributes and positions of catchments outside the training range of a model.

    Attributes:
        attributes (Bool[C, A]): Known attributes outside their training range, by `variables.ATTRIBUTES`.
        position (Bool[C]): Catchments with latitude, longitude, or easting and northing outside; the model then uses only
            distances to other rivers.
    """

    attributes: Bool[np.ndarray, "C A"]
    position: Bool[np.ndarray, " C"]

    @classmethod
    def of(cls, dataset: xr.Dataset, scaling: Scaling) -> TrainingDomain:
        """Compare attributes and positions of a record with the ranges of a scaling; without ranges, nothing is outside."""
        shape = (dataset.sizes["catchment"],)
        columns = {n: dataset[n].values if n in dataset.variables else np.full(shape, np.nan) for n in ATTRIBUTE_NAMES}
        outside = np.stack([is_outside_range(scaling, name, values) for name, values in columns.items()], axis=1)
        position = np.logical_or(*(outside[:, ATTRIBUTE_NAMES.index(name)] for name in POSITION_NAMES))
        if {"easting", "northing"} <= set(dataset.variables):
            degrees = to_degrees(dataset["easting"].values, dataset["northing"].values)
            for name, values in zip(POSITION_NAMES, degrees, strict=True):
                position = np.logical_or(position, is_outside_range(scaling, name, values))
        return cls(outside, position)

    @property
    def unknown(self) -> Bool[np.ndarray, "C A"]:
        """Return attributes that are treated as unknown: those outside, and both coordinates if one is outside."""
        return self.attributes | (self.position[:, None] & np.isin(ATTRIBUTE_NAMES, POSITION_NAMES))

    def outside_names(self, catchment: int) -> list[str]:
        """Return the names of attributes of a catchment that are outside."""
        outside_names = [
            name for name, is_outside in zip(ATTRIBUTE_NAMES, self.attributes[catchment], strict=True) if is_outside
        ]
        of_metres = self.position[catchment] and not set(POSITION_NAMES) & set(outside_names)
        return ["easting", "northing", *outside_names] if of_metres else outside_names

    def warn(self, dataset: xr.Dataset, scaling: Scaling) -> None:
        """Warn with the number of catchments outside, and the attributes of the first one."""
        outside = self.attributes.any(axis=1) | self.position
        if not outside.any():
            return
        first = int(outside.argmax())
        details = ", ".join(_attribute_text(dataset, scaling, name, first) for name in self.outside_names(first))
        swapped = "; are latitude and longitude swapped?" if self._swapped(dataset, scaling).any() else ""
        warn_user(
            OUTSIDE_TRAINING,
            f"{outside.sum()} of {len(outside)} catchments are outside the training range of the model, such as "
            f"{dataset['catchment'].values[first]} with {details}{swapped}; these values are treated as unknown, and "
            f"predictions are less certain than stated ({OUTSIDE_TRAINING} in the answer)",
        )

    def _swapped(self, dataset: xr.Dataset, scaling: Scaling) -> Bool[np.ndarray, " C"]:
        """Return True where latitude and longitude are outside, but inside if swapped."""
        if not set(POSITION_NAMES) <= set(dataset.variables):
            return np.zeros(len(self.position), dtype=bool)
        latitude, longitude = (dataset[name].values for name in POSITION_NAMES)
        inside = ~is_outside_range(scaling, "latitude", longitude) & ~is_outside_range(scaling, "longitude", latitude)
        return (
            inside
            & self.attributes[:, ATTRIBUTE_NAMES.index("latitude")]
            & self.attributes[:, ATTRIBUTE_NAMES.index("longitude")]
        )


def _attribute_text(dataset: xr.Dataset, scaling: Scaling, name: str, catchment: int) -> str:
    """Return an attribute of a catchment with its value and the training range as text."""
    low, high = scaling.ranges.get(name, (np.nan, np.nan))
    trained = f" (trained on {low:.4g} … {high:.4g})" if name in scaling.ranges else ""
    return f"{name} {float(dataset[name].values[catchment]):.6g}{trained}"


def is_outside_range(scaling: Scaling, name: str, values: Float[np.ndarray, " C"]) -> Bool[np.ndarray, " C"]:
    """Return True where a value is more than `MARGIN` outside the training range; False for NaN."""
    if name not in scaling.ranges:
        return np.zeros(len(values), dtype=bool)
    low, high = scaling.scale(name, np.array(scaling.ranges[name], dtype=np.float64))
    scaled = scaling.scale(name, values.astype(np.float64))
    return (scaled < low - MARGIN) | (scaled > high + MARGIN)


def outside_training(
    dataset: xr.Dataset, domain: TrainingDomain, is_cut: Bool[np.ndarray, " C"]
) -> xr.DataArray | None:
    """Return the names of attributes outside for each catchment, with `riverflow` if a prediction was clipped, or None."""
    is_listed = domain.attributes.any(axis=1) | domain.position | is_cut
    if not is_listed.any():
        return None
    names = [
        [*domain.outside_names(index), *(["riverflow"] if is_cut[index] else [])] if is_listed[index] else []
        for index in range(len(is_cut))
    ]
    long_name = "attributes outside the training range of the model, and riverflow if the prediction was clipped"
    return xr.DataArray(
        np.array([", ".join(outside) for outside in names]),
        coords={"catchment": dataset["catchment"]},
        dims="catchment",
        name=OUTSIDE_TRAINING,
        attrs={"long_name": long_name},
    )


def merge_outside(parts: Sequence[xr.DataArray]) -> xr.DataArray:
    """Merge `outside_training` of several answers for the same catchments."""
    texts = [[str(text) for text in part.values] for part in parts]
    names = [
        dict.fromkeys(name for text in of_one if text for name in text.split(", "))
        for of_one in zip(*texts, strict=True)
    ]
    return parts[0].copy(data=np.array([", ".join(outside) for outside in names]))
