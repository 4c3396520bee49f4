"""Training days with changed weather: the water balance of their snow, what is changed, and what stays as it was."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import counterfactual
import hydromae
import join_lstms
from hydromae.errors import InputError
from hydromae.evaluate import gr4j
from hydromae.preprocess.prepare import prepare
from hydromae.store.scaling import Scaling
from hydromae.store.zarr_store import load_store, scaling_of, sources_of
from hydromae.virtual import virtual_catchments

NAMES = ("precipitation", "temperature", "potential_evaporation", "riverflow")


def test_snow_keeps_the_water_until_it_melts() -> None:
    rain = np.full((40, 2), 2.0, np.float32)
    temperature = np.where(np.arange(40) < 10, -5.0, 10.0)[:, None] * np.ones((1, 2), np.float32)
    water = counterfactual.water_input(rain, temperature)
    assert (water[:10] == 0).all() and water[10] == pytest.approx(22.0) and water[11:] == pytest.approx(2.0)
    assert water.sum() == pytest.approx(rain.sum())


@pytest.fixture
def few_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer days, and a short search."""
    for name, value in (("CHANGED_DAYS", 800), ("CALIBRATION_DAYS", 700), ("MINIMUM_FLOW_DAYS", 300)):
        monkeypatch.setattr(counterfactual, name, value)
    monkeypatch.setattr(counterfactual, "BLOCK_YEARS", (0.5, 0.6))
    monkeypatch.setattr(gr4j, "CANDIDATES", 8)
    monkeypatch.setattr(gr4j, "GENERATIONS", 3)


@pytest.mark.usefixtures("few_days")
def test_changed_days_come_before_the_record_which_stays_as_it_is() -> None:
    record = virtual_catchments(1700, 0, "2001-01-01", 4, missing=False).load()
    held_out = [str(record["catchment"].values[1])]
    joined = counterfactual.counterfactual(record, "2005-08-01", held_out)
    changed, kept = joined.isel(time=slice(800)), joined.isel(time=slice(800, None))
    assert all(np.array_equal(kept[name].values, record[name].transpose("time", "catchment").values) for name in NAMES)
    assert np.diff(joined["time"].values).astype("timedelta64[D]").astype(int).tolist() == [1] * (
        len(joined["time"]) - 1
    )
    flow = changed["riverflow"].values
    assert np.isnan(flow[:, 1]).all() and np.isfinite(flow[:, [0, 2, 3]]).any() and np.nanmin(flow) >= 0
    assert (changed["precipitation"] == 0).all("catchment").sum() >= 60, "months without rain"
    assert follows(changed) < follows(record) - 0.05, "evaporation varies apart from temperature"
    with pytest.raises(SystemExit, match="40 years"):
        counterfactual.counterfactual(record, "2004-01-01", held_out)


@pytest.mark.usefixtures("few_days")
def test_the_command_writes_a_store_to_train_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, store, out = tmp_path / "raw.nc", tmp_path / "rivers.zarr", tmp_path / "changed.zarr"
    virtual_catchments(1700, 0, "2001-01-01", 4, missing=False).to_netcdf(raw, engine="h5netcdf")
    prepare(raw, store, training_period=("2001-01-01", "2005-08-01"))
    monkeypatch.setattr(sys, "argv", ["counterfactual.py", str(store), str(out), "--last-training-day", "2005-08-01"])
    counterfactual.main()
    written = load_store(out)
    assert written.sizes["time"] == 2500 and scaling_of(written) == scaling_of(load_store(store))
    assert [source["file"] for source in sources_of(written)] == ["raw.nc", "counterfactual.py"]


def follows(record: xr.Dataset) -> float:
    """Rank correlation of evaporation with temperature in the first river."""
    table = record[["temperature", "potential_evaporation"]].isel(catchment=0).to_dataframe()
    return float(table["temperature"].rank().corr(table["potential_evaporation"].rank()))


def test_joined_runs_are_members_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, folders = hydromae.load("gb-rivers", "cpu"), [str(tmp_path / name) for name in ("other", "joined")]
    with torch.no_grad():
        for value in model.network.rainfall_runoff.parameters():
            value.mul_(0.5)
    model.save_pretrained(folders[0])
    monkeypatch.setattr(sys, "argv", ["join_lstms.py", "gb-rivers", folders[0], folders[1]])
    join_lstms.main()
    own, other, joined = (hydromae.load(name, "cpu") for name in ("gb-rivers", *folders))
    weights, expected = joined.network.state_dict(), own.network.state_dict()
    assert joined.config.model.lstm_members == 2 and joined.widening == own.widening
    assert all(torch.equal(weights[name], value) for name, value in expected.items()), (
        "all other weights of the first run"
    )
    of_other = other.network.rainfall_runoff.simulation.state_dict()
    member = joined.network.rainfall_runoff.more_simulations[0].state_dict()
    assert all(torch.equal(member[name], value) for name, value in of_other.items())
    join_lstms.write_joined([joined, other], own, tmp_path / "three")
    assert len(hydromae.load(tmp_path / "three", "cpu").network.rainfall_runoff.members) == 3
    other_scaling = Scaling({name: replace(one, std=2.0) for name, one in own.scaling.variables.items()})
    with pytest.raises(InputError, match="another scaling"):
        join_lstms.write_joined([own, replace(other, scaling=other_scaling)], own, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_another_model_takes_the_lstms(tmp_path: Path) -> None:
    rivers, national = (hydromae.load(name, "cpu") for name in ("gb-rivers", "gb-national"))
    with torch.no_grad():
        for value in rivers.network.rainfall_runoff.parameters():
            value.mul_(0.5)
    join_lstms.write_joined([rivers, rivers], national, tmp_path / "joined")
    joined = hydromae.load(tmp_path / "joined", "cpu")
    weights, of_rivers = joined.network.state_dict(), rivers.network.state_dict()
    for name, value in national.network.state_dict().items():
        expected = of_rivers[name] if name.startswith("rainfall_runoff.") else value
        assert torch.equal(weights[name], expected), name
    assert joined.grid == national.grid and joined.config.data == national.config.data


def test_a_copy_with_limited_temperature_has_the_weights_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = hydromae.load("gb-rivers", "cpu"), tmp_path / "limited"
    monkeypatch.setattr(sys, "argv", ["join_lstms.py", "gb-rivers", str(folder), "--celsius", "5"])
    join_lstms.main()
    copy = hydromae.load(folder, "cpu")
    weights, own = copy.network.state_dict(), model.network.state_dict()
    scaling = model.scaling["temperature"]
    assert all(torch.equal(weights[name], value) for name, value in own.items() if "max_temperature" not in name)
    limit = float(weights["rainfall_runoff.max_temperature"])
    assert copy.config.model.lstm_max_temperature == 5.0 and limit == pytest.approx((5 - scaling.mean) / scaling.std)
    assert copy.widening == model.widening
