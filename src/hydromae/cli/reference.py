"""Fields of a configuration in the style of the reference specification, and their counterparts (docs/seed.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from hydromae.cli.fields import Fields
from hydromae.cli.literals import Unevaluated
from hydromae.config.presets import SEED
from hydromae.errors import InputError

FIELDS: dict[str, tuple[str, ...]] = {
    "output": ("output_dir", "output_path", "out_dir", "save_dir", "output"),
    "data.sequence_length": ("sequence_length", "seq_len", "seq_length"),
    "data.stride": ("stride", "window_stride"),
    "data.vector_patch_size": ("vector_patch_size",),
    "data.cache_images": ("cache_images_to_memory", "cache_images", "cache_to_memory"),
    "model.d_model": ("d_model", "encoder_dim", "embed_dim"),
    "model.heads": (
        "num_heads",
        "nhead",
        "n_heads",
        "heads",
        "encoder_num_heads",
        "decoder_num_heads",
        "decoder_nhead",
    ),
    "model.map_layers": (
        "image_encoder_layers",
        "num_image_layers",
        "image_layers",
        "image_depth",
        "image_encoder_depth",
    ),
    "model.series_layers": (
        *(
            "vector_encoder_layers",
            "num_vector_layers",
            "vector_layers",
            "vector_num_layers",
            "vector_depth",
            "vector_encoder_depth",
        ),
    ),
    "model.fusion_layers": ("fusion_layers", "num_fusion_layers", "fusion_depth"),
    "model.mlp_ratio": ("mlp_ratio",),
    "model.dropout": ("dropout", "dropout_rate"),
    "model.film": ("use_film", "film"),
    "model.static_tokens": ("use_static_tokens", "static_tokens"),
    "model.decoder_dim": ("decoder_dim", "decoder_embed_dim"),
    "model.decoder_layers": ("decoder_layers", "num_decoder_layers", "decoder_num_layers", "decoder_depth"),
    "model.decoder_self_attn": ("decoder_self_attn",),
    "model.prediction_ratio": ("prediction_ratio",),
    "model.use_weighted_fm": ("use_weighted_fm",),
    "model.use_fm_layers": ("use_fm_layers",),
    "model.use_input": ("use_input",),
    "model.contrastive_weight": ("contrastive_weight", "contrastive_loss_weight"),
    "model.contrastive_temperature": ("contrastive_temperature",),
    "masks.kind": ("unified_mask", "use_unified_mask"),
    "masks.map_ratio": ("image_mask_ratio", "mask_ratio", "mask_ratio.image"),
    "masks.series_ratio": ("vector_mask_ratio", "mask_ratio", "mask_ratio.vector"),
    "optimizer.lr": ("learning_rate", "lr", "base_lr"),
    "optimizer.min_lr": ("min_lr", "lr_min", "eta_min"),
    "optimizer.weight_decay": ("weight_decay",),
    "optimizer.betas": ("betas", "adam_betas"),
    "optimizer.eps": ("eps", "adam_eps", "adam_epsilon"),
    "optimizer.clip": (
        "grad_clip",
        "max_grad_norm",
        "clip_grad",
        "clip_grad_norm",
        "gradient_clip",
        "gradient_clipping",
    ),
    "train.batch_size": ("batch_size", "batch_size_per_gpu", "train_micro_batch_size_per_gpu"),
    "train.accumulation": ("gradient_accumulation_steps", "accumulation_steps", "grad_accum_steps", "accum_iter"),
    "train.workers": ("num_workers",),
    "train.epochs": ("epochs", "num_epochs", "max_epochs"),
    "train.warmup_epochs": ("warmup_epochs",),
    "train.precision": ("fp16", "use_fp16", "fp16.enabled", "bf16", "use_bf16", "bf16.enabled", "mixed_precision"),
    "train.loss_scale": ("initial_loss_scale", "init_loss_scale", "initial_scale", "init_scale", "initial_scale_power"),
    "train.loss_scale_window": ("loss_scale_window",),
    "train.min_loss_scale": ("min_loss_scale",),
    "train.loss_scale_hysteresis": ("hysteresis", "loss_scale_hysteresis"),
    "train.seed": ("seed", "random_seed"),
    "train.log_every": ("log_freq", "log_every", "log_interval", "log_frequency"),
    "train.tracker": ("use_wandb",),
    "train.wandb_project": ("wandb_project",),
    "train.wandb_entity": ("wandb_entity",),
    "train.validate_every": ("val_freq", "val_frequency", "val_interval", "eval_freq", "validation_frequency"),
    "train.checkpoint_every": (
        *("save_freq", "save_every", "save_interval", "save_frequency", "checkpoint_freq", "checkpoint_frequency"),
    ),
    "train.keep_last": ("keep_last_n", "keep_last", "keep_last_n_checkpoints"),
    "train.task_weights": ("task_weights", "loss_weights"),
}
"""Field of hydromae -> names in the reference style: the last name of a nested dictionary, or `outer.inner`."""

PARTS: dict[tuple[str, int], tuple[str, ...]] = {
    ("data.training_period", 0): ("train_start", "train_start_date"),
    ("data.training_period", 1): ("train_end", "train_end_date"),
    ("data.validation_period", 0): ("val_start", "val_start_date"),
    ("data.validation_period", 1): ("val_end", "val_end_date"),
    ("optimizer.betas", 0): ("beta1", "adam_beta1"),
    ("optimizer.betas", 1): ("beta2", "adam_beta2"),
}
"""Field of hydromae and index in it -> names in the reference style."""

FIXED_VALUES: dict[str, tuple[object, ...]] = {
    "zero_stage": (1,),
    "zero_optimization_stage": (1,),
    "zero_optimization.stage": (1,),
    "loss_scale": (0,),
    "optimizer": ("adamw",),
    "optimizer.type": ("adamw",),
    "scheduler": ("cosine",),
    "lr_scheduler": ("cosine",),
    "decoder_type": ("cross", "crossattention", "cross_attention", "crossmae"),
    "patch_size": (10, (10, 10)),
    "image_size": ((290, 180),),
    "img_size": ((290, 180),),
    "image_height": (290,),
    "image_width": (180,),
}
"""Fields that hydromae fixes, with their values."""

NO_COUNTERPART: dict[str, str] = {
    "land_threshold": "hydromae prepare --land-threshold",
    "num_catchments": "the store's catchments",
    "num_land_patches": "the store's land patches",
    "valid_patch_indices": "the store's land patches",
    "static_attributes": "the store's attributes",
    "static_dim": "the store's attributes",
    "num_static_features": "the store's attributes",
    "device": "pretrain --device",
    "resume": "pretrain --resume",
    "resume_from": "pretrain --resume",
    "use_deepspeed": "pretrain --engine",
    "deepspeed_config": "pretrain --engine; its numbers are fields of the configuration",
    "distributed": "the launcher: torchrun or deepspeed",
    "local_rank": "the launcher: torchrun or deepspeed",
    "world_size": "the launcher: torchrun or deepspeed",
    "num_gpus": "the launcher: torchrun or deepspeed",
    "pin_memory": "always on where there is a GPU",
    "persistent_workers": "workers are threads that stay",
    "prefetch_factor": "each worker is one batch ahead",
    "shuffle": "every epoch has an order of its own",
    "drop_last": "an epoch is a number of updates, all whole",
    "experiment_name": "the name of the run's folder",
    "exp_name": "the name of the run's folder",
    "wandb_run_name": "the name of the run's folder",
    "cache_dir": "statistics are kept in the store and in the run's folder",
    "checkpoint_dir": "checkpoints/ in the run's folder",
    "log_dir": "journal.jsonl in the run's folder",
}
"""Fields without a counterpart in the configuration -> what replaces them."""

PATHS = re.compile(r"(.*_)?(dir|path|file|folder|root|h5|csv|parquet|mask)s?")
"""Names of raw data files, which `hydromae prepare` reads."""

TASKS: dict[str, str] = {
    **dict.fromkeys(("precip", "precipitation"), "precipitation"),
    **dict.fromkeys(("soil", "soil_moisture"), "soil_moisture"),
    **dict.fromkeys(("temp", "temperature"), "temperature"),
    **dict.fromkeys(("evap", "evaporation"), "evaporation"),
    **dict.fromkeys(("riverflow",), "riverflow"),
}
"""Names of `task_weights` without `_loss` -> modality."""

_TARGETS: dict[str, list[str]] = {}
for _target, _names in FIELDS.items():
    for _name in _names:
        _TARGETS.setdefault(_name, []).append(_target)
_PARTS = {name: part for part, names in PARTS.items() for name in names}
KNOWN = {*_TARGETS, *_PARTS, *FIXED_VALUES, *NO_COUNTERPART}
"""All known names, except those of paths."""


def flatten_fields(fields: Fields, before: str = "") -> Fields:
    """Flatten nested dictionaries; the name is `outer.inner` if that is known, else `inner`."""
    found: Fields = {}
    for given_name, value in fields.items():
        name = str(given_name).lower()
        if isinstance(value, Mapping) and name not in FIELDS["train.task_weights"]:
            found |= flatten_fields(dict(value), name)
        else:
            name = name.removeprefix("fp16_") if name.removeprefix("fp16_") in KNOWN else name
            found[f"{before}.{name}" if f"{before}.{name}" in KNOWN else name] = value
    return found


def counterpart_note(name: str, value: object) -> str | None:
    """Return what replaces a field without a counterpart, or None for other fields."""
    texts = value if isinstance(value, tuple) else (value,)
    if name in NO_COUNTERPART:
        return NO_COUNTERPART[name]
    if (
        name not in KNOWN
        and PATHS.fullmatch(name)
        and all(isinstance(text, str | Unevaluated | None) for text in texts)
    ):
        return "hydromae prepare FOLDER STORE --layout seed"
    return None


def convert_field(name: str, value: Any) -> dict[str, Any]:
    """Return the fields of hydromae that a field sets, by `section.field`.

    Raises:
        InputError: The value has no counterpart.
    """
    if isinstance(value, Unevaluated):
        raise InputError(f"{name} = {value.text} (line {value.line}): is not a plain value; write it out")
    if name in FIXED_VALUES:
        given_name = value.lower() if isinstance(value, str) else value
        if isinstance(given_name, bool) or given_name not in FIXED_VALUES[name]:
            raise InputError(
                f"{name} = {value!r}: hydromae has {FIXED_VALUES[name][0]!r} alone; change or leave it out"
            )
        return {}
    if isinstance(value, bool) and not _is_boolean_field(name):
        raise InputError(f"{name} = {value}: is not a number or text; give one")
    if name in _PARTS:
        target, index = _PARTS[name]
        return {f"{target}/{index}": value}
    return {target: _VALUES.get(target, _unchanged)(name, value) for target in _TARGETS[name]}


def _is_boolean_field(name: str) -> bool:
    """Return whether all fields that a name sets are boolean or derived from a boolean."""
    composed = ("masks.kind", "train.tracker", "train.precision")
    sections = {target: target.partition(".") for target in _TARGETS.get(name, ())}
    return bool(sections) and all(
        target in composed or isinstance(vars(vars(SEED)[section])[field_name], bool)
        for target, (section, _, field_name) in sections.items()
        if field_name
    )


def _unchanged(name: str, value: Any) -> Any:
    return value


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} = {value!r}: is not True or False; give one of them")
    return value


def _kind(name: str, value: Any) -> str:
    return "unified" if _switch(name, value) else "random"


def _tracker(name: str, value: Any) -> str:
    return "auto" if _switch(name, value) else "none"


def _scale(name: str, value: Any) -> Any:
    return 2.0 ** min(value, 1000) if name == "initial_scale_power" and isinstance(value, int | float) else value


def _precision(name: str, value: Any) -> Any:
    """Return the precision of a switch `fp16` or `bf16`; None if it is off, because the other one may be on."""
    if name == "mixed_precision":
        words = {"fp16": "fp16", "bf16": "bf16", "no": "fp32", "fp32": "fp32"}
        if value not in words:
            raise InputError(f"{name} = {value!r}: is not one of {', '.join(words)}")
        return words[value]
    return ("bf16" if "bf16" in name else "fp16") if _switch(name, value) else None


def _weights(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise InputError(f"{name} = {value!r}: is not a dictionary; give one of losses and their weights")
    weights = {}
    for given_name, weight in value.items():
        task = TASKS.get(str(given_name).lower().removesuffix("_loss"))
        if task is None:
            known = ", ".join(f"{one}_loss" for one in ("precip", "soil", "temp", "evap", "riverflow"))
            raise InputError(f"{name}['{given_name}']: no such loss; name {known}")
        if isinstance(weight, Unevaluated):
            raise InputError(f"{name}['{given_name}'] = {weight.text}: is not a plain value; write it out")
        weights[task] = weight
    return weights


_VALUES: dict[str, Callable[[str, Any], Any]] = {
    "masks.kind": _kind,
    "train.tracker": _tracker,
    "train.loss_scale": _scale,
    "train.precision": _precision,
    "train.task_weights": _weights,
}
