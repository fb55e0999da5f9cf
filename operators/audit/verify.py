"""Verifying a chain: what was changed, taken out, put in, moved, cut off, or written under another key.

What the key's holder wrote is told from the rest by its mac. Among genuine records `sequence` and `previous` say what
is missing and what moved. A record that is not genuine is `changed` if it fills a place that no genuine one holds,
otherwise `added`.
"""

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from operators.audit.chain import Head, key_id, mac_of, split
from schemas.audit import Audit

SUSPECTS_KEPT = 10_000
"""A flood of forged records is counted beyond this, not kept; the same for places found empty."""


class Fault(StrEnum):
    """What can be wrong with a chain; a closed list."""

    CHANGED = "changed"  # a record's content or mac is not what was written
    MISSING = "missing"  # records within the chain are gone
    ADDED = "added"  # a record that nobody with the key wrote, at a place that another holds or none should
    REPEATED = "repeated"  # a genuine record a second time
    REORDERED = "reordered"  # a genuine record after its successors
    FORKED = "forked"  # a genuine record that continues another history
    RESTARTED = "restarted"  # a genuine record of sequence 0 after others: the flow forgot its chain
    OTHER_KEY = "other_key"  # written under a key that was not given
    CUT_OFF = "cut_off"  # records at the end, up to the committed head, are gone
    OTHER_HEAD = "other_head"  # the committed head names another record of that sequence
    UNREADABLE = "unreadable"  # not an audit record at all
    MISPLACED = "misplaced"  # a record of another flow or partition


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: which record, where it lies, and a sentence of the form expected, got - at."""

    fault: Fault
    sequence: int | None
    text: str


@dataclass(frozen=True, slots=True)
class _Suspect:
    sequence: int
    where: str
    other_key: str | None  # the key it says it is written under, if that is none of ours


class Verifier:
    """Reads the records of one chain in the order in which they lie.

    Args:
        keys: audit keys, any of which may have written a record; at least one.
        flow: whose chain it is.
        partition: the same.
        head: newest record as committed beside the offset, if known. Read it before the records: the chain may go on.

    Attributes:
        records: given so far.
        first: sequence of the first record; above 0 after retention has removed older ones. None without records.
        head: newest genuine record.
        first_ms, last_ms: event times of the first and the newest genuine record.
    """

    def __init__(self, keys: Sequence[bytes], flow: str, partition: int, head: Head | None = None) -> None:
        if not keys:
            raise ValueError("expected at least one audit key, got none")
        self._keys = tuple(keys)
        self._ids = {key_id(key) for key in keys}
        self._decode = msgspec.json.Decoder(Audit).decode
        self._chain = (flow, partition)
        self._expected = head
        self._findings: list[Finding] = []
        self._suspects: list[_Suspect] = []  # not genuine, since the newest genuine one
        self._uncounted = 0
        self._absent: dict[int, str] = {}  # sequence -> where its place was found empty
        self._first_mac = ""
        self._next = 0
        self._filled_next = 0  # after the last place that holds a record, genuine or changed
        self._mac_at_head: str | None = None
        self._where_head = ""
        self.records = 0
        self.first: int | None = None
        self.head: Head | None = None
        self.first_ms: int | None = None
        self.last_ms: int | None = None

    def feed(self, wire: bytes, where: str) -> None:
        """Take the next record.

        Args:
            wire: its bytes as they were written.
            where: where it lies, for the findings.
        """
        self.records += 1
        try:
            record = self._decode(wire)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._find(Fault.UNREADABLE, None, f"expected an audit record, got something else - at {where}")
            return
        if (record.flow, record.partition) != self._chain:
            got = f"got one of {_shown(record.flow)}-{record.partition}"
            expected = "expected a record of {}-{}".format(*self._chain)
            self._find(Fault.MISPLACED, record.sequence, f"{expected}, {got} - at {where}")
        elif self._is_genuine(wire):
            self._take(record, where)
        elif len(self._suspects) < SUSPECTS_KEPT:
            claimed = record.detail.get("audit_key") if record.kind == "configuration" else None
            other = _shown(claimed) if isinstance(claimed, str) and claimed not in self._ids else None
            self._suspects.append(_Suspect(record.sequence, where, other))
        else:
            self._uncounted += 1

    def finish(self, *, first: int | None = None) -> list[Finding]:
        """Return what was found, the chain being read to its end. To be called once.

        Args:
            first: sequence that the chain must begin with; None if retention may have removed older records.
        """
        end = self._expected
        if self.head is None and self._suspects:
            self._all_of_another_key()
        elif end is None:
            # What is not genuine at the very end may be changed or added: nobody can say, and it is a fault either way.
            self._settle(self._next + len(self._suspects), "the end")
            self._absent = {number: where for number, where in self._absent.items() if number < self._next}
        else:
            self._compare_with_head(end)
        if first is not None and self.first is not None and self.first > first:
            self._missing(first, self.first - 1, "the beginning")
        self._tell_absent()
        if self._uncounted:
            self._find(Fault.ADDED, None, f"expected genuine records, got {self._uncounted} more that are not")
        return self._findings

    def _compare_with_head(self, end: Head) -> None:
        if self.head is None:
            low = 0
        else:
            low = self.head.sequence + 1
            self._settle(max(end.sequence + 1, self._next), "the end")
            self._absent = {number: where for number, where in self._absent.items() if number < low}
        if end.sequence >= low and self._filled < end.sequence:
            got = "no record at all" if self.head is None else f"none after {self._filled}"
            text = f"expected records up to {end.sequence}, the head committed beside the offset, got {got}"
            self._find(Fault.CUT_OFF, max(low, self._filled + 1), f"{text} - at the end")
        elif self._mac_at_head not in (None, end.mac):
            text = f"expected record {end.sequence} with mac {end.mac[:16]}..., as committed beside the offset"
            got = f"got {str(self._mac_at_head)[:16]}..."
            self._find(Fault.OTHER_HEAD, end.sequence, f"{text}, {got} - at {self._where_head}")

    def _all_of_another_key(self) -> None:
        ids = ", ".join(sorted(self._ids))
        named = next((each.other_key for each in self._suspects if each.other_key), "they name none")
        text = f"expected records under key {ids}, got none among {self.records}; their key: {named}"
        self._find(Fault.OTHER_KEY, self._suspects[0].sequence, f"{text} - at {self._suspects[0].where}")

    def _is_genuine(self, wire: bytes) -> bool:
        parts = split(wire)
        if parts is None:
            return False
        return any(hmac.compare_digest(mac_of(key, parts[0]), parts[1]) for key in self._keys)

    def _take(self, record: Audit, where: str) -> None:
        number = record.sequence
        if self._expected is not None and number == self._expected.sequence:
            self._mac_at_head, self._where_head = record.mac, where
        if self.head is None:
            # Records before the first genuine one have a place too; what retention removed has none.
            self._next = self.first = min(
                [each.sequence for each in self._suspects if each.sequence < number] + [number]
            )
            self.first_ms, self._first_mac = record.timestamp, record.mac
        if number < self._next:
            self._take_again(record, where)
            return
        neighbours = self.head is not None and self.head.sequence + 1 == number and not self._suspects
        if neighbours and self.head is not None and record.previous != self.head.mac:
            text = f"expected record {number} to continue {self.head.mac[:16]}..., got {record.previous[:16]}..."
            self._find(Fault.FORKED, number, f"{text} - at {where}")
        self._settle(number, where)
        self._advance(record)

    def _take_again(self, record: Audit, where: str) -> None:
        """A genuine record whose place has been passed: it was moved, the chain begins anew, or it is there twice."""
        number = record.sequence
        if self._absent.pop(number, None) is not None:
            text = f"expected record {number} before record {number + 1}, got it after record {self._next - 1}"
            self._find(Fault.REORDERED, number, f"{text} - at {where}")
        elif number == 0 and record.mac != self._first_mac:
            text = f"expected record {self._next}, got the first of a new chain"
            self._find(Fault.RESTARTED, 0, f"{text} - at {where}")
            self._settle(self._next, where)
            self._tell_absent()
            self._first_mac = record.mac
            self._advance(record)
        else:
            self._find(Fault.REPEATED, number, f"expected record {self._next}, got record {number} again - at {where}")

    def _advance(self, record: Audit) -> None:
        self.head = Head(record.sequence, record.mac)
        self.last_ms = record.timestamp
        self._next = self._filled_next = record.sequence + 1

    def _settle(self, until: int, where: str) -> None:
        """Give the suspects places from the next one up to `until`, as changed, or none, as added; note what is empty.

        Args:
            until: sequence of the genuine record that was met, or where the chain ends.
            where: the same, for the findings.
        """
        suspects, self._suspects = self._suspects, []
        if suspects and self._are_of_another_key(suspects, until):
            first, last = suspects[0], suspects[-1]
            text = f"expected records under key {', '.join(sorted(self._ids))}, got {len(suspects)} under another"
            places = f"{_places(first.sequence, last.sequence)}; it names itself {first.other_key}"
            self._find(Fault.OTHER_KEY, first.sequence, f"{text}: {places} - at {first.where}")
            taken = {each.sequence for each in suspects}
        else:
            taken = set()
            for each in suspects:
                if self._next <= each.sequence < until and each.sequence not in taken:
                    taken.add(each.sequence)
                    text = (
                        f"expected record {each.sequence} with the mac of its content, got content and mac that differ"
                    )
                    self._find(Fault.CHANGED, each.sequence, f"{text} - at {each.where}")
                else:
                    text = f"expected record {self._next}, got one numbered {each.sequence} that the key did not write"
                    self._find(Fault.ADDED, each.sequence, f"{text} - at {each.where}")
        self._filled_next = max(self._filled_next, self._next, *(number + 1 for number in taken), 0)
        if until - self._next > SUSPECTS_KEPT:
            self._missing(self._next, until - 1, where)
        else:
            self._absent |= {number: where for number in range(self._next, until) if number not in taken}

    def _are_of_another_key(self, suspects: list[_Suspect], until: int) -> bool:
        """Whether a rotation of the key explains them: a configuration that names another key, and what follows it."""
        numbers = [each.sequence for each in suspects]
        return (
            suspects[0].other_key is not None
            and numbers == list(range(self._next, self._next + len(numbers)))
            and numbers[-1] < until
        )

    @property
    def _filled(self) -> int:
        return self._filled_next - 1

    def _tell_absent(self) -> None:
        for low, high, where in _runs(self._absent):
            self._missing(low, high, where)
        self._absent = {}

    def _missing(self, low: int, high: int, where: str) -> None:
        self._find(Fault.MISSING, low, f"expected {_places(low, high)}, got nothing in its place - before {where}")

    def _find(self, fault: Fault, sequence: int | None, text: str) -> None:
        self._findings.append(Finding(fault, sequence, text))


def _runs(absent: dict[int, str]) -> Iterator[tuple[int, int, str]]:
    """Yield first, last and place of each run of consecutive numbers."""
    low: int | None = None
    for number in sorted(absent):
        low = number if low is None else low
        if number + 1 not in absent:
            yield low, number, absent[low]
            low = None


def _places(low: int, high: int) -> str:
    return f"record {low}" if low == high else f"records {low} to {high}"


def _shown(text: str) -> str:
    """Return text that a stranger may have written, fit for a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:40])
