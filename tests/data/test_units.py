"""Units: many spellings, one meaning; unknown ones are refused."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hydromae.errors import InputError
from hydromae.io import units
from hydromae.io.table import from_dataset


@pytest.mark.parametrize(
    ("name", "spelled", "value", "expected"),
    [
        ("temperature", "K", 273.15, 0.0),
        ("temperature", "°C", 5.0, 5.0),
        ("precipitation", "kg m-2 s-1", 1 / 86400, 1.0),
        ("precipitation", "kg m**-2 s**-1", 1 / 86400, 1.0),
        ("precipitation", "m", 0.002, 2.0),
        ("precipitation", "mm/d", 3.0, 3.0),
        ("soil_moisture", "m**3 m**-3", 0.3, 0.3),
        ("soil_moisture", "%", 30.0, 0.3),
        ("riverflow", "mm/day", 2.0, 2.0),
        ("riverflow", "mm d⁻¹", 2.0, 2.0),
        ("riverflow", "mm per day", 2.0, 2.0),
        ("riverflow", "mm.d-1", 2.0, 2.0),
        ("riverflow", "mm/24h", 2.0, 2.0),
        ("precipitation", "mm/hr", 0.5, 12.0),
        ("precipitation", "mm hour-1", 0.5, 12.0),
        ("precipitation", "kg/m2/s", 1 / 86400, 1.0),
        ("precipitation", "kg m⁻² s⁻¹", 1 / 86400, 1.0),
        ("precipitation", "in/day", 2.0, 50.8),
        ("riverflow", "L/s/km2", 10.0, 0.864),
        ("temperature", "degF", 50.0, 10.0),
        ("temperature", "°F", -40.0, -40.0),
        ("temperature", "℃", 5.0, 5.0),
        ("temperature", "degrees_Celsius", 5.0, 5.0),
    ],
)
def test_spellings_become_canonical(name, spelled, value, expected):
    assert float(units.convert(xr.DataArray(value), name, spelled, "a.nc")) == pytest.approx(expected, abs=1e-9)


def test_volume_flow_is_divided_by_area():
    flow = xr.DataArray([[10.0, 10.0]], dims=("time", "catchment"), coords={"catchment": [1, 2]})
    area = xr.DataArray([86.4, 864.0], dims="catchment", coords={"catchment": [1, 2]})
    depth = units.convert(flow, "riverflow", "m3/s", "a.nc", area)
    np.testing.assert_allclose(depth.values, [[10.0, 1.0]])
    np.testing.assert_allclose(units.cubic_metres_per_second(depth, area).values, flow.values)


@pytest.mark.parametrize(
    ("spelled", "value", "cubic"),
    [
        *(
            (one, 1.0, 1.0)
            for one in ("m3/s", "m³/s", "m3/sec", "m^3 s^-1", "m**3/s", "m3.s-1", "m3s-1", "m³ s⁻¹", "M3/S")
        ),
        *((one, 1.0, 1.0) for one in ("cumec", "cumecs", "cms", "cubic metres per second", "Cubic meter per second")),
        *((one, 1500.0, 1.5) for one in ("l/s", "L/s", "l s-1", "litres per second", "l/sec")),
        *((one, 86.4, 1.0) for one in ("Ml/d", "ML/day", "Ml d-1", "megalitres/day", "ML d⁻¹")),
        *(
            (one, 100.0, 2.8316846592)
            for one in ("cfs", "ft3/s", "ft³/s", "cubic feet per second", "ft^3 s^-1", "cusecs")
        ),
        ("m3/day", 86400.0, 1.0),
        ("m3/h", 3600.0, 1.0),
    ],
)
def test_volumes_of_flow_are_exact_both_ways(spelled, value, cubic):
    """Over 86.4 km² one m³/s is 1 mm/day; a cubic foot is 0.3048³ m³."""
    area = xr.DataArray([864.0], dims="catchment", coords={"catchment": [1]})
    flow = xr.DataArray([[value]], dims=("time", "catchment"), coords={"catchment": [1]})
    depth = units.convert(flow, "riverflow", spelled, "a.nc", area)
    assert depth.item() == pytest.approx(cubic / 10, rel=1e-12)
    assert units.from_canonical(depth, "riverflow", spelled, area).item() == pytest.approx(value, rel=1e-12)
    with pytest.raises(InputError, match=r"riverflow is in .* without catchment-area"):
        units.convert(flow, "riverflow", spelled, "a.nc")
    with pytest.raises(InputError, match="not known"):
        units.convert(flow, "precipitation", spelled, "a.nc", area)


@pytest.mark.parametrize("spelled", ["mm/month", "m3/s/2", "mm/d-1", "mgd", "1/s", "-", "mm day", "m3 s"])
def test_units_that_are_none_or_ambiguous_are_refused(spelled):
    with pytest.raises(InputError, match="not known"):
        units.convert(xr.DataArray([[1.0]], dims=("time", "catchment")), "riverflow", spelled, "a.nc")


@pytest.mark.parametrize(
    ("spelled", "line"), [(None, "no units attribute"), ("", "no units"), ("furlongs", "furlongs")]
)
def test_missing_and_unknown_units_are_refused(spelled, line):
    with pytest.raises(InputError, match=f"a.nc: precipitation has .*{line}"):
        units.convert(xr.DataArray(1.0), "precipitation", spelled, "a.nc")


def test_volume_flow_needs_an_area():
    flow = xr.DataArray([[1.0, 1.0]], dims=("time", "catchment"), coords={"catchment": [5, 6]})
    with pytest.raises(InputError, match=r"m3 s-1 without catchment-area"):
        units.convert(flow, "riverflow", "m3 s-1", "a.nc")
    area = xr.DataArray([10.0, np.nan], dims="catchment", coords={"catchment": [5, 6]})
    with pytest.raises(InputError, match=r"catchment 6 .* catchment-area is unknown"):
        units.convert(flow, "riverflow", "m3 s-1", "a.nc", area)


@pytest.mark.parametrize(
    ("area", "units"), [(86.4, "km2"), (86.4e6, "m²"), (8640, "ha"), (86.4 / 2.589988110336, "mi2"), (86.4, None)]
)
def test_areas_are_canonical_before_they_turn_volumes_into_depths(area: float, units: str | None) -> None:
    """2 m³/s over 86.4 km² are 2 mm/day, in whatever units the area comes."""
    days = pd.date_range("2009-01-01", periods=40)
    dataset = xr.Dataset(
        {
            "riverflow": (("time", "catchment"), np.full((40, 1), 2.0), {"units": "m3/s"}),
            "latitude": ("catchment", [51.5], {"units": "degrees_north"}),
            "longitude": ("catchment", [-1.5], {"units": "degrees_east"}),
            "catchment-area": ("catchment", [area], {} if units is None else {"units": units}),
            "minimum-altitude": ("catchment", [100.0], {"units": "feet"}),
            "dpsbar": ("catchment", [0.1], {"units": "m/m"}),
            "propwet": ("catchment", [35.0], {"units": "%"}),
        },
        {"time": days, "catchment": ["a"]},
    )
    record = from_dataset(dataset)
    assert float(record["riverflow"][0, 0]) == pytest.approx(2.0)
    expected = {"catchment-area": 86.4, "minimum-altitude": 30.48, "dpsbar": 100.0, "propwet": 0.35}
    for name, value in expected.items():
        assert float(record[name][0]) == pytest.approx(value)
    assert record["minimum-altitude"].attrs["units"] == "m"


def test_units_of_an_attribute_that_are_not_known_are_refused() -> None:
    dataset = xr.Dataset(
        {
            "riverflow": (("time", "catchment"), np.full((5, 1), 2.0), {"units": "mm/day"}),
            "latitude": ("catchment", [51.5]),
            "longitude": ("catchment", [-1.5]),
            "catchment-area": ("catchment", [10.0], {"units": "acres"}),
        },
        {"time": pd.date_range("2009-01-01", periods=5), "catchment": ["a"]},
    )
    with pytest.raises(InputError, match=r"units 'acres' of catchment-area are not known; convert it to km2"):
        from_dataset(dataset)
