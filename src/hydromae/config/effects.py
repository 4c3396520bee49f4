"""Which fields of a configuration have an effect, and which may change when a run is resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from hydromae.config.schema import TASK_WEIGHTS, Sections
from hydromae.errors import InputError
from hydromae.variables import MODALITIES

OnResume = Literal["same", "free", "longer", "auto"]
"""Allowed changes in a resumed run: none; any, because the result is the same; a longer run; `auto`, which then means the
value of the first start."""


@dataclass(frozen=True)
class Requirement:
    """Condition for the effect of a field, and the message if it is not met."""

    reason: str
    is_met: Callable[[Sections], bool]


@dataclass(frozen=True)
class FieldRule:
    """Rules for a field of the configuration.

    Attributes:
        requirement: None if the field has an effect in every configuration.
        on_resume: Allowed changes in a resumed run.
        is_kept: Whether a value without effect is kept for configurations derived from this one.
    """

    requirement: Requirement | None = None
    on_resume: OnResume = "same"
    is_kept: bool = False


def _kinds(config: Sections) -> set[str]:
    return {MODALITIES[name].kind for name in config.model.modalities}


def _draws_any(*masks: str) -> Callable[[Sections], bool]:
    return lambda config: bool(config.masks.drawn & set(masks))


def _draws_ratio_of(kind: str) -> Callable[[Sections], bool]:
    return lambda config: bool(config.masks.drawn & {"random", "unified", "tube"}) and kind in _kinds(config)


def _mixable_layers(config: Sections) -> int:
    model, kinds = config.model, _kinds(config)
    depth = max(("map" in kinds) * model.map_layers, ("series" in kinds) * model.series_layers)
    return model.use_input + depth + model.fusion_layers


def _uses_nearest(config: Sections) -> bool:
    """Whether the model uses the nearest sites, or unpacked tokens because of them."""
    model = config.model
    keeps_grid = "recurrent" not in model.mixers and model.decoder_layers > 0
    return model.estimators or keeps_grid or ("space" in model.mixers and model.blocks > 0)


ANY = FieldRule()
FREE = FieldRule(on_resume="free")
SERIES = Requirement("model.streams has no series modality", lambda c: "series" in _kinds(c))
MAPS = Requirement("model.streams has no map modality", lambda c: "map" in _kinds(c))
BOTH = Requirement("model.streams has not both maps and series", lambda c: _kinds(c) == {"map", "series"})
DISTRIBUTIONS = Requirement(
    "model.streams has no series modality, and model.map_distributions is off",
    lambda c: "series" in _kinds(c) or c.model.map_distributions,
)
FUSED_MAPS = Requirement(
    "model.streams has not both maps and series, or model.fusion_layers is 0",
    lambda c: _kinds(c) == {"map", "series"} and c.model.fusion_layers > 0,
)
STATIC = Requirement(
    "maps with joint mixing have none", lambda c: "series" in _kinds(c) or c.model.mixers != ("joint",)
)
SEVERAL = Requirement(
    "no modality of model.streams has several variables",
    lambda c: any(len(MODALITIES[name].variables) > 1 for name in c.model.modalities),
)
FLOW = Requirement("model.streams has no riverflow", lambda c: "riverflow" in c.model.modalities)
BLOCKS = Requirement("the model has no blocks", lambda c: c.model.blocks + c.model.decoder_layers > 0)
HEADS = Requirement("the model has no attention", lambda c: c.model.has_attention)
TURNS = Requirement("model.mixers names a single one", lambda c: len(c.model.mixers) > 1 and c.model.blocks > 0)
RECURRENT = Requirement("model.mixers has no recurrent", lambda c: "recurrent" in c.model.mixers and c.model.blocks > 0)
NEAREST = Requirement("no part of the model uses the nearest sites", _uses_nearest)
RUNOFF = Requirement("model.lstm_width is 0", lambda c: c.model.lstm_width > 0)
DECODER = Requirement("model.decoder_layers is 0", lambda c: c.model.decoder_layers > 0)
LAYERS = Requirement("there is a single layer to mix", lambda c: _mixable_layers(c) > 1)
MIX = Requirement("model.use_weighted_fm is off", lambda c: c.model.use_weighted_fm)
COMPARED = Requirement("train.batch_size is 1, and windows are compared", lambda c: c.train.batch_size > 1)
CONTRAST = Requirement("model.contrastive_weight is 0", lambda c: c.model.contrastive_weight > 0)
MAP_RATIO = Requirement("no mask that is drawn hides a share of maps", _draws_ratio_of("map"))
SERIES_RATIO = Requirement("no mask that is drawn hides a share of series", _draws_ratio_of("series"))
SINGLE = Requirement(
    "no mask that is drawn hides single modalities", _draws_any("gap", "forecast", "ungauged", "simulate")
)
GAPS = Requirement("neither gap nor outage is drawn", _draws_any("gap", "outage"))
LEADS = Requirement("neither forecast nor forecast-blind is drawn", _draws_any("forecast", "forecast-blind"))
MIXTURE = Requirement("masks.kind is not mixture", lambda c: c.masks.kind == "mixture")
SCALED = Requirement("train.precision is not fp16", lambda c: c.train.precision == "fp16")
WANDB = Requirement("train.tracker is not wandb", lambda c: c.train.tracker in ("wandb", "auto"))

FIELD_RULES: dict[str, FieldRule] = {
    "data.training_period": ANY,
    "data.validation_period": ANY,
    "data.sequence_length": ANY,
    "data.stride": ANY,
    "data.catchments_per_window": ANY,
    "data.patches_per_window": FieldRule(MAPS),
    "data.vector_patch_size": FieldRule(SERIES),
    "data.held_out": ANY,
    "data.warm_up_days": ANY,
    "data.attribute_dropout": FieldRule(SERIES),
    "data.position_jitter": FieldRule(SERIES),
    "data.cache_images": FREE,
    "data.variable_dropout": FieldRule(SEVERAL),
    "data.antecedent_days": ANY,
    "data.max_flow_gap": ANY,
    "model.streams": ANY,
    "model.d_model": ANY,
    "model.heads": FieldRule(HEADS),
    "model.mixers": ANY,
    "model.alternate_mixers": FieldRule(TURNS),
    "model.map_layers": FieldRule(MAPS),
    "model.series_layers": FieldRule(SERIES),
    "model.fusion_layers": ANY,
    "model.fusion_gates": FieldRule(FUSED_MAPS),
    "model.mlp_ratio": FieldRule(BLOCKS),
    "model.dropout": FieldRule(BLOCKS),
    "model.film": FieldRule(SERIES),
    "model.static_tokens": FieldRule(STATIC),
    "model.footprints": FieldRule(BOTH, is_kept=True),
    "model.recurrent_width": FieldRule(RECURRENT),
    "model.lstm_width": ANY,
    "model.lstm_members": FieldRule(RUNOFF),
    "model.lstm_ar_width": ANY,
    "model.lstm_dropout": FieldRule(RUNOFF),
    "model.lstm_max_temperature": FieldRule(RUNOFF),
    "model.estimators": ANY,
    "model.map_estimators": FieldRule(MAPS),
    "model.map_distributions": FieldRule(MAPS),
    "model.neighbours": FieldRule(NEAREST),
    "model.decoder_dim": ANY,
    "model.decoder_layers": ANY,
    "model.decoder_self_attn": FieldRule(DECODER),
    "model.prediction_ratio": ANY,
    "model.use_weighted_fm": FieldRule(LAYERS),
    "model.use_fm_layers": FieldRule(MIX),
    "model.use_input": FieldRule(MIX),
    "model.contrastive_weight": FieldRule(COMPARED),
    "model.contrastive_temperature": FieldRule(CONTRAST),
    "model.components": FieldRule(DISTRIBUTIONS),
    "masks.kind": ANY,
    "masks.map_ratio": FieldRule(MAP_RATIO),
    "masks.series_ratio": FieldRule(SERIES_RATIO),
    "masks.target_modalities": FieldRule(SINGLE, is_kept=True),
    "masks.gap_days": FieldRule(GAPS),
    "masks.lead_days": FieldRule(LEADS),
    "masks.mixture": FieldRule(MIXTURE),
    "optimizer.lr": ANY,
    "optimizer.min_lr": ANY,
    "optimizer.weight_decay": ANY,
    "optimizer.betas": ANY,
    "optimizer.eps": ANY,
    "optimizer.clip": ANY,
    "train.batch_size": ANY,
    "train.accumulation": ANY,
    "train.workers": FREE,
    "train.epochs": FieldRule(on_resume="longer"),
    "train.warmup_epochs": ANY,
    "train.steps_per_epoch": ANY,
    "train.precision": FieldRule(on_resume="auto"),
    "train.loss_scale": FieldRule(SCALED),
    "train.loss_scale_window": FieldRule(SCALED),
    "train.loss_scale_hysteresis": FieldRule(SCALED),
    "train.min_loss_scale": FieldRule(SCALED),
    "train.ema_decay": ANY,
    "train.seed": ANY,
    "train.log_every": FREE,
    "train.tracker": FREE,
    "train.wandb_project": FieldRule(WANDB, on_resume="free"),
    "train.wandb_entity": FieldRule(WANDB, on_resume="free"),
    "train.validate_every": FREE,
    "train.validation_windows": ANY,
    "train.checkpoint_every": FREE,
    "train.keep_last": FREE,
    "train.task_weights": ANY,
    "train.nse_loss": FieldRule(FLOW),
    "train.flow_loss_weight": FieldRule(FLOW),
    "train.lstm_loss_weight": FieldRule(RUNOFF),
    "train.distribution_weight": FieldRule(DISTRIBUTIONS),
}
"""Section and field -> its rules. Contradictions (`validation.check`) are refused before."""
DEFAULTS = Sections()


def value_of(config: Sections, field: str) -> Any:
    """The value of a field such as "model.d_model"."""
    section, _, name = field.partition(".")
    return vars(vars(config)[section])[name]


def with_values(config: Sections, values: dict[str, Any]) -> Sections:
    """Sections with the values of some fields replaced."""
    parts = dict(vars(config))
    for field, value in values.items():
        section, _, name = field.partition(".")
        parts[section] = dataclasses.replace(parts[section], **{name: value})
    return Sections(**parts)


def idle_fields(config: Sections) -> dict[str, str]:
    """Fields without effect in a configuration, with the reason."""
    needs = {name: field.requirement for name, field in FIELD_RULES.items() if field.requirement is not None}
    return {name: need.reason for name, need in needs.items() if not need.is_met(config)}


def reset_idle(config: Sections, named: Collection[str]) -> Sections:
    """Reset fields without effect to their defaults, except those that are `named` or kept."""
    if not set(config.model.modalities) <= set(MODALITIES):  # refused by `check`
        return config
    idle = [name for name in idle_fields(config) if name not in named and not FIELD_RULES[name].is_kept]
    values = {name: value_of(DEFAULTS, name) for name in idle}
    if "train.task_weights" not in named:
        default, weights = dict(TASK_WEIGHTS), config.train.task_weights
        used = [(name, w) for name, w in weights if name in config.model.modalities or default.get(name) == w]
        values["train.task_weights"] = tuple(used)
    return with_values(config, values)


def refuse_idle_fields(config: Sections, base: Sections | None = None) -> None:
    """Refuse given fields without effect.

    Args:
        config: A valid configuration.
        base: Fields that differ from it are given ones. Without it, those that differ from their defaults, except kept ones.

    Raises:
        InputError: A given field has no effect.
    """
    start = DEFAULTS if base is None else base
    for name, why in idle_fields(config).items():
        value, free = value_of(config, name), base is None and FIELD_RULES[name].is_kept
        if value != value_of(start, name) and not free:
            raise InputError(
                f"config: {name} {_shown(value)}: changes nothing in this configuration ({why}); leave it out"
            )
    for name, weight in config.train.weights.items():
        if name not in config.model.modalities and weight != start.train.weights[name]:
            raise InputError(
                f"config: train.task_weights {name} {weight:g}: changes nothing in this configuration (model.streams has no "
                f"{name}); leave it out"
            )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(_shown(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
