"""The command finetune: train a pretrained model for one task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result, best_model_line, is_main_process, set_threads
from hydromae.cli.pretraining import loss_progress
from hydromae.config import Config, MaskKind
from hydromae.errors import InputError
from hydromae.io.folders import RUN
from hydromae.io.outputs import Output, output_folder

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from hydromae.inference.predictor import Model
    from hydromae.train.finetune import FinetuneMethod, PretrainedStart

Question = Literal["gap", "ungauged", "simulate", "forecast", "forecast-blind"]
"""The masks of these names."""
RECORD = "finetune.json"
NEIGHBOURS = 35
"""Default neighbours of --near: with the river, those among which the 24 rivers of a window of gb-rivers are drawn."""
NEAR: dict[str, Any] = {"epochs": 3.0, "steps_per_epoch": 100, "batch_size": 2, "accumulation": 1}
"""Default training of --near."""
RANK = 8
"""Default rank of the adapters."""
FULL_LR = 0.1
"""Factor of the learning rate of the pretrained run if all weights are trained."""


@dataclass(frozen=True)
class Finetune:
    """Fine-tune a pretrained model, on all rivers of a store or near one: all weights, its heads, adapters and heads, its
    LSTMs, or all but the LSTMs."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote; the scaling is that of the pretrained model."""
    model: Annotated[Path, arg(metavar="RUN")]
    """The pretrained model: a run, a model folder, or a shipped name."""
    out: Annotated[Path, arg(metavar="RUN")]
    """Folder of the new run: metrics log, checkpoints, and the model in best/ and last/."""
    question: Question | None = None
    """Task: gap, ungauged, simulate (flow from weather), forecast (with future weather), forecast-blind (without); default
    the masks of the pretrained run."""
    mixture: Annotated[dict[MaskKind, float] | None, arg(metavar="MASK SHARE ...")] = None
    """Masks with their shares, instead of one task: --mixture outage 0.6 forecast-blind 0.1. As those of a task, they hide
    flow if the pretrained run names no modality."""
    near: Annotated[str | None, arg(metavar="RIVER")] = None
    """Train on this river and its nearest neighbours alone: heads and decoders (frozen), 3 epochs of 100 steps of 2 windows,
    unless other options say so."""
    neighbours: int | None = None
    """Neighbours of the river of --near; default 35."""
    trainable: Literal["full", "frozen", "lora", "lstm", "all-but-lstm", "maps"] | None = None
    """Which weights are trained; default full, with --near frozen. full: all; frozen: heads and decoders; lora: these and
    low-rank adapters of attention, recurrence and feed-forward, merged into plain weights in best/ and last/; lstm: the LSTMs
    of rivers alone (three times as fast; follow with all-but-lstm or full); all-but-lstm: all but the LSTMs and the position
    encodings they read; maps: the parts of maps, without which answers stay the same."""
    rank: int | None = None
    """Rank of the adapters (lora only); default 8."""
    reinit_lstm: bool = False
    """Start the LSTMs from random weights (lstm only)."""
    fold: Annotated[tuple[int, int] | None, arg(metavar="FOLD FOLDS")] = None
    """Also hold out one fold of the catchments: --fold 1 2 holds out the first half, drawn with seed 0."""
    oof_runs: Annotated[tuple[Path, ...], arg(metavar="RUN ...")] = ()
    """Runs trained with --trainable lstm and --fold (all-but-lstm only): for the catchments that each held out, its LSTMs
    replace the model's, so that the rest is trained on out-of-fold predictions."""
    lr: float | None = None
    """Maximum learning rate; default that of the pretrained run, a tenth of it if all weights are trained."""
    epochs: float | None = None
    """Epochs, with warm-up in the same proportion; default those of the pretrained run. A resumed run may be longer and keeps
    its warm-up."""
    steps_per_epoch: int | None = None
    """Steps of an epoch; default those of the pretrained run."""
    batch_size: int | None = None
    """Windows per step; default those of the pretrained run."""
    sites: int | None = None
    """Catchments per window; default those of the pretrained run."""
    attribute_dropout: float | None = None
    """Share of catchments in a window of which only position and area are known, from 0 to 1; default that of the pretrained
    run."""
    accumulation: int | None = None
    """Batches per update; default those of the pretrained run."""
    seed: int | None = None
    """Seed of windows, masks and dropout; default that of the pretrained run, with the same windows."""
    training_period: tuple[str, str] | None = None
    """First and last training day; default those of the pretrained run."""
    validation_period: tuple[str, str] | None = None
    """First and last validation day; default those of the pretrained run."""
    resume: bool = False
    """Continue from the last checkpoint of the new run."""
    stop_after: int | None = None
    """Stop at this step with a checkpoint, which --resume continues; default the end of the schedule."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """Threads of the CPU; default all."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {"out": output_folder(self.out, RUN)}

    def run(self, echo: Echo) -> Result:
        """Load, select the trained weights, train."""
        from hydromae.inference.predictor import load
        from hydromae.store.zarr_store import grid_of, open_store
        from hydromae.train.finetune import count_trainable
        from hydromae.train.trainer import train

        set_threads(self.threads)
        dataset, before = open_store(self.store), load(self.model, "cpu")
        has_maps = "cell" in dataset.dims
        if has_maps and before.grid is not None and grid_of(dataset) != before.grid:
            raise InputError(f"{self.store}: its maps are not on the grid of {self.model}; prepare it on that grid")
        if self.trainable == "maps" and not has_maps:
            raise InputError(
                f"{self.store}: has no maps; train others than --trainable maps, or prepare a national store"
            )
        if self.near is not None:
            dataset = self._select_near(dataset, before.config, echo)
        config = self._config(before.config, dataset["catchment"].values)
        total, start = count_trainable(before.network), self._start(before)
        start.apply_to(before.network)
        trainable_count = count_trainable(before.network)
        echo(f"{self.method}: {trainable_count:,} of {total:,} weights are trained")
        echo(f"scaling of {self.model}; nothing is fitted to this store")
        record = self._record(start, trainable_count, total)
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
            progress=loss_progress(),
            log=echo,
            notes={RECORD: record} if is_main_process() else {},
        )
        message, path = best_model_line(best, self.store)
        echo(message)
        last = str(best.with_name("last"))
        return {"path": path, "run": str(self.out), "last": last, "learned": trainable_count, "pretrained": total}

    @property
    def method(self) -> FinetuneMethod:
        """Which weights are trained."""
        return self.trainable or ("full" if self.near is None else "frozen")

    @property
    def _neighbour_count(self) -> int:
        return NEIGHBOURS if self.neighbours is None else self.neighbours

    def _select_near(self, dataset: xr.Dataset, run: Config, echo: Echo) -> xr.Dataset:
        """Return the record of the river and its neighbours, and show it."""
        from hydromae.train.nearest_rivers import describe_nearest, select_nearest

        selected = select_nearest(
            dataset, str(self.near), self._neighbour_count, self.training_period or run.data.training_period
        )
        echo(describe_nearest(selected, str(self.near), self._held_out(run, selected["catchment"].values)))
        return selected

    def _start(self, before: Model) -> PretrainedStart:
        """Return initial and trained weights."""
        from hydromae.inference.predictor import load
        from hydromae.train.finetune import OutOfFoldRun, PretrainedStart

        if self.neighbours is not None and self.near is None:
            raise InputError(f"--neighbours {self.neighbours}: is an option of --near; add it, or leave this out")
        if self.rank is not None and self.method != "lora":
            raise InputError(f"--rank {self.rank}: is an option of adapters; add --trainable lora, or omit it")
        if self.reinit_lstm and self.method != "lstm":
            raise InputError("--reinit-lstm: is an option of the LSTMs; add --trainable lstm")
        if self.oof_runs and self.method != "all-but-lstm":
            raise InputError("--oof-runs: is an option of training with fixed LSTMs; add --trainable all-but-lstm")
        models = [(load(run, "cpu"), str(run)) for run in self.oof_runs]
        others = tuple(OutOfFoldRun(m.network.state_dict(), m.config.data.held_out, name) for m, name in models)
        rank = RANK if self.rank is None else self.rank
        return PretrainedStart(before.network.state_dict(), self.method, rank, self.reinit_lstm, others)

    def _held_out(self, run: Config, catchments: np.ndarray) -> tuple[str, ...]:
        """Return the held-out catchments of the pretrained run that the store has, and those of the fold.

        The river of --near is trained on in any case.
        """
        import numpy as np

        from hydromae.evaluate.protocol import folds

        names = catchments.astype(str)
        is_held_out = np.isin(names, [name for name in run.data.held_out if name != self.near])
        fold_names = names[:0]
        if self.fold is not None:
            fold_index, fold_count = self.fold
            if not 1 <= fold_index <= fold_count or not 2 <= fold_count <= (~is_held_out).sum():
                raise InputError(f"--fold {fold_index} {fold_count}: give a fold from 1 to FOLDS, of at least 2 folds")
            fold_names = folds(names[~is_held_out], fold_count)[fold_index - 1]
        return tuple(sorted({*names[is_held_out].tolist(), *fold_names.tolist()}))

    def _config(self, run: Config, catchments: np.ndarray) -> Config:
        """Return the configuration of the pretrained run with the masks of the task and the options."""
        from hydromae.train.resume import read_previous_run

        data: dict[str, object] = {"held_out": self._held_out(run, catchments)}
        if self.sites is not None:
            data["catchments_per_window"] = self.sites
        if self.attribute_dropout is not None:
            data["attribute_dropout"] = self.attribute_dropout
        if self.training_period is not None:
            data["training_period"] = self.training_period
        if self.validation_period is not None:
            data["validation_period"] = self.validation_period
        lr = self.lr if self.lr is not None else run.optimizer.lr * (FULL_LR if self.method == "full" else 1.0)
        share = lr / run.optimizer.lr if run.optimizer.lr else 1.0
        train = run.train if self.near is None else replace(run.train, **NEAR)
        epochs = train.epochs if self.epochs is None else self.epochs
        warmup = run.train.warmup_epochs * epochs / run.train.epochs
        before = read_previous_run(self.out).config if self.resume else None
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
        """Return the masks of the task or the mixture; none keeps those of the pretrained run."""
        if self.question is not None and self.mixture is not None:
            raise InputError(f"--question {self.question} and --mixture: give one of them")
        flow = ("riverflow",) if "riverflow" in run.model.modalities else ()
        targets = {"target_modalities": run.masks.target_modalities or flow}
        if self.mixture is not None:
            return {"kind": "mixture", "mixture": tuple(self.mixture.items()), **targets}
        return {"kind": self.question, **targets} if self.question is not None else {}

    def _record(self, start: PretrainedStart, trainable_count: int, total: int) -> str:
        """Return the start of the new run as JSON; refuse to resume from another start."""
        from hydromae.model.serialization import CONFIG

        digest = hashlib.sha256()
        for name, value in sorted(start.weights.items()):
            digest.update(name.encode() + value.detach().numpy().tobytes())
        same = {
            "sha256": digest.hexdigest(),
            "trainable": self.method,
            "near": self.near,
            "neighbours": None if self.near is None else self._neighbour_count,
            "rank": start.rank if self.method == "lora" else None,
            "reinit_lstm": self.reinit_lstm or None,  # null in earlier runs
            "oof_runs": [str(run) for run in self.oof_runs] or None,
        }
        file = self.out / RECORD
        if (self.out / CONFIG).is_file():
            before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            changed = [
                f"{key} was {before.get(key)}, is {value}" for key, value in same.items() if before.get(key) != value
            ]
            if changed:
                raise InputError(
                    f"{self.out}: was started with other options ({changed[0]}); resume with these, or name a new folder"
                )
        return json.dumps({"model": str(self.model), **same, "learned": trainable_count, "pretrained": total}, indent=1)
