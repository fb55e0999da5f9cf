"""Multiple testing, by hand and by definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.multiple import bonferroni, e_bh, holm

families = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(np.array)


def test_holm_by_hand():
    """.005 times 4 is .02, .01 times 3 is .03, .03 times 2 is .06; .04 times 1 is less than that."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_bonferroni_by_hand():
    assert bonferroni(np.array([0.01, 0.04, 0.3])) == pytest.approx([0.03, 0.12, 0.9])
    assert bonferroni(np.array([0.6, 0.4])).tolist() == [1.0, 0.8]


@given(families, st.floats(0.001, 0.5))
def test_holm_rejects_what_its_steps_reject(p, alpha):
    """Holm's own words: from the smallest on, p_(i) <= alpha / (m - i + 1), until one is not."""
    rejected, m = set(), len(p)
    for i, k in enumerate(sorted(range(m), key=lambda k: p[k])):
        if p[k] * (m - i) > alpha:
            break
        rejected.add(k)

    assert set(np.flatnonzero(holm(p) <= alpha)) == rejected


@given(families)
def test_holm_never_adjusts_by_more_than_bonferroni(p):
    assert (holm(p) <= bonferroni(p)).all()
    assert (holm(p) >= p).all()


def test_e_bh_by_hand():
    """Of four at .1: e >= 40 for one, 20 for two, 13.3 for three. 50, 21, 14 and 2: three."""
    e = np.array([14.0, 50.0, 2.0, 21.0])

    assert e_bh(np.log(e), 0.1).tolist() == [True, True, False, True]
    assert e_bh(np.log([39.0, 1, 1, 1]), 0.1).tolist() == [False] * 4


@given(st.lists(st.floats(-5, 12), min_size=1, max_size=8).map(np.array), st.floats(0.001, 0.5))
def test_e_bh_rejects_what_benjamini_and_hochberg_reject_of_one_over_e(log_e, alpha):
    p, m = np.exp(-log_e), len(log_e)
    most = max((k for k in range(1, m + 1) if sorted(p)[k - 1] <= alpha * k / m * (1 + 1e-12)), default=0)
    rejected = [most > 0 and value <= sorted(p)[most - 1] for value in p]

    assert e_bh(log_e, alpha).tolist() == rejected


def test_a_hypothesis_that_is_not_known_yet_counts_in_its_family():
    """By hand: .02 times 3, for three were declared; and e-BH asks 30 of one among three at .1."""
    assert holm(np.array([0.02, np.nan, 0.5])) == pytest.approx([0.06, np.nan, 1.0], nan_ok=True)
    assert bonferroni(np.array([0.02, np.nan, 0.5])) == pytest.approx([0.06, np.nan, 1.0], nan_ok=True)
    assert e_bh(np.array([math.log(29), np.nan, np.nan]), 0.1).tolist() == [False] * 3
    assert e_bh(np.array([math.log(31), np.nan, np.nan]), 0.1).tolist() == [True, False, False]


def test_families_are_apart():
    rng = np.random.default_rng(1)
    p = rng.random((5, 3, 4)) ** 3
    log_e = rng.normal(1, 3, (5, 3, 4))

    for at in np.ndindex(5, 3):
        assert holm(p)[at].tolist() == holm(p[at]).tolist()
        assert e_bh(log_e, 0.2)[at].tolist() == e_bh(log_e[at], 0.2).tolist()
