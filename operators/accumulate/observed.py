"""What the experiments flow sees of its topics, as rows of one form, whichever topic they came from."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from operators.batches import F64, I64, U64, Rejected, Span
from schemas.definition import Scalar

EXPOSED, MEASURED, TIERED, TICKED = 0, 1, 2, 3
"""Kinds of rows: a unit was shown a variation; a number of a unit; a decision about a unit; time goes on, no unit."""


def key_of(*parts: object) -> int:
    """Return a 64-bit key of a name, or of anything that JSON can say, never 0: the same in every process."""
    found = hashlib.blake2b(msgspec.json.encode(parts, order="deterministic"), digest_size=8).digest()
    return int.from_bytes(found, "little") or 1


def experiment_key(name: str, variations: Sequence[str]) -> int:
    """Return the key of an experiment with these variations, in their order.

    A definition that is refused where units are counted, but known where records are read, has another key: its
    exposures are refused, and not counted in arms of other names.
    """
    return key_of("experiment", name, *variations)


def measure_key(topic: str, event: str, value: str | None, where: Mapping[str, tuple[Scalar, ...]]) -> int:
    """Return the key of what is read from records, the same for all experiments and metrics that read the same.

    Args:
        topic: `events` or `metrics`.
        event: the `type` of an event, or the `metric` of a record on `metrics`.
        value: dotted path of the number; None: on `metrics` the record's `value`, on `events` each record counts 1.
        where: fields by dotted path, and the values of which they must have one.
    """
    return key_of("measure", topic, event, value, {path: list(values) for path, values in where.items()})


@dataclass(frozen=True, slots=True)
class Observed:
    """Rows of length n, in the order in which they are to be applied; a record may make several rows, or none.

    Attributes:
        kind: `EXPOSED`, `MEASURED`, `TIERED` or `TICKED`, shape (n,).
        unit: 64-bit hash of the user's pseudonym, never 0 but of `TICKED`, shape (n,).
        time_ms: event time, epoch milliseconds, shape (n,).
        id_hash: 64-bit hash of (user, id, what), for duplicates; 0 where the record has no id, shape (n,).
        what: `EXPOSED`: `experiment_key(...)`, without a definition that of the id alone; `MEASURED`:
            `measure_key(...)`; `TIERED`: 0, shape (n,).
        arm: `EXPOSED`: index into the definition's variations, -1 if it has no such one or there is no definition yet;
            `TIERED`: index into `schemas.part.STRATA`; else 0, shape (n,).
        phase: `EXPOSED`: as told, -1 if not told; else -1, shape (n,).
        value: `MEASURED`: the number, NaN if the record has none where one is named; else 0, shape (n,).
        pre: `EXPOSED`: the primary metric before exposure; `MEASURED`: the same measure before; NaN: not told, (n,).
    """

    kind: I64
    unit: U64
    time_ms: I64
    id_hash: U64
    what: U64
    arm: I64
    phase: I64
    value: F64
    pre: F64


@dataclass(frozen=True, slots=True)
class Observations:
    """One stretch of `exposures`, read.

    Attributes:
        span: the stretch.
        topic: its full name.
        observed: its rows.
        rejected: records that could not be read.
        events: records in it, readable or not.
    """

    span: Span
    topic: str
    observed: Observed
    rejected: list[Rejected] = field(default_factory=list)
    events: int = 0
