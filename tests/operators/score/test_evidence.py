"""Evidence against a slow reading of its formulas, and worked by hand."""

import itertools
import math

import numpy as np
import pytest

from operators.featurize.catalogue import Feature, catalogue
from operators.score.evidence import Evidence, families
from operators.sketch import TailSketch


def feature(name, direction, family="count"):
    return Feature(name, "events", 1.0, direction, 60, family)


THREE = [feature("up", "up"), feature("down", "down", "gap_deviation"), feature("both", "both", "amount_deviation")]


def taught(rows):
    return np.ones(len(rows), bool)


def slow_tail(past, x, direction):
    """The formulas of operators.sketch, by counting: without decay, bins of 1/64."""
    bins = np.minimum(np.floor(np.asarray(past) * 64), 63)
    b = min(math.floor(x * 64), 63)
    up = ((bins >= b).sum() + 1) / (len(past) + 1)
    down = ((bins <= b).sum() + 1) / (len(past) + 1)
    return {"up": up, "down": down, "both": min(1, 2 * min(up, down))}[direction]


def test_tails_of_nine_values_are_those_counted_by_hand():
    evidence = Evidence(THREE, half_life=10**12, refresh=9, warmup=9)
    past = np.repeat(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])[:, None], 3, axis=1)
    evidence.weigh_then_learn(past, taught(past))
    asked = np.repeat(np.array([0.0, 0.3, 0.8, 1.0])[:, None], 3, axis=1)

    nats, tail = evidence.weigh_then_learn(asked, np.zeros(4, bool))

    # n = 9, so (count + 1) / 10. At 0.3: seven are at least as high, three at least as low; at 0.8: two and eight.
    assert tail[:, 0] == pytest.approx([1.0, 0.8, 0.3, 0.1], abs=1e-9)
    assert tail[:, 1] == pytest.approx([0.1, 0.4, 0.9, 1.0], abs=1e-9)
    assert tail[:, 2] == pytest.approx([0.2, 0.8, 0.6, 0.2], abs=1e-9)
    # Three families of one feature each: the sum of the logarithms.
    assert nats == pytest.approx(
        [-math.log(0.1 * 0.2), -math.log(0.8 * 0.4 * 0.8), -math.log(0.3 * 0.9 * 0.6), -math.log(0.1 * 0.2)],
        abs=1e-8,
    )


def test_tails_equal_a_slow_count_at_every_event():
    refresh, n = 30, 600
    rng = np.random.default_rng(6)
    rows = np.concatenate([rng.beta(2, 5, (n, 2)), rng.integers(0, 5, (n, 1)) / 4], axis=1)
    evidence = Evidence(THREE, half_life=10**12, refresh=refresh, warmup=refresh)

    _, tail = evidence.weigh_then_learn(rows, taught(rows))

    assert np.isnan(tail[:refresh]).all()
    for i in range(refresh, n):
        past = rows[: i - i % refresh]  # what the table was made of
        expected = [slow_tail(past[:, f], rows[i, f], THREE[f].direction) for f in range(3)]
        assert tail[i] == pytest.approx(expected, rel=1e-9)


def test_the_common_value_has_no_evidence():
    evidence = Evidence(THREE[:1], half_life=1000, refresh=50, warmup=50)
    same = np.full((400, 1), 0.25)

    nats, tail = evidence.weigh_then_learn(same, taught(same))

    assert (tail[50:] == 1.0).all()
    assert (nats[50:] == 0.0).all()


def test_a_count_weighs_half_after_the_half_life():
    sketch = Evidence(THREE[:1], half_life=200, refresh=100, warmup=100)
    sketch.weigh_then_learn(np.full((100, 1), 0.9), np.ones(100, bool))
    sketch.weigh_then_learn(np.full((200, 1), 0.1), np.ones(200, bool))

    # 100 values, two refreshes old: 100 * 0.5^(200/200); 100 are one old, and 100 are new.
    settled = sketch.sketch.settled[0]
    assert settled[int(0.9 * 64)] == pytest.approx(50.0)
    assert settled[int(0.1 * 64)] == pytest.approx(100 * math.sqrt(0.5) + 100)


def test_a_family_speaks_once_with_its_strongest_feature():
    copies = [feature("a", "up"), feature("x", "up", "distinct"), feature("b", "up"), feature("c", "up")]
    evidence = Evidence(copies, half_life=10**12, refresh=99, warmup=99)
    past = np.repeat((np.arange(99) / 100)[:, None], 4, axis=1)
    evidence.weigh_then_learn(past, taught(past))

    nats, tail = evidence.weigh_then_learn(np.array([[0.5, 0.9, 0.99, 0.99]]), np.zeros(1, bool))

    # Count: 0.99 has nothing above or beside it (bin 63 starts at 0.984): p = 1/100. Distinct: bin 57 starts at
    # 0.8906, nine values from 0.90 to 0.98 are in or above it: p = 10/100.
    assert tail[0, [1, 2, 3]] == pytest.approx([0.1, 0.01, 0.01], rel=1e-9)
    assert nats[0] == pytest.approx(-math.log(0.01) - math.log(0.1), rel=1e-9)


def test_evidence_is_the_sum_over_families_of_the_largest_term():
    features = catalogue((60, 600, 3600, 86400))
    rng = np.random.default_rng(2)
    rows = rng.random((1500, len(features)))
    evidence = Evidence(features, half_life=1000, refresh=100, warmup=500)

    nats, tail = evidence.weigh_then_learn(rows, taught(rows))

    expected = np.zeros(1500)
    for name in {one.family for one in features}:
        expected += (-np.log(tail[:, [one.family == name for one in features]])).max(axis=1)
    assert np.isnan(nats).tolist() == [True] * 500 + [False] * 1000
    assert nats[500:] == pytest.approx(expected[500:], rel=1e-12)


def test_many_families_of_tiny_probabilities_do_not_underflow():
    # 200 families at p = 1/1001: the product is 1e-600, beyond what a double can hold.
    many = [Feature(f"f{i}", "events", 1.0, "up", None, f"family {i}") for i in range(200)]
    evidence = Evidence(many, half_life=10**12, refresh=1000, warmup=1000)
    past = np.zeros((1000, 200))
    evidence.weigh_then_learn(past, taught(past))

    nats, _ = evidence.weigh_then_learn(np.ones((1, 200)), np.zeros(1, bool))

    assert nats[0] == pytest.approx(200 * math.log(1001), rel=1e-9)


def test_families_hold_every_column_once():
    features = catalogue((60, 3600))
    columns, starts = families(features)

    assert sorted(columns.tolist()) == list(range(len(features)))
    for first, end in itertools.pairwise(starts):
        assert len({features[column].family for column in columns[first:end]}) == 1


def test_a_dump_leaves_out_the_bins_beyond_the_last_in_use():
    sketch = TailSketch(["up", "up"], bins=1000, bins_per_unit=1.0, half_life=100, refresh=10, warmup=10)
    sketch.pending[1, 41] = 3

    assert sketch.dump("x")["x.pending"].shape == (2, 42)


def test_a_dump_of_another_shape_is_refused():
    dump = TailSketch(["up"], bins=9, bins_per_unit=1.0, half_life=9, refresh=9, warmup=9).dump("x")
    other = TailSketch(["up", "up"], bins=9, bins_per_unit=1.0, half_life=9, refresh=9, warmup=9)

    with pytest.raises(ValueError, match=r"expected shape \(2, at most 9\), got \(1, 0\) - at x.settled"):
        other.load(dump, "x")
