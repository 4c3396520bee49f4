"""Validated request types of the explorer."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hydromae.errors import InputError

MAX_VIEW_DAYS = 1100
"""Maximum days of a view: three years."""
MAX_GAPS = 20
MAX_LEAD_DAYS = 30
"""Maximum days of a forecast."""

Name = Annotated[str, Field(min_length=1, max_length=100)]
Period = tuple[date, date]
Request = TypeVar("Request", bound=BaseModel)


class _FrozenRequest(BaseModel):
    """Base of requests: refuses unknown fields, and is hashable for the cache."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ViewRequest(_FrozenRequest):
    """Days of a river from `start` to `end`; default its last observed year."""

    river: Name
    start: date | None = None
    end: date | None = None

    @model_validator(mode="after")
    def _bounded(self) -> ViewRequest:
        if (self.start is None) != (self.end is None):
            raise ValueError("give start and end, or neither")
        if self.start is not None and self.end is not None:
            _check_order(self.start, self.end, "view")
        return self


class StationRequest(_FrozenRequest):
    """A river apart from a view: attributes, thresholds, and its whole record."""

    river: Name


class HideRequest(_FrozenRequest):
    """Hidden days of a river inside a view; the model predicts them and unobserved days."""

    river: Name
    start: date
    end: date
    hide: Annotated[tuple[Period, ...], Field(max_length=MAX_GAPS)] = ()

    @model_validator(mode="after")
    def _bounded(self) -> HideRequest:
        _check_order(self.start, self.end, "view")
        for first, last in self.hide:
            _check_order(first, last, "hide")
            if first < self.start or last > self.end:
                raise ValueError(f"hide {first} to {last} is not inside the view {self.start} to {self.end}")
        return self


class ForecastRequest(_FrozenRequest):
    """Forecast from an issue day, with or without future weather."""

    river: Name
    issue: date
    days: Annotated[int, Field(ge=1, le=MAX_LEAD_DAYS)] = 10
    future_weather: Literal["observed", "none"] = "observed"


class MapRequest(_FrozenRequest):
    """Daily map with a random share of hidden land patches; `draw` is the seed."""

    variable: Name
    day: date
    share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    draw: Annotated[int, Field(ge=0, le=9999)] = 0


def _check_order(start: date, end: date, what: str) -> None:
    if end < start:
        raise ValueError(f"{what}: ends on {end}, before it starts on {start}")
    if (end - start).days >= MAX_VIEW_DAYS:
        raise ValueError(f"{what}: {start} to {end} is more than {MAX_VIEW_DAYS} days; request fewer")


def parsed(kind: type[Request], text: bytes | dict[str, Any]) -> Request:
    """Parse a request from JSON or query parameters.

    Raises:
        InputError: An invalid field.
    """
    try:
        return kind.model_validate_json(text) if isinstance(text, bytes) else kind.model_validate(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field_name = ".".join(str(part) for part in first["loc"]) or "request"
        raise InputError(f"{field_name}: {first['msg'].removeprefix('Value error, ')}"[:300]) from None
