"""The command sweep: search hyperparameters with many short trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result, set_threads
from hydromae.cli.configuration import Preset, base_settings, resolve_config
from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.io.folders import SWEEP
from hydromae.io.outputs import Output, output_folder
from hydromae.train.search import SearchSettings

if TYPE_CHECKING:
    from hydromae.train.sweep import Trial

MAX_TABLE_TRIALS = 10
"""Maximum number of trials in the table."""


@dataclass(frozen=True)
class Sweep:
    """Search hyperparameters: train trials and compare their mean squared error over modalities, on the validation windows
    under the masks of --preset or --config. The same command continues a stopped sweep."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote."""
    out: Annotated[Path, arg(metavar="DIR")]
    """Folder of the sweep: study.db, trials/0000 and so on (each a run), best.json (a configuration), sweep.png."""
    trials: int = 20
    """Total number of trials, including those of an earlier start."""
    preset: Preset = "rivers"
    """tiny (tests, demo), rivers (catchment datasets), base (reference specification), fast (alternating attention)."""
    config: Path | None = None
    """A file that defines `config`; replaces --preset."""
    search: SearchSettings = field(default_factory=SearchSettings)
    """Searched fields: a range (heads: a list), auto, or fixed."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """Threads of the CPU; default all."""
    settings: Annotated[Config, arg(name="")] = field(default_factory=base_settings)
    """The configuration of all trials, except the searched fields."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {"out": output_folder(self.out, SWEEP)}

    def run(self, echo: Echo) -> Result:
        """Train, compare, draw."""
        from hydromae.report.sweep import draw_sweep
        from hydromae.store.scaling_cache import scaling_for
        from hydromae.store.zarr_store import grid_of, open_store
        from hydromae.train.sweep import BEST, best_of, sweep

        set_threads(self.threads)
        base, dataset = resolve_config(self.settings), open_store(self.store)
        trials = sweep(
            base,
            self.search,
            dataset,
            scaling_for(dataset, base, self.out, echo),
            self.out,
            trials=self.trials,
            grid=grid_of(dataset) if "grid" in dataset.attrs else None,
            device=self.device,
            progress=lambda trial: echo(trial_line(trial, self.trials)),
        )
        best = best_of(trials)
        if best is None:
            reason = trials[0].failure if trials else "none was requested"
            raise InputError(f"{self.out}: no trial has a score ({reason}); correct that, and give more --trials")
        picture = draw_sweep(trials, self.out / "sweep.png")
        echo(trials_table(trials))
        echo(f"{picture}: scores against what was drawn")
        echo(f"{self.out / BEST}: the best configuration; hydromae pretrain {self.store} --config {self.out / BEST}")
        return {
            "path": str(self.out),
            "best": asdict(best),
            "config": str(self.out / BEST),
            "picture": str(picture),
            "trials": [asdict(trial) for trial in trials],
        }


def trial_line(trial: Trial, trials: int) -> str:
    """Return a line on a trial."""
    result = f"failed: {trial.failure}" if trial.score is None else f"score {trial.score:.4f}"
    return f"trial {trial.number + 1} of {trials}: {result}, {trial.seconds:.0f} s"


def trials_table(trials: Sequence[Trial]) -> Table:
    """Return the best trials, one per row, best first."""
    names = sorted({name for trial in trials for name in trial.values})
    table = Table("trial", "score", *names, box=None, header_style="bold", pad_edge=False)
    for trial in sorted((t for t in trials if t.score is not None), key=lambda t: float(t.score or 0.0))[
        :MAX_TABLE_TRIALS
    ]:
        drawn = [f"{trial.values[name]:.3g}" if name in trial.values else "" for name in names]
        table.add_row(f"{trial.number:04d}", f"{trial.score:.4f}", *drawn)
    return table
