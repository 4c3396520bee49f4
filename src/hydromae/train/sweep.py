"""Sweep: short training runs with settings drawn by Optuna, compared by one score.

The study is a SQLite file in the sweep's folder, so an interrupted sweep can be resumed from the last checkpoint of its
unfinished trial. Draws depend on the seed, the trial number and the previous trials only (tree-structured Parzen
estimators; Bergstra et al. 2011, NeurIPS).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import xarray as xr

from hydromae.batching.record_arrays import to_record_arrays
from hydromae.config import Config
from hydromae.config.effects import refuse_idle_fields
from hydromae.distributed import SINGLE_PROCESS
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.io.atomic import write_text_atomic
from hydromae.io.folders import SWEEP
from hydromae.io.outputs import output_folder, reserve_output
from hydromae.model.serialization import CONFIG, intact_folder, load_model
from hydromae.runtime import pick_device
from hydromae.store.scaling import Scaling, exclude_catchments
from hydromae.store.scaling_cache import scaling_inputs
from hydromae.train.sampler import DistributedWindowSampler, MaskedBatches
from hydromae.train.search import SearchRange, SearchSettings, SearchSpace, drawn_config, search_space
from hydromae.train.trainer import train
from hydromae.train.validation import validation_numbers, validation_set, window_losses

if TYPE_CHECKING:
    import optuna

STUDY, SPEC, BEST = "study.db", "sweep.json", "best.json"


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        values: Drawn values by setting.
        score: Lower is better; None if the trial failed.
        seconds: Time of training and scoring [s].
        failure: Error of a failed trial.
    """

    number: int
    values: dict[str, float | int]
    score: float | None
    seconds: float
    failure: str | None


def score_trial(
    folder: Path, dataset: xr.Dataset, base: Config, grid: GridSpec | None = None, device: str = "cpu"
) -> float:
    """Mean over modalities of the squared error on the validation windows, in the scaled space.

    Masks, windows and periods are those of `base`, and every modality has the same weight, so the mask ratios and loss
    weights of a trial do not change the score. Modalities without targets are omitted; NaN if there is no target.

    Args:
        folder: A model, such as `run/best`.
        dataset: A record that includes `base.data.validation_period`.
    """
    torch_device = pick_device(device)
    model, _, scaling, _ = load_model(folder)
    model = model.to(torch_device)
    record = to_record_arrays(exclude_catchments(dataset, base.data.held_out), base, scaling, grid)
    validation_windows = validation_set(record, base, base.train.batch_size)
    validation_batches = MaskedBatches(validation_windows, DistributedWindowSampler.of(1, SINGLE_PROCESS, 1), base)
    sums: dict[str, torch.Tensor] = {}
    for _, parts in window_losses(model, validation_batches, validation_numbers(validation_batches), torch_device):
        for name, part in parts.items():
            sums[name] = sums.get(name, 0.0) + part
    means = [float(squares / count) for squares, count in sums.values() if count]
    return sum(means) / len(means) if means else math.nan


def sweep(
    base: Config,
    search: SearchSettings,
    dataset: xr.Dataset,
    scaling: Scaling,
    out: Path,
    *,
    trials: int,
    grid: GridSpec | None = None,
    device: str = "auto",
    progress: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Train until the study has `trials` trials, including failed ones.

    Args:
        base: Configuration that the trials modify, and with which they are scored.
        search: The settings that are searched.
        dataset, scaling, grid, device: As in `train`.
        out: Folder of the sweep: `study.db`, `sweep.json`, the runs `trials/0000` and so on, and `best.json`, the
            configuration of the best trial.
        progress: Called after every trial.

    Returns:
        list of Trial: All trials of the study, in order.

    Raises:
        InputError: Optuna is not installed, the folder contains another sweep or is in use, or a range is invalid.
    """
    optuna = _import_optuna()
    refuse_idle_fields(base)
    space = search_space(search, base)
    if not space:
        raise InputError("sweep: nothing is searched; give at least one range, such as search.lr 1e-4 1e-2")
    with reserve_output(output_folder(out, SWEEP)):
        _check_same_sweep(out / SPEC, search, base, scaling_inputs(dataset, base))
        study = optuna.create_study(
            storage=f"sqlite:///{(out / STUDY).absolute()}",
            study_name="sweep",
            direction="minimize",
            load_if_exists=True,
        )
        while (number := _next_trial(study, space, base.train.seed, trials)) is not None:
            start_time = time.monotonic()
            config = drawn_config(base, study.trials[number].params)
            folder = out / "trials" / f"{number:04d}"
            try:
                trial_score, failure = _train_trial(config, base, dataset, scaling, folder, grid, device), None
            except (InputError, torch.OutOfMemoryError) as error:
                trial_score, failure = math.nan, str(error)
            if failure is None and not math.isfinite(trial_score):
                failure = "its score is not finite"
            _record_result(study, number, trial_score, failure, time.monotonic() - start_time)
            finished = _finished_trials(study)
            _write_best(out, finished)
            progress(finished[number])
        return _finished_trials(study)


def _train_trial(
    config: Config,
    base: Config,
    dataset: xr.Dataset,
    scaling: Scaling,
    folder: Path,
    grid: GridSpec | None,
    device: str,
) -> float:
    train(config, dataset, scaling, folder, grid=grid, resume=True, device=device)
    best = intact_folder(folder / "best")
    if not best.is_dir():
        raise InputError(f"{folder}: its validation loss was never finite")
    return score_trial(best, dataset, base, grid, device)


def _next_trial(study: optuna.Study, space: SearchSpace, seed: int, trials: int) -> int | None:
    """Number of the next trial: an interrupted one, otherwise a new draw; None if the study is complete.

    A trial that was interrupted during its draw is a failed one.
    """
    optuna = _import_optuna()
    for unfinished in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if set(unfinished.params) == set(space):
            return unfinished.number
        _record_result(study, unfinished.number, math.nan, "interrupted while it was drawn", 0.0)
    if len(study.trials) >= trials:
        return None
    study.sampler = optuna.samplers.TPESampler(seed=seed * 1_000_003 + len(study.trials))
    trial = study.ask()
    for name, search_range in space.items():
        _suggest_value(trial, name, search_range)
    return trial.number


def _suggest_value(trial: optuna.Trial, name: str, search_range: SearchRange) -> None:
    if search_range.choices:
        trial.suggest_categorical(name, search_range.choices)
    elif search_range.is_integer:
        trial.suggest_int(name, int(search_range.low), int(search_range.high))
    else:
        trial.suggest_float(name, search_range.low, search_range.high, log=search_range.log)


def _record_result(study: optuna.Study, number: int, trial_score: float, failure: str | None, seconds: float) -> None:
    optuna = _import_optuna()
    notes = study.trials[number].user_attrs | {"seconds": round(seconds, 3)} | ({"why": failure} if failure else {})
    study.set_user_attr(f"trial-{number}", notes)
    if failure is None:
        study.tell(number, trial_score)
    else:
        study.tell(number, state=optuna.trial.TrialState.FAIL)


def _finished_trials(study: optuna.Study) -> list[Trial]:
    notes: Mapping[str, Any] = study.user_attrs
    return [
        Trial(t.number, dict(t.params), t.value, float(note["seconds"]), note.get("why"))
        for t in study.trials
        if (note := notes.get(f"trial-{t.number}")) is not None
    ]


def best_of(trials: list[Trial]) -> Trial | None:
    """The trial with the lowest score, or None if all failed."""
    scored = [trial for trial in trials if trial.score is not None]
    return min(scored, key=lambda trial: float(trial.score or 0.0)) if scored else None


def _write_best(out: Path, trials: list[Trial]) -> None:
    best = best_of(trials)
    if best is not None:
        _write_text(out / BEST, (out / "trials" / f"{best.number:04d}" / CONFIG).read_text(encoding="utf-8"))


def _check_same_sweep(spec: Path, search: SearchSettings, base: Config, data: dict[str, str]) -> None:
    """Write the specification of the sweep; refuse to resume a sweep with another one."""
    specification = json.dumps({"search": asdict(search), "config": asdict(base), "data": data}, indent=1)
    if not spec.is_file():
        _write_text(spec, specification)
    elif json.loads(spec.read_text(encoding="utf-8")) != json.loads(specification):
        raise InputError(
            f"{spec}: differs from the sweep given; go on with the same options and data, or name a new folder"
        )


def _write_text(file: Path, text: str) -> None:
    write_text_atomic(file, text, "mend that, and start the sweep again")


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise InputError(
            "hydromae sweep draws with Optuna, which is not installed; pip install 'hydromae[optuna]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
