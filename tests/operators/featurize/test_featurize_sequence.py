"""Stream time, and what is late, a duplicate or ahead: facts small enough to follow by hand."""

import numpy as np
import pytest
from featurize_reference import Event, decoded

from operators.batches import AHEAD, DUPLICATE, LATE
from operators.featurize import Featurize, FeaturizeConfig

NOON = 1_700_000_000_000
S, H = 1_000, 3_600_000
CONFIG = FeaturizeConfig(allowed_lateness_s=300, max_gap_s=6 * 3_600, dedup_window_s=600)


def flags(pairs, config=CONFIG):
    """Return the flags of (user, time) events with distinct ids."""
    return judged([Event(user, number + 1, time_ms) for number, (user, time_ms) in enumerate(pairs)], config)


def judged(events, config=CONFIG):
    return Featurize(config).process(decoded(events)).flags.tolist()


def stream_time_after(pairs):
    stage = Featurize(CONFIG)
    stage.process(decoded([Event(user, number + 1, time_ms) for number, (user, time_ms) in enumerate(pairs)]))
    return {m.metric: m.value for m in stage.measurements()}["tidegate_stream_time_seconds"] * 1_000


@pytest.mark.parametrize("first_ms", [0, NOON, 4_000_000_000_000])
def test_the_first_event_sets_stream_time_wherever_it_is(first_ms):
    assert flags([(1, first_ms)]) == [0]
    assert stream_time_after([(1, first_ms)]) == first_ms


def test_an_event_exactly_as_late_as_allowed_still_counts():
    assert flags([(1, NOON), (2, NOON - 300 * S), (2, NOON - 300 * S - 1)]) == [0, 0, LATE]


def test_an_accepted_event_out_of_order_does_not_turn_stream_time_back():
    assert stream_time_after([(1, NOON), (2, NOON - 200 * S)]) == NOON


def test_an_event_exactly_a_gap_ahead_counts_and_one_beyond_does_not():
    assert flags([(1, NOON), (2, NOON + 6 * H + 1), (3, NOON + 6 * H)]) == [0, AHEAD, 0]


def test_an_id_seen_before_is_a_duplicate_even_when_it_is_late_or_ahead():
    events = [Event(1, 7, NOON), Event(1, 7, NOON - H), Event(1, 7, NOON + 9 * H)]

    assert judged(events) == [0, DUPLICATE, DUPLICATE]


def test_an_id_is_forgotten_once_stream_time_is_past_its_window():
    at_the_edge = [Event(1, 7, NOON), Event(2, 8, NOON + 600 * S), Event(1, 7, NOON + 600 * S)]
    past_it = [Event(1, 7, NOON), Event(2, 8, NOON + 600 * S + 1), Event(1, 7, NOON + 600 * S + 1)]

    assert judged(at_the_edge) == [0, 0, DUPLICATE]
    assert judged(past_it) == [0, 0, 0]


def test_a_duplicate_does_not_prolong_the_memory_of_its_id():
    events = [
        Event(1, 7, NOON),
        Event(2, 8, NOON + 500 * S),
        Event(1, 7, NOON + 500 * S),
        Event(2, 9, NOON + 601 * S),
        Event(1, 7, NOON + 601 * S),
    ]

    assert judged(events) == [0, 0, DUPLICATE, 0, 0]


def test_at_its_bound_the_memory_forgets_the_oldest_id_first():
    config = FeaturizeConfig(dedup_max=2)
    events = [Event(1, number, NOON) for number in (1, 2, 3, 2, 3, 1)]

    # 1, 2 fill the memory, 3 pushes 1 out; 2 and 3 are known, 1 is new again.
    assert judged(events, config) == [0, 0, 0, DUPLICATE, DUPLICATE, 0]


def test_the_memory_of_ids_agrees_with_a_list_through_thousands_of_arrivals_and_departures():
    ids = np.random.default_rng(3).integers(1, 400, 6_000).tolist()
    expected, kept = [], []
    for number in ids:
        expected.append(DUPLICATE if number in kept else 0)
        if number not in kept:
            kept = [*kept, number][-200:]

    assert judged([Event(1, number, NOON) for number in ids], FeaturizeConfig(dedup_max=200)) == expected


def test_ids_of_late_and_ahead_events_are_not_remembered():
    late, ahead = Event(2, 8, NOON - H), Event(3, 9, NOON + 7 * H)
    events = [Event(1, 7, NOON), late, ahead, Event(2, 8, NOON), Event(3, 9, NOON)]

    assert judged(events) == [0, LATE, AHEAD, 0, 0]


def test_three_distinct_users_end_a_gap_and_the_third_counts():
    night = NOON + 9 * H

    assert flags([(1, NOON), (1, night), (2, night + S), (3, night + 2 * S), (1, night)]) == [0, AHEAD, AHEAD, 0, 0]


def test_stream_time_jumps_to_the_smallest_of_the_three_times():
    # Users 1 and 2 propose 9 h and 8 h, user 3 a broken 90 h: the jump goes to 8 h, where 90 h is still ahead.
    pairs = [(1, NOON), (1, NOON + 9 * H), (2, NOON + 8 * H), (3, NOON + 90 * H)]

    assert flags(pairs) == [0, AHEAD, AHEAD, AHEAD]
    assert stream_time_after(pairs) == NOON + 8 * H


def test_a_users_newest_proposal_is_the_one_that_counts():
    pairs = [(9, NOON), (1, NOON + 50 * H), (1, NOON + 10 * H), (2, NOON + 11 * H), (3, NOON + 12 * H)]

    assert flags(pairs) == [0, AHEAD, AHEAD, AHEAD, 0]
    assert stream_time_after([*pairs[:4], (3, NOON + 40 * H)]) == NOON + 10 * H


def test_one_user_can_not_confirm_a_jump_however_often():
    assert flags([(1, NOON)] + [(2, NOON + 9 * H + k) for k in range(1_000)]) == [0] + [AHEAD] * 1_000


def test_two_users_can_not_confirm_a_jump_however_often():
    assert flags([(1, NOON)] + [(2 + k % 2, NOON + 9 * H + k) for k in range(1_000)]) == [0] + [AHEAD] * 1_000


def test_a_single_bad_clock_changes_nothing_for_everybody_else():
    honest = [(1 + k % 5, NOON + k * S) for k in range(300)]
    attacked = [pair for k, pair in enumerate(honest) for pair in (pair, (66, NOON + 10**10 + k))]
    quiet_raw = Featurize(CONFIG).process(decoded([Event(u, k + 1, t) for k, (u, t) in enumerate(honest)])).raw
    numbered = [Event(u, k // 2 + 1 if u != 66 else 10**6 + k, t) for k, (u, t) in enumerate(attacked)]
    featured = Featurize(CONFIG).process(decoded(numbered))

    assert featured.flags[1::2].tolist() == [AHEAD] * 300
    assert featured.flags[::2].tolist() == [0] * 300
    assert featured.raw[::2].tobytes() == quiet_raw.tobytes()


def test_broken_clocks_spread_over_time_do_not_add_up_to_a_jump():
    """Three users objecting withdraw a proposal; without that the third broken clock of a year would decide."""
    pairs = []
    for broken in range(50):
        pairs += [(1_000 + broken, NOON + 10**10)] + [(user, NOON + broken * S) for user in (1, 2, 3)]
    pairs = [(1, NOON), *pairs]

    assert [flag for (user, _), flag in zip(pairs, flags(pairs), strict=True) if user < 1_000] == [0] * 151
    assert stream_time_after(pairs) == NOON + 49 * S


def test_one_clock_that_lags_behind_can_not_prevent_a_jump():
    night = NOON + 9 * H
    pairs = [(1, NOON), (2, night), (1, NOON + S), (3, night), (1, NOON + 2 * S), (4, night)]

    assert flags(pairs) == [0, AHEAD, 0, AHEAD, 0, 0]


def test_proposals_that_stream_time_has_come_near_are_dropped():
    # User 2 proposes 7 h. Accepted events of one user bring stream time to 5 h, so 7 h is not ahead any more: users 3
    # and 4, far ahead, are then only two.
    pairs = [(1, NOON), (2, NOON + 7 * H), (1, NOON + 5 * H), (3, NOON + 99 * H), (4, NOON + 99 * H)]

    assert flags(pairs) == [0, AHEAD, 0, AHEAD, AHEAD]
    assert stream_time_after(pairs) == NOON + 5 * H


def test_proposals_that_stream_time_has_passed_can_not_turn_it_back():
    pairs = [
        (1, NOON),
        (2, NOON + 7 * H),
        (1, NOON + 5 * H),
        (1, NOON + 10 * H),
        (3, NOON + 99 * H),
        (4, NOON + 99 * H),
    ]

    assert stream_time_after(pairs) == NOON + 10 * H


def test_flagged_events_show_the_values_they_would_have_caused():
    stage = Featurize(CONFIG)
    stage.process(decoded([Event(1, 1, NOON), Event(1, 2, NOON + S)]))
    featured = stage.process(decoded([Event(1, 2, NOON + S), Event(1, 3, NOON + 2 * S), Event(8, 4, NOON - H)]))

    assert featured.flags.tolist() == [DUPLICATE, 0, LATE]
    assert featured.raw[:, 0].tolist() == [3, 3, 1]  # event_count_1m: as if counted; user 8 is unknown
