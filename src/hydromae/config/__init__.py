"""One configuration: frozen dataclasses, validated at the door.

A config file (`configs/*.py`) builds one `Config` named `config` with differences only; the command line may override any
field. Fields that do not exist, or that contradict each other, are refused with one line.
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
    """All of it.

    Raises:
        InputError: If a number lies outside its bounds, or fields contradict each other. A field that has no effect is
            refused where training starts (`effects.refuse_idle_fields`).
    """

    def __post_init__(self) -> None:
        check_numbers(dataclasses.asdict(self))
        check(self)

    def to_json(self) -> str:
        """The configuration as JSON, for a run's folder and its checkpoints."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str, source: str = "config") -> Config:
        """Read a configuration; unknown fields and wrong types are refused with one line that names `source`."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(text)
        except (RecursionError, UnicodeError) as error:
            raise InputError(f"{source}: is not a configuration ({type(error).__name__}); restore the file") from None
        except ValidationError as error:
            first = error.errors()[0]
            own = first.get("ctx", {}).get("error")
            if isinstance(own, InputError):  # a contradiction, which has its own line
                raise InputError(f"{source}: {str(own).removeprefix('config: ')}") from None
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{source}: field '{where}': {first['msg']}; see hydromae pretrain --help") from None

    def having(self, **sections: dict[str, Any]) -> Config:
        """A copy with fields replaced, section by section: `config.having(model={"d_model": 64})`.

        Task weights that are not named keep their values. A field that is not named and has no effect in the copy returns
        to its default.
        """
        train = sections.get("train", {})
        if "task_weights" in train:
            merged = dict(self.train.task_weights) | dict(train["task_weights"])
            sections["train"] = train | {"task_weights": tuple(merged.items())}
        parts = {name: dataclasses.replace(getattr(self, name), **fields) for name, fields in sections.items()}
        named = {f"{section}.{name}" for section, fields in sections.items() for name in fields}
        return Config(**vars(reset_idle(Sections(**vars(self) | parts), named)))
