"""Wrong files of the seed's layout: each ends in one line that names the file, what is wrong, and what to do."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from hydromae.errors import InputError
from hydromae.preprocess.prepare import prepare_seed

RAIN = "precipitation_train_1989_2010.h5"
MONTH = "precipitation_processed/precipitation_2001_01.h5"
TABLE = "riverflow_evaporation_2catchments_1970_2015.parquet"
CSV = "Catchment_attributes/Catchment_attributes_nrfa.csv"


def merged(days=("2001-01-30", "2001-01-31", "2001-02-01"), shape=(3, 4, 3), name=RAIN, dtype="f4"):
    """Writes another merged file of rain."""

    def change(folder: Path) -> None:
        with h5py.File(folder / name, "w") as file:
            file["dates"] = np.array([day.encode() for day in days])
            file["data"] = np.ones(shape, dtype)

    return change


def edited(name, edit):
    """Edits an HDF5 file in place."""

    def change(folder: Path) -> None:
        with h5py.File(folder / name, "r+") as file:
            edit(file, folder)

    return change


def monthly(edit):
    """Edits the month of rain, and takes the merged file away, so that the month is read."""

    def change(folder: Path) -> None:
        (folder / RAIN).unlink()
        edited(MONTH, edit)(folder)

    return change


def table(edit):
    """Edits the table of rivers."""

    def change(folder: Path) -> None:
        edit(pd.read_parquet(folder / TABLE)).to_parquet(folder / TABLE, index=False)

    return change


def attributes(edit):
    """Edits the attributes."""
    return lambda folder: edit(pd.read_csv(folder / CSV)).to_csv(folder / CSV, index=False)


def cut(name, share):
    """Keeps the first part of a file."""

    def change(folder: Path) -> None:
        held = (folder / name).read_bytes()
        (folder / name).write_bytes(held[: int(share * len(held))])

    return change


def without(name):
    """Takes a file or its dataset away."""
    return lambda folder: (folder / name).unlink()


def replaced(name, link):
    """The dataset's place is taken by a link or a view of the file `other.h5`, which holds what is wanted."""

    def edit(file: h5py.File, folder: Path) -> None:
        with h5py.File(folder / "other.h5", "w") as other:
            other["data"] = np.ones((3, 4, 3), "f4")
        del file[name]
        link(file, folder)

    return edited(RAIN, edit)


def as_view(file, folder):
    layout = h5py.VirtualLayout((3, 4, 3), "f4")
    layout[...] = h5py.VirtualSource(folder / "other.h5", "data", (3, 4, 3))
    file.create_virtual_dataset("data", layout)


def as_raw_bytes(file, folder):
    (folder / "raw.bin").write_bytes(np.ones(36, "f4").tobytes())
    file.create_dataset("data", (3, 4, 3), "f4", external=[(str(folder / "raw.bin"), 0, 144)])


def mask(value, save=torch.save):
    """A `.pt` mask in place of the `.npz`."""

    def change(folder: Path) -> None:
        (folder / "land_percent.npz").unlink()
        save(value, folder / "gb_temp_valid_mask_290x180.pt")

    return change


def twice(frame):
    return pd.concat([frame, frame.tail(1)])


WRONG = {
    "another shape": (merged(shape=(3, 5, 3)), rf"{RAIN}: maps of 5 × 3 cells, but the mask .* has 4 × 3"),
    "two dimensions": (merged(shape=(3, 12)), rf"{RAIN}: data has the shape \(3, 12\)"),
    "a trap": (
        edited(RAIN, lambda f, _: (f.pop("data"), f.create_dataset("data", (3, 10**6, 10**6), "f4", chunks=(1, 9, 9)))),
        f"{RAIN}: maps of 1000000 × 1000000 cells",
    ),
    "maps and dates": (merged(shape=(4, 4, 3)), rf"{RAIN}: 4 maps, but 3 dates"),
    "no number": (merged(dtype="S3"), rf"{RAIN}: data is of type \|S3; write float32"),
    "no dates": (edited(RAIN, lambda file, _: file.pop("dates")), rf"{RAIN}: no dates in it \(it has data\)"),
    "no data": (edited(RAIN, lambda file, _: file.pop("data")), rf"{RAIN}: no data in it \(it has dates\)"),
    "not ascending": (merged(("2001-01-31", "2001-01-30", "2001-02-01")), "2001-01-30 follows 2001-01-31; sort"),
    "a day twice": (merged(("2001-01-30", "2001-01-30", "2001-02-01")), "2001-01-30 occurs twice"),
    "no date": (merged(("2001-01-30", "2001-02-30", "2001-03-01")), "'2001-02-30' is not a day; write YYYY-MM-DD"),
    "a word": (merged(("today", "2001-01-31", "2001-02-01")), "'today' is not a day"),
    "not its years": (merged(("1988-12-31", "1989-01-01", "1989-01-02")), f"{RAIN}: 1988-12-31 does not fit"),
    "cut short": (cut(RAIN, 0.7), f"{RAIN}: not a readable HDF5 file"),
    "no HDF5": (lambda folder: (folder / RAIN).write_text("date,rain"), f"{RAIN}: not a readable HDF5 file"),
    "another unit": (
        edited(RAIN, lambda f, _: f["data"].attrs.update(units="furlong")),
        f"{RAIN}: precipitation has units",
    ),
    "a value": (
        edited(RAIN, lambda f, _: f["data"].write_direct(np.full((3, 4, 3), -999.0, "f4"))),
        "code for missing",
    ),
    "external link": (
        replaced("data", lambda f, d: f.__setitem__("data", h5py.ExternalLink("other.h5", "data"))),
        "a link",
    ),
    "external dates": (
        replaced("dates", lambda f, d: f.__setitem__("dates", h5py.ExternalLink("x.h5", "d"))),
        "dates is",
    ),
    "soft link": (
        replaced("data", lambda f, d: f.__setitem__("data", h5py.SoftLink("/dates"))),
        "data is empty, a group",
    ),
    "view": (replaced("data", as_view), f"{RAIN}: data is empty, a group, or a link to another place"),
    "raw bytes": (replaced("data", as_raw_bytes), f"{RAIN}: data is empty, a group, or a link to another place"),
    "another month": (monthly(lambda f, _: f.move("2001-01-31", "2001-03-31")), f"{MONTH}: 2001-03-31 does not fit"),
    "a month's key": (monthly(lambda f, _: f.move("2001-01-31", "31 Jan")), f"{MONTH}: '31 Jan' is not a day"),
    "an empty month": (monthly(lambda f, _: f.clear()), f"{MONTH}: has no days"),
    "a day's shape": (
        monthly(lambda f, _: (f.pop("2001-01-31"), f.create_dataset("2001-01-31", data=np.ones((2, 2))))),
        rf"{MONTH}: 2001-01-31 has the shape \(2, 2\)",
    ),
    "a day elsewhere": (
        monthly(lambda f, _: (f.pop("2001-01-31"), f.__setitem__("2001-01-31", h5py.ExternalLink("o.h5", "d")))),
        f"{MONTH}: 2001-01-31 is empty, a group, or a link",
    ),
    "no column": (table(lambda t: t.drop(columns="discharge_vol")), f"{TABLE}: 0 columns discharge_vol"),
    "text": (table(lambda t: t.assign(evaporation="dry")), f"{TABLE}: evaporation is of type .*string"),
    "no dates in the table": (table(lambda t: t.assign(date="31/13/2001")), f"{TABLE}: date is not all dates"),
    "numbers for dates": (table(lambda t: t.assign(date=5)), f"{TABLE}: date is of type int64"),
    "a row twice": (table(twice), f"{TABLE}: catchment 1002 has 2001-02-01 2 times"),
    "no number of a river": (table(lambda t: t.assign(ID="Thames")), f"{TABLE}: ID is not all whole numbers"),
    "no rows": (table(lambda t: t.head(0)), f"{TABLE}: has no rows"),
    "a flood": (table(lambda t: t.assign(discharge_vol=1e6)), f"{TABLE}: riverflow has the value 1e\\+06"),
    "a wrong mark": (
        table(lambda t: t.assign(evaporation_filled=1)),
        "evaporation_filled is of type int64; write true",
    ),
    "cut table": (cut(TABLE, 0.5), f"{TABLE}: not a readable parquet file"),
    "unknown river": (attributes(lambda t: t[t["id"] != 1002]), r"nrfa.csv: no row for catchment 1002, .* \(1 such\)"),
    "no area": (
        attributes(lambda t: t.assign(**{"catchment-area": np.nan})),
        "catchment 1001 .* catchment-area is unknown",
    ),
    "no attribute": (attributes(lambda t: t[["id"]]), "nrfa.csv: no column of an attribute in it"),
    "another mask": (
        mask(torch.ones(10, 10, dtype=torch.bool)),
        r"290x180.pt: land mask of 10 × 10 cells .* 290 × 180",
    ),
    "a mask of numbers": (mask(torch.ones(290, 180)), "290x180.pt: holds no boolean tensor"),
    "no mask": (without("land_percent.npz"), "no gb_temp_valid_mask_290x180.pt or .* in it"),
    "no table": (without(TABLE), "no riverflow_evaporation_.*parquet"),
    "no attributes": (without(CSV), f"{CSV}: no such file"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_ends_in_one_line(tiny, tmp_path, change, message):
    change(tiny)
    with pytest.raises(InputError, match=message) as caught:
        prepare_seed(tiny, tmp_path / "s.zarr")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s.zarr").exists()


class Code:
    """Unpickled by a careless reader, this writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_mask_that_is_code_is_refused_and_not_run(tiny, tmp_path):
    planted = tmp_path / "planted"
    mask(Code(planted))(tiny)
    with pytest.raises(InputError, match=r"290x180\.pt: not a plain tensor"):
        prepare_seed(tiny, tmp_path / "s.zarr")
    assert not planted.exists()
    torch.load(tiny / "gb_temp_valid_mask_290x180.pt", weights_only=False)
    assert planted.exists()  # the planted code works where code is allowed


def test_folders_and_periods(tiny, tmp_path):
    for arguments, message in (
        ({"folder": tmp_path / "absent"}, "absent: no such folder"),
        ({"period": ("2001-01-01", "2001-01-31")}, "the period 2001-01-01 … 2001-01-31 is not inside 2001-01-30"),
        ({"training_period": ("2001-05-01", "2001-06-01")}, "maps end on 2001-02-01, before 2001-05-01"),
        ({"training_period": ("1990-01-01", "2000-12-31")}, "no day of it is in the record"),
        ({"training_period": ("1990", "x")}, "not two dates"),
    ):
        with pytest.raises(InputError, match=message):
            prepare_seed(**{"folder": tiny, "out": tmp_path / "s.zarr", **arguments})
    (tiny / RAIN).unlink()
    (tiny / MONTH).unlink()
    (tiny / MONTH.replace("_01", "_02")).unlink()
    with pytest.raises(InputError, match="no file of precipitation; put precipitation_train_1989_2010"):
        prepare_seed(tiny, tmp_path / "s.zarr")
