"""Rows of the observe stage: one for each distinct measure of a record, under the pseudonym of its user."""

import math

import msgspec
import pytest
from observe_streams import (
    BUYERS,
    KEY,
    NOW,
    PSEUDONYMS,
    REVENUE,
    decision,
    definition,
    event,
    exposed,
    exposures,
    guarded,
    number,
    observe,
    taken,
)

from operators.accumulate.observed import EXPOSED, MEASURED, TICKED, TIERED, experiment_key, key_of, measure_key
from operators.decode import Decode, DecodeConfig, Pseudonymizer
from operators.side import TakesSides
from schemas.definition import Metric, Phase
from schemas.part import STRATA

ADA = PSEUDONYMS.user("ada")[1]


def metric(**given):
    return Metric(**{"name": "m", "kind": "mean", "event": "purchase"} | given)


def values(stage, topic, *records):
    found = taken(stage, topic, *records)
    assert found.rejected == []
    return found.observed.value.tolist()


def test_observe_takes_sides():
    assert isinstance(observe(), TakesSides)


def test_an_exposure_is_a_row_of_its_arm():
    found = observe(definition()).process(exposures(exposed(phase=0, pre_value=1.5))).observed

    assert (found.kind.tolist(), found.unit.tolist(), found.time_ms.tolist()) == ([EXPOSED], [ADA], [NOW])
    assert (found.what.tolist(), found.arm.tolist()) == ([experiment_key("button", ("control", "green"))], [1])
    assert (found.phase.tolist(), found.pre.tolist(), found.id_hash.tolist()) == ([0], [1.5], [0])


def test_what_an_exposure_does_not_tell_is_not_known():
    found = observe(definition()).process(exposures(exposed())).observed

    assert found.phase.tolist() == [-1]
    assert math.isnan(found.pre[0])


@pytest.mark.parametrize("given", [{"experiment_id": "other"}, {"variation_id": "blue"}])
def test_an_exposure_to_what_is_not_defined_has_no_arm(given):
    found = observe(definition()).process(exposures(exposed(**given))).observed

    assert found.arm.tolist() == [-1]
    known = experiment_key("button", ("control", "green"))
    assert found.what.tolist() == [key_of("experiment", "other") if "experiment_id" in given else known]


def test_a_phase_beyond_all_numbers_of_the_rows_is_one_that_there_is_not():
    assert observe(definition()).process(exposures(exposed(phase=10**30))).observed.phase.tolist() == [2**31 - 1]


def test_a_tick_is_a_row_of_no_unit():
    tick = exposed(experiment_id="tidegate.time", variation_id="tick", user="tidegate.time")
    found = observe(definition()).process(exposures(exposed(), tick)).observed

    assert found.kind.tolist() == [EXPOSED, TICKED]
    assert found.unit.tolist() == [ADA, 0]
    assert found.time_ms.tolist() == [NOW, NOW]


def test_a_number_is_a_row_of_its_measure():
    found = taken(observe(definition()), "metrics", number(pre_value=1.5)).observed

    assert (found.kind.tolist(), found.unit.tolist(), found.time_ms.tolist()) == ([MEASURED], [ADA], [NOW])
    assert found.what.tolist() == [measure_key("metrics", "revenue", None, {})]
    assert (found.value.tolist(), found.pre.tolist(), found.phase.tolist()) == ([2.5], [1.5], [-1])


def test_a_number_that_no_experiment_asks_for_makes_no_row():
    assert values(observe(definition()), "metrics", number(metric="visits")) == []


def test_a_record_without_a_value_has_none():
    assert math.isnan(values(observe(definition()), "metrics", {**number(), "value": None})[0])


def test_many_experiments_that_read_the_same_cost_one_row():
    again = guarded(msgspec.structs.replace(REVENUE, name="again", better="down"))
    same = [definition(f"button-{k}", secondary=(BUYERS,), guardrails=(again,)) for k in range(50)]

    assert values(observe(*same), "metrics", number()) == [2.5]


def test_a_ratio_reads_what_it_divides_by():
    visits = metric(kind="ratio", value="amount", denominator_event="visit")
    stage = observe(definition(primary=visits))
    found = taken(stage, "events", event(amount=4), event(id="e-2", type="visit", amount=9)).observed

    assert found.value.tolist() == [4.0, 1.0]
    assert found.what.tolist() == [
        measure_key("events", "purchase", "amount", {}),
        measure_key("events", "visit", None, {}),
    ]


def test_the_rows_of_one_record_come_in_the_order_of_their_keys_whatever_the_order_of_definitions():
    one = definition("one", metric(value="amount"))
    other = definition("other", metric(value="fields.items"))
    found = [
        taken(observe(*those), "events", event(amount=4)).observed.what.tolist()
        for those in ((one, other), (other, one))
    ]

    assert found[0] == found[1] == sorted(found[0])


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        ("amount", {"amount": 4}, 4.0),
        ("amount", {}, math.nan),
        ("amount", {"amount": -0.0}, 0.0),
        ("fields.items", {"fields": {"items": 3}}, 3.0),
        ("fields.basket.items", {"fields": {"basket": {"items": 2.5}}}, 2.5),
        ("fields.basket.items", {"fields": {"basket": [1]}}, math.nan),
        ("fields.items", {"fields": {"items": "3"}}, math.nan),
        ("fields.items", {"fields": {"items": True}}, math.nan),
        ("fields.items", {"fields": {"items": None}}, math.nan),
        ("fields.items", {}, math.nan),
        ("fields", {"fields": {"items": 3}}, math.nan),
        ("basket.items", {"basket": {"items": 7}}, 7.0),
        ("score", {"score": 7}, 7.0),
        ("type", {}, math.nan),
        ("type.length", {}, math.nan),
        (None, {}, 1.0),
    ],
)
def test_a_path_leads_to_a_number_or_to_none(path, fields, expected):
    [found] = values(observe(definition(primary=metric(value=path))), "events", event(**fields))

    assert repr(found) == repr(expected)


@pytest.mark.parametrize(("path", "expected"), [("value", 2.5), ("pre_value", 9.0), ("fields.tax", 0.5), (None, 2.5)])
def test_a_path_on_metrics_leads_to_a_number(path, expected):
    stage = observe(definition(primary=metric(topic="metrics", event="revenue", value=path)))

    assert values(stage, "metrics", number(pre_value=9, fields={"tax": 0.5})) == [expected]


def test_a_number_of_before_is_that_of_the_records_own_value_alone():
    tax = metric(topic="metrics", event="revenue", value="fields.tax")
    found = taken(observe(definition(primary=tax)), "metrics", number(pre_value=9, fields={"tax": 0.5})).observed

    assert math.isnan(found.pre[0])


@pytest.mark.parametrize(
    ("where", "fields", "matches"),
    [
        ({"country": ("DE", "AT")}, {"country": "AT"}, True),
        ({"country": ("DE", "AT")}, {"country": "FR"}, False),
        ({"country": ("DE",)}, {}, False),
        ({"fields.n": (1.0,)}, {"fields": {"n": 1}}, True),
        ({"fields.n": (1.0,)}, {"fields": {"n": "1"}}, False),
        ({"fields.n": (1.0,)}, {"fields": {"n": True}}, False),
        ({"fields.gift": (True,)}, {"fields": {"gift": True}}, True),
        ({"fields.gift": (True,)}, {"fields": {"gift": 1}}, False),
        ({"fields.gift": ("",)}, {"fields": {"gift": None}}, False),
        ({"gift": (False,)}, {"gift": False}, True),
        ({"gift": (True,), "country": ("DE",)}, {"gift": True, "country": "FR"}, False),
    ],
)
def test_a_measure_takes_only_records_with_the_values_asked_for(where, fields, matches):
    stage = observe(definition(primary=metric(where=where)))

    assert values(stage, "events", event(**fields)) == [1.0] * matches


def test_a_decision_is_a_row_of_its_tier_under_the_user_of_the_event():
    found = taken(observe(), "risk.tiers", decision()).observed

    assert (found.kind.tolist(), found.unit.tolist(), found.what.tolist()) == ([TIERED], [ADA], [0])
    assert found.arm.tolist() == [STRATA.index("high")]


def test_a_user_is_one_unit_on_all_topics():
    stage = observe(definition(secondary=(BUYERS,)))
    units = {
        int(stage.process(exposures(exposed())).observed.unit[0]),
        *(int(taken(stage, topic, record).observed.unit[0])
          for topic, record in (("metrics", number()), ("events", event()), ("risk.tiers", decision()))),
    }  # fmt: skip

    assert units == {ADA}


@pytest.mark.parametrize("topic", ["exposures", "metrics", "events"])
def test_a_pseudonymised_user_passes_as_given(topic):
    stage = observe(definition(secondary=(BUYERS,)), pseudonyms=Pseudonymizer(KEY, pseudonymised_topics=[topic]))
    user = {"user": PSEUDONYMS.pseudonym("user", "ada")}
    if topic == "exposures":
        found = stage.process(exposures(exposed(**user))).observed
    else:
        found = taken(stage, topic, {"metrics": number, "events": event}[topic](**user)).observed

    assert found.unit.tolist() == [ADA]


def test_the_unit_is_the_user_of_the_risk_flow():
    batch = exposures(event(), topic="events")
    decoded = Decode(DecodeConfig(), PSEUDONYMS).process(batch)

    assert decoded.user.tolist() == [ADA]


def test_the_same_id_has_one_hash_for_each_user_and_measure():
    stage = observe(definition(primary=metric()), definition("other", metric(value="amount")))
    records = [event(amount=1), event(amount=1), event(id="e-2", amount=1), event(user="bob", amount=1)]
    found = taken(stage, "events", *records).observed.id_hash.reshape(4, 2)

    assert found[0].tolist() == found[1].tolist()
    assert len(set(found.ravel().tolist())) == 6
    assert 0 not in found


def test_a_number_without_an_id_has_no_hash():
    found = taken(observe(definition()), "metrics", number(), number(id="a"), number()).observed.id_hash

    assert (found == 0).tolist() == [True, False, True]


def test_a_decision_has_another_hash_than_its_event():
    stage = observe(definition(primary=metric()))
    hashes = {
        int(taken(stage, topic, record).observed.id_hash[0])
        for topic, record in (("events", event()), ("risk.tiers", decision()))
    }

    assert len(hashes - {0}) == 2


TWO_PHASES = (
    Phase(start=NOW - 1_000, coverage=0.2, weights=(0.5, 0.5)),  # control [0, 1000), green [5000, 6000)
    Phase(start=NOW, coverage=1.0, weights=(0.5, 0.5)),  # control [0, 5000), green [5000, 10000)
)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"bucket": 5_000}, 0),
        ({"bucket": 4_999}, 1),
        ({"bucket": 6_000}, 0),
        ({"bucket": 6_000, "timestamp": NOW - 1}, 1),
        ({"bucket": 6_000, "phase": 0}, 1),
        ({"bucket": 5_999, "phase": 0}, 0),
        ({"bucket": 6_000, "phase": 2}, 1),
        ({"bucket": 6_000, "timestamp": NOW - 1_001}, 1),
        ({"bucket": 4_999, "experiment_id": "other"}, 0),
        ({"bucket": 4_999, "variation_id": "control"}, 0),
        ({}, 0),
    ],
)
def test_an_exposure_to_another_variation_than_its_buckets_is_counted_and_kept(given, wrong):
    stage = observe(definition(phases=TWO_PHASES))
    found = stage.process(exposures(exposed(**given)))
    measured = {each.metric: each.value for each in stage.measurements()}

    assert measured["tidegate_exposures_misassigned_total"] == wrong
    assert found.observed.kind.tolist() == [EXPOSED]


def test_another_topic_says_nothing():
    found = taken(observe(definition()), "labels", b"{}")

    assert (found.observed, found.definitions, found.rejected) == (None, None, [])
