"""What the risk flow keeps on the internal topic `risk.evidence`, so that an event can be explained later.

Arrays are bytes (base64 in JSON), little endian, one number after the other: `f8` double, `u1` and `u2` unsigned, `i4`
signed integers. Numbers are not rounded: sums over them meet the scores to the last few bits.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.json import Encoder

from schemas.decision import version_1

Explained = Literal["medium", "high", "critical"]
Direction = Literal["up", "down", "both"]
Budget = Annotated[float, Meta(gt=0, lt=1)]


class Catalogue(Struct, frozen=True, kw_only=True, gc=False):
    """The features, in the order of the columns; all of one length.

    Attributes:
        names: unique.
        units: of the raw values.
        directions: which way is risky.
        families: features of one family are windowed copies of one thing; the evidence takes the strongest of each.
        windows_s: length of the window in seconds; null where there is none.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    directions: tuple[Direction, ...]
    families: tuple[str, ...]
    windows_s: tuple[int | None, ...]


class Evidence(Struct, frozen=True, kw_only=True, gc=False):
    """All that one event's score was made of. The record's key is `user`, its Kafka timestamp is the event time.

    Attributes:
        schema: version of this record, 1.
        id: the event's own `id`, 1 to 256 characters.
        timestamp: event time, milliseconds since 1970-01-01 UTC.
        user: pseudonym of the user.
        tier: of the decision.
        partition: partition of the event on its input topic, >= 0.
        offset: offset of the event in that partition, >= 0.
        tail_probability: share of past scores at least as high as this one, above 0, at most 1.
        score: forest and evidence combined, >= 0.
        forest: Half-Space Trees' score, 0 to 1.
        evidence: directional evidence in nats, >= 0.
        forest_share: the forest's part in the score, by the rule that joins the two, 0 to 1.
        budgets: alert budgets of medium, high and critical: the tail probabilities below which these tiers lie.
        catalogue: what the columns are.
        raw: features in their own units, f8; NaN where not known.
        usual: what is usual for this user in the same units, f8; NaN where there is nothing to hold against.
        mapped: features as the forest saw them, 0 to 1, f8.
        tails: tail probability of each feature in its risky direction, f8, above 0, at most 1.
        statistic: which of the forest's scores.
        height: levels of splits per tree, 1 to 15.
        window: points per window of masses, at least 1.
        steps: splits passed in each tree before the walk stopped, 0 to `height`, u1.
        columns: column that each of these splits looked at, tree after tree, u2.
        masses: mass of each node on the walk, root first, tree after tree, i4: one more per tree than `steps`.
    """

    schema: Literal[1] = field(default_factory=version_1)
    id: Annotated[str, Meta(min_length=1, max_length=256)]
    timestamp: Annotated[int, Meta(ge=0)]
    user: Annotated[str, Meta(min_length=1)]
    tier: Explained
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    tail_probability: Annotated[float, Meta(gt=0, le=1)]
    score: Annotated[float, Meta(ge=0)]
    forest: Annotated[float, Meta(ge=0, le=1)]
    evidence: Annotated[float, Meta(ge=0)]
    forest_share: Annotated[float, Meta(ge=0, le=1)]
    budgets: tuple[Budget, Budget, Budget]
    catalogue: Catalogue
    raw: bytes
    usual: bytes
    mapped: bytes
    tails: bytes
    statistic: Literal["log_mass", "river"]
    height: Annotated[int, Meta(ge=1, le=15)]
    window: Annotated[int, Meta(ge=1)]
    steps: bytes
    columns: bytes
    masses: bytes


encode = Encoder().encode
