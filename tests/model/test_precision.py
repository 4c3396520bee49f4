"""The model in half precision: under autocast, and with its weights cast, as DeepSpeed casts them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, draw
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import windows
from hydromae.config import Config
from hydromae.losses import loss
from hydromae.model.blocks import Context, FiLM, RecurrentMixer
from hydromae.model.mae import HydroMAE
from hydromae.model.outputs import StreamSlice
from hydromae.model.packing import PackedLayout
from hydromae.train.loss_scale import LossScale
from samples import built, sample, small, some_tokens
from synthetic import GRID, SMALL, SMALL_MAPS, country, rivers, scaling_of

STILL = {"dropout": 0.0, "film": True}
CONFIGS: dict[str, Config] = {
    "rivers": SMALL.having(model=STILL),
    "rivers without neighbourhoods": SMALL.having(model={**STILL, "neighbours": None, "mixers": ("time", "space")}),
    "base": SMALL_MAPS.having(model={**STILL, "contrastive_weight": 0.01}),
    "base, all of the decoder": SMALL_MAPS.having(
        model={**STILL, "decoder_self_attn": True, "use_weighted_fm": True, "use_input": True}
    ),
    "fast": SMALL_MAPS.having(model={**STILL, "mixers": ("time", "space"), "decoder_layers": 2, "neighbours": 3}),
}
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}
ROUNDING = {"fp16": 2.0**-11, "bf16": 2.0**-8}
"""Largest relative error of one rounding."""


def case(config: Config) -> tuple[HydroMAE, Batch, Hidden]:
    """A model whose every weight is off its start, and its first training batch."""
    maps = "weather" not in config.model.modalities
    dataset = country() if maps else rivers()
    scaling, grid = scaling_of(dataset, config), GRID if maps else None
    record = to_record_arrays(dataset, config, scaling, grid)
    cut = windows(record, config, config.data.training_period, seed=0, augment=False, update=2)
    batch = cut(range(2))
    torch.manual_seed(0)
    model = HydroMAE(config, pixels=GRID.patch**2).set_scaling(scaling).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model, batch, draw(batch, config.masks, torch.Generator().manual_seed(0))


def learned(
    model: HydroMAE, batch: Batch, hidden: Hidden, autocast: torch.dtype | None = None, scale: float = 1.0
) -> tuple[float, torch.Tensor]:
    """Loss, and all gradients in one row, divided by the scale again."""
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        predictions = model(batch, hidden)
    assert {mean.dtype for mean in predictions.mean.values()} == {torch.float32}
    total, _ = loss(predictions, batch, hidden, model.config)
    model.zero_grad()
    (total * scale).backward()
    return float(total.detach()), gradients(model) / scale


def gradients(model: HydroMAE) -> torch.Tensor:
    return torch.cat([p.grad.float().flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("weights", ["autocast", "cast"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", CONFIGS)
def test_loss_and_gradients_in_half_precision_are_those_of_fp32(name: str, precision: str, weights: str) -> None:
    """Errors of single roundings are independent and mostly cancel: the loss keeps within four of them."""
    model, batch, hidden = case(CONFIGS[name])
    exact, slopes = learned(model, batch, hidden)
    if weights == "cast":
        rough, found = learned(model.to(PRECISIONS[precision]), batch, hidden, scale=256.0)
    else:
        rough, found = learned(model, batch, hidden, PRECISIONS[precision], scale=256.0)
    assert rough == pytest.approx(exact, rel=4 * ROUNDING[precision])
    assert rough != exact, "it is not fp32"
    assert torch.isfinite(found).all()
    off = 1 - float(torch.cosine_similarity(slopes.double(), found.double(), dim=0))
    assert off < (1e-4 if precision == "fp16" else 4e-3)


@pytest.mark.parametrize("name", ["base", "fast", "rivers"])
def test_the_loss_scale_finds_a_value_that_the_gradients_bear(name: str) -> None:
    """From a start that is far too high: each overflow but the first halves it, and then the gradients are those of fp32."""
    model, batch, hidden = case(CONFIGS[name])
    _, slopes = learned(model, batch, hidden)
    scale, overflows = LossScale(value=2.0**26), 0
    found = learned(model, batch, hidden, torch.float16, scale.value)[1]
    while not torch.isfinite(found).all():
        scale.update(overflow=True)
        overflows += 1
        found = learned(model, batch, hidden, torch.float16, scale.value)[1]
    assert overflows > 1 and scale.value == 2.0 ** (27 - overflows) >= 64
    assert float(torch.cosine_similarity(slopes.double(), found.double(), dim=0)) > 1 - 1e-4


def test_values_far_from_the_mean_do_not_overflow() -> None:
    """Rain and floods of 40 standard deviations, in models whose weights are twice what training leaves."""
    for preset in ("base", "fast", "rivers"):
        batch = sample(preset, days=30, sites=5)
        batch = replace(batch, values={name: 40 * value for name, value in batch.values.items()})
        model = built(small(preset, dropout=0.0))
        with torch.no_grad(), torch.autocast("cpu", torch.float16):
            predictions = model(batch, some_tokens(batch))
        assert all(torch.isfinite(mean).all() for mean in predictions.mean.values())
        assert all(torch.isfinite(g.spread).all() for g in predictions.gaussians.values())


def test_the_contrast_counts_more_tokens_than_fp16_can() -> None:
    """70,000 tokens a window; the largest number of fp16 is 65,504."""
    widths = {"d_model": 2, "heads": 1, "decoder_dim": 2, "mixers": ("space",), "mlp_ratio": 1.0}
    model = built(small("fast", contrastive_weight=0.1, streams=("temperature", "riverflow"), **widths))
    contrasts = []
    for dtype in (torch.float32, torch.float16):
        layout = [PackedLayout.dense(2, days, 1, torch.device("cpu")) for days in (70_000, 10)]
        tokens = [torch.randn(len(s.flat_index), 2, generator=torch.Generator().manual_seed(0)) for s in layout]
        own = [StreamSlice(slice(0, len(s.flat_index)), s) for s in layout]
        with torch.no_grad():
            contrasts.append(float(model.to(dtype).fusion.contrastive_loss([part.to(dtype) for part in tokens], own)))
    assert contrasts[1] == pytest.approx(contrasts[0], rel=0.02)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_film_of_fp32_conditions_takes_the_dtype_of_its_tokens(precision: str) -> None:
    """The fault of the original: γ and β in fp32 beside tokens in half."""
    torch.manual_seed(0)
    film = FiLM(4, 8)
    torch.nn.init.normal_(film.project.weight)
    tokens, condition, layout = (
        torch.randn(10, 8),
        torch.randn(2, 1, 4),
        PackedLayout.dense(2, 5, 1, torch.device("cpu")),
    )
    half = film(tokens.to(PRECISIONS[precision]), condition, layout)
    assert half.dtype == PRECISIONS[precision]
    assert torch.allclose(half.float(), film(tokens, condition, layout), atol=16 * ROUNDING[precision])
    with torch.autocast("cpu", PRECISIONS[precision]):
        assert film(tokens, condition, layout).dtype == torch.float32


def test_the_recurrence_in_fp16_on_a_cpu_is_that_of_fp32() -> None:
    torch.manual_seed(0)
    mixer, tokens = RecurrentMixer(8, 2), torch.randn(2, 30, 3, 8)
    exact = mixer(tokens, Context())
    with torch.autocast("cpu", torch.float16):
        rough = mixer(tokens, Context())
    rough.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in mixer.parameters())
    assert torch.allclose(rough.float(), exact, atol=2e-3)
    assert torch.allclose(mixer.half()(tokens.half(), Context()).float(), exact, atol=4e-3)
