"""Lists over the catalogue, against sorting everything, and the chances of new items."""

import numpy as np
import pytest
from catalogue_streams import DAY, START, record, side
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from operators.noticed import item_key
from operators.recall import shelves as shelves_of
from operators.recall.catalogue import Catalogue
from operators.recall.catalogue_config import CatalogueConfig
from operators.recall.item_fields import category_key
from operators.recall.shelves import DRAWN_FROM, MOST, Shelves, best
from schemas.signals import Signals

CONFIG = CatalogueConfig(category_fields=("brand", "kind"), max_items=20_000, new_for_s=86_400, new_undescribed=True)


def filled(*records, config=CONFIG):
    catalogue = Catalogue(config)
    catalogue.take(side(*records))
    return catalogue, Shelves(catalogue)


def names(catalogue, rows):
    return [catalogue.ids[row] for row in rows]


def ordered(score):
    """Return items by score, of two alike the smaller key first: by brute force."""
    return sorted(score, key=lambda item: (-score[item], item_key(item)))


def test_popular_and_trending_items_are_in_order_of_their_score():
    rates, sums = {"a": 0.25, "b": 0.5, "c": 0.125}, {"a": 1.0, "b": 2.0, "c": 4.0}
    catalogue, shelves = filled(*(record(each, rate=rates[each], trending=sums[each]) for each in "abc"))

    assert names(catalogue, shelves.popular(3)) == ["b", "a", "c"]
    assert names(catalogue, shelves.trending(2)) == ["c", "b"]


def test_of_items_alike_the_smaller_key_is_first():
    catalogue, shelves = filled(*(record(each, rate=0.5) for each in "abcdefgh"))

    assert names(catalogue, shelves.popular(8)) == sorted("abcdefgh", key=item_key)


@pytest.mark.parametrize("n", [1, 7, 40, 99, 100, 150])
def test_the_best_of_many_alike_are_those_with_the_smaller_keys(n):
    rng = np.random.default_rng(n)
    key, score = rng.permutation(200).astype(np.uint64), rng.integers(0, 3, 200).astype(np.float64)
    rows = rng.permutation(200)[:100]

    assert best(score, key, rows, n).tolist() == sorted(rows.tolist(), key=lambda row: (-score[row], key[row]))[:n]


def test_what_does_not_trend_is_not_trending_but_may_be_popular():
    catalogue, shelves = filled(record("a"), record("b", trending=1.0))

    assert names(catalogue, shelves.trending(9)) == ["b"]
    assert len(shelves.popular(9)) == 2


def test_a_list_of_nothing_is_empty():
    catalogue, shelves = filled(record("a", since=START))

    assert [len(each) for each in (shelves.popular(0), shelves.trending(0), shelves.new(0, 1, START))] == [0, 0, 0]
    empty = Shelves(Catalogue(CONFIG))
    assert [len(each) for each in (empty.popular(5), empty.trending(5), empty.new(5, 1, START))] == [0, 0, 0]
    assert len(catalogue) == 1


def test_popular_items_of_a_category_are_of_it_alone():
    brands = {"a": "x", "b": "y", "c": "x", "d": None}
    catalogue, shelves = filled(
        *(record(each, fields={"brand": brands[each], "kind": "k"}, rate=k / 8) for k, each in enumerate("abcd"))
    )

    assert names(catalogue, shelves.popular(9, category_key("x"))) == ["c", "a"]
    assert names(catalogue, shelves.popular(1, category_key("x"))) == ["c"]
    assert names(catalogue, shelves.popular(9, category_key("k"), column=1)) == ["d", "c", "b", "a"]
    assert len(shelves.popular(9, category_key("z"))) == 0


def test_the_list_of_a_category_follows_the_catalogue():
    catalogue, shelves = filled(record("a", fields={"brand": "x"}))
    shelves.popular(9, category_key("x"))
    catalogue.take(side(record("b", fields={"brand": "x"}, rate=0.5), "a"))

    assert names(catalogue, shelves.popular(9, category_key("x"))) == ["b"]


def test_a_list_that_was_given_is_the_callers():
    catalogue, shelves = filled(*(record(each, fields={"brand": "x"}, trending=1.0) for each in "ab"))
    for ask in (lambda: shelves.popular(2), lambda: shelves.trending(2), lambda: shelves.popular(2, category_key("x"))):
        first = ask()
        before = first.tolist()
        first[:] = -1
        assert ask().tolist() == before
    assert len(catalogue) == 2


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.lists(st.tuples(st.integers(0, 25), st.integers(0, 5), st.booleans()), min_size=1, max_size=12), max_size=25
    ),
    size=st.sampled_from([10, 20, 100]),
)
def test_lists_are_those_of_sorting_everything_after_any_changes(steps, size):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("MOST", 4), ("_SHORTEST", 4), ("_FRESH", 6), ("_LONGEST", 8)):
            patch.setattr(shelves_of, name, value)
        catalogue = Catalogue(CatalogueConfig(max_items=size, promote_after_s=1))
        shelves, time_ms = Shelves(catalogue), START
        for step in steps:
            records = []
            for item, score, gone in step:
                time_ms += 500
                fresh = record(f"i{item}", time_ms, rate=score / 10, trending=float(score % 4))
                records.append(f"i{item}" if gone and item % 2 else fresh)
            catalogue.take(side(*records))
            rows = catalogue.rows()
            rates = {catalogue.ids[row]: catalogue.popularity[row] for row in rows}
            sums = {catalogue.ids[row]: catalogue.trending[row] for row in rows if catalogue.trending[row] > 0.0}
            assert names(catalogue, shelves.popular(9)) == ordered(rates)[:4]
            assert names(catalogue, shelves.trending(9)) == ordered(sums)[:4]


def test_lists_of_a_large_catalogue_are_those_of_sorting_everything():
    rng = np.random.default_rng(2)
    rates = {f"i{k}": float(rng.integers(0, 400)) / 1_000 for k in range(6_000)}
    catalogue, shelves = filled(*(record(each, rate=rates[each], trending=rates[each]) for each in rates))
    for turn in range(8):
        changed = {f"i{k}": float(rng.integers(0, 400)) / 1_000 for k in rng.integers(0, 6_000, 900)}
        rates |= changed
        catalogue.take(
            side(*(record(each, START + turn, rate=changed[each], trending=changed[each]) for each in changed))
        )
        told = {each: np.float32(rates[each]) for each in rates}
        sums = {each: told[each] for each in told if told[each]}

        assert names(catalogue, shelves.popular(2_000)) == ordered(told)[:MOST]
        assert names(catalogue, shelves.trending(2_000)) == ordered(sums)[:MOST]


def test_what_is_new_was_first_heard_of_within_the_time_before():
    since = {"old": START - DAY, "last": START - DAY + 1, "now": START, "ahead": START + DAY, "unknown": None}
    catalogue, shelves = filled(*(record(each, since=since[each]) for each in since))

    assert set(names(catalogue, shelves.new(9, 1, START))) == {"last", "now", "ahead"}
    assert set(names(catalogue, shelves.new(9, 1, START + 1))) == {"now", "ahead"}
    assert set(names(catalogue, shelves.new(9, 1, START - 1))) == {"old", "last", "now", "ahead"}
    assert len(shelves.new(9, 1, 0)) == 4  # all that is known to have begun
    assert set(names(catalogue, shelves.new(9, 1, START))) == {"last", "now", "ahead"}


def test_an_item_that_was_taken_back_is_not_new():
    catalogue, shelves = filled(record("a", since=START), record("b", since=START), "a")

    assert names(catalogue, shelves.new(9, 1, START)) == ["b"]


def test_an_item_that_nobody_described_is_not_new_unless_settings_say_so():
    records = [record("a", since=START), record("b", fields={"any": 1.0}, since=START), record("c", since=START)]
    told = record("c", fields={"any": "x"}, since=START)
    for undescribed, expected in ((False, {"b"}), (True, {"a", "b", "c"})):
        catalogue, shelves = filled(*records, config=CatalogueConfig(new_undescribed=undescribed))
        assert set(names(catalogue, shelves.new(9, 1, START))) == expected
        catalogue.take(side(told, record("b", since=START)))
        assert set(names(catalogue, shelves.new(9, 1, START))) == ({"a", "b", "c"} if undescribed else {"c"})


def test_new_items_follow_the_catalogue():
    catalogue, shelves = filled(record("a", since=START), record("b", since=START))
    shelves.new(9, 1, START)
    catalogue.take(side(record("c", since=START), "a"))

    assert set(names(catalogue, shelves.new(9, 1, START))) == {"b", "c"}


def test_the_same_seed_draws_the_same_and_others_draw_others():
    catalogue, shelves = filled(*(record(f"i{k}", since=START) for k in range(200)))
    other, others = filled(*(record(f"i{k}", since=START) for k in reversed(range(200))))
    draws = [names(catalogue, shelves.new(20, seed, START)) for seed in range(30)]

    assert names(other, others.new(20, 3, START)) == draws[3]  # whatever rows the items have
    assert len({tuple(each) for each in draws}) == 30
    assert (
        names(catalogue, shelves.new(20, 2**64 + 3, START)) == names(catalogue, shelves.new(20, 3, START)) == draws[3]
    )
    assert names(catalogue, shelves.new(20, 3 - 2**64, START)) == draws[3]


@pytest.mark.parametrize("n", [1, 10, 200, 500])
def test_nothing_is_drawn_twice(n):
    _, shelves = filled(*(record(f"i{k}", since=START, shown=float(k)) for k in range(200)))
    drawn = shelves.new(n, 5, START)

    assert len(set(drawn.tolist())) == len(drawn) == min(n, 200)


def test_the_first_draw_takes_each_item_with_a_chance_by_how_often_it_was_shown():
    shown = {"a": 0.0, "b": 1.0, "c": 3.0, "d": 9.0}
    catalogue, shelves = filled(*(record(each, since=START, shown=shown[each]) for each in shown))
    seeds = 8_000
    first = [catalogue.ids[shelves.new(1, seed, START)[0]] for seed in range(seeds)]
    chances = {each: 1.0 / (1.0 + shown[each]) for each in shown}
    expected = [seeds * chances[each] / sum(chances.values()) for each in shown]

    # Seeds are fixed: no chance is left in the test; 0.001 is how unlikely a sound draw would look like this.
    assert stats.chisquare([first.count(each) for each in shown], expected).pvalue > 0.001


def test_the_second_draw_is_as_the_first_among_those_that_are_left():
    shown = {"a": 0.0, "b": 1.0, "c": 3.0}
    catalogue, shelves = filled(*(record(each, since=START, shown=shown[each]) for each in shown))
    pairs = [tuple(names(catalogue, shelves.new(2, seed, START))) for seed in range(8_000)]
    chance = {each: 1.0 / (1.0 + shown[each]) for each in shown}
    total = sum(chance.values())
    expected = {(x, y): chance[x] / total * chance[y] / (total - chance[x]) for x in "abc" for y in "abc" if x != y}

    counts = [pairs.count(each) for each in expected]
    assert stats.chisquare(counts, [8_000 * each for each in expected.values()]).pvalue > 0.001


def test_every_new_item_has_its_chance_and_those_shown_less_a_larger_one():
    catalogue, shelves = filled(*(record(f"i{k}", since=START, shown=float(k % 2) * 4) for k in range(40)))
    drawn = np.bincount(np.concatenate([shelves.new(4, seed, START) for seed in range(2_000)]), minlength=40)
    often = np.array([int(catalogue.ids[row][1:]) % 2 for row in range(40)], np.bool_)

    assert drawn.min() > 0
    assert drawn[~often].min() > 2 * drawn[often].max()


def test_of_very_many_new_items_each_has_the_same_chance_to_be_looked_at():
    n, seeds, each = 3 * DRAWN_FROM + 100, 3_000, 40
    _, shelves = filled(*(record(f"i{k}", since=START) for k in range(n)))
    drawn = np.bincount(np.concatenate([shelves.new(each, seed, START) for seed in range(seeds)]), minlength=n)
    expected = seeds * each / n  # 37; no more spread than binomial, of which the mean of squares over mean is 1

    assert drawn.min() > 0
    assert ((drawn - expected) ** 2).mean() / expected < 1.1
    assert drawn.sum() == seeds * each


def test_an_item_whose_impressions_are_not_known_counts_as_never_shown():
    others = [record(f"i{k}", since=START, shown=1.0) for k in range(5)]
    known = filled(*others, record("a", since=START, shown=0.0))
    unknown = filled(*others, Signals(item="a", timestamp=START, windows=(), since=START))
    draws = [[names(one, shelves.new(3, seed, START)) for seed in range(50)] for one, shelves in (known, unknown)]

    assert draws[0] == draws[1]


def test_what_is_new_does_not_depend_on_what_was_asked_before():
    times = [START + k * 3_600_000 * (-1) ** k for k in range(40)]
    records = [record(f"i{k}", since=START + k * 1_000_000) for k in range(300)]
    _, asked = filled(*records)
    for time_ms in times:
        got = asked.new(10, 4, time_ms).tolist()
        _, fresh = filled(*records)

        assert got == fresh.new(10, 4, time_ms).tolist()
