"""Ordinary kriging of hidden cells of a map from the visible cells of their patch and of the patches around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

RANGE = 6.0
"""Range of the exponential covariance, in widths of a patch: 300 km for patches of 50 km."""
NUGGET = 0.002
"""Variance of a cell that its neighbours do not share, as a part of the whole."""
SPACING, GROWTH = 0.2, 0.25
"""Smallest distance between used cells as a part of the width of a patch, and its growth with the distance from the patch."""
ROWS = 512
"""Patches that are computed at once."""


def offsets(reach: int) -> list[tuple[int, int]]:
    """A patch and those around it, as far as `reach` patches northward and eastward."""
    return [(row, column) for row in range(-reach, reach + 1) for column in range(-reach, reach + 1)]


@dataclass(frozen=True)
class Geometry:
    """The n cells that kriging uses, of a patch and its neighbours.

    Attributes:
        offset, cell (Int[n]): Index in `offsets`, and number of the cell in its patch.
        between (Float[n, n]), to_cells (Float[n, N]): Covariance with each other, and with the cells of the patch.
    """

    offset: Int[Tensor, " n"]
    cell: Int[Tensor, " n"]
    between: Float[Tensor, "n n"]
    to_cells: Float[Tensor, "n N"]


class PatchKriging:
    """Ordinary kriging with an exponential covariance (Cressie 1993, Statistics for Spatial Data, section 3.2).

    Far from a patch only some cells are used (`thinned_cells`): they have nearly the same value, and the nearest cells get
    most of the weight. Patches with the same visible cells around them have the same weights, which are computed once.

    Args:
        seen: Visible cells.
        around: Index of the patch at each of K `offsets`, −1 for none (`neighbour_patches`).
        wanted: Cells to be estimated; None means all that are not visible.

    Attributes:
        exists (Bool[B, T, P, N]): Cells with an estimate: not visible, with visible cells around them.
    """

    def __init__(
        self,
        seen: Bool[Tensor, "B T P N"],
        around: Int[Tensor, "B P K"],
        wanted: Bool[Tensor, "B T P N"] | None = None,
    ) -> None:
        geometry = _geometry(round(seen.shape[-1] ** 0.5), round(around.shape[-1] ** 0.5) // 2, seen.device)
        patch, self.cell = around[:, :, geometry.offset], geometry.cell
        wanted = ~seen if wanted is None else wanted & ~seen
        window, day, middle = wanted.any(dim=-1).nonzero(as_tuple=True)
        patch = patch[window, middle]
        known = seen[window[:, None], day[:, None], patch.clamp(min=0), self.cell] & (patch >= 0)
        kept = known.any(dim=-1)
        self.target, self.patch = tuple(part[kept] for part in (window, day, middle)), patch[kept].clamp(min=0)
        patterns, self.pattern = torch.unique(known[kept], dim=0, return_inverse=True)
        self.weights = torch.cat([_weights(part, geometry) for part in patterns.split(ROWS)])
        is_near = torch.zeros_like(seen)
        is_near[self.target] = True
        self.exists = is_near & wanted

    def __call__(self, field: Float[Tensor, "B T P N"]) -> Float[Tensor, "B T P N"]:
        """Estimates where they exist, 0 elsewhere; `field` is arbitrary where it is not visible."""
        estimate = torch.zeros_like(field)
        window, day, middle = self.target
        for rows in torch.arange(len(window), device=field.device).split(ROWS):
            used = field[window[rows, None], day[rows, None], self.patch[rows], self.cell]
            estimate[window[rows], day[rows], middle[rows]] = torch.einsum(
                "mn, mnc -> mc", used, self.weights[self.pattern[rows]]
            )
        return torch.where(self.exists, estimate, 0.0)


def _weights(known: Bool[Tensor, "M n"], geometry: Geometry) -> Float[Tensor, "M n N"]:
    """Weights of the used cells for each cell of a patch; a cell that is not known has its own equation and weight 0."""
    weight = known.to(geometry.between.dtype)
    system = geometry.between * weight[:, :, None] * weight[:, None] + torch.diag_embed(1.0 + NUGGET - weight)
    sides = torch.cat([geometry.to_cells.expand(len(known), -1, -1), torch.ones_like(weight)[..., None]], dim=-1)
    solved = torch.cholesky_solve(sides * weight[..., None], torch.linalg.cholesky(system))
    simple, of_ones = solved[..., :-1], solved[..., -1:]
    return simple + of_ones / of_ones.sum(dim=1, keepdim=True) * (1.0 - simple.sum(dim=1, keepdim=True))


@cache
def _geometry(side: int, reach: int, device: torch.device) -> Geometry:
    used, places = np.flatnonzero(thinned_cells(side, reach)), _places(side, reach)
    place = places.reshape(-1, 2)[used]
    covariances = [_covariance(place, others, side) for others in (place, places[len(places) // 2])]
    arrays = (*np.divmod(used, side**2), *covariances)
    return Geometry(*(torch.from_numpy(array).to(device) for array in arrays))


def thinned_cells(side: int, reach: int) -> Bool[np.ndarray, "K N"]:
    """Cells of a patch and its neighbours that kriging uses: the farther from the patch, the farther from each other."""
    places = _places(side, reach).reshape(-1, 2)
    gap = np.maximum(np.abs(places - (side - 1) / 2).max(axis=-1) - (side - 1) / 2, 0.0)
    used: list[int] = []
    for index in np.argsort(gap, kind="stable"):
        same = [other for other in used if (gap[other] == 0) == (gap[index] == 0)]
        apart = np.linalg.norm(places[same] - places[index], axis=-1)
        if not same or apart.min() >= SPACING * side + GROWTH * gap[index]:
            used.append(int(index))
    chosen = np.zeros(len(places), dtype=bool)
    chosen[used] = True
    return chosen.reshape(-1, side**2)


def neighbour_patches(position: Float[Tensor, "B P 2"], reach: int) -> tuple[Int[Tensor, "B P K"], Float[Tensor, " B"]]:
    """Index of the patch at each of `offsets` around each patch (−1: none), and the width of the patches of a window [km].

    The width is the smallest distance between two patches; 0 with a single patch.
    """
    step = position[:, None] - position[:, :, None]
    distance = step.abs().amax(dim=-1)
    smallest = torch.where(distance > 0, distance, torch.inf).flatten(1).amin(dim=1)
    width = torch.where(smallest.isfinite(), smallest, 0.0)
    steps = (step / smallest[:, None, None, None]).round().long()
    found = []
    for row, column in offsets(reach):
        is_there = (steps[..., 0] == column) & (steps[..., 1] == row)
        found.append(torch.where(is_there.any(dim=-1), is_there.to(torch.int8).argmax(dim=-1), -1))
    return torch.stack(found, dim=-1), width


def _places(side: int, reach: int) -> Float[np.ndarray, "K N 2"]:
    """Row and column of the cells of a patch and its neighbours; (0, 0) is the first cell of the patch."""
    cells = np.stack(np.divmod(np.arange(side**2), side), axis=-1)
    return cells + side * np.array(offsets(reach), dtype=np.float64)[:, None]


def _covariance(places: Float[np.ndarray, "n 2"], others: Float[np.ndarray, "N 2"], side: int) -> np.ndarray:
    distance = np.linalg.norm(places[:, None] - others, axis=-1)
    return np.exp(-distance / (RANGE * side)).astype(np.float32)
