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

from hydromae.config import Config, ModelConfig
from hydromae.modalities import ATTRIBUTES, MODALITIES
from hydromae.model.address import SEPARATIONS, WAVELENGTHS
from hydromae.model.priors import FEATURES, PRIORS
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
    """Bytes that autograd keeps for backward in what `deed` does, each stretch of memory once; weights left out."""
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = deed()
    del result
    return sum(held.values())


def formula(config: Config, sizes: Sizes) -> Flops:
    """FLOPs of forward and backward of one batch, and the values kept in between, in closed form.

    Left out: what is not a product (norms, softmax, priors, footprints, the loss).

    Raises
    ------
    ValueError
        For the mix of encoder layers and the contrastive loss, which no preset has.
    """
    model = config.model
    if model.use_weighted_fm or model.contrastive_weight:
        raise ValueError("the formula does not know use_weighted_fm and contrastive_weight; count the step instead")
    flops = Flops()
    joint = model.mixers == ("joint",)
    grids = []
    for names in model.shared:
        _embed(flops, config, sizes, names)
        sites = sizes.of_kind(MODALITIES[names[0]].kind)
        grids.append(Grid(sizes.windows, sizes.days, sites, sizes.kept, extra=int(joint)))
    flops.close("embed")
    for names, grid in zip(model.shared, grids, strict=True):
        series = MODALITIES[names[0]].kind == "series"
        depth = model.series_layers if series else model.map_layers
        _stack(flops, model, grid, depth, film=model.film and series)
    flops.close("encode")
    memory = _fuse(flops, model, sizes, grids, joint)
    flops.close("fuse")
    for names in model.shared:
        _decode(flops, config, sizes, names, memory)
    flops.close("decode")
    return flops


def _address(flops: Flops, sizes: Sizes, sites: int, slots: int, width: int) -> None:
    flops.linear(sizes.windows * sites * slots, POSITION, width, width, learns=False)
    if slots > 1:
        flops.linear(sizes.windows * sites, slots * width, width)
    flops.linear(sizes.windows * sizes.days, SEASON, width, learns=False)


def _slots(config: Config, names: tuple[str, ...]) -> int:
    return config.data.vector_patch_size if MODALITIES[names[0]].kind == "series" else 1


def _embed(flops: Flops, config: Config, sizes: Sizes, names: tuple[str, ...]) -> None:
    model, kind, slots = config.model, MODALITIES[names[0]].kind, _slots(config, names)
    sites, width = sizes.of_kind(kind), model.d_model
    tokens = sizes.windows * sizes.days * sites
    maps = sum(MODALITIES[name].kind == "map" for name in model.modalities)
    _address(flops, sizes, sites, slots, width)
    for name in names:
        prior = model.priors and name == "riverflow"
        channels = sizes.pixels if kind == "map" else len(MODALITIES[name].variables)
        extra = FEATURES * prior + (2 * maps if kind == "series" and model.footprints else 0)
        flops.linear(tokens * slots, 2 * channels + extra, width, learns=prior)
        if model.film and kind == "series":
            flops.linear(sizes.windows * sites * slots, width, 2 * width)
            flops.norm(tokens * slots, width)
        if slots > 1:
            flops.linear(tokens, slots * width, width)


def _stack(flops: Flops, model: ModelConfig, grid: Grid, depth: int, film: bool) -> None:
    width, tokens = model.d_model, grid.windows * grid.tokens
    for mixer in model.mixers * depth:
        flops.norm(tokens, width)
        if mixer == "recurrent":
            flops.lstm(tokens, width)
            flops.linear(tokens, 2 * width, width)
            continue
        flops.linear(tokens, width, 3 * width)
        near = mixer == "space" and model.neighbours is not None
        if near:
            looked = min(model.neighbours or 0, grid.sites)
            slopes = 2 * grid.windows * grid.sites * looked * SEPARATIONS * model.heads
            flops.forward += slopes
            flops.backward += slopes
        pairs = grid.windows * grid.pairs(mixer, model.neighbours)
        flops.attention(pairs, tokens, tokens, width, fused=not near)
        if near:
            flops.saved += 2 * pairs * model.heads
        flops.linear(tokens, width, width)
    for _ in range(depth):
        flops.norm(tokens, width)
        if film:
            rows = tokens if model.mixers == ("joint",) else grid.windows * grid.sites
            flops.linear(rows, width, 2 * width)
            flops.norm(tokens, width)
        flops.linear(tokens, width, int(width * model.mlp_ratio), width)


def _fuse(flops: Flops, model: ModelConfig, sizes: Sizes, grids: list[Grid], joint: bool) -> Grid:
    """Static tokens, the joint stream; gives the memory that decoders read."""
    static = [
        grid.sites
        for grid, names in zip(grids, model.shared, strict=True)
        if model.static_tokens and (MODALITIES[names[0]].kind == "series" or not joint)
    ]
    for sites in static:
        flops.linear(sizes.windows * sites, model.d_model, model.d_model)
    sites = sum(grid.sites for grid in grids)
    if joint:
        extra = len(grids) + sum(static)
        whole = Grid(sizes.windows, sizes.days, sites, sizes.kept, extra=extra)
    else:
        whole = Grid(sizes.windows, sizes.days, sites, sizes.kept, static=int(bool(static)))
    if model.fusion_layers:
        flops.norm(whole.windows * whole.tokens, model.d_model)
        _stack(flops, model, whole, model.fusion_layers, film=False)
        flops.norm(whole.windows * whole.tokens, model.d_model)
    return whole


def _decode(flops: Flops, config: Config, sizes: Sizes, names: tuple[str, ...], memory: Grid) -> None:
    model, slots, kind = config.model, _slots(config, names), MODALITIES[names[0]].kind
    sites, narrow = sizes.of_kind(kind), model.decoder_dim
    grid = sizes.windows * sizes.days * sites
    asked = round(max(sizes.share(name) for name in names) * sizes.days * sites) * sizes.windows
    if model.decoder_layers:
        _address(flops, sizes, sites, slots, narrow)
        for layer in range(model.decoder_layers):
            _cross(flops, model, sizes, sites, memory, asked, layer)
        flops.norm(asked, narrow)
    else:
        flops.linear(asked, model.d_model, narrow)
    for name in names:
        rows = round(sizes.share(name) * grid) * slots
        channels = len(MODALITIES[name].variables) if kind == "series" else sizes.pixels
        spread = 3 * model.components if kind == "series" else 0
        gates = len(PRIORS) + 1 if model.priors and name == "riverflow" else 0
        flops.linear(rows, model.d_model, narrow)
        flops.linear(rows, narrow, 2 * narrow)
        flops.linear(rows, 2 * narrow, channels + channels * spread + gates)


def _cross(flops: Flops, model: ModelConfig, sizes: Sizes, sites: int, memory: Grid, asked: float, layer: int) -> None:
    """A decoder's block: over the packed memory, or on grids over a day's sites and a site's days in turn."""
    narrow, size, days = model.decoder_dim, sizes.windows, sizes.days
    if model.mixers == ("joint",):
        queries, looked = asked, size * memory.tokens
        pairs, own_pairs = asked * memory.tokens, asked * asked / size
    else:
        queries = size * days * sites * sizes.decoded
        if layer % 2 == 0:
            looked = size * days * memory.sites * memory.kept
            pairs = looked * sites * sizes.decoded
            own_pairs = queries * sites * sizes.decoded
        else:
            looked = size * sites * (days * memory.kept + memory.static)
            pairs = looked * days * sizes.decoded
            own_pairs = queries * days * sizes.decoded
    if model.decoder_self_attn:
        flops.norm(queries, narrow)
        flops.linear(queries, narrow, 3 * narrow)
        flops.attention(own_pairs, queries, queries, narrow)
        flops.linear(queries, narrow, narrow)
    flops.norm(queries, narrow)
    flops.norm(looked, model.d_model)
    flops.linear(queries, narrow, narrow)
    flops.linear(looked, model.d_model, 2 * narrow)
    flops.attention(pairs, queries, looked, narrow)
    flops.linear(queries, narrow, narrow)
    flops.norm(queries, narrow)
    flops.linear(queries, narrow, int(narrow * model.mlp_ratio), narrow)
