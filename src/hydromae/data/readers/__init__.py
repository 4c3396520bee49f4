"""The import path of the readers until version 0.1. Use `hydromae.datasets.reader`."""

from hydromae.datasets.reader import load, question, read

__all__ = ["load", "question", "read"]
