"""The rivers of Great Britain, trained on 1970 to 2010: what the README's numbers come from, in two processes."""

from hydromae.config.presets import RIVERS

config = RIVERS.having(train={"epochs": 10})
