"""Records and the windows that are cut from them: the seed's, and one a hundred times larger."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hydromae.config import Config
from hydromae.config.presets import PRESETS
from tally import Sizes

MAPS, SERIES, SLOTS = 3, 2, 8
"""Maps, series, and catchments that share a token in the seed's presets."""
PIXELS = 100
"""Cells of a patch."""


@dataclass(frozen=True)
class Session:
    """A national record: what is measured, where and how often.

    Attributes
    ----------
    patches, catchments : int
        Land patches of 10 × 10 cells; gauged catchments.
    steps_a_day : int
        1 for days, 24 for hours.
    years : float
    length, stride : int
        Steps in a window, and between the starts of two.
    """

    name: str
    patches: int
    catchments: int
    steps_a_day: int
    years: float = 46.0
    length: int = 30
    stride: int = 20

    @property
    def steps(self) -> int:
        """Time steps of the record."""
        return round(self.years * 365.2425 * self.steps_a_day)

    def bytes_in_memory(self) -> dict[str, int]:
        """As training holds it: maps as float16 on land patches, series as float32."""
        return {
            "maps": MAPS * self.patches * PIXELS * self.steps * 2,
            "series": SERIES * self.catchments * self.steps * 4,
        }

    def bytes_in_store(self) -> int:
        """As the store holds it, float32 before compression."""
        return (MAPS * self.patches * PIXELS + SERIES * self.catchments) * self.steps * 4


SEED = Session("reference record", 94, 604, 1)
HUNDREDFOLD = Session("1 km, 60,000 catchments, hourly", 94 * 25, 60_000, 24, length=30 * 24, stride=20 * 24)


@dataclass(frozen=True)
class Cut:
    """What one window holds of a country: all of it, or a region of `patches` with the catchments that lie there.

    `kept` is that of `tally.Sizes`; `recomputed` keeps only what enters a block and computes the block again on the way back
    (torch.utils.checkpoint).
    """

    name: str
    config: Config
    patches: int
    kept: float
    recomputed: bool = False

    def sizes(self, country: Session, windows: int = 1) -> Sizes:
        """Sizes of a batch of such windows."""
        catchments = country.catchments * self.patches / country.patches
        groups = math.ceil(catchments / SLOTS)
        return Sizes(windows, country.length, self.patches, groups, PIXELS, self.kept)

    def tokens(self, country: Session) -> int:
        """Tokens of a window, hidden ones included."""
        sizes = self.sizes(country)
        return sizes.days * (MAPS * sizes.patches + SERIES * sizes.sites)

    def windows(self, country: Session) -> int:
        """Windows of an epoch."""
        return math.ceil(country.patches / self.patches) * ((country.steps - country.length) // country.stride + 1)

    def bytes_read(self, country: Session) -> int:
        """Bytes of the record in memory that one window takes."""
        whole = sum(country.bytes_in_memory().values())
        return round(whole * self.patches / country.patches * country.length / country.steps)


BASE, FAST = PRESETS["base"], PRESETS["fast"]
NEAR = FAST.having(model={"neighbours": 64})
WIDE = FAST.having(
    model={"d_model": 1024, "heads": 16, "decoder_dim": 512, "map_layers": 8, "series_layers": 8, "fusion_layers": 8}
)
REGION = 36
"""Patches of a region: 60 × 60 km at 1 km, with some 920 catchments."""


def cuts(country: Session) -> list[Cut]:
    """The ways to feed a country to a model, from the dense one to regions."""
    return [
        Cut("`base`, the whole country", BASE, country.patches, 0.6),
        Cut("`fast`, the whole country", FAST, country.patches, 0.6),
        Cut("`fast`, 64 neighbours, the whole country", NEAR, country.patches, 1.0),
        Cut("`fast`, regions", FAST, min(REGION, country.patches), 0.6),
        Cut("wide, regions, blocks recomputed", WIDE, min(REGION, country.patches), 0.6, recomputed=True),
    ]
