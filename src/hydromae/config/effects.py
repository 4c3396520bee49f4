"""Which fields of a configuration have an effect beside the others, and which may change while a run goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from hydromae.config.schema import TASK_WEIGHTS, Sections
from hydromae.errors import InputError
from hydromae.variables import MODALITIES

OnResume = Literal["same", "free", "longer", "auto"]
"""What a resumed run allows: no change; any, because the result stays the same; a longer run; `auto`, which then means
the value that the run began with."""


@dataclass(frozen=True)
class Need:
    """What a field has no effect without: words for the message, and the condition."""

    words: str
    met: Callable[[Sections], bool]


@dataclass(frozen=True)
class Field:
    """How a field of the configuration is treated.

    Attributes:
        need: None: the field has an effect in every configuration.
        carried: Whether a value without effect is kept, because another configuration made from this one needs it.
    """

    need: Need | None = None
    on_resume: OnResume = "same"
    carried: bool = False


def _kinds(config: Sections) -> set[str]:
    return {MODALITIES[name].kind for name in config.model.modalities}


def _draws(*masks: str) -> Callable[[Sections], bool]:
    return lambda config: bool(config.masks.drawn & set(masks))


def _ratio(kind: str) -> Callable[[Sections], bool]:
    return lambda config: bool(config.masks.drawn & {"random", "unified", "tube"}) and kind in _kinds(config)


def _mixed(config: Sections) -> int:
    """Outputs of layers that a decoder layer can mix."""
    model, kinds = config.model, _kinds(config)
    depth = max(("map" in kinds) * model.map_layers, ("series" in kinds) * model.series_layers)
    return model.use_input + depth + model.fusion_layers


def _nearest(config: Sections) -> bool:
    """Whether anything reads the nearest sites, or that tokens keep their grid for them."""
    model = config.model
    keeps_grid = "recurrent" not in model.mixers and model.decoder_layers > 0
    return model.priors or keeps_grid or ("space" in model.mixers and model.blocks > 0)


ANY = Field()
FREE = Field(on_resume="free")
SERIES = Need("model.streams has no series modality", lambda c: "series" in _kinds(c))
MAPS = Need("model.streams has no map modality", lambda c: "map" in _kinds(c))
BOTH = Need("model.streams has not both maps and series", lambda c: _kinds(c) == {"map", "series"})
STATIC = Need("maps under joint mixing have none", lambda c: "series" in _kinds(c) or c.model.mixers != ("joint",))
SEVERAL = Need(
    "no modality of model.streams has several variables",
    lambda c: any(len(MODALITIES[name].variables) > 1 for name in c.model.modalities),
)
FLOW = Need("model.streams has no riverflow", lambda c: "riverflow" in c.model.modalities)
BLOCKS = Need("the model has no blocks", lambda c: c.model.blocks + c.model.decoder_layers > 0)
HEADS = Need("the model has no attention", lambda c: c.model.attends)
TURNS = Need("model.mixers names a single one", lambda c: len(c.model.mixers) > 1 and c.model.blocks > 0)
RECURRENT = Need("model.mixers has no recurrent", lambda c: "recurrent" in c.model.mixers and c.model.blocks > 0)
NEAREST = Need("nothing reads the nearest sites", _nearest)
RUNOFF = Need("model.runoff is 0", lambda c: c.model.runoff > 0)
DECODER = Need("model.decoder_layers is 0", lambda c: c.model.decoder_layers > 0)
LAYERS = Need("there is a single layer to mix", lambda c: _mixed(c) > 1)
MIX = Need("model.use_weighted_fm is off", lambda c: c.model.use_weighted_fm)
COMPARED = Need("train.batch_size is 1, and windows are compared", lambda c: c.train.batch_size > 1)
CONTRAST = Need("model.contrastive_weight is 0", lambda c: c.model.contrastive_weight > 0)
MAP_RATIO = Need("no mask that is drawn hides a share of maps", _ratio("map"))
SERIES_RATIO = Need("no mask that is drawn hides a share of series", _ratio("series"))
ASKED = Need("no mask that is drawn asks for single modalities", _draws("span", "future", "site", "modality"))
SPANS = Need("neither span nor outage is drawn", _draws("span", "outage"))
LEADS = Need("neither future nor blind is drawn", _draws("future", "blind"))
MIXTURE = Need("masks.kind is not mixture", lambda c: c.masks.kind == "mixture")
SCALED = Need("train.precision is not fp16", lambda c: c.train.precision == "fp16")
WANDB = Need("train.tracker is not wandb", lambda c: c.train.tracker in ("wandb", "auto"))

FIELDS: dict[str, Field] = {
    "data.training_period": ANY,
    "data.validation_period": ANY,
    "data.sequence_length": ANY,
    "data.stride": ANY,
    "data.sites": ANY,
    "data.vector_patch_size": Field(SERIES),
    "data.held_out": ANY,
    "data.warm_up_days": ANY,
    "data.trait_dropout": Field(SERIES),
    "data.position_jitter": Field(SERIES),
    "data.cache_images": FREE,
    "data.variable_dropout": Field(SEVERAL),
    "data.look_back_days": ANY,
    "data.longest_gap": ANY,
    "model.streams": ANY,
    "model.d_model": ANY,
    "model.heads": Field(HEADS),
    "model.mixers": ANY,
    "model.alternate": Field(TURNS),
    "model.map_layers": Field(MAPS),
    "model.series_layers": Field(SERIES),
    "model.fusion_layers": ANY,
    "model.mlp_ratio": Field(BLOCKS),
    "model.dropout": Field(BLOCKS),
    "model.film": Field(SERIES),
    "model.static_tokens": Field(STATIC),
    "model.footprints": Field(BOTH, carried=True),
    "model.recurrent_width": Field(RECURRENT),
    "model.runoff": ANY,
    "model.ahead": ANY,
    "model.runoff_dropout": Field(RUNOFF),
    "model.priors": ANY,
    "model.neighbours": Field(NEAREST),
    "model.decoder_dim": ANY,
    "model.decoder_layers": ANY,
    "model.decoder_self_attn": Field(DECODER),
    "model.prediction_ratio": ANY,
    "model.use_weighted_fm": Field(LAYERS),
    "model.use_fm_layers": Field(MIX),
    "model.use_input": Field(MIX),
    "model.contrastive_weight": Field(COMPARED),
    "model.contrastive_temperature": Field(CONTRAST),
    "model.components": Field(SERIES),
    "masks.kind": ANY,
    "masks.map_ratio": Field(MAP_RATIO),
    "masks.series_ratio": Field(SERIES_RATIO),
    "masks.answered": Field(ASKED, carried=True),
    "masks.span_days": Field(SPANS),
    "masks.lead_days": Field(LEADS),
    "masks.mixture": Field(MIXTURE),
    "optimizer.lr": ANY,
    "optimizer.min_lr": ANY,
    "optimizer.weight_decay": ANY,
    "optimizer.betas": ANY,
    "optimizer.eps": ANY,
    "optimizer.clip": ANY,
    "train.batch_size": ANY,
    "train.accumulation": ANY,
    "train.workers": FREE,
    "train.epochs": Field(on_resume="longer"),
    "train.warmup_epochs": ANY,
    "train.steps_per_epoch": ANY,
    "train.precision": Field(on_resume="auto"),
    "train.loss_scale": Field(SCALED),
    "train.loss_scale_window": Field(SCALED),
    "train.loss_scale_hysteresis": Field(SCALED),
    "train.min_loss_scale": Field(SCALED),
    "train.averaged_weights": ANY,
    "train.seed": ANY,
    "train.log_every": FREE,
    "train.tracker": FREE,
    "train.wandb_project": Field(WANDB, on_resume="free"),
    "train.wandb_entity": Field(WANDB, on_resume="free"),
    "train.validate_every": FREE,
    "train.validation_windows": ANY,
    "train.checkpoint_every": FREE,
    "train.keep_last": FREE,
    "train.task_weights": ANY,
    "train.catchment_variance": Field(FLOW),
    "train.flow_share": Field(FLOW),
    "train.memory_weight": Field(RUNOFF),
    "train.distribution_weight": Field(SERIES),
}
"""Section and field -> how it is treated. Contradictions (`validation.check`) are refused before."""
DEFAULTS = Sections()


def value_of(config: Sections, field: str) -> Any:
    """The value of a field such as "model.d_model"."""
    section, _, name = field.partition(".")
    return vars(vars(config)[section])[name]


def replaced(config: Sections, values: dict[str, Any]) -> Sections:
    """Sections with the values of some fields replaced."""
    parts = dict(vars(config))
    for field, value in values.items():
        section, _, name = field.partition(".")
        parts[section] = dataclasses.replace(parts[section], **{name: value})
    return Sections(**parts)


def idle(config: Sections) -> dict[str, str]:
    """Fields without effect in a configuration, and why."""
    needs = {name: field.need for name, field in FIELDS.items() if field.need is not None}
    return {name: need.words for name, need in needs.items() if not need.met(config)}


def without_idle(config: Sections, named: Collection[str]) -> Sections:
    """Fields that have no effect and are not `named` return to their defaults, but for those that are carried."""
    known = {name for stream in config.model.shared for name in stream} <= set(MODALITIES)
    if not known:  # refused by name when the configuration is made
        return config
    gone = [name for name in idle(config) if name not in named and not FIELDS[name].carried]
    values = {name: value_of(DEFAULTS, name) for name in gone}
    if "train.task_weights" not in named:
        default, given = dict(TASK_WEIGHTS), config.train.task_weights
        kept = [(name, w) for name, w in given if name in config.model.modalities or default.get(name) == w]
        values["train.task_weights"] = tuple(kept)
    return replaced(config, values)


def refuse_idle(config: Sections, base: Sections | None = None) -> None:
    """Refuse a field that is given and has no effect.

    Args:
        config: A valid configuration.
        base: What it starts from: fields that differ from it were given. Without it, fields that differ from their defaults
            were given, carried ones excepted.

    Raises:
        InputError: Names the field, its value and what it has no effect without.
    """
    start = DEFAULTS if base is None else base
    for name, why in idle(config).items():
        value, free = value_of(config, name), base is None and FIELDS[name].carried
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
    """A value as the command line spells it."""
    if isinstance(value, tuple):
        return " ".join(_shown(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
