"""Streaming features against a brute-force reference that keeps every event."""

import math

import numpy as np
import pytest
from featurize_reference import Event, Reference, decoded
from featurize_streams import START_MS, long_stream, streams
from hypothesis import HealthCheck, given, settings

from operators.batches import AHEAD, DUPLICATE, LATE
from operators.featurize import Featurize, FeaturizeConfig

FLAGS = {"": 0, "late": LATE, "duplicate": DUPLICATE, "ahead": AHEAD}
MINUTE_MS = 60_000

TOLERANCES = {"amount_deviation": 2e-3, "gap_deviation": 2e-3, "gap_variation": 1e-6}
"""Deviations: f32 sums, over a spread of at least 0.1. Variation: cancellation in a double's sum of squares."""


def assert_same(config, events):
    """Every flag and every value equals the reference's; deviations to f32's precision, the rest to rounding."""
    stage, reference = Featurize(config), Reference(config)
    featured = stage.process(decoded(events))
    for i, event in enumerate(events):
        flag, expected = reference.process(event)
        assert featured.flags[i] == FLAGS[flag], f"event {i}: {event}"
        for feature, value in zip(stage.catalogue, featured.raw[i], strict=True):
            tolerance = TOLERANCES.get(feature.family, 1e-9)
            assert value == pytest.approx(expected[feature.name], rel=tolerance, abs=tolerance), (
                f"event {i}, {feature.name}: {event}"
            )


def values(events, config=None):
    """Return the last event's values by feature name."""
    stage = Featurize(config or FeaturizeConfig())
    raw = stage.process(decoded(events)).raw[-1]
    return {feature.name: value for feature, value in zip(stage.catalogue, raw, strict=True)}


@given(streams())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_values_equal_brute_force_on_streams_with_every_accident(events):
    assert_same(FeaturizeConfig(), events)


@given(streams())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_values_equal_brute_force_when_users_ids_and_windows_are_few(events):
    assert_same(FeaturizeConfig(windows_s=(10, 600), max_users=2, dedup_max=3, promote_after_s=30), events)


@pytest.mark.parametrize("seed", [1, 2])
def test_values_equal_brute_force_on_long_histories(seed):
    assert_same(FeaturizeConfig(), long_stream(seed, n=1500, users=6))


def test_values_equal_brute_force_when_users_are_evicted():
    assert_same(FeaturizeConfig(max_users=10, promote_after_s=60), long_stream(3, n=1500, users=25))


def test_counts_and_sums_lie_between_the_exact_window_and_one_fifth_more():
    """The documented error bound, straight from the times: no panes in the expectation."""
    rng = np.random.default_rng(5)
    times = START_MS + np.cumsum(rng.choice([0, 900, 2_400, 11_000, 13_000, 130_000], 800))
    amounts = np.round(rng.lognormal(3, 1, 800), 2)
    stage = Featurize(FeaturizeConfig())
    events = [Event(1, i + 1, int(t), amount=float(a)) for i, (t, a) in enumerate(zip(times, amounts, strict=True))]
    raw = stage.process(decoded(events)).raw

    widths = {"1m": 60_000, "10m": 600_000, "1h": 3_600_000, "24h": 86_400_000}
    wider = 0
    for k, feature in enumerate(stage.catalogue):
        if feature.family not in ("count", "amount"):
            continue
        weights = np.ones(800) if feature.family == "count" else amounts
        width = widths[feature.name.rsplit("_", 1)[1]]
        for i in range(800):
            age = times[i] - times[: i + 1]
            least = weights[: i + 1][age < width].sum()
            most = weights[: i + 1][age < width * 1.2].sum()
            assert least - 1e-6 <= raw[i, k] <= most + 1e-6
            wider += raw[i, k] > least + 1e-6
    assert wider > 0  # the windows do reach further than W: the upper bound was needed


def test_an_event_at_the_far_edge_of_the_window_has_left_it_once_the_sixth_pane_has():
    # Panes of one minute's window are 12 s. START_MS is 8 s past a pane boundary (1.7e12 mod 12,000 = 8,000), so its
    # pane ends 4 s later and leaves with the sixth boundary after: at 4 + 60 = 64 s.
    inside = values([Event(1, 1, START_MS), Event(1, 2, START_MS + 63_999)])
    outside = values([Event(1, 1, START_MS), Event(1, 2, START_MS + 64_000)])

    assert (inside["event_count_1m"], outside["event_count_1m"]) == (2, 1)


def test_entropy_of_three_values_in_shares_of_a_half_a_quarter_and_a_quarter_is_one_and_a_half_ln_2():
    events = [Event(1, i + 1, START_MS + i, (ip, 0, 0, 0)) for i, ip in enumerate([7, 7, 8, 9])]

    last = values(events)

    assert last["ip_entropy_1m"] == pytest.approx(1.5 * math.log(2), abs=1e-11)
    assert last["ip_distinct_1m"] == 3
    assert last["device_entropy_1m"] == last["device_distinct_1m"] == 0


def test_entropy_looks_at_the_last_24_events_only():
    events = [Event(1, i + 1, START_MS + i, (i + 1, 0, 0, 0)) for i in range(40)]

    last = values(events)

    assert last["ip_distinct_24h"] == 24
    assert last["ip_entropy_24h"] == pytest.approx(math.log(24), abs=1e-11)


@pytest.mark.parametrize(("ip", "novel"), [(2, 1), (3, 0), (25, 0)])
def test_of_events_at_the_same_time_the_history_drops_the_first_to_arrive(ip, novel):
    events = [Event(1, i, START_MS, (i, 0, 0, 0)) for i in range(1, 27)]  # 26 at once: 3 to 26 are kept

    assert values([*events, Event(1, 99, START_MS, (ip, 0, 0, 0))])["ip_novelty"] == novel


def test_deviation_is_in_standard_deviations_of_the_users_own_earlier_amounts():
    # log1p of 0, e - 1 and e^2 - 1 is 0, 1 and 2: mean 1, sample standard deviation 1. The fourth is 5: z = 4.
    amounts = [0.0, math.e - 1, math.e**2 - 1, math.e**5 - 1]
    events = [Event(1, i + 1, START_MS + i, amount=a) for i, a in enumerate(amounts)]

    assert values(events)["amount_deviation_1m"] == pytest.approx(4.0, rel=1e-5)
    assert values(events[:3])["amount_deviation_1m"] == 0  # two earlier amounts are not enough


def test_a_user_who_always_pays_the_same_large_amount_has_no_spread():
    # Plain sums of squares in f32 would show a spread by now: 20,000 times 190 is 3.8e6, where f32 steps by a quarter.
    amounts = [999_999.99] * 20_000 + [1_099_999.99]
    events = [Event(1, i + 1, START_MS + i, amount=a) for i, a in enumerate(amounts)]

    # No spread means the floor of 0.1: (ln 1.1) / 0.1.
    assert values(events)["amount_deviation_24h"] == pytest.approx(10 * math.log(1.1), abs=1e-4)


def test_a_short_gap_after_long_ones_deviates_downwards():
    times = [0, 100_000, 200_000, 300_000, 300_100]

    assert values([Event(1, i + 1, START_MS + t) for i, t in enumerate(times)])["gap_deviation_1h"] < -8


def test_novelty_needs_a_past_and_a_value_not_in_it():
    first = values([Event(1, 1, START_MS, (5, 5, 0, 5))])
    second = values([Event(1, 1, START_MS, (5, 5, 0, 5)), Event(1, 2, START_MS + 1, (6, 5, 0, 6))])

    assert [first[f"{a}_novelty"] for a in ("ip", "device", "counterparty")] == [0, 0, 0]
    assert [second[f"{a}_novelty"] for a in ("ip", "device", "counterparty")] == [1, 0, 0]


def test_amounts_beyond_measure_stay_finite():
    stage = Featurize(FeaturizeConfig())
    featured = stage.process(decoded([Event(1, i + 1, START_MS + i, amount=1.7e308) for i in range(9)]))

    assert np.isfinite(featured.raw).all()
    assert featured.raw[-1, 4] == 9e15  # amount_sum_1m of nine amounts cut to 1e15


def test_teaching_stops_above_the_cap_per_hour_and_starts_again_later():
    events = [Event(1, i + 1, START_MS + i) for i in range(21)]
    events += [Event(1, 22, START_MS + 2 * 3_600_000), Event(2, 23, START_MS + 2 * 3_600_000)]

    teach = Featurize(FeaturizeConfig()).process(decoded(events)).teach

    assert teach.tolist() == [True] * 20 + [False, True, True]


def test_the_cap_per_hour_uses_the_window_closest_to_an_hour():
    config = FeaturizeConfig(windows_s=(10, 600), teach_cap_per_hour=2)
    # 70 s apart: alone in any 10 s, but the third within 600 s.
    events = [Event(1, i + 1, START_MS + i * 70_000) for i in range(3)]

    assert Featurize(config).process(decoded(events)).teach.tolist() == [True, True, False]


def test_flagged_events_do_not_teach():
    events = [Event(1, 1, START_MS), Event(1, 1, START_MS), Event(2, 2, START_MS - 400_000), Event(3, 3, START_MS * 2)]

    assert Featurize(FeaturizeConfig()).process(decoded(events)).teach.tolist() == [True, False, False, False]
