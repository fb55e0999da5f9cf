"""The mean of E over partitions, by all sequences of fair coins: what it needs that each partition has alone."""

import itertools
import math
from collections.abc import Iterable

import pytest

from ranking.betting import FairnessAlarm

LISTS = 8


def wealth(coins: Iterable[int]) -> list[float]:
    """Return E before the first list and after each."""
    alarm, found = FairnessAlarm(()), [1.0]
    for coin in coins:
        alarm.bet(coin)
        found.append(math.exp(float(alarm.log_e)))
    return found


STREAMS = [wealth(coins) for coins in itertools.product((1, -1), repeat=LISTS)]


def mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def test_of_partitions_that_are_copies_the_mean_is_1_at_any_fixed_time():
    """One was answered whole before the other began; each is fair given its own past."""
    for at in range(LISTS + 1):
        assert mean((ahead[-1] + ahead[at]) / 2 for ahead in STREAMS) == pytest.approx(1.0)


def test_where_one_partition_foretells_the_other_looking_at_the_best_time_gains():
    """So fairness given each partition's own past is not enough: docs/fairness.md gives this figure."""
    at_best = mean((ahead[-1] + max(ahead)) / 2 for ahead in STREAMS)

    assert at_best == pytest.approx(1.34, abs=0.005)


def test_where_lists_are_fair_given_all_partitions_no_time_to_stop_gains():
    """Two partitions in turn, on coins of their own: the best rule of stopping, by going backwards, has 1."""

    def best(first: tuple[int, ...], second: tuple[int, ...], left: int) -> float:
        now = (wealth(first)[-1] + wealth(second)[-1]) / 2
        if not left:
            return now
        turn = len(first) == len(second)
        goes_on = mean(
            best((*first, coin), second, left - 1) if turn else best(first, (*second, coin), left - 1)
            for coin in (1, -1)
        )
        return max(now, goes_on)

    assert best((), (), 8) == pytest.approx(1.0)
