"""What users publish on `events`: one activity of one user."""

from typing import Annotated, Any

from msgspec import Meta, Struct

LAST_TIME_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last time RFC 3339 can write."""

Time = (
    Annotated[int, Meta(ge=0, le=LAST_TIME_MS)]
    | Annotated[str, Meta(max_length=64, extra_json_schema={"format": "date-time"})]
)
Identifier = Annotated[str, Meta(min_length=1, max_length=1024)]


class Event(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One activity of one user. The record's key is the user; unknown fields are ignored.

    An optional field that is absent, null or empty says "not known": it is never taken for a value of its own. If a
    field occurs twice the last one counts.

    Attributes:
        id: the publisher's name for this event, 1 to 256 characters, the same at every retry. Seen again within the
            dedup window it is answered as a duplicate. It is repeated in the outputs: put no personal data in it.
        timestamp: when it happened. Whole milliseconds since 1970-01-01 UTC, or RFC 3339 with an offset (rounded
            to the microsecond, then cut to the millisecond); years 1970 to 9999.
        user: who did it, 1 to 1024 characters. Replaced by a pseudonym before anything is stored or written.
        type: what was done, such as `login` or `payment`; at least 1 character. Keep to a small vocabulary.
        amount: how much, >= 0 and finite, in `currency`. Absent: the event is not about an amount.
        currency: ISO 4217 code of `amount`, such as `EUR`. Absent: the publisher uses one currency throughout.
        ip: network address it came from, as text. Becomes a pseudonym. Absent: not known.
        device: device it came from, any stable identifier. Becomes a pseudonym. Absent: not known.
        counterparty: the other side, such as a merchant or payee. Becomes a pseudonym. Absent: there is none.
        country: ISO 3166-1 alpha-2 code of where it came from. Absent: not known.
        session: session it belongs to. Becomes a pseudonym. Absent: not known.
        fields: anything else, by name. The risk flow reads it only where the path of a declared feature leads. Absent:
            nothing else.
    """

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    timestamp: Time
    user: Identifier
    type: Annotated[str, Meta(min_length=1)]
    amount: Annotated[float, Meta(ge=0)] | None = None
    currency: str | None = None
    ip: str | None = None
    device: str | None = None
    counterparty: str | None = None
    country: str | None = None
    session: str | None = None
    fields: dict[str, Any] | None = None
