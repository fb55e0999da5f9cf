"""Assignment against GrowthBook's published cases (sdk-js/test/cases.json, spec 0.5.4), and the fewest moves."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.assignment import (
    GRID,
    Moves,
    allocate,
    bucket,
    choose,
    choose_published,
    fnv1a,
    in_namespace,
    moves,
    position,
    published_ranges,
    reallocate,
)

PUBLISHED = [
    ("", "a", 1, 0.22),
    ("", "b", 1, 0.077),
    ("b", "a", 1, 0.946),
    ("ef", "d", 1, 0.652),
    ("asdf", "8952klfjas09ujk", 1, 0.549),
    ("", "123", 1, 0.011),
    ("", '___)((*":&', 1, 0.563),
    ("seed", "a", 2, 0.0505),
    ("seed", "b", 2, 0.2696),
    ("foo", "ab", 2, 0.2575),
    ("foo", "def", 2, 0.2019),
    ("89123klj", "8952klfjas09ujkasdf", 2, 0.124),
    ("90850943850283058242805", "123", 2, 0.7516),
    ("()**(%$##$%#$#", '___)((*":&', 2, 0.0128),
]


@pytest.mark.parametrize(("seed", "unit", "version", "expected"), PUBLISHED)
def test_the_position_of_a_unit_is_the_published_one(seed, unit, version, expected):
    assert position(seed, unit, version) == expected


def test_the_fifteenth_published_case_is_a_version_that_does_not_exist():
    with pytest.raises(ValueError, match="hash version == 99, must be 1 or 2"):
        position("abc", "def", 99)


@pytest.mark.parametrize(("text", "expected"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)])
def test_the_hash_is_fnv_1a(text, expected):
    """The vectors of the FNV reference, http://www.isthe.com/chongo/src/fnv/test_fnv.c."""
    assert fnv1a(text) == expected


@pytest.mark.parametrize(
    ("text", "units"), [("é", [0xE9]), ("ł", [0x142]), ("😀", [0xD83D, 0xDE00]), ("\ud83d", [0xD83D])]
)
def test_a_code_unit_of_utf_16_is_hashed_whole(text, units):
    by_hand = 0x811C9DC5
    for unit in units:
        by_hand = (by_hand ^ unit) * 0x01000193 % 2**32

    assert fnv1a(text) == by_hand


RANGES = [
    ((2, 1, None), [(0, 0.5), (0.5, 1)]),
    ((2, 0.5, None), [(0, 0.25), (0.5, 0.75)]),
    ((2, 0, None), [(0, 0), (0.5, 0.5)]),
    ((4, 1, None), [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]),
    ((2, 1, [0.4, 0.6]), [(0, 0.4), (0.4, 1)]),
    ((3, 1, [0.2, 0.3, 0.5]), [(0, 0.2), (0.2, 0.5), (0.5, 1)]),
    ((3, 0.2, [0.2, 0.3, 0.5]), [(0, 0.04), (0.2, 0.26), (0.5, 0.6)]),
    ((2, -0.2, None), [(0, 0), (0.5, 0.5)]),
    ((2, 1.5, None), [(0, 0.5), (0.5, 1)]),
    ((2, 1, [0.4, 0.1]), [(0, 0.5), (0.5, 1)]),
    ((2, 1, [0.7, 0.6]), [(0, 0.5), (0.5, 1)]),
    ((4, 1, [0.4, 0.4, 0.2]), [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]),
]


@pytest.mark.parametrize(("given_", "expected"), RANGES)
def test_the_ranges_of_the_arms_are_the_published_ones(given_, expected):
    flat = list(itertools.chain.from_iterable(published_ranges(*given_)))

    assert flat == pytest.approx(list(itertools.chain.from_iterable(expected)), abs=1e-12)


@pytest.mark.parametrize(
    ("at", "ranges", "arm"),
    [(0.4, [(0, 0.25), (0.5, 0.75)], -1), (0.5, [(0, 0.5), (0.5, 1)], 1), (0.2, [(0, 0.5), (0.5, 1)], 0)],
)
def test_the_arm_of_a_position_is_the_published_one(at, ranges, arm):
    assert choose_published(at, ranges) == arm


def test_a_namespace_hashes_its_name_with_version_1():
    # position("__test", "1", 1) lies in exactly one of a thousand slices.
    slices = [k for k in range(1000) if in_namespace("test", "1", k / 1000, (k + 1) / 1000)]

    assert slices == [fnv1a("1__test") % 1000]


def test_two_experiments_in_disjoint_ranges_of_a_namespace_share_no_unit():
    units = [str(i) for i in range(2000)]
    first = {unit for unit in units if in_namespace("checkout", unit, 0, 0.4)}
    second = {unit for unit in units if in_namespace("checkout", unit, 0.4, 1)}

    assert first.isdisjoint(second)
    assert first | second == set(units)


def test_seeds_make_experiments_independent():
    """Of units in arm 0 of one experiment half are in arm 0 of another: 5,000 units, four standard errors."""
    halves = allocate([0.5, 0.5])
    first = [choose(bucket("first", str(i)), halves) for i in range(5000)]
    second = [choose(bucket("second", str(i)), halves) for i in range(5000)]
    both = sum(a == b == 0 for a, b in zip(first, second, strict=True))

    assert abs(both / 5000 - 0.25) < 4 * (0.25 * 0.75 / 5000) ** 0.5


def test_arms_get_their_shares():
    """Pearson's chi-squared of 20,000 units in three arms and outside: below 16.3, the 0.001 point at 3 degrees."""
    allocation = allocate([0.2, 0.3, 0.5], 0.8)
    arms = [choose(bucket("shares", f"user-{i}"), allocation) for i in range(20_000)]
    chi_squared = sum(
        (arms.count(arm) - 20_000 * share) ** 2 / (20_000 * share)
        for arm, share in [(0, 0.16), (1, 0.24), (2, 0.40), (-1, 0.20)]
    )

    assert chi_squared < 16.3


weights = st.lists(st.integers(0, 20), min_size=1, max_size=5).filter(any).map(lambda w: [x / sum(w) for x in w])
coverages = st.integers(0, 20).map(lambda k: k / 20)


@settings(max_examples=30)
@given(weights, coverages)
def test_buckets_are_cut_where_the_published_ranges_are(weights, coverage):
    allocation = allocate(weights, coverage)
    ranges = [(round(a * GRID, 6), round(b * GRID, 6)) for a, b in published_ranges(len(weights), coverage, weights)]

    assert all(choose(at, allocation) == choose_published(at, ranges) for at in range(0, GRID, 7))


@settings(max_examples=30)
@given(weights, coverages, coverages)
def test_a_ramp_moves_nobody(weights, first, second):
    lower, higher = sorted((first, second))
    found = moves(allocate(weights, lower), allocate(weights, higher))

    assert (found.switched, found.left) == (0, 0)


def owners(allocation):
    return [choose(at, allocation) for at in range(GRID)]


@settings(max_examples=30)
@given(weights, coverages, weights, coverages)
def test_a_change_moves_the_fewest_units(old, old_coverage, new, new_coverage):
    """An arm that shrinks must lose what it shrinks by; no more may move. And of the moved the fewest see two arms."""
    new = new + [0.0] * (len(old) - len(new))
    before = allocate(old, old_coverage)
    after = reallocate(before, new, new_coverage)
    was, is_now = owners(before), owners(after)
    arms = range(len(new))
    lost = sum(max(0, was.count(arm) - is_now.count(arm)) for arm in arms)
    won = sum(max(0, is_now.count(arm) - was.count(arm)) for arm in arms)
    found = moves(before, after)

    assert all(abs(is_now.count(arm) - new[arm] * new_coverage * GRID) < 1 + 1e-6 for arm in arms)
    assert found.switched + found.left == lost
    assert found.switched == max(0, won - was.count(-1))
    assert found.joined == won - found.switched
    assert found.switched == sum(a != b and -1 not in (a, b) for a, b in zip(was, is_now, strict=True))


def test_from_equal_thirds_to_a_half_and_two_quarters_a_sixth_moves():
    """By hand: 3,334, 3,333 and 3,333 buckets become 5,000, 2,500 and 2,500, so 833 leave each of two arms.

    The published ranges would move a quarter: 3,334 to 5,000 and 6,667 to 7,500.
    """
    thirds = allocate([1 / 3, 1 / 3, 1 / 3])

    assert moves(thirds, reallocate(thirds, [0.5, 0.25, 0.25])) == Moves(1666, 0, 0)
    assert moves(thirds, allocate([0.5, 0.25, 0.25])) == Moves(2499, 0, 0)


def test_units_outside_join_before_units_inside_switch():
    """By hand: of 2,500 and 2,500 in half of the traffic, 3,000 and 2,000: 500 leave, 500 others join."""
    half = allocate([0.5, 0.5], 0.5)

    assert moves(half, reallocate(half, [0.6, 0.4], 0.5)) == Moves(0, 500, 500)


def test_an_arm_may_be_added_and_is_ended_by_weight_0():
    two = allocate([0.5, 0.5])
    three = reallocate(two, [0.4, 0.4, 0.2])

    assert moves(two, three) == Moves(2000, 0, 0)
    assert moves(three, reallocate(three, [0.5, 0.5, 0.0])) == Moves(2000, 0, 0)


@pytest.mark.parametrize(
    ("weights", "coverage", "complaint"),
    [
        ([0.5, 0.6], 1, r"weights == \[0.5, 0.6\], must be 0 or above with sum 1"),
        ([1.5, -0.5], 1, "must be 0 or above"),
        ([float("nan"), 1.0], 1, "must be 0 or above"),
        ([], 1, "must be 0 or above"),
        ([0.5, 0.5], 1.01, "coverage == 1.01, must be from 0 to 1"),
    ],
)
def test_what_is_no_split_is_refused(weights, coverage, complaint):
    with pytest.raises(ValueError, match=complaint):
        allocate(weights, coverage)


def test_an_arm_is_never_taken_out():
    with pytest.raises(ValueError, match="1 weights for 2 arms: give an arm weight 0 to end it"):
        reallocate(allocate([0.5, 0.5]), [1.0])
