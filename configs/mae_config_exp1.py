"""Experiment 1: more is hidden, the same patches and days in every modality of a kind."""

from hydromae.config.presets import SEED

config = SEED.having(masks={"kind": "unified", "map_ratio": 0.6, "series_ratio": 0.6})
store = "data/national.zarr"
output = "output/exp1"
