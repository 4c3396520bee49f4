"""One configuration: frozen dataclasses, validated at the door.

A config file (`configs/*.py`) builds one `Config` named `config` with differences only; the command line may override any
field. Fields that do not exist, or that contradict each other, are refused with one line.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from hydromae.bounds import check_numbers, check_period
from hydromae.errors import InputError
from hydromae.modalities import MODALITIES

Mixer = Literal["joint", "time", "recurrent", "space"]
MaskKind = Literal["random", "unified", "tube", "span", "future", "blind", "site", "modality", "mixture"]
Precision = Literal["fp32", "bf16", "fp16"]
TrackerKind = Literal["none", "auto", "wandb", "tensorboard"]


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
    sites: int | None = None
    """Catchments in a training window, the nearest ones to a centre; None takes all."""
    vector_patch_size: int = 8
    """Catchments in one token of a series modality."""
    held_out: tuple[str, ...] = ()
    """Catchments that are in no training sample, neither as input nor as target."""
    warm_up_days: int = 0
    """First days of a window that are not scored."""
    trait_dropout: float = 0.0
    """Share of catchments that lose all traits but position and area in a sample; half as many lose single traits."""
    position_jitter: float = 0.0
    """Largest shift of a catchment's position in a sample [km]."""
    cache_images: bool = True
    """Keep maps in memory; False keeps them in files of the run, which all processes of a machine share."""
    variable_dropout: float = 0.0
    """Share of samples in which one variable of a shared modality is taken away."""


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
    priors: bool = False
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
    """Share of land patches hidden in map modalities."""
    series_ratio: float = 0.4
    """Share of tokens hidden in series modalities."""
    answered: tuple[str, ...] = ()
    """Modalities that question masks hide; none named means every modality."""
    span_days: tuple[int, int] = (1, 60)
    """Shortest and longest gap of `span` [days], drawn log-uniformly."""
    lead_days: int = 10
    """Half of `future` and `blind` hide at most so many days."""
    mixture: tuple[tuple[str, float], ...] = (("random", 1.0),)
    """Masks of `mixture`, each with its weight."""


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
    """Worker processes that prepare batches ahead, for each device; 0 prepares them in between."""
    epochs: float = 10
    """Passes over the windows."""
    warmup_epochs: float = 5
    """Epochs of linear warm-up."""
    steps_per_epoch: int | None = None
    """Updates that count as an epoch; None means one pass over the windows."""
    precision: Precision = "fp32"
    """Arithmetic of the forward pass; weights and their averages are fp32."""
    loss_scale: float = 65536.0
    """First loss scale of fp16, which is dynamic."""
    loss_scale_window: int = 1000
    """Updates without overflow after which the loss scale doubles."""
    loss_scale_hysteresis: int = 2
    """Overflows that it takes to halve the loss scale."""
    min_loss_scale: float = 1.0
    """Smallest loss scale."""
    averaged_weights: float = 0.0
    """Decay of an exponential average of the weights, which the run then answers with; 0 keeps none."""
    seed: int = 0
    """Seed of weights, windows and masks."""
    log_every: int = 10
    """Steps between two lines of the journal."""
    tracker: TrackerKind = "none"
    """Where the journal's lines go beside its file; auto: W&B, else TensorBoard, where it is installed."""
    wandb_project: str = "water-mae-pretraining"
    """Project on W&B."""
    wandb_entity: str | None = None
    """User or team on W&B; None takes the account's own."""
    validate_every: float = 1
    """Epochs between two validations."""
    validation_windows: int = 16
    """Windows of a validation, with masks that never change."""
    checkpoint_every: float = 10
    """Epochs between two checkpoints."""
    keep_last: int = 10
    """Checkpoints kept."""
    task_weights: tuple[tuple[str, float], ...] = (
        ("precipitation", 100.0),
        ("soil_moisture", 10.0),
        ("temperature", 10.0),
        ("evaporation", 1.0),
        ("weather", 1.0),
        ("riverflow", 1.0),
    )
    """Weight of each modality's loss."""
    catchment_variance: bool = False
    """Divide squared errors by each catchment's own variance over the training days (loss only, never an input)."""
    distribution_weight: float = 0.1
    """Weight of the log-likelihood beside the squared error of the mean."""


@dataclass(frozen=True)
class Config:
    """All of it."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        check(self)

    def to_json(self) -> str:
        """The configuration as JSON, for a run's folder and its checkpoints."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str, source: str = "config") -> Config:
        """Read a configuration; unknown fields and wrong types are refused with one line that names `source`."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(text)
        except (RecursionError, UnicodeError) as error:
            raise InputError(f"{source}: is not a configuration ({type(error).__name__}); restore the file") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{source}: field '{where}': {first['msg']}; see hydromae pretrain --help") from None

    def having(self, **sections: dict[str, Any]) -> Config:
        """A copy with fields replaced, section by section: `config.having(model={"d_model": 64})`."""
        parts = {name: dataclasses.replace(getattr(self, name), **fields) for name, fields in sections.items()}
        return dataclasses.replace(self, **parts)


def _check_fields(config: Config) -> None:
    """Refuse a number out of its bounds, a period that is not two ordered days, and names that come twice or never."""
    check_numbers(dataclasses.asdict(config))
    data, model, masks = config.data, config.model, config.masks
    check_period("data.training_period", data.training_period)
    check_period("data.validation_period", data.validation_period)
    if masks.span_days[0] > masks.span_days[1]:
        raise InputError(f"config: masks.span_days {masks.span_days} runs backwards; give the shortest gap first")
    if not model.modalities or len(set(model.modalities)) < len(model.modalities) or not model.mixers:
        raise InputError("config: model.streams and model.mixers name at least one each, and no modality twice")


def check(config: Config) -> None:
    """Refuse contradictions, with one line each."""
    _check_fields(config)
    model, data, masks = config.model, config.data, config.masks
    named = model.modalities
    for name in (*named, *masks.answered):
        if name not in MODALITIES:
            raise InputError(
                f"config: modality '{name}' is not in the table ({', '.join(MODALITIES)}); name one of them"
            )
    for name in masks.answered:
        if name not in named:
            raise InputError(f"config: masks.answered names '{name}', which model.streams lacks; add it there")
    parts = sorted(set(get_args(MaskKind)) - {"mixture"})
    for name, weight in masks.mixture:
        if name not in parts or weight < 0:
            raise InputError(f"config: masks.mixture holds {name} {weight:g}; use {', '.join(parts)}, weights from 0")
    if not sum(weight for _, weight in masks.mixture):
        raise InputError("config: masks.mixture has no weight above 0; give at least one mask a weight")
    if "joint" in model.mixers and model.mixers != ("joint",):
        raise InputError(
            "config: model.mixers 'joint' mixes everything; it stands alone, or use time/recurrent and space"
        )
    if "joint" in model.mixers and not model.decoder_layers:
        raise InputError(
            "config: model.decoder_layers 0 reads answers from hidden tokens, which 'joint' drops; use 1 or more"
        )
    if model.priors and (data.vector_patch_size != 1 or "weather+riverflow" not in model.streams):
        raise InputError("config: model.priors needs data.vector_patch_size 1 and the stream weather+riverflow")
    kinds = {MODALITIES[name].kind for name in named}
    if data.sites is not None and kinds != {"series"}:
        raise InputError(
            "config: data.sites picks catchments for a window; with maps every site is read, leave it None"
        )
    depths = {"map": model.map_layers, "series": model.series_layers}
    layers = model.use_input + max((depths[kind] for kind in kinds), default=0) + model.fusion_layers
    for layer in model.use_fm_layers or ():
        if not 0 <= layer < layers:
            raise InputError(f"config: model.use_fm_layers names {layer}, but there are layers 0 to {layers - 1}")
    if model.d_model % model.heads or model.decoder_dim % model.heads:
        raise InputError(f"config: model.d_model and decoder_dim must be multiples of heads ({model.heads})")
    if model.contrastive_weight and (not model.fusion_layers or len(model.streams) < 2):
        raise InputError(
            "config: model.contrastive_weight compares streams in fusion; give it two streams and fusion_layers, or weight 0"
        )
    reading = model.decoder_layers if "joint" in model.mixers else model.decoder_layers // 2
    if model.static_tokens and not model.fusion_layers and not reading:
        raise InputError(
            "config: model.static_tokens are read in fusion and in decoders; give fusion_layers, or turn off"
        )
    for stream in model.shared:
        if len({MODALITIES[name].kind for name in stream}) != 1:
            raise InputError(
                f"config: stream {'+'.join(stream)} mixes maps and series; only modalities at the same sites share a token"
            )
