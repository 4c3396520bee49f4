"""Experiment 2: phase 2, every decoder layer reads its own learned mix of encoder layers, the embeddings included."""

from hydromae.config.presets import SEED

config = SEED.having(model={"use_weighted_fm": True, "use_input": True})
store = "data/national.zarr"
output = "output/exp2"
