"""Sections and fields of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from hydromae.variables import MODALITIES

Mixer = Literal["joint", "time", "recurrent", "space"]
MaskKind = Literal[
    "random",
    "unified",
    "tube",
    "gap",
    "outage",
    "modality",
    "forecast",
    "forecast-blind",
    "ungauged",
    "simulate",
    "mixture",
]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
TrackerKind = Literal["none", "auto", "wandb", "tensorboard"]
TASK_WEIGHTS: tuple[tuple[str, float], ...] = (
    ("precipitation", 100.0),
    ("soil_moisture", 10.0),
    ("temperature", 10.0),
    ("evaporation", 1.0),
    ("weather", 1.0),
    ("riverflow", 1.0),
)
"""Default weight of each modality's loss."""


@dataclass(frozen=True)
class DataConfig:
    """Data and windows of training."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    training_period: tuple[str, str] = ("1989-01-01", "2010-12-31")
    """First and last day of training."""
    validation_period: tuple[str, str] = ("2011-01-01", "2015-12-30")
    """First and last day of the validation loss."""
    sequence_length: int = 30
    """Days in a window."""
    stride: int = 20
    """Days between the starts of two windows."""
    catchments_per_window: int | None = None
    """Catchments in a training window, near a random centre; None means all."""
    patches_per_window: int | None = None
    """Land patches of each map in a training window, the nearest to its centre; None means all."""
    vector_patch_size: int = 8
    """Catchments in one token of a series modality."""
    held_out: tuple[str, ...] = ()
    """Catchments that are in no training sample, neither as input nor as target."""
    warm_up_days: int = 0
    """First days of a window that are no targets."""
    attribute_dropout: float = 0.0
    """Share of catchments in a window of which only position and area are known; single attributes drop half as often."""
    position_jitter: float = 0.0
    """Largest random shift of a catchment's position in a window [km]."""
    cache_images: bool = True
    """Read the whole record into memory at the start; False reads the days of a window at their first use."""
    variable_dropout: float = 0.0
    """Share of windows in which one variable of a modality of several variables is hidden."""
    antecedent_days: int = 0
    """Length of the antecedent weather, from which the LSTM of `model.lstm_width` starts; random in half of the training
    windows, because a user's record may be short."""
    max_flow_gap: int = 0
    """Longest gap [days] in the flow input of `model.lstm_ar_width` in training, between spells of up to twice as many days;
    0 means no gaps."""


@dataclass(frozen=True)
class ModelConfig:
    """The masked autoencoder. The defaults are those of the reference specification (`base`)."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    streams: tuple[str, ...] = ("precipitation", "soil_moisture", "temperature", "evaporation", "riverflow")
    """Modalities; those at the same sites may share a token: "weather+riverflow"."""
    d_model: int = 256
    """Width of the encoder."""
    heads: int = 8
    """Attention heads of encoder and decoder."""
    mixers: tuple[Mixer, ...] = ("joint",)
    """Mixers of a block: over all tokens (joint), the days of a site (time or recurrent), or the sites of a day (space)."""
    alternate_mixers: bool = False
    """Each block has one of the mixers in turn, instead of all of them."""
    map_layers: int = 6
    """Blocks of each map encoder."""
    series_layers: int = 4
    """Blocks of each series encoder."""
    fusion_layers: int = 2
    """Joint blocks over all modalities."""
    fusion_gates: bool = False
    """Add the joint blocks to each stream with a learned gate, in windows with visible maps, instead of replacing it."""
    mlp_ratio: float = 4.0
    """Hidden width of a block's feed-forward network, in widths of the block."""
    dropout: float = 0.1
    """Dropout in every block."""
    film: bool = True
    """Modulate series tokens by the static attributes of their catchments."""
    static_tokens: bool = True
    """Add a token with the static attributes of each site to the fusion, never hidden."""
    footprints: bool = True
    """Add the mean of the visible map cells in its footprint to a catchment's token."""
    recurrent_width: int | None = None
    """Width of each direction of a recurrent mixer; None means `d_model`."""
    lstm_width: int = 0
    """Width of the LSTM that simulates flow from weather; 0 means none."""
    lstm_members: int = 1
    """Number of LSTMs that simulate flow, each from its own random weights; their predictions are averaged."""
    lstm_ar_width: int = 0
    """Width of the autoregressive LSTM, which also reads flow of earlier days; 0 means none."""
    lstm_dropout: float = 0.0
    """Dropout of the states of both LSTMs."""
    lstm_max_temperature: float | None = None
    """Temperature [°C] that the LSTMs read on warmer days with known evaporation, so that warmth acts through evaporation
    alone and cold through snow; they do not read the temperature before the window then. None means no limit."""
    estimators: bool = False
    """Add standard estimates of flow (interpolation, donors, regression, LSTMs) to the mean of each catchment, weighted by a
    learned gate; rain is that of catchments or of maps."""
    map_estimators: bool = False
    """Add standard estimates of maps (in space, in time, from catchments) to the mean, weighted by a learned gate."""
    map_distributions: bool = False
    """Predict distributions of maps, too, not only their means."""
    neighbours: int | None = None
    """Nearest sites, including itself, to which a site attends in a space mixer and from which estimators estimate flow; None
    means all, for estimators 24."""
    decoder_dim: int = 128
    """Width of the decoder."""
    decoder_layers: int = 4
    """Cross-attention blocks; with 0 the heads read the encoded token itself."""
    decoder_self_attn: bool = False
    """Self-attention between hidden tokens in the decoder."""
    prediction_ratio: float = 1.0
    """Share of the hidden tokens that are decoded in training."""
    use_weighted_fm: bool = False
    """Each decoder layer reads a learned mix of encoder layers."""
    use_fm_layers: tuple[int, ...] | None = None
    """Encoder layers of that mix; None means all."""
    use_input: bool = False
    """Include the embeddings in that mix as layer 0."""
    contrastive_weight: float = 0.0
    """Weight of the contrastive loss between modalities (CAV-MAE uses 0.01)."""
    contrastive_temperature: float = 0.05
    """Temperature of the contrastive loss."""
    components: int = 3
    """Gaussians in the predictive distribution of a value."""

    @property
    def has_attention(self) -> bool:
        """Whether any block has attention heads."""
        return self.decoder_layers > 0 or (self.mixers != ("recurrent",) and self.blocks > 0)

    @property
    def blocks(self) -> int:
        """Blocks of a map encoder, a series encoder and the fusion, as far as the streams use them."""
        kinds = {MODALITIES[name].kind for name in self.modalities if name in MODALITIES}
        return ("map" in kinds) * self.map_layers + ("series" in kinds) * self.series_layers + self.fusion_layers

    @property
    def shared(self) -> tuple[tuple[str, ...], ...]:
        """Names of the modalities of each stream."""
        return tuple(tuple(stream.split("+")) for stream in self.streams)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of all modalities, in the order of the streams."""
        return tuple(name for names in self.shared for name in names)


@dataclass(frozen=True)
class MaskConfig:
    """Distribution of the masks in training."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    kind: MaskKind = "random"
    """A mask of `masking.MASKS`."""
    map_ratio: float = 0.4
    """Share of the land patches of every day that `random` and `unified` hide in maps; for `tube`, of the whole window."""
    series_ratio: float = 0.4
    """Share of the days of every group of catchments that `random` and `unified` hide; for `tube`, share of the groups."""
    target_modalities: tuple[str, ...] = ()
    """Modalities that `gap`, `forecast`, `ungauged` and `simulate` hide; empty means all."""
    gap_days: tuple[int, int] = (1, 60)
    """Shortest and longest gap of `gap` and `outage` [days], drawn log-uniformly."""
    lead_days: int = 10
    """Longest lead of half of the masks `forecast` and `forecast-blind` [days]."""
    mixture: tuple[tuple[str, float], ...] = (("random", 1.0),)
    """Masks of `mixture` with their weights."""

    @property
    def drawn(self) -> set[str]:
        """Names of the masks that are drawn."""
        return {name for name, weight in self.mixture if weight} if self.kind == "mixture" else {self.kind}

    def hideable(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some modalities that the masks can hide."""
        single = self.target_modalities and self.drawn <= {"gap", "forecast", "ungauged", "simulate"}
        return tuple(name for name in modalities if not single or name in self.target_modalities)


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with gradient clipping."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    lr: float = 1e-4
    """Highest learning rate."""
    min_lr: float = 0.0
    """Learning rate at the end of the cosine."""
    weight_decay: float = 0.05
    """Weight decay of matrices; norms, biases and tokens have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of AdamW's averages."""
    eps: float = 1e-8
    """AdamW's epsilon."""
    clip: float = 1.0
    """Largest norm of the gradient."""


@dataclass(frozen=True)
class TrainConfig:
    """Training run and loss."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    batch_size: int = 16
    """Windows in a batch on each device."""
    accumulation: int = 1
    """Batches of an update (gradient accumulation)."""
    workers: int = 0
    """Threads that prepare batches, for each device; 0 prepares them in the main thread."""
    epochs: float = 10
    """Passes over the windows."""
    warmup_epochs: float = 5
    """Epochs of linear warm-up."""
    steps_per_epoch: int | None = None
    """Updates of an epoch; None means one pass over the windows."""
    precision: Precision = "auto"
    """Precision of the forward pass; weights are fp32. auto: bf16 if it is native to the device, otherwise fp32."""
    loss_scale: float = 65536.0
    """Initial value of the dynamic loss scale of fp16."""
    loss_scale_window: int = 1000
    """Updates without overflow before the loss scale doubles."""
    loss_scale_hysteresis: int = 2
    """Overflows before the loss scale halves."""
    min_loss_scale: float = 1.0
    """Smallest loss scale."""
    ema_decay: float = 0.0
    """Decay of an exponential average of the weights, used for prediction; 0 means no average."""
    seed: int = 0
    """Seed of weights, windows and masks."""
    log_every: int = 10
    """Batches of one process between two lines of the journal, written at the end of an update."""
    tracker: TrackerKind = "none"
    """Tracker for the lines of the journal; auto: the first installed of W&B and TensorBoard."""
    wandb_project: str = "water-mae-pretraining"
    """Project on W&B."""
    wandb_entity: str | None = None
    """User or team on W&B; None means the default of the account."""
    validate_every: float = 1
    """Epochs between two validations."""
    validation_windows: int | None = None
    """Windows of a validation, with constant masks; None means every window of the validation period."""
    checkpoint_every: float = 10
    """Epochs between two checkpoints."""
    keep_last: int = 10
    """Number of checkpoints that are kept."""
    task_weights: tuple[tuple[str, float], ...] = TASK_WEIGHTS
    """Weight of each modality's loss; modalities that are not named keep their weights."""
    nse_loss: bool = False
    """Divide squared errors of river flow by each catchment's variance over the training days (in the loss only)."""
    flow_loss_weight: float = 0.0
    """Share of the squared error of flow [mm/day], divided by its variance, in the loss of river flow; the rest is the error
    of the scaled root, whose gradients are more stable."""
    lstm_loss_weight: float = 1.0
    """Weight of the squared error of each LSTM on every observed day, relative to that of the predictions."""
    distribution_weight: float = 0.1
    """Weight of the negative log-likelihood relative to the squared error of the mean."""

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each modality's loss, by name."""
        return dict(TASK_WEIGHTS) | dict(self.task_weights)


@dataclass(frozen=True)
class Sections:
    """The five sections of a configuration, before validation."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
