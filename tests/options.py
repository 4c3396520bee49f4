"""Every option of a configuration, and what shows its effect: a switch of the architecture, or the test that does.

`tests/model/test_switches.py` turns each switch and fails where an option has no row here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from hydromae.config import Config
from synthetic import SMALL, SMALL_MAPS

Effect = Literal["answers", "training", "loss", "distributions", "masks"]
"""What changes: answers; the loss of training alone; the loss, not the answers; what lies around the mean; masks."""


@dataclass(frozen=True)
class Switch:
    """Fields that are turned against a start; `before` are fields that both sides have."""

    start: Literal["base", "fast", "rivers"]
    turned: dict[str, dict[str, Any]]
    effect: Effect = "answers"
    before: dict[str, Any] = field(default_factory=dict)


BASE = SMALL_MAPS.having(
    data={"sequence_length": 4},
    model={"streams": ("precipitation", "temperature", "evaporation", "riverflow"), "decoder_layers": 2},
)
STARTS: dict[str, Config] = {
    "base": BASE,
    "fast": BASE.having(model={"mixers": ("time", "space")}),
    "rivers": SMALL.having(masks={"kind": "random", "series_ratio": 0.2}),
}
"""Two maps, evaporation and flow with joint attention; the same on a grid; weather and flow with priors."""

MIXED = {"use_weighted_fm": True, "map_layers": 2}
CONTRAST = {"contrastive_weight": 0.5}


def model(start: Literal["base", "fast", "rivers"], effect: Effect = "answers", /, **fields: Any) -> Switch:
    """A switch in the model's section."""
    return Switch(start, {"model": fields}, effect)


OPTIONS: dict[str, tuple[Switch | str, ...]] = {
    "data.training_period": ("tests/train/test_knobs.py::test_each_period_is_read_for_its_own_purpose",),
    "data.validation_period": ("tests/train/test_knobs.py::test_each_period_is_read_for_its_own_purpose",),
    "data.sequence_length": ("tests/data/test_windows.py::test_an_epoch_sees_every_window_once",),
    "data.stride": ("tests/data/test_windows.py::test_an_epoch_sees_every_window_once",),
    "data.catchments_per_window": ("tests/data/test_windows.py::test_a_window_of_rivers_is_a_neighbourhood",),
    "data.patches_per_window": ("tests/data/test_windows.py::test_a_window_of_maps_has_the_nearest_patches",),
    "data.vector_patch_size": tuple(
        Switch(start, {"data": {"vector_patch_size": size}}) for start in ("base", "fast") for size in (1, 8)
    ),
    "data.held_out": ("tests/test_training.py::test_what_is_held_out_changes_nothing",),
    "data.warm_up_days": ("tests/test_losses.py::test_warm_up_days_are_not_scored",),
    "data.attribute_dropout": ("tests/data/test_windows.py::test_attribute_dropout_keeps_latitude_longitude_and_area",),
    "data.position_jitter": ("tests/data/test_windows.py::test_jitter_moves_position_and_degrees_together",),
    "data.cache_images": (
        "tests/data/test_record_arrays.py::test_cache_images_brings_all_of_it_into_memory_and_without_it_only_what_is_asked_for",
    ),
    "data.variable_dropout": (
        "tests/data/test_windows.py::test_variable_dropout_hides_one_variable_of_a_shared_modality",
    ),
    "data.antecedent_days": (
        Switch("rivers", {"data": {"antecedent_days": 0}}),
        "tests/data/test_windows.py::test_a_window_brings_the_weather_before_it",
    ),
    "data.max_flow_gap": ("tests/data/test_windows.py::test_gaps_and_views_have_the_lengths_that_were_drawn",),
    "model.streams": (model("base", streams=("precipitation", "riverflow")), model("fast", streams=("riverflow",))),
    "model.d_model": (model("base", d_model=24), model("rivers", d_model=24)),
    "model.heads": (model("base", heads=4), model("fast", heads=1), model("rivers", heads=4)),
    "model.mixers": (
        model("base", mixers=("time", "space")),
        model("base", mixers=("recurrent", "space")),
        model("fast", mixers=("space", "time")),
        model("fast", mixers=("time",)),
        model("rivers", mixers=("time", "space")),
        model("rivers", mixers=("recurrent",)),
    ),
    "model.alternate_mixers": (
        model("fast", alternate_mixers=True),
        model("rivers", alternate_mixers=True, series_layers=2),
    ),
    "model.map_layers": (model("base", map_layers=2), model("fast", map_layers=3)),
    "model.series_layers": (model("base", series_layers=2), model("rivers", series_layers=2)),
    "model.fusion_layers": (
        model("base", fusion_layers=0),
        model("fast", fusion_layers=2),
        model("rivers", fusion_layers=1),
    ),
    "model.fusion_gates": (model("base", fusion_gates=True), model("fast", fusion_gates=True)),
    "model.mlp_ratio": (model("base", mlp_ratio=2.0), model("rivers", mlp_ratio=1.0)),
    "model.dropout": (model("base", "training", dropout=0.4), model("rivers", "training", dropout=0.0)),
    "model.film": (model("base", film=False), model("rivers", film=False)),
    "model.static_tokens": (
        model("base", static_tokens=False),
        model("fast", static_tokens=False),
        Switch("rivers", {"model": {"static_tokens": True}}, before={"fusion_layers": 1}),
    ),
    "model.footprints": (model("base", footprints=False), model("fast", footprints=False)),
    "model.recurrent_width": (model("rivers", recurrent_width=5),),
    "model.lstm_width": (
        model("rivers", lstm_width=6),
        Switch(
            "rivers",
            {"model": {"lstm_width": 0, "lstm_ar_width": 0}, "data": {"antecedent_days": 0, "max_flow_gap": 0}},
        ),
    ),
    "model.lstm_members": (
        model("rivers", lstm_members=3),
        "tests/model/test_rainfall_runoff.py::test_members_are_averaged",
    ),
    "model.lstm_ar_width": (
        model("rivers", lstm_ar_width=5),
        Switch("rivers", {"model": {"lstm_ar_width": 0}, "data": {"max_flow_gap": 0}}),
    ),
    "model.lstm_dropout": ("tests/model/test_rainfall_runoff.py::test_dropout_is_of_the_states_in_training",),
    "model.lstm_max_temperature": (model("rivers", lstm_max_temperature=5.0),),
    "model.estimators": (
        Switch(
            "rivers",
            {
                "model": {"estimators": False, "lstm_width": 0, "lstm_ar_width": 0},
                "data": {"antecedent_days": 0, "max_flow_gap": 0},
            },
        ),
        "tests/model/test_flow_estimates.py::test_estimates_change_the_answers_of_a_model_of_groups_and_are_trained",
    ),
    "model.map_estimators": (model("base", map_estimators=True), model("fast", map_estimators=True)),
    "model.map_distributions": (
        "tests/model/test_map_estimators.py::test_maps_have_distributions_where_they_are_wanted",
    ),
    "model.neighbours": (
        model("rivers", neighbours=None),
        model("rivers", neighbours=2),
        model("fast", neighbours=5),
    ),
    "model.decoder_dim": (model("base", decoder_dim=8), model("rivers", decoder_dim=8)),
    "model.decoder_layers": (model("base", decoder_layers=1), model("fast", decoder_layers=3)),
    "model.decoder_self_attn": (model("base", decoder_self_attn=True), model("fast", decoder_self_attn=True)),
    "model.prediction_ratio": (
        model("base", "training", prediction_ratio=0.5),
        model("rivers", "training", prediction_ratio=0.5),
    ),
    "model.use_weighted_fm": (
        model("base", use_weighted_fm=True),
        model("fast", use_weighted_fm=True),
        model("rivers", use_weighted_fm=True, series_layers=2),
    ),
    "model.use_fm_layers": (
        Switch("base", {"model": {"use_fm_layers": (0, 2)}}, before=MIXED),
        Switch("fast", {"model": {"use_fm_layers": (1, 2)}}, before=MIXED),
    ),
    "model.use_input": (
        Switch("base", {"model": {"use_input": True}}, before={**MIXED, "use_fm_layers": (0, 1, 2)}),
        Switch("fast", {"model": {"use_input": True}}, before=MIXED),
    ),
    "model.contrastive_weight": (model("base", "loss", **CONTRAST), model("fast", "loss", **CONTRAST)),
    "model.contrastive_temperature": (
        Switch("base", {"model": {"contrastive_temperature": 0.5}}, "loss", before=CONTRAST),
    ),
    "model.components": (
        model("base", "distributions", components=1),
        model("rivers", "distributions", components=4),
    ),
    "masks.kind": (
        Switch("base", {"masks": {"kind": "unified"}}, "masks"),
        "tests/test_masking.py::test_every_mask_is_a_kind_that_the_config_takes",
    ),
    "masks.map_ratio": (Switch("base", {"masks": {"map_ratio": 0.6}}, "masks"),),
    "masks.series_ratio": (
        Switch("base", {"masks": {"series_ratio": 0.8}}, "masks"),
        Switch("rivers", {"masks": {"series_ratio": 0.6}}, "masks"),
    ),
    "masks.target_modalities": (
        "tests/test_masking.py::test_gap_hides_runs_within_its_settings_of_the_target_modality_only",
        "tests/test_masking.py::test_without_target_modalities_every_modality_is_hidden",
    ),
    "masks.gap_days": (
        "tests/test_masking.py::test_gap_hides_runs_within_its_settings_of_the_target_modality_only",
        "tests/test_masking.py::test_an_outage_hides_the_same_runs_of_every_modality_of_a_kind",
    ),
    "masks.lead_days": ("tests/test_masking.py::test_forecast_and_forecast_blind_hide_what_comes_after_a_day",),
    "masks.mixture": ("tests/test_masking.py::test_mixture_draws_for_every_window_by_weight",),
    "optimizer.lr": ("tests/train/test_optim.py::test_two_steps_of_adamw_by_hand",),
    "optimizer.min_lr": ("tests/train/test_optim.py::test_training_warms_up_and_ends_near_the_least_rate",),
    "optimizer.weight_decay": ("tests/train/test_optim.py::test_two_steps_of_adamw_by_hand",),
    "optimizer.betas": ("tests/train/test_optim.py::test_two_steps_of_adamw_by_hand",),
    "optimizer.eps": ("tests/train/test_optim.py::test_a_gradient_as_small_as_eps_takes_half_a_step",),
    "optimizer.clip": ("tests/train/test_optim.py::test_no_gradient_is_longer_than_the_clip",),
    "train.batch_size": ("tests/train/test_knobs.py::test_batch_size_and_accumulation_set_the_windows_of_a_step",),
    "train.accumulation": (
        "tests/train/test_knobs.py::test_batch_size_and_accumulation_set_the_windows_of_a_step",
        "tests/train/test_engine.py::test_two_accumulated_halves_are_one_batch",
    ),
    "train.workers": ("tests/test_resume.py::test_workers_prepare_the_batches_ahead",),
    "train.loss_scale": (
        "tests/train/test_engine.py::test_the_loss_scale_leaves_norm_clip_and_step_as_they_are_and_halves_when_gradients_overflow",
    ),
    "train.loss_scale_window": ("tests/train/test_engine.py::test_the_loss_scale_of_a_run_has_its_numbers",),
    "train.loss_scale_hysteresis": ("tests/train/test_engine.py::test_the_loss_scale_of_a_run_has_its_numbers",),
    "train.min_loss_scale": ("tests/train/test_engine.py::test_the_loss_scale_of_a_run_has_its_numbers",),
    "train.tracker": ("tests/train/test_loggers.py::test_auto_takes_what_is_there_and_absence_is_no_error",),
    "train.wandb_project": ("tests/train/test_loggers.py::test_project_and_entity_of_wandb_are_those_of_the_run",),
    "train.wandb_entity": ("tests/train/test_loggers.py::test_project_and_entity_of_wandb_are_those_of_the_run",),
    "train.epochs": (
        "tests/test_resume.py::test_a_longer_run_takes_the_rate_of_the_longer_schedule",
        "tests/test_training.py::test_an_epoch_is_one_pass_over_the_windows_also_when_batches_are_added_up",
    ),
    "train.warmup_epochs": ("tests/train/test_optim.py::test_training_warms_up_and_ends_near_the_least_rate",),
    "train.steps_per_epoch": (
        "tests/test_training.py::test_an_epoch_is_one_pass_over_the_windows_also_when_batches_are_added_up",
    ),
    "train.precision": (
        "tests/train/test_engine.py::test_bf16_runs_near_fp32_and_is_not_it",
        "tests/model/test_precision.py::test_loss_and_gradients_in_half_precision_are_those_of_fp32",
        "tests/test_training.py::test_a_device_without_the_precision_is_named_in_one_line",
    ),
    "train.ema_decay": ("tests/train/test_knobs.py::test_a_run_predicts_with_the_average_of_its_weights",),
    "train.seed": ("tests/test_training.py::test_two_runs_are_the_same_and_another_seed_is_another_run",),
    "train.log_every": (
        "tests/train/test_knobs.py::test_how_often_a_run_logs_validates_and_saves",
        "tests/train/test_knobs.py::test_the_journal_counts_batches_of_a_process_and_not_updates",
    ),
    "train.validate_every": ("tests/train/test_knobs.py::test_how_often_a_run_logs_validates_and_saves",),
    "train.validation_windows": (
        "tests/train/test_knobs.py::test_validation_reads_so_many_windows",
        "tests/train/test_knobs.py::test_validation_reads_every_window_of_its_period_once",
    ),
    "train.checkpoint_every": ("tests/train/test_knobs.py::test_how_often_a_run_logs_validates_and_saves",),
    "train.keep_last": ("tests/test_resume.py::test_only_the_last_checkpoints_are_kept",),
    "train.task_weights": ("tests/train/test_optim.py::test_the_seeds_task_weights_enter_the_loss",),
    "train.nse_loss": ("tests/data/test_record_arrays.py::test_variance_of_a_catchment_over_training_days",),
    "train.flow_loss_weight": (
        "tests/test_losses.py::test_a_share_of_the_error_is_of_flow_itself",
        "tests/data/test_record_arrays.py::test_variance_of_flow_is_of_training_days",
    ),
    "train.lstm_loss_weight": ("tests/test_losses.py::test_lstms_are_scored_on_every_day_whose_flow_was_no_input",),
    "train.distribution_weight": ("tests/test_losses.py::test_distribution_weight_adds_the_negative_log_likelihood",),
}

EVERYTHING: dict[str, Switch] = {
    "base": Switch(
        "base",
        {
            "data": {"vector_patch_size": 8},
            "model": {
                "d_model": 24,
                "heads": 4,
                "map_layers": 3,
                "series_layers": 2,
                "fusion_layers": 2,
                "mlp_ratio": 2.0,
                "dropout": 0.2,
                "decoder_dim": 8,
                "decoder_self_attn": True,
                "prediction_ratio": 0.5,
                "use_weighted_fm": True,
                "use_fm_layers": (0, 2, 5),
                "use_input": True,
                "contrastive_weight": 0.01,
                "contrastive_temperature": 0.1,
                "components": 2,
            },
            "masks": {"kind": "unified", "map_ratio": 0.5, "series_ratio": 0.3},
        },
    ),
}
EVERYTHING["fast"] = Switch(
    "fast",
    EVERYTHING["base"].turned
    | {"model": EVERYTHING["base"].turned["model"] | {"mixers": ("recurrent", "time", "space"), "neighbours": 5}},
)
EVERYTHING["rivers"] = Switch(
    "rivers",
    {
        "model": EVERYTHING["base"].turned["model"]
        | {
            "contrastive_weight": 0.0,
            "static_tokens": True,
            "neighbours": 2,
            "use_fm_layers": (0, 2, 4),
            "decoder_layers": 2,
        },
        "masks": {"series_ratio": 0.6},
    },
)
