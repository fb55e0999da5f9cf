"""What the merge stage writes: readouts, decisions, and what goes into the audit trail."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from operators.audit.chain import Detail
from operators.batches import Outgoing
from operators.merge.experiment import Answered
from schemas.readout import Readout, SampleRatio
from schemas.verdict import Verdict

DECISION: Final = "decision"
SAMPLE_RATIO: Final = "sample_ratio"
"""Kinds of audit records."""

_encode = msgspec.json.Encoder().encode


MOST_BYTES: Final = 900_000
"""Of a readout: Kafka takes records below a million bytes."""


def of_readout(readout: Readout) -> Outgoing:
    """Return the newest statistics as a record; of very many metrics and variations without what is for plots alone.

    Left out first are three of four looks, then all, then effects by stratum: nothing that decides.
    """
    thinner: tuple[Callable[[Readout], Readout], ...] = (
        lambda one: replace(one, looks=one.looks[::-4][::-1]),
        lambda one: replace(one, looks=()),
        lambda one: replace(one, comparisons=tuple(replace(each, strata=()) for each in one.comparisons)),
    )
    for thin in thinner:
        if len(_encode(readout)) <= MOST_BYTES:
            break
        readout = thin(readout)
    return _outgoing("experiments.readouts", readout, readout.timestamp, readout.experiment)


def of_decision(answered: Answered) -> Outgoing:
    """Return a decision that changed as a record."""
    readout, decided = answered.readout, answered.decided
    verdict = Verdict(
        experiment=readout.experiment,
        version=readout.version,
        timestamp=readout.timestamp,
        decision=decided.decision,
        variation=decided.variation,
        before=answered.before,
        reasons=decided.reasons,
        offsets=readout.offsets,
    )
    return _outgoing("experiments.decisions", verdict, readout.timestamp, readout.experiment)


def trail(answered: Answered) -> list[tuple[str, Detail]]:
    """Return what of a look goes into the audit trail, kind and detail: new alarms, and a decision that changed.

    With the offsets and the definition's version, so that what led to it can be read and worked out again.
    """
    readout, decided = answered.readout, answered.decided
    inputs: Detail = {
        "experiment": readout.experiment,
        "version": readout.version,
        "offsets": _encode(readout.offsets).decode(),
    }
    found: list[tuple[str, Detail]] = [
        (SAMPLE_RATIO, {**inputs, **_alarm(each)}) for each in readout.sample_ratio if each.stratum in answered.alarms
    ]
    if answered.changed:
        said: Detail = {
            "decision": decided.decision,
            "before": answered.before,
            "variation": decided.variation,
            "reasons": " ".join(decided.reasons),
        }
        found.append((DECISION, {**inputs, **said}))
    return found


def _alarm(each: SampleRatio) -> Detail:
    return {
        "stratum": each.stratum,
        "counts": _encode(each.counts).decode(),
        "expected": _encode(each.expected).decode(),
        "p": each.p,
        "stray": each.stray,
    }


def _outgoing(topic: str, record: Readout | Verdict, time_ms: int, key: str) -> Outgoing:
    return Outgoing(topic, key.encode(), _encode(record), max(time_ms, 1))  # to librdkafka 0 means now
