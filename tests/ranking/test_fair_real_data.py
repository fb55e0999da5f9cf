"""FA*IR on the paper's data: COMPAS by low recidivism score, German credit by credit score."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import kendalltau

from ranking.fair import cautious_adjusted, reorder, satisfies
from ranking.gain import kept, ranking

ALPHA = 0.1


class Case(NamedTuple):
    """A file, the column to rank by, its sign, whether 1 or 0 is protected, places, and the share that is due."""

    file: str
    column: str
    sign: int
    protected: int
    k: int
    p: float


CASES = [
    Case("COMPAS/ProPublica_race.csv", "Recidivism_rawscore", -1, 1, 1_000, 0.5),
    Case("COMPAS/ProPublica_sex.csv", "Recidivism_rawscore", -1, 0, 1_000, 0.8),
    Case("GermanCredit/GermanCredit_sex.csv", "score", 1, 1, 100, 0.7),
    Case("GermanCredit/GermanCredit_age25.csv", "score", 1, 1, 100, 0.1),
    Case("GermanCredit/GermanCredit_age35.csv", "score", 1, 1, 100, 0.6),
]


@pytest.fixture(scope="module")
def data(real_data):
    return real_data("fairness_rank")


def listed(data, case):
    """Return scores and protection in the order of the scores."""
    rows = np.genfromtxt(data / case.file, delimiter=",", names=True)
    score = case.sign * rows[case.column]
    order = ranking(score)
    return score[order], (rows[rows.dtype.names[-1]] == case.protected)[order]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_each_prefix_has_enough_of_them_with_the_fewest_pairs_turned_around(data, case):
    """The fewest: each prefix lacks m_i - c_i protected items, and whoever comes in passes one place at a time."""
    score, protected = listed(data, case)
    adjusted = cautious_adjusted(case.k, case.p, ALPHA)
    order = reorder(protected, adjusted.table)
    n = len(protected)
    pairs = n * (n - 1) / 2
    lacking = np.maximum(adjusted.table - np.cumsum(protected)[: case.k], 0)
    # Beyond the table a list catches up, at the latest where as many protected items are due by the old order.
    later = np.maximum(adjusted.table[-1] - np.cumsum(protected)[case.k :], 0)
    print(
        f"{case.file}: of {n}, {protected.mean():.1%} protected; first {case.k}: {protected[: case.k].mean():.1%} -> "
        f"{protected[order][: case.k].mean():.1%}; prefixes with too few {(lacking > 0).mean():.1%} -> 0; "
        f"cost in NDCG {1 - kept(score, order, case.k):.5f}"
    )

    assert satisfies(protected[order], adjusted.table).all()
    assert pairs * (1 - kendalltau(order, np.arange(n)).statistic) / 2 == pytest.approx(lacking.sum() + later.sum())


def test_black_defendants_are_missing_from_the_lists_of_low_scores_before_and_not_after(data):
    """Of 6,889 people 51.2 % are black, of the 1,000 with the lowest scores 25.1 %: at p = .5 no chance."""
    _, protected = listed(data, CASES[0])
    table = cautious_adjusted(1_000, 0.5, ALPHA).table

    assert satisfies(protected, table).mean() < 0.1
    assert satisfies(protected[reorder(protected, table)], table).all()


def test_a_list_that_is_fair_by_chance_alone_is_left_alone(data):
    """Women are 69 % of German credit and 74 of the first 100."""
    _, protected = listed(data, CASES[2])

    assert reorder(protected, cautious_adjusted(100, 0.7, ALPHA).table).tolist() == list(range(len(protected)))
