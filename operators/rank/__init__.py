"""Rank: lists in, a score and a probability for each candidate out, by the newest ranker or by the stated fallback.

model      a record of `ranking.models` as something that ranks; whether it is sound
trees      rows through trees: the compiled part
stage      all of it, for one partition
"""

from operators.rank.model import FALLBACK, Model, sealed
from operators.rank.stage import MODELS, Rank, RankConfig, warm_up

__all__ = ["FALLBACK", "MODELS", "Model", "Rank", "RankConfig", "sealed", "warm_up"]
