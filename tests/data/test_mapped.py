"""A national record from a maps_and_gauges of maps and gauges as they are downloaded, with their traps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.cli import main
from hydromae.errors import InputError
from hydromae.io.credits import list_credits
from hydromae.preprocess.prepare import prepare
from hydromae.store.zarr_store import grid_of, load_store, sources_of
from records import DAYS, SOUTH, WEST, chess_warmth, era5_demand, rain_maps, save


def test_maps_and_gauges_become_a_national_store(maps_and_gauges: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = maps_and_gauges.parent / "national.zarr"
    assert main(["prepare", str(maps_and_gauges), str(out)]) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert "precipitation (HadUK-Grid, 1 files)" in said and "temperature (CHESS, 1 files)" in said
    assert "maps missing: soil_moisture" in said and "11 land cells of 20 km" in said
    record = load_store(out)
    assert [str(day)[:10] for day in record["time"].values] == DAYS
    assert grid_of(record).shape == (4, 3) and record["cell"].values.tolist() == list(range(1, 12))  # one is sea
    row, column = np.divmod(record["cell"].values, 3)
    expected = 10.0 * row + column + np.arange(3)[:, None]
    np.testing.assert_allclose(record["precipitation"].values, expected, rtol=1e-6)
    np.testing.assert_allclose(record["temperature"].values, 7.0 + np.arange(3)[:, None] + 0 * row, atol=1e-3)
    np.testing.assert_allclose(record["evaporation"].values, [[1, 1], [2, 2], [3, 3]], rtol=1e-5)
    np.testing.assert_allclose(record["riverflow"].values, [[1, 2], [np.nan] * 2, [3, 3]], rtol=1e-6)
    assert "soil_moisture" not in record and "derived" not in record["precipitation"].attrs
    files = {source["file"] for source in sources_of(record)}
    assert {"raw", "chess-met_tas_gb_1km_daily_20210101-20210103.nc", "era5-land_pev_202101.nc"} < files
    whose = [credit.partition(":")[0] for credit in list_credits(record)]
    assert sorted(whose) == ["CHESS", "ERA5-Land", "HadUK-Grid", "NRFA"], "each once"


def test_catchments_are_made_where_they_are_asked_for(maps_and_gauges: Path) -> None:
    record = load_store(prepare(maps_and_gauges, maps_and_gauges.parent / "rivers.zarr", "catchments"))
    assert "cell" not in record.dims and record.sizes["catchment"] == 2


def test_a_day_that_no_map_holds_is_refused_by_name_or_unobserved(maps_and_gauges: Path) -> None:
    gap = chess_warmth().isel(time=[0, 2])
    save(gap, maps_and_gauges / "chess-met_tas_gb_1km_daily_20210101-20210103.nc")
    out = maps_and_gauges.parent / "national.zarr"
    with pytest.raises(InputError, match=r"no file of temperature has 2021-01-02 \(1 such days\).*--allow-missing"):
        prepare(maps_and_gauges, out)
    record = load_store(prepare(maps_and_gauges, out, allow_missing=True))
    assert record["temperature"].notnull().any("cell").values.tolist() == [True, False, True]
    again = load_store(
        prepare(maps_and_gauges, maps_and_gauges.parent / "period.zarr", period=("2021-01-03", "2021-01-03"))
    )
    assert again["precipitation"].values[0, 0] == record["precipitation"].values[2, 0]


def test_days_at_the_edges_that_only_some_maps_have_are_left_out(maps_and_gauges: Path) -> None:
    late = rain_maps(SOUTH, WEST)
    late = late.assign_coords(time=late["time"].values + np.timedelta64(3, "D"))
    save(late, maps_and_gauges / "rainfall_hadukgrid_uk_20km_day_later.nc")
    told: list[str] = []
    record = load_store(prepare(maps_and_gauges, maps_and_gauges.parent / "national.zarr", progress=told.append))
    assert [str(day)[:10] for day in record["time"].values] == DAYS
    (line,) = [line for line in told if "at the ends" in line]
    assert "precipitation 2021-01-01 … 2021-01-06" in line and "temperature" not in line
    save(
        chess_warmth().assign_coords(time=pd.to_datetime(DAYS) + pd.Timedelta(9, "D")),
        next(maps_and_gauges.glob("chess*.nc")),
    )
    with pytest.raises(InputError, match=r"maps of temperature begin on 2021-01-10, after .* \(2021-01-03\)"):
        prepare(maps_and_gauges, maps_and_gauges.parent / "none.zarr")


def test_a_coarser_and_a_worse_map_give_way(maps_and_gauges: Path) -> None:
    """ERA5-Land's rain fills the days that HadUK's lack; of one product the finer map is taken."""
    coarse = rain_maps(SOUTH, WEST).isel(projection_y_coordinate=[0, 2], projection_x_coordinate=[0, 2]) + 500
    coarse["rainfall"].attrs["units"] = "mm"
    save(coarse.assign_attrs(frequency="day"), maps_and_gauges / "coarse.nc")
    plain = load_store(prepare(maps_and_gauges, maps_and_gauges.parent / "national.zarr"))
    assert grid_of(plain).cell_size == 20000 and float(plain["precipitation"].max()) < 100
    (maps_and_gauges / "rainfall_hadukgrid_uk_20km_day_20210101-20210103.nc").unlink()
    alone = load_store(prepare(maps_and_gauges, maps_and_gauges.parent / "coarse.zarr"))
    assert grid_of(alone).cell_size == 40000 and float(alone["precipitation"].min()) > 500


def test_the_grid_of_a_mask_takes_finer_and_coarser_maps(maps_and_gauges: Path) -> None:
    """On 10 km cells each takes the rain of the cell of 20 km that holds its centre."""
    east, north = WEST - 5000 + 10000 * np.arange(6), SOUTH - 5000 + 10000 * np.arange(8)
    np.savez(
        maps_and_gauges / "land_percent.npz", land_percent=np.full((8, 6), 100, np.uint8), easting=east, northing=north
    )
    record = load_store(prepare(maps_and_gauges, maps_and_gauges.parent / "national.zarr"))
    assert grid_of(record).shape == (8, 6) and record.sizes["cell"] == 48
    rain = record["precipitation"].values[1].reshape(8, 6)
    coarse = 10.0 * np.arange(4)[:, None] + np.arange(3) + 1
    coarse[0, 0] = np.nan
    np.testing.assert_allclose(rain, coarse.repeat(2, axis=0).repeat(2, axis=1))


def test_of_pet_and_peti_of_chess_peti_is_taken(maps_and_gauges: Path) -> None:
    (maps_and_gauges / "era5-land_pev_202101.nc").unlink()
    for name, amount in (("pet", 5.0), ("peti", 2.0)):
        demand = chess_warmth().rename(tas=name)
        demand[name] = xr.full_like(demand[name], amount).assign_attrs(units="mm/day")
        save(demand, maps_and_gauges / f"chess-pe_{name}.nc")
    told: list[str] = []
    record = load_store(prepare(maps_and_gauges, maps_and_gauges.parent / "national.zarr", progress=told.append))
    np.testing.assert_allclose(record["evaporation"].values, 2.0)
    assert any("potential_evaporation (CHESS peti, not pet, 1 files)" in line for line in told)
    later = xr.load_dataset(maps_and_gauges / "chess-pe_peti.nc", engine="h5netcdf").isel(time=[1, 2])
    save(later, maps_and_gauges / "chess-pe_peti.nc")
    mixed = load_store(prepare(maps_and_gauges, maps_and_gauges.parent / "mixed.zarr", progress=told.append))
    np.testing.assert_allclose(mixed["evaporation"].values[:, 0], [5, 2, 2])
    assert any("potential_evaporation (CHESS peti and pet, 2 files)" in line for line in told)


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_64BIT"])
def test_one_file_of_era5_land_gives_all_its_variables(
    maps_and_gauges: Path, kind: Literal["NETCDF4", "NETCDF3_64BIT"]
) -> None:
    """Rain of −2 times its evaporation, 10 °C and 0.3 m³/m³ in one file, packed as older downloads are."""
    demand = era5_demand()
    flat = xr.ones_like(demand["pev"])
    several = demand.assign(
        tp=(-2 * demand["pev"]).assign_attrs(units="m"),
        t2m=(283.15 * flat).assign_attrs(units="K"),
        swvl1=(0.3 * flat).assign_attrs(units="m**3 m**-3"),
    )
    for file in maps_and_gauges.glob("*.nc"):
        file.unlink()
    packed = {name: {"dtype": "int16", "scale_factor": 1e-6, "_FillValue": -32767} for name in ("tp", "pev")}
    several.to_netcdf(maps_and_gauges / "era5.nc", format=kind, encoding=packed)
    record = load_store(prepare(maps_and_gauges, maps_and_gauges.parent / "national.zarr"))
    assert [str(day)[:10] for day in record["time"].values] == DAYS
    told = {"precipitation": [2, 4, 6], "temperature": [10] * 3, "soil_moisture": [0.3] * 3}
    for name, values in told.items():
        np.testing.assert_allclose(
            record[name].isel(cell=record["cell_easting"] < 400000).mean("cell"), values, rtol=1e-3
        )
    np.testing.assert_allclose(record["evaporation"].values, [[1, 1], [2, 2], [3, 3]], rtol=1e-3)
    (source,) = [source for source in sources_of(record) if source["file"] == "era5.nc"]
    assert set(source["units"]) == {*told, "potential_evaporation"}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("calendar", r"r360.nc: .*give dates of the standard calendar"),
        ("twice", "2021-01-01 is in rainfall_again.nc, too"),
        ("no units", "has no units attribute"),
        ("other days", r"its flow, 2021-01-01 … 2021-01-03, has no day of its maps"),
        ("period", "is not inside 2021-01-01 … 2021-01-03"),
        ("damaged", "broken.nc"),
        ("no maps", "no daily maps beside its gauges"),
    ],
)
def test_what_is_wrong_is_one_line(maps_and_gauges: Path, fault: str, message: str) -> None:
    rain = rain_maps(SOUTH, WEST)
    later = rain.assign_coords(time=rain["time"].values + np.timedelta64(900, "D"))
    period = None
    if fault == "calendar":
        days = ("time", [58, 59, 60], {"units": "days since 2021-01-01", "calendar": "360_day"})
        save(rain.drop_encoding().assign_coords(time=days), maps_and_gauges / "r360.nc")
    elif fault == "twice":
        save(rain, maps_and_gauges / "rainfall_again.nc")
    elif fault == "no units":
        bare = chess_warmth()
        bare["tas"].attrs.clear()
        save(bare, maps_and_gauges / "chess_again.nc")
        (maps_and_gauges / "chess-met_tas_gb_1km_daily_20210101-20210103.nc").unlink()
    elif fault == "period":
        period = ("2020-12-31", "2021-01-02")
    elif fault == "damaged":
        (maps_and_gauges / "broken.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    else:
        for file in maps_and_gauges.glob("*.nc"):
            file.unlink()
        if fault == "other days":
            save(later, maps_and_gauges / "later.nc")
    with pytest.raises(InputError, match=message):
        prepare(maps_and_gauges, maps_and_gauges.parent / "out.zarr", "national", period=period)
    assert not (maps_and_gauges.parent / "out.zarr").exists()


@pytest.mark.real
def test_real_rain_of_12_km_beside_camels_gb(real_data: Path, tmp_path: Path) -> None:
    """Real rain takes the place of derived rain; what the files lack is derived from the catchments."""
    for name in ("haduk_rainfall_12km_day_2010_2014.nc", "camels_gb_daily.nc", "Catchment_attributes_nrfa.csv"):
        (tmp_path / name).symlink_to(real_data.absolute() / name)
    (tmp_path / "gb_land_percent.npz").symlink_to(real_data.absolute() / "gb_land_percent.npz")
    days = ("2012-04-01", "2012-04-30")
    record = load_store(prepare(tmp_path, tmp_path / "out.zarr", "national", period=days, training_period=days))
    assert dict(record.sizes)["cell"] == 10083 and 0.8 < float(record["precipitation"].notnull().mean()) < 1
    real = xr.open_dataset(real_data / "haduk_rainfall_12km_day_2010_2014.nc", engine="h5netcdf")["rainfall"]
    here = {"projection_y_coordinate": 222500.0, "projection_x_coordinate": 402500.0, "time": "2012-04-25"}
    told = float(real.sel(here, method="nearest"))
    cell = (record["cell_northing"].values == 222500.0) & (record["cell_easting"].values == 402500.0)
    assert float(record["precipitation"].sel(time="2012-04-25").values[cell][0]) == pytest.approx(told, rel=1e-5)
    assert record["temperature"].attrs["derived"] and "derived" not in record["precipitation"].attrs
