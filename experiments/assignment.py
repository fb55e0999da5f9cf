"""Which arm a unit is in: a hash of seed and unit, cut into ranges as by GrowthBook (SDK test cases, spec 0.5.4).

A unit's *position* is a number in [0, 1) on a grid of `GRID` buckets. An arm owns ranges of buckets. At first these are
the published ones: arm i begins at the sum of the weights before it and takes `coverage` times its weight, so that a
ramp from a lower coverage to a higher one moves nobody. When weights change, `reallocate` keeps what can be kept.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

GRID = 10_000
"""Buckets. Version 2 of the hash uses all, version 1 every tenth."""

_OFFSET, _PRIME, _WORD = 0x811C9DC5, 0x01000193, 0xFFFFFFFF

Ranges = tuple[tuple[int, int], ...]
"""Buckets [first, end) that an arm owns, ascending, apart and not empty."""

Allocation = tuple[Ranges, ...]
"""The ranges of every arm; no bucket is in two."""


class Moves(NamedTuple):
    """How many of the `GRID` buckets a change of weights or coverage touches.

    Attributes:
        switched: buckets that go from one arm to another: their units have seen both.
        left: buckets that go from an arm out of the experiment.
        joined: buckets that come into the experiment.
    """

    switched: int
    left: int
    joined: int


def fnv1a(text: str) -> int:
    """Return the 32-bit FNV-1a hash over the UTF-16 code units of `text` (Fowler, Noll, Vo; as JavaScript reads text).

    A code unit is taken whole, not byte by byte.
    """
    value = _OFFSET
    units = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        value = ((value ^ (low | high << 8)) * _PRIME) & _WORD
    return value


def bucket(seed: str, unit: str, version: int = 2) -> int:
    """Return the bucket of a unit, 0 to GRID - 1.

    Version 1 repeats itself across experiments whose seeds are alike, and is there for experiments that began with it.

    Raises:
        ValueError: the version is neither 1 nor 2.
    """
    if version == 1:
        return fnv1a(unit + seed) % 1_000 * 10
    if version == 2:
        return fnv1a(str(fnv1a(seed + unit))) % GRID
    raise ValueError(f"hash version == {version}, must be 1 or 2")


def position(seed: str, unit: str, version: int = 2) -> float:
    """Return where in [0, 1) a unit stands; see `bucket`."""
    return bucket(seed, unit, version) / GRID


def in_namespace(namespace: str, unit: str, first: float, end: float) -> bool:
    """Tell whether a unit is in [first, end) of a namespace; experiments in disjoint ranges of it share no unit."""
    return first <= position(f"__{namespace}", unit, 1) < end


def published_ranges(
    arms: int, coverage: float = 1.0, weights: Sequence[float] | None = None
) -> list[tuple[float, float]]:
    """Return [start, end) of every arm, as GrowthBook's `getBucketRanges`.

    Args:
        arms: how many, at least 1.
        coverage: share of units in the experiment; outside [0, 1] the nearest end is taken.
        weights: one per arm. Of another length, or with a sum outside [0.99, 1.01], equal weights are taken instead.
    """
    coverage = min(max(coverage, 0.0), 1.0)
    if weights is None or len(weights) != arms or not 0.99 <= sum(weights) <= 1.01:
        weights = [1.0 / arms] * arms
    starts = itertools.accumulate(weights[:-1], initial=0.0)
    return [(start, start + coverage * weight) for start, weight in zip(starts, weights, strict=True)]


def choose_published(at: float, ranges: Sequence[tuple[float, float]]) -> int:
    """Return the first arm whose [start, end) holds the position; -1 if none does."""
    return next((arm for arm, (start, end) in enumerate(ranges) if start <= at < end), -1)


def allocate(weights: Sequence[float], coverage: float = 1.0) -> Allocation:
    """Return who owns which buckets at first: the published ranges on the grid.

    Args:
        weights: share of the experiment's units for each arm, 0 or above, sum 1 (within 1e-6).
        coverage: share of all units that is in the experiment, 0 to 1.

    Raises:
        ValueError: weights or coverage are not as said.
    """
    _check(weights, coverage)
    return tuple(
        ((first, end),) if first < end else ()
        for first, end in (
            (_ceil(start), min(_ceil(end), GRID)) for start, end in published_ranges(len(weights), coverage, weights)
        )
    )


def choose(at: int, allocation: Allocation) -> int:
    """Return the arm that owns a bucket; -1 if its units are not in the experiment."""
    for arm, ranges in enumerate(allocation):
        if any(first <= at < end for first, end in ranges):
            return arm
    return -1


def reallocate(allocation: Allocation, weights: Sequence[float], coverage: float = 1.0) -> Allocation:
    """Return who owns which buckets after a change, so that the fewest buckets leave the arm they are in.

    An arm that shrinks from s to t buckets gives up exactly s - t, the last it has: no fewer can do. An arm that grows
    takes buckets that no arm had before it takes those given up, so that, among all ways that move the fewest, the
    fewest units see two arms. The number of buckets of each arm is its exact share rounded by largest remainder.

    Args:
        allocation: before; arms may be added at the end, and are given up by weight 0, never taken out.
        weights: as in `allocate`, at least as many as there were arms.
        coverage: as in `allocate`.

    Raises:
        ValueError: weights or coverage are not as said.
    """
    _check(weights, coverage)
    if len(weights) < len(allocation):
        raise ValueError(f"{len(weights)} weights for {len(allocation)} arms: give an arm weight 0 to end it")
    owned = [_buckets(ranges) for ranges in allocation] + [[] for _ in weights[len(allocation) :]]
    sizes = _sizes(weights, coverage)
    taken = {at for arm in owned for at in arm}
    given_up = sorted(at for arm, size in zip(owned, sizes, strict=True) for at in arm[size:])
    supply = iter([at for at in range(GRID) if at not in taken] + given_up)
    kept = [arm[:size] for arm, size in zip(owned, sizes, strict=True)]
    return tuple(
        _ranges(arm + list(itertools.islice(supply, size - len(arm)))) for arm, size in zip(kept, sizes, strict=True)
    )


def moves(before: Allocation, after: Allocation) -> Moves:
    """Count the buckets that a change touches."""
    was, is_now = _owners(before), _owners(after)
    switched = sum(1 for at, arm in was.items() if is_now.get(at, arm) != arm)
    return Moves(switched, len(was.keys() - is_now.keys()), len(is_now.keys() - was.keys()))


def _check(weights: Sequence[float], coverage: float) -> None:
    if not weights or any(not weight >= 0.0 for weight in weights) or not abs(sum(weights) - 1.0) <= 1e-6:
        raise ValueError(f"weights == {list(weights)}, must be 0 or above with sum 1")
    if not 0.0 <= coverage <= 1.0:
        raise ValueError(f"coverage == {coverage}, must be from 0 to 1")


def _ceil(bound: float) -> int:
    # The first bucket at or above a bound; 0.2 + 0.06 must not lie above 0.26.
    return math.ceil(round(bound * GRID, 6))


def _sizes(weights: Sequence[float], coverage: float) -> list[int]:
    exact = [round(weight * coverage * GRID, 6) for weight in weights]
    sizes = [math.floor(share) for share in exact]
    total = min(round(sum(exact)), GRID)
    by_remainder = sorted(range(len(exact)), key=lambda arm: (sizes[arm] - exact[arm], arm))
    for arm in by_remainder[: total - sum(sizes)]:
        sizes[arm] += 1
    return sizes


def _buckets(ranges: Ranges) -> list[int]:
    return [at for first, end in ranges for at in range(first, end)]


def _ranges(buckets: list[int]) -> Ranges:
    buckets = sorted(buckets)
    breaks = [i for i in range(1, len(buckets)) if buckets[i] != buckets[i - 1] + 1]
    pieces = itertools.pairwise([0, *breaks, len(buckets)])
    return tuple((buckets[start], buckets[end - 1] + 1) for start, end in pieces if start < end)


def _owners(allocation: Allocation) -> dict[int, int]:
    return {at: arm for arm, ranges in enumerate(allocation) for at in _buckets(ranges)}
