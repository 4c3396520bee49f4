"""Presets of the configuration.

`base` is the reference specification (dense joint attention), `fast` has the same width and depth with attention in two
directions, `rivers` is for catchment data in long windows with a mixture of tasks, `national` is `rivers` with maps and
evaporation, and `tiny` is a small `rivers` for tests and for the demo (`DEMO`).
"""

from hydromae.config import Config, DataConfig, MaskConfig, ModelConfig, OptimizerConfig, TrainConfig

RIVERS = Config(
    data=DataConfig(
        training_period=("1970-01-01", "2010-12-31"),
        validation_period=("2011-01-01", "2012-09-30"),
        sequence_length=365,
        stride=61,
        catchments_per_window=24,
        vector_patch_size=1,
        warm_up_days=60,
        attribute_dropout=0.15,
        position_jitter=5.0,
        variable_dropout=0.1,
        antecedent_days=1460,
        max_flow_gap=14,
    ),
    model=ModelConfig(
        streams=("weather+riverflow",),
        d_model=96,
        heads=4,
        mixers=("recurrent", "space"),
        series_layers=2,
        fusion_layers=0,
        mlp_ratio=2.0,
        dropout=0.0,
        static_tokens=False,
        footprints=False,
        recurrent_width=48,
        lstm_width=128,
        lstm_ar_width=64,
        lstm_dropout=0.3,
        estimators=True,
        neighbours=24,
        decoder_dim=96,
        decoder_layers=0,
    ),
    masks=MaskConfig(
        kind="mixture",
        target_modalities=("riverflow",),
        mixture=(
            ("gap", 0.3),
            ("ungauged", 0.2),
            ("simulate", 0.1),
            ("forecast", 0.2),
            ("forecast-blind", 0.1),
            ("outage", 0.1),
        ),
    ),
    optimizer=OptimizerConfig(lr=2e-3, weight_decay=0.01, betas=(0.9, 0.99)),
    train=TrainConfig(
        batch_size=2,
        epochs=10,
        warmup_epochs=0.5,
        steps_per_epoch=500,
        ema_decay=0.998,
        task_weights=(("weather", 0.1), ("riverflow", 1.0)),
        nse_loss=True,
        flow_loss_weight=0.7,
        validate_every=1,
        validation_windows=16,
        checkpoint_every=1,
        keep_last=2,
    ),
)

NATIONAL = RIVERS.having(
    data={"patches_per_window": 16},
    model={
        "streams": ("weather+riverflow+evaporation", "precipitation", "soil_moisture", "temperature"),
        "map_layers": 1,
        "fusion_layers": 1,
        "fusion_gates": True,
        "map_estimators": True,
        "map_distributions": True,
    },
    masks={
        "mixture": (
            ("gap", 0.2),
            ("ungauged", 0.15),
            ("simulate", 0.1),
            ("forecast", 0.15),
            ("forecast-blind", 0.15),
            ("outage", 0.1),
            ("random", 0.1),
            ("modality", 0.05),
        ),
    },
    train={
        "task_weights": (
            ("precipitation", 0.1),
            ("soil_moisture", 0.1),
            ("temperature", 0.1),
            ("evaporation", 0.1),
            ("weather", 0.1),
            ("riverflow", 1.0),
        ),
    },
)

TINY = RIVERS.having(
    data={"sequence_length": 180, "stride": 45, "catchments_per_window": 12, "warm_up_days": 30},
    model={
        "d_model": 48,
        "heads": 4,
        "decoder_dim": 48,
        "neighbours": 12,
        "recurrent_width": 24,
        "lstm_width": 48,
        "lstm_ar_width": 24,
        "lstm_dropout": 0.0,
    },
    train={"epochs": 4, "steps_per_epoch": 100, "precision": "fp32"},
)

DEMO = TINY.having(
    data={"training_period": ("2003-01-01", "2010-12-31"), "validation_period": ("2011-01-01", "2012-12-31")},
    train={"epochs": 8, "warmup_epochs": 0.5, "ema_decay": 0.99, "checkpoint_every": 4, "validation_windows": 8},
)

BASE = Config()
FAST = BASE.having(model={"mixers": ("time", "space"), "alternate_mixers": True})

PRESETS: dict[str, Config] = {"tiny": TINY, "base": BASE, "fast": FAST, "rivers": RIVERS, "national": NATIONAL}

SEED = BASE.having(train={"precision": "fp16", "workers": 12, "tracker": "auto"})
"""`base` with the training settings of the reference specification for GPUs (`configs/mae_config.py`)."""
