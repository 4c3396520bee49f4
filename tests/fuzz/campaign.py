"""Many inputs, each made from its own seed, so that any one of them can be made again alone."""

from __future__ import annotations

import shutil
import sys
import time
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bases import Bases
from kinds import KINDS
from trial import FAULT, Outcome, judge


@dataclass
class Campaign:
    """The outcomes, and the CPU time of each kind."""

    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> list[str]:
        """What went wrong, an input each."""
        return [f"{name}: {outcome.why}" for name, outcome in self.outcomes if outcome.verdict == FAULT]

    def __str__(self) -> str:
        """A table: inputs and outcomes by kind."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for name, outcome in self.outcomes:
            counts[name.rsplit(" ", 1)[0]][outcome.verdict] += 1
        rows = [f"{'kind':12} inputs refused right faults CPU s"]
        total: Counter[str] = Counter()
        for kind, held in [*counts.items(), ("all", total)]:
            spent = sum(self.seconds.values()) if kind == "all" else self.seconds[kind]
            refused, right, faults = held["refused"], held["right"], held[FAULT]
            rows.append(f"{kind:12} {held.total():6} {refused:7} {right:5} {faults:6} {spent:5.1f}")
            if kind != "all":
                total.update(held)
        return "\n".join(rows)


def campaign(
    folder: Path, inputs: int, seed: int, only: str | None = None, first: int = 0, progress: bool = False
) -> Campaign:
    """Make, run and judge so many inputs, each kind its share."""
    bases, found = Bases(folder), Campaign()
    wanted = {only: KINDS[only]} if only else KINDS
    shares = sum(share for _, share in wanted.values())
    for kind, (maker, share) in wanted.items():
        for number in range(first, first + max(1, round(inputs * share / shares))):
            name, place = f"{kind} {number}", folder / "trial"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            began = time.process_time()
            with warnings.catch_warnings(action="ignore"):  # NumPy's about odd casts, which are meant
                trial = maker(bases, place, Random(f"{seed}/{kind}/{number}"))
            if progress:
                sys.stderr.write(f"{name}: {trial.said}: {' '.join(map(str, trial.arguments))[:200]}\n")
            outcome = judge(trial)
            if progress and outcome.verdict == FAULT:
                sys.stderr.write(f"--- {name}: {outcome.why}\n")
            found.outcomes.append((name, outcome))
            found.seconds[kind] += time.process_time() - began
    return found
