"""The fuzzer by hand: `PYTHONPATH=src:tests python -m fuzz --inputs 20000 --seed 7 [--kind csv] [--first 0]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from campaign import campaign
from trial import FAULT


def main() -> int:
    """Run a campaign and print every fault, then the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", help="one kind only")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each kind")
    parser.add_argument("--progress", action="store_true", help="name every input before it runs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), given.inputs, given.seed, given.kind, given.first, given.progress)
    for name, outcome in found.outcomes:
        if outcome.verdict == FAULT:
            sys.stdout.write(f"--- {name}: {outcome.why}\n")
    sys.stdout.write(f"{found}\n")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
