"""Windows: a record in memory, cut into windows, deterministically and at random access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped

from hydromae.batching.antecedent import antecedent
from hydromae.batching.batch import Batch, Natural, Places, applied
from hydromae.batching.record_arrays import Record
from hydromae.config import Config, DataConfig
from hydromae.errors import InputError
from hydromae.variables import ATTRIBUTES, MODALITIES

KEPT_TRAITS = ("latitude", "longitude", "catchment-area")
"""Traits that stay when `trait_dropout` takes the others: what is known of any place."""
KM_PER_DEGREE = 111.2


def batch_of(
    record: Record,
    starts: Int[np.ndarray, " B"],
    length: int,
    sites: Int[np.ndarray, "B S"] | None = None,
    look_back: Sequence[int] | None = None,
) -> Batch:
    """Windows of `length` days from day indices `starts`; of series, the given sites only (all where None).

    A window may reach beyond the record: days that are not there are unobserved. The weather of the `look_back` days before
    each window comes summed up.
    """
    values, observed, variance = {}, {}, {}
    for name, held in record.values.items():
        narrow = sites if record.kind(name) == "series" else None
        cut = torch.from_numpy(_cut(held, starts, length, narrow)).float()
        observed[name] = torch.from_numpy(np.isfinite(cut.numpy()))
        values[name] = cut.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        spread = torch.from_numpy(record.variance[name])
        variance[name] = (
            spread.expand(len(starts), *spread.shape) if narrow is None else spread[torch.from_numpy(narrow)]
        )
    places = {
        kind: _places(site, len(starts), sites if kind == "series" else None) for kind, site in record.places.items()
    }
    days = int(record.days[0]) + starts[:, None] + np.arange(length)
    before = None if look_back is None else _before(record, starts, look_back, sites)
    flow = None if record.flow is None else _of_sites(record.flow, len(starts), sites)
    return Batch(values, observed, variance, torch.from_numpy(days), places, record.cells, before, flow=flow)


def _before(
    record: Record, starts: Int[np.ndarray, " B"], look_back: Sequence[int], sites: Int[np.ndarray, "B S"] | None
) -> torch.Tensor:
    weather = record.values["weather"]
    parts = [
        antecedent(weather, int(start), days, None if sites is None else sites[window])
        for window, (start, days) in enumerate(zip(starts, look_back, strict=True))
    ]
    return torch.from_numpy(np.stack(parts))


def _cut(
    held: Shaped[np.ndarray, "D S F"],
    starts: Int[np.ndarray, " B"],
    length: int,
    sites: Int[np.ndarray, "B K"] | None,
) -> Shaped[np.ndarray, "B T K F"]:
    """Copies of consecutive days, NaN where there are none; of some sites only, where they are named."""
    width = held.shape[1] if sites is None else sites.shape[1]
    cut = np.empty((len(starts), length, width, held.shape[2]), dtype=held.dtype)
    for window, start in enumerate(starts.tolist()):
        first, last = min(max(start, 0), len(held)), max(min(start + length, len(held)), 0)
        inside = slice(first - start, max(last, first) - start)
        if sites is None:
            cut[window, inside] = held[first:last]
        else:
            held[first:last].take(sites[window], axis=1, out=cut[window, inside], mode="clip")
        cut[window, : inside.start] = np.nan
        cut[window, inside.stop :] = np.nan
    return cut


def _of_sites(whole: Natural, size: int, sites: Int[np.ndarray, "B S"] | None) -> Natural:
    spread = whole.variance if sites is None else whole.variance[0][torch.from_numpy(sites)]
    return Natural(whole.mean.expand(size), whole.std.expand(size), spread.expand(size, *spread.shape[1:]))


def _places(whole: Places, size: int, sites: Int[np.ndarray, "B S"] | None) -> Places:
    if sites is None:
        return applied(whole, lambda part: part.expand(size, *part.shape[1:]))
    index = torch.from_numpy(sites)
    return applied(whole, lambda part: part[0][index])


@dataclass(frozen=True)
class Windows:
    """Training or validation windows of a record, numbered from 0 through all epochs.

    A window depends on the seed and its number alone: not on how many are asked for at once, by whom, or what was asked
    for before. So batches may be cut, added up and shared between processes in any way.

    Attributes:
        first, last: Day indices of the period.
        near (Int[S, M] or None): For each series site the nearest ones, itself first; None where every window holds all
            sites.
        epoch: Windows in an epoch.
        augment: Whether traits, positions and variables drop out and shift.
        stand_in (Int[S] or None): For each series site which memory was taught without it (`model.stand_ins`), where there
            are any.
    """

    record: Record
    config: DataConfig
    first: int
    last: int
    near: Int[np.ndarray, "S M"] | None
    seed: int
    epoch: int
    augment: bool
    stand_in: Int[np.ndarray, " S"] | None = None

    def __call__(self, numbers: range) -> Batch:
        """The windows of these numbers, in one batch."""
        generators = [np.random.default_rng([self.seed, 1, number]) for number in numbers]
        chosen = np.array([self._start(number) for number in numbers])
        sites = None
        if self.near is not None:
            shift = np.array([generator.integers(0, self.config.stride) for generator in generators])
            chosen = np.minimum(chosen + shift, self.last - self.config.sequence_length + 1)
            sites = np.stack([self._neighbourhood(generator) for generator in generators])
        look_back = [self._look_back(generator) for generator in generators] if self.config.look_back_days else None
        batch = batch_of(self.record, chosen, self.config.sequence_length, sites, look_back)
        if self.stand_in is not None:
            named = self.stand_in[sites] if sites is not None else np.tile(self.stand_in, (len(chosen), 1))
            batch = replace(batch, stand_in=torch.from_numpy(named))
        if not self.augment:
            return batch
        batch = augmented(batch, self.config, self.record.degrees, generators)
        if not self.config.longest_gap:
            return batch
        shape = (self.config.sequence_length, batch.places["series"].present.shape[1])
        drawn = [gaps_of(shape, self.config.longest_gap, generator) for generator in generators]
        return replace(batch, gaps=torch.from_numpy(np.stack(drawn)))

    def _start(self, number: int) -> int:
        """First day of a window: every epoch goes through all starts in an order of its own, and again where it is longer."""
        epoch, place = divmod(number, self.epoch)
        starts = range(self.first, self.last - self.config.sequence_length + 2, self.config.stride)
        return starts[int(_order(self.seed, epoch, len(starts))[place % len(starts)])]

    def _look_back(self, generator: np.random.Generator) -> int:
        """Days summed up before a window: all, or where windows are augmented, in half of them fewer."""
        days = self.config.look_back_days
        return int(generator.integers(0, days)) if self.augment and generator.random() < 0.5 else days

    def _neighbourhood(self, generator: np.random.Generator) -> Int[np.ndarray, " S"]:
        """A centre and, of its nearest sites, a random choice."""
        assert self.near is not None and self.config.sites is not None
        centre = generator.integers(0, len(self.near))
        others = generator.permutation(self.near[centre, 1:])[: self.config.sites - 1]
        return np.concatenate([[centre], others])


@lru_cache(maxsize=8)  # of the epochs that are under way; a worker asks for one after another
def _order(seed: int, epoch: int, starts: int) -> Int[np.ndarray, " N"]:
    """The order in which an epoch goes through all starts."""
    return np.random.default_rng([seed, 0, epoch]).permutation(starts)


def windows(
    record: Record, config: Config, period: tuple[str, str], *, seed: int, augment: bool, update: int | None
) -> Windows:
    """Windows of a period; the record holds no catchment but those that may be seen (`record.without`).

    An epoch is one pass over the starts of the period, or `train.steps_per_epoch` updates of `update` windows where that is
    given.

    Raises:
        InputError: If the record does not hold one window of the period.
    """
    first, last = record.span(period)
    length = config.data.sequence_length
    if last - first + 1 < length:
        raise InputError(
            f"period {period[0]}..{period[1]}: the record has {max(0, last - first + 1)} of its days, "
            f"fewer than sequence_length {length}; choose a longer period or shorter windows"
        )
    near = None
    if config.data.sites is not None:
        position = record.places["series"].position[0, :, 0].numpy()
        distance = ((position[:, None] - position[None]) ** 2).sum(axis=-1)
        np.fill_diagonal(distance, -1.0)  # itself first, also where another gauge stands at the same place
        count = min(len(position), config.data.sites + config.data.sites // 2)
        near = distance.argsort(axis=1, kind="stable")[:, :count]
    starts = len(range(first, last - length + 2, config.data.stride))
    epoch = (config.train.steps_per_epoch or 0) * (update or 0) or starts
    return Windows(record, config.data, first, last, near, seed, epoch, augment)


def augmented(
    batch: Batch, config: DataConfig, degrees: tuple[float, float], generators: Sequence[np.random.Generator]
) -> Batch:
    """Take traits and variables away and shift positions, as far as the configuration says.

    Every window draws from a generator of its own. `degrees` are the standard deviations of latitude and longitude in the
    store's scaling [degrees].
    """
    if not (config.trait_dropout or config.position_jitter or config.variable_dropout):
        return batch
    places = batch.places["series"]
    kept = [kept_traits(places.known.shape[1:], config.trait_dropout, generator) for generator in generators]
    known = places.known & torch.from_numpy(np.stack(kept))
    drawn = [generator.uniform(-1, 1, places.position.shape[1:]) for generator in generators]
    shift = np.stack(drawn).astype(np.float32) * config.position_jitter
    traits = places.traits.clone()
    traits[..., 0] += torch.from_numpy(shift[..., 1] / KM_PER_DEGREE / degrees[0]).to(traits.dtype)
    traits[..., 1] += torch.from_numpy(shift[..., 0] / (KM_PER_DEGREE * 0.6) / degrees[1]).to(traits.dtype)
    moved = replace(places, position=places.position + torch.from_numpy(shift), traits=traits, known=known)
    observed = {
        name: _without_variable(seen, len(MODALITIES[name].variables), config.variable_dropout, generators)
        for name, seen in batch.observed.items()
    }
    return replace(batch, observed=observed, places=batch.places | {"series": moved})


def gaps_of(shape: tuple[int, int], longest: int, generator: np.random.Generator) -> Bool[np.ndarray, "T S"]:
    """Views and gaps of a window's sites in turn: of up to twice the `longest` gap, and up to it, drawn for each site."""
    days, sites = shape
    view, gap = (generator.integers(1, most + 1, sites) for most in (2 * longest, longest))
    phase = generator.integers(0, 3 * longest, sites)
    return (np.arange(days)[:, None] + phase) % (view + gap) >= view


def kept_traits(shape: tuple[int, ...], dropout: float, generator: np.random.Generator) -> Bool[np.ndarray, "S V A"]:
    """Which traits stay: of a share of the catchments `KEPT_TRAITS` alone; of the others single ones go, half as often."""
    everywhere = np.array([attribute.name in KEPT_TRAITS for attribute in ATTRIBUTES])
    bare = generator.random((*shape[:2], 1)) < dropout
    single = generator.random(tuple(shape)) < dropout / 2
    return everywhere | ~(bare | single)


def _without_variable(
    seen: torch.Tensor, variables: int, dropout: float, generators: Sequence[np.random.Generator]
) -> torch.Tensor:
    drawn = np.array([generator.random() for generator in generators])
    lost = np.array([generator.integers(0, variables) for generator in generators])
    if not dropout or variables == 1:
        return seen
    gone = (drawn < dropout)[:, None] & (np.arange(seen.shape[-1]) % variables == lost[:, None])
    return seen & ~torch.from_numpy(gone)[:, None, None, :]
