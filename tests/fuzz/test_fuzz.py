"""1,000 broken inputs through the command line: each is refused in one line, or answered rightly.

By hand, more of them: `PYTHONPATH=src:tests python -m fuzz --inputs 20000 --seed 7`.
"""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from campaign import campaign
from kinds import KINDS

INPUTS, SEED = 1000, 0
LEAST = 0.03
"""Share of the inputs of a kind that must end either way, so that no kind is refused, or taken, whatever it holds."""


def peak() -> float:
    """Largest memory of this process so far [GiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@pytest.mark.parametrize("kind", list(KINDS))
def test_broken_inputs_are_refused_in_one_line_or_answered_rightly(kind: str, tmp_path: Path) -> None:
    before, share = peak(), KINDS[kind][1] / sum(share for _, share in KINDS.values())
    found = campaign(tmp_path, round(INPUTS * share), SEED, kind)
    assert not found.faults, "\n\n".join([*found.faults[:5], str(found)])
    assert peak() < before + 1.0, f"a bomb went off: {peak():.1f} GiB\n{found}"
    verdicts = [outcome.verdict for _, outcome in found.outcomes]
    assert min(verdicts.count("refused"), verdicts.count("right")) >= LEAST * len(verdicts), found
