"""Checks for contradictions between the fields of a configuration."""

from __future__ import annotations

from typing import get_args

from hydromae.config.bounds import check_period
from hydromae.config.schema import DataConfig, MaskConfig, MaskKind, ModelConfig, Sections, TrainConfig
from hydromae.errors import InputError
from hydromae.variables import MODALITIES

SPECIFIED_WEIGHTS = {
    "precip_loss": "precipitation",
    "soil_loss": "soil_moisture",
    "temp_loss": "temperature",
    "evap_loss": "evaporation",
    "riverflow_loss": "riverflow",
}
"""Names of the task weights in the reference specification, with their modalities."""


def check(config: Sections) -> None:
    """Refuse contradictory fields."""
    data, model, masks = config.data, config.model, config.masks
    _check_fields(data, model, masks)
    _check_masks(data, model, masks)
    _check_training(config)
    _check_mixers(model)
    _check_lstms(data, model)
    _check_layers(data, model)


def _check_masks(data: DataConfig, model: ModelConfig, masks: MaskConfig) -> None:
    for name in (*model.modalities, *masks.target_modalities):
        if name not in MODALITIES:
            raise InputError(
                f"config: modality '{name}' is not in the table ({', '.join(MODALITIES)}); name one of them"
            )
    for name in masks.target_modalities:
        if name not in model.modalities:
            raise InputError(f"config: masks.target_modalities names '{name}', which model.streams lacks; add it there")
    parts = sorted(set(get_args(MaskKind)) - {"mixture"})
    for name, weight in masks.mixture:
        if name not in parts or weight < 0:
            raise InputError(f"config: masks.mixture has {name} {weight:g}; use {', '.join(parts)}, weights from 0")
    if not sum(weight for _, weight in masks.mixture):
        raise InputError("config: masks.mixture has no weight above 0; give at least one mask a weight")
    if data.sequence_length < 2 and masks.drawn & {"forecast", "forecast-blind"}:
        raise InputError(
            "config: data.sequence_length 1 has no day after an issue day; masks forecast and forecast-blind need 2"
        )


def _check_mixers(model: ModelConfig) -> None:
    if "joint" in model.mixers and model.mixers != ("joint",):
        raise InputError("config: model.mixers 'joint' mixes all tokens; use it alone, or time/recurrent and space")
    if "joint" in model.mixers and not model.decoder_layers:
        raise InputError(
            "config: model.decoder_layers 0 decodes hidden tokens in the encoder, which 'joint' omits; use 1 or more"
        )


def _check_lstms(data: DataConfig, model: ModelConfig) -> None:
    if model.estimators and "riverflow" not in model.modalities:
        raise InputError("config: model.estimators are of flow; add riverflow to model.streams, or turn them off")
    has_both = any({"weather", "riverflow"} <= set(stream) for stream in model.shared)
    if model.lstm_width and (data.vector_patch_size != 1 or not has_both):
        raise InputError(
            "config: model.lstm_width needs data.vector_patch_size 1 and weather+riverflow in one of model.streams"
        )
    if model.lstm_width and not model.estimators:
        raise InputError(
            "config: predictions of the LSTMs (model.lstm_width) are read by model.estimators; turn them on, "
            "or set model.lstm_width 0"
        )
    if model.lstm_ar_width and not model.lstm_width:
        raise InputError(
            "config: model.lstm_ar_width corrects model.lstm_width; give that a width, or set model.lstm_ar_width 0"
        )
    if data.max_flow_gap and not model.lstm_ar_width:
        raise InputError(
            "config: data.max_flow_gap applies to the flow inputs of model.lstm_ar_width; give that a width, "
            "or set data.max_flow_gap 0"
        )
    if data.antecedent_days and not model.lstm_width:
        raise InputError(
            "config: data.antecedent_days are read by model.lstm_width; give that a width, or set data.antecedent_days 0"
        )


def _check_layers(data: DataConfig, model: ModelConfig) -> None:
    kinds = {MODALITIES[name].kind for name in model.modalities}
    chosen = {"series": data.catchments_per_window, "map": data.patches_per_window}
    if len({chosen[kind] is None for kind in kinds}) == 2:
        raise InputError(
            "config: a window has some sites of maps and of series, or all: give data.catchments_per_window and "
            "data.patches_per_window, or leave both None"
        )
    if data.patches_per_window is not None and model.footprints and kinds == {"map", "series"}:
        raise InputError(
            "config: model.footprints read all patches; leave data.patches_per_window None, or turn model.footprints off"
        )
    depths = {"map": model.map_layers, "series": model.series_layers}
    layers = model.use_input + max((depths[kind] for kind in kinds), default=0) + model.fusion_layers
    for layer in model.use_fm_layers or ():
        if not 0 <= layer < layers:
            raise InputError(f"config: model.use_fm_layers names {layer}, but there are layers 0 to {layers - 1}")
    if model.has_attention and (model.d_model % model.heads or model.decoder_dim % model.heads):
        raise InputError(f"config: model.d_model and decoder_dim must be multiples of heads ({model.heads})")
    if model.contrastive_weight and (not model.fusion_layers or len(model.streams) < 2):
        raise InputError(
            "config: model.contrastive_weight compares streams in fusion; give it two streams and fusion_layers, or weight 0"
        )
    layers_reading_statics = model.decoder_layers if "joint" in model.mixers else model.decoder_layers // 2
    if model.static_tokens and not model.fusion_layers and not layers_reading_statics:
        raise InputError(
            "config: model.static_tokens are used in fusion and in decoders; give fusion_layers, or turn off"
        )
    for stream in model.shared:
        if len({MODALITIES[name].kind for name in stream}) != 1:
            raise InputError(
                f"config: stream {'+'.join(stream)} mixes maps and series; only modalities at the same sites share a token"
            )


def _check_fields(data: DataConfig, model: ModelConfig, masks: MaskConfig) -> None:
    """Refuse periods that are not two ordered days, masks that hide no day, and repeated or missing names."""
    check_period("data.training_period", data.training_period)
    check_period("data.validation_period", data.validation_period)
    share = masks.series_ratio * data.sequence_length
    if share and not round(share) and masks.drawn & {"random", "unified"}:
        raise InputError(
            f"config: masks.series_ratio {masks.series_ratio:g} of data.sequence_length {data.sequence_length} hides no day; "
            "give a larger ratio or longer windows"
        )
    if masks.gap_days[0] > masks.gap_days[1]:
        raise InputError(f"config: masks.gap_days {masks.gap_days}: not in order; give the shortest gap first")
    if not model.modalities or len(set(model.modalities)) < len(model.modalities) or not model.mixers:
        raise InputError("config: model.streams and model.mixers need at least one name each, and no modality twice")


def _check_training(config: Sections) -> None:
    """Refuse windows without targets, a final learning rate or loss scale above the first, and task weights of 0."""
    data, optimizer, train = config.data, config.optimizer, config.train
    if data.warm_up_days >= data.sequence_length:
        raise InputError(
            f"config: data.warm_up_days {data.warm_up_days} leaves no target in the {data.sequence_length} days of a window "
            "(data.sequence_length); give fewer"
        )
    if optimizer.min_lr > optimizer.lr:
        raise InputError(
            f"config: optimizer.min_lr {optimizer.min_lr:g} is above optimizer.lr {optimizer.lr:g}; give a lower one"
        )
    if train.min_loss_scale > train.loss_scale:
        raise InputError(
            f"config: train.min_loss_scale {train.min_loss_scale:g} is above train.loss_scale {train.loss_scale:g}; "
            "give a lower one"
        )
    _check_weights(train)
    weights = [train.weights[name] for name in config.model.modalities]
    if not any(weights) and not config.model.contrastive_weight:
        raise InputError("config: train.task_weights has no weight above 0 for a modality of model.streams; give one")


def _check_weights(train: TrainConfig) -> None:
    """Refuse unknown or repeated names of task weights; for names of the specification, the message gives the modality."""
    names = [name for name, _ in train.task_weights]
    for name in names:
        if name in MODALITIES and names.count(name) > 1:
            raise InputError(f"config: train.task_weights names '{name}' twice; give one weight")
    unknown = [name for name in names if name not in MODALITIES]
    meant = [f"{name} is {SPECIFIED_WEIGHTS[name]}" for name in unknown if name in SPECIFIED_WEIGHTS]
    if unknown:
        raise InputError(
            f"config: train.task_weights names '{unknown[0]}'; use {', '.join(MODALITIES)}"
            + (f" ({', '.join(meant)})" if meant else "")
        )
