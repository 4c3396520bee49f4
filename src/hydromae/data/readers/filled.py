"""The mark of a filled value: a boolean column beside a column of a long table. What is marked was not observed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool

from hydromae.errors import InputError

MARK = "_filled"
"""`discharge_vol_filled` marks `discharge_vol`."""


def marked(frame: pd.DataFrame, column: str, where: str | Path) -> Bool[np.ndarray, " N"]:
    """True in the rows whose value of a column was filled in, and not measured; empty marks count as False.

    Raises
    ------
    InputError
        A mark that is neither true nor false.
    """
    name = f"{column}{MARK}"
    if name not in frame.columns:
        return np.zeros(len(frame), dtype=bool)
    marks = frame[name].to_numpy(dtype=object, copy=True)
    marks[pd.isna(marks)] = False
    wrong = ~pd.Series(marks).isin([True, False]).to_numpy()
    if wrong.any():
        raise InputError(f"{where}: {name} holds {marks[wrong][0]!r}; write true where a value was filled in")
    return marks.astype(bool)
