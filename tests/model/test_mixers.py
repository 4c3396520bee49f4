"""Mixers and blocks against references written out by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as functional

from hydromae.model.address import SEPARATIONS, nearest
from hydromae.model.encoder import pack
from hydromae.model.layers import Attention, Block, Context, FiLM, JointMixer, RecurrentMixer, SpaceMixer, TimeMixer
from samples import sample, small

WIDTH, HEADS = 8, 2


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def space_mixer(separations: int = SEPARATIONS) -> SpaceMixer:
    torch.manual_seed(0)
    return SpaceMixer(WIDTH, HEADS, separations)


def dense_reference(mixer: SpaceMixer, tokens: torch.Tensor, separation: torch.Tensor | None) -> torch.Tensor:
    """One day, one head at a time: softmax(q·k / √d − Σ slope × separation) · v."""
    each = WIDTH // HEADS
    out = torch.zeros_like(tokens)
    for b, t, h in itertools.product(range(tokens.shape[0]), range(tokens.shape[1]), range(HEADS)):
        part = slice(h * each, (h + 1) * each)
        query, key, value = (row[:, part] for row in mixer.query_key_value(tokens[b, t]).chunk(3, dim=-1))
        score = query @ key.T / each**0.5
        if separation is not None and mixer.slope is not None:
            score = score - (separation[b] * functional.softplus(mixer.slope[h])).sum(dim=-1)
        out[b, t, :, part] = score.softmax(dim=-1) @ value
    return mixer.out(out)


def test_space_mixer_equals_dense_attention_with_a_penalty_of_separation() -> None:
    tokens, separation = noise(2, 3, 5, WIDTH), noise(2, 5, 5, SEPARATIONS).abs()
    mixer, plain = space_mixer(), space_mixer(0)
    expected = dense_reference(mixer, tokens, separation)
    assert torch.allclose(mixer(tokens, Context(separation=separation)), expected, atol=1e-6)
    assert torch.allclose(plain(tokens, Context()), dense_reference(plain, tokens, None), atol=1e-6)


@pytest.mark.parametrize(("sites", "count"), [(5, 5), (5, 4), (5, 1), (40, 39), (40, 6), (70, 9)])
def test_near_sites_equal_dense_attention_from_which_far_ones_are_shut_out(sites: int, count: int) -> None:
    """The path of K neighbours gives what the dense formula gives with an infinite penalty on all others."""
    tokens, places = noise(2, 2, sites, WIDTH), sample("rivers", size=2, sites=sites).places["series"]
    whole, near = nearest(places, sites).separation, nearest(places, count)
    assert whole is not None
    if near.neighbours is not None:
        far = torch.ones(2, sites, sites, dtype=torch.bool).scatter(2, near.neighbours, False)
        whole = whole + torch.where(far, float("inf"), 0.0)[..., None]
    mixer = space_mixer()
    assert torch.allclose(mixer(tokens, near), dense_reference(mixer, tokens, whole), atol=1e-5)


def test_a_site_hears_its_neighbours_of_the_same_day_only() -> None:
    tokens, mixer = noise(1, 4, 9, WIDTH), space_mixer()
    near = nearest(sample("rivers", size=1, sites=9).places["series"], 3)
    assert near.neighbours is not None
    before, moved = mixer(tokens, near), tokens.clone()
    moved[0, 2, 3] += 1
    changed = (mixer(moved, near) != before).any(dim=-1)[0]
    assert changed[2].tolist() == (near.neighbours[0] == 3).any(dim=-1).tolist() and not changed[[0, 1, 3]].any()


def test_nearest_gives_the_site_itself_first_then_by_distance() -> None:
    places = sample("rivers", size=2, sites=6).places["series"]
    context = nearest(places, 3)
    distance = torch.cdist(
        places.position[:, :, 0], places.position[:, :, 0], compute_mode="donot_use_mm_for_euclid_dist"
    )
    assert context.neighbours is not None and context.separation is not None
    assert context.neighbours[:, :, 0].tolist() == [list(range(6))] * 2
    assert torch.equal(context.neighbours, distance.argsort(dim=-1)[..., :3])
    b, s, k = 1, 4, 2
    other = int(context.neighbours[b, s, k])
    assert context.separation[b, s, k, 0] == pytest.approx(float(distance[b, s, other]) / 50)
    both = places.known[b, s, 0] & places.known[b, other, 0]
    expected = torch.where(both, (places.traits[b, s, 0] - places.traits[b, other, 0]).abs(), 0.0)
    assert torch.allclose(context.separation[b, s, k, 1:], expected)
    dense = nearest(places, 6)
    assert dense.neighbours is None and dense.separation is not None
    assert torch.equal(
        dense.separation.gather(2, context.neighbours[..., None].expand(-1, -1, -1, SEPARATIONS)), context.separation
    )
    assert nearest(places, None) == Context()


@pytest.mark.parametrize("kind", [TimeMixer, RecurrentMixer])
def test_time_mixers_mix_days_of_a_site_and_never_sites(kind: type[TimeMixer] | type[RecurrentMixer]) -> None:
    torch.manual_seed(0)
    mixer, tokens = kind(WIDTH, HEADS), noise(2, 6, 3, WIDTH)
    before = mixer(tokens, Context())
    moved = tokens.clone()
    moved[1, 2, 1] += 1
    changed = (mixer(moved, Context()) != before).any(dim=-1)
    assert changed[1, :, 1].all(), "both directions reach every day"
    changed[1, :, 1] = False
    assert not changed.any()
    alone = mixer(tokens[1:, :, 1:2], Context())
    assert torch.allclose(alone, before[1:, :, 1:2], atol=1e-6)


def test_joint_mixer_ignores_padding() -> None:
    torch.manual_seed(0)
    mixer, tokens = JointMixer(WIDTH, HEADS), noise(2, 5, WIDTH)
    real = torch.tensor([[True] * 5, [True, True, False, True, False]])
    padded = mixer(tokens, Context(real=real))
    assert torch.allclose(padded[1][real[1]], mixer(tokens[1:, real[1]], Context())[0], atol=1e-6)
    assert torch.allclose(padded[0], mixer(tokens[:1], Context())[0], atol=1e-6)
    moved = tokens.clone()
    moved[1, 2] = 1e6
    assert torch.equal(mixer(moved, Context(real=real))[1][real[1]], padded[1][real[1]])


def test_attention_equals_its_formula() -> None:
    torch.manual_seed(0)
    attention, tokens, memory = Attention(WIDTH, 1, 6), noise(1, 3, WIDTH), noise(1, 4, 6, seed=1)
    key, value = attention.key_value(memory).chunk(2, dim=-1)
    weight = (attention.query(tokens) @ key.transpose(1, 2) / WIDTH**0.5).softmax(dim=-1)
    assert torch.allclose(attention(tokens, memory), attention.out(weight @ value), atol=1e-6)


def test_pack_brings_kept_tokens_to_the_front_in_their_order() -> None:
    tokens = torch.arange(8.0).view(2, 4, 1)
    keep = torch.tensor([[False, True, False, True], [True, True, True, False]])
    packed, place, real = pack(tokens, keep)
    assert real is not None
    assert packed[..., 0][real].tolist() == [1.0, 3.0, 4.0, 5.0, 6.0] and place[real].tolist() == [1, 3, 0, 1, 2]
    assert real.tolist() == [[True, True, False], [True, True, True]]
    assert pack(tokens, torch.ones(2, 4).bool())[2] is None
    assert pack(tokens, torch.zeros(2, 4).bool())[0].shape == (2, 0, 1)


def test_film_starts_as_the_identity_and_keeps_the_dtype() -> None:
    film = FiLM(3, WIDTH)
    for dtype in (torch.float32, torch.bfloat16):
        tokens = noise(2, 4, WIDTH).to(dtype)
        out = film(tokens, noise(2, 1, 3))
        assert out.dtype == dtype and torch.equal(out, tokens)


def test_film_is_gamma_and_beta() -> None:
    film = FiLM(1, 2)
    with torch.no_grad():
        film.project.weight.copy_(torch.tensor([[1.0], [2.0], [0.0], [3.0]]))
    out = film(torch.tensor([[10.0, 100.0]]), torch.tensor([[0.5]]))
    assert out.tolist() == [[10 * 1.5 + 0, 100 * 2 + 1.5]]


def test_a_block_is_residual_and_norm_first() -> None:
    config = small("fast").model
    torch.manual_seed(0)
    block, tokens = (
        Block(config, config.d_model, ("time", "space"), 0, film=False).eval(),
        noise(1, 3, 2, config.d_model),
    )
    time, space = block.mixers
    after = tokens + time(block.norms[0](tokens), Context())
    after = after + space(block.norms[1](after), Context())
    assert torch.allclose(block(tokens, Context()), after + block.feed(block.norm(after)), atol=1e-6)
