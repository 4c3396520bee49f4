"""A map of Great Britain as inline SVG: the coast from the land mask, and a dot for each catchment, coloured by NSE."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from itertools import pairwise

import contourpy
import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from hydromae.report.text import format_number, render

KILOMETRE = 1000.0
FRAME = (50.0, 665.0, -5.0, 1225.0)  # west, east, south, north [km] on the British National Grid

# Lower ends of the classes of NSE in ascending order; the colours are `--score-0` … in the style sheet.
CLASSES = (-np.inf, 0.0, 0.3, 0.5, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class MapDots:
    """Catchments of a map.

    Attributes:
        name: Names.
        easting, northing (arrays (C,)): Positions [m], EPSG:27700.
        nse (array (C,)): Nash–Sutcliffe efficiency; NaN without a score.
    """

    name: list[str]
    easting: Float[np.ndarray, " C"]
    northing: Float[np.ndarray, " C"]
    nse: Float[np.ndarray, " C"]


def score_class(nse: Float[np.ndarray, " C"]) -> list[int]:
    """The class of each NSE, 0 (negative, or NaN) to 6 (0.9 and above)."""
    return [int(index) for index in np.searchsorted(CLASSES, np.nan_to_num(nse, nan=-np.inf), side="right") - 1]


@cache
def coast_path() -> str:
    """SVG path of Great Britain [km, southward]: outline of the 5 km cells with more than a third of land."""
    with (
        as_file(files("hydromae") / "assets" / "gb_land_percent.npz") as file,
        np.load(file, allow_pickle=False) as mask,
    ):
        percent, easting, northing = (mask[name].astype(float) for name in ("land_percent", "easting", "northing"))
    outlines = contourpy.contour_generator(easting / KILOMETRE, northing / KILOMETRE, percent).lines(33.0)
    shapes = [
        "M" + "L".join(f"{east:.1f} {-north:.1f}" for east, north in np.asarray(outline)) + "Z"
        for outline in outlines
        if len(outline) > 4
    ]
    return "".join(shapes)


def catchment_map(dots: MapDots, label: str) -> Markup:
    """A map with a dot for each catchment; low scores are drawn last, above the others."""
    west, east, south, north = FRAME
    circles, classes = [], score_class(dots.nse)
    for index in np.argsort(-np.nan_to_num(dots.nse, nan=-np.inf), kind="stable"):
        nse = float(dots.nse[index])
        score = f"NSE {format_number(nse)}" if np.isfinite(nse) else "no score"
        circles.append(
            {
                "kind": f"s{classes[index]}" if np.isfinite(nse) else "none",
                "x": f"{dots.easting[index] / KILOMETRE:.0f}",
                "y": f"{-dots.northing[index] / KILOMETRE:.0f}",
                "title": f"{dots.name[index]}: {score}",
            }
        )
    frame = f"{west:.0f} {-north:.0f} {east - west:.0f} {north - south:.0f}"
    return render("map.html", dots=circles, radius=7 if len(dots.name) > 150 else 10, frame=frame, label=label)


def map_legend() -> Markup:
    """The classes of NSE and their colours."""
    ends = [*CLASSES[1:], 1.0]
    ranges = [f"{format_number(low, 1)} to {format_number(high, 1)}" for low, high in pairwise(ends)]
    return render("legend.html", classes=["below 0", *ranges])
