"""How skill is measured: questions, baselines, scores."""

from typing import Literal

QuestionName = Literal["gap", "ungauged", "ungauged-limited", "simulate", "forecast", "forecast-blind"]
"""The questions of the protocol."""
