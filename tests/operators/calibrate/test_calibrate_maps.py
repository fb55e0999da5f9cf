"""The maps from tail to probability: isotonic against scikit-learn and by hand, beta against a logistic regression."""

import math

import numpy as np
import pytest

from operators.calibrate import maps
from operators.calibrate.maps import PER_NAT, PLACES, beta, isotonic, place_of, smooth


def counted(seed, n=20_000, slope=1.2, start=-6.0, weight=20.0):
    """Weighted counts of fraud and legit, and the single labels they come from."""
    rng = np.random.default_rng(seed)
    place = np.minimum((rng.exponential(1.0, n) * PER_NAT).astype(int), PLACES - 1)
    fraud = rng.random(n) < 1 / (1 + np.exp(-(slope * place / PER_NAT + start)))
    weights = np.where(place > 3 * PER_NAT, 1.0, weight)
    return (*(np.bincount(place, weights * which, PLACES) for which in (fraud, ~fraud)), place, fraud, weights)


def columns(place):
    middle = (place + 0.5) / PER_NAT
    return np.column_stack([np.log(-np.expm1(-middle)), middle])


def fit(fitter, fraud, legit):
    fitted = np.empty(PLACES)
    fitter(fraud, legit, fitted)
    return fitted


@pytest.mark.parametrize("seed", range(5))
def test_isotonic_equals_scikit_learn(seed):
    regression = pytest.importorskip("sklearn.isotonic").IsotonicRegression()
    fraud, legit, place, outcome, weights = counted(seed)
    seen = np.unique(place)

    assert fit(isotonic, fraud, legit)[seen] == pytest.approx(
        regression.fit(place, outcome, sample_weight=weights).predict(seen), abs=1e-12
    )


def test_isotonic_by_hand():
    fraud, legit = np.zeros(PLACES), np.zeros(PLACES)
    # Bins 2, 3, 5, 6, 9 have shares 0, 1/2, 1/4, 1/8, 1: the middle three violate and pool to (1+1+1)/(2+4+8) = 3/14.
    fraud[[3, 5, 6, 9]], legit[[2, 3, 5, 6]] = [1, 1, 1, 2], [5, 1, 3, 7]

    fitted = fit(isotonic, fraud, legit)

    assert fitted[:3].tolist() == [0, 0, 0]  # nothing below the lowest label: as there
    assert fitted[3:9] == pytest.approx([3 / 14] * 6)  # bins without labels: as the one below
    assert fitted[9:].tolist() == [1] * (PLACES - 9)


def test_smoothing_is_platts_targets_fitted():
    """Isotonic regression of mapped targets is the mapped regression: F = 2, L = 6, so 3/4 and 1/8."""
    fitted = np.array([0.0, 0.25, 1.0])
    smooth(2.0, 6.0, fitted)

    assert fitted == pytest.approx([1 / 8, 1 / 8 + 5 / 8 * 0.25, 3 / 4])


@pytest.mark.parametrize("seed", range(3))
def test_beta_is_the_logistic_regression_of_the_two_logarithms(seed):
    regression = pytest.importorskip("sklearn.linear_model").LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000)
    fraud, legit, place, outcome, weights = counted(seed, n=200_000, slope=1.1, start=-5.0)
    regression.fit(columns(place), outcome, sample_weight=weights)
    x = columns(np.arange(PLACES))
    weight = fraud + legit
    used = weight > 0

    a, b, c = maps.logistic(x[used], weight[used] / weight.sum(), fraud[used] / weight[used], True, True)

    assert [a, b, c] == pytest.approx([*regression.coef_[0], *regression.intercept_], rel=2e-3, abs=2e-3)


def test_beta_finds_the_map_that_made_the_labels():
    """Counts that are exactly logit p = -6 + 0.7 ln s + 1.1 x; Platt's targets change next to nothing."""
    x = columns(np.arange(PLACES))
    weight = 1e9 * np.exp(-x[:, 1])
    p = 1 / (1 + np.exp(-(-6 + 0.7 * x[:, 0] + 1.1 * x[:, 1])))
    fitted = np.empty(PLACES)

    assert beta(weight * p, weight * (1 - p), fitted) == pytest.approx([0.7, 1.1, -6], abs=1e-3)


def test_beta_never_falls_though_fraud_is_rarer_above():
    fraud, legit = np.zeros(PLACES), np.zeros(PLACES)
    fraud[:40], legit[:40] = np.linspace(4, 1, 40), 10
    fitted = np.empty(PLACES)

    assert beta(fraud, legit, fitted)[:2].tolist() == [0, 0]
    assert (np.diff(fitted) >= 0).all()


@pytest.mark.parametrize("fitter", [isotonic, beta])
@pytest.mark.parametrize("seed", range(3))
def test_a_map_never_falls(fitter, seed):
    fraud, legit, *_ = counted(seed, n=500)

    assert (np.diff(fit(fitter, fraud, legit)) >= 0).all()


def test_beta_is_certain_of_nothing_where_the_classes_are_apart():
    fraud, legit = np.zeros(PLACES), np.zeros(PLACES)
    fraud[80:90], legit[:60] = 5, 100  # F = 50, L = 6000
    fitted = fit(beta, fraud, legit)

    assert fitted.min() >= 1 / 6002
    assert fitted.max() <= 51 / 52


@pytest.mark.parametrize(("tail", "place"), [(1.0, 0), (math.exp(-1.01), 8), (math.exp(-0.99), 7), (0.0, PLACES - 1)])
def test_bins_are_an_eighth_of_a_nat_wide(tail, place):
    assert place_of(tail) == place
