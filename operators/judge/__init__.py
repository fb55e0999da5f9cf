"""Judge: how good and how fair the lists of the ranking flow are, each judged by what its user did afterwards.

config      settings
pending     lists whose time is not over: who has them, what they hold
loop        interactions find their lists: the compiled part
sums        what adds up over a stretch of time
fairness    exposure by group, tests of minimum proportions, the alarm
quality     the record of a stretch that is over
stage       all of it, for one partition
"""

from operators.judge.config import JudgeConfig
from operators.judge.stage import Judge

__all__ = ["Judge", "JudgeConfig"]
