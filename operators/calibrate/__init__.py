"""Calibrate: from a score to the share of events at least as high, at thresholds that hold their budgets."""

from operators.calibrate.config import CalibrateConfig, ProbabilityConfig, ReviewConfig
from operators.calibrate.stage import Calibrate
from operators.calibrate.tail import GREATEST_SCORE

__all__ = ["GREATEST_SCORE", "Calibrate", "CalibrateConfig", "ProbabilityConfig", "ReviewConfig"]
