"""Mixers and blocks against references written out by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as functional

from hydromae.model.blocks import AttentionMixer, Block, Context, FiLM, RecurrentMixer, SpaceMixer
from hydromae.model.decoder import CrossAttention
from hydromae.model.lstm import run_lstm_rows
from hydromae.model.mae import HydroMAE
from hydromae.model.packing import Direction, PackedLayout
from hydromae.model.positional import SEPARATIONS, nearest_context
from samples import sample, small

WIDTH, HEADS = 8, 2
CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def space_mixer() -> SpaceMixer:
    torch.manual_seed(0)
    return SpaceMixer(WIDTH, HEADS, SEPARATIONS)


def dense_reference(mixer: SpaceMixer, tokens: torch.Tensor, separation: torch.Tensor) -> torch.Tensor:
    """One day, one head at a time: softmax(q·k / √d − Σ slope × separation) · v."""
    each = WIDTH // HEADS
    out = torch.zeros_like(tokens)
    for b, t, h in itertools.product(range(tokens.shape[0]), range(tokens.shape[1]), range(HEADS)):
        part = slice(h * each, (h + 1) * each)
        query, key, value = (row[:, part] for row in mixer.query_key_value(tokens[b, t]).chunk(3, dim=-1))
        score = query @ key.T / each**0.5
        score = score - (separation[b] * functional.softplus(mixer.slope[h])).sum(dim=-1)
        out[b, t, :, part] = score.softmax(dim=-1) @ value
    return mixer.out(out)


def test_space_mixer_equals_dense_attention_with_a_penalty_of_separation() -> None:
    tokens, separation = noise(2, 3, 5, WIDTH), noise(2, 5, 5, SEPARATIONS).abs()
    mixer = space_mixer()
    expected = dense_reference(mixer, tokens, separation)
    assert torch.allclose(mixer(tokens, Context(separation=separation)), expected, atol=1e-6)


@pytest.mark.parametrize(("sites", "count"), [(5, 5), (5, 4), (5, 1), (40, 39), (40, 6), (70, 9)])
def test_near_sites_equal_dense_attention_from_which_far_ones_are_shut_out(sites: int, count: int) -> None:
    """The path of K neighbours gives what the dense formula gives with an infinite penalty on all others."""
    tokens, metadata = noise(2, 2, sites, WIDTH), sample("rivers", size=2, sites=sites).site_metadata["series"]
    whole, near = nearest_context(metadata, sites).separation, nearest_context(metadata, count)
    assert whole is not None
    if near.neighbours is not None:
        far = torch.ones(2, sites, sites, dtype=torch.bool).scatter(2, near.neighbours, False)
        whole = whole + torch.where(far, float("inf"), 0.0)[..., None]
    mixer = space_mixer()
    assert torch.allclose(mixer(tokens, near), dense_reference(mixer, tokens, whole), atol=1e-5)


def test_a_site_hears_its_neighbours_of_the_same_day_only() -> None:
    tokens, mixer = noise(1, 4, 9, WIDTH), space_mixer()
    near = nearest_context(sample("rivers", size=1, sites=9).site_metadata["series"], 3)
    assert near.neighbours is not None
    before, moved = mixer(tokens, near), tokens.clone()
    moved[0, 2, 3] += 1
    changed = (mixer(moved, near) != before).any(dim=-1)[0]
    assert changed[2].tolist() == (near.neighbours[0] == 3).any(dim=-1).tolist() and not changed[[0, 1, 3]].any()


def test_nearest_gives_the_site_itself_first_then_by_distance() -> None:
    metadata = sample("rivers", size=2, sites=6).site_metadata["series"]
    context = nearest_context(metadata, 3)
    distance = torch.cdist(
        metadata.position[:, :, 0], metadata.position[:, :, 0], compute_mode="donot_use_mm_for_euclid_dist"
    )
    assert context.neighbours is not None and context.separation is not None
    assert context.neighbours[:, :, 0].tolist() == [list(range(6))] * 2
    assert torch.equal(context.neighbours, distance.argsort(dim=-1)[..., :3])
    b, s, k = 1, 4, 2
    other = int(context.neighbours[b, s, k])
    assert context.separation[b, s, k, 0] == pytest.approx(float(distance[b, s, other]) / 50)
    both = metadata.is_known[b, s, 0] & metadata.is_known[b, other, 0]
    expected = torch.where(
        both, (metadata.static_attributes[b, s, 0] - metadata.static_attributes[b, other, 0]).abs(), 0.0
    )
    assert torch.allclose(context.separation[b, s, k, 1:], expected)
    dense = nearest_context(metadata, 6)
    assert dense.neighbours is None and dense.separation is not None
    assert torch.equal(
        dense.separation.gather(2, context.neighbours[..., None].expand(-1, -1, -1, SEPARATIONS)), context.separation
    )
    assert nearest_context(metadata, None) == Context()


def test_a_recurrence_mixes_days_of_a_site_and_never_sites() -> None:
    torch.manual_seed(0)
    mixer, tokens = RecurrentMixer(WIDTH, HEADS), noise(2, 6, 3, WIDTH)
    before = mixer(tokens, Context())
    moved = tokens.clone()
    moved[1, 2, 1] += 1
    changed = (mixer(moved, Context()) != before).any(dim=-1)
    assert changed[1, :, 1].all(), "both directions reach every day"
    changed[1, :, 1] = False
    assert not changed.any()
    alone = mixer(tokens[1:, :, 1:2], Context())
    assert torch.allclose(alone, before[1:, :, 1:2], atol=1e-6)


@pytest.mark.parametrize("direction", ["joint", "time", "space"])
@pytest.mark.parametrize("kept", [1.0, 0.6, 0.1])
def test_tokens_attend_to_their_group_and_not_to_dropped_tokens(direction: Direction, kept: float) -> None:
    """Against the formula, token by token: of all that are in the list, those of the same window, site or day."""
    torch.manual_seed(1)
    mixer, norm = AttentionMixer(WIDTH, HEADS, direction), torch.nn.LayerNorm(WIDTH)
    layout = PackedLayout.of_mask(torch.rand(2, 6, 5) < kept)
    window, day, site = layout.window_index, layout.flat_index // 5 % 6, layout.flat_index % 5
    tokens = noise(len(layout.flat_index), WIDTH)
    mixed = mixer.mix(tokens, norm, layout, Context())
    query, key, value = mixer.query_key_value(norm(tokens)).chunk(3, dim=-1)
    along = {"joint": window, "time": window * 5 + site, "space": window * 6 + day}[direction]
    for n, line in enumerate(along):
        there, parts = along == line, []
        for part in (slice(0, 4), slice(4, 8)):
            weight = (key[there, part] @ query[n, part] / 2.0).softmax(dim=0)
            parts.append(weight @ value[there, part])
        assert torch.allclose(mixed[n], mixer.out(torch.cat(parts)), atol=1e-6)


def test_queries_without_keys_give_zero() -> None:
    torch.manual_seed(0)
    cross, query, memory = CrossAttention(WIDTH, 6, 1), noise(4, WIDTH), noise(3, 6, seed=1)
    asked, there = PackedLayout(torch.tensor([0, 1, 2, 5]), (1, 3, 2)), PackedLayout(torch.tensor([0, 1, 4]), (1, 3, 2))
    heard = cross(query, memory, asked.cross_attention(there, "space"))
    pair = cross.key_value(cross.memory_norm(memory))
    key, value = pair.chunk(2, dim=-1)
    looks = cross.query(cross.norm(query))
    for n, found in enumerate([[0, 1], [0, 1], [], [2]]):  # days 0, 0, 1, 2; the memory has days 0, 0, 2
        weight = (key[found] @ looks[n] / WIDTH**0.5).softmax(dim=0)
        assert torch.allclose(heard[n], cross.out(weight @ value[found]), atol=1e-6)


def test_film_starts_as_the_identity_and_keeps_the_dtype() -> None:
    film, layout = FiLM(3, WIDTH), PackedLayout.dense(2, 4, 1, CPU)
    for dtype in (torch.float32, torch.bfloat16):
        tokens = noise(8, WIDTH).to(dtype)
        out = film(tokens, noise(2, 1, 3), layout)
        assert out.dtype == dtype and torch.equal(out, tokens)


@pytest.mark.parametrize("whole", [True, False])
def test_film_is_gamma_and_beta_of_each_tokens_site(whole: bool) -> None:
    film = FiLM(1, 2)
    with torch.no_grad():
        film.project.weight.copy_(torch.tensor([[1.0], [2.0], [0.0], [3.0]]))
    layout = PackedLayout.dense(1, 1, 2, CPU) if whole else PackedLayout(torch.tensor([1, 0]), (1, 1, 2))
    tokens = torch.tensor([[10.0, 100.0], [1.0, 2.0]])
    out = film(tokens if whole else tokens.flip(0), torch.tensor([[[0.5], [0.0]]]), layout)
    assert (out if whole else out.flip(0)).tolist() == [[10 * 1.5 + 0, 100 * 2 + 1.5], [1.0, 2.0]]


def test_a_block_is_residual_and_norm_first() -> None:
    config = small("fast").model
    torch.manual_seed(0)
    block = Block(config, config.d_model, ("time", "space"), 0, film=False).eval()
    tokens, layout = noise(6, config.d_model), PackedLayout.dense(1, 3, 2, CPU)
    after = tokens
    for norm, mixer in zip(block.norms, block.mixers, strict=True):
        after = after + mixer.mix(after, norm, layout, Context())
    assert torch.allclose(block(tokens, layout, Context()), after + block.mlp(block.norm(after)), atol=1e-6)


def test_blocks_take_the_mixers_in_turn_and_streams_meet_in_space_first() -> None:
    model = HydroMAE(small("fast", map_layers=3, fusion_layers=2), pixels=4)
    assert [[m.direction for m in block.mixers] for block in model.encoders["temperature"].blocks] == [
        ["time"],
        ["space"],
        ["time"],
    ]
    assert model.fusion is not None
    assert [[m.direction for m in block.mixers] for block in model.fusion.stack.blocks] == [["space"], ["time"]]


def test_some_days_of_a_bidirectional_lstm_are_those_of_all() -> None:
    torch.manual_seed(0)
    lstm, inputs, rows = torch.nn.LSTM(5, 4, bidirectional=True), torch.randn(20, 3, 5), torch.tensor([12, 15, 19])
    torch.testing.assert_close(run_lstm_rows(lstm, inputs, rows), lstm(inputs)[0][rows], rtol=1e-6, atol=1e-6)
    changed = inputs.clone()
    changed[13] += 1
    assert not torch.equal(run_lstm_rows(lstm, changed, rows)[0], run_lstm_rows(lstm, inputs, rows)[0]), (
        "read backwards"
    )
