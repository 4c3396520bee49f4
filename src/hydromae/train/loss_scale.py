"""The scale of the loss in fp16: as high as the gradients bear, so that small ones do not vanish."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class LossScale:
    """What a loss is multiplied by before its gradients are taken; it learns from overflows (Micikevicius et al. 2018, ICLR).

    The rule is that of DeepSpeed's `DynamicLossScaler`, to the step: of the overflows since the last rise, the first
    `hysteresis` - 1 only leave their update out, every other one also divides the scale by `factor`, down to `minimum`.
    The scale rises by `factor` after `window` + 1 updates without overflow, and then after every `window` more. Only a
    rise restores the patience. Where DeepSpeed gives up (an overflow at the minimum), the scale stays there.

    Attributes:
        value: The scale; the start is the first one.
        window: Updates without overflow between two rises.
        hysteresis: Overflows from which the scale falls.
    """

    value: float = 2.0**16
    window: int = 1000
    hysteresis: int = 2
    minimum: float = 1.0
    factor: float = 2.0
    good: int = field(default=0, init=False)
    """Updates since the last overflow."""
    patience: int = field(init=False)
    """Overflows until the scale falls."""

    def __post_init__(self) -> None:
        self.patience = self.hysteresis

    def update(self, overflow: bool) -> None:
        """Learn whether the gradients of an update were finite; call it once an update, after the gradients were used."""
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
        """What a checkpoint keeps."""
        return {"value": self.value, "good": self.good, "patience": self.patience}

    def restore(self, state: dict[str, float | int]) -> None:
        """Go on from what `state` gave."""
        self.value, self.good, self.patience = float(state["value"]), int(state["good"]), int(state["patience"])
