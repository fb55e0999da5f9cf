"""Rekey: records of a topic that is not keyed by user, as they are, with the user as key.

The stage of a flow of its own (`flows/rekey.py`). It keeps nothing. Each record goes to the partition where any
publisher with Java's partitioner would have put it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from operators.batches import Encoded, Messages, Outgoing, Rejected
from operators.dead_letter import dead_letter
from operators.decode.explain import EMPTY_VALUE, TOO_DEEP, Fault, depth, explain_user, is_too_deep
from operators.partitioner import murmur2
from operators.state import Measurement, State


class _Wire(msgspec.Struct, frozen=True, gc=False):
    user: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]  # as schemas.event.Event has it


_decode = msgspec.json.Decoder(_Wire).decode


@dataclass(frozen=True, slots=True)
class Rekeyed(Encoded):
    """Everything one stretch of input leads to, and what of it had no readable user."""

    rejected: list[Rejected] = field(default_factory=list)


class Rekey:
    """The one stage. It keeps nothing: its snapshot is empty.

    Attributes:
        flow: name of the flow, written into dead letters.
        target: topic that the records go to, without prefix.
        partitions: how many it has.
        letters: how many partitions `dead-letters` has. The source may have more: a letter goes to the source's
            partition modulo this.
        fingerprint: empty; there is no state to belong to a configuration.
    """

    def __init__(self, flow: str, target: str, partitions: int, letters: int) -> None:
        self.flow = flow
        self.target = target
        self.partitions = partitions
        self.letters = letters
        self.fingerprint = ""
        depth(b"{}")  # compiled now, not at the first record
        murmur2([b""], 1)

    def process(self, batch: Messages) -> Rekeyed:
        """Return a record for every record, in the order of the input offsets; a muted batch gives none."""
        users: list[bytes] = []
        faults: dict[int, Fault] = {}
        for place, value in enumerate(batch.values):
            found = _user(value)
            if isinstance(found, Fault):
                faults[place] = found
                users.append(b"")
            else:
                users.append(found)
        rejected = [
            Rejected(batch.offsets[place], batch.timestamps_ms[place], found.reason, found.detail)
            for place, found in faults.items()
        ]
        if batch.span.muted:
            return Rekeyed(batch.span, [], rejected=rejected)
        records: list[Outgoing] = []
        source = batch.span.partition
        letters = iter(rejected)
        rows = zip(users, batch.values, batch.timestamps_ms, murmur2(users, self.partitions).tolist(), strict=True)
        for place, (user, value, time_ms, partition) in enumerate(rows):
            if place in faults:
                records.append(dead_letter(self.flow, batch.topic, source, next(letters), source % self.letters))
            else:
                stamp = 0 if time_ms < 0 else max(time_ms, 1)  # to librdkafka 0 means now: for those that have none
                records.append(Outgoing(self.target, user, value or b"", stamp, partition))
        return Rekeyed(batch.span, records, rejected=rejected)

    def dump(self) -> State:
        """Return nothing: there is no state."""
        return {}

    def load(self, state: State) -> None:
        """Take nothing."""

    def measurements(self) -> Iterable[Measurement]:
        """Return nothing: records are counted where they pass."""
        return ()


def _user(value: bytes | None) -> bytes | Fault:
    """Return the user of a record, or what is wrong with it. The rules are those of `decode`, for this field alone."""
    if not value:
        return EMPTY_VALUE
    if is_too_deep(value):
        return TOO_DEEP
    try:
        return _decode(value).user.encode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return explain_user(value)
