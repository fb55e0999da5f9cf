"""Configuration of the last stage of the ranking flow."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le


@dataclass(frozen=True, slots=True)
class AnswerConfig:
    """What is written beside the answers.

    Attributes:
        served_share: share of the lists of which `ranking.served` tells what the ranker saw, chosen by the request's
            id; 0: none, 1: all. Late and repeated requests, lists that show nothing, and records above 900,000 bytes
            are never told of.
        served_candidates: of a list the first so many, and all that are shown, 1 to 1,000: about 4 bytes a feature and
            100 more each.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    served_share: Annotated[float, Ge(0), Le(1)] = 1.0
    served_candidates: Annotated[int, Ge(1), Le(1_000)] = 100
