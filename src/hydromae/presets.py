"""The import path of the presets until version 0.1; configuration files name it. Use `hydromae.config.presets`."""

from hydromae.config.presets import BASE, DEMO, FAST, RIVERS, SEED, TINY

__all__ = ["BASE", "DEMO", "FAST", "RIVERS", "SEED", "TINY"]
