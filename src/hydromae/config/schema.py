"""The sections of a configuration: frozen dataclasses, every field with what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from hydromae.variables import MODALITIES

Mixer = Literal["joint", "time", "recurrent", "space"]
MaskKind = Literal[
    "random", "unified", "tube", "gap", "outage", "forecast", "forecast-blind", "ungauged", "simulate", "mixture"
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
"""Weight of each modality's loss where the configuration names no other."""


@dataclass(frozen=True)
class DataConfig:
    """What training reads."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    training_period: tuple[str, str] = ("1989-01-01", "2010-12-31")
    """First and last day that training may see."""
    validation_period: tuple[str, str] = ("2011-01-01", "2015-12-30")
    """First and last day of the validation loss."""
    sequence_length: int = 30
    """Days in a window."""
    stride: int = 20
    """Days between the starts of two windows."""
    catchments_per_window: int | None = None
    """Catchments in a training window, the nearest ones to a centre; None takes all."""
    vector_patch_size: int = 8
    """Catchments in one token of a series modality."""
    held_out: tuple[str, ...] = ()
    """Catchments that are in no training sample, neither as input nor as target."""
    warm_up_days: int = 0
    """First days of a window that are not scored."""
    attribute_dropout: float = 0.0
    """Share of catchments that lose all traits but position and area in a sample; half as many lose single traits."""
    position_jitter: float = 0.0
    """Largest shift of a catchment's position in a sample [km]."""
    cache_images: bool = True
    """Bring the whole record into memory at the start; False streams it, a window's days when it first asks for them."""
    variable_dropout: float = 0.0
    """Share of samples in which one variable of a shared modality is taken away."""
    antecedent_days: int = 0
    """Days before a window whose weather is summed up for it (`model.lstm_width` starts from them); in half of the training
    windows fewer, for a user's record may be short."""
    max_flow_gap: int = 0
    """Longest gap [days] in the flow that `model.lstm_ar_width` is shown in training, after views of up to twice as
    many; 0 has none."""


@dataclass(frozen=True)
class ModelConfig:
    """The masked autoencoder. The defaults are the seed's numbers (`base`)."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    streams: tuple[str, ...] = ("precipitation", "soil_moisture", "temperature", "evaporation", "riverflow")
    """Modalities; those at the same sites may share a token: "weather+riverflow"."""
    d_model: int = 256
    """Width of the encoder."""
    heads: int = 8
    """Attention heads of encoder and decoder."""
    mixers: tuple[Mixer, ...] = ("joint",)
    """What a block mixes: all tokens (joint), a site's days (time or recurrent), a day's sites (space)."""
    alternate_mixers: bool = False
    """Blocks take the mixers in turn, one each, instead of all of them."""
    map_layers: int = 6
    """Blocks of each map encoder."""
    series_layers: int = 4
    """Blocks of each series encoder."""
    fusion_layers: int = 2
    """Blocks over all modalities together."""
    mlp_ratio: float = 4.0
    """Hidden width of a block's feed-forward part, in widths."""
    dropout: float = 0.1
    """Dropout in every block."""
    film: bool = True
    """Modulate series tokens by their catchments' traits."""
    static_tokens: bool = True
    """Carry each site's traits through fusion as a token that is never hidden."""
    footprints: bool = True
    """Give a catchment's token the mean of the visible map cells above it."""
    recurrent_width: int | None = None
    """Width of each direction of a recurrent mixer; None means `d_model`."""
    lstm_width: int = 0
    """Width of a memory that makes flow of weather alone, on every day, for the rest to correct; 0 has none."""
    lstm_ar_width: int = 0
    """Width of a second one that also sees the river's own flow of earlier days; 0 has none."""
    lstm_dropout: float = 0.0
    """Dropout of the states of both memories."""
    estimators: bool = False
    """Start answers from the river's own days and its neighbours, with learned gates."""
    neighbours: int | None = None
    """Sites that one site looks at in a space mixer, itself included; None takes all."""
    decoder_dim: int = 128
    """Width of the decoder."""
    decoder_layers: int = 4
    """Cross-attention blocks; 0 reads the answer from the token itself."""
    decoder_self_attn: bool = False
    """Let hidden tokens look at each other in the decoder."""
    prediction_ratio: float = 1.0
    """Share of the hidden tokens that training decodes."""
    use_weighted_fm: bool = False
    """Each decoder layer reads its own learned mix of encoder layers."""
    use_fm_layers: tuple[int, ...] | None = None
    """Which encoder layers enter that mix; None takes all."""
    use_input: bool = False
    """Let the embeddings enter that mix as layer 0."""
    contrastive_weight: float = 0.0
    """Weight of the contrastive loss between modalities (CAV-MAE uses 0.01)."""
    contrastive_temperature: float = 0.05
    """Temperature of the contrastive loss."""
    components: int = 3
    """Gaussians in the distribution of a series value."""

    @property
    def has_attention(self) -> bool:
        """Whether any block has attention heads."""
        return self.decoder_layers > 0 or (self.mixers != ("recurrent",) and self.blocks > 0)

    @property
    def blocks(self) -> int:
        """Blocks of the encoders that the streams have, and of the fusion."""
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
    """The distribution of masks to train on: which questions are asked, how often."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    kind: MaskKind = "random"
    """One of the masks of `masking.MASKS`."""
    map_ratio: float = 0.4
    """Share of the land patches of every day that `random` and `unified` hide in map modalities; `tube`: of all days."""
    series_ratio: float = 0.4
    """Share of the days of every group of catchments that they hide in series modalities; `tube`: share of the groups."""
    target_modalities: tuple[str, ...] = ()
    """Modalities that question masks hide; none named means every modality."""
    gap_days: tuple[int, int] = (1, 60)
    """Shortest and longest gap of `gap` and `outage` [days], drawn log-uniformly."""
    lead_days: int = 10
    """Half of `forecast` and `forecast-blind` hide at most so many days."""
    mixture: tuple[tuple[str, float], ...] = (("random", 1.0),)
    """Masks of `mixture`, each with its weight."""

    @property
    def drawn(self) -> set[str]:
        """Names of the masks that are ever drawn."""
        return {name for name, weight in self.mixture if weight} if self.kind == "mixture" else {self.kind}

    def hideable(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some modalities that a mask ever hides: the answered ones, or all where any mask hides all."""
        single = self.target_modalities and self.drawn <= {"gap", "forecast", "ungauged", "simulate"}
        return tuple(name for name in modalities if not single or name in self.target_modalities)


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with clipping."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    lr: float = 1e-4
    """Highest learning rate."""
    min_lr: float = 0.0
    """Learning rate at the end of the cosine."""
    weight_decay: float = 0.05
    """Decay of matrices; norms, biases and tokens have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's averages."""
    eps: float = 1e-8
    """AdamW's epsilon."""
    clip: float = 1.0
    """Largest norm of the gradient."""


@dataclass(frozen=True)
class TrainConfig:
    """The loop."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    batch_size: int = 16
    """Windows in a batch on each device."""
    accumulation: int = 1
    """Batches whose gradients are added before one update."""
    workers: int = 0
    """Threads that prepare batches ahead, for each device; 0 prepares them in between."""
    epochs: float = 10
    """Passes over the windows."""
    warmup_epochs: float = 5
    """Epochs of linear warm-up."""
    steps_per_epoch: int | None = None
    """Updates that count as an epoch; None means one pass over the windows."""
    precision: Precision = "auto"
    """Arithmetic of the forward pass; weights and their averages are fp32. auto: bf16 where the device has it natively, else
    fp32."""
    loss_scale: float = 65536.0
    """First loss scale of fp16, which is dynamic."""
    loss_scale_window: int = 1000
    """Updates without overflow after which the loss scale doubles."""
    loss_scale_hysteresis: int = 2
    """Overflows that it takes to halve the loss scale."""
    min_loss_scale: float = 1.0
    """Smallest loss scale."""
    ema_decay: float = 0.0
    """Decay of an exponential average of the weights, which the run then answers with; 0 keeps none."""
    seed: int = 0
    """Seed of weights, windows and masks."""
    log_every: int = 10
    """Batches of one process between two lines of the journal; written at the end of the update that holds the last one."""
    tracker: TrackerKind = "none"
    """Where the journal's lines go beside its file; auto: W&B, else TensorBoard, where it is installed."""
    wandb_project: str = "water-mae-pretraining"
    """Project on W&B."""
    wandb_entity: str | None = None
    """User or team on W&B; None takes the account's own."""
    validate_every: float = 1
    """Epochs between two validations."""
    validation_windows: int | None = None
    """Windows of a validation, with masks that never change; None takes every window of the validation period once."""
    checkpoint_every: float = 10
    """Epochs between two checkpoints."""
    keep_last: int = 10
    """Checkpoints kept."""
    task_weights: tuple[tuple[str, float], ...] = TASK_WEIGHTS
    """Weight of each modality's loss; a modality that is not named keeps its weight."""
    nse_loss: bool = False
    """Divide squared errors by each catchment's own variance over the training days (loss only, never an input)."""
    flow_loss_weight: float = 0.0
    """Share of river flow's squared error that is of flow itself [mm/day], over each river's variance of it; the rest is of
    its scaled root. What is scored is flow, what learns steadily is the root."""
    lstm_loss_weight: float = 1.0
    """Weight of the squared error of each of the model's memories, on every observed day, beside that of the answers."""
    distribution_weight: float = 0.1
    """Weight of the log-likelihood beside the squared error of the mean."""

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each modality's loss, by name; the default where `task_weights` does not name it."""
        return dict(TASK_WEIGHTS) | dict(self.task_weights)


@dataclass(frozen=True)
class Sections:
    """The five sections of a configuration, before anything is compared between them."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
