"""The reference specification's configuration: five modalities, 30 days, dense joint attention, fp16, trained on 1989–2010.

Everything that is not named here has its number by default (`hydromae.config`, `docs/seed.md`).
"""

from hydromae.config.presets import SEED

config = SEED
store = "data/national.zarr"
output = "output/multimodal_mae"
