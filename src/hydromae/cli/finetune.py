"""The command finetune: from a pretrained run to one question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from hydromae.cli.common import Result, Say, best_line, set_threads, speaks
from hydromae.cli.models import losses
from hydromae.config import Config, MaskKind
from hydromae.errors import InputError
from hydromae.io.folders import RUN
from hydromae.io.outputs import Output, folder_of

if TYPE_CHECKING:
    import numpy as np

    from hydromae.inference.predictor import Model
    from hydromae.train.finetune import Start

Question = Literal["fill", "ungauged", "simulate", "forecast", "blind"]
MASK_OF: dict[Question, MaskKind] = {
    "fill": "span",
    "ungauged": "site",
    "simulate": "modality",
    "forecast": "future",
    "blind": "blind",
}
RECORD = "finetune.json"
RANK = 8
"""Rank of the adapters where none is given."""
FULL_LR = 0.1
"""Share of the pretrained run's learning rate, where all weights learn."""


@dataclass(frozen=True)
class Finetune:
    """Train a pretrained model further: all its weights, its heads, adapters and heads, its memories, or the rest."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote; it is scaled as the pretrained model scales."""
    model: Annotated[Path, arg(metavar="RUN")]
    """The pretrained model: a run, a model folder, or a shipped name."""
    out: Annotated[Path, arg(metavar="RUN")]
    """Folder of the new run: journal, checkpoints, and the model in best/ and last/."""
    question: Question | None = None
    """What to ask: fill (gaps), ungauged, simulate (flow from weather), forecast (weather known), blind (weather unknown);
    the pretrained run's own masks where not given."""
    mixture: Annotated[dict[MaskKind, float] | None, arg(metavar="MASK SHARE ...")] = None
    """Masks to draw from, each with its share, instead of one question: --mixture outage 0.6 blind 0.1."""
    weights: Literal["full", "frozen", "lora", "memories", "rest"] = "full"
    """What learns: everything; heads and decoders alone; these and low-rank adapters of attention, recurrence and
    feed-forward (LoRA), which are merged into plain weights in best/ and last/; the memories of rivers alone, without the
    rest running: three times as fast, to be followed by `rest` or `full`, which learn to read them anew; or the rest: all but
    the memories and the addresses that they read."""
    rank: int | None = None
    """Rank of the adapters (lora only); 8 where not given."""
    anew: bool = False
    """Begin the memories from random weights (memories only)."""
    leave_out: Annotated[tuple[int, int] | None, arg(metavar="PART PARTS")] = None
    """Keep one part of the catchments out, too: --leave-out 1 2 leaves out the first half, drawn with the seed 0."""
    stand_ins: Annotated[tuple[Path, ...], arg(metavar="RUN ...")] = ()
    """Runs of memories (rest only), which speak for the catchments that they left out: so the rest learns how far to trust
    a memory at a river that it never saw."""
    lr: float | None = None
    """Highest learning rate; the pretrained run's where not given, a tenth of it where all weights learn."""
    epochs: float | None = None
    """Passes over the windows, warm-up in the same proportion; the pretrained run's where not given. A run that goes on may
    be longer, and keeps its warm-up."""
    steps_per_epoch: int | None = None
    """Steps that count as an epoch; the pretrained run's where not given."""
    batch_size: int | None = None
    """Windows a step; the pretrained run's where not given."""
    sites: int | None = None
    """Catchments a window; the pretrained run's where not given."""
    accumulation: int | None = None
    """Batches an update; the pretrained run's where not given."""
    seed: int | None = None
    """Seed of windows, masks and dropout; the pretrained run's where not given, which then sees its own windows again."""
    training_period: tuple[str, str] | None = None
    """First and last day to learn from; the pretrained run's where not given."""
    validation_period: tuple[str, str] | None = None
    """First and last day of the validation loss; the pretrained run's where not given."""
    resume: bool = False
    """Go on from the last checkpoint of the new run."""
    stop_after: int | None = None
    """Stop at this step, with a checkpoint from which --resume goes on; the end of the schedule where not given."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """Threads of the CPU; all where it is not given."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """What is written."""
        return {"out": folder_of(self.out, RUN)}

    def run(self, say: Say) -> Result:
        """Load, choose what learns, train."""
        from hydromae.inference.predictor import load
        from hydromae.store.zarr_store import grid_of, open_store
        from hydromae.train.finetune import learning
        from hydromae.train.trainer import train

        set_threads(self.threads)
        dataset, before = open_store(self.store), load(self.model, "cpu")
        if before.grid is not None and ("grid" not in dataset.attrs or grid_of(dataset) != before.grid):
            raise InputError(f"{self.store}: its maps are not on the grid of {self.model}; prepare it on that grid")
        config = self._config(before.config, dataset["catchment"].values)
        total, start = learning(before.network), self._start(before)
        start.fit(before.network)
        learned = learning(before.network)
        say(f"{self.weights}: {learned:,} numbers learn; the pretrained model has {total:,}")
        say(f"scaled as {self.model} scales; nothing is fitted to this store")
        record = self._record(start, learned, total)
        best = train(
            config,
            dataset,
            before.scaling,
            self.out,
            grid=before.grid,
            start=start,
            resume=self.resume,
            device=self.device,
            stop_after=self.stop_after,
            watch=losses(),
            say=say,
            notes={RECORD: record} if speaks() else {},
        )
        said, path = best_line(best, self.store)
        say(said)
        last = str(best.with_name("last"))
        return {"path": path, "run": str(self.out), "last": last, "learned": learned, "pretrained": total}

    def _start(self, before: Model) -> Start:
        """Where training starts, and what learns."""
        from hydromae.inference.predictor import load
        from hydromae.train.finetune import StandIn, Start

        if self.rank is not None and self.weights != "lora":
            raise InputError(f"--rank {self.rank}: is of adapters; add --weights lora, or leave it out")
        if self.anew and self.weights != "memories":
            raise InputError("--anew: begins memories anew; add --weights memories")
        if self.stand_ins and self.weights != "rest":
            raise InputError("--stand-ins: speak for memories while the rest learns; add --weights rest")
        models = [(load(run, "cpu"), str(run)) for run in self.stand_ins]
        others = tuple(StandIn(m.network.state_dict(), m.config.data.held_out, name) for m, name in models)
        rank = RANK if self.rank is None else self.rank
        return Start(before.network.state_dict(), self.weights, rank, self.anew, others)

    def _held_out(self, run: Config, catchments: np.ndarray) -> tuple[str, ...]:
        """What the pretrained run held out, as far as this store has it, and the part that is left out here."""
        import numpy as np

        from hydromae.evaluate.protocol import folds

        names = catchments.astype(str)
        held = np.isin(names, run.data.held_out)
        left = names[:0]
        if self.leave_out is not None:
            part, parts = self.leave_out
            if not 1 <= part <= parts or not 2 <= parts <= (~held).sum():
                raise InputError(f"--leave-out {part} {parts}: name a part from 1 to PARTS, of at least 2 parts")
            left = folds(names[~held], parts)[part - 1]
        return tuple(sorted({*names[held].tolist(), *left.tolist()}))

    def _config(self, run: Config, catchments: np.ndarray) -> Config:
        """The pretrained run's configuration, with the question's masks and what was given here.

        Of the catchments that the run held out, those that this store has stay held out.
        """
        from hydromae.train.resume import past

        data: dict[str, object] = {"held_out": self._held_out(run, catchments)}
        if self.sites is not None:
            data["sites"] = self.sites
        if self.training_period is not None:
            data["training_period"] = self.training_period
        if self.validation_period is not None:
            data["validation_period"] = self.validation_period
        lr = self.lr if self.lr is not None else run.optimizer.lr * (FULL_LR if self.weights == "full" else 1.0)
        share = lr / run.optimizer.lr if run.optimizer.lr else 1.0
        train = run.train
        epochs = train.epochs if self.epochs is None else self.epochs
        warmup = train.warmup_epochs * epochs / train.epochs
        before = past(self.out).config if self.resume else None
        learn = {
            "epochs": epochs,
            "warmup_epochs": warmup if before is None else before.train.warmup_epochs,
            "steps_per_epoch": train.steps_per_epoch if self.steps_per_epoch is None else self.steps_per_epoch,
            "batch_size": train.batch_size if self.batch_size is None else self.batch_size,
            "accumulation": train.accumulation if self.accumulation is None else self.accumulation,
            "seed": train.seed if self.seed is None else self.seed,
        }
        rates = {"lr": lr, "min_lr": run.optimizer.min_lr * share}
        return run.having(data=data, masks=self._masks(run), optimizer=rates, train=learn)

    def _masks(self, run: Config) -> dict[str, object]:
        """What is asked: one question, a mixture, or what the pretrained run asked."""
        if self.question is not None and self.mixture is not None:
            raise InputError(f"--question {self.question} and --mixture: a run has one of them; leave the other out")
        if self.mixture is not None:
            return {"kind": "mixture", "mixture": tuple(self.mixture.items())}
        if self.question is not None:
            flow = ("riverflow",) if "riverflow" in run.model.modalities else ()
            return {"kind": MASK_OF[self.question], "answered": run.masks.answered or flow}
        return {}

    def _record(self, start: Start, learned: int, total: int) -> str:
        """What the new run starts from, as JSON; refuse to go on from something else."""
        from hydromae.model.serialization import CONFIG

        digest = hashlib.sha256()
        for name, value in sorted(start.weights.items()):
            digest.update(name.encode() + value.detach().numpy().tobytes())
        same = {
            "sha256": digest.hexdigest(),
            "weights": self.weights,
            "rank": start.rank if self.weights == "lora" else None,
            "anew": self.anew or None,  # null where a run of before has no such word
            "stand_ins": [str(run) for run in self.stand_ins] or None,
        }
        file = self.out / RECORD
        if (self.out / CONFIG).is_file():
            before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            changed = [
                f"{key} was {before.get(key)}, is {value}" for key, value in same.items() if before.get(key) != value
            ]
            if changed:
                raise InputError(
                    f"{self.out}: started otherwise ({changed[0]}); resume as it began, or name a new folder"
                )
        return json.dumps({"model": str(self.model), **same, "learned": learned, "pretrained": total}, indent=1)
