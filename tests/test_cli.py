"""The command line from outside: what each command writes, says and returns, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from hydromae import __main__, __version__
from hydromae.cli import COMMANDS, main
from hydromae.evaluate import protocol
from hydromae.evaluate.score import evaluate

DAYS, RIVERS = 60, 12
LIBRARIES = {"torch", "xarray", "pandas", "zarr", "dask", "h5py", "pyarrow", "matplotlib", "pydantic"}
HEAVY = LIBRARIES | {"numpy", "jaxtyping", "asyncio", "unittest"}
"""What `hydromae --help` does without: the libraries take 0.1 to 2 s each, the others 0.03 to 0.06 s."""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("cli") / "virtual.nc"
    assert main(["virtual", str(file), "--days", str(DAYS), "--catchments", str(RIVERS), "--seed", "3"]) == 0
    return file


@pytest.fixture(scope="module")
def store(record: Path) -> Path:
    out = record.with_name("rivers.zarr")
    training = ["--training-period", "1989-01-01", "1989-02-15"]
    assert main(["prepare", str(record), str(out), *training]) == 0
    return out


def test_virtual_writes_a_record(record: Path) -> None:
    with xr.open_dataset(record, engine="h5netcdf") as found:
        assert dict(found.sizes) == {"time": DAYS, "catchment": RIVERS}
        assert {"precipitation", "temperature", "riverflow"} <= set(found.data_vars)


def test_inspect_says_what_is_in_a_store(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(store), "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["days"], found["catchments"], found["cells"]) == (DAYS, RIVERS, 0)
    assert found["period"] == ["1989-01-01", "1989-03-01"] and captured.err == ""
    assert main(["inspect", str(store)]) == 0
    said = capsys.readouterr().out
    assert "1989-01-01 to 1989-03-01, 60 days" in said and "riverflow" in said and "1980s" in said


def test_inspect_draws_a_picture(store: Path, tmp_path: Path) -> None:
    assert main(["inspect", str(store), "--picture", str(tmp_path / "store.png")]) == 0
    assert (tmp_path / "store.png").read_bytes().startswith(b"\x89PNG")


class Constant:
    """A method that answers 1 mm/day everywhere."""

    name = "constant"

    def predict(self, dataset: xr.Dataset) -> xr.Dataset:
        """Every NaN becomes 1."""
        return dataset.assign(riverflow=dataset["riverflow"].fillna(1.0))


def test_report_turns_a_saved_evaluation_into_a_page(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    period = ("1989-01-20", "1989-02-28")
    with xr.open_dataset(record, engine="h5netcdf") as opened:
        found = opened.load()
    asked = protocol.simulate_questions(found, period)
    evaluate({"simulate": [Constant()]}, found, asked, period, {"seed": 3}).save(tmp_path / "evaluation")
    (tmp_path / "journal.jsonl").write_text('{"step": 1, "loss": 0.5, "validation_loss": null, "seconds": 2.0}\n')
    (tmp_path / "card.json").write_text('{"name": "constant", "data_licence": "Invented data, CC0"}')
    page = tmp_path / "page.html"
    capsys.readouterr()
    options = ["--out", str(page), "--journal", str(tmp_path / "journal.jsonl"), "--card", str(tmp_path / "card.json")]
    assert main(["report", str(tmp_path / "evaluation"), "--title", "Virtual rivers", "--json", *options]) == 0
    capture = capsys.readouterr()
    assert json.loads(capture.out) == {"path": str(page)}
    text = page.read_text(encoding="utf-8")
    assert "<h1>Virtual rivers</h1>" in text and "<b>constant</b>" in text and "Flow from weather" in text
    assert text.count("<title>") > RIVERS and "Invented data, CC0" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["virtual", "record.csv"], "record.csv"),
        (["virtual", "record.nc", "--days", "0"], "days"),
        (["virtual", "raw", "--layout", "seed", "--days", "0"], "days"),
        (["virtual", "raw", "--layout", "seed", "--shape", "catchments"], "--shape catchments"),
        (["prepare", "absent.nc", "out.zarr"], "absent.nc"),
        (["prepare", "absent", "out.zarr", "--layout", "seed"], "absent"),
        (["prepare", "absent", "out.zarr", "--layout", "seed", "--shape", "catchments"], "--shape catchments"),
        (["merge", "absent", "out.h5", "--period", "2001-01-01", "2001-01-31"], "absent"),
        (["merge", "absent", "out.h5", "--period", "2001-02-01", "2001-01-31"], "last day is before the first"),
        (["patches", "absent.zarr"], "absent.zarr"),
        (["missing", "absent.parquet"], "absent.parquet"),
        (["inspect", "absent.zarr"], "absent.zarr"),
        (["report", "absent"], "absent"),
    ],
)
def test_an_error_of_the_user_is_one_line_and_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("hydromae: ") and message in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_wrong_model_card_is_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = tmp_path / "card.json"
    card.write_text(text)
    assert main(["report", str(tmp_path), "--card", str(card)]) == 2
    assert "card.json: the model card" in capsys.readouterr().err


def test_wrong_arguments_end_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["drain"], ["virtual"], ["inspect", "a.zarr", "--picture"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert "hydromae" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"usage: hydromae {name}" in said and "--json" in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hydromae {__version__}\n"


def test_the_program_ends_with_the_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["hydromae", "inspect", str(tmp_path / "absent.zarr")])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 2


def test_help_is_fast_because_it_imports_nothing_heavy() -> None:
    """Modules are counted, not seconds: tyro and rich need about 100, Python and the commands the rest."""
    code = (
        "import sys, hydromae.cli as cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit as ended:\n    assert ended.code == 0\n"
        "names = {name.split('.')[0] for name in sys.modules}\n"
        f"heavy = names & {HEAVY!r}\n"
        "assert not heavy, heavy\n"
        "assert len(sys.modules) < 350, len(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)
