"""A sweep compares alike, goes on after a kill as if there had been none, and keeps what failed."""

from __future__ import annotations

import json
import math
import shutil
import signal
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from hydromae.batching.masking import draw_each, targets
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import windows
from hydromae.config import Config
from hydromae.errors import InputError
from hydromae.model.mae import HydroMAE
from hydromae.report.sweep import draw_sweep
from hydromae.train import sweep as module
from hydromae.train.checkpoint import save_model
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.sampler import derive_seed
from hydromae.train.search import SearchSettings
from hydromae.train.sweep import Trial, best_of, score_trial, sweep
from processes import LIMIT, begin, killed_at_the_end
from synthetic import GRID, SMALL, SMALL_MAPS, country, rivers, scaling_of

pytest.importorskip("optuna")
RIVERS, COUNTRY = rivers(), country()
SCALING = scaling_of(RIVERS, SMALL)
QUICK = SMALL.having(train={"epochs": 1, "steps_per_epoch": 3, "validation_windows": 2})


def sweeping(out: Path, trials: int, base: Config = QUICK, search: SearchSettings | None = None) -> list[Trial]:
    return sweep(base, search or SearchSettings(), RIVERS, SCALING, out, trials=trials, device="cpu")


def figures(trials: list[Trial]) -> list[tuple[object, ...]]:
    """Everything but the clock."""
    return [(trial.number, trial.values, trial.score, trial.failure) for trial in trials]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial]]:
    """A sweep of three trials that nothing disturbed."""
    out = tmp_path_factory.mktemp("sweep") / "straight"
    return out, sweeping(out, 3)


def silent(folder: Path, config: Config) -> Path:
    """A model that answers 0, the mean of every variable."""
    torch.manual_seed(0)
    model = HydroMAE(config, pixels=GRID.patch**2)
    for head in model.heads.values():
        torch.nn.init.zeros_(head.mean.weight)
        torch.nn.init.zeros_(head.mean.bias)
    save_model(folder, model.state_dict(), config, scaling_of(COUNTRY, config), GRID)
    return folder


def test_the_score_of_a_model_that_predicts_zero_is_the_mean_square_of_the_targets(tmp_path):
    """Window by window and modality by modality, then each modality alike, whatever their loss weights."""
    base = SMALL_MAPS.having(train={"validation_windows": 4})
    record = to_record_arrays(COUNTRY, base, scaling_of(COUNTRY, base), GRID)
    check = windows(record, base, base.data.validation_period, seed=0, augment=False, update=2)
    squares: dict[str, list[float]] = {name: [] for name in base.model.modalities}
    for index in range(2):
        numbers = range(2 * index, 2 * index + 2)
        batch = check(numbers)
        asked = targets(batch, draw_each(batch, base.masks, [derive_seed(0, 2, number) for number in numbers]))
        for name, wanted in asked.items():
            for window in range(2):
                squares[name].append(float(batch.values[name][window][wanted[window]].square().mean()))
    expected = sum(sum(each) / len(each) for each in squares.values()) / len(squares)
    assert score_trial(silent(tmp_path / "zero", base), COUNTRY, base, GRID) == pytest.approx(expected, rel=1e-5)


def test_the_score_is_independent_of_the_weights_and_ratios_of_a_trial(tmp_path):
    found = set()
    for number, (ratio, weight) in enumerate(((0.4, 1.0), (0.8, 50.0))):
        config = SMALL_MAPS.having(
            masks={"map_ratio": ratio, "series_ratio": ratio}, train={"task_weights": (("riverflow", weight),)}
        )
        found.add(score_trial(silent(tmp_path / str(number), config), COUNTRY, SMALL_MAPS, GRID))
    assert len(found) == 1
    harder = SMALL_MAPS.having(masks={"map_ratio": 0.8})
    assert score_trial(tmp_path / "0", COUNTRY, harder, GRID) not in found


def test_a_modality_without_targets_is_left_out_and_no_target_at_all_is_no_score(tmp_path):
    dry = COUNTRY.assign(riverflow=COUNTRY["riverflow"] * math.nan)
    model = silent(tmp_path / "zero", SMALL_MAPS)
    assert score_trial(model, dry, SMALL_MAPS, GRID) != score_trial(model, COUNTRY, SMALL_MAPS, GRID)
    assert math.isfinite(score_trial(model, dry, SMALL_MAPS, GRID))
    only = SMALL_MAPS.having(masks={"kind": "simulate", "target_modalities": ("riverflow",)})
    assert math.isnan(score_trial(model, dry, only, GRID))


def test_every_trial_is_a_run_and_the_best_is_a_configuration(three):
    out, trials = three
    assert [trial.number for trial in trials] == [0, 1, 2] and all(trial.failure is None for trial in trials)
    best = best_of(trials)
    assert best is not None and best.score == min(trial.score for trial in trials)
    assert len({trial.values["lr"] for trial in trials}) == 3
    for trial in trials:
        run = out / "trials" / f"{trial.number:04d}"
        config = Config.from_json((run / "config.json").read_text())
        assert config.optimizer.lr == trial.values["lr"] and config.model.heads == trial.values["heads"]
        assert trial.score == score_trial(run / "best", RIVERS, QUICK)
        kept = Config.from_json((out / "best.json").read_text())
        assert (kept == config) == (trial == best)


def test_mask_ratios_and_loss_weights_that_a_trial_drew_are_those_it_trains_with(tmp_path):
    """Each in its configuration, and in what it learns: from the same weights, three trials have three first losses."""
    fixed = SearchSettings(**dict.fromkeys(vars(SearchSettings()), "fixed"))
    search = replace(fixed, map_ratio=(0.2, 0.8), series_ratio=(0.2, 0.8), task_weights=(0.1, 10.0))
    base = SMALL_MAPS.having(model={"streams": ("precipitation", "riverflow"), "dropout": 0.0})
    out, scaling = tmp_path / "sweep", scaling_of(COUNTRY, base)
    trials = sweep(base, search, COUNTRY, scaling, out, trials=3, grid=GRID, device="cpu")
    losses, weights = set(), dict(base.train.task_weights)
    for trial in trials:
        assert set(trial.values) == {"map_ratio", "series_ratio", "weight/precipitation"}
        config = Config.from_json((out / "trials" / f"{trial.number:04d}" / "config.json").read_text())
        assert (config.masks.map_ratio, config.masks.series_ratio) == tuple(
            trial.values[name] for name in ("map_ratio", "series_ratio")
        )
        factor = trial.values["weight/precipitation"]
        assert dict(config.train.task_weights) == weights | {"precipitation": weights["precipitation"] * factor}
        losses.add(MetricsLog(out / "trials" / f"{trial.number:04d}" / "journal.jsonl").read()[0]["loss"])
    assert len(losses) == 3


def test_a_sweep_that_is_started_again_goes_on_and_draws_what_it_would_have_drawn(three, tmp_path):
    for trials in (1, 1, 3):
        found = sweeping(tmp_path / "again", trials)
    assert figures(found) == figures(three[1])


def test_another_seed_draws_otherwise(three, tmp_path):
    found = sweeping(tmp_path / "seed", 1, QUICK.having(train={"seed": 1}))
    assert found[0].values != three[1][0].values


def test_a_sweep_that_is_killed_ends_as_one_that_was_not(three, tmp_path):
    """SIGKILL in the middle of the second trial; that trial goes on from its checkpoint.

    What is drawn is the same to the last bit. Scores are not: numbers lie elsewhere in the memory of another process, and
    on some CPUs the order of a sum, so its last bits, depends on that. `test_kill.py` compares bits where they are kept.
    """
    out, write = tmp_path / "killed", MetricsLog.write

    def slow(self: MetricsLog, **numbers: object) -> None:
        write(self, **numbers)  # type: ignore[arg-type]
        time.sleep(0.5)

    def work() -> None:
        MetricsLog.write = slow  # type: ignore[method-assign]
        sweeping(out, 3)

    second, end = out / "trials" / "0001" / "journal.jsonl", time.monotonic() + LIMIT
    with killed_at_the_end() as running:
        running.append(child := begin(work, tmp_path / "words"))
        while not (second.exists() and second.read_text()) and child.is_alive() and time.monotonic() < end:
            time.sleep(0.02)
        child.kill()
        child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(second.read_text().splitlines()) < 3
    found, expected = sweeping(out, 3), three[1]
    assert [(t.number, t.values, t.failure) for t in found] == [(t.number, t.values, t.failure) for t in expected]
    assert [t.score for t in found] == pytest.approx([t.score for t in expected], rel=1e-5)


def test_a_trial_that_was_killed_while_it_was_drawn_is_failed_and_the_sweep_goes_on(tmp_path, monkeypatch):
    def killed(trial: object, name: str, drawn: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "_suggest_value", killed)
        with pytest.raises(KeyboardInterrupt):
            sweeping(tmp_path / "out", 2)
    found = sweeping(tmp_path / "out", 2)
    assert [trial.failure for trial in found] == ["interrupted while it was drawn", None]


def test_trials_that_fail_are_recorded_and_not_fatal(tmp_path, monkeypatch):
    learn = module.train

    def failing(config: Config, dataset: object, scaling: object, out: Path, **options: object) -> Path:
        if out.name == "0000":
            raise InputError("trials/0000: cannot be")
        if out.name == "0001":
            shutil.rmtree(learn(config, dataset, scaling, out, **options))  # type: ignore[arg-type]
            return out
        return learn(config, dataset, scaling, out, **options)  # type: ignore[arg-type]

    def scored(folder: Path, *rest: object) -> float:
        return math.inf if "0002" in str(folder) else score_trial(folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train", failing)
    monkeypatch.setattr(module, "score_trial", scored)
    found = sweeping(tmp_path / "out", 4)
    assert [trial.score is None for trial in found] == [True, True, True, False]
    assert found[0].failure == "trials/0000: cannot be"
    assert str(found[1].failure).endswith("0001: its validation loss was never finite")
    assert found[2].failure == "its score is not finite"
    assert best_of(found) == found[3] and best_of(found[:3]) is None
    assert figures(sweeping(tmp_path / "out", 4)) == figures(found)
    assert draw_sweep(found[:3], tmp_path / "failed.png").read_bytes().startswith(b"\x89PNG")


def test_the_study_holds_no_pickle(three):
    """Every value of every table of the file is a number or text; nothing is binary."""
    connection = sqlite3.connect(three[0] / "study.db")
    tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
    kinds = set()
    for table in tables:
        for column in [row[1] for row in connection.execute(f"pragma table_info({table})")]:
            kinds |= {kind for (kind,) in connection.execute(f"select distinct typeof({column}) from {table}")}
    connection.close()
    assert "trial_params" in tables and "text" in kinds and "blob" not in kinds


def test_the_picture_shows_every_trial(three, tmp_path):
    picture = draw_sweep(three[1], tmp_path / "sweep.png")
    assert picture.read_bytes().startswith(b"\x89PNG") and [f.name for f in tmp_path.iterdir()] == ["sweep.png"]


def test_mistakes_are_one_line_each(three, tmp_path, monkeypatch):
    out = three[0]
    fixed = SearchSettings(**dict.fromkeys(vars(SearchSettings()), "fixed"))
    with pytest.raises(InputError, match="nothing is searched"):
        sweeping(tmp_path / "nothing", 1, search=fixed)
    with pytest.raises(InputError, match=r"sweep\.json: differs from the sweep given"):
        sweeping(out, 4, QUICK.having(optimizer={"lr": 1e-3}))
    with pytest.raises(InputError, match=r"sweep\.json: differs"):
        sweeping(out, 4, search=SearchSettings(lr=(1e-3, 1e-2)))
    with pytest.raises(InputError, match=r"sweep\.json: differs"):
        sweep(QUICK, SearchSettings(), RIVERS.isel(time=slice(1, None)), SCALING, out, trials=4, device="cpu")
    with FileLock(out / ".lock"), pytest.raises(InputError, match="another process of hydromae writes there"):
        sweeping(out, 4)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; name a folder"):
        sweeping(tmp_path / "file", 1)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'hydromae\[optuna\]'"):
        sweeping(tmp_path / "absent", 1)
    assert not (tmp_path / "nothing").exists() and not (tmp_path / "absent").exists()
    assert json.loads((out / "sweep.json").read_text())["search"]["lr"] == "auto"
