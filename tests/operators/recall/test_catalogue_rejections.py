"""What of `ranking.catalogue` cannot be used becomes a dead letter, and nothing else is lost."""

import json

import pytest
from catalogue_streams import START, keys, record, side, window, wire
from hypothesis import given
from hypothesis import strategies as st

from operators.recall.catalogue import Catalogue
from operators.recall.catalogue_config import CatalogueConfig
from schemas.event import LAST_TIME_MS

FINE = json.loads(wire(record("a", fields={"price": 1.0}, since=START)))


def changed(**told):
    return json.dumps({**FINE, **told}).encode()


def without(name):
    return json.dumps({key: value for key, value in FINE.items() if key != name}).encode()


def of_window(**told):
    return changed(windows=[{**FINE["windows"][0], **told}])


BAD = {
    "no value": ("empty_value", b"a", b""),
    "no key": ("missing_key", None, wire(record("a"))),
    "an empty key": ("missing_key", b"", wire(record("a"))),
    "an item taken back, no key": ("missing_key", None, None),
    "a key that is no text": ("out_of_range", b"\xff", wire(record("a"))),
    "another key": ("out_of_range", b"b", wire(record("a"))),
    "no JSON": ("not_json", b"a", b"{"),
    "two values": ("not_json", b"a", wire(record("a")) * 2),
    "half a surrogate pair": ("not_json", b"a", wire(record("a")).replace(b'"a"', b'"\\ud800"')),
    "not UTF-8": ("invalid_utf8", b"a", b'"\xff"'),
    "too deep": ("too_deep", b"a", b"[" * 300),
    "no object": ("wrong_type", b"a", b"[1]"),
    "another version": ("wrong_type", b"a", changed(schema=2)),
    "no version": ("wrong_type", b"a", without("schema")),
    "no item": ("wrong_type", b"a", without("item")),
    "no time": ("wrong_type", b"a", without("timestamp")),
    "no windows": ("wrong_type", b"a", without("windows")),
    "a time before 1970": ("wrong_type", b"a", changed(timestamp=-1)),
    "a time after 9999": ("wrong_type", b"a", changed(timestamp=LAST_TIME_MS + 1)),
    "a since after 9999": ("wrong_type", b"a", changed(since=LAST_TIME_MS + 1)),
    "a huge count": ("wrong_type", b"a", of_window(impressions=10**400)),
    "a count below 0": ("wrong_type", b"a", of_window(impressions=-1)),
    "a huge number": ("wrong_type", b"a", of_window(weighted_clicks=1e31)),
    "an infinite number": ("wrong_type", b"a", of_window(weighted_clicks=1.5).replace(b"1.5", b"1e999")),
    "a share above 1": ("wrong_type", b"a", of_window(risky_share=1.1)),
    "a text as number": ("wrong_type", b"a", of_window(weighted_click_rate="0.1")),
    "windows the wrong way round": (
        "out_of_range",
        b"a",
        wire(record("a", windows=(window(86_400), window(3_600)))),
    ),
    "one window twice": ("out_of_range", b"a", wire(record("a", windows=(window(3_600), window(3_600))))),
    "a field without a name": ("wrong_type", b"a", changed(fields=[{"value": 1}])),
    "an object as a value": ("wrong_type", b"a", changed(fields=[{"name": "x", "value": {}}])),
}


@pytest.mark.parametrize("name", BAD)
def test_a_record_that_cannot_be_used_is_rejected_and_its_neighbours_are_taken(name):
    reason, key, value = BAD[name]
    catalogue = Catalogue(CatalogueConfig())
    given_ = side(record("x"), (key, value), record("y"), first=10)
    catalogue.take(given_)

    assert [(each.offset, each.reason, each.timestamp_ms) for each in given_.rejected] == [(11, reason, START)]
    assert (catalogue.find(keys("x", "y")) >= 0).all()
    assert len(catalogue) == 2


def test_a_rejected_record_changes_nothing_of_its_item():
    catalogue = Catalogue(CatalogueConfig())
    catalogue.take(side(record("a", rate=0.25), (b"a", changed(timestamp=-1))))

    assert catalogue.popularity[0] == 0.25


def test_a_rejection_holds_nothing_of_the_record():
    given_ = side((b"a", changed(item="secret", timestamp="secret")), (b"secret", wire(record("secrets"))))
    Catalogue(CatalogueConfig()).take(given_)

    assert len(given_.rejected) == 2
    assert "secret" not in repr(given_.rejected)


def test_a_field_that_is_not_known_is_no_fault():
    given_ = side((b"a", changed(colour="red")))
    catalogue = Catalogue(CatalogueConfig())
    catalogue.take(given_)

    assert given_.rejected == []
    assert len(catalogue) == 1


def test_the_largest_numbers_that_are_read_are_kept():
    catalogue = Catalogue(CatalogueConfig(number_fields=("price",)))
    catalogue.take(side((b"a", changed(timestamp=LAST_TIME_MS, fields=[{"name": "price", "value": 1e30}]))))
    catalogue.take(side((b"b", json.dumps({**json.loads(of_window(weighted_clicks=1e30)), "item": "b"}).encode())))

    assert (catalogue.as_of_ms[0], catalogue.numbers[0, 0]) == (LAST_TIME_MS, 1e30)
    assert len(catalogue) == 2


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FINE, "x"]), inner, max_size=3),
    max_leaves=6,
)


@given(
    name=st.sampled_from([*FINE, "audience", "weighted_audience"]),
    value=_JSON,
    key=st.sampled_from([b"a", None, b"\xff", b"b"]),
)
def test_no_record_ever_stops_it(name, value, key):
    catalogue = Catalogue(
        CatalogueConfig(number_fields=("price",), category_fields=("brand",), offer_field="o", risk_field="r")
    )
    given_ = side((key, json.dumps({**FINE, name: value}).encode()))
    catalogue.take(given_)

    assert len(catalogue) + len(given_.rejected) == 1


@given(st.binary(max_size=40))
def test_no_bytes_ever_stop_it(value):
    catalogue, given_ = Catalogue(CatalogueConfig()), side((b"a", value))
    catalogue.take(given_)

    assert len(catalogue) + len(given_.rejected) == 1
