"""Small models and random batches for the tests of masks, losses and the model."""

from __future__ import annotations

from dataclasses import replace

import torch

from hydromae.batching.antecedent import antecedent_width
from hydromae.batching.batch import Batch, CellWeights, SiteMetadata
from hydromae.config import Config
from hydromae.config.presets import PRESETS
from hydromae.model.mae import HydroMAE
from hydromae.variables import ATTRIBUTES, MODALITIES

NATIONAL = ("precipitation", "soil_moisture", "temperature", "evaporation", "riverflow")
CATCHMENTS = ("weather", "riverflow")
ALL = (*CATCHMENTS, *NATIONAL[:-1])
NAMES = {"tiny": CATCHMENTS, "base": NATIONAL, "fast": NATIONAL, "rivers": CATCHMENTS, "national": ALL}
"""Modalities of each preset."""
GROUP = 3
"""Catchments in a token of the shrunk national presets."""
PIXELS = 4
"""Cells in a patch of the shrunk national presets."""

WIDTHS = {"d_model": 16, "decoder_dim": 8, "heads": 2}
SHRUNK: dict[str, dict[str, dict[str, object]]] = {
    "base": {
        "model": {**WIDTHS, "map_layers": 2, "series_layers": 1, "fusion_layers": 1, "decoder_layers": 2},
        "data": {"vector_patch_size": GROUP},
    },
    "rivers": {
        "model": {
            **WIDTHS,
            "decoder_dim": 16,
            "neighbours": 3,
            "recurrent_width": 9,
            "lstm_width": 7,
            "lstm_ar_width": 6,
        },
        "data": {"warm_up_days": 1},
    },
}
SHRUNK |= {"fast": SHRUNK["base"], "tiny": SHRUNK["rivers"]}
SHRUNK["national"] = {**SHRUNK["rivers"], "model": {**SHRUNK["rivers"]["model"], "neighbours": 12}}


def small(preset: str, **model: object) -> Config:
    """A preset with all its switches, shrunk in width and depth; `model` replaces fields of its model."""
    return PRESETS[preset].having(**SHRUNK[preset]).having(model=model)


def built(config: Config, seed: int = 0, noise: float = 0.2) -> HydroMAE:
    """A model in evaluation mode; `noise` moves every weight, so that nothing stays at the identity it starts from."""
    torch.manual_seed(seed)
    model = HydroMAE(config, pixels=PIXELS).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * noise)
    return model


def sample(
    preset: str,
    *,
    size: int = 2,
    days: int = 5,
    sites: int = 4,
    patches: int = 3,
    seed: int = 0,
    observed: float = 0.8,
) -> Batch:
    """Random values of a preset's modalities; the last group of several catchments ends in a padding slot."""
    draw = torch.Generator().manual_seed(seed)
    names = NAMES[preset]
    slots = GROUP if names is NATIONAL else 1
    values, seen, variance = {}, {}, {}
    for name in names:
        series = MODALITIES[name].kind == "series"
        count, channels = (sites, slots * len(MODALITIES[name].variables)) if series else (patches, PIXELS)
        values[name] = torch.randn(size, days, count, channels, generator=draw)
        seen[name] = torch.rand(size, days, count, channels, generator=draw) < observed
        variance[name] = 0.5 + torch.rand(size, count, channels, generator=draw)
        if series and slots > 1:
            seen[name][:, :, -1, -1] = False
    metadata = {"series": _places(size, sites, slots, draw)}
    cells = None
    if "precipitation" in names:
        metadata["map"] = replace(
            _places(size, patches, 1, draw), is_known=torch.zeros(size, patches, 1, len(ATTRIBUTES)).bool()
        )
        cells = _cells(sites * slots - 1, patches, draw) if names is NATIONAL else None
    start = torch.randint(10_000, 20_000, (size, 1), generator=draw)
    before = None if names is NATIONAL else torch.randn(size, sites, antecedent_width(3), generator=draw)
    return Batch(values, seen, variance, start + torch.arange(days), metadata, cells, before)


def _places(size: int, sites: int, slots: int, draw: torch.Generator) -> SiteMetadata:
    position = torch.rand(size, sites, slots, 2, generator=draw) * 300
    present = torch.ones(size, sites, slots, dtype=torch.bool)
    known = torch.rand(size, sites, slots, len(ATTRIBUTES), generator=draw) < 0.8
    if slots > 1:
        present[:, -1, -1], known[:, -1, -1], position[:, -1, -1] = False, False, 0.0
    traits = torch.where(known, torch.randn(known.shape, generator=draw), 0.0)
    return SiteMetadata(position, present, traits, known)


def _cells(slots: int, patches: int, draw: torch.Generator) -> CellWeights:
    """Three cells above every catchment."""
    slot = torch.arange(slots).repeat_interleave(3)
    patch = torch.randint(patches, slot.shape, generator=draw)
    pixel = torch.randint(PIXELS, slot.shape, generator=draw)
    return CellWeights(slot, patch, pixel, torch.full(slot.shape, 1 / 3))


def no_tokens(batch: Batch) -> dict[str, torch.Tensor]:
    """Bool[B, T, S] per modality, all False; on a copy one says what is hidden or wanted."""
    return {name: torch.zeros(value.shape[:3], dtype=torch.bool) for name, value in batch.values.items()}


def all_tokens(batch: Batch) -> dict[str, torch.Tensor]:
    """Bool[B, T, S] per modality, all True."""
    return {name: ~none for name, none in no_tokens(batch).items()}


def some_tokens(batch: Batch, ratio: float = 0.4, seed: int = 0) -> dict[str, torch.Tensor]:
    """Bool[B, T, S] per modality, a random share of them True."""
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.rand(none.shape, generator=draw) < ratio for name, none in no_tokens(batch).items()}
