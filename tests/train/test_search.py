"""What a sweep draws from: only what changes something, in ranges that every preset accepts."""

from __future__ import annotations

from itertools import product

import pytest

from hydromae.config import Config
from hydromae.config.presets import PRESETS
from hydromae.errors import InputError
from hydromae.train.search import SearchRange, SearchSettings, drawn_config, search_space

BASE, RIVERS = PRESETS["base"], PRESETS["rivers"]


def drawn(search: SearchSettings, base: Config) -> dict[str, SearchRange]:
    return search_space(search, base)


def test_the_ranges_of_the_seed():
    """lr 1e-4, 6 + 4 + 2 encoder and fusion layers, 4 decoder layers, 8 heads at widths 256 and 128; flow weighs 1."""
    weights = {f"weight/{m}": SearchRange(0.1, 10, log=True) for m in ("precipitation", "soil_moisture", "temperature")}
    assert drawn(SearchSettings(), BASE) == {
        "lr": SearchRange(1e-5, 1e-3, log=True),
        "map_ratio": SearchRange(0.2, 0.8),
        "series_ratio": SearchRange(0.2, 0.8),
        **weights,
        "weight/evaporation": SearchRange(0.1, 10, log=True),
        "map_layers": SearchRange(3, 9, is_integer=True),
        "series_layers": SearchRange(2, 6, is_integer=True),
        "fusion_layers": SearchRange(1, 3, is_integer=True),
        "decoder_layers": SearchRange(2, 6, is_integer=True),
        "heads": SearchRange(choices=(1, 2, 4, 8, 16)),
    }


def test_rivers_have_no_decoder_no_fusion_no_maps_and_no_shares():
    found = drawn(SearchSettings(), RIVERS)
    assert set(found) == {"lr", "weight/weather", "series_layers", "heads"}
    assert found["series_layers"] == SearchRange(1, 3, is_integer=True)
    assert found["heads"] == SearchRange(choices=(1, 2, 4, 8))  # widths 96: 16 would leave 6 numbers a head


def test_shares_are_searched_where_a_mixture_holds_a_mask_of_shares():
    mixed = RIVERS.having(masks={"mixture": (("gap", 1.0), ("tube", 1.0), ("random", 0.0))})
    assert "series_ratio" in drawn(SearchSettings(), mixed) and "map_ratio" not in drawn(SearchSettings(), mixed)
    unused = RIVERS.having(masks={"mixture": (("gap", 1.0), ("random", 0.0))})
    assert "series_ratio" not in drawn(SearchSettings(), unused)


def test_a_recurrent_model_without_neighbours_has_no_heads():
    alone = RIVERS.having(model={"mixers": ("recurrent",)})
    assert "heads" not in drawn(SearchSettings(), alone)


def test_what_is_given_is_taken_and_what_is_fixed_is_not_drawn():
    fixed = dict.fromkeys(vars(SearchSettings()), "fixed")
    assert drawn(SearchSettings(**fixed), BASE) == {}
    given = {"lr": (1e-3, 1e-2), "heads": (4, 2, 4), "map_layers": (5, 5), "series_ratio": (0.3, 0.5)}
    assert drawn(SearchSettings(**fixed | given), BASE) == {
        "lr": SearchRange(1e-3, 1e-2, log=True),
        "heads": SearchRange(choices=(2, 4)),
        "map_layers": SearchRange(5, 5, is_integer=True),
        "series_ratio": SearchRange(0.3, 0.5),
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_every_corner_of_the_ranges_is_a_configuration(preset):
    base = PRESETS[preset]
    space = drawn(SearchSettings(), base)
    corners = {name: r.choices or (r.low, r.high) for name, r in space.items() if r.is_integer or r.choices}
    for values in product(*corners.values()):
        config = drawn_config(base, dict(zip(corners, values, strict=True)))
        assert (config.model.heads, config.model.series_layers) == (
            values[-1],
            dict(zip(corners, values, strict=True))["series_layers"],
        )


def test_a_draw_changes_what_it_names_and_nothing_else():
    values = {
        "lr": 3e-4,
        "map_ratio": 0.6,
        "series_ratio": 0.5,
        "weight/temperature": 0.5,
        "fusion_layers": 3,
        "heads": 4,
    }
    config = drawn_config(BASE, values)
    assert dict(config.train.task_weights) == dict(BASE.train.task_weights) | {"temperature": 5.0}
    assert config == BASE.having(
        optimizer={"lr": 3e-4},
        masks={"map_ratio": 0.6, "series_ratio": 0.5},
        model={"fusion_layers": 3, "heads": 4},
        train={"task_weights": config.train.task_weights},
    )
    assert drawn_config(BASE, {}) == BASE


@pytest.mark.parametrize(
    ("search", "base", "message"),
    [
        ({"decoder_layers": (1, 2)}, RIVERS, "search.decoder_layers: changes nothing"),
        ({"map_ratio": (0.1, 0.2)}, RIVERS, "search.map_ratio: changes nothing"),
        ({"heads": (3,)}, BASE, "search.heads 3: heads must divide the widths 256 and 128"),
        ({"heads": ()}, BASE, "search.heads"),
        ({"lr": (1e-2, 1e-3)}, BASE, "search.lr 0.01 0.001: no range"),
        ({"lr": (0.0, 1e-3)}, BASE, "search.lr 0 0.001: no range"),
        ({"lr": (float("nan"), 1e-3)}, BASE, "search.lr nan 0.001: no range"),
        ({"series_ratio": (0.5, 1.0)}, BASE, "search.series_ratio 0.5 1: no range"),
        ({"map_layers": (0, 2)}, BASE, "search.map_layers 0 2: no range"),
    ],
)
def test_ranges_that_cannot_be_are_refused_with_one_line(search, base, message):
    with pytest.raises(InputError, match=message) as caught:
        drawn(SearchSettings(**search), base)
    assert "\n" not in str(caught.value)
