"""Memories: what runs along each river's days forwards only, and says on every day what it makes of flow.

Runoff sees the weather alone, so every observed day may teach it, whatever question a window asks (regional LSTM; Kratzert
et al. 2019, HESS 23, 5089). Ahead also sees the river's flow, in training with gaps of its own, so that a window has many
issue days (Nearing et al. 2022, HESS 26, 5493). The rest of the model reads what they say, not their states, and explains
what both leave open; so another memory can speak in their place (`model.out_of_fold`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hydromae.model.blocks import taken_by
from hydromae.model.lstm import opened, run
from hydromae.model.positional import season

KNOWN = 6
"""What ahead is given of a river's flow on each day."""


@dataclass(frozen=True)
class Told:
    """What a memory says.

    Attributes:
        mean (Float[B, T, S]): Scaled root of flow.
        asked (Bool[B, T, S]): Days on which it answered without having seen the flow of the day.
    """

    mean: Float[Tensor, "B T S"]
    asked: Bool[Tensor, "B T S"]


class Memory(nn.Module):
    """One LSTM for all rivers, which starts from what is known of a site and of the time before the window.

    Args:
        width: Of its state.
        address: Width of a site's address.
        channels: What it is given each day.
        before: What it is given of the time before.
        dropout: Of its states.
    """

    INPUT = 64

    def __init__(self, width: int, address: int, channels: int, before: int, dropout: float) -> None:
        super().__init__()
        self.before, self.dropout = before, dropout
        self.given = nn.Linear(channels, self.INPUT)
        self.site = nn.Linear(address, self.INPUT)
        self.start = nn.Linear(self.INPUT + before, 2 * width)
        self.recurrence = opened(nn.LSTM(self.INPUT, width))
        self.mean = nn.Linear(width, 1)

    def forward(
        self, given: Float[Tensor, "B T S E"], sites: Float[Tensor, "B S D"], before: Float[Tensor, "B S G"] | None
    ) -> Float[Tensor, "B T S"]:
        """The mean read off its states."""
        size, _, count, _ = given.shape
        site = self.site(sites)
        tokens = functional.gelu(self.given(taken_by(self.given, given)) + site[:, None])
        past = sites.new_zeros(size, count, self.before) if before is None else before[..., : self.before]
        hidden, cell = self.start(torch.cat([site, past.to(site.dtype)], dim=-1)).flatten(0, 1).chunk(2, dim=-1)
        begin = (hidden.tanh()[None].contiguous(), cell[None].contiguous())
        states = run(self.recurrence, rearrange(tokens, "b t s d -> t (b s) d"), begin)
        states = functional.dropout(states, self.dropout, self.training)
        return rearrange(self.mean(states)[..., 0].float(), "t (b s) -> b t s", b=size)


class Runoff(nn.Module):
    """Both memories: of the weather alone, and ahead of it.

    Args:
        alone, ahead: Widths; 0 leaves ahead out.
        address, channels, before: Of a site's address; weather variables; features of the weather before a window
            (`batching.antecedent`).
        dropout: Of both memories' states.
    """

    def __init__(self, alone: int, ahead: int, address: int, channels: int, before: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.alone = Memory(alone, address, 2 * channels + 4, before, dropout)
        self.ahead = Memory(ahead, address, 2 * channels + 4 + KNOWN, before, dropout) if ahead else None

    def forward(
        self,
        weather: Float[Tensor, "B T S F"],
        watered: Bool[Tensor, "B T S F"],
        flow: Float[Tensor, "B T S"],
        seen: Bool[Tensor, "B T S"],
        days: Int[Tensor, "B T"],
        sites: Float[Tensor, "B S E"],
        before: Float[Tensor, "B S G"] | None,
        gaps: Bool[Tensor, "B T S"] | None = None,
    ) -> list[Told]:
        """What each says; values are 0 where they are not seen, and flow in `gaps` is not shown to ahead."""
        when = season(days)[:, :, None].expand(-1, -1, weather.shape[2], -1)
        given = torch.cat([weather, watered.to(weather.dtype), when], dim=-1)
        mean = self.alone(given, sites, before)
        told = [Told(mean, torch.ones_like(seen))]
        if self.ahead is not None:
            shown = seen if gaps is None else seen & ~gaps
            known = _known(flow, shown, mean.detach())
            change = self.ahead(torch.cat([given, known], dim=-1), sites, before)
            told.append(Told(mean.detach() + change, ~shown))
        return told


def _known(flow: Tensor, shown: Tensor, runoff: Tensor) -> Float[Tensor, "B T S 6"]:
    """What a river shows up to each day: its flow of the day, and the last error of runoff with its age."""
    step = torch.arange(flow.shape[1], device=flow.device)[None, :, None]
    last = torch.where(shown, step, -1).cummax(dim=1).values
    there = last >= 0
    error = torch.where(shown, flow - runoff, 0.0)
    carried = error.gather(1, last.clamp(min=0)) * there
    fresh = there / (step - last + 1.0)
    level = torch.where(shown, flow, 0.0)
    return torch.stack([level, shown.to(flow.dtype), error, carried, fresh, carried * fresh], dim=-1)
