"""FLOPs of one training step: what torch's counter sees, what it does not, and a closed formula by configuration.

A multiplication and an addition are two FLOPs. `counted` runs a step under torch.utils.flop_counter, which on a CPU misses
two things: fused attention (`CPU_ATTENTION` lends it CUDA's formula) and LSTMs (`lstm_flops`). `formula` needs no step: it
follows the model part by part, from the configuration and the sizes of a batch, so that it also speaks of records that no
machine here could hold. tests/test_benchmarks_scaling.py holds one against the other for every preset.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from hydromae.batching.antecedent import antecedent_width as antecedent_width
from hydromae.config import Config, ModelConfig
from hydromae.model.estimators import Estimators
from hydromae.model.positional import SEPARATIONS, WAVELENGTHS
from hydromae.model.rainfall_runoff import FLOW_FEATURES, CatchmentLSTM
from hydromae.variables import ATTRIBUTES, MODALITIES
from tally import Flops, Grid, Sizes

POSITION = 4 * len(WAVELENGTHS) + 2 * len(ATTRIBUTES)
"""Features of a site's address."""
SEASON = 4
"""Features of a day."""


def lstm_flops(model: nn.Module, tokens: int) -> int:
    """FLOPs of forward and backward of every LSTM in a model for a number of tokens (Hochreiter and Schmidhuber 1997).

    A token costs 4 gates x hidden x (input + hidden) multiplications and additions a direction; backward costs twice that.
    """
    forward = 0
    for part in model.modules():
        if isinstance(part, nn.LSTM):
            directions = 2 if part.bidirectional else 1
            forward += 2 * 4 * part.hidden_size * (part.input_size + part.hidden_size) * directions * part.num_layers
    return 3 * forward * tokens


def _attention(query, key, value, *_, out_shape=None, **__):
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient, query, key, value, *_, out_shape=None, **__):
    return sdpa_backward_flop_count(gradient, query, key, value)


CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Attention as a CPU computes it, counted as torch counts it on CUDA (backward: the scores again, and four products)."""


def counted(deed: Callable[[], object]) -> int:
    """FLOPs that torch's counter sees in what `deed` does."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        deed()
    return counter.get_total_flops()


def saved_bytes(deed: Callable[[], object]) -> int:
    """Bytes that autograd keeps for backward in what `deed` does, each stretch once; weights (and views of them) left out."""
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor if tensor._base is None else tensor._base, nn.Parameter):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = deed()
    del result
    return sum(held.values())


def formula(config: Config, sizes: Sizes) -> Flops:
    """FLOPs of forward and backward of one batch, and the values kept in between, in closed form.

    Useful ones: what is made again on the way back stands apart (`Flops.again`), and lines are not filled up. Left out: what
    is not a product (norms, softmax, priors, footprints, the loss).

    Raises
    ------
    ValueError
        For the mix of encoder layers and the contrastive loss, which no preset has.
    """
    model = config.model
    if model.use_weighted_fm or model.contrastive_weight:
        raise ValueError("the formula does not know use_weighted_fm and contrastive_weight; count the step instead")
    flops = Flops(dropout=model.dropout > 0)
    grids = []
    for names in model.shared:
        _embed(flops, config, sizes, names)
        grids.append(Grid(sizes.windows, sizes.days, sizes.of_kind(MODALITIES[names[0]].kind), sizes.kept_of(names)))
    flops.close("embed")
    for names, grid in zip(model.shared, grids, strict=True):
        series = MODALITIES[names[0]].kind == "series"
        turns = _turns(model, model.series_layers if series else model.map_layers)
        _stack(flops, model, grid, turns, film=model.film and series)
    flops.close("encode")
    memory = _fuse(flops, model, sizes, grids)
    flops.close("fuse")
    for names in model.shared:
        _decode(flops, config, sizes, names, memory)
    flops.close("decode")
    return flops


def _turns(model: ModelConfig, depth: int, back: bool = False) -> list[tuple[str, ...]]:
    """The mixers of each block; `back` begins with the last one where they alternate."""
    mixers = model.mixers[::-1] if back else model.mixers
    return [(mixers[index % len(mixers)],) if model.alternate_mixers else model.mixers for index in range(depth)]


def _address(flops: Flops, sizes: Sizes, sites: int, slots: int, width: int) -> None:
    flops.linear(sizes.windows * sites * slots, POSITION, width, width, learns=False)
    if slots > 1:
        flops.linear(sizes.windows * sites, slots * width, width)
    flops.linear(sizes.windows * sizes.days, SEASON, width, learns=False)


def _priors(model: ModelConfig) -> Estimators:
    return Estimators(SEPARATIONS, bool(model.lstm_width), bool(model.lstm_ar_width))


def _slots(config: Config, names: tuple[str, ...]) -> int:
    return config.data.vector_patch_size if MODALITIES[names[0]].kind == "series" else 1


def _embed(flops: Flops, config: Config, sizes: Sizes, names: tuple[str, ...]) -> None:
    model, kind, slots = config.model, MODALITIES[names[0]].kind, _slots(config, names)
    sites, width = sizes.of_kind(kind), model.d_model
    tokens = sizes.windows * sizes.days * sites * sizes.kept_of(names)
    maps = sum(MODALITIES[name].kind == "map" for name in model.modalities)
    _address(flops, sizes, sites, slots, width)
    if model.lstm_width and "riverflow" in names:
        _remember(flops, config, sizes, sites)
        near = min(model.neighbours or sites, sites) if model.estimators else 0
        flops.forward += 2 * tokens * near * (near + 1)  # errors regressed on the neighbours', without a gradient
    for name in names:
        prior = model.estimators and name == "riverflow"
        channels = sizes.pixels if kind == "map" else len(MODALITIES[name].variables)
        doubts = _priors(model).features if prior else 0
        features = 2 * channels + doubts + (2 * maps if kind == "series" and model.footprints else 0)
        flops.products(tokens * slots, features, width, learns=prior)
        flops.halved += tokens * slots * features
        film = sizes.windows * sites * slots if model.film and kind == "series" else 0
        flops.products(film, width, 2 * width)
        if slots > 1:  # made again up to what the last layer reads
            flops.again += 2 * tokens * slots * features * width + 2 * film * width * 2 * width
            flops.products(tokens, slots * width, width)
        elif film:
            flops.whole += tokens * width


def _remember(flops: Flops, config: Config, sizes: Sizes, sites: int) -> None:
    """The memories: each an LSTM from what a day gives, started from the site and the time before the window."""
    model, channels = config.model, len(MODALITIES["weather"].variables)
    before = antecedent_width(channels) if config.data.antecedent_days else 0
    places, tokens = sizes.windows * sites, sizes.windows * sizes.days * sites
    for states, given in (
        (model.lstm_width, 2 * channels + SEASON),
        (model.lstm_ar_width, 2 * channels + SEASON + FLOW_FEATURES),
    ):
        if states:
            flops.linear(tokens, given, CatchmentLSTM.INPUT_WIDTH, learns=False)
            flops.products(places, model.d_model, CatchmentLSTM.INPUT_WIDTH)
            flops.products(places, CatchmentLSTM.INPUT_WIDTH + before, 2 * states)
            flops.lstm(tokens, CatchmentLSTM.INPUT_WIDTH, states, directions=1)
            flops.products(tokens, states, 1)


def _stack(flops: Flops, model: ModelConfig, grid: Grid, turns: list[tuple[str, ...]], film: bool) -> None:
    width, tokens = model.d_model, grid.windows * grid.tokens
    for mixers in turns:
        for mixer in mixers:
            _mix(flops, model, grid, mixer)
            flops.residual(tokens, width)
        if film:
            flops.products(grid.windows * grid.sites, width, 2 * width)
            flops.halved += grid.windows * grid.sites * 2 * width
        flops.feed(tokens, width, int(width * model.mlp_ratio))


def _mix(flops: Flops, model: ModelConfig, grid: Grid, mixer: str) -> None:
    width, tokens = model.d_model, grid.windows * grid.tokens
    if mixer == "recurrent":
        states = model.recurrent_width or width
        flops.norm(tokens, width)
        flops.lstm(tokens, width, states, directions=2)
        flops.linear(tokens, 2 * states, width)
        return
    flops.project(tokens, width, 3 * width)
    pairs = grid.windows * grid.pairs(mixer, model.neighbours)
    if mixer == "space" and model.neighbours is not None:
        slopes = 2 * grid.windows * grid.sites * min(model.neighbours, grid.sites) * SEPARATIONS * model.heads
        flops.forward += slopes
        flops.backward += slopes
        flops.attention(pairs, tokens, tokens, width, fused=False)
        flops.halved += 2 * pairs * model.heads + tokens * width
    else:
        flops.look(pairs, tokens, tokens, width, model.heads, grid.length(mixer))
    flops.products(tokens, width, width)


def _fuse(flops: Flops, model: ModelConfig, sizes: Sizes, grids: list[Grid]) -> Grid:
    """Static tokens, the joint stream; gives the memory that decoders read."""
    joint = model.mixers == ("joint",)
    static = [
        grid.sites
        for grid, names in zip(grids, model.shared, strict=True)
        if model.static_tokens and (MODALITIES[names[0]].kind == "series" or not joint)
    ]
    for sites in static:
        flops.products(sizes.windows * sites, model.d_model, model.d_model)
    sites = sum(grid.sites for grid in grids)
    rows = {"extra": sum(static)} if joint else {"static": int(bool(static))}
    whole = Grid(sizes.windows, sizes.days, sites, sizes.kept_of(), **rows)
    if model.fusion_layers:
        flops.norm(whole.windows * whole.tokens, model.d_model)
        _stack(flops, model, whole, _turns(model, model.fusion_layers, back=True), film=False)
        flops.norm(whole.windows * whole.tokens, model.d_model)
    if model.decoder_layers:
        flops.whole += whole.windows * whole.tokens * model.d_model  # kept once for all decoders
    return whole


def _decode(flops: Flops, config: Config, sizes: Sizes, names: tuple[str, ...], memory: Grid) -> None:
    model, slots, kind = config.model, _slots(config, names), MODALITIES[names[0]].kind
    sites, narrow = sizes.of_kind(kind), model.decoder_dim
    grid = sizes.windows * sizes.days * sites
    asked = max(sizes.share(name) for name in names)
    if model.decoder_layers:
        _address(flops, sizes, sites, slots, narrow)
        for layer in range(model.decoder_layers):
            _cross(flops, model, Grid(sizes.windows, sizes.days, sites, asked), memory, layer)
        flops.norm(asked * grid, narrow)
        if model.estimators and "riverflow" in names:
            flops.products(asked * grid, _priors(model).features * slots, narrow)
    else:
        flops.linear(asked * grid, model.d_model, narrow)
    for name in names:
        rows = sizes.share(name) * grid * slots
        channels = len(MODALITIES[name].variables) if kind == "series" else sizes.pixels
        spread = 3 * model.components if kind == "series" else 0
        gates = len(_priors(model).names) + 1 if model.estimators and name == "riverflow" else 0
        flops.products(sizes.windows * sites * slots, model.d_model, narrow)
        flops.whole += rows * narrow  # what the first GELU reads
        flops.linear(rows, narrow, 2 * narrow, channels + channels * spread + gates)


def _cross(flops: Flops, model: ModelConfig, asked: Grid, memory: Grid, layer: int) -> None:
    """A decoder's block: over the whole memory, or over a day's sites and a site's days in turn; static ones have no day."""
    narrow, queries = model.decoder_dim, asked.windows * asked.tokens
    turn = "joint" if model.mixers == ("joint",) else ("space", "time")[layer % 2]
    if turn == "time":
        memory = Grid(asked.windows, asked.days, asked.sites, memory.kept, static=memory.static)
    looked, length = asked.windows * memory.tokens, memory.length(turn)
    if model.decoder_self_attn:
        flops.project(queries, narrow, 3 * narrow)
        pairs = asked.windows * asked.pairs(turn, None)
        flops.look(pairs, queries, queries, narrow, model.heads, asked.length(turn))
        flops.products(queries, narrow, narrow)
        flops.residual(queries, narrow)
    flops.project(queries, narrow, narrow)
    flops.products(looked, model.d_model, 2 * narrow)
    flops.look(queries * length, queries, looked, narrow, model.heads, max(length, asked.length(turn)))
    flops.products(queries, narrow, narrow)
    flops.residual(queries, narrow)
    flops.feed(queries, narrow, int(narrow * model.mlp_ratio))
