"""Whether a chaos run kept the promise: every input offset answered exactly once, in order, byte for byte. Pure.

What was read is held against two things: what the publisher knows it sent, and what an undisturbed process wrote on a
copy of the same input. Offsets of the outputs are never looked at: aborted transactions leave gaps there.
"""

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

TIERS, ALERTS, DEAD, AUDIT = "risk.tiers", "risk.alerts", "dead-letters", "audit"
OUTPUTS = (TIERS, ALERTS, DEAD, AUDIT)
ALERTED = ("high", "critical")
_SHOWN = 3
"""Examples of each fault that a verdict quotes."""


class Record(NamedTuple):
    """One record as a read_committed reader finds it, without its offset."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int


class Sent(NamedTuple):
    """What the publisher knows of one input record: the event's id, or None if nobody can read it, and its user."""

    id: str | None
    user: str


Partitions = Sequence[Sequence[Record]]
Outputs = Mapping[str, Partitions]


@dataclass
class Verdict:
    """What was found wrong, counted.

    Attributes:
        expected: input offsets.
        found: records read, by topic: a comparison of nothing with nothing proves nothing.
        lost: input offsets without an answer.
        doubled: answers beyond the first to an input offset, alerts included.
        disordered: answers that come after one to a later offset of their partition.
        foreign: answers to what was never asked: wrong partition, unknown offset, another event's id, a decision on
            what nobody can read, an alert without its decision.
        differing: records that are not, byte for byte, what the undisturbed process wrote in their place.
        miscounted: users whose number of decisions is not the number of their events.
        uncommitted: partitions whose committed offset is not the end.
        compared: whether there was an undisturbed run to compare with.
        examples: the first few of each.
    """

    expected: int = 0
    found: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    foreign: int = 0
    differing: int = 0
    miscounted: int = 0
    uncommitted: int = 0
    compared: bool = False
    examples: dict[str, list[str]] = field(default_factory=dict)

    FAULTS = ("lost", "doubled", "disordered", "foreign", "differing", "miscounted", "uncommitted")

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return self.expected > 0 and not any(getattr(self, fault) for fault in self.FAULTS)

    def add(self, fault: str, example: str) -> None:
        """Count one."""
        setattr(self, fault, getattr(self, fault) + 1)
        shown = self.examples.setdefault(fault, [])
        if len(shown) < _SHOWN:
            shown.append(example)


def judge(
    sent: Sequence[Sequence[Sent]],
    outputs: Outputs,
    committed: Sequence[int],
    undisturbed: Outputs | None = None,
) -> Verdict:
    """Judge a run that has settled.

    Args:
        sent: per partition, what lies at offset 0, 1, 2, ...
        outputs: per topic and partition, what was read.
        committed: per partition, the group's offset.
        undisturbed: what one process wrote on the same input, its topic names made equal.
    """
    found = {topic: sum(map(len, outputs[topic])) for topic in OUTPUTS}
    verdict = Verdict(sum(map(len, sent)), found, compared=undisturbed is not None)
    decisions: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for partition, asked in enumerate(sent):
        _judge_partition(verdict, partition, asked, {topic: outputs[topic][partition] for topic in OUTPUTS}, decisions)
        if committed[partition] != len(asked):
            verdict.add("uncommitted", f"[{partition}]: {committed[partition]} of {len(asked)}")
    _judge_users(verdict, sent, decisions)
    if undisturbed is not None:
        for topic in OUTPUTS:
            for partition in range(len(sent)):
                _compare(verdict, topic, partition, outputs[topic][partition], undisturbed[topic][partition])
    return verdict


def _judge_partition(
    verdict: Verdict,
    partition: int,
    asked: Sequence[Sent],
    found: Mapping[str, Sequence[Record]],
    decisions: defaultdict[str, Counter[str]],
) -> None:
    answers: Counter[int] = Counter()
    alerted = []
    for topic in (TIERS, DEAD):
        before = -1
        for record in found[topic]:
            answer = json.loads(record.value or b"null")
            offset = answer["offset"]
            where = f"{topic}[{partition}] answers {offset}"
            fits = answer["partition"] == partition and 0 <= offset < len(asked)
            if not fits or asked[offset].id != answer.get("id"):
                verdict.add("foreign", where)
                continue
            answers[offset] += 1
            if answers[offset] > 1:
                verdict.add("doubled", f"{where} once more")
            elif offset < before:
                verdict.add("disordered", f"{where} after {before}")
            before = max(before, offset)
            if topic == TIERS:
                decisions[asked[offset].user][answer["user"]] += 1
                if answer["tier"] in ALERTED:
                    alerted.append(record)
    for offset in range(len(asked)):
        if not answers[offset]:
            verdict.add("lost", f"[{partition}]: offset {offset}")
    # An alert is its decision once more, byte for byte: told from the decisions read, without any other run.
    wanted, got = Counter(alerted), Counter(found[ALERTS])
    for record in (got - wanted).elements():
        fault = "doubled" if record in wanted else "foreign"
        verdict.add(fault, f"{ALERTS}[{partition}]: an alert without a decision of its own: {record.value!r:.120}")
    for record in (wanted - got).elements():
        verdict.add("lost", f"{ALERTS}[{partition}]: {record.value!r:.120}")
    if wanted == got and alerted != list(found[ALERTS]):
        verdict.add("disordered", f"{ALERTS}[{partition}]: alerts in another order than their decisions")


def _judge_users(verdict: Verdict, sent: Sequence[Sequence[Sent]], decisions: Mapping[str, Mapping[str, int]]) -> None:
    counted = Counter(each.user for each in itertools.chain.from_iterable(sent) if each.id is not None)
    owners: dict[str, str] = {}
    for user, events in counted.items():
        found = decisions.get(user, {})
        if len(found) > 1 or sum(found.values()) != events:
            verdict.add("miscounted", f"{events} events under {len(found)} pseudonyms: {sum(found.values())} decisions")
        for pseudonym in found:
            if owners.setdefault(pseudonym, user) != user:
                verdict.add("miscounted", "two users under one pseudonym")


def _compare(verdict: Verdict, topic: str, partition: int, got: Sequence[Record], wanted: Sequence[Record]) -> None:
    """Compare with the undisturbed run; a doubled or lost record must not make everything after it differ."""
    if list(got) == list(wanted):
        return
    firsts, places = _firsts(got), _firsts(wanted)
    differing = [place for place in places.keys() | firsts.keys() if firsts.get(place) != places.get(place)]
    # Equal as sets and yet not as lists: doubled, or in another order.
    for place in sorted(differing) or ["order or number"]:
        verdict.add("differing", f"{topic}[{partition}] at {place}")


def _firsts(records: Sequence[Record]) -> dict[int, Record]:
    """The first record about each input offset; by its place on a topic that is about no offsets."""
    firsts: dict[int, Record] = {}
    for place, record in enumerate(records):
        answer = json.loads(record.value or b"null")
        firsts.setdefault(answer["offset"] if isinstance(answer, dict) and "offset" in answer else place, record)
    return firsts
