"""Dynamic loss scale for fp16, so that small gradients do not underflow."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class LossScale:
    """Factor on the loss, adapted after overflows (Micikevicius et al. 2018, ICLR).

    The rule equals DeepSpeed's `DynamicLossScaler`: the first `hysteresis` - 1 overflows since the last increase only
    skip their update; every further overflow also divides the scale by `factor`, down to `minimum`. The scale increases
    by `factor` after `window` + 1 updates without overflow, and then after every further `window`. Only an increase
    resets `patience`. After an overflow at the minimum, where DeepSpeed stops, the scale stays at the minimum.

    Attributes:
        value: Current scale.
        window: Updates without overflow between two increases.
        hysteresis: Overflows before the scale decreases.
    """

    value: float = 2.0**16
    window: int = 1000
    hysteresis: int = 2
    minimum: float = 1.0
    factor: float = 2.0
    good: int = field(default=0, init=False)
    """Updates since the last overflow."""
    patience: int = field(init=False)
    """Overflows until the scale decreases."""

    def __post_init__(self) -> None:
        self.patience = self.hysteresis

    def update(self, overflow: bool) -> None:
        """Adapt the scale; call this once for every update, after the gradients were used."""
        if overflow:
            self.good = 0
            if self.patience > 1:
                self.patience -= 1
            else:
                self.value = max(self.value / self.factor, self.minimum)
            return
        if self.good and self.good % self.window == 0:
            self.value *= self.factor
            self.patience = self.hysteresis
        self.good += 1

    def state(self) -> dict[str, float | int]:
        """State for a checkpoint."""
        return {"value": self.value, "good": self.good, "patience": self.patience}

    def restore(self, state: dict[str, float | int]) -> None:
        """Restore `state`."""
        self.value, self.good, self.patience = float(state["value"]), int(state["good"]), int(state["patience"])
