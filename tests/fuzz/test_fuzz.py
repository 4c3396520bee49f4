"""1,000 broken inputs through the command line: each is refused in one line, or answered rightly.

By hand, more of them: `PYTHONPATH=src:tests python -m fuzz --inputs 20000 --seed 7`.
"""

from __future__ import annotations

import resource
from pathlib import Path
from random import Random

import arrays
import numpy as np
import pandas as pd
import pytest
import tables
from bases import KEPT, Bases
from campaign import campaign
from kinds import KINDS, rows_of

from hydromae import load
from hydromae.errors import InputError

INPUTS, SEED = 1000, 0


def peak() -> float:
    """Largest memory of this process so far [GiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@pytest.mark.parametrize("kind", list(KINDS))
def test_broken_inputs_are_refused_in_one_line_or_answered_rightly(kind: str, tmp_path: Path) -> None:
    before, share = peak(), KINDS[kind][1] / sum(share for _, share in KINDS.values())
    found = campaign(tmp_path, round(INPUTS * share), SEED, kind)
    assert not found.faults, "\n\n".join([*found.faults[:5], str(found)])
    assert peak() < before + 1.0, f"a bomb went off: {peak():.1f} GiB\n{found}"
    ends = {outcome.verdict for _, outcome in found.outcomes}
    assert ends == {"refused", "right"}, f"a kind is refused, or taken, whatever it holds\n{found}"


def observed(values: np.ndarray) -> np.ndarray:
    """Where a value was measured."""
    return np.isfinite(values) & (values != -99999) & (np.abs(values) < 1e19)


def test_the_library_keeps_every_observed_bit_or_refuses(tmp_path: Path) -> None:
    bases = Bases(tmp_path)
    model, ends = load(bases.model, "cpu"), {"answered": 0, "refused": 0}
    for number in range(50):
        rng = Random(f"memory {number}")
        change = rng.choice(
            (*arrays.HARMLESS, *arrays.READ_ERRORS) if number % 2 else (*tables.HARMLESS, *tables.READ_ERRORS)
        )
        if number % 2:
            data = change(bases.record.copy(deep=True), rng)
        else:
            data = pd.DataFrame(change(rows_of(bases), rng))
        try:
            answer = model.predict(data)
        except InputError:
            ends["refused"] += 1
            continue
        ends["answered"] += 1
        for name in (name for name in KEPT[:4] if name in data and data[name].dtype.kind == "f"):
            given, told = np.asarray(data[name].values), np.asarray(answer[name].values)
            seen = observed(given)
            assert np.array_equal(given[seen], told[seen]), (change.__name__, name)
            assert told.dtype.newbyteorder("=") == given.dtype.newbyteorder("="), (change.__name__, name)
            assert np.isfinite(told).all(), (change.__name__, name)
    assert min(ends.values()) > 10, ends
