"""The alarm through the whole stage: how often it calls fair lists unfair, and whether it finds unfair ones."""

import math

import numpy as np
import pytest
from judge_streams import SECOND, START, Asked, ordered

from operators.judge import Judge, JudgeConfig

pytestmark = pytest.mark.slow

ALPHA, STREAMS, LISTS, N, OURS = 0.05, 400, 200, 10, 3
CONFIG = JudgeConfig(alpha=ALPHA, tolerance=0.0, max_lists=10, max_kept=10)
GROUP = [1] * OURS + [0] * (N - OURS)


def alarms(rng, advantage, streams, config=CONFIG, count=6):
    """Return for each stream after how many lists the alarm went off; None if it never did.

    Each list is an order by chance: scores are standard normal, those of the group higher by the advantage.
    """
    found = []
    for _ in range(streams):
        scores = rng.normal(size=(LISTS, N)) + advantage * np.array(GROUP)
        orders = np.argsort(-scores, axis=1).tolist()
        lists = [
            Asked(
                START + at * SECOND,
                list(range(1, N + 1)),
                user=0,
                ranking=at + 1,
                count=count,
                after=order,
                group=GROUP,
            )
            for at, order in enumerate(orders)
        ]
        judged = Judge(config, ("ours",)).process(ordered(lists))
        found.append(judged.alarms[0].offset + 1 if judged.alarms else None)
        assert len(judged.alarms) <= 1
    return found


def test_fair_lists_ever_alarm_in_a_share_of_streams_of_alpha_at_most_though_looked_at_after_each_list():
    found = alarms(np.random.default_rng(11), 0.0, STREAMS)
    rate = sum(each is not None for each in found) / STREAMS
    print(f"alarms on fair lists: {rate:.2%} of {STREAMS} streams of {LISTS} lists")

    assert rate <= ALPHA + 2.33 * math.sqrt(ALPHA * (1 - ALPHA) / STREAMS)


def test_lists_as_unfair_as_is_still_called_fair_alarm_in_a_share_of_alpha_at_most():
    """Two items, one of them shown: the difference is 1 or -1, its mean the tolerance: nothing fair is nearer."""
    rng, tolerance, fired = np.random.default_rng(14), 0.1, 0
    config = JudgeConfig(alpha=ALPHA, tolerance=tolerance, max_lists=10, max_kept=2)
    for _ in range(STREAMS):
        first = rng.random(LISTS) < (1 + tolerance) / 2
        lists = [
            Asked(START + at * SECOND, [1, 2], user=0, ranking=at + 1, count=1, after=[1 - ours, ours], group=[0, 1])
            for at, ours in enumerate((~first).astype(int).tolist())
        ]
        fired += bool(Judge(config, ("ours",)).process(ordered(lists)).alarms)
    print(f"alarms on lists at the tolerance: {fired / STREAMS:.2%}")

    assert fired / STREAMS <= ALPHA + 2.33 * math.sqrt(ALPHA * (1 - ALPHA) / STREAMS)
    assert fired > 0


def test_a_tolerance_as_large_as_the_difference_keeps_the_alarm_still():
    """Half a deviation makes a difference of about .13: within .2 it is still called fair."""
    config = JudgeConfig(alpha=ALPHA, tolerance=0.2, max_lists=10, max_kept=10)
    found = alarms(np.random.default_rng(12), 0.5, 60, config)

    assert sum(each is not None for each in found) / 60 <= ALPHA


@pytest.mark.parametrize(("advantage", "least"), [(0.5, 0.9), (-0.5, 0.9)])
def test_unfair_lists_are_found_in_either_direction(advantage, least):
    found = alarms(np.random.default_rng(13), advantage, 60)
    rate = sum(each is not None for each in found) / 60
    median = np.median([math.inf if each is None else each for each in found])
    print(f"advantage {advantage}: alarms in {rate:.0%}, median after {median:.0f} lists")

    assert rate >= least
