"""What the catalogue keeps of records, against the records themselves."""

import math

import numpy as np
import pytest
from catalogue_streams import DAY, START, fading, keys, record, side, stream, window
from pydantic import TypeAdapter

from operators.noticed import item_key
from operators.recall.catalogue import Catalogue
from operators.recall.catalogue_config import CatalogueConfig, ItemGroupConfig
from operators.recall.item_fields import category_key
from operators.recall.item_records import SIGNALS, Fading, Record, Window
from operators.signals.values import names_of
from schemas import signals as written
from schemas.signals import Signals

CONFIG = CatalogueConfig(
    number_fields=("price", "stock"), category_fields=("brand", "tags"), risk_field="seller_risk", offer_field="offer"
)


def taken(config, *records):
    catalogue = Catalogue(config)
    rejected = side(*records)
    catalogue.take(rejected)
    assert rejected.rejected == []
    return catalogue


def only(catalogue):
    [row] = catalogue.rows().tolist()
    return row


def told(config, name, fields, **more):
    """Return one column of an item with these fields."""
    catalogue = taken(config, record("a", fields=fields, **more))
    return getattr(catalogue, name)[only(catalogue)]


def signal_of(one, name):
    """Return a signal of a record by its name, as `operators.signals.values` names it."""
    if name.endswith(("_short", "_long")):
        name, _, length = name.rpartition("_")
        if not one.windows:
            return None
        return getattr(sorted(one.windows, key=lambda each: each.window_s)[0 if length == "short" else -1], name)
    if "fading_" in name or name.endswith("trending"):
        return None if one.fading is None else getattr(one.fading, name.replace("fading_", ""))
    own = {"weighted_velocity": "weighted_velocity_per_h", "weighted_entropy": "weighted_audience_entropy_nats"}
    return getattr(one, own.get(name, name))


def newest(records):
    """Return the record that counts of each item, by brute force."""
    held = {}
    for each in records:
        if isinstance(each, str):
            held.pop(each, None)
        else:
            held[each.item] = each
    return held


def full(rng, item="a", windows=(600, 3_600, 86_400)):
    """Return a record with a number of its own in each place."""
    numbers = {kind: sorted(kind.__struct_fields__) for kind in (written.Window, written.Fading, Signals)}
    own = ("schema", "item", "timestamp", "windows", "fading", "offsets", "since", "fields", "window_s", "half_life_s")

    def made(kind):
        return {
            name: int(rng.integers(1, 10**6)) if name in ("impressions", "clicks", "purchases", "audience") else each
            for name, each in zip(numbers[kind], rng.random(len(numbers[kind])).tolist(), strict=True)
            if name not in own
        }

    return Signals(
        item=item,
        timestamp=START,
        windows=tuple(written.Window(window_s=each, **made(written.Window)) for each in windows),
        fading=written.Fading(half_life_s=60.0, **made(written.Fading)),
        **made(Signals),
    )


@pytest.mark.parametrize("windows", [(600, 3_600, 86_400), (3_600,), ()])
def test_each_signal_is_what_the_record_says_under_its_name(windows):
    one = full(np.random.default_rng(1), windows=windows)
    catalogue = taken(CONFIG, one)
    expected = [signal_of(one, name) for name in SIGNALS]
    expected = np.array([math.nan if each is None else each for each in expected]).astype(np.float32)

    assert catalogue.signals[only(catalogue)].tobytes() == expected.tobytes()


def test_all_signals_of_the_tests_differ():
    catalogue = taken(CONFIG, full(np.random.default_rng(1)))

    assert len(set(catalogue.signals[only(catalogue)].tolist())) == len(SIGNALS)


def test_signals_have_the_names_that_the_counting_stages_give_them():
    known = {name.replace("_1h", "_short").replace("_1d", "_long") for name in names_of((3_600, 86_400))}

    assert set(SIGNALS) <= known
    assert len(set(SIGNALS)) == len(SIGNALS)


def test_a_record_without_windows_and_sums_is_an_item_of_which_nothing_is_known():
    catalogue = taken(CONFIG, Signals(item="a", timestamp=START, windows=()))
    row = only(catalogue)

    assert np.isnan(catalogue.signals[row]).all()
    assert (catalogue.popularity[row], catalogue.trending[row], catalogue.since_ms[row]) == (0.0, 0.0, -1)


@pytest.mark.parametrize(
    ("read", "of"), [(Window, written.Window), (Fading, written.Fading), (Record, Signals)], ids=str
)
def test_what_is_read_are_fields_of_the_record(read, of):
    assert set(read.__struct_fields__) <= set(of.__struct_fields__)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_newest_record_of_each_item_counts(seed):
    records = stream(seed, 400)
    catalogue, expected = taken(CONFIG, *records), newest(records)
    ids = sorted(expected)
    rows = catalogue.find(keys(*ids))

    assert [catalogue.ids[row] for row in rows] == ids
    assert catalogue.rows().tolist() == sorted(rows.tolist())
    assert len(catalogue) == len(ids) < 40
    assert catalogue.key[rows].tolist() == [item_key(each) for each in ids]
    assert catalogue.as_of_ms[rows].tolist() == [expected[each].timestamp for each in ids]
    for row, each in zip(rows, ids, strict=True):
        one = expected[each]
        fields = {each.name: each.value for each in one.fields}
        assert catalogue.popularity[row] == np.float32(one.fading.weighted_click_rate or 0.0)
        assert catalogue.trending[row] == one.fading.weighted_trending
        assert catalogue.since_ms[row] == (-1 if one.since is None else one.since)
        assert catalogue.categories[row].tolist() == [category_key(fields.get(name)) for name in ("brand", "tags")]
        assert catalogue.offer[row] == (fields.get("offer") or "")
        np.testing.assert_equal(catalogue.numbers[row], [fields.get("price", math.nan), math.nan])
        np.testing.assert_equal(catalogue.risk[row], fields.get("seller_risk", math.nan))


def test_the_last_record_in_the_topic_counts_whatever_its_time():
    """After a kill a time may be handed out again, or an older one: the order is that of the one who writes."""
    first, older, same = (record("a", START + d, {"price": price}) for d, price in ((0, 1.0), (-1, 2.0), (0, 3.0)))

    assert told(CONFIG, "numbers", {"price": 1.0})[0] == 1.0
    assert taken(CONFIG, first, older).numbers[0, 0] == 2.0
    assert taken(CONFIG, first, same).numbers[0, 0] == 3.0


def test_an_item_that_was_taken_back_is_unknown_until_any_record_comes():
    catalogue = taken(CONFIG, record("a", fields={"price": 1.0, "offer": "x"}), "a", "b")

    assert catalogue.find(keys("a", "b")).tolist() == [-1, -1]
    assert (len(catalogue), catalogue.ids[0], catalogue.offer[0]) == (0, "", "")
    catalogue.take(side(record("a", START - DAY)))
    row = int(catalogue.find(keys("a"))[0])
    assert (catalogue.ids[row], catalogue.as_of_ms[row]) == ("a", START - DAY)
    assert np.isnan(catalogue.numbers[row]).all()


def test_a_later_record_replaces_all_that_an_earlier_one_said():
    catalogue = taken(CONFIG, record("a", fields={"price": 1.0, "brand": "x", "offer": "o"}), record("a", START + 1))

    assert np.isnan(catalogue.numbers[0]).all()
    assert catalogue.categories[0].tolist() == [0, 0]
    assert catalogue.offer[0] == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(2.5, 2.5), (True, 1.0), (False, 0.0), ("2.5", math.nan), ((1.0,), math.nan), (None, math.nan)],
        *[(1e30, 1e30), (-1e30, -1e30), (1.1e30, math.nan), (-1e308, math.nan)],
    ],
)
def test_a_number_is_a_number_or_a_truth_value(value, expected):
    np.testing.assert_equal(told(CONFIG, "numbers", {"price": value})[0], expected)


def test_of_a_field_that_is_told_twice_the_later_counts():
    listed = (written.Field(name="price", value=1.0), written.Field(name="price", value=2.0))
    catalogue = taken(CONFIG, Signals(item="a", timestamp=START, windows=(), fields=listed))

    assert catalogue.numbers[0, 0] == 2.0


def test_categories_are_told_apart_by_their_text():
    assert category_key(12) == category_key(12.0) == category_key("12") == category_key((1.0, "12", "13"))
    assert len({category_key(each) for each in ("a", "b", 1.5, 1e300, True, "1", "A")}) == 7
    assert category_key(True) == category_key("true")
    assert category_key("shoes") != item_key("shoes")


@pytest.mark.parametrize("value", [None, "", (), (1.0, True)])
def test_a_category_that_is_not_told_is_0(value):
    assert category_key(value) == 0
    assert told(CONFIG, "categories", {"brand": value})[0] == 0


def test_a_category_is_the_same_in_the_column_and_by_its_function():
    for value in ("x", 12, True, ("a", "b"), "long" * 200):
        assert told(CONFIG, "categories", {"brand": value})[0] == category_key(value)


GROUPS = CatalogueConfig(
    groups=(
        ItemGroupConfig("ours", "seller", ("us", "we")),
        ItemGroupConfig("local", "local", (True,)),
        ItemGroupConfig("small", "size", (1.0, 2.0, "S")),
    )
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 0),
        ({"seller": "they"}, 0),
        ({"seller": "we"}, 1),
        ({"seller": ("they", "us")}, 1),
        ({"seller": "us", "local": True}, 1),
        ({"local": True, "size": "S"}, 2),
        ({"local": 1.0}, 0),
        ({"size": 2}, 3),
        ({"size": True}, 0),
        ({"size": "1"}, 0),
        ({"size": None}, 0),
    ],
)
def test_an_item_is_in_the_first_group_that_holds_it(fields, expected):
    assert told(GROUPS, "group", fields) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0.0),
        (0.25, 0.25),
        (1, 1.0),
        (1.01, math.nan),
        (-0.1, math.nan),
        ("unknown", math.nan),
        ("nonsense", math.nan),
        ("low", 0.0),
        ("medium", 1 / 3),
        ("high", 2 / 3),
        ("critical", 1.0),
        ((0.5,), math.nan),
        (None, math.nan),
    ],
)
def test_risk_is_a_share_or_a_tier(value, expected):
    np.testing.assert_equal(told(CONFIG, "risk", {"seller_risk": value}), expected)


def test_the_share_of_risky_users_counts_where_the_field_tells_nothing_and_if_wanted():
    windows = (window(3_600, risky_share=0.9), window(86_400, risky_share=0.25))
    wanted = CatalogueConfig(risk_field="seller_risk", risk_from_signals=True)

    assert told(wanted, "risk", {}, windows=windows) == 0.25
    assert told(wanted, "risk", {"seller_risk": 0.5}, windows=windows) == 0.5
    assert told(CatalogueConfig(risk_from_signals=True), "risk", {"seller_risk": 0.5}, windows=windows) == 0.25
    assert math.isnan(told(CONFIG, "risk", {}, windows=windows))
    assert math.isnan(told(wanted, "risk", {}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("10-percent", "10-percent"), ("x" * 256, "x" * 256), ("x" * 257, ""), (1.0, ""), (None, "")],
)
def test_an_offer_is_a_text_of_256_characters_at_most(value, expected):
    catalogue = taken(CONFIG, record("a", fields={"offer": value}))

    assert catalogue.offer[0] == expected


@pytest.mark.parametrize(("value", "expected"), [(2.5, 2.5), (-1e30, -1e30), ("2", 1.0), (None, 1.0), (1.1e30, 1.0)])
def test_what_an_effect_is_worth_is_1_if_it_is_not_told_or_beyond_measure(value, expected):
    assert told(CatalogueConfig(value_field="margin"), "value", {"margin": value}) == expected
    assert told(CatalogueConfig(), "value", {"margin": value}) == 1.0


def test_popularity_is_the_weighted_click_rate_that_fades():
    sums = fading(click_rate=0.9, weighted_click_rate=0.25, weighted_trending=7.5, trending=99.0)
    catalogue = taken(CONFIG, Signals(item="a", timestamp=START, windows=(), fading=sums))

    assert (catalogue.popularity[0], catalogue.trending[0]) == (0.25, 7.5)


def test_versions_are_the_next_record_of_each_partition():
    catalogue = Catalogue(CONFIG)
    catalogue.take(side(record("a"), first=7, partition=3))
    before = catalogue.versions
    catalogue.take(side((b"a", b"{"), first=11, partition=3))
    catalogue.take(side(record("a"), first=2, partition=0))

    assert before == {"3": 8}
    assert catalogue.versions == {"3": 12, "0": 3}


def test_a_side_of_another_topic_is_left_alone():
    other = side(record("a"), (b"a", b"{"))
    other.topic = "ranking.models"
    catalogue = Catalogue(CONFIG)
    catalogue.take(other)

    assert (len(catalogue), catalogue.versions, other.rejected) == (0, {}, [])


def test_settings_say_numbers_and_truth_values_apart():
    made = TypeAdapter(ItemGroupConfig).validate_python({"name": "a", "field": "b", "values": [1, True, "x", 2.5]})

    assert [type(each) for each in made.values] == [float, bool, str, float]


def test_there_are_8_groups_at_most():
    nine = [{"name": str(k), "field": "f", "values": ["v"]} for k in range(9)]
    with pytest.raises(ValueError, match="at most 8 items"):
        TypeAdapter(CatalogueConfig).validate_python({"groups": nine})
