"""Configuration of what is remembered of users, where candidates come from, and which features there are."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, MinLen

from operators.recall.catalogue_config import CatalogueConfig
from operators.signals.config import LONGEST_S, Seconds

Count = Annotated[int, Ge(1), Le(1_000)]
Quota = Annotated[int, Ge(0), Le(1_000)]
Name = Annotated[str, MinLen(1)]


@dataclass(frozen=True, slots=True)
class UsersConfig:
    """What is remembered of a user.

    Attributes:
        max_users: users, and sessions without one, that are remembered; 350 bytes each with ten recent items.
        recent: items that are remembered of each, 1 to 64; 20 bytes each.
        categories: categories of clicked items that are remembered of each, 1 to 16.
        half_life_s: in which counts and means halve, seconds.
        promote_after_s: age at which a user that comes again is no newcomer any more, seconds.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_users: Annotated[int, Ge(1), Le(10_000_000)] = 1_000_000
    recent: Annotated[int, Ge(1), Le(64)] = 10
    categories: Annotated[int, Ge(1), Le(16)] = 4
    half_life_s: Seconds = 7 * 86_400
    promote_after_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 600


@dataclass(frozen=True, slots=True)
class CoVisitsConfig:
    """Which items are clicked or bought in the same sessions.

    Attributes:
        max_items: items of which that is remembered; 600 bytes each with twenty others.
        others: how many others are remembered of each, 1 to 256; 24 bytes each.
        session_gap_s: a session that is not told by name is over after so long without a click or purchase, seconds.
        half_life_s: in which counts halve, seconds.
        damping: sessions that two items must share before half of their cosine counts, 0 or more.
        promote_after_s: age at which an item that comes again is no newcomer any more, seconds.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_items: Annotated[int, Ge(1), Le(10_000_000)] = 100_000
    others: Annotated[int, Ge(1), Le(256)] = 20
    session_gap_s: Seconds = 1_800
    half_life_s: Seconds = 14 * 86_400
    damping: Annotated[float, Ge(0), Le(1e6)] = 1.0
    promote_after_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 600


@dataclass(frozen=True, slots=True)
class CandidatesConfig:
    """How many candidates are found where, for a request that brings none.

    Attributes:
        popular: most popular items.
        trending: most trending items.
        co_visited: items that are visited together with those the user clicked or bought lately.
        recent: items that the user had to do with lately.
        new: new items, drawn at random: they are kept whatever else is found.
        max_candidates: of all, 1 to 1,000.
        exclude_purchased: whether items that the user bought lately are left out.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    popular: Quota = 100
    trending: Quota = 30
    co_visited: Quota = 50
    recent: Quota = 10
    new: Quota = 10
    max_candidates: Count = 200
    exclude_purchased: bool = False


@dataclass(frozen=True, slots=True)
class FeaturesConfig:
    """Which features there are beside those that always are.

    Attributes:
        request_numbers: names of fields of a request that are numbers.
        candidate_numbers: names of fields of an item in a request that are numbers.
        place: whether the place of an item in the publisher's list is one. It teaches a ranker to repeat that list.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    request_numbers: tuple[Name, ...] = ()
    candidate_numbers: tuple[Name, ...] = ()
    place: bool = False


@dataclass(frozen=True, slots=True)
class TimeConfig:
    """Which interactions and requests count, by time and id.

    Attributes:
        allowed_lateness_s: how far they may be out of order, seconds. Later interactions do not count.
        max_gap_s: what lies farther ahead of stream time does not count until three users confirm the jump, seconds.
        dedup_window_s: how long an id is remembered, seconds of stream time.
        dedup_max: ids remembered, 1 to 100,000,000; 32 bytes each.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    allowed_lateness_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 300
    max_gap_s: Seconds = 6 * 3_600
    dedup_window_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 600
    dedup_max: Annotated[int, Ge(1), Le(100_000_000)] = 1_000_000


@dataclass(frozen=True, slots=True)
class UserGroupConfig:
    """Groups of users by a field of the request.

    Attributes:
        field: its name; empty: no groups.
        names: values of it, each a group, numbered from 1, each once, none `other`; whoever has another is in group 0.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    field: str = ""
    names: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class RecallConfig:
    """Settings of `operators.recall.stage.Recall`.

    Attributes:
        count: places that are shown where a request does not say how many, 1 to 1,000.
        catalogue: see `operators.recall.catalogue_config`.
        users: see above.
        covisits: see above.
        candidates: see above.
        features: see above.
        time: see above.
        user_groups: see above.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    count: Count = 20
    catalogue: CatalogueConfig = field(default_factory=CatalogueConfig)
    users: UsersConfig = field(default_factory=UsersConfig)
    covisits: CoVisitsConfig = field(default_factory=CoVisitsConfig)
    candidates: CandidatesConfig = field(default_factory=CandidatesConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    time: TimeConfig = field(default_factory=TimeConfig)
    user_groups: UserGroupConfig = field(default_factory=UserGroupConfig)
