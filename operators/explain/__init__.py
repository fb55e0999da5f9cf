"""Explain: what a risky event's score was made of, and the same in words."""

from operators.explain.stage import Explain, ExplainConfig, Explained

__all__ = ["Explain", "ExplainConfig", "Explained"]
