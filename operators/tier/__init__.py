"""Tier: the decision on each event, the user's standing, and the reasons."""

from operators.tier.stage import Tier, TierConfig

__all__ = ["Tier", "TierConfig"]
