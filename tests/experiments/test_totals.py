"""Parts of partitions put together are the whole, whatever they are and in which order they come."""

import numpy as np
import pytest
from trials import SPENDING, START_MS, Trial, Units, definition, drawn, values

from experiments.totals import ALL, GROUPS, LOW, RISKY, UNKNOWN, WITHOUT_RISKY, fits, misfit, total
from schemas.definition import Phase
from schemas.part import RISK

OF = definition()
TWO_PHASES = definition(
    phases=(
        Phase(start=START_MS, coverage=0.1, weights=(0.9, 0.1)),
        Phase(start=START_MS + 1, coverage=1.0, weights=(0.5, 0.5)),
    )
)


def trials(count, units=3_000, of=OF, **kwargs):
    """Return units of several partitions, and the same on one."""
    rng = np.random.default_rng(5)
    whole, parts = Trial(of, **kwargs), []
    for number in range(count):
        some = drawn(rng, units, 0.1, stratum=rng.integers(0, 5, units), open=rng.integers(0, 2, units))
        some.values[..., 0] *= 1e6  # a mean a million times what the arms differ by
        parts.append(Trial(of, number, count, **kwargs).add(some).part())
        whole.add(some)
    return parts, whole.part()


@pytest.mark.parametrize("count", [2, 5])
def test_the_parts_of_partitions_add_up_to_the_whole(count):
    parts, whole = trials(count)
    merged, alone = total(parts, OF), total([whole], OF)
    moments, expected = merged.sums.moments(), alone.sums.moments()

    assert merged.exposed.tolist() == alone.exposed.tolist()
    assert np.allclose(moments.n, expected.n, rtol=0, atol=0)
    assert np.allclose(moments.means, expected.means, rtol=1e-12, atol=0, equal_nan=True)
    assert np.allclose(moments.covariance, expected.covariance, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert np.allclose(merged.open, alone.open, rtol=1e-12)


def test_the_order_of_the_parts_does_not_reach_a_bit_of_it():
    parts, _ = trials(4)
    one, other = total(parts, OF), total(parts[::-1], OF)

    assert one.sums.high.tobytes() == other.sums.high.tobytes()
    assert one.sums.low.tobytes() == other.sums.low.tobytes()


def test_strata_are_grouped_by_what_their_tiers_say():
    """One unit without a tier, two of low, three of medium, four of high, five of critical."""
    stratum = np.repeat(np.arange(5), [1, 2, 3, 4, 5])
    units = Units(np.zeros(15, np.int64), values(np.ones(15)), stratum=stratum)
    n = total([Trial(OF).add(units).part()], OF).sums.high[:, 0, 0, 0, 0]

    assert {GROUPS[at]: n[at] for at in (ALL, UNKNOWN, LOW, RISKY, WITHOUT_RISKY)} == {
        "all": 15,
        "unknown": 1,
        "low": 5,
        "risky": 9,
        "without_risky": 6,
    }


def test_time_first_exposure_offsets_and_refusals_are_those_of_all_parts():
    one = Trial(OF, 0, 2).part(7, first_exposure=5, offsets={"exposures": 3, "metrics": 8}, refused={"late": 2})
    other = Trial(OF, 1, 2).part(9, first_exposure=4, offsets={"exposures": 6}, refused={"late": 1, "arm": 4})
    merged = total([other, one], OF)

    assert (merged.timestamp, merged.first_exposure, merged.partitions) == (9, 4, (0, 1))
    assert merged.offsets == {"exposures": {"0": 3, "1": 6}, "metrics": {"0": 8}}
    assert merged.refused == {"late": 3, "arm": 4}


def test_a_part_from_before_a_phase_was_added_has_no_unit_in_it():
    units = drawn(np.random.default_rng(1), 50)
    old = Trial(OF, 0, 2).add(units).part()
    new = Trial(TWO_PHASES, 1, 2).add(units).part()
    n = total([old, new], TWO_PHASES).sums.high[ALL, 0, :, :, 0].sum(axis=1)

    assert n.tolist() == [100, 0]


def test_risk_is_counted_once_every_part_counts_it():
    risky = Trial(OF, 0, 2, tiers=True).part()
    plain = Trial(OF, 1, 2).part()

    assert (total([risky], OF).risk, total([risky, plain], OF).risk) == (True, False)
    assert (total([risky], OF).tiers, total([risky, plain], OF).tiers) == (True, False)
    assert risky.metrics == ("spending", RISK)


@pytest.mark.parametrize(
    ("changes", "fitting"),
    [
        ({}, True),
        ({"arms": ("control", "blue")}, False),
        ({"metrics": ("clicks",)}, False),
        ({"metrics": ("spending", "clicks")}, False),
        ({"metrics": ("spending", RISK)}, True),
    ],
)
def test_a_part_fits_the_definition_whose_metrics_and_arms_it_counts(changes, fitting):
    assert fits(Trial(OF).part(**changes), OF) == fitting


@pytest.mark.parametrize("name", ["matured", "matured_low", "open", "exposed", "several"])
def test_an_array_of_another_size_is_named(name):
    part = Trial(OF).part()

    assert misfit(part) is None
    assert misfit(Trial(OF).part(**{name: getattr(part, name)[8:]})) == name


def test_phases_say_how_large_the_arrays_are():
    assert misfit(Trial(OF).part(phases=2)) == "matured"
    assert SPENDING.name in Trial(OF).part().metrics
