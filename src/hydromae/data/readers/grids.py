"""The import path of maps in a folder until version 0.1. Use `hydromae.datasets.gridded`."""

from hydromae.datasets.gridded import find_maps

__all__ = ["find_maps"]
