"""Answer: lists in order become the records that Kafka gets; the step id of this stage is `encode`.

config     settings
records    a list as a record of `ranking.results`, and as one of `ranking.served`
stage      all of it, with quality, audit trail and dead letters
"""

from operators.answer.config import AnswerConfig
from operators.answer.stage import Answer

__all__ = ["Answer", "AnswerConfig"]
