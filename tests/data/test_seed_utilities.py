"""The seed's utilities: merge monthly files, spatial patches, missing values found and filled."""

import json
import shutil
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib import image

from hydromae.batching.record_arrays import neighbour_groups
from hydromae.cli import main
from hydromae.datasets import reader
from hydromae.errors import InputError
from hydromae.io import attributes
from hydromae.io.conventions import catchment_positions
from hydromae.preprocess.fill import fill, fill_gaps_linearly
from hydromae.preprocess.merge import merge
from hydromae.preprocess.missing import MissingSummary, VariableSource, codes_of, longest_runs
from hydromae.preprocess.missing_sources import list_variables
from hydromae.preprocess.patches import spatial_patches
from hydromae.preprocess.prepare import prepare_seed
from hydromae.store.zarr_store import open_store

S = -99999.0


# merge


@pytest.mark.parametrize("name", ["precipitation", "soil_moisture", "temperature"])
def test_merged_months_are_byte_for_byte_the_merged_file(seed_folder, tmp_path, name):
    found = merge(seed_folder / f"{name}_processed", tmp_path / "m.h5", ("1988-12-20", "1989-01-28"))
    assert (found["variable"], found["days"], found["missing_days"]) == (name, 40, [])
    with h5py.File(tmp_path / "m.h5") as ours, h5py.File(seed_folder / f"{name}_train_1970_2010.h5") as theirs:
        assert ours["data"][()].tobytes() == theirs["data"][()].tobytes()
        np.testing.assert_array_equal(ours["dates"], theirs["dates"])
        assert (ours["data"].chunks, ours["data"].compression) == ((30, 290, 180), "gzip")
        assert dict(ours["data"].attrs) == dict(theirs["data"].attrs)


def test_missing_days_are_refused_by_name_or_written_as_missing(tiny, tmp_path):
    folder = tiny / "temperature_processed"
    with pytest.raises(InputError, match=r"no file holds 2001-01-28 \(2 such days .*--allow-missing"):
        merge(folder, tmp_path / "m.h5", ("2001-01-28", "2001-02-01"))
    assert not (tmp_path / "m.h5").exists()
    found = merge(folder, tmp_path / "m.h5", ("2000-12-15", "2001-02-01"), allow_missing=True)
    assert found["missing_days"] == [str(day) for day in pd.date_range("2000-12-15", "2001-01-29").date]
    with h5py.File(tmp_path / "m.h5") as file:
        assert file["dates"][0] == b"2000-12-15" and len(file["dates"]) == 49
        assert (file["data"][:46] == S).all() and (file["data"][46:] == 9).all()


def test_merge_on_the_command_line_takes_its_period_and_allows_missing_days(tiny, tmp_path, capsys):
    command = ["merge", str(tiny / "temperature_processed"), str(tmp_path / "m.h5"), "--json"]
    assert main([*command, "--period", "2001-01-29", "2001-01-31"]) == 2
    assert "no file holds 2001-01-29 (1 such days" in capsys.readouterr().err
    assert main([*command, "--period", "2001-01-29", "2001-01-31", "--allow-missing"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["variable"], found["days"], found["missing_days"]) == ("temperature", 3, ["2001-01-29"])
    with h5py.File(tmp_path / "m.h5") as file:
        assert file["dates"][()].tolist() == [b"2001-01-29", b"2001-01-30", b"2001-01-31"]


def test_merge_refuses(tiny, tmp_path):
    period = ("2001-01-30", "2001-02-01")
    rain = tiny / "precipitation_processed"
    for folder, out, message in (
        (tiny, "m.h5", "no monthly file such as"),
        (tiny / "absent", "m.h5", "no such folder"),
        (rain, "m.nc", "ends in .h5"),
    ):
        with pytest.raises(InputError, match=message):
            merge(folder, tmp_path / out, period)
    (rain / "precipitation_2001_02.h5").rename(rain / "wind_2001_02.h5")
    with pytest.raises(InputError, match="monthly files of precipitation, wind in it"):
        merge(rain, tmp_path / "m.h5", period)
    with h5py.File(tiny / "temperature_processed" / "temperature_2001_02.h5", "r+") as file:
        file["2001-02-01"].attrs["units"] = "K"
    with pytest.raises(InputError, match=r"temperature_2001_02.h5: 4 × 3 cells in K, but .* in degC"):
        merge(tiny / "temperature_processed", tmp_path / "m.h5", period)


def test_merging_holds_a_month_at_most(seed_folder, tmp_path):
    for name in ("precipitation", "temperature"):
        tracemalloc.start()
        merge(seed_folder / f"{name}_processed", tmp_path / f"{name}.h5", ("1988-12-20", "1989-01-28"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * 30 * 290 * 180 * 4


# patches


def test_94_of_522_patches_and_76_groups_of_neighbours(seed_604, tmp_path, capsys):
    csv = seed_604 / "Catchment_attributes" / "Catchment_attributes_nrfa.csv"
    arguments = ["--attributes", str(csv), "--out", str(tmp_path / "p.json"), "--picture", str(tmp_path / "p.png")]
    assert main(["patches", str(seed_604 / "gb_temp_valid_mask_290x180.pt"), *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "p.json").read_text()) == found
    assert (found["patch_rows"], found["patch_columns"], found["patches"]) == (29, 18, 522)
    assert len(found["land_patches"]) == 94 and found["land_threshold"] == 0.5
    # the patch of 50 km that holds London (530 km E, 180 km N) is land; the grid begins at −200 km
    row, column = (180 + 200) // 50, (530 + 200) // 50
    assert row * 18 + column in found["land_patches"]
    assert [len(group) for group in found["groups"]] == [8] * 75 + [4] and found["padding"] == 4
    assert sorted(np.concatenate(found["groups"])) == sorted(pd.read_csv(csv)["id"])
    assert image.imread(tmp_path / "p.png")[..., :3].std() > 0.05
    # neighbours share a group: it spans a small part of the country
    rivers = attributes.read_attribute_table(csv)
    place = np.stack(catchment_positions(rivers), axis=-1) / 1000
    row_of = {number: index for index, number in enumerate(rivers["catchment"].values)}
    spread = [np.linalg.norm(np.ptp(place[[row_of[n] for n in group]], axis=0)) for group in found["groups"]]
    assert np.median(spread) < 0.15 * np.linalg.norm(np.ptp(place, axis=0))


def test_patches_of_a_store_are_those_of_training(seed_folder, tmp_path):
    store = prepare_seed(seed_folder, tmp_path / "s.zarr", land_threshold=0.8)
    found = spatial_patches(store)
    assert found["land_threshold"] == 0.8 and len(found["land_patches"]) < 94
    opened = open_store(store)
    slots = neighbour_groups(*catchment_positions(opened), 8)
    assert found["groups"] == opened["catchment"].values[slots].tolist() and found["padding"] == 0
    assert len(spatial_patches(store, land_threshold=0.5, group_size=5)["land_patches"]) == 94
    assert [len(group) for group in spatial_patches(store, group_size=5)["groups"]] == [5, 5, 5, 5, 4]


def test_patches_refuse(seed_folder, tmp_path, capsys):
    mask = seed_folder / "gb_temp_valid_mask_290x180.pt"
    for arguments, message in (
        ([str(tmp_path)], "neither a store nor a land mask"),
        ([str(tmp_path / "absent.pt")], "no such file"),
        ([str(mask), "--land-threshold", "1.5"], "land threshold 1.5"),
        ([str(mask), "--group-size", "0"], "group size 0"),
        ([str(mask), "--picture", str(tmp_path / "absent" / "p.png")], "name a .png file"),
        ([str(mask), "--out", str(tmp_path / "p.txt")], "name a .json file"),
    ):
        assert main(["patches", *arguments]) == 2
        assert message in capsys.readouterr().err


# missing


def test_kinds_of_missing():
    values = np.array([[1.0, np.nan, S, np.inf, -np.inf, 5.0]])
    assert codes_of(values, np.array([[False] * 5 + [True]])).tolist() == [[0, 1, 2, 3, 3, 4]]


def test_runs_go_across_blocks_and_decades():
    """Site 0 is missing on days 1 to 3 and 6, site 1 never, site 2 always, from 30 December 1999 in blocks of 2 days."""
    codes = np.zeros((7, 3), np.uint8)
    codes[1:4, 0], codes[6, 0], codes[:, 2] = 2, 1, 3
    days = np.arange(np.datetime64("1999-12-30"), np.datetime64("2000-01-06"))

    def blocks():
        return (codes[first : first + 2] for first in range(0, 7, 2))

    found = MissingSummary.of(VariableSource("riverflow", "series", np.array([7, 8, 9]), days, blocks))
    assert found.runs().to_dict("list") == {
        "variable": ["riverflow"] * 3,
        "site": [7, 7, 9],
        "first": ["1999-12-31", "2000-01-05", "1999-12-30"],
        "last": ["2000-01-02", "2000-01-05", "2000-01-05"],
        "days": [3, 1, 7],
    }
    told = found.report()
    assert told["by_decade"] == {
        "1990s": {"values": 6, "nan": 0, "sentinel": 1, "infinite": 2, "filled": 0},
        "2000s": {"values": 15, "nan": 1, "sentinel": 2, "infinite": 5, "filled": 0},
    }
    assert (told["sites"], told["never_observed"], told["values"], told["missing"]) == (3, 1, 21, 11)
    assert longest_runs([found], 1)["days"].tolist() == [7]
    sea = MissingSummary.of(VariableSource("temperature", "map", np.array([7, 8, 9]), days, blocks))
    told = sea.report()
    assert (told["sites"], told["never_observed"], told["values"], told["missing"]) == (2, 1, 14, 4)
    assert sea.runs()["site"].tolist() == [7, 7]


def test_missing_in_a_folder_of_the_seed(seed_folder, capsys):
    assert main(["missing", str(seed_folder), "--json", "--locate", "--longest", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    by_name = {one["variable"]: one for one in told["variables"]}
    assert list(by_name) == ["precipitation", "soil_moisture", "temperature", "evaporation", "discharge_vol"]
    for name in ("precipitation", "soil_moisture", "temperature"):
        assert (by_name[name]["sites"], by_name[name]["missing"]) == (10083, 0)
        assert by_name[name]["never_observed"] == 290 * 180 - 10083
    flow = by_name["discharge_vol"]
    table = pd.read_parquet(next(seed_folder.glob("*.parquet")))
    assert flow["by_decade"]["1980s"]["sentinel"] == flow["missing"] == (table["discharge_vol"] == S).sum()
    assert len(told["runs"]) == 3 and told["runs"][0]["variable"] == "discharge_vol"
    # a gauge that starts late is missing from 20 December, on all 12 days of 1988 and some of 1989
    assert told["runs"][0]["days"] > 12 and told["runs"][0]["first"] == "1988-12-20"


def test_missing_in_every_kind_of_source(tiny, tmp_path):
    with h5py.File(tiny / "temperature_train_1989_2010.h5", "r+") as file:
        file["data"][0, 0, 0], file["data"][1, 0, 0], file["data"][2, 0, 1] = np.nan, S, np.inf
    with h5py.File(tiny / "temperature_processed" / "temperature_2001_01.h5", "r+") as file:
        del file["2001-01-31"]
    counts = {"values": 36, "nan": 1, "sentinel": 1, "infinite": 1, "filled": 0}
    (held,) = list_variables(tiny / "temperature_train_1989_2010.h5")
    assert MissingSummary.of(held).report()["by_decade"] == {"2000s": counts}
    (held,) = list_variables(tiny / "temperature_processed")
    # a day between two that the months hold, and that none does, is missing in each of 12 cells
    assert MissingSummary.of(held).report()["by_decade"]["2000s"]["nan"] == 12
    assert set(MissingSummary.of(held).runs()["first"]) == {"2001-01-31"}
    store = prepare_seed(tiny, tmp_path / "s.zarr")
    found = {
        one.source.variable: one for one in map(MissingSummary.of, list_variables(store, ("temperature", "riverflow")))
    }
    # the store keeps 11 land cells; cell 0, of 4 % land, is none of them
    assert found["temperature"].report()["by_decade"] == {
        "2000s": counts | {"values": 33, "nan": 1, "sentinel": 0, "infinite": 0}
    }
    assert found["temperature"].runs()[["site", "first", "days"]].values.tolist() == [[1, "2001-02-01", 1]]
    opened = xr.open_zarr(store, consolidated=False)[["riverflow"]].load().drop_encoding()
    opened["riverflow"][1, 0] = S
    opened.to_netcdf(tmp_path / "flow.nc", engine="h5netcdf")
    opened.to_zarr(tmp_path / "flow.zarr", zarr_format=3, consolidated=False)
    for path in (tmp_path / "flow.nc", tmp_path / "flow.zarr"):
        (held,) = list_variables(path)
        assert MissingSummary.of(held).runs().values.tolist() == [["riverflow", 1001, "2001-01-31", "2001-01-31", 1]]


def test_missing_refuses(tiny, tmp_path, capsys):
    (tmp_path / "note.txt").write_text("")
    (tmp_path / "a.csv").write_text("date,ID,colour\n2001-01-01,1,red\n")
    (tmp_path / "b.csv").write_text("date,ID,flow\n2001-01-01,1,2\n2001-01-01,1,3\n")
    (tmp_path / "c.csv").write_text("date,ID,flow\n2001-01-01,1,low\n")
    (tmp_path / "wind_2001.h5").write_text("")
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (["absent.csv"], "no such file or folder"),
        (["note.txt"], "unknown file type"),
        (["empty"], "no maps such as"),
        (["a.csv"], "no value of riverflow"),
        (["b.csv"], "catchment 1 has 2001-01-01 twice"),
        (["c.csv"], "flow holds 'low'"),
        (["wind_2001.h5"], "its name begins with none of"),
        ([str(tiny), "--variable", "snow"], "no variable snow in it; it has precipitation"),
        ([str(tiny), "--longest", "0"], "--longest 0"),
        ([str(tiny), "--fill", "a.csv"], "written as .parquet"),
        ([str(tiny), "--fill", "a.parquet", "--longest-fill", "0"], "longest fill 0"),
        ([str(tiny / "temperature_train_1989_2010.h5"), "--fill", "a.parquet"], "only tables in long form"),
    ):
        path = arguments[0] if arguments[0].startswith("/") else str(tmp_path / arguments[0])
        assert main(["missing", path, *arguments[1:]]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1


# fill


def test_gaps_are_filled_in_a_straight_line_up_to_a_length():
    values = np.array([[S, 1.0], [2.0, np.nan], [np.nan, np.inf], [np.nan, np.nan], [8.0, 9.0], [1.0, S]])
    filled, new = fill_gaps_linearly(values, np.zeros(values.shape, dtype=bool), 2)
    # site 0: 2, 4, 6, 8; site 1: its gap of 3 days stays, and so do the ends
    np.testing.assert_array_equal(filled[:, 0], [S, 2, 4, 6, 8, 1])
    np.testing.assert_array_equal(filled[:, 1], values[:, 1])
    assert new[:, 0].tolist() == [False, False, True, True, False, False] and not new[:, 1].any()
    filled, new = fill_gaps_linearly(values, np.zeros(values.shape, dtype=bool), 3)
    np.testing.assert_array_equal(filled[:, 1], [1, 3, 5, 7, 9, S])
    # a value that was filled in before is no ground to stand on
    marked = np.zeros(values.shape, dtype=bool)
    marked[4, 0] = True
    filled, new = fill_gaps_linearly(values, marked, 3)
    np.testing.assert_array_equal(filled[:, 0], [S, 2, 1.75, 1.5, 1.25, 1])
    assert new[2:5, 0].all()


@pytest.fixture
def gappy(tmp_path):
    """River 5 lacks 2 January (a row with −99999) and 4 January (no row); river 6 all of 2 to 4 January, two of no row."""
    rows = [(1, 5, 10.0), (2, 5, S), (3, 5, 30.0), (5, 5, 50.0), (1, 6, 1.0), (2, 6, np.nan), (5, 6, 2.0)]
    table = pd.DataFrame(rows, columns=["date", "ID", "discharge_vol"])
    table["date"] = [f"2001-01-0{day}" for day in table["date"]]
    table["evaporation"], table["catchment-area"] = 0.5, 86.4
    path = tmp_path / "gappy.csv"
    table.to_csv(path, index=False)
    return path


def test_what_was_filled_is_marked_and_comes_back_as_nan(gappy, tmp_path, capsys):
    out = tmp_path / "filled.parquet"
    assert main(["missing", str(gappy), "--fill", str(out), "--longest-fill", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fill"]["filled"] == {"discharge_vol": 2, "evaporation": 3}
    table = pd.read_parquet(out)
    assert table.columns.tolist()[:3] == ["date", "ID", "discharge_vol"] and len(table) == 10
    assert table["discharge_vol"].tolist()[:5] == [10, 20, 30, 50, 1] and np.isnan(table["discharge_vol"][5])
    assert table.loc[8, ["date", "ID", "discharge_vol", "evaporation"]].tolist() == ["2001-01-04", 5, 40.0, 0.5]
    assert table["discharge_vol_filled"].tolist() == [False, True] + [False] * 6 + [True, False]
    assert table["evaporation_filled"].tolist() == [False] * 7 + [True] * 3
    for path in (out, tmp_path / "again.csv"):
        if path != out:
            table.to_csv(path, index=False)
        record = reader.open_record(path)
        flow = record["riverflow"].sel(catchment=5).values
        np.testing.assert_allclose(flow, [10, np.nan, 30, np.nan, 50], rtol=1e-6)
        np.testing.assert_array_equal(record["evaporation"].sel(catchment=5).values, [0.5, 0.5, 0.5, np.nan, 0.5])
        # the record of the filled table is that of the table before it was filled
        xr.testing.assert_identical(record, reader.open_record(gappy))
    (found,) = map(MissingSummary.of, list_variables(out, ("discharge_vol",)))
    assert found.report()["by_decade"]["2000s"] == {"values": 10, "nan": 3, "sentinel": 0, "infinite": 0, "filled": 2}
    # filled again with more patience: the marks of before stay
    assert fill(out, tmp_path / "more.parquet", 3)["filled"] == {"discharge_vol": 5, "evaporation": 3}
    xr.testing.assert_identical(reader.open_record(tmp_path / "more.parquet"), reader.open_record(gappy))


def test_a_mark_must_be_true_or_false(gappy):
    table = pd.read_csv(gappy).assign(discharge_vol_filled=["perhaps"] * 7)
    table.to_csv(gappy, index=False)
    with pytest.raises(InputError, match="discharge_vol_filled holds 'perhaps'; write true"):
        reader.open_record(gappy)


def test_the_seeds_table_filled_gives_the_same_store(seed_folder, tmp_path):
    """Filling changes no store: in the seed's layout, too, what was filled in is unobserved."""
    folder = tmp_path / "filled"
    shutil.copytree(seed_folder, folder, ignore=shutil.ignore_patterns("*_1970_2010.h5", "*.parquet"))
    told = fill(seed_folder, folder / "riverflow_evaporation_24catchments_1970_2015.parquet", longest=20)
    assert told["filled"]["evaporation"] == 0
    plain, filled = (open_store(prepare_seed(f, tmp_path / f"{i}.zarr")) for i, f in enumerate((seed_folder, folder)))
    xr.testing.assert_identical(plain.load().drop_attrs(), filled.load().drop_attrs())
