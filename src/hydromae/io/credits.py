"""Credits of data: those of a source, or of a known product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from hydromae.io.parse import sources_from_json

OGL = "Open Government Licence v3"
MAP_CREDITS = {
    "HadUK-Grid": f"HadUK-Grid: Met Office, Hollis et al. 2019, doi:10.1002/gdj3.78, {OGL}",
    "CHESS": f"CHESS: UKCEH, Robinson et al. 2017, doi:10.5194/hess-21-1189-2017, {OGL}",
    "ERA5-Land": "ERA5-Land: Muñoz-Sabater et al. 2021, doi:10.5194/essd-13-4349-2021, Copernicus licence",
}
"""Credits of map products."""
CREDIT_ATTRIBUTES = ("source", "institution", "references", "license", "licence")
"""Attributes of a dataset or a table with credits."""


def credit_attributes(attributes: Mapping[Any, Any]) -> dict[str, str]:
    """Return the attributes with credits."""
    return {name: attributes[name] for name in CREDIT_ATTRIBUTES if isinstance(attributes.get(name), str)}


def credit_line(attributes: Mapping[Any, Any]) -> str:
    """Return the credits in one line, empty if there are none."""
    lines = (" ".join(text.split()) for text in credit_attributes(attributes).values())
    return "; ".join(dict.fromkeys(line for line in lines if line))


def list_credits(record: xr.Dataset) -> list[str]:
    """Return the distinct credits of the sources of a store, or else of the attributes of a record."""
    sources = sources_from_json(str(record.attrs.get("sources", "[]")), "the store")
    stored = [str(source["credit"]) for source in sources if "credit" in source]
    return list(dict.fromkeys(stored or filter(None, [credit_line(record.attrs)])))
