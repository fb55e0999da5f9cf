"""Rows of `operators.accumulate.observed.Observed` put together from the records of one topic."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from operators.accumulate.observed import MEASURED, TIERED, Observed
from operators.batches import F64, I64, U64
from operators.hashing import GOLDEN
from operators.observe.measures import Measure

_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def of_what(id_hash: U64, what: U64) -> U64:
    """Return 64-bit hashes of (user, id, what), given those of (user, id); 0 stays 0, all others are never 0.

    The sum of the one and a multiple of the other, then SplitMix64's finalizer (Steele, Lea and Flood 2014): two
    measures of one record never collide, nor does one measure of two.
    """
    mixed = id_hash + what * GOLDEN  # modulo 2^64
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    mixed ^= mixed >> np.uint64(31)
    hashes: U64 = np.where(id_hash == 0, np.uint64(0), np.maximum(mixed, np.uint64(1)))
    return hashes


def measured(
    records: Sequence[Any],
    raws: Sequence[bytes | None],
    measures: Sequence[Sequence[Measure]],
    pre: Sequence[float | None] | None,
    unit: U64,
    time_ms: I64,
    id_hash: U64,
) -> Observed:
    """Return a row for each measure that a record has.

    Args:
        records: n of them.
        raws: their bytes.
        measures: those of each record's event.
        pre: each record's number of before, None where the topic has none.
        unit: 64 bits of each record's user, shape (n,).
        time_ms: when each was, shape (n,).
        id_hash: 64-bit hash of (user, id) of each, 0 without id, shape (n,).
    """
    place: list[int] = []
    what: list[int] = []
    value: list[float] = []
    before: list[float] = []
    for at, each in enumerate(measures):
        for key, plain, own, number, matches in each:
            record, raw = records[at], raws[at]
            if plain or matches(record, raw or b""):
                place.append(at)
                what.append(key)
                value.append(number(record, raw or b""))
                told = pre[at] if own and pre is not None else None
                before.append(math.nan if told is None else told)
    chosen = np.array(place, np.int64)
    keys = np.array(what, np.uint64)
    n = len(place)
    return Observed(
        kind=np.full(n, MEASURED, np.int64),
        unit=unit[chosen],
        time_ms=time_ms[chosen],
        id_hash=of_what(id_hash[chosen], keys),
        what=keys,
        arm=np.zeros(n, np.int64),
        phase=np.full(n, -1, np.int64),
        value=_numbers(value),
        pre=_numbers(before),
    )


def tiered(arm: Sequence[int], unit: U64, time_ms: I64, id_hash: U64) -> Observed:
    """Return a row for each decision; arguments have one entry each, `arm` indexes `schemas.part.STRATA`."""
    n = len(arm)
    nothing = np.zeros(n, np.uint64)
    return Observed(
        kind=np.full(n, TIERED, np.int64),
        unit=unit,
        time_ms=time_ms,
        id_hash=of_what(id_hash, nothing),
        what=nothing,
        arm=np.array(arm, np.int64),
        phase=np.full(n, -1, np.int64),
        value=np.zeros(n),
        pre=np.full(n, np.nan),
    )


def _numbers(values: Sequence[float]) -> F64:
    return np.array(values, np.float64) + 0.0  # -0.0 becomes 0.0
