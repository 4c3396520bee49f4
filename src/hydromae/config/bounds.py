"""Bounds of the numbers of a configuration, which exclude mistakes and attacks, not experiments."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from hydromae.errors import InputError

MANY = 1e9
RATIO = (0.0, 1.0)
WEIGHT = (0.0, 1e6)

BOUNDS: dict[str, tuple[float, float]] = {
    "data.sequence_length": (1, 100_000),
    "data.stride": (1, 100_000),
    "data.catchments_per_window": (1, 1_000_000),
    "data.patches_per_window": (1, 1_000_000),
    "data.vector_patch_size": (1, 1024),
    "data.warm_up_days": (0, 100_000),
    "data.attribute_dropout": RATIO,
    "data.position_jitter": (0, 10_000),
    "data.variable_dropout": RATIO,
    "data.antecedent_days": (0, 100_000),
    "data.max_flow_gap": (0, 100_000),
    "model.d_model": (1, 16_384),
    "model.heads": (1, 1024),
    "model.map_layers": (0, 256),
    "model.series_layers": (0, 256),
    "model.fusion_layers": (0, 256),
    "model.mlp_ratio": (0.01, 64),
    "model.dropout": (0, 0.99),
    "model.neighbours": (1, 1_000_000),
    "model.recurrent_width": (1, 16_384),
    "model.lstm_width": (0, 16_384),
    "model.lstm_members": (1, 64),
    "model.lstm_ar_width": (0, 16_384),
    "model.lstm_dropout": (0, 0.99),
    "model.lstm_max_temperature": (-50, 60),
    "model.decoder_dim": (1, 16_384),
    "model.decoder_layers": (0, 256),
    "model.prediction_ratio": (0.001, 1),
    "model.contrastive_weight": WEIGHT,
    "model.contrastive_temperature": (1e-4, 1e4),
    "model.components": (1, 1024),
    "masks.map_ratio": RATIO,
    "masks.series_ratio": RATIO,
    "masks.gap_days": (1, 100_000),
    "masks.lead_days": (1, 100_000),
    "masks.mixture": WEIGHT,
    "optimizer.lr": (0, 1e3),
    "optimizer.min_lr": (0, 1e3),
    "optimizer.weight_decay": (0, 1e3),
    "optimizer.betas": (0, 0.999999),
    "optimizer.eps": (1e-30, 1),
    "optimizer.clip": (1e-12, 1e12),
    "train.batch_size": (1, 65_536),
    "train.accumulation": (1, 65_536),
    "train.workers": (0, 1024),
    "train.loss_scale": (1, 1e30),
    "train.loss_scale_window": (1, MANY),
    "train.loss_scale_hysteresis": (1, MANY),
    "train.min_loss_scale": (1e-30, 1e30),
    "train.epochs": (1e-6, 1e6),
    "train.warmup_epochs": (0, 1e6),
    "train.steps_per_epoch": (1, MANY),
    "train.ema_decay": (0, 0.9999999),
    "train.seed": (0, 2**31 - 1),
    "train.log_every": (1, MANY),
    "train.validate_every": (1e-6, 1e6),
    "train.validation_windows": (1, 1_000_000),
    "train.checkpoint_every": (1e-6, 1e6),
    "train.keep_last": (1, 1_000_000),
    "train.task_weights": WEIGHT,
    "train.flow_loss_weight": RATIO,
    "train.lstm_loss_weight": WEIGHT,
    "train.distribution_weight": WEIGHT,
}
"""Section and field -> smallest and largest valid value of each number of the field."""


def check_numbers(sections: Mapping[str, Mapping[str, object]]) -> None:
    """Refuse a number out of bounds; numbers of fields without bounds must be finite."""
    for section, fields in sections.items():
        for name, value in fields.items():
            low, high = BOUNDS.get(f"{section}.{name}", (-1.7e308, 1.7e308))
            for number in _numbers_in(value):
                if not low <= number <= high:  # also refuses NaN
                    fault = f"{section}.{name} has the value {str(number)[:40]}"
                    raise InputError(f"config: {fault}; give a value from {low:g} to {high:g}")


def check_period(name: str, period: tuple[str, str]) -> None:
    """Refuse a period that is not two ordered days."""
    try:
        first, last = (datetime.date.fromisoformat(day) for day in period)
        ordered = first.year >= 1678 and last.year <= 2261 and first <= last
    except (ValueError, TypeError):
        ordered = False
    if not ordered:
        raise InputError(f"config: {name} is {period!r}; give two days in order, YYYY-MM-DD")


def _numbers_in(value: object) -> list[float]:
    if isinstance(value, tuple | list):
        return [number for part in value for number in _numbers_in(part)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []
