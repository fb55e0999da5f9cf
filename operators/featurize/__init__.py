"""featurize: what each user did lately, as features in [0, 1].

sequence    stream time; late, duplicate and ahead events      (dedup: the ids)
windows     velocity and deviation over sawtooth windows        (rows: the layout of a user's state)
history     entropy, distinct count and novelty of the last 24 events
catalogue   the features in column order, and their map into [0, 1]
stage       the three in one pass over a batch
"""

from operators.featurize.catalogue import Feature, catalogue, unit_interval
from operators.featurize.config import FeaturizeConfig
from operators.featurize.stage import Featurize

__all__ = ["Feature", "Featurize", "FeaturizeConfig", "catalogue", "unit_interval"]
