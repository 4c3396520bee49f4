"""The parts of the reference model, each by itself: what docs/seed.md lists is there, where it belongs, and is read."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import hydromae.model.encoder as encoder_module
from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, visible
from hydromae.config.presets import BASE
from hydromae.model.blocks import Block, Context
from hydromae.model.encoder import Embedding, contrastive_loss
from hydromae.model.mae import HydroMAE
from hydromae.model.outputs import Stream, StreamSlice
from hydromae.model.packing import PackedLayout
from hydromae.model.positional import PositionalEncoding, nearest_context
from samples import NATIONAL, all_tokens, built, no_tokens, sample, small, some_tokens

MAPS, SERIES = NATIONAL[:3], NATIONAL[3:]


def iter_blocks(part: torch.nn.Module) -> list[Block]:
    return [block for block in part.modules() if isinstance(block, Block)]


def fused(model: HydroMAE, batch: Batch, hidden: Hidden) -> tuple[list[Stream], list[torch.Tensor], list[StreamSlice]]:
    """Streams before their encoders, what each decoder layer reads, and which part of it is each stream's."""
    with torch.no_grad():
        contexts = {kind: nearest_context(p, model.config.model.neighbours) for kind, p in batch.site_metadata.items()}
        streams = model.embed(batch, visible(batch, hidden), contexts)
        memories, _, own, _ = model.fuse(streams, model.encode_streams(streams, contexts), batch)
    return streams, memories, own


def with_values(batch: Batch, name: str, added: float) -> Batch:
    return replace(batch, values=batch.values | {name: batch.values[name] + added})


def test_the_model_of_base_has_the_widths_and_depths_of_its_configuration() -> None:
    """Width 256 and 8 heads; 6 blocks for a map, 4 with FiLM for a series; a decoder of 4 blocks of 128; dropout 0.1."""
    with torch.device("meta"):
        model = HydroMAE(BASE)
    for names, depth, film in ((MAPS, 6, False), (SERIES, 4, True)):
        for name in names:
            blocks = iter_blocks(model.encoders[name])
            assert len(blocks) == depth and (model.embeddings[name].film is not None) is film
            for block in blocks:
                assert block.norm.normalized_shape == (256,) and (block.film is not None) is film
                assert [mixer.heads for mixer in block.mixers] == [8] and block.dropout == 0.1
                assert block.mlp[0].out_features == 1024
    assert model.fusion is not None and len(iter_blocks(model.fusion)) == 2
    for name in NATIONAL:
        decoder = model.decoders[name]
        assert len(decoder.blocks) == 4
        for block in decoder.blocks:
            assert block.norm.normalized_shape == (128,) and block.cross.heads == 8 and block.dropout == 0.1
            assert block.self_attention is None


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_contrastive_loss_of_two_days_by_hand(temperature: float) -> None:
    """Cosines of 1 with its own and 0 with the other: −log(e^(1/τ) / (e^(1/τ) + 1)); exchanged, 1/τ more."""
    one, other = torch.tensor([[3.0, 0.0], [0.0, 0.5]]), torch.tensor([[1.0, 0.0], [0.0, 7.0]])
    alike = math.log1p(math.exp(-1 / temperature))  # 0.313262 and 0.126928
    assert float(contrastive_loss([one, other], temperature)) == pytest.approx(alike, rel=1e-6)
    unlike = alike + 1 / temperature
    assert float(contrastive_loss([one, other.flip(0)], temperature)) == pytest.approx(unlike, rel=1e-6)
    # of three streams, two pairs of six agree
    assert float(contrastive_loss([one, other, one.flip(0)], temperature)) == pytest.approx(
        (2 * alike + 4 * unlike) / 6, rel=1e-6
    )


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_the_contrastive_loss_compares_each_modality_by_itself(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    summaries: list[list[torch.Tensor]] = []
    monkeypatch.setattr(
        encoder_module, "contrastive_loss", lambda parts, temperature: summaries.append(list(parts)) or parts[0].sum()
    )
    model, batch = built(small(preset, contrastive_weight=0.5)), sample(preset, observed=1.0)
    for one in (batch, with_values(batch, "evaporation", 0.5)):
        with torch.no_grad():
            model(one, no_tokens(one))
    changed = [not torch.allclose(a, b, atol=1e-6) for a, b in zip(*summaries, strict=True)]
    assert changed == [name == "evaporation" for name in NATIONAL]
    assert all(part.shape == (2, 16) for part in summaries[0]), "a summary of each window"


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_modalities_are_mixed_in_fusion_and_not_before(preset: str) -> None:
    """Other evaporation changes what its own encoder gives alone, and after fusion what the other streams hold, too."""
    model, batch = built(small(preset)), sample(preset, observed=1.0)
    parts = []
    for one in (batch, with_values(batch, "evaporation", 0.5)):
        contexts = {kind: nearest_context(p, model.config.model.neighbours) for kind, p in one.site_metadata.items()}
        with torch.no_grad():
            streams = model.embed(one, visible(one, no_tokens(one)), contexts)
            encoded = [outputs[-1] for outputs in model.encode_streams(streams, contexts)]
        _, memories, own = fused(model, one, no_tokens(one))
        parts.append((encoded, [memories[-1][part.tokens] for part in own]))
    (before, after), (other_before, other_after) = parts
    moved = [not torch.allclose(a, b, atol=1e-6) for a, b in zip(before, other_before, strict=True)]
    assert moved == [name == "evaporation" for name in NATIONAL]
    assert all(float((a - b).abs().max()) > 1e-4 for a, b in zip(after, other_after, strict=True))


@pytest.mark.parametrize("slots", [1, 4])
def test_film_modulates_the_embedding_before_catchments_are_merged(slots: int) -> None:
    """γ = 1 and β = 2 for every catchment: twice the projected values, and 2."""
    torch.manual_seed(0)
    embedding, layout = Embedding(2 * slots, slots, 0, 3, film=True), PackedLayout.dense(1, 2, 1, torch.device("cpu"))
    assert embedding.film is not None
    with torch.no_grad():
        embedding.film.project.bias.copy_(torch.tensor([1.0] * 3 + [2.0] * 3))
    values, seen = torch.randn(2, 2 * slots), torch.ones(2, 2 * slots, dtype=torch.bool)
    found = embedding(values, seen, None, torch.zeros(1, 1, slots, 3), layout)
    features = torch.cat([values.view(2, slots, 2), torch.ones(2, slots, 2)], dim=-1)
    expected = embedding.merge((2 * embedding.project(features) + 2).flatten(1))
    assert torch.allclose(found, expected, atol=1e-6)


def test_film_modulates_every_block_of_a_series_encoder_by_the_attributes_of_its_site() -> None:
    """Other traits of one site change what a block makes of that site's tokens, though the tokens are the same."""
    model, batch = built(small("base", series_layers=2)), sample("base", size=1, observed=1.0)
    streams, _, _ = fused(model, batch, no_tokens(batch))
    for stream in streams:
        condition = stream.site_encoding.clone()
        condition[:, 1] += 1.0
        for block in iter_blocks(model.encoders[stream.key]):
            block.mixers[0].out.weight.data.zero_()  # attention would carry it to other sites
            with torch.no_grad():
                one, other = (
                    block(stream.tokens, stream.layout, Context(), c) for c in (stream.site_encoding, condition)
                )
            changed = (one != other).any(dim=-1)
            is_of_site = stream.layout.site_index == 1
            assert torch.equal(changed, is_of_site if stream.kind == "series" else torch.zeros_like(is_of_site))


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_each_modality_has_a_token_of_its_own_in_encoder_and_decoder(preset: str) -> None:
    model = HydroMAE(small(preset), pixels=4)
    for addresses, width in ((model.positional, 16), (model.queries, 8)):
        tokens = [addresses[name].token for name in NATIONAL]
        assert [token.shape for token in tokens] == 5 * [(width,)]
        assert len({id(token) for token in tokens}) == 5 and len({tuple(token.tolist()) for token in tokens}) == 5
    with torch.device("meta"):
        large = HydroMAE(BASE)
    assert {len(large.positional[name].token) for name in NATIONAL} == {256}
    assert {len(large.queries[name].token) for name in NATIONAL} == {128}


def test_a_modality_token_is_added_to_the_encoding_of_each_of_its_tokens() -> None:
    batch = sample("base")
    address = PositionalEncoding(6, 3, ordered=True)
    with torch.no_grad():
        before = address(batch.site_metadata["series"], batch.days)[2]
        address.token += torch.arange(6.0)
        assert torch.allclose(
            address(batch.site_metadata["series"], batch.days)[2] - before, torch.arange(6.0), atol=1e-5
        )


@pytest.mark.parametrize("kind", ["map", "series"])
def test_the_encoding_of_a_site_contains_its_position(kind: str) -> None:
    """A patch or a catchment 10 km further east: another address for it, and for no other site."""
    metadata = sample("base").site_metadata[kind]
    address = PositionalEncoding(6, metadata.valid.shape[2], ordered=True)
    moved = metadata.position.clone()
    moved[0, 1, 0, 0] += 10.0
    days = torch.arange(3).repeat(2, 1)
    with torch.no_grad():
        change = (address(replace(metadata, position=moved), days)[1] - address(metadata, days)[1]).abs().amax(dim=-1)
    assert float(change[0, 1]) > 1e-3
    change[0, 1] = 0.0
    assert not change.any()


def mixes(model: HydroMAE, batch: Batch, weights: list[list[float]]) -> list[torch.Tensor]:
    """What the decoder layers read where their mixes have these weights."""
    with torch.no_grad():
        model.mix.copy_(torch.tensor(weights).log())
    return fused(model, batch, no_tokens(batch))[1]


@pytest.mark.parametrize(("chosen", "maps"), [(None, (0, 1, 2)), ((0, 2), (0, 2))])
def test_each_decoder_layer_reads_a_mix_of_its_own_by_hand(
    chosen: tuple[int, ...] | None, maps: tuple[int, ...]
) -> None:
    """Of layers 0 and 1 of the encoders and 2 of fusion, or of two of them, weighted by the softmax of what is learned."""
    batch = sample("base", observed=1.0)
    model = built(small("base", use_weighted_fm=True))
    layers = [mixes(model, batch, 2 * [[float(i == k) for i in range(3)]])[0] for k in range(3)]
    shared = {name: value for name, value in model.state_dict().items() if name != "mix"}
    model = built(small("base", use_weighted_fm=True, use_fm_layers=chosen))
    model.load_state_dict(shared, strict=False)
    first, second = [0.5, 0.3, 0.2][: len(maps)], [0.1, 0.1, 0.8][: len(maps)]
    found = mixes(model, batch, [first, second])
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    for memory, weights in zip(found, (first, second), strict=True):
        expected = sum(w / sum(weights) * layers[k] for w, k in zip(weights, maps, strict=True))
        assert torch.allclose(memory, expected, atol=1e-5)


def test_with_use_input_the_embeddings_are_layer_0_of_the_mix() -> None:
    batch = sample("base", observed=1.0)
    for use_input in (True, False):
        model = built(small("base", use_weighted_fm=True, use_input=use_input))
        layers = 3 + use_input
        with torch.no_grad():
            model.mix.copy_(torch.tensor(2 * [[1.0] + (layers - 1) * [0.0]]).log())
        streams, memories, own = fused(model, batch, no_tokens(batch))
        for stream, part in zip(streams, own, strict=True):
            memory = memories[0][part.tokens][: len(stream.tokens)]
            assert torch.allclose(memory, stream.tokens, atol=1e-6) is use_input


@pytest.mark.parametrize("preset", ["base", "fast"])
def test_hidden_tokens_attend_to_what_is_visible_and_not_to_each_other(preset: str) -> None:
    """An answer is the same whichever others are asked; with `decoder_self_attn` it is not. Without memory it has nothing."""
    batch = sample(preset, days=6, observed=1.0)
    hidden = some_tokens(batch)
    part = {name: asked & (torch.arange(6) % 2 == 0)[None, :, None] for name, asked in hidden.items()}
    for among in (False, True):
        model = built(small(preset, decoder_self_attn=among))
        with torch.no_grad():
            all_asked, some_asked = model(batch, hidden), model(batch, hidden, part)
            other = model(with_values(batch, "temperature", 0.5), hidden)
        same = [torch.allclose(all_asked.mean[n][part[n]], some_asked.mean[n][part[n]], atol=1e-5) for n in NATIONAL]
        assert all(same) if not among else not any(same)
        assert all(not torch.equal(all_asked.mean[name], other.mean[name]) for name in NATIONAL)
    assert all(bool(asked.any()) for asked in part.values()) and part.keys() == all_tokens(batch).keys()
