"""A map of Great Britain as inline SVG: the coast from the shipped land mask, one dot a catchment coloured by score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import as_file, files
from itertools import pairwise

import contourpy
import numpy as np
from jaxtyping import Float

from hydromae.report.chart import format_number

KILOMETRE = 1000.0
FRAME = (50.0, 665.0, -5.0, 1225.0)  # west, east, south, north [km] on the British National Grid

# Lower ends of the classes of NSE, from poor to good; the colours are `--score-0` … in the style sheet.
CLASSES = (-np.inf, 0.0, 0.3, 0.5, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class MapDots:
    """What a map shows: one entry a catchment.

    Attributes:
        name: Catchment numbers.
        easting, northing (arrays (C,)): Position [m], EPSG:27700.
        nse (array (C,)): Nash-Sutcliffe efficiency; NaN where the method gave no answer.
    """

    name: list[str]
    easting: Float[np.ndarray, " C"]
    northing: Float[np.ndarray, " C"]
    nse: Float[np.ndarray, " C"]


def score_class(nse: Float[np.ndarray, " C"]) -> list[int]:
    """The class of each NSE, 0 (below zero, or NaN) to 6 (0.9 and above)."""
    return [int(k) for k in np.searchsorted(CLASSES, np.nan_to_num(nse, nan=-np.inf), side="right") - 1]


@cache
def coast_path() -> str:
    """SVG path data of Great Britain [km, southward], where more than a third of a 5 km cell is land."""
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


def land_symbol() -> str:
    """The coast, once a page; every map refers to it."""
    return (
        '<svg class="shapes" aria-hidden="true" width="0" height="0"><defs>'
        f'<path id="land" d="{coast_path()}"/></defs></svg>'
    )


def catchment_map(dots: MapDots, label: str) -> str:
    """A map with one dot a catchment; poor scores are drawn last, so that none hides under a good one."""
    west, east, south, north = FRAME
    radius = 7.0 if len(dots.name) > 150 else 10.0
    classes = score_class(dots.nse)
    marks = []
    for k in np.argsort(-np.nan_to_num(dots.nse, nan=-np.inf), kind="stable"):
        nse = float(dots.nse[k])
        score_text, kind = (
            (f"NSE {format_number(nse)}", f"s{classes[k]}") if np.isfinite(nse) else ("no answer", "none")
        )
        marks.append(
            f'<circle class="{kind}" cx="{dots.easting[k] / KILOMETRE:.0f}" cy="{-dots.northing[k] / KILOMETRE:.0f}" '
            f'r="{radius:.0f}"><title>{escape(dots.name[k])}: {score_text}</title></circle>'
        )
    return (
        f'<svg class="britain" viewBox="{west:.0f} {-north:.0f} {east - west:.0f} {north - south:.0f}" role="img" '
        f'aria-label="{escape(label)}"><use href="#land"/>{"".join(marks)}</svg>'
    )


def map_legend() -> str:
    """What the colours of the dots mean."""
    ends = [*CLASSES[1:], 1.0]
    class_labels = ["below 0"] + [
        f"{format_number(low, 1)} to {format_number(high, 1)}" for low, high in pairwise(ends)
    ]
    items = "".join(f'<li><span class="dot s{k}"></span>{word}</li>' for k, word in enumerate(class_labels))
    return f'<ul class="legend" aria-label="Colours of NSE"><li>NSE</li>{items}</ul>'
