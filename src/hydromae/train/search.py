"""Search space of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hydromae.config import Config
from hydromae.config.effects import idle_fields
from hydromae.errors import InputError

Auto = Literal["auto", "fixed"]
MIN_HEAD_WIDTH = 8
"""Smallest width of a head in the range of `auto`."""


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search: a range (or choices), auto (a range around the value of the configuration, if the setting has an
    effect) or fixed."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    lr: tuple[float, float] | Auto = "auto"
    """Highest learning rate, drawn log-uniformly; auto: a tenth to ten times."""
    map_ratio: tuple[float, float] | Auto = "auto"
    """Share of land patches hidden in training; auto: 0.2 to 0.8, where masks hide shares of maps."""
    series_ratio: tuple[float, float] | Auto = "auto"
    """Share of series tokens hidden in training; auto: 0.2 to 0.8, where masks hide shares of series."""
    task_weights: tuple[float, float] | Auto = "auto"
    """Factor on the loss weight of each modality but the last, drawn log-uniformly; auto: 0.1 to 10."""
    map_layers: tuple[int, int] | Auto = "auto"
    """Blocks of each map encoder; auto: half to one and a half times as many."""
    series_layers: tuple[int, int] | Auto = "auto"
    """Blocks of each series encoder; auto: half to one and a half times as many."""
    fusion_layers: tuple[int, int] | Auto = "auto"
    """Blocks over all modalities; auto: half to one and a half times as many, where there are any."""
    decoder_layers: tuple[int, int] | Auto = "auto"
    """Blocks of each decoder; auto: half to one and a half times as many, where there are any."""
    heads: tuple[int, ...] | Auto = "auto"
    """Attention heads, a list; auto: powers of two up to twice as many that divide the widths."""


@dataclass(frozen=True)
class SearchRange:
    """Range or choices of a setting."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    is_integer: bool = False
    choices: tuple[int, ...] = ()


SearchSpace = dict[str, SearchRange]
DEPTHS = ("map_layers", "series_layers", "fusion_layers", "decoder_layers")


def search_space(search: SearchSettings, base: Config) -> SearchSpace:
    """The given ranges, and those of `auto` for settings with an effect.

    Raises:
        InputError: A range is empty, impossible, or given for a setting without effect in this configuration.
    """
    has_effect, auto_ranges = _has_effect(base), _auto_ranges(base)
    space: SearchSpace = {}
    for name, setting in vars(search).items():
        if setting == "fixed" or (setting == "auto" and not has_effect[name]):
            continue
        if setting != "auto" and not has_effect[name]:
            raise InputError(f"search.{name}: changes nothing in this configuration; leave it out")
        values = auto_ranges[name] if setting == "auto" else setting
        space |= _checked_range(name, values, base)
    return space


SEARCHED_FIELDS = {
    "map_ratio": "masks.map_ratio",
    "series_ratio": "masks.series_ratio",
    "map_layers": "model.map_layers",
    "series_layers": "model.series_layers",
    "heads": "model.heads",
}
"""Fields of the settings that may have no effect (`effects.FIELD_RULES`)."""


def _has_effect(base: Config) -> dict[str, bool]:
    """Whether each setting has an effect; that of fusion and decoder layers requires at least one layer."""
    unused_fields = idle_fields(base)
    return {
        "lr": True,
        "task_weights": len(base.model.modalities) > 1,
        "fusion_layers": base.model.fusion_layers > 0,
        "decoder_layers": base.model.decoder_layers > 0,
        **{name: field not in unused_fields for name, field in SEARCHED_FIELDS.items()},
    }


def _auto_ranges(base: Config) -> dict[str, tuple[float, ...]]:
    model, lr = base.model, base.optimizer.lr
    powers = [2**power for power in range(int(math.log2(2 * model.heads)) + 1)]
    narrowest = min(model.d_model, model.decoder_dim)
    valid_heads = [
        h for h in powers if not (model.d_model % h or model.decoder_dim % h) and narrowest // h >= MIN_HEAD_WIDTH
    ]
    depths = {name: getattr(model, name) for name in DEPTHS}
    return {
        "lr": (max(lr / 10, base.optimizer.min_lr), lr * 10),
        "map_ratio": (0.2, 0.8),
        "series_ratio": (0.2, 0.8),
        "task_weights": (0.1, 10.0),
        "heads": tuple(valid_heads) or (model.heads,),
        **{name: (max(1, depth // 2), max(2, (3 * depth + 1) // 2)) for name, depth in depths.items()},
    }


def _checked_range(name: str, values: tuple[float, ...], base: Config) -> SearchSpace:
    if name == "heads":
        choices = tuple(sorted({int(value) for value in values}))
        refused_choices = [h for h in choices if h < 1 or base.model.d_model % h or base.model.decoder_dim % h]
        if not choices or refused_choices:
            widths = f"{base.model.d_model} and {base.model.decoder_dim}"
            raise InputError(
                f"search.{name} {refused_choices[0] if refused_choices else ''}: heads must divide the "
                f"widths {widths}; choose others"
            )
        return {name: SearchRange(choices=choices)}
    low, high = values
    upper_limit = 1.0 if name.endswith("_ratio") else math.inf
    lower_limit = 1.0 if name in DEPTHS else 0.0
    if not (lower_limit <= low <= high < upper_limit) or (low == 0.0):
        raise InputError(
            f"search.{name} {low:g} {high:g}: no range; the lower end first, both above 0 and ratios below 1"
        )
    if name == "lr" and low < base.optimizer.min_lr:
        raise InputError(
            f"search.lr {low:g} {high:g}: begins below optimizer.min_lr {base.optimizer.min_lr:g}; begin above it"
        )
    if name == "task_weights":
        return {f"weight/{m}": SearchRange(low, high, log=True) for m in base.model.modalities[:-1]}
    return {name: SearchRange(low, high, log=name == "lr", is_integer=name in DEPTHS)}


def drawn_config(base: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with drawn values.

    Raises:
        InputError: The combination is contradictory (`config.check`).
    """
    weights = base.train.weights
    drawn = {name.removeprefix("weight/"): factor for name, factor in values.items() if name.startswith("weight/")}
    scaled = weights | {name: weights[name] * factor for name, factor in drawn.items()}

    def drawn_values(*names: str) -> dict[str, Any]:
        return {name: values[name] for name in names if name in values}

    return base.having(
        model=drawn_values(*DEPTHS, "heads"),
        masks=drawn_values("map_ratio", "series_ratio"),
        optimizer=drawn_values("lr"),
        train={"task_weights": tuple(scaled.items())} if drawn else {},
    )
