"""With no wait, as interactions are merged with requests: what is not here holds nothing back, what is goes first."""

import pytest
from test_merge import log, times

from connectors.merge import Merge


@pytest.fixture
def merged():
    return Merge([("interactions", 0), ("", 0)], slack_s=5.0, wait_s=0.0, now=0.0)


def out(merged, now, most=10**6):
    return times(message for run in merged.take(now, most, 10**6) for message in run.messages)


def test_a_request_goes_at_once_while_interactions_are_idle_behind_or_were_just_read(merged):
    merged.add("", log("", [1_000_000]), now=10.0)
    assert out(merged, 10.0) == [("", 1_000_000)]

    merged.behind("interactions", 20.0)
    merged.add("", log("", [1_000_000, 1_000_001])[1:], now=20.0)
    assert out(merged, 20.0) == [("", 1_000_001)]

    merged.add("interactions", log("i", [1_000_000]), now=30.0)
    assert out(merged, 30.0) == [("i", 1_000_000)]
    merged.add("", log("", [0, 0, 1_000_002])[2:], now=30.0)
    assert out(merged, 30.0) == [("", 1_000_002)]


def test_older_interactions_that_are_here_go_first_and_the_request_right_after_them(merged):
    merged.add("", log("", [1_000_000]), now=10.0)
    merged.add("interactions", log("i", [900_000, 950_000, 1_000_500]), now=10.0)

    # Within the slack records go as they lie.
    assert out(merged, 10.0) == [("i", 900_000), ("i", 950_000), ("i", 1_000_500), ("", 1_000_000)]


def test_of_a_backlog_that_is_here_requests_wait_for_what_is_older_by_more_than_the_slack(merged):
    merged.add("", log("", [1_000_000]), now=10.0)
    merged.add("interactions", log("i", range(900_000, 910_000)), now=10.0)

    assert out(merged, 10.0, most=5_000) == [("i", at) for at in range(900_000, 905_000)]
    assert out(merged, 10.0, most=6_000)[-1] == ("", 1_000_000)
