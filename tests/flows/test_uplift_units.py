"""Exposures and the records of a metric become units with attributes and outcomes."""

import json

import pytest

from flows import uplift_units
from flows.uplift_units import MOST_BYTES, TICK, Units
from schemas.definition import Definition, Metric, Phase

LATER = 10_000_000
WINDOW_MS = 60_000


def definition(phases=None, **metric):
    return Definition(
        id="x",
        version=1,
        timestamp=0,
        seed="x",
        variations=("a", "b", "c"),
        phases=phases or (Phase(start=0, coverage=1.0, weights=(0.5, 0.25, 0.25)),),
        primary=Metric(**({"name": "m", "kind": "mean", "event": "buy", "topic": "metrics"} | metric)),
        alpha=0.05,
        tuning_n=5_000,
        attribution_window_s=WINDOW_MS // 1_000,
        minimum_run_s=0,
        mde=0.1,
        cuped=True,
    )


def expose(units, user, variation="b", at=1_000, experiment="x", **more):
    record = {"experiment_id": experiment, "variation_id": variation, "user": user, "timestamp": at, **more}
    units.expose(json.dumps(record).encode(), LATER)


def measure(units, user, value=1.0, at=2_000, metric="buy", **more):
    record = {"user": user, "timestamp": at, "metric": metric, "value": value, **more}
    units.measure(json.dumps(record).encode(), LATER)


def tick(units, at=LATER):
    expose(units, "nobody", at=at, experiment=TICK)


def outcomes(units, variation="b"):
    return sorted(units.sample(variation).outcome.tolist())


@pytest.fixture
def units():
    return Units(definition(), 1_000)


def test_a_unit_has_the_sum_of_its_values_and_one_without_records_has_0(units):
    expose(units, "ann")
    expose(units, "bob", "a")
    measure(units, "ann", 2.0)
    measure(units, "ann", 3.5)
    tick(units)
    sample = units.sample("b")

    assert dict(zip(sample.treated.tolist(), sample.outcome.tolist(), strict=True)) == {True: 5.5, False: 0.0}


@pytest.mark.parametrize(("at", "counts"), [(999, 0.0), (1_000, 1.0), (60_999, 1.0), (61_000, 0.0)])
def test_records_count_from_the_exposure_to_the_end_of_the_window(units, at, counts):
    expose(units, "ann")
    measure(units, "ann", at=at)
    tick(units)

    assert outcomes(units) == [counts]


def test_units_whose_window_is_open_are_left_out(units):
    expose(units, "ann", at=1_000)
    expose(units, "bob", at=1_001)
    tick(units, 61_000)

    assert (len(outcomes(units)), units.open()) == (1, 1)


def test_time_goes_no_further_than_kafkas_own(units):
    expose(units, "ann")
    units.expose(json.dumps({"experiment_id": TICK, "variation_id": "t", "user": "t", "timestamp": LATER}).encode(), 60)

    assert units.open() == 1


@pytest.mark.parametrize("turned", [False, True])
def test_the_first_exposure_counts_with_its_attributes_in_whatever_order_they_come(units, turned):
    exposures = [{"at": 1_000, "attributes": {"k": 1}}, {"at": 5_000, "variation": "a", "attributes": {"k": 2}}]
    for one in exposures[::-1] if turned else exposures:
        expose(units, "ann", **one)
    tick(units)
    sample = units.sample("b")

    assert (sample.attributes, sample.treated.tolist(), units.several) == ([{"k": 1}], [True], 1)


def test_other_experiments_and_other_metrics_do_not_count(units):
    expose(units, "ann")
    expose(units, "bob", experiment="y")
    measure(units, "ann", metric="look")
    tick(units)

    assert outcomes(units) == [0.0]


def test_a_variation_is_beside_the_control_alone(units):
    for user, arm in (("ann", "a"), ("bob", "b"), ("cyd", "c")):
        expose(units, user, arm)
    tick(units)

    assert len(units.sample("b").outcome) == len(units.sample("c").outcome) == 2


def test_a_duplicate_of_a_record_changes_nothing(units):
    expose(units, "ann")
    measure(units, "ann", id="r1")
    measure(units, "ann", id="r1")
    measure(units, "ann", id="r2")
    measure(units, "ann")
    measure(units, "ann")
    tick(units)

    assert outcomes(units) == [4.0]


def test_ids_are_forgotten_oldest_first(units, monkeypatch):
    monkeypatch.setattr(uplift_units, "MOST_IDS", 2)
    expose(units, "ann")
    for name in ("r1", "r2", "r3", "r3", "r1"):
        measure(units, "ann", id=name)
    tick(units)

    assert outcomes(units) == [4.0]


def test_a_proportion_is_whether_there_was_a_record():
    units = Units(definition(kind="proportion"), 10)
    for user in ("ann", "bob"):
        expose(units, user)
    for _ in range(2):
        measure(units, "ann", None)
    tick(units)

    assert outcomes(units) == [0.0, 1.0]


def test_a_cap_caps_the_sum():
    units = Units(definition(cap=2.5), 10)
    expose(units, "ann")
    measure(units, "ann", 2.0)
    measure(units, "ann", 2.0)
    tick(units)

    assert outcomes(units) == [2.5]


def test_on_events_a_dotted_path_says_which_number_and_without_one_each_record_counts_1():
    for value, expected in (("fields.price", 3.5), (None, 1.0)):
        units = Units(definition(topic="events", value=value), 10)
        expose(units, "ann")
        record = {"id": "e", "user": "ann", "timestamp": 2_000, "type": "buy", "fields": {"price": 3.5}}
        units.measure(json.dumps(record).encode(), LATER)
        tick(units)
        assert outcomes(units) == [expected]


def test_where_asks_for_one_of_its_values_and_true_is_not_1():
    units = Units(definition(where={"fields.shop": ("de", 1.0)}), 10)
    expose(units, "ann")
    for shop in ("de", 1, "at", True, None):
        measure(units, "ann", fields={"shop": shop})
    measure(units, "ann")
    tick(units)

    assert outcomes(units) == [2.0]


@pytest.mark.parametrize("value", [None, "3", True, 1e80])
def test_a_value_that_is_no_number_is_counted_and_left_out(units, value):
    expose(units, "ann")
    measure(units, "ann", value)
    tick(units)

    assert (outcomes(units), units.refused) == ([0.0], {"values that are no number": 1})


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"user": "u"}', b"\xff"])
def test_what_cannot_be_read_is_counted(units, broken):
    units.expose(broken, LATER)
    units.measure(broken, LATER)

    assert units.refused == {"exposures that cannot be read": 1, "metrics that cannot be read": 1}


@pytest.mark.parametrize("rest", [b"1e400", b"[" * 5_000 + b"]" * 5_000])
def test_what_cannot_be_read_where_the_path_leads_is_counted(rest):
    units = Units(definition(where={"fields.shop": ("de",)}), 10)
    expose(units, "ann")
    units.measure(b'{"user":"ann","timestamp":2000,"metric":"buy","id":null,"fields":{"shop":%b}}' % rest, LATER)

    assert units.refused == {"metrics that cannot be read": 1}


def test_a_time_that_is_none_is_counted(units):
    expose(units, "ann", at=-5)

    assert (len(units), units.refused) == (0, {"exposures that cannot be read": 1})


def test_times_may_be_written_as_rfc_3339(units):
    expose(units, "ann", at="1970-01-01T00:00:01Z")
    measure(units, "ann", at="1970-01-01T01:00:02+01:00")
    tick(units)

    assert outcomes(units) == [1.0]


def test_exposures_of_no_variation_are_counted(units):
    expose(units, "ann", "z")
    expose(units, "bob", phase=7)

    assert (len(units), units.refused) == (0, {"exposures of no variation or phase of the definition": 2})


@pytest.mark.parametrize("attributes", [None, [1], {"k": "v" * MOST_BYTES}])
def test_attributes_that_are_too_long_or_no_object_are_not_known(units, attributes):
    expose(units, "ann", attributes=attributes)
    tick(units)

    assert units.sample("b").attributes == [{}]


def test_no_more_units_are_kept_than_said_and_which_ones_does_not_depend_on_their_order():
    kept = []
    for users in (range(2_000), range(1_999, -1, -1)):
        units = Units(definition(), 300)
        for user in users:
            expose(units, f"u{user}")
            assert len(units) <= 300
        tick(units)
        kept.append(units.sample("b").code.tolist())

    assert kept[0] == kept[1]
    # A binomial share: 2,000 / 8 = 250, deviation 15.
    assert (units.sampled, len(kept[0])) == (1 / 8, pytest.approx(250, abs=60))


def test_units_of_phases_that_assign_in_other_shares_are_left_out():
    phases = tuple(
        Phase(start=start, coverage=1.0, weights=weights)
        for start, weights in ((0, (0.1, 0.8, 0.1)), (100_000, (0.4, 0.4, 0.2)), (200_000, (0.25, 0.25, 0.5)))
    )
    units = Units(definition(phases), 100)
    for user, at in (("ann", 5), ("bob", 100_005), ("cyd", 200_005)):
        expose(units, user, at=at)
    tick(units)
    sample = units.sample("b")

    # b against a is 1 to 1 in the last two phases, and 8 to 1 in the first.
    assert (len(sample.outcome), sample.left_out) == (2, 1)
