"""Configurations in the reference specification's style: converted field by field or refused by name; none of them runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hydromae.cli import main
from hydromae.cli.configuration import read_config
from hydromae.cli.convert import conversion
from hydromae.cli.experiment import run_experiment as train_mae
from hydromae.cli.reference import FIELDS, FIXED_VALUES, NO_COUNTERPART, PARTS, TASKS
from hydromae.config import Config
from hydromae.config.presets import SEED

ROOT = Path(__file__).parents[1]
ORIGINAL = '''
"""Base configuration."""
import os
from dataclasses import dataclass, field
from typing import Dict, List, Optional

import torch

open("ran", "w").close()
DATA_ROOT = os.environ.get("DATA_ROOT", "/Users/transformer/Desktop/water_data/new_version")
DIM = 256

@dataclass
class MAEConfig:
    # data
    precip_dir: str = f"{DATA_ROOT}/precipitation_processed"
    catchment_attributes_csv: str = os.path.join(DATA_ROOT, "Catchment_attributes", "Catchment_attributes_nrfa.csv")
    land_mask_path: str = DATA_ROOT + "/gb_temp_valid_mask_290x180.pt"
    train_start: str = "1989-01-01"
    train_end: str = "2010-12-31"
    val_start: str = "2011-01-01"
    val_end: str = "2015-12-30"
    sequence_length: int = 30
    stride: int = 20
    image_height: int = 290
    image_width: int = 180
    patch_size: int = 10
    land_threshold: float = 0.5
    vector_patch_size: int = 8
    cache_images_to_memory: bool = True
    # model
    d_model: int = DIM
    decoder_dim: int = DIM // 2
    num_heads: int = 8
    dropout: float = 0.1
    image_mask_ratio: float = 0.4
    vector_mask_ratio: float = 0.4
    decoder_self_attn: bool = False
    use_weighted_fm: bool = False
    use_fm_layers: Optional[List[int]] = None
    use_input: bool = False
    # training
    batch_size: int = 16
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    betas: tuple = (0.9, 0.95)
    eps: float = 1e-8
    grad_clip: float = 1.0
    epochs: int = 10
    warmup_epochs: int = 5
    min_lr: float = 0.0
    gradient_accumulation_steps: int = 1
    zero_stage: int = 1
    fp16: bool = True
    initial_scale_power: int = 16
    loss_scale_window: int = 1000
    min_loss_scale: float = 1.0
    hysteresis: int = 2
    num_workers: int = 12
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    task_weights: Dict[str, float] = field(default_factory=lambda: {
        'precip_loss': 100.0, 'soil_loss': 10.0, 'temp_loss': 10.0, 'evap_loss': 1.0, 'riverflow_loss': 1.0})
    log_freq: int = 10
    save_freq: int = 10
    val_freq: int = 1
    keep_last_n: int = 10
    output_dir: str = "output/multimodal_mae"
    wandb_project: str = "water-mae-pretraining"
    wandb_entity: Optional[str] = None
'''


def written(folder: Path, text: str, name: str = "original.py") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def convert(folder: Path, text: str) -> Config:
    """The configuration that comes of a file of this text."""
    out = folder / "mine.py"
    out.unlink(missing_ok=True)
    assert main(["convert-config", str(written(folder, text)), "--out", str(out)]) == 0
    return read_config(out)


def fault(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a file of this text gets, after its name."""
    capsys.readouterr()
    file = written(folder, text)
    assert main(["convert-config", str(file), "--out", str(folder / "mine.py")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and not (folder / "mine.py").exists(), lines
    return lines[0].removeprefix(f"hydromae: {file}: ")


def test_the_specifications_own_numbers_become_the_specifications_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert convert(tmp_path, ORIGINAL) == SEED
    assert not (tmp_path / "ran").exists(), "the file ran"
    text = (tmp_path / "mine.py").read_text()
    assert "config = SEED\n" in text and "store = 'data/national.zarr'\noutput = 'output/multimodal_mae'\n" in text
    told = capsys.readouterr().out
    for name in ("land_threshold", "precip_dir", "land_mask_path", "catchment_attributes_csv", "device"):
        assert re.search(rf"^{name} +not a field: ", told, re.MULTILINE), name


MIXED = "\n    use_weighted_fm = True"
"""Without it, what is mixed has no effect and is refused."""
OTHER = {
    "output_dir": ("'runs/a'", {}),
    "train_start": ("'1990-01-01'", {"data": {"training_period": ("1990-01-01", "2010-12-31")}}),
    "train_end": ("'2009-12-31'", {"data": {"training_period": ("1989-01-01", "2009-12-31")}}),
    "val_start": ("'2012-01-01'", {"data": {"validation_period": ("2012-01-01", "2015-12-30")}}),
    "val_end": ("'2014-12-30'", {"data": {"validation_period": ("2011-01-01", "2014-12-30")}}),
    "mask_ratio": ("0.75", {"masks": {"map_ratio": 0.75, "series_ratio": 0.75}}),
    "mask_ratio ": ("{'image': 0.5, 'vector': 0.6}", {"masks": {"map_ratio": 0.5, "series_ratio": 0.6}}),
    "use_fm_layers": (f"[0, 2, 4]{MIXED}", {"model": {"use_fm_layers": (0, 2, 4), "use_weighted_fm": True}}),
    "beta1": ("0.8", {"optimizer": {"betas": (0.8, 0.95)}}),
    "adam_beta2": ("0.99", {"optimizer": {"betas": (0.9, 0.99)}}),
    "betas": ("[0.8, 0.9]", {"optimizer": {"betas": (0.8, 0.9)}}),
    "fp16": ("False", {"train": {"precision": "fp32"}}),
    "bf16": ("True", {"train": {"precision": "bf16"}}),
    "mixed_precision": ("'no'", {"train": {"precision": "fp32"}}),
    "initial_scale_power": ("12", {"train": {"loss_scale": 4096.0}}),
    "use_wandb": ("False", {"train": {"tracker": "none"}}),
    "unified_mask": ("True", {"masks": {"kind": "unified"}}),
    "task_weights": (
        "{'precip_loss': 50}",
        {"train": {"task_weights": (("precipitation", 50.0), *SEED.train.task_weights[1:])}},
    ),
    "wandb_entity": ("'team'", {"train": {"wandb_entity": "team"}}),
    "wandb_project": ("'water'", {"train": {"wandb_project": "water"}}),
    "min_lr": ("1e-6", {"optimizer": {"min_lr": 1e-6}}),
    "use_weighted_fm": ("True", {"model": {"use_weighted_fm": True}}),
    "use_input": (f"True{MIXED}", {"model": {"use_input": True, "use_weighted_fm": True}}),
    "decoder_self_attn": ("True", {"model": {"decoder_self_attn": True}}),
    "cache_images_to_memory": ("False", {"data": {"cache_images": False}}),
    "zero_stage": ("1", {}),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_value_of_a_field_changes_that_and_nothing_else(name, tmp_path):
    value, changed = OTHER[name]
    assert convert(tmp_path, f"class MAEConfig:\n    {name} = {value}\n") == SEED.having(**changed)


@pytest.mark.parametrize("name", FIELDS["output"])
def test_the_folder_of_the_output_is_kept(name, tmp_path):
    convert(tmp_path, f"class MAEConfig:\n    {name} = 'runs/a'\n")
    assert "output = 'runs/a'" in (tmp_path / "mine.py").read_text()


def test_numbers_of_deepspeeds_own_configuration_are_read(tmp_path):
    fp16 = "{'enabled': True, 'loss_scale': 0, 'initial_scale_power': 10, 'loss_scale_window': 500, 'hysteresis': 4}"
    text = f"ds_config = {{'fp16': {fp16}, 'zero_optimization': {{'stage': 1}}, 'gradient_clipping': 0.5}}\n"
    loss_scale = {"loss_scale": 1024.0, "loss_scale_window": 500, "loss_scale_hysteresis": 4}
    assert convert(tmp_path, text) == SEED.having(train=loss_scale, optimizer={"clip": 0.5})


def test_every_name_of_a_number_reaches_its_field(tmp_path):
    """Half of the default, at every name that a field has, in one class each."""
    for target, names in FIELDS.items():
        section, _, own = target.partition(".")
        default = vars(vars(SEED)[section])[own] if own else None
        if isinstance(default, bool) or not isinstance(default, int | float) or not default:
            continue
        for name in set(names) - {"mask_ratio", "mask_ratio.image", "mask_ratio.vector", "initial_scale_power"}:
            half = type(default)(default / 2) or 3
            _, changed, _ = conversion(written(tmp_path, f"class MAEConfig:\n    {name} = {half}\n"))
            assert changed == {target: half}, name


FORMS = {
    "a dictionary": "config = {'batch_size': 8, 'optimizer': {'type': 'AdamW', 'params': {'lr': 3e-4}}}",
    "dict()": "config = dict(batch_size=2**3, lr=-3e-4 * -1)",
    "an instance": "class C:\n    batch_size: int = 16\n    lr: float = 3e-4\nconfig = C(batch_size=8)",
    "fields of an instance": "class C:\n    batch_size = 16\n    lr = 3e-4\nconfig = C()\nconfig.batch_size = 8",
    "a namespace": "from types import SimpleNamespace\ncfg = SimpleNamespace(batch_size=8, lr=3e-4)",
    "__init__": "class MAEConfig:\n    def __init__(self, lr=3e-4):\n        self.lr = lr\n        self.batch_size = 8",
    "__post_init__": "class MAEConfig:\n    lr: float = None\n    batch_size: int = 8\n    def __post_init__(self):\n"
    "        if self.lr is None:\n            self.lr = 3e-4\n        assert self.batch_size > 0",
    "a subclass": "class Base:\n    batch_size = 16\n    lr = 3e-4\nclass Exp(Base):\n    batch_size = 8",
    "pairs": "class MAEConfig:\n    lr, batch_size = 3e-4, 8",
    "a sum": "class MAEConfig:\n    lr = 3e-4\n    batch_size = 6\n    batch_size += 2",
    "a late annotation": "class MAEConfig:\n    lr = 3e-4\n    batch_size = 8\n    lr: float",
    "sections": "class MAEConfig:\n    class data:\n        batch_size = 8\n    class optim:\n        lr = 3e-4",
    "capitals": "class MAEConfig:\n    BATCH_SIZE = 8\n    LR = 3e-4",
    "constants": "weights = {'precip_loss': 100}\n"
    "LR = 3e-4\nclass MAEConfig:\n    lr = LR\n    batch_size = 8\n    task_weights = weights",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_configuration_is_read(form, tmp_path):
    assert convert(tmp_path, FORMS[form] + "\n") == SEED.having(train={"batch_size": 8}, optimizer={"lr": 3e-4})


@pytest.mark.parametrize("module", ["configs.mae_config", "mae_config", ".mae_config"])
def test_an_experiment_builds_on_the_configuration_beside_it(module, tmp_path):
    written(tmp_path, ORIGINAL, "mae_config.py")
    text = f"from {module} import MAEConfig\nclass MAEConfig(MAEConfig):\n    image_mask_ratio = 0.75\n"
    assert convert(tmp_path, text) == SEED.having(masks={"map_ratio": 0.75})
    text = f"from {module} import MAEConfig\nconfig = MAEConfig(vector_mask_ratio=0.6)\n"
    assert convert(tmp_path, text) == SEED.having(masks={"series_ratio": 0.6})


REFUSED = {
    "mask_rate = 0.5": "mask_rate is not a field of the reference specification; remove it",
    "task_weights = {'rain_loss': 1}": "task_weights['rain_loss']: no such loss; name precip_loss",
    "zero_stage = 2": "zero_stage = 2: hydromae has 1 alone",
    "optimizer = 'sgd'": "optimizer = 'sgd': hydromae has 'adamw' alone",
    "patch_size = 20": "patch_size = 20: hydromae has 10 alone",
    "loss_scale = 128": "loss_scale = 128: hydromae has 0 alone",
    "lr = 1e-3; learning_rate = 1e-4": "lr and learning_rate differ",
    "mask_ratio = 0.5; image_mask_ratio = 0.4": "mask_ratio and image_mask_ratio differ",
    "fp16 = True; bf16 = True": "fp16 and bf16 differ",
    "betas = (0.9, 0.95); beta1 = 0.9": "betas and beta1 set the same",
    "lr = float(input())": "lr = float(input()) (line 2): is not a plain value",
    "epochs = 10 ** 10 ** 10": "epochs = 10 ** 10 ** 10 (line 2): is not a plain value",
    "batch_size = 2.5": "batch_size: ",
    "batch_size = True": "batch_size = True: is not a number",
    "fp16 = 'yes'": "fp16 = 'yes': is not True or False",
    "d_model = 257": "d_model: config: model.d_model",
    "encoder_dim = 'wide'": "encoder_dim: config: field 'model.d_model'",
    "vector_mask_ratio = 40": "vector_mask_ratio: config: masks.series_ratio has the value 40",
    "use_fm_layers = [-1]": "use_fm_layers: config: model.use_fm_layers names -1",
    "val_start = '2020-01-01'": "val_start: config: data.validation_period",
    "lr, eps = input()": "lr = no value (line 2): is not a plain value",
    "lr: float": "lr = no value (line 2): is not a plain value",
    "output_dir = 5": "the folder of the output is not text",
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_has_no_counterpart_is_refused_by_name(body, tmp_path, capsys):
    assert fault(tmp_path, f"class MAEConfig:\n    {body}\n", capsys).startswith(REFUSED[body])


THERE_ARE = "of configurations in the reference specification's style there are"
UNREADABLE = {
    "class A:\n    lr = 1\nclass B:\n    lr = 2\n": f"{THERE_ARE} several (A, B)",
    "lr = 3\n": f"{THERE_ARE} none; give a class MAEConfig",
    "class MAEConfig(Other):\n    lr = 1\n": "class Other is neither in this file nor in one beside it",
    "class MAEConfig:\n    def __init__(self, **kw):\n"
    "        for k in kw:\n            self.lr = 3\n": "line 3: fields are set in a branch",
    "class MAEConfig:\n    lr = 1\n    def scale(self):\n        self.lr = 2\n": "line 3: a method sets fields",
    "class MAEConfig:\n    lr = 1\nc = MAEConfig()\nc.update(lr=2)\n": "line 4: fields are set by a call",
    "class MAEConfig:\n    lr = 1\ndef get():\n    c = MAEConfig()\n    c.lr = 2\n": "line 3: fields are set in a branch",
    "class MAEConfig:\n    def __init__(self, lr=1):\n"
    "        self.lr = lr\nc = MAEConfig(lr=2)\n": "line 4: MAEConfig takes arguments",
    "class MAEConfig(MAEConfig):\n    lr = 1\n": "class MAEConfig is neither in this file",
    "class MAEConfig:\n    lr = (\n": "is not Python",
    "class MAEConfig:\n    lr = " + "(" * 3000 + "1" + ")" * 3000 + "\n": "is not Python",
    "\0": "is not Python",
}


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_only_running_the_file_would_show_is_refused_by_line(text, tmp_path, capsys):
    assert fault(tmp_path, text, capsys).startswith(UNREADABLE[text])


def test_a_file_that_is_there_is_kept(tmp_path, capsys):
    original = written(tmp_path, ORIGINAL)
    other = written(tmp_path, "mine = 1\n", "other.py")
    for out, said in ((original, "is the input"), (other, "exists already")):
        held = out.read_bytes()
        assert main(["convert-config", str(original), "--out", str(out)]) == 2
        assert said in capsys.readouterr().err and out.read_bytes() == held
    assert main(["convert-config", str(original), "--out", str(tmp_path / "c.json")]) == 2
    assert main(["convert-config", str(tmp_path / "absent.py"), "--out", str(tmp_path / "c.py")]) == 2
    assert not (tmp_path / "c.json").exists() and not (tmp_path / "c.py").exists()


def test_the_result_is_also_for_programs(tmp_path, capsys):
    original = written(tmp_path, "class MAEConfig:\n    mask_ratio = 0.4\n    soil_dir = '/a'\n")
    assert main(["convert-config", str(original), "--out", str(tmp_path / "c.py"), "--store", "s.zarr", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["fields"] == {"mask_ratio": ["masks.map_ratio", "masks.series_ratio"]}
    assert result["no_field"] == {"soil_dir": "hydromae prepare FOLDER STORE --layout seed"}
    assert "store = 's.zarr'" in (tmp_path / "c.py").read_text()


@pytest.mark.parametrize(
    "text",
    [
        ORIGINAL,
        "from configs.mae_config import MAEConfig\nclass Exp1(MAEConfig):\n    image_mask_ratio = 0.75\n",
        "config = dict(batch_size=8, lr=1e-3, epochs=3)\n",
        "from mae_config import MAEConfig\nconfig = MAEConfig(mask_ratio=0.5)\n",
    ],
)
def test_training_names_the_command_that_converts(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, text)
    line = f"{file}: is a configuration in the reference specification's style; convert it with hydromae convert-config"
    assert main(["pretrain", "s.zarr", "--out", "run", "--config", str(file)]) == 2
    assert line in capsys.readouterr().err
    assert train_mae(["--config", str(file)], file) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "ran").exists(), "the file ran"


def test_a_configuration_of_hydromae_is_not_mistaken_for_one_of_that_style(tmp_path):
    own = (
        "from hydromae.config.presets import SEED\n"
        "keys = dict(batch_size=8, epochs=3, seed=1)\nconfig = SEED.having(train=keys)\n"
    )
    assert read_config(written(tmp_path, own)) == SEED.having(train={"batch_size": 8, "epochs": 3, "seed": 1})
    for file in (ROOT / "configs").glob("*.py"):
        assert isinstance(read_config(file), Config)


def test_the_documentation_lists_every_name():
    lines = (ROOT / "docs" / "seed.md").read_text(encoding="utf-8").splitlines()
    table = dict(line.strip("|").split("|") for line in lines if line.startswith("|`") and line.count("|") == 3)
    shown = {name: here for names, here in table.items() for name in re.findall(r"`([\w.]+)`", names)}
    for target, names in FIELDS.items():
        assert f"|{', '.join(f'`{name}`' for name in names)}|`{target}`|" in lines
    for (target, _), names in PARTS.items():
        assert all(shown[name].startswith(f"`{target}`, the ") for name in names)
    assert all(shown[name] == f"no field; here always `{values[0]!r}`" for name, values in FIXED_VALUES.items())
    assert all(shown[name] == f"no field; {place}" for name, place in NO_COUNTERPART.items())
    assert {TASKS[one.removesuffix("_loss")] for one in shown if one.endswith("_loss")} == set(SEED.model.modalities)
