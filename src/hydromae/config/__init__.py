"""The configuration: frozen dataclasses, validated when they are made.

A configuration file (`configs/*.py`) defines a `Config` named `config`; the command line can override any field. Unknown and
contradictory fields are refused.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from hydromae.config.bounds import check_numbers
from hydromae.config.effects import reset_idle
from hydromae.config.schema import (
    DataConfig,
    MaskConfig,
    MaskKind,
    Mixer,
    ModelConfig,
    OptimizerConfig,
    Precision,
    Sections,
    TrackerKind,
    TrainConfig,
)
from hydromae.config.validation import check
from hydromae.errors import InputError

__all__ = [
    "Config",
    "DataConfig",
    "MaskConfig",
    "MaskKind",
    "Mixer",
    "ModelConfig",
    "OptimizerConfig",
    "Precision",
    "TrackerKind",
    "TrainConfig",
]


@dataclass(frozen=True)
class Config(Sections):
    """A complete, valid configuration.

    Raises:
        InputError: A number is out of bounds, or fields contradict each other. A field without effect is refused at the
            start of training (`effects.refuse_idle_fields`).
    """

    def __post_init__(self) -> None:
        check_numbers(dataclasses.asdict(self))
        check(self)

    def to_json(self) -> str:
        """The configuration as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str, source: str = "config") -> Config:
        """Read a configuration from JSON; error messages begin with `source`."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(text)
        except (RecursionError, UnicodeError) as error:
            raise InputError(f"{source}: is not a configuration ({type(error).__name__}); restore the file") from None
        except ValidationError as error:
            first = error.errors()[0]
            cause = first.get("ctx", {}).get("error")
            if isinstance(cause, InputError):  # of `check`
                raise InputError(f"{source}: {str(cause).removeprefix('config: ')}") from None
            field = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{source}: field '{field}': {first['msg']}; see hydromae pretrain --help") from None

    def having(self, **sections: dict[str, Any]) -> Config:
        """A copy with fields replaced, section by section: `config.having(model={"d_model": 64})`.

        Task weights that are not named keep their values. Fields that are not named and have no effect in the copy are
        reset to their defaults.
        """
        train = sections.get("train", {})
        if "task_weights" in train:
            merged = dict(self.train.task_weights) | dict(train["task_weights"])
            sections["train"] = train | {"task_weights": tuple(merged.items())}
        parts = {name: dataclasses.replace(getattr(self, name), **fields) for name, fields in sections.items()}
        named = {f"{section}.{name}" for section, fields in sections.items() for name in fields}
        return Config(**vars(reset_idle(Sections(**vars(self) | parts), named)))
