"""Virtual GB: it resembles the real country within the bounds of its docstring, balances its water, repeats itself."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae import variables as modalities
from hydromae.errors import InputError
from hydromae.footprints import disc_footprints, footprint_mean
from hydromae.grid import GridSpec
from hydromae.virtual import virtual_catchments, virtual_record
from hydromae.virtual.catchments import place_catchments
from hydromae.virtual.circulation import autoregressive, potential_evaporation
from hydromae.virtual.fields import smooth_fields
from hydromae.virtual.land import build_land, land_percent
from hydromae.virtual.rain import hill_factors, mean_wetness
from hydromae.virtual.rivers import Rivers, Soil
from hydromae.virtual.truth import VirtualBritain

DAYS = 1826

# What the real files give (CAMELS-GB 1989-2013; HadUK-Grid 12 km 2010-2014 agrees on rain), and how far off we may be.
REAL = {
    "wet-day share": (0.425, 0.06),
    "rain correlation 25 km": (0.91, 0.04),
    "rain correlation 100 km": (0.68, 0.08),
    "rain correlation 300 km": (0.37, 0.10),
    "flow autocorrelation 1 day": (0.75, 0.08),
    "flow autocorrelation 10 days": (0.30, 0.12),
    "runoff ratio": (0.55, 0.10),
    "annual rain": (958.0, 144.0),
    "annual rain p90 / p10": (2.97, 0.6),
}
DISTANCES = {25: 10, 100: 10, 300: 15}


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1])


def autocorrelation(values: np.ndarray, lag: int) -> np.ndarray:
    """Autocorrelation of each column over the pairs of days on which both values are there."""
    before, after = values[:-lag], values[lag:]
    both = np.isfinite(before) & np.isfinite(after)
    before, after = np.ma.array(before, mask=~both), np.ma.array(after, mask=~both)
    before, after = before - before.mean(axis=0), after - after.mean(axis=0)
    product = (before * after).mean(axis=0) / np.sqrt((before**2).mean(axis=0) * (after**2).mean(axis=0))
    return product.filled(np.nan)


def correlation_by_distance(values: np.ndarray, easting: np.ndarray, northing: np.ndarray) -> dict[int, float]:
    """Median correlation of the pairs of columns about 25, 100 and 300 km apart."""
    pick = np.random.default_rng(0).permutation(len(easting))[:700]
    pairs = np.triu_indices(len(pick), 1)
    correlation = np.corrcoef(values[:, pick].T)[pairs]
    east, north = easting[pick], northing[pick]
    apart = np.hypot(east[:, None] - east, north[:, None] - north)[pairs] / 1e3
    return {d: float(np.median(correlation[abs(apart - d) < width])) for d, width in DISTANCES.items()}


def statistics(rain: np.ndarray, flow: np.ndarray, easting: np.ndarray, northing: np.ndarray) -> dict[str, float]:
    """The statistics of `REAL` of daily series (day, catchment)."""
    annual = rain.mean(axis=0) * 365.25
    by_distance = correlation_by_distance(rain, easting, northing)
    ratio = np.nansum(flow, axis=0) / np.where(np.isfinite(flow), rain, 0).sum(axis=0)
    return {
        "wet-day share": float(np.median((rain >= 1).mean(axis=0))),
        **{f"rain correlation {d} km": value for d, value in by_distance.items()},
        "flow autocorrelation 1 day": float(np.nanmedian(autocorrelation(flow, 1))),
        "flow autocorrelation 10 days": float(np.nanmedian(autocorrelation(flow, 10))),
        "runoff ratio": float(np.nanmedian(ratio)),
        "annual rain": float(np.median(annual)),
        "annual rain p90 / p10": float(np.divide(*np.percentile(annual, [90, 10]))),
    }


@dataclass
class Five:
    """Five years at full size: the record, catchment rain from its maps, and the seconds it took."""

    record: xr.Dataset
    rain: np.ndarray
    seconds: float


@pytest.fixture(scope="module")
def five() -> Five:
    begin = time.process_time()
    record = virtual_record(DAYS)
    seconds = time.process_time() - begin
    prints = disc_footprints(
        record.cell_easting.values,
        record.cell_northing.values,
        record.centroid_easting.values,
        record.centroid_northing.values,
        record["catchment-area"].values,
        GridSpec().cell_size,
    )
    parts = [footprint_mean(prints, record.precipitation.values[t : t + 64], 604) for t in range(0, DAYS, 64)]
    return Five(record, np.concatenate(parts), seconds)


@pytest.fixture(scope="module")
def virtual_statistics(five) -> dict[str, float]:
    record = five.record
    flow = record.riverflow.values.astype(np.float64)
    return statistics(five.rain, flow, record.centroid_easting.values, record.centroid_northing.values)


@pytest.fixture(scope="module")
def land():
    return build_land(np.random.default_rng(5))


@pytest.mark.parametrize("name", REAL)
def test_resembles_the_real_country(virtual_statistics, name):
    real, bound = REAL[name]
    assert abs(virtual_statistics[name] - real) <= bound, f"{name}: {virtual_statistics[name]:.3f}, real {real}"


def test_flow_memory_rises_with_the_base_flow_index(five):
    memory = autocorrelation(five.record.riverflow.values.astype(np.float64), 10)
    assert rank_correlation(memory, five.record.bfihost.values) >= 0.6


def test_five_years_at_full_size_in_a_minute(five):
    assert five.record.precipitation.shape == (DAYS, 10_083)
    assert five.seconds < 60


def test_record_follows_the_contract(five):
    record = five.record
    assert dict(record.sizes) == {"time": DAYS, "cell": 10_083, "catchment": 604}
    for variable in (modalities.PRECIPITATION, modalities.SOIL_MOISTURE, modalities.TEMPERATURE):
        assert record[variable.name].dims == ("time", "cell")
    for variable in (modalities.EVAPORATION, modalities.RIVERFLOW):
        assert record[variable.name].dims == ("time", "catchment")
    for name in ("precipitation", "soil_moisture", "temperature", "evaporation", "riverflow"):
        variable = next(v for m in modalities.MODALITIES.values() for v in m.variables if v.name == name)
        values = record[name]
        assert values.dtype == np.float32 and values.attrs["units"] == variable.units
        assert variable.valid[0] <= float(values.min()) and float(values.max()) <= variable.valid[1]
    assert record.cell.attrs["compress"] == "row column"
    assert {a.name for a in modalities.ATTRIBUTES} <= set(record.data_vars)
    assert record.indexes["time"][0] == pd.Timestamp("1989-01-01") and record.indexes["time"].freqstr is None
    assert (np.diff(record.time.values) == np.timedelta64(1, "D")).all()


def test_land_is_the_real_outline(five):
    grid, cells = GridSpec(), five.record.cell.values
    assert np.array_equal(cells, np.flatnonzero(land_percent() >= 5))
    inside = np.zeros(grid.rows * grid.columns, bool)
    inside[cells] = True
    assert len(grid.land_patches(inside.reshape(grid.shape))) == 94
    east, north = grid.cell_position(cells)
    np.testing.assert_array_equal(five.record.cell_easting, east)
    np.testing.assert_array_equal(five.record.cell_northing, north)


def test_attributes_are_consistent(five):
    traits = five.record
    order = ["minimum", "10-percentile", "50-percentile", "90-percentile", "maximum"]
    altitude = np.stack([traits[f"{name}-altitude"].values for name in order])
    assert (np.diff(altitude, axis=0) >= 0).all() and altitude.min() >= 0 and altitude.max() < 1600
    area = traits["catchment-area"].values
    assert area.min() >= 5 and area.max() <= 10_000 and 110 < np.median(area) < 220
    assert (np.diff(traits.catchment.values) > 0).all()
    assert float(traits.bfihost.min()) >= 0.18 and float(traits.bfihost.max()) <= 0.97
    assert rank_correlation(traits.dpsbar.values, traits["50-percentile-altitude"].values) > 0.6
    wet = five.record.precipitation.mean("time").values
    assert rank_correlation(traits.propwet.values, five.rain.mean(axis=0)) > 0.6
    assert rank_correlation(wet, five.record.cell_easting.values) < -0.5


def test_weather_has_season_and_relief(five):
    month = five.record.time.dt.month
    cold, warm = (five.record.temperature.isel(time=month == m).mean("time") for m in (1, 7))
    assert 8 < float((warm - cold).mean()) < 13
    high = five.record.cell_northing > 500e3
    assert float(five.record.soil_moisture.isel(time=month == 8).mean()) < float(
        five.record.soil_moisture.isel(time=month == 1).mean()
    )
    assert float(warm[high.values].mean()) < float(warm[~high.values].mean()) - 1


def test_the_same_seed_gives_the_same_truth_and_a_longer_record_begins_with_the_shorter(five):
    short = virtual_record(40)
    for name in ("precipitation", "soil_moisture", "temperature", "evaporation", "riverflow", "bfihost"):
        expected = five.record[name].isel(time=slice(0, 40)) if "time" in five.record[name].dims else five.record[name]
        np.testing.assert_array_equal(short[name].values, expected.values)


def test_catchments_see_the_same_truth(five):
    series = virtual_catchments(40, missing=False)
    np.testing.assert_allclose(series.precipitation, five.rain[:40], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(series.riverflow.values, five.record.riverflow.values[:40])
    assert (five.record.evaporation.values[:40] <= series.potential_evaporation.values + 1e-5).all()


def test_another_seed_is_another_country():
    first, second = (virtual_catchments(32, seed=seed, catchments=20) for seed in (0, 1))
    assert abs(np.corrcoef(first.precipitation.mean("catchment"), second.precipitation.mean("catchment"))[0, 1]) < 0.8
    assert not np.array_equal(first["catchment-area"], second["catchment-area"])


def test_water_balances_in_every_catchment():
    series = [block.series for block in VirtualBritain(3, "2000-11-20", 130, 80).blocks()]
    rain, lost, flow, stored = (
        np.concatenate([block[name] for block in series])
        for name in ("precipitation", "evaporation", "riverflow", "storage")
    )
    np.testing.assert_allclose(rain[1:] - lost[1:] - flow[1:], np.diff(stored, axis=0), atol=1e-9)
    assert flow.min() > 0 and stored.min() > 0 and lost.min() >= 0


def test_missing_flow_is_a_part_of_the_whole_truth():
    gauged, whole = (virtual_catchments(400, catchments=150, missing=missing) for missing in (True, False))
    absent = np.isnan(gauged.riverflow.values)
    assert 0.01 < absent.mean() < 0.12
    assert 0.03 < absent[:5].all(axis=0).mean() < 0.3
    np.testing.assert_array_equal(gauged.riverflow.values[~absent], whole.riverflow.values[~absent])
    np.testing.assert_array_equal(gauged.precipitation, whole.precipitation)
    assert np.isfinite(whole.riverflow).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"days": 0}, "days"), ({"days": 5, "catchments": 0}, "catchments"), ({"days": 5, "start": "May"}, "'May'")],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(InputError, match=named):
        virtual_catchments(**arguments)


def test_potential_evaporation_by_hand():
    # FAO 56, example 8: 32.2 MJ m-2 day-1 on 3 September at 20° S; 0.9 × 32.2 / 2.45 × (10 + 5) / 100 = 1.774 mm.
    northing = np.array([(-20 - 49.77) * 111_200.0])
    season = np.array([246 / 365 * 2 * np.pi])
    assert potential_evaporation(np.array([[10.0]]), season, northing)[0, 0] == pytest.approx(1.774, abs=0.01)
    assert potential_evaporation(np.array([[-5.0]]), season, northing)[0, 0] == 0


def test_autoregression_has_unit_variance_and_its_memory():
    state = autoregressive(np.random.default_rng(0).standard_normal((20_000, 3)), 0.8)
    np.testing.assert_allclose(state.std(axis=0), 1, atol=0.05)
    np.testing.assert_allclose(autocorrelation(state, 2), 0.64, atol=0.04)


def test_smooth_fields_have_unit_variance_and_their_length():
    fields = smooth_fields(np.random.default_rng(0), 40, GridSpec(), 40.0)
    assert fields.std() == pytest.approx(1, abs=0.05)
    # Matérn, smoothness 3/2: correlation (1 + r / L) exp(-r / L) = 2 / e at r = L, 8 cells.
    assert (fields[..., 8:] * fields[..., :-8]).mean() == pytest.approx(2 / np.e, abs=0.05)


def test_hills_are_wet_on_the_side_that_the_wind_comes_from(land):
    factors = hill_factors(land)
    np.testing.assert_allclose(factors.mean(axis=1), 1, rtol=1e-5)
    west = (land.easting < 230e3) & (land.northing > 700e3) & (land.northing < 900e3)
    east = (land.easting > 330e3) & (land.northing > 700e3) & (land.northing < 900e3)
    westerly, easterly = factors[0], factors[12]
    assert westerly[west].mean() > 1.5 * westerly[east].mean()
    assert easterly[east].mean() > easterly[west].mean()


def test_soil_by_hand(land):
    soil = Soil(land, 2 * np.pi * 40 / 365.25)
    held = 0.9 * land.capacity
    rain, mild, still = (np.full((1, len(land.cell)), value) for value in (11.5, 10.0, 0.0))
    down = np.maximum(10 * 0.9**land.drainage, held + 11.5 - land.capacity)
    ground = soil.days(rain, mild, still)
    np.testing.assert_allclose(ground.recharge[0], down)
    np.testing.assert_allclose(ground.soil[0], held + 11.5 - down)
    frost = soil.days(rain, np.full_like(mild, -5.0), still)
    np.testing.assert_allclose(frost.snow[0], 11.5)
    np.testing.assert_allclose(frost.recharge, 0)


def test_chalk_recedes_slower_than_rock(land):
    catchments = place_catchments(land, mean_wetness(land), 200, np.random.default_rng(1))
    rivers = Rivers(catchments, np.full(200, 1.0), np.random.default_rng(2))
    flow, _ = rivers.days(np.zeros((60, 200)))
    assert (np.diff(flow, axis=0) < 0).all()
    assert rank_correlation(flow[-1] / flow[0], catchments.attributes["bfihost"]) > 0.8


@pytest.mark.real
def test_real_rivers_and_their_rain_agree_with_the_quoted_numbers_and_with_virtual_ones(
    real_data: Path, virtual_statistics
):
    with xr.open_dataset(real_data / "camels_gb_daily.nc") as file:
        data = file.sel(time=slice("1989-01-01", "2013-12-31"))
        rain, flow = data.precipitation.values, data.riverflow.values
        number = data.catchment.values
    table = pd.read_csv(real_data / "Catchment_attributes_nrfa.csv").set_index("id").loc[number]
    whole = np.isfinite(rain).all(axis=0) & (np.isfinite(flow).sum(axis=0) > 700)
    easting, northing = (
        table[f"centroid-{axis}"].fillna(table[axis]).to_numpy()[whole] for axis in ("easting", "northing")
    )
    real = statistics(rain[:, whole], flow[:, whole], easting, northing)
    for name, (quoted, bound) in REAL.items():
        assert real[name] == pytest.approx(quoted, rel=0.03), name
        assert abs(virtual_statistics[name] - real[name]) <= bound, name
    memory = autocorrelation(flow[:, whole], 10)
    assert rank_correlation(memory, table["bfihost"].to_numpy()[whole]) > 0.6


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "months"),
    [
        ("rainfall_hadukgrid_uk_5km_day_20210101-20210331.nc", (1, 2, 3)),
        ("haduk_rainfall_12km_day_2010_2014.nc", range(1, 13)),
    ],
)
def test_maps_of_rain_correlate_over_distance_as_the_real_ones(real_data: Path, five, file, months):
    with xr.open_dataset(real_data / file) as grid:
        rain = grid.rainfall.values
        north, east = np.meshgrid(grid.projection_y_coordinate, grid.projection_x_coordinate, indexing="ij")
    spec = GridSpec()
    row = np.rint((north - spec.northing) / spec.cell_size).astype(int).clip(0, spec.rows - 1)
    column = np.rint((east - spec.easting) / spec.cell_size).astype(int).clip(0, spec.columns - 1)
    inside = (land_percent()[row, column] >= 5) & np.isfinite(rain).all(axis=0) & (rain < 1e3).all(axis=0)
    real = correlation_by_distance(rain[:, inside], east[inside], north[inside])
    pick = five.record.precipitation.isel(time=np.isin(five.record.time.dt.month, list(months))).values
    virtual = correlation_by_distance(pick, five.record.cell_easting.values, five.record.cell_northing.values)
    for distance, bound in ((25, 0.05), (100, 0.1), (300, 0.12)):
        assert abs(virtual[distance] - real[distance]) <= bound, (distance, virtual, real)
