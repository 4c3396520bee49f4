"""The record in memory: every value, position and footprint on its site."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hydromae.batching.record_arrays import VARIANCE_FLOOR, neighbour_groups, to_record_arrays
from hydromae.batching.shared_arrays import SharedFolder, materialize
from hydromae.batching.windows import cut_batch
from hydromae.config.presets import PRESETS
from hydromae.errors import InputError
from hydromae.grid import GridSpec
from hydromae.store.scaling import Scaling, VariableScaling
from records import GRID, SCALING, catchments, config_of, national


def test_604_catchments_fall_into_76_groups_of_8() -> None:
    easting, northing = np.random.default_rng(0).uniform(0, 5e5, (2, 604))
    groups = neighbour_groups(easting, northing, 8)
    assert groups.shape == (76, 8)
    assert sorted(groups[groups >= 0]) == list(range(604)), "each catchment once"
    assert (groups[:-1] >= 0).all() and (groups[-1] >= 0).sum() == 4, "the last group alone is padded"
    assert (groups[-1, :4] >= 0).all(), "padding stands at the end"


def test_groups_are_compact() -> None:
    easting, northing = np.random.default_rng(1).uniform(0, 1e5, (2, 512))
    groups = neighbour_groups(easting, northing, 8)
    diameter = max(np.hypot(np.ptp(easting[g]), np.ptp(northing[g])) for g in groups)
    assert diameter < 5e4, "64 groups of a square of 100 km would be 12.5 km wide if points lay evenly"
    along = np.arange(24)[::-1] * 1000.0
    assert sorted(map(sorted, neighbour_groups(along, along * 0, 8).tolist())) == [
        list(range(0, 8)),
        list(range(8, 16)),
        list(range(16, 24)),
    ]


def test_groups_of_one_are_the_catchments_in_their_order() -> None:
    assert neighbour_groups(np.zeros(3), np.zeros(3), 1).tolist() == [[0], [1], [2]]
    assert neighbour_groups(np.zeros(3), np.zeros(3), 8).tolist() == [[0, 1, 2, -1, -1, -1, -1, -1]]


@pytest.mark.real
def test_the_real_catchments_and_the_shipped_land_make_76_groups_and_94_patches(real_data: Path) -> None:
    table = pd.read_csv(real_data / "Catchment_attributes_nrfa.csv")
    groups = neighbour_groups(table["longitude"].to_numpy(), table["latitude"].to_numpy(), 8)
    assert groups.shape == (76, 8) and sorted(groups[groups >= 0]) == list(range(604))
    held = np.load(real_data / "gb_land_percent.npz", allow_pickle=False)
    percent = held[held.files[0]]
    land = percent >= 5
    assert land.sum() == 10_083 and len(GridSpec().land_patches(land)) == 94


def test_values_stand_at_their_day_and_catchment() -> None:
    record = to_record_arrays(catchments(5, 40), config_of("rivers"), SCALING)
    assert record.days[0] == np.datetime64("2000-01-01", "D").astype(int) and len(record.days) == 40
    assert record.values["riverflow"].shape == (40, 5, 1) and record.values["weather"].shape == (40, 5, 3)
    assert record.values["riverflow"][7, 3, 0] == 3007.0
    assert record.values["weather"][7, 3].tolist() == [3007.25, 3007.5, 3007.75]
    assert record.values["riverflow"].dtype == np.float32
    series = record.site_metadata["series"]
    assert series.position[0, 2, 0].tolist() == [7.5, 1.5], "easting and northing in km"
    assert series.static_attributes[0, 2, 0, 7] == 72.0 and series.is_known.all()


def test_a_variable_that_is_absent_is_unobserved() -> None:
    dataset = catchments().drop_vars(["potential_evaporation", "bfihost"])
    dataset["latitude"][1] = np.nan
    record = to_record_arrays(dataset, config_of("rivers"), SCALING)
    assert np.isnan(record.values["weather"][..., 2]).all() and np.isfinite(record.values["weather"][..., :2]).all()
    known = record.site_metadata["series"].is_known[0, :, 0]
    assert known[:, 10].tolist() == [False] * 5 and known[:, 0].tolist() == [True, False, True, True, True]
    assert torch.isfinite(record.site_metadata["series"].static_attributes).all()


def test_groups_lay_catchments_into_slots() -> None:
    record = to_record_arrays(national(5), config_of("base", vector_patch_size=2), SCALING, GRID)
    for site, group in enumerate(record.groups):
        for slot, catchment in enumerate(group):
            value = record.values["riverflow"][3, site, slot]
            if catchment < 0:
                assert np.isnan(value) and not record.site_metadata["series"].valid[0, site, slot]
                assert not record.site_metadata["series"].is_known[0, site, slot].any()
            else:
                assert value == 1000.0 * catchment + 3
                assert record.site_metadata["series"].position[0, site, slot, 0] == 1.5 + 3 * catchment


def test_cells_land_in_the_right_pixel_of_the_right_patch() -> None:
    record = to_record_arrays(national(), config_of("base", vector_patch_size=2), SCALING, GRID)
    assert record.patches.tolist() == [0, 1, 2, 3, 4], "the sea in the north east is no site"
    assert record.values["precipitation"].shape == (12, 5, 16) and record.values["precipitation"].dtype == np.float16
    for patch in range(5):
        south, west = (patch // 3) * 4, (patch % 3) * 4
        for pixel in range(16):
            flat = (south + pixel // 4) * 12 + west + pixel % 4
            assert record.values["precipitation"][5, patch, pixel] == flat
            assert record.values["temperature"][5, patch, pixel] == flat + 200
    assert record.site_metadata["map"].position[0, 4, 0].tolist() == [6.0, 6.0], "the middle of patch 4 [km]"
    assert record.cell_layout is not None
    patch, pixel, inside = record.cell_layout
    back = record.values["precipitation"][0, patch, pixel]
    assert np.array_equal(back, national()["precipitation"].values[0, inside])


def test_patches_with_land_alone_are_sites_and_have_their_own_positions() -> None:
    """Of 2 × 3 patches of 4 km those in the south east and in the north west hold land: centres at (10, 2) and (2, 6) km."""
    dataset = national()
    row, column = np.divmod(dataset["cell"].values, GRID.columns)
    kept = ((row < 4) & (column >= 8)) | ((row >= 4) & (column < 4))
    record = to_record_arrays(dataset.isel(cell=kept), config_of("base", vector_patch_size=2), SCALING, GRID)
    assert record.patches.tolist() == [2, 3] and record.values["temperature"].shape == (12, 2, 16)
    assert record.site_metadata["map"].position[0, :, 0].tolist() == [[10.0, 2.0], [2.0, 6.0]]


def test_float16_keeps_scaled_maps_to_a_thousandth() -> None:
    dataset = national()
    dataset["temperature"] = dataset["temperature"] * 0 + np.random.default_rng(0).normal(
        size=(12, dataset.sizes["cell"])
    )
    record = to_record_arrays(dataset, config_of("base", vector_patch_size=2), SCALING, GRID)
    assert record.cell_layout is not None
    patch, pixel, inside = record.cell_layout
    back = record.values["temperature"][:, patch, pixel].astype(np.float64)
    truth = dataset["temperature"].values[:, inside]
    assert np.abs(back - truth).max() <= 2**-11 * np.abs(truth).max()


def test_sea_and_gaps_in_a_map_are_unobserved() -> None:
    dataset = national().isel(cell=slice(1, None))  # the cell in the south west is sea
    dataset["temperature"][3, 10] = np.nan
    record = to_record_arrays(dataset, config_of("base", vector_patch_size=2), SCALING, GRID)
    assert np.isnan(record.values["temperature"][:, 0, 0]).all()
    assert np.isnan(record.values["temperature"]).sum() == 12 + 1


def test_footprints_point_to_the_cells_above_the_catchment() -> None:
    dataset = national()
    dataset["catchment-area"] = ("catchment", np.array([1.0, np.nan, 5.0, 1.0]))
    config = config_of("base", vector_patch_size=2)
    record = to_record_arrays(dataset, config, SCALING, GRID)
    assert record.cells is not None
    above = record.values["precipitation"][0][record.cells.patch.numpy(), record.cells.pixel.numpy()]
    owner = record.groups.ravel()[record.cells.slot.numpy()]
    for catchment in range(4):
        cells = sorted(above[owner == catchment].tolist())
        middle = 12 + 1 + 3 * catchment  # gauges stand in the middle of a cell, in the second row, every third column
        # a disc of 1 km² has a radius of 0.56 km; one of 5 km² of 1.26 km, so it holds the four cells beside as well
        expected = [middle - 12, middle - 1, middle, middle + 1, middle + 12] if catchment == 2 else [middle]
        assert cells == expected
        assert float(record.cells.weight[owner == catchment].sum()) == pytest.approx(1.0)


def test_a_centroid_moves_the_footprint_where_it_is_known() -> None:
    dataset = national().assign_coords(
        centroid_easting=("catchment", [4500.0, np.nan, np.nan, np.nan]),
        centroid_northing=("catchment", [2500.0, np.nan, np.nan, np.nan]),
    )
    record = to_record_arrays(dataset, config_of("base", vector_patch_size=2), SCALING, GRID)
    assert record.cells is not None
    above = record.values["precipitation"][0][record.cells.patch.numpy(), record.cells.pixel.numpy()]
    owner = record.groups.ravel()[record.cells.slot.numpy()]
    assert [above[owner == catchment].tolist() for catchment in (0, 1)] == [[2 * 12 + 4], [12 + 4]]


def test_a_record_without_maps_or_without_land_patches_has_arrays() -> None:
    config = config_of("base", vector_patch_size=2)
    for dataset in (national().drop_dims("cell"), national().isel(cell=slice(0, 3))):
        record = to_record_arrays(dataset, config, SCALING, GRID)
        assert record.values["precipitation"].shape == (12, 1, 16) and np.isnan(record.values["precipitation"]).all()
        assert record.cells is None and len(record.patches) == 0


def test_variance_of_a_catchment_over_training_days() -> None:
    config = config_of("rivers")
    assert config.train.nse_loss
    record = to_record_arrays(catchments(3, 40), config, SCALING)
    # 30 consecutive numbers have the variance (30² − 1) / 12
    assert record.variance["riverflow"][:, 0] == pytest.approx([899 / 12 + VARIANCE_FLOOR] * 3, rel=1e-4)
    assert (record.variance["weather"] == 1).all()
    plain = to_record_arrays(catchments(3), replace(config, train=PRESETS["base"].train), SCALING)
    assert (plain.variance["riverflow"] == 1).all()


def test_variance_of_flow_is_of_training_days() -> None:
    config = config_of("rivers")
    scaling = Scaling({**SCALING.variables, "riverflow": VariableScaling("root", 1.0, 2.0)})
    held = catchments(3, 40)
    assert config.train.flow_loss_weight
    natural = to_record_arrays(held, config, scaling).flow_transform
    assert natural is not None and natural.scaling == scaling["riverflow"]
    expected = held["riverflow"].values[:30].astype(np.float64).var(axis=0) + VARIANCE_FLOOR
    assert natural.variance[0, :, 0].tolist() == pytest.approx(expected, rel=1e-3)
    cut = cut_batch(to_record_arrays(held, config, scaling), np.array([0, 5]), 4, np.array([[2], [0]])).flow_transform
    assert cut is not None and torch.equal(cut.variance[:, 0], natural.variance[0, [2, 0]])
    assert to_record_arrays(held, config.having(train={"flow_loss_weight": 0.0}), scaling).flow_transform is None


def test_a_catchment_without_training_days_has_the_variance_one() -> None:
    dataset = catchments(2, 40)
    dataset["riverflow"][:30, 1] = np.nan
    assert to_record_arrays(dataset, config_of("rivers"), SCALING).variance["riverflow"][1, 0] == 1.0


def test_an_unknown_position_is_refused() -> None:
    dataset = catchments()
    dataset["easting"][2] = dataset["latitude"][2] = np.nan
    with pytest.raises(InputError, match=r"1 of its \d+ catchments \(first: c2\) have no position.*leave them out"):
        to_record_arrays(dataset, config_of("rivers"), SCALING)
    bare = catchments().drop_vars(["easting", "northing", "latitude", "longitude"])
    with pytest.raises(InputError, match=r"have no position.*CSV that has them$"):
        to_record_arrays(bare, config_of("rivers"), SCALING)


def test_span_of_a_period() -> None:
    record = to_record_arrays(catchments(2, 40), config_of("rivers"), SCALING)
    assert record.day_range(("2000-01-03", "2000-01-10")) == (2, 9)
    assert record.day_range(("1990-01-01", "2030-01-01")) == (0, 39)
    first, last = record.day_range(("1990-01-01", "1991-01-01"))
    assert last < first
    first, last = record.day_range(("2010-01-01", "2011-01-01"))
    assert last < first


def shared(folder: Path, lays: bool = True, cached: bool = True) -> SharedFolder:
    return SharedFolder(folder / "record-0", lays, cached)


@pytest.mark.parametrize("cached", [True, False])
def test_shared_values_are_those_in_memory_and_one_process_reads_for_all(tmp_path: Path, cached: bool) -> None:
    """The same batch to the last bit, also where the values themselves are out of reach; the files have no name after it."""
    config, dataset = config_of("base", vector_patch_size=2), national(5, 40)
    own = to_record_arrays(dataset, config, SCALING, GRID)
    laid = to_record_arrays(dataset, config, SCALING, GRID, shared(tmp_path, cached=cached))
    assert {file.name for file in (tmp_path / "record-0").iterdir()} == set(own.values)
    unread = dataset.map(lambda held: held * np.nan if "time" in held.dims else held)
    mapped = to_record_arrays(unread, config, SCALING, GRID, shared(tmp_path, False, cached))
    shared(tmp_path).remove()
    assert list(tmp_path.iterdir()) == []
    for name, value in cut_batch(own, np.array([3, 20]), 6).values.items():
        for record in (laid, mapped):
            assert not record.values[name].flags.writeable and record.values[name].dtype == own.values[name].dtype
            assert torch.equal(cut_batch(record, np.array([3, 20]), 6).values[name], value)
            assert np.array_equal(record.variance[name], own.variance[name])


def test_files_of_an_earlier_start_are_never_used(tmp_path: Path) -> None:
    """A start that was killed left its files: the next lays its own, of the same shape, and whoever maps the old keeps it."""
    config, dataset = config_of("base", vector_patch_size=2), national(5, 40)
    old = to_record_arrays(dataset, config, SCALING, GRID, shared(tmp_path))
    before = old.values["temperature"].copy()
    warmer = dataset.assign(temperature=dataset["temperature"] + 100)
    new = to_record_arrays(warmer, config, SCALING, GRID, shared(tmp_path))
    assert np.array_equal(old.values["temperature"], before, equal_nan=True)
    seen = np.isfinite(before)
    assert (new.values["temperature"][seen] > before[seen]).all()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells on Linux only what is resident")
def test_cache_images_brings_all_of_it_into_memory_and_without_it_only_what_is_asked_for(tmp_path: Path) -> None:
    days, sites, pixels = 2048, 16, 512

    def resident(file: str) -> int:
        maps = Path("/proc/self/smaps").read_text().split(file)[1]
        return 1024 * int(maps.split("Rss:")[1].split()[0])

    for cached in (True, False):
        place = shared(tmp_path, cached=cached)
        blocks = (np.full((512, sites, pixels), number, np.float16) for number in range(4))
        held = materialize(place, f"cached-{cached}", (days, sites, pixels), np.float16, blocks)
        if cached:
            assert resident(f"cached-{cached}") == held.nbytes == days * sites * pixels * 2
        else:
            assert resident(f"cached-{cached}") == 0
            assert held[1100:1104].mean() == 2.0
            assert 4 * sites * pixels * 2 <= resident(f"cached-{cached}") < held.nbytes / 4


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "record-0").write_text("")
    with pytest.raises(InputError, match=r"record-0.*cannot be written or read.*; make room there$"):
        to_record_arrays(national(5, 40), config_of("base", vector_patch_size=2), SCALING, GRID, shared(tmp_path))
