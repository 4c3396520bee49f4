"""What of a record lies outside the training of a model: attributes beyond the trained range, and places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from hydromae.io.conventions import degrees_of
from hydromae.io.names import OUTSIDE
from hydromae.progress import remark
from hydromae.store.scaling import Scaling
from hydromae.variables import ATTRIBUTES

MARGIN = 0.5
"""How far beyond the trained range an attribute still counts as inside [standard deviations of its scaled values]."""
PLACE = ("latitude", "longitude")
NAMES = tuple(attribute.name for attribute in ATTRIBUTES)


@dataclass(frozen=True)
class Domain:
    """What of the catchments of a record lies outside the training of a model.

    Attributes:
        attributes (Bool[C, A]): Attributes that are known and outside their trained range, by `variables.ATTRIBUTES`.
        place (Bool[C]): Catchments whose latitude, longitude, or easting and northing are outside; the model then knows
            nothing of the place but how far it is from other rivers.
    """

    attributes: Bool[np.ndarray, "C A"]
    place: Bool[np.ndarray, " C"]

    @classmethod
    def of(cls, dataset: xr.Dataset, scaling: Scaling) -> Domain:
        """Compare the attributes and positions of a record with the ranges in a scaling; without these nothing is outside."""
        shape = (dataset.sizes["catchment"],)
        columns = {n: dataset[n].values if n in dataset.variables else np.full(shape, np.nan) for n in NAMES}
        outside = np.stack([beyond(scaling, name, values) for name, values in columns.items()], axis=1)
        place = np.logical_or(*(outside[:, NAMES.index(name)] for name in PLACE))
        if {"easting", "northing"} <= set(dataset.variables):
            degrees = degrees_of(dataset["easting"].values, dataset["northing"].values)
            for name, values in zip(PLACE, degrees, strict=True):
                place = np.logical_or(place, beyond(scaling, name, values))
        return cls(outside, place)

    @property
    def unknown(self) -> Bool[np.ndarray, "C A"]:
        """Attributes that count as unknown: those outside, and both of a place of which one is."""
        return self.attributes | (self.place[:, None] & np.isin(NAMES, PLACE))

    def names(self, catchment: int) -> list[str]:
        """What is outside of a catchment."""
        found = [name for name, one in zip(NAMES, self.attributes[catchment], strict=True) if one]
        of_metres = self.place[catchment] and not set(PLACE) & set(found)
        return ["easting", "northing", *found] if of_metres else found

    def say(self, dataset: xr.Dataset, scaling: Scaling) -> None:
        """Say of the record that was compared how many catchments are outside, and what of the first one."""
        outside = self.attributes.any(axis=1) | self.place
        if not outside.any():
            return
        first = int(outside.argmax())
        told = ", ".join(_told(dataset, scaling, name, first) for name in self.names(first))
        swapped = "; are latitude and longitude swapped?" if self._swapped(dataset, scaling).any() else ""
        remark(
            OUTSIDE,
            f"{outside.sum()} of {len(outside)} catchments are outside what the model was trained on, such as "
            f"{dataset['catchment'].values[first]} with {told}{swapped}; that counts as unknown, and answers are less "
            f"certain than they say ({OUTSIDE} in the answer)",
        )

    def _swapped(self, dataset: xr.Dataset, scaling: Scaling) -> Bool[np.ndarray, " C"]:
        """True where latitude and longitude lie outside, and would lie inside if they changed places."""
        if not set(PLACE) <= set(dataset.variables):
            return np.zeros(len(self.place), dtype=bool)
        latitude, longitude = (dataset[name].values for name in PLACE)
        inside = ~beyond(scaling, "latitude", longitude) & ~beyond(scaling, "longitude", latitude)
        return inside & self.attributes[:, NAMES.index("latitude")] & self.attributes[:, NAMES.index("longitude")]


def _told(dataset: xr.Dataset, scaling: Scaling, name: str, catchment: int) -> str:
    """An attribute of a catchment with its value and the trained range."""
    low, high = scaling.ranges.get(name, (np.nan, np.nan))
    trained = f" (trained on {low:.4g} … {high:.4g})" if name in scaling.ranges else ""
    return f"{name} {float(dataset[name].values[catchment]):.6g}{trained}"


def beyond(scaling: Scaling, name: str, values: Float[np.ndarray, " C"]) -> Bool[np.ndarray, " C"]:
    """True where a value of an attribute lies further than `MARGIN` outside its trained range; False where it is NaN."""
    if name not in scaling.ranges:
        return np.zeros(len(values), dtype=bool)
    low, high = scaling.scale(name, np.array(scaling.ranges[name], dtype=np.float64))
    scaled = scaling.scale(name, values.astype(np.float64))
    return (scaled < low - MARGIN) | (scaled > high + MARGIN)


def outside_training(dataset: xr.Dataset, domain: Domain, cut: Bool[np.ndarray, " C"]) -> xr.DataArray | None:
    """For each catchment the names of what lies outside, with `riverflow` where an answer was cut; None where nothing is."""
    names = [[*domain.names(index), *(["riverflow"] if cut[index] else [])] for index in range(len(cut))]
    if not any(names):
        return None
    said = "attributes outside the range that the model was trained on, and riverflow where the answer was cut"
    return xr.DataArray(
        np.array([", ".join(one) for one in names]),
        coords={"catchment": dataset["catchment"]},
        dims="catchment",
        name=OUTSIDE,
        attrs={"long_name": said},
    )


def joined(parts: Sequence[xr.DataArray]) -> xr.DataArray:
    """`outside_training` of several answers for the same catchments as one: every name that one of them has."""
    texts = [[str(text) for text in part.values] for part in parts]
    names = [
        dict.fromkeys(name for text in of_one if text for name in text.split(", "))
        for of_one in zip(*texts, strict=True)
    ]
    return parts[0].copy(data=np.array([", ".join(one) for one in names]))
