"""Definitions as the observe stage applies them: newest counts, what makes no sense is rejected, changes are told."""

import msgspec
import pytest
from observe_streams import BUYERS, NOW, REVENUE, definition, definitions, guarded, number, observe, side, taken

from operators.batches import Change
from schemas.definition import Phase

TOPIC = "experiments.definitions"
LATER = Phase(start=NOW + 1_000, coverage=1.0, weights=(0.1, 0.9))


def told(stage, records):
    stage.take_side(records)
    return records


def change(offset, time_ms, version, what):
    return Change(offset, time_ms, "experiment", {"experiment": "button", "version": version, "changed": what})


def test_a_new_definition_is_handed_on_and_told():
    found = told(observe(), definitions(definition()))

    assert found.definitions == {"button": definition()}
    assert found.changes == [change(7, NOW - 1_000, 1, "new")]


def test_of_two_versions_the_later_is_handed_on_and_both_are_told():
    second = definition(version=2, timestamp=NOW, phases=(*definition().phases, LATER), description="more")
    found = told(observe(), definitions(definition(), second))

    assert found.definitions == {"button": second}
    assert found.changes[1] == change(8, NOW, 2, "phases,description")


def test_the_same_once_more_is_no_change():
    found = told(observe(definition()), definitions(definition()))

    assert (found.definitions, found.changes) == ({}, [])


def test_a_tombstone_takes_a_definition_back():
    stage = observe(definition())
    found = taken(stage, TOPIC, None, keys=[b"button"])

    assert found.definitions == {"button": None}
    assert found.changes == [change(7, NOW, None, "taken back")]
    assert len(taken(stage, "metrics", number()).observed.value) == 0


def test_a_tombstone_for_what_is_not_there_is_no_change():
    found = taken(observe(), TOPIC, None, keys=[b"button"])

    assert (found.definitions, found.changes, found.rejected) == ({}, [], [])


NO_KEY = "expected the experiment's id as key, got no key"
OTHER_KEY = "expected the experiment's id as key, got another key"
FORM = "expected a definition, version 1, got another record"
SENSE = "expected a definition as `tidegate experiments apply` writes it, got another"
UNSOUND = {
    "an arm twice": definition(variations=("control", "control")),
    "a weight too few": definition(variations=("control", "green", "blue")),
    "weights of another sum": definition(phases=(Phase(start=0, coverage=1.0, weights=(0.5, 0.4)),)),
    "phases in another order": definition(phases=(LATER, *definition().phases)),
    "more than a part can hold": definition(
        phases=tuple(Phase(start=at, coverage=1.0, weights=(0.5, 0.5)) for at in range(126))
    ),
    "a window of more than a hundred years": definition(attribution_window_s=3_153_600_001),
    "a pre-period that no clock can hold": definition(pre_period_s=2**62),
    "a phase after all times": definition(phases=(Phase(start=2**63, coverage=1.0, weights=(0.5, 0.5)),)),
    "an end after all times": definition(end=2**63),
    "a metric twice": definition(guardrails=(guarded(REVENUE),)),
    "the name of the risk metric": definition(secondary=(msgspec.structs.replace(BUYERS, name="tidegate.risk"),)),
}
CASES = {
    "empty bytes": (b"", b"button", "empty_value", "expected a JSON object, got an empty value"),
    "text": (b"SECRET", b"button", "not_json", "expected JSON, got something else"),
    "another record": (b'{"id":"SECRET"}', b"SECRET", "wrong_type", FORM),
    "another key": (
        msgspec.json.encode(definition()),
        b"SECRET",
        "out_of_range",
        "expected the experiment's id as key, got another key",
    ),
    "too deep": (b"[" * 300, b"button", "too_deep", "expected at most 256 levels of nesting, got more"),
    "no key": (
        msgspec.json.encode(definition()),
        None,
        "missing_key",
        "expected the experiment's id as key, got no key",
    ),
    "too large": (b'"' + b"x" * 20_001 + b'"', b"button", "too_large", "expected at most max_message_bytes, got more"),
    **{name: (msgspec.json.encode(each), b"button", "out_of_range", SENSE) for name, each in UNSOUND.items()},
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_definition_has_its_reason_and_leaves_the_one_before(name):
    value, key, reason, detail = CASES[name]
    stage = observe(definition())
    found = told(stage, side(TOPIC, [value], [key]))

    assert [(each.offset, each.timestamp_ms, each.reason, each.detail) for each in found.rejected] == [
        (7, NOW, reason, detail)
    ]
    assert (found.definitions, found.changes) == ({}, [])
    assert len(taken(stage, "metrics", number()).observed.value) == 1


def test_records_before_their_definition_are_not_read():
    stage = observe()
    before = taken(stage, "metrics", number())
    stage.take_side(definitions(definition()))
    after = taken(stage, "metrics", number())

    assert (len(before.observed.value), len(after.observed.value)) == (0, 1)


def test_the_number_of_definitions_is_measured():
    measured = {each.metric: each.value for each in observe(definition(), definition("other")).measurements()}

    assert measured["tidegate_experiments"] == 2
