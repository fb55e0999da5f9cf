"""What `tidegate train ranker --publish` writes on `ranking.models`: a ranker, whole."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1

Count = Annotated[int, Meta(ge=0)]


class Trees(Struct, frozen=True, kw_only=True, gc=False):
    """Regression trees, one after the other; all arrays are bytes, little-endian, one entry for each inner node.

    Of a node, `x = features[feature]` goes left if `x <= threshold`, and if x is NaN as `missing_left` says. A child of
    0 or more is an inner node of the same tree, with a greater number than its parent; one below 0 is leaf `-1 - child`
    of the same tree. Each node but the first, and each leaf, is the child of one.

    Attributes:
        nodes: where the inner nodes of each tree begin, and their number, int32, shape (trees + 1,).
        leaves: where the leaves of each tree begin, and their number, int32, shape (trees + 1,).
        feature: int32.
        threshold: float64.
        missing_left: uint8.
        left: child, int32.
        right: child, int32.
        value: of the leaves, float64.
    """

    nodes: bytes
    leaves: bytes
    feature: bytes
    threshold: bytes
    missing_left: bytes
    left: bytes
    right: bytes
    value: bytes


class Ranker(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A ranker. The record's key is `ranker`; it lies in every partition of its topic.

    Attributes:
        schema: version of this record, 1.
        version: its name, 1 to 64 letters, digits, `.`, `_` and `-`, as results name it; `fallback` is none.
        timestamp: time of the newest list that it was trained on, milliseconds since 1970-01-01 UTC.
        features: names of what it is given, in order. All of them must be among those of the flow.
        trees: whose sum is the score.
        curve: places of the calibration curve, ascending scores; empty: no probabilities.
        probability: of a click at these scores, not falling; straight between them, level beyond.
        figures: what training measured, by name, such as `test_ndcg@10`.
        lists: it was trained on.
        checksum: BLAKE2b (16 bytes, hexadecimal) of the record with an empty checksum.
    """

    schema: Literal[1] = field(default_factory=version_1)
    version: Annotated[str, Meta(pattern=r"^(?!fallback$)[A-Za-z0-9._-]{1,64}$")]
    timestamp: Count
    features: tuple[str, ...]
    trees: Trees
    curve: tuple[float, ...] = ()
    probability: tuple[Annotated[float, Meta(ge=0, le=1)], ...] = ()
    figures: dict[str, float] = {}
    lists: Count = 0
    checksum: str = ""
