"""Observe: records of the experiments flow's topics in, rows of one form out; and what could not be read."""

from operators.observe.stage import TICK, Observe, ObserveConfig

__all__ = ["TICK", "Observe", "ObserveConfig"]
