"""Tier: the decision on each event, the user's standing, and the reasons."""

from operators.tier.costs import CostsConfig
from operators.tier.stage import Tier, TierConfig

__all__ = ["CostsConfig", "Tier", "TierConfig"]
