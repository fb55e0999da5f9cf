"""Notice: records of the ranking flow's topics in, columns out; and what could not be read.

wire       records as they are on the topics
explain    what is wrong with one
stage      all of it, for one partition; the columns are in `operators.noticed`
"""

from operators.notice.stage import Notice, NoticeConfig

__all__ = ["Notice", "NoticeConfig"]
