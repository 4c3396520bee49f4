"""How skill is measured: questions, baselines, scores."""

from typing import Literal

QuestionName = Literal["fill", "ungauged", "ungauged-bare", "simulate", "forecast", "forecast-blind"]
"""The questions of the protocol."""
