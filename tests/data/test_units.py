"""Units: many spellings, one meaning; unknown ones are refused."""

import numpy as np
import pytest
import xarray as xr

from hydromae.data.readers import units
from hydromae.errors import InputError


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
    ("spelled", "line"), [(None, "no units attribute"), ("", "no units"), ("furlongs", "furlongs")]
)
def test_missing_and_unknown_units_are_refused(spelled, line):
    with pytest.raises(InputError, match=f"a.nc: precipitation has .*{line}"):
        units.convert(xr.DataArray(1.0), "precipitation", spelled, "a.nc")


def test_volume_flow_needs_an_area():
    flow = xr.DataArray([[1.0, 1.0]], dims=("time", "catchment"), coords={"catchment": [5, 6]})
    with pytest.raises(InputError, match=r"m3 s-1 and there is no catchment-area"):
        units.convert(flow, "riverflow", "m3 s-1", "a.nc")
    area = xr.DataArray([10.0, np.nan], dims="catchment", coords={"catchment": [5, 6]})
    with pytest.raises(InputError, match=r"catchment 6 .* catchment-area is unknown"):
        units.convert(flow, "riverflow", "m3 s-1", "a.nc", area)
