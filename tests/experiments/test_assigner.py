"""Who is in which variation at a time, by a definition."""

import doctest
import itertools

import msgspec
import pytest

from experiments import assigner
from experiments.assigner import Assigned, Assigner
from experiments.assignment import GRID, bucket, in_namespace, moves
from schemas.definition import Definition, Metric, Phase

UNITS = [f"user-{number}" for number in range(4_000)]


def phase(start, coverage, *weights):
    return Phase(start=start, coverage=coverage, weights=weights)


def definition(*phases, **more):
    return msgspec.structs.replace(
        Definition(
            id="x",
            version=1,
            timestamp=0,
            seed="seed",
            variations=("control", "green"),
            phases=phases or (phase(1_000, 1.0, 0.5, 0.5),),
            primary=Metric(name="m", kind="mean", event="e"),
            alpha=0.05,
            tuning_n=5_000,
            attribution_window_s=60,
            minimum_run_s=0,
            mde=0.1,
            cuped=True,
        ),
        **more,
    )


def variations(of, at_ms):
    assign = Assigner(of)
    return [assign(unit, at_ms).variation for unit in UNITS]


# GrowthBook SDK test cases, spec 0.5.4, `hash`, version 2: (seed, a) .0505, (seed, b) .2696; of version 1: ("", a) .22.
@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("a", Assigned("control", 0, 505, "assigned")),  # [0, .25)
        ("b", Assigned(None, 0, 2696, "not_covered")),  # between [0, .25) and [.5, .75)
    ],
)
def test_half_coverage_is_the_published_ranges(unit, expected):
    assert Assigner(definition(phase(0, 0.5, 0.5, 0.5)))(unit, 0) == expected


def test_a_phase_begins_at_its_start_and_the_end_is_the_first_moment_without():
    assign = Assigner(definition(phase(1_000, 1.0, 1.0, 0.0), phase(2_000, 1.0, 0.0, 1.0), end=3_000))

    assert [assign("a", at)[:2] + assign("a", at)[3:] for at in (999, 1_000, 1_999, 2_000, 2_999, 3_000)] == [
        (None, -1, "not_started"),
        ("control", 0, "assigned"),
        ("control", 0, "assigned"),
        ("green", 1, "assigned"),
        ("green", 1, "assigned"),
        (None, 1, "ended"),
    ]


def test_units_outside_the_part_of_the_namespace_are_in_no_variation():
    of = definition(namespace="n", namespace_first=0.25, namespace_end=0.75)

    assert [one is not None for one in variations(of, 1_000)] == [in_namespace("n", unit, 0.25, 0.75) for unit in UNITS]
    assert {Assigner(of)(unit, 1_000).why for unit in UNITS} == {"assigned", "not_in_namespace"}


def test_two_halves_of_a_namespace_share_no_unit():
    low = variations(definition(namespace="n", namespace_end=0.5), 1_000)
    high = variations(definition(namespace="n", namespace_first=0.5), 1_000)

    assert all((one is None) != (other is None) for one, other in zip(low, high, strict=True))


def test_the_version_of_the_hash_is_the_definitions():
    assert {Assigner(definition(hash_version=version))("a", 1_000).bucket for version in (1, 2)} == {
        bucket("seed", "a", 1),
        bucket("seed", "a", 2),
    }


def test_a_ramp_of_coverage_moves_nobody():
    of = definition(phase(1_000, 0.1, 0.5, 0.5), phase(2_000, 0.3, 0.5, 0.5), phase(3_000, 1.0, 0.5, 0.5))
    looks = [variations(of, at) for at in (1_000, 2_000, 3_000)]

    for before, after in itertools.pairwise(looks):
        assert all(one in (None, other) for one, other in zip(before, after, strict=True))


def test_a_change_of_weights_moves_the_units_that_it_must_and_no_more():
    third = 1 / 3
    of = definition(phase(1_000, 1.0, third, third, third), phase(2_000, 1.0, 0.5, 0.25, 0.25))
    before, after = Assigner(of).allocations

    # Two arms shrink from 3,333 buckets to 2,500; ranges cut anew would move 2,499.
    assert moves(before, after) == (2 * (GRID // 3 - GRID // 4), 0, 0)


def test_a_phase_that_is_added_later_changes_nothing_of_those_before():
    first = definition(phase(1_000, 0.5, 0.5, 0.5))
    more = definition(phase(1_000, 0.5, 0.5, 0.5), phase(2_000, 1.0, 0.9, 0.1))

    assert variations(first, 1_500) == variations(more, 1_500)


def test_the_example_of_the_docstring_is_true():
    assert doctest.testmod(assigner) == (0, 3)
