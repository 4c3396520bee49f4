"""The baseline rows of the protocol on the real rivers of Great Britain, 2011-01-01 to 2014-09-30."""

from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from hydromae.evaluate import protocol, score
from hydromae.evaluate.baselines import Climatology, LogInterpolation
from hydromae.evaluate.donor_regression import DonorRidge
from hydromae.evaluate.donors import WeightedDonors, nearest_gauge, two_attribute_donors
from hydromae.evaluate.summary import summarise
from hydromae.variables import ATTRIBUTES

pytestmark = pytest.mark.real
PERIOD = protocol.PERIODS["all"]
POSITIONS = ("easting", "northing", "centroid-easting", "centroid-northing")


@pytest.fixture(scope="module")
def rivers(real_data: Path) -> xr.Dataset:
    """The 599 rivers from 1990, with traits and positions."""
    with xr.open_dataset(real_data / "camels_gb_daily.nc") as file:
        record = file[["precipitation", "riverflow"]].sel(time=slice("1990-01-01", PERIOD[1])).astype("float32").load()
    traits = pd.read_csv(real_data / "Catchment_attributes_nrfa.csv").set_index("id").loc[record["catchment"].values]
    columns = {name: ("catchment", traits[name].to_numpy(dtype=float)) for name in traits.columns if name != "name"}
    record = record.assign({attribute.name: columns[attribute.name] for attribute in ATTRIBUTES})
    return record.assign_coords({name.replace("-", "_"): columns[name] for name in POSITIONS})


def medians(methods: dict, record: xr.Dataset, asked) -> pd.DataFrame:
    """Summary of the asked questions, with every target answered."""
    table = summarise(score.evaluate(methods, record, asked, PERIOD).scores)
    assert (table["answered"] > 0.99).all()
    return table


def test_rows_of_ungauged_rivers(rivers):
    # The protocol's row of weighted donors is that of two traits; the default of four is better.
    methods = {"ungauged": [nearest_gauge(), two_attribute_donors(), WeightedDonors()]}
    table = medians(methods, rivers, protocol.ungauged_questions(rivers, PERIOD))
    assert table["catchments"].tolist() == [60, 60, 60]
    assert table.loc[("ungauged", "nearest-gauge"), "nse_median"] == pytest.approx(0.743, abs=0.02)
    assert table.loc[("ungauged", "two-attribute-donors"), "nse_median"] == pytest.approx(0.825, abs=0.02)
    assert table.loc[("ungauged", "two-attribute-donors"), "nse_p10"] == pytest.approx(0.36, abs=0.05)
    assert table.loc[("ungauged", "weighted-donors"), "nse_median"] == pytest.approx(0.851, abs=0.01)
    assert table.loc[("ungauged", "weighted-donors"), "nse_p10"] == pytest.approx(0.668, abs=0.02)


def test_rows_of_filled_gaps(rivers):
    ridge = DonorRidge.fit(protocol.training_record(rivers))
    first_third = [next(protocol.gap_questions(rivers, PERIOD))]
    table = medians({"gap": [ridge, ridge.with_residual()]}, rivers, first_third)
    assert table.loc[("gap", "donor-ridge"), "nse_median"] == pytest.approx(0.898, abs=0.02)
    assert table.loc[("gap", "donor-ridge-residual"), "nse_median"] == pytest.approx(0.920, abs=0.02)
    table = medians({"gap": [LogInterpolation()]}, rivers, protocol.gap_length_questions(rivers, PERIOD, (3, 10), 100))
    assert table["nse_median"].tolist() == pytest.approx([0.69, 0.43], abs=0.02)


def test_row_of_the_day_of_the_year(rivers):
    climatology = Climatology.fit(protocol.training_record(rivers))
    table = medians({"simulate": [climatology]}, rivers, protocol.simulate_questions(rivers, PERIOD))
    assert table["nse_median"].tolist() == pytest.approx([0.13], abs=0.02)
    assert table["nse_p10"].tolist() == pytest.approx([0.04], abs=0.02)
