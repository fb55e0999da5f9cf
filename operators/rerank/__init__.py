"""Rerank: scored candidates in, the order that is shown out; each step after the ranker is switched on by itself.

config     settings
effects    what an experiment found, by variation, from `uplift`
stage      all of it, for one partition; the steps themselves are in `ranking.rerank`
"""

from operators.rerank.config import FairnessConfig, RerankConfig, RiskConfig, UpliftConfig
from operators.rerank.stage import Rerank

__all__ = ["FairnessConfig", "Rerank", "RerankConfig", "RiskConfig", "UpliftConfig"]
