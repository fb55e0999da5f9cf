"""How a rejected record becomes a record on `dead-letters`: the same for every flow."""

import msgspec

from operators.batches import Outgoing, Rejected
from schemas.dead_letter import DeadLetter, Reason

_encode = msgspec.json.Encoder().encode


def dead_letter(flow: str, topic: str, source: int, rejected: Rejected, partition: int = -1) -> Outgoing:
    """Return the record: where the rejected one lies, and why; never what is in it.

    Args:
        flow: that read it.
        topic: it was read from.
        source: its partition there.
        rejected: it.
        partition: of `dead-letters`; -1 for that of the batch.
    """
    letter = DeadLetter(
        schema=1,
        reason=Reason(rejected.reason),
        detail=rejected.detail,
        topic=topic,
        partition=source,
        offset=rejected.offset,
        timestamp=rejected.timestamp_ms,
        flow=flow,
    )
    stamp = max(rejected.timestamp_ms, 1)  # to librdkafka 0 means now
    return Outgoing("dead-letters", f"{topic}-{source}".encode(), _encode(letter), stamp, partition)
