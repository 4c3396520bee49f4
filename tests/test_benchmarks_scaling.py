"""The formula of FLOPs against torch's counter, and the model of scaling against figures worked out by hand and measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from countries import HUNDREDFOLD, SEED, Country, cuts
from flops import counted, formula, lstm_flops, saved_bytes
from hydromae.losses import loss
from hydromae.masking import draw
from hydromae.model.address import nearest
from hydromae.model.mae import HydroMAE
from hydromae.presets import PRESETS
from samples import built, sample, small
from scaling import Machine, exchanged, fits, modelled, parameters, state_bytes, step, tables
from tally import Flops, Grid, Sizes, near_sites

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("preset", ["tiny", "rivers", "base", "fast"])
@pytest.mark.parametrize("model", [{}, {"decoder_self_attn": True, "neighbours": None}], ids=["own", "switched"])
def test_formula_is_what_the_counter_counts(preset, model):
    """Forward and backward of every preset; the counter sees no LSTM, the formula keeps them apart.

    The formula is of the model, so a way to compute it that spares or repeats a small product may stay within 2 %.
    """
    config = small(preset, dropout=0.0, **model).having(masks={"kind": "unified"})
    if preset in ("tiny", "rivers") and not model:
        config = config.having(
            model={"neighbours": 24}
        )  # more than there are: a day's sites see each other, by distance
    batch = sample(preset, days=10, sites=5, patches=6, observed=2.0)
    hidden = draw(batch, config.masks, torch.Generator().manual_seed(0))
    net = built(config).train()
    said = formula(config, Sizes.of(batch, hidden, config.model))
    seen = counted(lambda: loss(net(batch, hidden), batch, hidden, config)[0].backward())
    assert seen == pytest.approx(said.counted, rel=0.02)
    assert lstm_flops(net, batch.values["riverflow"][..., 0].numel()) == said.recurrent
    assert sum(said.parts.values()) == pytest.approx(said.total)
    kept = saved_bytes(lambda: loss(net(batch, hidden), batch, hidden, config)[0])
    if preset in ("base", "fast"):  # the priors of the others keep as much again, of narrow values
        assert kept / 4 == pytest.approx(said.saved, rel=0.1)


def test_formula_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="use_weighted_fm"):
        formula(small("fast", use_weighted_fm=True), Sizes(1, 2, 1, 1))


def test_tokens_that_drop_out_cost_nothing():
    """Layers cost what is kept, attention its square; what the embedding and the addresses cost stays."""
    config = small("fast")
    whole, part = (formula(config, Sizes(1, 20, 10, 10, 4, kept, 0.4, kept)) for kept in (1.0, 0.5))
    assert part.parts["embed"] == whole.parts["embed"]
    assert 0.25 * whole.parts["encode"] < part.parts["encode"] < 0.51 * whole.parts["encode"]
    assert Grid(1, 20, 10, 0.5).pairs("time", None) == 10 * 10**2
    assert Grid(1, 20, 10, 0.5).pairs("space", None) == 20 * 5**2
    assert Grid(1, 20, 10, 0.5, extra=1).pairs("joint", None) == 101**2


def test_one_layer_by_hand():
    """3 rows of 4 numbers to 5: 60 products forward, once for the weights and once for the rows on the way back."""
    flops = Flops()
    flops.linear(3, 4, 5)
    assert (flops.forward, flops.backward, flops.saved) == (120, 240, 12)
    flops.linear(3, 4, 5, learns=False)
    assert (flops.forward, flops.backward) == (240, 360)


def test_sites_that_a_block_looks_at():
    """The closed form against the neighbourhoods of the model, on 2,048 sites spread at random over a square."""
    places = sample("rivers", size=1, days=1, sites=2048).places["series"]
    near = nearest(places, 24).neighbourhoods
    met = sum(len(block.sites) * len(block.seen) for block in near) / 2048
    assert near_sites(2048, 24) == pytest.approx(met, rel=0.15)
    assert near_sites(20, 24) == near_sites(20, None) == 20


def test_bytes_of_a_record_by_hand():
    """A year of days, one patch of 100 cells in three maps at 2 bytes, 8 catchments in two series at 4 bytes."""
    year = Country("a year", 1, 8, 1, years=365 / 365.2425)
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
    """13,020 tokens: `base` costs 1.4 TFLOP a step, `fast` less than two thirds of it, by the formula alone."""
    base, fast = (
        formula(PRESETS[name], Sizes(1, 30, 94, 76, kept=k)).total for name, k in (("base", 0.6), ("fast", 1))
    )
    assert base == pytest.approx(1.38e12, rel=0.01)
    assert fast < base * 2 / 3
