"""Rhythm, hours, new counterparties and repeated amounts: by hand, and by brute force on users with habits."""

import math

import numpy as np
import pytest
from featurize_reference import Event, decoded
from featurize_streams import START_MS
from test_featurize_features import assert_same, values

from operators.featurize import Featurize, FeaturizeConfig

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MIDNIGHT_MS = 1_700_006_400_000  # 2023-11-15T00:00:00Z


def at(times_ms, **more):
    return [Event(1, number + 1, START_MS + time_ms, **more) for number, time_ms in enumerate(times_ms)]


def test_a_machines_clock_has_no_variation_and_one_octave():
    last = values(at([1_000 * k for k in range(6)]))  # five gaps of a second

    assert (last["gap_variation_24h"], last["gap_entropy_24h"]) == (0, 0)


def test_variation_is_the_sample_standard_deviation_over_the_mean():
    # Gaps 1, 1, 1, 1, 6 s: mean 2, squares about it 4 * 1 + 16 = 20, over n - 1 = 4 that is 5: sqrt(5) / 2.
    assert values(at([0, 1_000, 2_000, 3_000, 4_000, 10_000]))["gap_variation_24h"] == pytest.approx(math.sqrt(5) / 2)


def test_entropy_is_that_of_octaves_by_its_maximum():
    # Gaps of 1,024 ms to 2,047 ms are one octave, 2,048 ms is the next: shares of 4/5 and 1/5, by ln 5.
    expected = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2)) / math.log(5)
    times = np.cumsum([0, 1_024, 1_500, 2_047, 1_100, 2_048])

    assert values(at(times.tolist()))["gap_entropy_24h"] == pytest.approx(expected, abs=1e-11)


def test_gaps_of_five_different_octaves_are_as_mixed_as_can_be():
    assert values(at([0, 0, 1, 3, 7, 15]))["gap_entropy_24h"] == pytest.approx(1, abs=1e-11)


def test_fewer_than_five_gaps_tell_nothing():
    last = values(at([1_000 * k for k in range(5)]))

    assert (last["gap_variation_24h"], last["gap_entropy_24h"]) == (1, 1)


def test_events_all_at_once_have_no_variation():
    last = values(at([0] * 6))

    assert (last["gap_variation_24h"], last["gap_entropy_24h"]) == (0, 0)


def test_rhythm_forgets_what_has_left_the_window():
    config = FeaturizeConfig(windows_s=(10,))
    times = [1_000 * k for k in range(6)]

    assert values(at(times), config)["gap_variation_10s"] == 0
    # Of gaps 1, 1, 1, 1 and 5 s: mean 1.8, squares about it 4 * 0.64 + 10.24 = 12.8, over 4 that is 3.2.
    assert values(at([*times, 10_000]), config)["gap_variation_10s"] == pytest.approx(math.sqrt(3.2) / 1.8)
    assert values(at([*times, 11_000]), config)["gap_variation_10s"] == 1  # four gaps tell nothing


def test_an_octave_is_the_same_as_the_length_in_bits():
    rng = np.random.default_rng(3)
    gaps = [int(2.0 ** rng.uniform(0, 30)) + int(rng.integers(-1, 2)) for _ in range(400)]

    assert_same(FeaturizeConfig(windows_s=(60, 86_400), max_gap_s=2**30), at(np.cumsum([0, *gaps]).tolist()))


def hours(active, hour):
    """Return the deviation of an event at `hour`, after a day with an event in each of the `active` hours."""
    events = [Event(1, n + 1, MIDNIGHT_MS + h * HOUR_MS) for n, h in enumerate(active)]
    return values([*events, Event(1, 99, MIDNIGHT_MS + DAY_MS + hour * HOUR_MS)], FeaturizeConfig(max_gap_s=DAY_MS))[
        "hour_deviation"
    ]


def test_an_hour_never_used_is_rarer_the_longer_the_history():
    # 4 active hours: (0 + 1) / (4 + 8) against 3 / 24: ln(12 / 8).
    assert hours([9, 10, 11, 12], 3) == pytest.approx(math.log(12 / 8))
    assert hours([9, 10, 11, 12, 13, 14, 15, 16], 3) == pytest.approx(math.log(16 / 8))


def test_an_hour_beside_a_usual_one_is_usual_and_midnight_is_no_border():
    assert hours([9, 10, 11, 12], 11) == 0
    # Near 13 lies 12 alone: (1 + 1) / 12 is more than an eighth.
    assert hours([9, 10, 11, 12], 13) == 0
    assert hours([0, 1, 2, 3, 4, 5, 6, 7], 23) == 0  # 0 is beside 23: (1 + 1) / 16 is an eighth
    assert hours([1, 2, 3, 4, 5, 6, 7, 8], 23) == pytest.approx(math.log(2))


def test_without_history_no_hour_is_unusual():
    assert values([Event(1, 1, MIDNIGHT_MS)])["hour_deviation"] == 0


def test_a_burst_does_not_make_its_own_hour_usual():
    days = [Event(1, n + 1, MIDNIGHT_MS + n * DAY_MS + 12 * HOUR_MS) for n in range(16)]
    burst = [Event(1, 100 + n, MIDNIGHT_MS + 16 * DAY_MS + 3 * HOUR_MS + n) for n in range(500)]
    config = FeaturizeConfig(max_gap_s=DAY_MS)

    assert values([*days, *burst[:1]], config)["hour_deviation"] == pytest.approx(math.log(24 / 8))
    # The burst's first event made its hour one of 17 active ones: (1 + 1) / (17 + 8).
    assert values([*days, *burst], config)["hour_deviation"] == pytest.approx(math.log(25 / 16))


def test_hours_of_long_ago_fade_and_the_deviation_stays_below_its_limit():
    noon = [Event(1, n + 1, MIDNIGHT_MS + n * DAY_MS + 12 * HOUR_MS) for n in range(255)]
    night = [Event(1, n + 1, MIDNIGHT_MS + n * DAY_MS + 3 * HOUR_MS) for n in range(255, 2_000)]
    config = FeaturizeConfig(max_gap_s=DAY_MS)
    stage = Featurize(config)
    found = stage.process(decoded([*noon, *night])).raw[:, [f.name for f in stage.catalogue].index("hour_deviation")]

    assert found[255] == pytest.approx(math.log(263 / 8))  # 255 noons, no night: the most there can be
    assert found.max() < 3.5
    # At the 256th active hour all is halved: 127 noons and one night then.
    assert found[256] == pytest.approx(math.log((128 + 8) / (8 * 2)))
    assert found[-1] == 0


def test_the_share_of_new_counterparties_counts_only_events_that_have_one():
    shops = [7, 8, 0, 7, 9]  # the first is not new to a user without a past; then new, none, known, new

    assert values([Event(1, n + 1, START_MS + n, (0, 0, shop, 0)) for n, shop in enumerate(shops)])[
        "counterparty_new_share_24h"
    ] == pytest.approx(2 / 4)


def test_an_event_out_of_order_keeps_each_events_own_mark():
    shops = [(0, 7), (100, 7), (200, 8), (50, 9), (86_400_060, 7)]  # 8 and 9 are new; then 0 and 50 leave the window

    events = [Event(1, n + 1, START_MS + t, (0, 0, shop, 0)) for n, (t, shop) in enumerate(shops)]

    assert values(events[:4])["counterparty_new_share_24h"] == 2 / 4
    assert values(events, FeaturizeConfig(max_gap_s=DAY_MS))["counterparty_new_share_24h"] == pytest.approx(1 / 3)


def test_repeats_count_earlier_events_of_the_same_amount():
    amounts = [9.99, 10.0, 9.99, math.nan, 9.99]
    events = [Event(1, n + 1, START_MS + n, amount=amount) for n, amount in enumerate(amounts)]

    assert [values(events[: n + 1])["amount_repeats_24h"] for n in range(5)] == [0, 0, 1, 0, 2]


def test_repeats_end_with_the_window_and_at_24_events():
    same = [Event(1, n + 1, START_MS + n, amount=0.0) for n in range(40)]
    days_apart = FeaturizeConfig(max_gap_s=DAY_MS)
    at_the_edge, past_it = (Event(1, 99, START_MS + DAY_MS + late, amount=0.0) for late in (-1, 0))

    assert values(same)["amount_repeats_24h"] == 24
    assert values([same[0], at_the_edge], days_apart)["amount_repeats_24h"] == 1
    assert values([same[0], past_it], days_apart)["amount_repeats_24h"] == 0


@pytest.mark.parametrize("seed", [31, 32])
def test_habits_of_months_equal_brute_force(seed):
    """Weeks of regular hours, one payment standing order, some disorder: more than 255 active hours for each user."""
    rng = np.random.default_rng(seed)
    events = []
    for day in range(150):
        for user in (1, 2):
            hour_ms = (HOUR_MS * rng.normal(8 + 12 * (user - 1), 1.5, 3)).astype(int)
            for k, ms in enumerate(hour_ms.tolist()):
                shop = int(rng.integers(1, 5 if user == 1 else 50))
                amount = 50.0 if k == 0 else float(rng.integers(1, 9))
                events.append(Event(user, len(events) + 1, MIDNIGHT_MS + day * DAY_MS + ms, (1, 1, shop, 1), amount))

    assert_same(FeaturizeConfig(windows_s=(60, 86_400), allowed_lateness_s=DAY_MS, max_gap_s=DAY_MS), events)


@pytest.mark.parametrize("window_s", [10, 60, 600, 3_600, 86_400])
def test_all_features_equal_brute_force_at_every_boundary_of_panes_and_windows(window_s):
    """One millisecond before, at and after each boundary of a pane and of the window since the first event."""
    pane_ms = window_s * 200
    first_ms = START_MS // pane_ms * pane_ms
    edges = [first_ms + pane * pane_ms for pane in range(14)] + [first_ms + 1 + window_s * 1_000 * n for n in (1, 2)]
    times = sorted(edge + shift for edge in edges for shift in (-1, 0, 1))
    # The second half comes twice: as a duplicate, and once more out of order as events of their own.
    amounts = [math.nan, 1.0, 2.0, 3.0]
    events = [Event(1, n + 1, t, (n % 3 + 1, n % 2, n % 5, 1), amounts[n % 4]) for n, t in enumerate(times)]
    repeated = events[len(events) // 2 :]
    late = [Event(1, 900 + n, event.time_ms - 2, event.attributes, 2.0) for n, event in enumerate(repeated)]
    config = FeaturizeConfig(windows_s=(window_s,), allowed_lateness_s=6 * window_s, max_gap_s=DAY_MS)

    assert_same(config, [*events, *repeated, *late])
