"""Merge: parts of experiments in, readouts and decisions out."""

from operators.merge.stage import Merge, MergeConfig, Merged

__all__ = ["Merge", "MergeConfig", "Merged"]
