"""Training learns, says the same of the same run, and never sees what is held out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

from hydromae import runtime
from hydromae.batching import record_arrays
from hydromae.batching.record_arrays import to_record_arrays
from hydromae.batching.windows import windows
from hydromae.config import Config
from hydromae.distributed import ProcessGroup
from hydromae.errors import InputError
from hydromae.train import setup
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.trainer import train
from hydromae.train.updates import TrainerSetup
from hydromae.variables import ATTRIBUTES
from synthetic import GRID, SMALL, SMALL_MAPS, country, rivers, scaling_of

RIVERS = rivers()
COUNTRY = country()


def trained(out: Path, config: Config, dataset: xr.Dataset, like: xr.Dataset | None = None, **options: object) -> Path:
    """A run on a dataset, scaled as `like` is."""
    grid = GRID if "cell" in dataset.dims else None
    scaling = scaling_of(dataset if like is None else like, config)
    train(config, dataset, scaling, out, grid=grid, device="cpu", **options)
    return out


def lines(run: Path) -> list[dict]:
    return MetricsLog(run / "journal.jsonl").read()


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "last" / "model.safetensors")


def test_loss_falls_and_the_best_model_is_that_of_the_lowest_validation_loss(tmp_path):
    config = SMALL.having(
        data={"attribute_dropout": 0.0, "variable_dropout": 0.0, "position_jitter": 0.0},
        model={"dropout": 0.0},
        masks={"kind": "random"},
        optimizer={"lr": 2e-2},
        train={"epochs": 6, "steps_per_epoch": 10, "ema_decay": 0.5},
    )
    out = trained(tmp_path / "run", config, RIVERS)
    found = lines(out)
    losses = [line["loss"] for line in found]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    checks = {line["step"]: line["validation_loss"] for line in found if line["validation_loss"] is not None}
    assert list(checks) == [10, 20, 30, 40, 50, 60]
    assert checks[60] < checks[10]
    best = load_file(out / "best" / "model.safetensors")
    is_last = all(torch.equal(held, best[name]) for name, held in weights(out).items())
    assert is_last == (min(checks, key=lambda step: checks[step]) == 60)


def test_two_runs_are_the_same_and_another_seed_is_another_run(tmp_path):
    one, two = (trained(tmp_path / name, SMALL, RIVERS) for name in ("one", "two"))
    other = trained(tmp_path / "other", SMALL.having(train={"seed": 1}), RIVERS)

    def figures(run: Path, key: str) -> list[float | None]:
        return [line[key] for line in lines(run)]

    assert figures(one, "validation_loss") == figures(two, "validation_loss")
    assert figures(one, "loss") == figures(two, "loss")
    assert figures(one, "loss") != figures(other, "loss")


def test_validation_has_the_same_windows_and_masks_whatever_the_seed_and_moves_nothing(tmp_path):
    still = {"lr": 0.0}
    config = SMALL.having(optimizer=still, model={"dropout": 0.5}, train={"ema_decay": 0.0})
    checks = [
        line["validation_loss"] for line in lines(trained(tmp_path / "run", config, RIVERS)) if line["validation_loss"]
    ]
    assert len(checks) == 2 and checks[0] == checks[1]


@pytest.mark.parametrize(
    ("config", "dataset"),
    [
        (SMALL, RIVERS),
        (SMALL.having(data={"catchments_per_window": None}), RIVERS),
        (SMALL_MAPS, COUNTRY),
        (SMALL_MAPS.having(model={"mixers": ("time", "space")}), COUNTRY),
    ],
    ids=["rivers", "all sites of rivers", "base", "fast"],
)
def test_what_is_held_out_changes_nothing(tmp_path, config, dataset):
    """Other flow, weather and traits of held-out catchments: the same weights and the same journal, to the last bit."""
    held_out = (1002, 1005)
    config = config.having(data={"held_out": tuple(map(str, held_out))})
    out = dataset["catchment"].isin(held_out)
    changed = dataset.copy()
    for name in changed.data_vars:
        if "catchment" in changed[name].dims:
            changed[name] = xr.where(out, 1.5 * changed[name] + 0.01, changed[name], keep_attrs=True).transpose(
                *dataset[name].dims
            )
    for name in ("latitude", "longitude"):
        changed[name] = dataset[name] + 0.02 * out
    one = trained(tmp_path / "one", config, dataset)
    two = trained(tmp_path / "two", config, changed, like=dataset)
    assert not changed.equals(dataset)
    theirs = weights(two)
    assert all(torch.equal(held, theirs[name]) for name, held in weights(one).items())
    for a, b in zip(lines(one), lines(two), strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


def test_a_change_that_is_not_held_out_is_seen(tmp_path):
    """The test above can fail."""
    changed = RIVERS.assign(riverflow=RIVERS["riverflow"] * 1.5)
    one = trained(tmp_path / "one", SMALL, RIVERS)
    two = trained(tmp_path / "two", SMALL, changed, like=RIVERS)
    theirs = weights(two)
    assert not all(torch.equal(held, theirs[name]) for name, held in weights(one).items())


def test_a_held_out_catchment_must_exist_and_leave_some(tmp_path):
    with pytest.raises(InputError, match="no catchment '77'"):
        trained(tmp_path / "one", SMALL.having(data={"held_out": ("77",)}), RIVERS)
    everybody = tuple(str(name) for name in RIVERS["catchment"].values)
    with pytest.raises(InputError, match="holds out all 6 catchments"):
        trained(tmp_path / "two", SMALL.having(data={"held_out": everybody}), RIVERS)


@pytest.mark.parametrize("settings", [{}, {"mixers": ("time", "space")}], ids=["base", "fast"])
def test_maps_and_catchments_train_together(tmp_path, settings):
    out = trained(tmp_path / "run", SMALL_MAPS.having(model=settings), COUNTRY)
    found = lines(out)
    assert [line["step"] for line in found] == [1, 2]
    assert set(found[0]["mse"]) == {"precipitation", "soil_moisture", "temperature", "evaporation", "riverflow"}
    for value in found[0]["mse"].values():
        assert 0.3 < value < 3.0  # scaled values have a variance of about one, and nothing is known yet
    assert (out / "best" / "grid.json").is_file()


def test_two_gauges_at_one_place_are_two_catchments_in_a_window():
    """A centre that comes twice would be hidden here and visible there."""
    together = RIVERS.copy(deep=True)
    for name in ("latitude", "longitude"):
        together[name][:] = together[name][0]
    cut = windows(
        to_record_arrays(together, SMALL, scaling_of(together, SMALL)),
        SMALL,
        SMALL.data.training_period,
        seed=0,
        augment=False,
        update=2,
    )
    near = cut.nearest_sites
    assert near is not None
    np.testing.assert_array_equal(near[:, 0], np.arange(6))
    assert all(len(set(row)) == len(row) for row in near.tolist())
    flows = cut(range(16)).values["riverflow"][..., 0]
    for window in flows:
        assert len(torch.unique(window, dim=1).T) == window.shape[1]


def test_an_epoch_is_one_pass_over_the_windows_also_when_batches_are_added_up(tmp_path):
    """300 days hold 14 windows of 40 days, 20 days apart: 7 batches of 2, or 3.5 updates of 2 batches."""
    config = SMALL.having(train={"steps_per_epoch": None, "epochs": 2, "accumulation": 2})
    found = lines(trained(tmp_path / "run", config, RIVERS))
    assert [line["step"] for line in found] == list(range(1, 8))
    assert [line["epoch"] for line in found] == pytest.approx([step / 3.5 for step in range(1, 8)], abs=1e-4)


def test_the_journal_has_the_mean_loss_of_the_batches_of_an_update(tmp_path):
    """Without learning, the loss of an update of two batches is the mean of the losses of the two."""
    still = SMALL.having(
        optimizer={"lr": 0.0}, model={"dropout": 0.0}, train={"ema_decay": 0.0, "steps_per_epoch": None}
    )
    single = [line["loss"] for line in lines(trained(tmp_path / "one", still, RIVERS))]
    pairs = trained(tmp_path / "two", still.having(train={"accumulation": 2}), RIVERS)
    assert [line["loss"] for line in lines(pairs)] == pytest.approx(
        [(a + b) / 2 for a, b in zip(single[::2], single[1::2], strict=True)], rel=1e-6
    )


def test_a_record_without_flow_to_learn_from_is_refused(tmp_path):
    """No target anywhere: one line that names the period, and no run."""
    dry = RIVERS.assign(riverflow=RIVERS["riverflow"].where(RIVERS["time"] > np.datetime64("2001-10-27")))
    with pytest.raises(InputError, match=r"no observed riverflow in 2001-01-01..2001-10-27.* there are no targets"):
        trained(tmp_path / "run", SMALL, dry, like=RIVERS, stop_after=2)
    assert not (tmp_path / "run").exists()


def test_a_run_describes_itself(tmp_path):
    seen = []
    out = trained(tmp_path / "run", SMALL, RIVERS, progress=seen.append)
    assert [progress.step for progress in seen] == list(range(1, 9))
    assert {progress.steps for progress in seen} == {8}
    assert Config.from_json((out / "config.json").read_text()) == SMALL
    assert {entry.name for entry in out.iterdir()} == {"config.json", "journal.jsonl", "checkpoints", "best", "last"}
    assert set(json.loads((out / "best" / "scaling.json").read_text())) >= {a.name for a in ATTRIBUTES} | {"riverflow"}


@pytest.mark.parametrize("cached", [True, False])
def test_cache_images_decides_whether_a_run_reads_its_record_into_memory_at_the_start(tmp_path, monkeypatch, cached):
    """Every modality of a record is mapped with the value of the option; its effect is tested in `data`."""
    mapped, materialize = {}, record_arrays.materialize

    def watched(shared, name, *given):
        mapped[name] = shared.is_cached
        return materialize(shared, name, *given)

    monkeypatch.setattr(record_arrays, "materialize", watched)
    trained(tmp_path / "run", SMALL_MAPS.having(data={"cache_images": cached}), COUNTRY, stop_after=1)
    assert mapped == dict.fromkeys(SMALL_MAPS.model.modalities, cached)


def test_a_streamed_record_trains_the_same_model_and_leaves_no_file(tmp_path):
    inside = trained(tmp_path / "inside", SMALL_MAPS, COUNTRY)
    streamed = trained(tmp_path / "streamed", SMALL_MAPS.having(data={"cache_images": False}), COUNTRY)
    assert {entry.name for entry in streamed.iterdir()} == {entry.name for entry in inside.iterdir()}
    theirs = weights(streamed)
    assert all(torch.equal(held, theirs[name]) for name, held in weights(inside).items())


@pytest.mark.parametrize(("asked", "used"), [("auto", "fp32"), ("bf16", "bf16")])
def test_a_device_without_the_precision_is_named_in_one_line(
    asked: str, used: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on, in fp32 or as forced; the journal has what was used, the configuration what was asked for."""
    monkeypatch.setattr(runtime, "emulation_reason", lambda kind, dtype: "emulated here")
    said: list[str] = []
    short = SMALL.having(train={"precision": asked, "epochs": 0.5})
    out = trained(tmp_path / "run", short, RIVERS, log=said.append)
    assert len(said) == 1 and said[0].startswith(f"precision on cpu: {used}; ") and "emulated here" in said[0]
    assert {line["precision"] for line in lines(out)} == {used}
    assert Config.from_json((out / "config.json").read_text(), "config.json").train.precision == asked
    if asked == "auto":
        plain = trained(tmp_path / "plain", SMALL.having(train={"precision": "fp32", "epochs": 0.5}), RIVERS)
        assert all(torch.equal(held, weights(plain)[name]) for name, held in weights(out).items())
        assert len(said) == 1, "a run in fp32 says nothing"


def test_a_run_that_goes_on_in_another_precision_gives_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, said = SMALL.having(train={"precision": "auto", "epochs": 1}), list[str]()
    monkeypatch.setattr(runtime, "half_precision_faults", lambda precision, device: [])
    trained(tmp_path / "run", config, RIVERS, stop_after=2, log=said.append)
    assert said == []
    monkeypatch.setattr(runtime, "half_precision_faults", lambda precision, device: ["emulated here"])
    trained(tmp_path / "run", config, RIVERS, resume=True, log=said.append)
    assert said[-1] == "precision: fp32 from here on, bf16 before: not the same to the last bit"
    assert [line["precision"] for line in lines(tmp_path / "run")] == ["bf16", "bf16", "fp32", "fp32"]


def test_processes_compute_in_fp32_where_the_device_of_one_lacks_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(ProcessGroup):
        def sum(self, values: torch.Tensor) -> torch.Tensor:
            return values + 1  # the other process, whose device has fp32 alone

    monkeypatch.setattr(runtime, "half_precision_faults", lambda precision, device: [])
    said, config = list[str](), SMALL.having(train={"precision": "auto"})
    made = TrainerSetup(
        config, RIVERS, scaling_of(RIVERS, SMALL), Path("run"), None, None, False, "torch", said.append, {}
    )
    assert setup.common_precision(made, Two(0, 2, torch.device("cpu"))) == "fp32" and "another process" in said[0]
