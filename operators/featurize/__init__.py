"""featurize: what each user did lately, as features in [0, 1].

sequence    stream time; late, duplicate and ahead events      (dedup: the ids)
windows     velocity and deviation over sawtooth windows        (rows: the layout of a user's state)
history     entropy, distinct count and novelty of the last 24 events
rhythm      how even the gaps between them are, how many went to somebody new
habits      how unusual the hour is, how often the amount came
own         the features that the user declared
catalogue   the features in column order, and their map into [0, 1]
stage       all of them in one pass over a batch
"""

from operators.featurize.catalogue import Feature, catalogue, taken_names, unit_interval
from operators.featurize.config import FeaturizeConfig
from operators.featurize.stage import Featurize

__all__ = ["Feature", "Featurize", "FeaturizeConfig", "catalogue", "taken_names", "unit_interval"]
