"""The import path of the readers until version 0.1. Use `hydromae.datasets.reader`."""

from hydromae.datasets.reader import load_record as load
from hydromae.datasets.reader import open_record as read
from hydromae.datasets.reader import read_for_prediction as question

__all__ = ["load", "question", "read"]
