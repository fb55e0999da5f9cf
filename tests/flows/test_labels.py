"""Labels: in the events' own file, or in one beside it."""

import json

import pytest

from flows.event_files import EventFile, Refused
from flows.labels import LEGIT, LabelFileError, LabelRule, Truth, load_labels
from flows.mapping import MappingError, load_mapping

EVENT = {"id": "1", "timestamp": 1_000, "user": "ann", "type": "t"}
MAPPING = '[event]\nid = "id"\ntimestamp = "timestamp"\nuser = "user"\ntype = "type"\n'


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("value", "truth"),
    [
        (True, Truth(risky=True)),
        ("True", Truth(risky=True)),
        (1, Truth(risky=True)),
        (1.0, Truth(risky=True)),
        ("fraud", Truth(risky=True)),
        (False, LEGIT),
        (0, LEGIT),
        ("no", LEGIT),
        (None, None),
        ("", None),
    ],
)
def test_a_value_is_risky_legitimate_or_says_nothing(value, truth):
    assert LabelRule("x")({"x": value}) == truth


def test_a_label_can_lie_deeper_and_have_a_kind():
    rule = LabelRule("review.outcome", ("chargeback",), "review.why")

    assert rule({"review": {"outcome": "chargeback", "why": "drip"}}) == Truth(risky=True, kind="drip")
    assert rule({"review": 3}) is None


@pytest.mark.parametrize("mapping", [None, MAPPING])
def test_each_line_comes_with_its_truth(tmp_path, mapping):
    file = write(tmp_path / "e.json", {**EVENT, "bad": True}, {**EVENT, "bad": False}, EVENT, "{")
    how = load_mapping(write(tmp_path / "m.toml", mapping)) if mapping else None
    with EventFile(file, how, label=LabelRule("bad")) as events:
        found = list(events)

    assert [item.truth for item in found[:3]] == [Truth(risky=True), LEGIT, None]
    assert isinstance(found[3], Refused)


def test_a_column_of_a_csv_file_is_a_label_too(tmp_path):
    file = write(tmp_path / "e.csv", "id,timestamp,user,type,bad", "1,1000,ann,t,true", "2,1000,bob,t,false")
    with EventFile(file, label=LabelRule("bad")) as events:
        assert [item.truth for item in events] == [Truth(risky=True), LEGIT]


def test_the_label_never_reaches_the_event_of_a_mapping(tmp_path):
    mapping = load_mapping(write(tmp_path / "m.toml", MAPPING, "[label]", 'field = "bad"'))
    with EventFile(write(tmp_path / "e.json", {**EVENT, "bad": True}), mapping, label=mapping.label) as events:
        [item] = events

    assert b"bad" not in item.value


def test_a_mapping_names_its_label(tmp_path):
    text = MAPPING + '[label]\nfield = "isRobot"\nrisky = [true, 2]\nkind = "why"\n'

    assert load_mapping(write(tmp_path / "m.toml", text)).label == LabelRule("isRobot", ("true", "2"), "why")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "label: field: expected the path of a field"),
        ('field = "a"\nrisky = true', "label: risky: expected a list of values"),
        ('field = "a"\nrisk = [1]', "label: no such key: risk, expected field, risky and kind"),
        ('field = "a"\nkind = 3', "label: kind: expected the path of a field"),
    ],
)
def test_mistakes_in_a_label_are_listed(tmp_path, table, message):
    with pytest.raises(MappingError, match=message):
        load_mapping(write(tmp_path / "m.toml", MAPPING + f"[label]\n{table}\n"))


def test_a_file_of_labels_is_read_by_user_and_id(tmp_path):
    first = {"id": "1", "user": "ann", "label": "fraud", "timestamp": 5, "kind": "drip"}
    found = load_labels(write(tmp_path / "l.json", first, {"id": "1", "user": "bob", "label": "legit"}))

    assert found == {("ann", "1"): Truth(risky=True, kind="drip"), ("bob", "1"): LEGIT}


@pytest.mark.parametrize("line", ['{"id":"1","user":"u","label":"SECRET"}', '{"id":"1"}', "SECRET", '{"id":"1'])
def test_what_is_no_label_is_said_without_showing_it(tmp_path, line):
    with pytest.raises(LabelFileError, match=r"l\.json, line 1: ") as error:
        load_labels(write(tmp_path / "l.json", line))

    assert "SECRET" not in str(error.value)


def test_no_labels_are_an_error(tmp_path):
    with pytest.raises(LabelFileError, match="expected labels, got none"):
        load_labels(write(tmp_path / "l.json", ""))
