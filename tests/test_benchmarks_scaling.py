"""The formula of FLOPs against torch's counter, and the model of scaling against figures worked out by hand and measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from countries import HUNDREDFOLD, SEED, Session, cuts
from flops import counted, formula, lstm_flops, saved_bytes
from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, draw
from hydromae.config.presets import PRESETS
from hydromae.losses import loss
from hydromae.model.mae import HydroMAE
from hydromae.model.positional import nearest_context
from hydromae.runtime import autocast
from samples import built, sample, small
from scaling import Machine, exchanged, fits, modelled, parameters, state_bytes, step, tables
from tally import Flops, Grid, Sizes, near_sites

ROOT = Path(__file__).parents[1]


def checkered(batch: Batch) -> Hidden:
    """Two of five tokens hidden, so that every site has as many days as any other, and every day as many sites.

    Lines are then as long as each other: nothing is filled up, and a mean over tokens says all of them.
    """
    hidden = {}
    for name, value in batch.values.items():
        size, days, sites, _ = value.shape
        hidden[name] = ((torch.arange(days)[:, None] + torch.arange(sites)) % 5 < 2).expand(size, -1, -1).clone()
    return hidden


@pytest.mark.parametrize("preset", ["tiny", "rivers", "base", "fast"])
@pytest.mark.parametrize("model", [{}, {"decoder_self_attn": True, "neighbours": None}], ids=["own", "switched"])
def test_formula_is_what_the_counter_counts(preset, model):
    """Forward and backward of every preset, and what is made again; the counter sees no LSTM, the formula keeps them apart.

    To the last product where a model has no priors; their few sums over neighbours are not in the formula.
    """
    config = small(preset, **model)
    national = preset in ("base", "fast")
    if not national and model:
        config = config.having(
            model={"lstm_width": 24, "lstm_ar_width": 20, "recurrent_width": 6}, data={"antecedent_days": 9}
        )
    if not national and not model:
        config = config.having(
            model={"neighbours": 24}
        )  # more than there are: a day's sites see each other, by distance
    batch = sample(preset, days=10, sites=5, patches=10, observed=2.0)
    hidden = checkered(batch)
    net = built(config).train()
    said = formula(config, Sizes.of(batch, hidden, config.model))
    seen = counted(lambda: loss(net(batch, hidden), batch, hidden, config)[0].backward())
    assert seen == pytest.approx(said.counted + said.again, rel=1e-6 if national else 5e-3)
    assert 0.03 * said.counted < said.again < 0.25 * said.counted
    assert lstm_flops(net, batch.values["riverflow"][..., 0].numel()) == said.recurrent
    assert sum(said.parts.values()) == pytest.approx(said.total)


@pytest.mark.parametrize("preset", ["base", "fast"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_formula_says_what_is_kept_for_backward(preset, precision):
    """Inputs of norms, what attention looked at, flags of dropout; the priors of rivers keep other things."""
    config = small(preset, d_model=32, decoder_dim=16, dropout=0.1)
    batch = sample(preset, size=4, days=20, sites=5, patches=10, observed=2.0)
    hidden, net = checkered(batch), built(config).train()
    said = formula(config, Sizes.of(batch, hidden, config.model))
    with autocast(torch.device("cpu"), precision):
        kept = saved_bytes(lambda: net(batch, hidden))
    assert kept == pytest.approx(said.saved_bytes(precision), rel=0.05)
    without = formula(config.having(model={"dropout": 0.0}), Sizes.of(batch, hidden, config.model))
    assert without.saved_bytes(precision) < 0.97 * said.saved_bytes(precision)


def test_lines_that_masks_make_uneven_are_filled_up_a_little():
    """Random masks leave sites with more or fewer days, which stand in one stack: torch counts the places left empty, too."""
    config = small("fast", d_model=32, decoder_dim=16)
    batch = sample("fast", size=4, days=20, sites=5, patches=10, observed=2.0)
    hidden = draw(batch, config.masks, torch.Generator().manual_seed(0))
    net = built(config).train()
    said = formula(config, Sizes.of(batch, hidden, config.model))
    seen = counted(lambda: loss(net(batch, hidden), batch, hidden, config)[0].backward())
    assert 1 < seen / (said.counted + said.again) < 1.06


def test_formula_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="use_weighted_fm"):
        formula(small("fast", use_weighted_fm=True), Sizes(1, 2, 1, 1))


def test_tokens_that_drop_out_cost_nothing():
    """Layers cost what is kept, attention its square; what the addresses cost stays."""
    config = small("fast")
    whole, part = (formula(config, Sizes(1, 20, 10, 10, 4, kept, 0.4)) for kept in (1.0, 0.5))
    assert 0.5 * whole.parts["embed"] < part.parts["embed"] < whole.parts["embed"]
    assert 0.25 * whole.parts["encode"] < part.parts["encode"] < 0.51 * whole.parts["encode"]
    assert Grid(1, 20, 10, 0.5).pairs("time", None) == 10 * 10**2
    assert Grid(1, 20, 10, 0.5).pairs("space", None) == 20 * 5**2
    assert Grid(1, 20, 10, 0.5, static=1).pairs("time", None) == 10 * 11**2
    assert Grid(1, 20, 10, 0.5, extra=1).pairs("joint", None) == 101**2


def test_one_layer_by_hand():
    """3 rows of 4 numbers to 5: 60 products forward, once for the weights and once for the rows on the way back."""
    flops = Flops()
    flops.linear(3, 4, 5)
    assert (flops.forward, flops.backward, flops.saved_bytes("fp32"), flops.saved_bytes("bf16")) == (120, 240, 48, 24)
    flops.linear(3, 4, 5, learns=False)
    assert (flops.forward, flops.backward, flops.again) == (240, 360, 0)


def test_one_feed_by_hand():
    """3 rows of 4 numbers, to 16 and back: kept are the rows, their means and rates, and flags; the way up is made again."""
    flops = Flops(dropout=True)
    flops.feed(3, 4, 16)
    assert (flops.forward, flops.backward, flops.again) == (768, 1536, 384)
    assert flops.saved_bytes("bf16") == 3 * (4 + 2) * 4 + 3 * 4


def test_short_lines_keep_weights_and_long_ones_make_scores_again():
    """6 queries on 6 keys: 36 pairs, two products of 8 a pair forward, four back."""
    short, long = Flops(), Flops()
    short.look(36, 6, 6, 8, heads=2, length=6)
    long.look(36, 6, 6, 8, heads=2, length=1000)
    assert (short.forward, short.backward, short.again) == (2 * 2 * 36 * 8, 4 * 2 * 36 * 8, 0)
    assert (long.forward, long.backward, long.again) == (short.forward, short.backward, 2 * 36 * 8)
    assert short.halved - long.halved == 36 * 2


def test_sites_that_a_block_looks_at():
    """The closed form against the neighbourhoods of the model, on 2,048 sites spread at random over a square."""
    metadata = sample("rivers", size=1, days=1, sites=2048).site_metadata["series"]
    near = nearest_context(metadata, 24).neighbourhoods
    met = sum(len(block.query_sites) * len(block.key_sites) for block in near) / 2048
    assert near_sites(2048, 24) == pytest.approx(met, rel=0.15)
    assert near_sites(20, 24) == near_sites(20, None) == 20


def test_bytes_of_a_record_by_hand():
    """A year of days, one patch of 100 cells in three maps at 2 bytes, 8 catchments in two series at 4 bytes."""
    year = Session("a year", 1, 8, 1, years=365 / 365.2425)
    assert year.steps == 365
    assert year.bytes_in_memory() == {"maps": 3 * 100 * 365 * 2, "series": 2 * 8 * 365 * 4}
    assert year.bytes_in_store() == (300 + 16) * 365 * 4
    ratio = {key: HUNDREDFOLD.bytes_in_memory()[key] / SEED.bytes_in_memory()[key] for key in ("maps", "series")}
    assert ratio["maps"] == pytest.approx(25 * 24, rel=1e-4)
    assert ratio["series"] == pytest.approx(60_000 / 604 * 24, rel=1e-4)


def test_windows_cover_the_record():
    region, whole = cuts(HUNDREDFOLD)[3], cuts(HUNDREDFOLD)[1]
    starts = (HUNDREDFOLD.steps - 720) // 480 + 1
    assert whole.windows(HUNDREDFOLD) == starts
    assert region.windows(HUNDREDFOLD) == starts * 66  # 2,350 patches in regions of 36
    assert cuts(SEED)[0].tokens(SEED) == 30 * (3 * 94 + 2 * 76)
    read = region.bytes_read(HUNDREDFOLD)
    assert read == pytest.approx(36 * 720 * (300 * 2 + 60_000 / 2350 * 2 * 4), rel=1e-6)


def test_what_processes_send_and_hold():
    assert exchanged("torch", 1000, 1) == 0
    assert exchanged("torch", 1000, 2) == (2 * 0.5 + 0.5) * 4000
    assert exchanged("deepspeed", 1000, 4) == 2 * 0.75 * 4000
    assert exchanged("fsdp2", 1000, 4, width=2) == 3 * 0.75 * 2000
    assert state_bytes("torch", 1000, 4) == 4000 + 4000 + 8000 / 4
    assert state_bytes("fsdp2", 1000, 4) == 16000 / 4
    config = small("fast")
    assert parameters(config) == sum(p.numel() for p in HydroMAE(config).parameters())


def test_a_step_by_hand():
    """Compute is FLOPs over what the machine reaches; talk is bytes over the slowest link, and a latency a hop."""
    machine, cut = Machine(peak=1e15, share=0.5, inside=1e11, between=1e10, latency=1e-6), cuts(SEED)[1]
    eight, many = (step(cut, SEED, machine, gpus, 2, "torch") for gpus in (8, 16))
    work = 2 * formula(cut.config, cut.sizes(SEED)).total
    assert eight["compute_s"] == pytest.approx(work / 5e14, rel=1e-3)
    weights = parameters(cut.config)
    assert eight["talk_s"] == pytest.approx(3 * 7 / 8 * 4 * weights / 1e11 + 3 * 7 * 1e-6)
    assert many["talk_s"] == pytest.approx(3 * 15 / 16 * 4 * weights / 1e10 + 3 * 15 * 1e-6)
    assert eight["steps_an_epoch"] == -(-839 // 16)
    assert fits(cut, SEED, Machine(memory=1e6), 8, "torch") == 0


def test_the_page_holds_the_tables_of_the_model():
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").splitlines()
    missing = [line for line in tables(modelled(Machine())) if line not in page]
    assert not missing, "python benchmarks/scaling.py prints the tables of docs/scaling.md"


def test_processes_send_what_the_model_says(tmp_path):
    """Two gloo processes: the bytes on their own connections are those of the model."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "scaling.py"),
        "--measure",
        "--quick",
        "--out",
        str(tmp_path / "s"),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    (two,) = json.loads((tmp_path / "s").read_text())["measured"]
    assert two["sent_bytes"] == pytest.approx(two["sent_bytes_modelled"], rel=0.04)
    assert two["sent_bytes_modelled"] == exchanged("torch", two["weights"], 2)
    assert two["step_s"] > 0 and two["bandwidth"] > 0


def test_presets_at_the_size_of_the_seed():
    """13,020 tokens: `base` costs 1.2 TFLOP a step, `fast` less than a third of it, by the formula alone."""
    base, fast = (formula(PRESETS[name], Sizes(1, 30, 94, 76, kept=0.6)).total for name in ("base", "fast"))
    assert base == pytest.approx(1.22e12, rel=0.01)
    assert fast < base / 3
