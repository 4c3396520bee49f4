"""The command pretrain: options without effect, names that no modality has, what a store lacks, and slips, a line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hydromae import load
from hydromae.cli import experiment, main
from hydromae.cli.configuration import read_config
from hydromae.config import Config, MaskConfig, ModelConfig
from hydromae.config.presets import RIVERS, SEED, TINY
from hydromae.errors import InputError
from hydromae.store.zarr_store import write_store
from hydromae.train.metrics_log import MetricsLog
from hydromae.train.trainer import train
from synthetic import SMALL, TRAINING, VALIDATION, rivers, scaling_of

QUICK = SMALL.having(train={"epochs": 1, "warmup_epochs": 0, "steps_per_epoch": 2, "validation_windows": 2})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of catchments, a store without flow, and a configuration."""
    folder, record = tmp_path_factory.mktemp("training"), rivers()
    for name, each in (("rivers", record), ("dry", record.drop_vars("riverflow"))):
        scaling = scaling_of(each, SMALL)
        write_store(each, folder / f"{name}.zarr", scaling=scaling, sources=[], training_period=TRAINING)
    (folder / "quick.json").write_text(QUICK.to_json())
    return folder


def pretrain(folder: Path, out: Path, *options: str, store: str = "rivers") -> int:
    config = [] if "--config" in options or "--preset" in options else ["--config", str(folder / "quick.json")]
    return main(["pretrain", str(folder / f"{store}.zarr"), "--out", str(out), "--device", "cpu", *config, *options])


def line(capsys: pytest.CaptureFixture[str]) -> str:
    """What a refused command said: one line."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


REFUSED = {
    "--masks.series-ratio 0.9": "masks.series_ratio 0.9: changes nothing in this configuration",
    "--masks.lead-days 5 --masks.kind gap": "masks.lead_days 5: changes nothing",
    "--masks.kind random --masks.mixture gap 1": "masks.mixture gap 1: changes nothing",
    "--masks.kind random --masks.target-modalities weather": "masks.target_modalities weather: changes nothing",
    "--model.use-input": "model.use_input True: changes nothing in this configuration (model.use_weighted_fm is off)",
    "--model.use-fm-layers 0": "model.use_fm_layers 0: changes nothing",
    "--model.map-layers 3": "model.map_layers 3: changes nothing",
    "--model.footprints": "model.footprints True: changes nothing",
    "--model.decoder-self-attn": "model.decoder_self_attn True: changes nothing",
    "--model.contrastive-temperature 0.5": "model.contrastive_temperature 0.5: changes nothing",
    "--train.loss-scale 1": "train.loss_scale 1: changes nothing",
    "--train.wandb-project mine": "train.wandb_project mine: changes nothing",
    "--train.task-weights soil_moisture 3": "train.task_weights soil_moisture 3: changes nothing",
    "--train.task-weights riverflwo 5": "names 'riverflwo'; use precipitation, soil_moisture, temperature, evaporation",
    "--train.task-weights precip_loss 100 evap_loss 1": "(precip_loss is precipitation, evap_loss is evaporation)",
    "--train.task-weights riverflow 0 weather 0": "no weight above 0",
    "--data.warm-up-days 40": "data.warm_up_days 40 leaves no target in the 40 days",
    "--data.sequence-length 4": "data.warm_up_days 5 leaves no target in the 4 days",
    "--optimizer.min-lr 0.01": "optimizer.min_lr 0.01 is above optimizer.lr 0.005",
    "--threads 0": "--threads 0: is not a number of threads",
    "--threads -2": "--threads -2: is not a number of threads",
    "--stop-after 0": "--stop-after 0: below 1",
    "--stop-after -1": "--stop-after -1: below 1",
    "--timeout -1": "--timeout -1: out of range",
    "--timeout nan": "--timeout nan: out of range",
}


def test_what_has_no_effect_or_no_sense_is_one_line_and_leaves_nothing(folder, tmp_path, capsys):
    for options, named in REFUSED.items():
        capsys.readouterr()
        assert pretrain(folder, tmp_path / "run", *options.split()) == 2, options
        assert named in line(capsys), options
        assert not (tmp_path / "run").exists(), options


def test_one_mechanism_refuses_in_files_in_python_and_in_sweeps(folder, tmp_path, capsys):
    without = QUICK.having(model={"use_input": True})
    with pytest.raises(InputError, match=r"config: model\.use_input True: changes nothing"):
        train(without, rivers(), scaling_of(rivers(), SMALL), tmp_path / "run", device="cpu")
    (tmp_path / "c.json").write_text(without.to_json())
    (tmp_path / "c.py").write_text(
        f"from hydromae.config import Config\nconfig = Config.from_json({without.to_json()!r})\n"
    )
    for name in ("c.json", "c.py"):
        with pytest.raises(InputError, match=rf"{name}: model.use_input True: changes nothing"):
            read_config(tmp_path / name)
    command = ["sweep", str(folder / "rivers.zarr"), "--out", str(tmp_path / "s"), "--preset", "tiny"]
    assert main([*command, "--model.use-input"]) == 2
    assert "model.use_input True: changes nothing" in line(capsys)
    assert list(tmp_path.glob("[rs]*")) == []


def test_what_a_preset_or_a_run_carries_without_effect_is_taken(tmp_path):
    """Other masks than a preset's leave its mixture behind; a run of before may say `footprints` of a model without maps."""
    asked = RIVERS.having(masks={"kind": "gap"})
    assert asked.masks == MaskConfig(kind="gap", target_modalities=("riverflow",))
    for config in (asked, TINY.having(model={"mixers": ("time", "space")}), TINY.having(masks={"kind": "random"})):
        (tmp_path / "c.json").write_text(config.to_json())
        assert read_config(tmp_path / "c.json") == config
    assert not RIVERS.model.footprints and Config(model=ModelConfig(streams=("precipitation",))).model.film


def test_what_is_not_named_keeps_its_weight(folder, tmp_path):
    assert pretrain(folder, tmp_path / "run", "--train.task-weights", "riverflow", "2") == 0
    written = Config.from_json((tmp_path / "run" / "config.json").read_text()).train.weights
    assert (written["weather"], written["riverflow"], written["precipitation"]) == (0.1, 2.0, 100.0)
    named = SEED.having(train={"task_weights": (("temperature", 3.0),)}).train.weights
    assert (named["temperature"], named["precipitation"], named["soil_moisture"]) == (3.0, 100.0, 10.0)


BASE = [
    *("--preset", "base", "--data.training-period", *TRAINING, "--data.validation-period", *VALIDATION),
    *("--model.d-model", "16", "--model.decoder-dim", "16", "--model.heads", "2", "--model.map-layers", "1"),
    *(
        "--model.series-layers",
        "1",
        "--train.batch-size",
        "2",
        "--train.log-every",
        "1",
        "--train.validation-windows",
        "2",
    ),
]


def test_modalities_that_the_store_lacks_are_named_and_have_no_error(folder, tmp_path, capsys):
    capsys.readouterr()
    assert pretrain(folder, tmp_path / "run", *BASE, "--stop-after", "1") == 0
    told = capsys.readouterr().out
    assert "no observed precipitation, soil_moisture, temperature, evaporation in 2001-01-01..2001-10-27" in told
    assert f"{tmp_path / 'run' / 'last'}: the model of the last step" in told and "best" not in told
    mse = MetricsLog(tmp_path / "run" / "journal.jsonl").read()[0]["mse"]
    assert mse.pop("riverflow") > 0 and set(mse.values()) == {None}
    assert pretrain(folder, tmp_path / "json", *BASE, "--stop-after", "1", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["path"] is None and Path(result["last"]).is_dir()


def test_a_store_without_any_target_is_refused(folder, tmp_path, capsys):
    for options in ([], BASE):
        capsys.readouterr()
        assert pretrain(folder, tmp_path / "run", *options, store="dry") == 2
        assert "riverflow" in (said := line(capsys)) and "there are no targets" in said
        assert not (tmp_path / "run").exists()


def test_a_refused_start_changes_no_file_of_the_run(folder, tmp_path, capsys):
    """Another training period would be another normalisation, which is kept in the run's folder."""
    out = tmp_path / "run"
    held = ["--data.held-out", "1002"]
    assert pretrain(folder, out, *held, "--stop-after", "1") == 0
    before = {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}
    for options in (["--data.held-out", "1003"], ["--data.held-out", "1003", "--resume"]):
        capsys.readouterr()
        assert pretrain(folder, out, *options) == 2
        assert "contains a run" in (said := line(capsys)) or 'data.held_out is ["1002"] in the run' in said
        assert {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()} == before


def test_held_out_files_that_are_empty_or_no_text_are_one_line(folder, tmp_path, capsys):
    (tmp_path / "utf16.txt").write_bytes("1002\n".encode("utf-16"))
    (tmp_path / "none.txt").write_text(" \n")
    for name, named in (
        ("utf16.txt", "is not UTF-8 text"),
        ("none.txt", "has no catchments"),
        ("absent", "No such file"),
    ):
        capsys.readouterr()
        assert pretrain(folder, tmp_path / "run", "--held-out", str(tmp_path / name)) == 2
        assert named in line(capsys) and not (tmp_path / "run").exists()
    (tmp_path / "bom.txt").write_text("1002\n", encoding="utf-8-sig")
    assert pretrain(folder, tmp_path / "run", "--held-out", str(tmp_path / "bom.txt"), "--stop-after", "1") == 0
    assert Config.from_json((tmp_path / "run" / "config.json").read_text()).data.held_out == ("1002",)


def test_a_configuration_may_name_its_folders_as_paths(tmp_path):
    file = tmp_path / "c.py"
    file.write_text("from pathlib import Path\nstore = Path('v.zarr')\noutput = Path('r')\n")
    assert experiment.pretrain_words([], file) == ["pretrain", "v.zarr", "--out", "r", "--config", str(file)]


def test_a_device_may_be_an_object_and_another_default_dtype_changes_no_answer(folder, tmp_path):
    assert pretrain(folder, tmp_path / "one", "--stop-after", "1") == 0
    question = rivers(days=60)
    question["riverflow"][20:30, 0] = float("nan")
    assert load(tmp_path / "one", None).device == load(tmp_path / "one").device
    expected = load(tmp_path / "one", torch.device("cpu")).predict(question)
    torch.set_default_dtype(torch.float64)
    try:
        again = load(tmp_path / "one", "cpu").predict(question)
        assert again.drop_attrs(deep=False).identical(expected.drop_attrs(deep=False))  # their times may differ
        assert pretrain(folder, tmp_path / "two", "--stop-after", "1") == 0
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    one, two = ((tmp_path / name / "last" / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
