"""What Tidegate writes on `experiments.decisions`, when it changes: what the declared analysis says to do."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1
from schemas.definition import Name

Count = Annotated[int, Meta(ge=0)]
Answer = Literal["continue", "ship", "stop", "broken"]


class Verdict(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What to do with one experiment. The record's key is the experiment's id, its time the stream time.

    Attributes:
        schema: version of this record, 1.
        experiment: the definition's id.
        version: of the definition.
        timestamp: stream time, milliseconds since 1970-01-01 UTC.
        decision: `ship`: the primary interval of `variation` excludes 0 the right way, the minimum run is over, the
            sample ratio is quiet and every guardrail inside its margin; `stop`: harm is shown; `broken`: it cannot be
            trusted; else `continue`.
        variation: which one to ship. Absent: not `ship`.
        before: the decision before this. Absent: this is the first.
        reasons: why, each a sentence with its figures.
        offsets: what it rests on, as in the readout: with the definition's version enough to repeat it.
    """

    schema: Literal[1] = field(default_factory=version_1)
    experiment: Name
    version: Annotated[int, Meta(ge=1)]
    timestamp: Count
    decision: Answer
    variation: Name | None = None
    before: Answer | None = None
    reasons: tuple[str, ...]
    offsets: dict[str, dict[str, Count]]
