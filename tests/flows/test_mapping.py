"""Mapping files: from somebody else's fields to ours."""

import json
import tomllib
from pathlib import Path

import pytest

from flows.mapping import MappingError, Unmapped, from_columns, load_mapping, milliseconds

REST = 'timestamp = "t"\nuser = "u"\ntype = { constant = "edit" }\n'
RECORD = {"t": 5, "u": "ann"}


def mapping(text, tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)


def mapped(tmp_path, rules, record=RECORD, line=7):
    return mapping(f'[event]\nid = "id"\n{REST}{rules}', tmp_path)({"id": "e1", **record}, line)


def test_fields_constants_and_templates_make_an_event(tmp_path):
    event = mapping(
        '[event]\nid = { template = "{site}-{line}" }\ntimestamp = "when.start"\nuser = { field = "who.id" }\n'
        'type = { constant = "edit" }\n[event.fields]\nnote = "n"\n',
        tmp_path,
    )({"site": "wiki", "when": {"start": "1970-01-01T00:00:01.5Z"}, "who": {"id": 42}, "n": [1]}, 3)

    assert event == {"id": "wiki-3", "timestamp": 1500, "user": "42", "type": "edit", "fields": {"note": [1]}}


def test_an_amount_can_be_made_absolute(tmp_path):
    assert mapped(tmp_path, 'amount = { field = "d", convert = "absolute" }', {**RECORD, "d": -36})["amount"] == 36


def test_epoch_seconds_can_become_milliseconds(tmp_path):
    # 1442018818.771 s is 2015-09-12T00:46:58.771Z
    event = mapping('[event]\nid="i"\nuser="u"\ntype="u"\ntimestamp = { field = "t", convert = "seconds" }', tmp_path)

    assert event({"i": "1", "u": "a", "t": 1442018818.771}, 1)["timestamp"] == 1442018818771


@pytest.mark.parametrize("value", [None, ""])
def test_what_is_null_or_empty_is_left_out_or_defaulted(tmp_path, value):
    event = mapped(tmp_path, 'ip = "x"\ncountry = { field = "x", default = "ZZ" }', {**RECORD, "x": value})

    assert "ip" not in event
    assert event["country"] == "ZZ"


def test_a_template_with_a_hole_is_left_out(tmp_path):
    assert "session" not in mapped(tmp_path, 'session = { template = "{u}-{missing}" }')


def test_a_column_with_a_dot_in_its_name_is_found(tmp_path):
    assert mapped(tmp_path, 'ip = "net.ip"', {**RECORD, "net.ip": "10.0.0.1"})["ip"] == "10.0.0.1"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1442018818771, 1442018818771),
        ("1442018818771", 1442018818771),
        (5.0, 5),
        ("2015-09-12T00:46:58.771Z", 1442018818771),
        ("2015-09-12T02:46:58.771+02:00", 1442018818771),
        ("2015-09-12T00:46:58.7719Z", 1442018818771),
    ],
)
def test_times_become_epoch_milliseconds(value, expected):
    assert milliseconds(value) == expected


@pytest.mark.parametrize("value", [True, 1.5, "yesterday", "2015-09-12", "2015-09-12T00:46:58", None, {}])
def test_what_is_no_time_is_refused_without_being_shown(value):
    with pytest.raises(Unmapped, match=r"^expected epoch milliseconds or an RFC 3339 time with its zone - at \$"):
        milliseconds(value)


@pytest.mark.parametrize("value", ["secret", "nan", "1e400", True, []])
def test_what_is_no_number_is_refused_without_being_shown(tmp_path, value):
    with pytest.raises(Unmapped, match=r"^expected a finite number - at \$\.amount$"):
        mapped(tmp_path, 'amount = { field = "d", convert = "number" }', {**RECORD, "d": value})


def test_all_mistakes_of_a_mapping_are_listed_at_once(tmp_path):
    with pytest.raises(MappingError) as caught:
        mapping(
            '[event]\nuser = 5\namuont = "d"\nip = { field = "a", constant = "b" }\ndevice = { feild = "a" }\n'
            'type = { field = "a", convert = "upper" }\nid = { template = "{a" }\n[other]\n',
            tmp_path,
        )

    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "other",
        "event.user",
        "event.amuont",
        "event.ip",
        "event.device",
        "event.type",
        "event.id",
        "event.timestamp",
    ]


def test_a_row_of_named_columns_becomes_an_event():
    row = {
        "id": "e",
        "timestamp": "5",
        "user": "ann",
        "type": "pay",
        "amount": "1.5",
        "ip": "",
        "fields.x": "y",
        "z": "1",
    }

    assert from_columns(row) == {
        "id": "e",
        "timestamp": 5,
        "user": "ann",
        "type": "pay",
        "amount": 1.5,
        "fields": {"x": "y"},
    }


def test_the_sample_for_wikiticker_maps_an_edit(repository):
    edit = json.loads(  # one line of the data, written out by hand; delta made negative
        '{"time":"2015-09-12T00:47:05.474Z","channel":"#en.wikipedia","countryIsoCode":"AU","isAnonymous":true,'
        '"isMinor":false,"isNew":false,"isRobot":false,"isUnpatrolled":false,"namespace":"Main",'
        '"page":"Peremptory norm","user":"60.225.66.142","delta":-12,"added":0,"deleted":12}'
    )

    assert load_mapping(repository / "examples" / "wikiticker.mapping.toml")(edit, 3) == {
        "id": "wikiticker-3",
        "timestamp": 1442018825474,  # date -u -d 2015-09-12T00:47:05Z +%s gives 1442018825
        "user": "60.225.66.142",
        "type": "Main",
        "amount": 12,
        "device": "#en.wikipedia",
        "counterparty": "Peremptory norm",
        "country": "AU",
        "fields": {"is_anonymous": True, "is_minor": False, "is_new": False, "is_unpatrolled": False},
    }


def test_the_label_of_wikiticker_is_not_mapped(repository):
    mapping = tomllib.loads((repository / "examples" / "wikiticker.mapping.toml").read_text(encoding="utf-8"))

    assert "isRobot" not in str(mapping["event"])
    assert mapping["label"] == {"field": "isRobot", "risky": [True]}


def test_a_mapping_that_is_missing_is_a_mistake():
    with pytest.raises(MappingError, match=r"missing\.toml"):
        load_mapping(Path("missing.toml"))


@pytest.mark.parametrize("value", [1e308, 10**400, "1e308"])
def test_a_number_of_seconds_that_no_time_has_is_refused(tmp_path, value):
    path = tmp_path / "mapping.toml"
    path.write_text('[event]\nid="i"\nuser="u"\ntype="t"\ntimestamp={field="when",convert="seconds"}\n')
    with pytest.raises(Unmapped, match="expected a finite number"):
        load_mapping(path)({"id": "i", "user": "u", "type": "t", "when": value}, 1)


@pytest.mark.parametrize("spec", ["[]", "{}", "1", "[['number']]"])
def test_a_convert_that_is_no_text_is_a_mistake(tmp_path, spec):
    path = tmp_path / "mapping.toml"
    path.write_text(f'[event]\nid="i"\nuser="u"\ntype="t"\ntimestamp={{field="when",convert={spec}}}\n')
    with pytest.raises(MappingError, match="convert: expected one of"):
        load_mapping(path)


@pytest.mark.parametrize("text", ["a = " + "[" * 5_000, "a = 0x" + "f" * 5_000, "a = " + "9" * 5_000])
def test_toml_that_its_parser_chokes_on_is_a_mistake(tmp_path, text):
    path = tmp_path / "mapping.toml"
    path.write_text(text)
    with pytest.raises(MappingError, match=r"too deeply|beyond 64 bits"):
        load_mapping(path)
