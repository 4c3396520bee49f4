"""The seed's raw layout as `virtual --layout seed` writes it: names, keys, types, values."""

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from hydromae.io.seed_layout import MISSING, MergedFile, to_grid
from hydromae.variables import ATTRIBUTES
from hydromae.virtual import virtual_record
from hydromae.virtual.land import land_percent
from hydromae.virtual.seed_files import DAYS, START, write_seed

MAPS = ("precipitation", "soil_moisture", "temperature")
EVER = {"Catchment_attributes/Catchment_attributes_nrfa.csv", "gb_temp_valid_mask_290x180.pt"}


@pytest.fixture(scope="module")
def truth():
    return virtual_record(40, 0, "1988-12-20", 24)


def variables_in_file(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_files_are_the_seeds_and_only_those_whose_period_is_touched(seed_folder, seed_604):
    months = {f"{v}_processed/{v}_{month}.h5" for v in MAPS for month in ("1988_12", "1989_01")}
    merged = {f"{v}_train_{first}_2010.h5" for v in MAPS for first in (1970, 1989)}
    assert variables_in_file(seed_folder) == EVER | months | merged | {
        "riverflow_evaporation_24catchments_1970_2015.parquet"
    }
    months = {f"{v}_processed/{v}_{month}.h5" for v in MAPS for month in ("2010_12", "2011_01")}
    merged |= {"precipitation_val_2011_2015.h5", "soil_val_2011_2015.h5", "temperature_val_2011_2015.h5"}
    assert variables_in_file(seed_604) == EVER | months | merged | {
        "riverflow_evaporation_604catchments_1970_2015.parquet"
    }


def test_the_default_period_is_the_seeds():
    assert np.datetime64(START) + DAYS - 1 == np.datetime64("2015-12-31")


@pytest.mark.parametrize("name", MAPS)
def test_a_day_is_the_truth_to_the_bit_in_its_month_and_in_both_merged_files(seed_folder, truth, name):
    day = "1989-01-05"
    with h5py.File(seed_folder / f"{name}_processed" / f"{name}_1989_01.h5") as file:
        assert list(file) == [f"1989-01-{number:02d}" for number in range(1, 29)]
        month = file[day][()]
        assert file[day].attrs["units"] == truth[name].attrs["units"]
    assert (month.dtype, month.shape) == (np.float32, (290, 180))
    np.testing.assert_array_equal(month.ravel()[truth["cell"].values], truth[name].sel(time=day).values)
    assert (month == MISSING).sum() == 290 * 180 - truth.sizes["cell"]
    for first, place in ((1970, 16), (1989, 4)):
        with h5py.File(seed_folder / f"{name}_train_{first}_2010.h5") as file:
            assert file["dates"][place] == b"1989-01-05" and file["dates"].dtype == "S10"
            assert file["data"].compression == "gzip" and file["data"].chunks[0] == min(30, len(file["dates"]))
            assert file["data"][place].tobytes() == month.tobytes()


def test_rows_run_northward_as_in_the_land_mask(seed_folder):
    land = torch.load(seed_folder / "gb_temp_valid_mask_290x180.pt", weights_only=True)
    assert land.dtype == torch.bool
    np.testing.assert_array_equal(land.numpy(), land_percent() >= 5)
    # Land's End lies in row 45, Unst in row 283 of 290
    assert np.flatnonzero(land.numpy().any(axis=1))[[0, -1]].tolist() == [42, 283]


def test_the_table_is_long_in_cubic_metres_and_has_no_flow_before_1989(seed_folder, truth):
    table = pd.read_parquet(seed_folder / "riverflow_evaporation_24catchments_1970_2015.parquet")
    assert table.columns.tolist() == ["date", "ID", "evaporation", "discharge_vol"]
    assert len(table) == 40 * 24 and set(table["ID"]) == set(truth["catchment"].values)
    early = table["date"] < "1989-01-01"
    assert (table.loc[early, "discharge_vol"] == MISSING).all() and early.sum() == 12 * 24
    late = table.loc[~early, "discharge_vol"]
    assert 0 < (late == MISSING).mean() < 0.4 and late.min() == MISSING and late[late != MISSING].min() > 0
    np.testing.assert_array_equal(table["evaporation"].to_numpy().reshape(40, 24), truth["evaporation"].values)
    flow = truth["riverflow"] * truth["catchment-area"] / 86.4
    kept = table["discharge_vol"].to_numpy().reshape(40, 24)
    np.testing.assert_allclose(np.where(kept == MISSING, flow, kept), flow, rtol=1e-6)


def test_complete_has_every_flow_from_1989(tmp_path):
    write_seed(tmp_path / "raw", 3, 0, "1988-12-31", 8, missing=False)
    table = pd.read_parquet(tmp_path / "raw" / "riverflow_evaporation_8catchments_1970_2015.parquet")
    assert ((table["discharge_vol"] == MISSING) == (table["date"] < "1989-01-01")).all()


NRFA_NAMES = ["latitude", "longitude", "minimum-altitude", "maximum-altitude", "50-percentile-altitude"]
NRFA_NAMES += ["10-percentile-altitude", "90-percentile-altitude", "catchment-area", "dpsbar", "propwet", "bfihost"]


def test_attributes_have_the_11_columns_and_a_few_gaps(seed_604):
    assert [a.name for a in ATTRIBUTES] == NRFA_NAMES
    table = pd.read_csv(seed_604 / "Catchment_attributes" / "Catchment_attributes_nrfa.csv")
    assert table.columns.tolist() == ["id", *(a.name for a in ATTRIBUTES)] and len(ATTRIBUTES) == 11
    assert len(table) == 604 and 2 <= table.isna().sum().sum() <= 30
    assert table[["id", "latitude", "longitude", "catchment-area"]].notna().all(axis=None)


def test_on_grid_writes_the_sentinel_for_what_is_not_finite():
    laid = to_grid(np.array([[1.0, np.nan, np.inf]]), np.array([0, 3, 5]), (2, 3))
    np.testing.assert_array_equal(laid, [[[1, MISSING, MISSING], [MISSING, MISSING, MISSING]]])


def test_a_merged_file_is_whole_or_an_error(tmp_path):
    days = np.arange(np.datetime64("2001-01-01"), np.datetime64("2001-03-12"))  # 70 days: chunks of 30, 30, 10
    maps = np.arange(70 * 6, dtype=np.float32).reshape(70, 2, 3)
    with MergedFile(tmp_path / "a.h5", "mm day-1", days, (2, 3)) as file:
        for first, last in ((0, 7), (7, 45), (45, 70)):
            file.append(maps[first:last])
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["data"], maps)
        assert file["data"].chunks == (30, 2, 3)
    with pytest.raises(ValueError, match="69 of 70 days"), MergedFile(tmp_path / "b.h5", "1", days, (2, 3)) as file:
        file.append(maps[:69])
