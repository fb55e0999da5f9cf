"""What users publish on `labels`: what a person, or a chargeback, said later of one event."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.event import Identifier, Time


class Label(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The truth about one event, as far as it is known. The record's key is the user; unknown fields are ignored.

    Of two labels for one event the later on the topic counts, whatever their times. If a field occurs twice the last
    one counts.

    Attributes:
        id: the event's own `id`, as it was published, 1 to 256 characters.
        user: the event's user, 1 to 1024 characters. Replaced by a pseudonym before anything is stored or written.
        label: `fraud` or `legit`.
        timestamp: when it was said, in the forms of an event's time.
        kind: which kind of abuse, in the publisher's words. For reports alone: the risk flow does not read it. Absent:
            not told.
    """

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    user: Identifier
    label: Literal["fraud", "legit"]
    timestamp: Time
    kind: str | None = None
