"""No pickle is ever read: planted ones, under every name that the product opens, would leave a mark. None appears."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from bases import PERIOD, Bases
from trial import FAULT, Trial, judge


class Planted:
    """Unpickling it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        """What runs where the pickle is read."""
        return exec, (f"import pathlib; pathlib.Path({str(self.mark)!r}).touch()",)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return Bases(tmp_path_factory.mktemp("pickles"))


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that a planted pickle would write; that it can is shown by reading one."""
    mark = tmp_path / "MARK"
    pickle.loads(pickle.dumps(Planted(mark)))  # noqa: S301
    assert mark.exists(), "the plant must be able to write"
    mark.unlink()
    return mark


def raw(mark: Path) -> bytes:
    return pickle.dumps(Planted(mark))


def torch_file(mark: Path) -> bytes:
    stream = io.BytesIO()
    torch.save(Planted(mark), stream)
    return stream.getvalue()


def run(arguments: list[str], mark: Path, refused: bool = True) -> None:
    """The command ends with one line and code 2 (or well), and nothing ran."""
    outcome = judge(Trial(arguments, "planted pickle", ("",)))
    assert not mark.exists(), "the pickle was read"
    assert outcome.verdict != FAULT, outcome.why
    assert outcome.verdict == "refused" or not refused


def predict(question: Path, model: Path, folder: Path) -> list[str]:
    return ["predict", str(question), "--model", str(model), "--out", str(folder / "o.nc"), "--device", "cpu", "--json"]


@pytest.mark.parametrize("made", [raw, torch_file])
@pytest.mark.parametrize(
    "suffix", [".nc", ".csv", ".csv.gz", ".parquet", ".zarr", ".h5", ".pt", ".npz", ".pkl", ".json"]
)
def test_a_pickle_under_the_name_of_a_record(
    bases: Bases, tmp_path: Path, mark: Path, suffix: str, made: Callable
) -> None:
    file = tmp_path / f"record{suffix}"
    file.write_bytes(made(mark))
    run(["prepare", str(file), str(tmp_path / "o.zarr"), "--json"], mark)
    run(predict(file, bases.model, tmp_path), mark)
    run(["inspect", str(file), "--json"], mark)
    run(["prepare", str(bases.folder / "base.nc"), str(tmp_path / "o.zarr"), "--attributes", str(file), "--json"], mark)


@pytest.mark.parametrize("name", ["land_mask.pt", "land_percent.npz"])
def test_a_pickle_as_land_mask(bases: Bases, tmp_path: Path, mark: Path, name: str) -> None:
    place = tmp_path / "raw"
    place.mkdir()
    (place / "camels_gb_daily.nc").write_bytes(bases.netcdf("camels"))
    bases.attributes.to_csv(place / "attributes.csv", index=False)
    objects = np.array([Planted(mark)], dtype=object)
    contents = [raw(mark), torch_file(mark)]
    for archive in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        archive(stream, land_percent=objects, easting=objects, northing=objects)
        contents.append(stream.getvalue())
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as held:  # the old and the new layout of torch, by hand
        held.writestr("archive/data.pkl", raw(mark))
        held.writestr("archive/version", "3\n")
    contents.append(stream.getvalue())
    for content in contents:
        (place / name).write_bytes(content)
        run(["prepare", str(place), str(tmp_path / "o.zarr"), "--shape", "national", *PERIOD, "--json"], mark)


def test_pickles_inside_netcdf(bases: Bases, tmp_path: Path, mark: Path) -> None:
    file = tmp_path / "record.nc"
    file.write_bytes(bases.netcdf("record"))
    with h5py.File(file, "r+") as held:  # as PyTables and NumPy write them
        held.attrs["title"] = np.void(raw(mark))
        held["riverflow"].attrs["FIELD_0_FILL"] = np.bytes_(raw(mark).replace(b"\0", b"\1"))
        held["riverflow"].attrs["pickled"] = np.void(raw(mark))
        held.attrs["CLASS"] = np.bytes_(b"GROUP")
        held.attrs["PYTABLES_FORMAT_VERSION"] = np.bytes_(b"2.1")
    run(predict(file, bases.model, tmp_path), mark, refused=False)
    with h5py.File(file, "r+") as held:
        del held["riverflow"]
        made = held.create_dataset("riverflow", data=np.full((60, 3), np.void(raw(mark))))
        made.attrs["units"] = "mm day-1"
    run(predict(file, bases.model, tmp_path), mark)
    run(["prepare", str(file), str(tmp_path / "o.zarr"), "--json"], mark)


def test_pickles_inside_parquet(bases: Bases, tmp_path: Path, mark: Path) -> None:
    file = tmp_path / "record.parquet"
    table = pa.Table.from_pandas(bases.frame, preserve_index=False)
    index = table.schema.get_field_index("riverflow")
    kind = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": raw(mark)}
    typed = table.set_column(index, table.schema.field(index).with_metadata(kind), table.column(index))
    pandas = {"index_columns": [], "columns": [{"name": "riverflow", "pandas_type": "object", "numpy_type": "pickle"}]}
    objects = table.set_column(index, "riverflow", pa.array([raw(mark)] * len(table), pa.binary()))
    for made in (
        typed,
        table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode(), b"pickle": raw(mark)}),
        table.replace_schema_metadata({b"pandas": raw(mark)}),
        objects,
    ):
        pq.write_table(made, file)
        run(predict(file, bases.model, tmp_path), mark, refused=False)
        run(["prepare", str(file), str(tmp_path / f"{id(made)}.zarr"), *PERIOD, "--json"], mark, refused=False)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ["record", "store"])
def test_the_pickle_codec_inside_zarr(bases: Bases, tmp_path: Path, mark: Path, version: int, kind: str) -> None:
    place = tmp_path / "record.zarr"
    if kind == "store" and version == 3:
        shutil.copytree(bases.store, place)
    else:
        bases.record.to_zarr(place, zarr_format=version, consolidated=False)  # type: ignore[arg-type]
    codec = {"id": "pickle"} if version == 2 else {"name": "numcodecs.pickle", "configuration": {}}
    chunk = place / "riverflow" / ("0.0" if version == 2 else "c/0/0")
    chunk.write_bytes(raw(mark))
    described = place / "riverflow" / (".zarray" if version == 2 else "zarr.json")
    sound = json.loads(described.read_text())
    wrong = [sound | {"filters": [codec], "dtype": "|O"}, sound | {"compressor": codec}, sound | {"filters": [codec]}]
    if version == 3:
        wrong = [
            sound | {"codecs": [codec]},
            sound | {"codecs": [{"name": "pickle"}]},
            sound | {"data_type": "object", "codecs": [{"name": "bytes"}, codec]},
            sound
            | {"codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [30, 3], "codecs": [codec]}}]},
        ]
    for made in wrong:
        described.write_text(json.dumps(made))
        run(predict(place, bases.model, tmp_path), mark)
        run(["prepare", str(place), str(tmp_path / "o.zarr"), "--json"], mark)
        run(["inspect", str(place), "--json"], mark)


@pytest.mark.parametrize("made", [raw, torch_file])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "scaling.json", "grid.json", "checksums.json"])
def test_pickles_in_a_model_folder(bases: Bases, tmp_path: Path, mark: Path, name: str, made: Callable) -> None:
    model = tmp_path / "model"
    shutil.copytree(bases.model, model)
    (model / name).write_bytes(made(mark))
    run(predict(bases.folder / "base.nc", model, tmp_path), mark)
    if name != "checksums.json":
        (model / "checksums.json").unlink()
        run(predict(bases.folder / "base.nc", model, tmp_path), mark)


def test_pickles_beside_and_inside_a_checkpoint(bases: Bases, tmp_path: Path, mark: Path) -> None:
    run_ = tmp_path / "run"
    shutil.copytree(bases.run, run_)
    step = next((run_ / "checkpoints").iterdir())
    beside = (
        "model.pt",
        "pytorch_model.bin",
        "mp_rank_00_model_states.pt",
        "zero_pp_rank_0_mp_rank_00_optim_states.pt",
    )
    for name in (*beside, "random.pkl", ".metadata"):
        (step / name).write_bytes(torch_file(mark))
        (run_ / name).write_bytes(torch_file(mark))
    run(predict(bases.folder / "base.nc", run_, tmp_path), mark, refused=False)
    run(bases.pretrain(run_, "--resume", "--stop-after", "2"), mark, refused=False)
    for file in [*step.iterdir(), *run_.glob("*.json*")]:
        sound = file.read_bytes()
        for content in (raw(mark), torch_file(mark)):
            file.write_bytes(content)
            run(bases.pretrain(run_, "--resume", "--stop-after", "3"), mark, refused=False)
        file.write_bytes(sound)


@pytest.mark.parametrize("made", [raw, torch_file])
def test_a_pickle_as_configuration(bases: Bases, tmp_path: Path, mark: Path, made: Callable) -> None:
    for name in ("mine.py", "mine.pyc", "mine.json", "mine.pkl"):
        (tmp_path / name).write_bytes(made(mark))
        run(bases.pretrain(tmp_path / "run", config=tmp_path / name), mark)
