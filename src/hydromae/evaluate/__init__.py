"""Evaluation: tasks, baselines and scores."""

from typing import Literal

QuestionName = Literal["gap", "ungauged", "ungauged-limited", "simulate", "forecast", "forecast-blind"]
"""The tasks of the evaluation protocol."""
