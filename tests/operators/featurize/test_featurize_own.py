"""Declared features against brute force, and by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from featurize_reference import Event, Reference, decoded
from featurize_streams import START_MS, long_stream, streams
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.featurize import Featurize, FeaturizeConfig
from operators.own_feature import OwnFeature
from operators.parts import EVERYTHING, Assembly, Sweep
from operators.state import pack, unpack

CONFIG = FeaturizeConfig(max_users=300, dedup_max=300, promote_after_s=60)
NUMBER = {"of": "fields.x"}
OPERATIONS = [
    ("count", (0, 20), {}),
    ("sum", (-50, 50), NUMBER),
    ("mean", (-5, 5), NUMBER),
    ("max", (-5, 5), NUMBER | {"direction": "down"}),
    ("distinct", (0, 24), NUMBER),
    ("entropy", (0, math.log(24)), NUMBER),
    ("gap", (0, 600), {"direction": "down"}),
]
DECLARED = tuple(
    OwnFeature(f"{operation}_{window_s}", operation, window_s, limits, **more)
    for window_s in (7, 60, 3_600, 86_400)
    for operation, limits, more in OPERATIONS
)


def following(events, seed, declared=DECLARED):
    """Return events with something to follow, or nothing, for each declared feature: many ties among values."""
    rng = np.random.default_rng(seed)
    followed = []
    for event in events:
        absent = rng.random(len(declared)) < 0.3
        numbers = rng.choice([-3.25, 0.0, 0.5, 2.0, 1e300], len(declared))
        values = rng.integers(1, 7, len(declared))
        own = [
            (0 if gone else int(value))
            if feature.operation in ("distinct", "entropy")
            else (math.nan if gone else float(number))
            for feature, gone, number, value in zip(declared, absent, numbers, values, strict=True)
        ]
        followed.append(replace(event, own=tuple(own)))
    return followed


def cut_to_measure(event):
    """Return the event as the stage reads it: numbers beyond 1e15 count as that."""
    return replace(event, own=tuple(min(x, 1e15) for x in event.own))


def assert_same(events, declared=DECLARED, config=CONFIG):
    """Every value equals the reference's to rounding; sums of cancelling numbers to 1e-15 of the largest."""
    stage, reference = Featurize(config, declared), Reference(config, declared)
    featured = stage.process(decoded(events, declared=declared))
    columns = [[feature.name for feature in stage.catalogue].index(feature.name) for feature in declared]
    for i, event in enumerate(events):
        _, expected = reference.process(cut_to_measure(event))
        for feature, k in zip(declared, columns, strict=True):
            assert featured.raw[i, k] == pytest.approx(expected[feature.name], rel=1e-9, abs=1e-9), (
                f"event {i}, {feature.name}: {event}"
            )


@given(streams(), st.integers(0, 2**32))
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_operation_equals_brute_force_on_streams_with_every_accident(events, seed):
    assert_same(following(events, seed))


def test_every_operation_equals_brute_force_on_long_histories():
    assert_same(following(long_stream(21, n=900, users=4), 21))


def test_every_operation_equals_brute_force_when_users_are_evicted():
    events = following(long_stream(22, n=700, users=25), 22)

    assert_same(events, config=FeaturizeConfig(max_users=10, promote_after_s=60))


@pytest.mark.parametrize("window_s", [7, 60, 3_600, 86_400])
def test_values_equal_brute_force_at_every_boundary_of_panes_and_windows(window_s):
    """One millisecond before, at and after each boundary, for a window and its like."""
    declared = tuple(feature for feature in DECLARED if feature.window_s == window_s)
    pane_ms = window_s * 200
    start_ms = START_MS // pane_ms * pane_ms
    times = sorted(
        start_ms + edge + shift
        for pane in range(13)
        for edge in (pane * pane_ms,)
        for shift in (-1, 0, 1, pane_ms // 2)
    )
    events = [Event(1, number + 1, time_ms) for number, time_ms in enumerate(times)]

    assert_same(following(events, window_s, declared), declared)


def last(declared, rows, **of_the_last):
    """Return the values of (seconds, what is followed) rows at the last one, one declared feature for all."""
    events = [Event(1, n + 1, START_MS + round(s * 1000), own=(x,)) for n, (s, x) in enumerate(rows)]
    events[-1] = replace(events[-1], **of_the_last)
    stage = Featurize(CONFIG, (declared,))
    return stage.process(decoded(events, declared=(declared,))).raw[-1, -1]


@pytest.mark.parametrize(
    ("operation", "value"),
    [("count", 3), ("sum", 9.0), ("mean", 3.0), ("max", 5.0)],  # of 1, 3 and 5; the event of no number counts nothing
)
def test_numbers_are_counted_summed_averaged_and_compared(operation, value):
    declared = OwnFeature("x", operation, 600, (0, 10), of="fields.x")

    assert last(declared, [(0, 1.0), (1, 3.0), (2, math.nan), (3, 5.0)]) == value


@pytest.mark.parametrize(("operation", "value"), [("distinct", 3), ("entropy", 1.5 * math.log(2))])
def test_values_are_told_apart(operation, value):
    declared = OwnFeature("x", operation, 600, (0, 10), of="fields.x")

    # a, a, b, c: shares of a half, a quarter and a quarter. The 0 is no value.
    assert last(declared, [(0, 71), (1, 71), (2, 72), (3, 0), (4, 73)]) == pytest.approx(value, abs=1e-12)


def test_a_gap_is_the_time_since_the_newest_earlier_event_that_is_followed():
    declared = OwnFeature("x", "gap", 600, (0, 600), direction="down")

    assert last(declared, [(0, 1.0), (10, 1.0), (30, math.nan), (72.5, math.nan)]) == 62.5
    assert last(declared, [(0, 1.0), (10, 1.0)]) == 10
    assert last(declared, [(0, 1.0), (599.999, math.nan)]) == 599.999
    assert last(declared, [(0, 1.0), (600, math.nan)]) == 600  # out of the window: as long as can be
    assert last(declared, [(0, 1.0)]) == 600


@pytest.mark.parametrize(("direction", "value"), [("up", -2), ("both", -2), ("down", 8)])
@pytest.mark.parametrize("operation", ["mean", "max"])
def test_without_a_number_a_mean_or_max_is_the_limit_on_the_harmless_side(operation, direction, value):
    declared = OwnFeature("x", operation, 60, (-2, 8), of="fields.x", direction=direction)

    assert last(declared, [(0, 1.0), (120, math.nan)]) == value


def test_features_are_mapped_by_their_logarithm_between_the_two_limits():
    declared = OwnFeature("x", "sum", 60, (-2, 1), of="fields.x")
    events = [Event(k, k, START_MS, own=(x,)) for k, x in enumerate([-3.0, -2.0, -1.0, 1.0, 2.0], 1)]
    mapped = Featurize(CONFIG, (declared,)).process(decoded(events, declared=(declared,))).features[:, -1]

    # log1p(x + 2) / log1p(3): of 0, 1 and 3 that is 0, a half and 1; beyond the limits it goes no further.
    np.testing.assert_allclose(mapped, [0, 0, 0.5, 1, 1], rtol=1e-12)


def test_a_late_event_shows_the_value_it_would_have_caused_and_leaves_none():
    declared = OwnFeature("x", "count", 600, (0, 10))
    events = [Event(1, 1, START_MS, own=(1.0,)), Event(1, 1, START_MS, own=(1.0,)), Event(1, 2, START_MS, own=(1.0,))]
    raw = Featurize(CONFIG, (declared,)).process(decoded(events, declared=(declared,))).raw

    assert raw[:, -1].tolist() == [1, 2, 2]


def test_a_snapshot_in_parts_restores_declared_features_to_the_last_byte():
    events = following(long_stream(23, 1_500, 120), 23)
    stage, resumed = Featurize(CONFIG, DECLARED), Featurize(CONFIG, DECLARED)
    stage.process(decoded(events[:600], declared=DECLARED))
    base = unpack(pack(stage.changes(EVERYTHING)))
    stage.process(decoded(events[600:700], 600, DECLARED))
    change = unpack(pack(stage.changes(Sweep(5, 1))))
    assembly = Assembly(change)
    assembly.add(base)
    assembly.add(change)
    resumed.load(assembly.finish())
    rest = decoded(events[700:], 700, DECLARED)

    assert resumed.process(rest).raw.tobytes() == stage.process(rest).raw.tobytes()
    assert pack(resumed.dump()) == pack(stage.dump())


def test_the_largest_set_of_declared_features_stays_within_its_stated_bytes():
    declared = tuple(OwnFeature(f"x{k}", "entropy", 60, (0, 3), of="fields.x") for k in range(32))
    plain, stage = Featurize(CONFIG), Featurize(CONFIG, declared)

    assert stage.nbytes_per_user - plain.nbytes_per_user == pytest.approx(32 * 292, rel=0.01)  # a spare row besides


def test_the_fingerprint_changes_with_what_is_followed_and_not_with_how_it_is_read():
    base = OwnFeature("x", "sum", 60, (0, 9), of="fields.x")
    same = [replace(base, name="y"), replace(base, limits=(1, 9)), replace(base, direction="down", family="z")]
    other = [replace(base, window_s=61), replace(base, of="fields.y"), replace(base, where=("a",))]
    prints = {Featurize(CONFIG, (each,)).fingerprint for each in (base, *same)}

    assert len(prints) == 1
    assert prints.isdisjoint({Featurize(CONFIG, (each,)).fingerprint for each in other})
    assert prints != {Featurize(CONFIG).fingerprint}


def test_a_batch_without_the_declared_columns_is_refused():
    with pytest.raises(ValueError, match="expected columns of 28 declared features, got none"):
        Featurize(CONFIG, DECLARED).process(decoded([Event(1, 1, START_MS)]))
