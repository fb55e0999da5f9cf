"""One variation against the control on one set of units: predictions, curves, deciles, and what to make of them."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, U64, Bool
from training.uplift.curves import (
    auuc_causalml_normalised,
    auuc_perfect_normalised,
    qini_causalml,
    qini_causalml_normalised,
    qini_perfect_normalised,
)
from training.uplift.deciles import Calibration, Decile, by_decile, calibration
from training.uplift.effects import (
    Effect,
    difference_in_means,
    doubly_robust,
    doubly_robust_on_treated,
    propensities,
)
from training.uplift.learner import Predicted, Settings, cross_fit, ranks
from training.uplift.tables import Attributes, Table, table_of

FEWEST = 100
"""Units in each arm below which nothing is estimated: ten a decile."""

GREATEST = 1e30
"""Size of an outcome: LightGBM keeps labels as 32-bit floats."""

PERMUTATIONS = 200

CONFOUNDING = Settings(rate=0.05, leaves=8, leaf_share=0.01)
"""How models are learnt that take out what drove both arm and outcome: finer than those that rank. There a difference
that is missed costs a little order; here it is taken for an effect."""


class Inestimable(ValueError):
    """There is no estimate; the text says what was expected and what was found."""


class Areas(NamedTuple):
    """Areas under curves, each by the convention in its name (`training.uplift.curves`); NaN where it has none.

    Attributes:
        qini_perfect_normalised: scikit-uplift's `qini_auc_score`; chance 0.
        auuc_perfect_normalised: scikit-uplift's `uplift_auc_score`; chance 0. NaN for outcomes other than 0 and 1.
        qini_causalml: causalml's `qini_score(normalize=False)`; in the outcome's unit, chance 0.
        qini_causalml_normalised: causalml's `qini_score`; chance 0.
        auuc_causalml_normalised: causalml's `auuc_score`; chance 1/2.
        qini_chance_95: `qini_perfect_normalised` that one ranking by chance in twenty reaches.
        qini_chance_p: share of rankings by chance with a `qini_perfect_normalised` at least as large, this one counted.
    """

    qini_perfect_normalised: float
    auuc_perfect_normalised: float
    qini_causalml: float
    qini_causalml_normalised: float
    auuc_causalml_normalised: float
    qini_chance_95: float
    qini_chance_p: float


class Robust(NamedTuple):
    """Effects where units were not assigned by chance, as far as their attributes say why they are where they are.

    Attributes:
        all: on all units with overlap.
        treated: on treated units with overlap.
        overlap: units whose propensity is outside `overlap` to 1 - `overlap` are left out of `all`; those above
            1 - `overlap` of `treated`.
    """

    all: Effect
    treated: Effect
    overlap: float


class Estimate(NamedTuple):
    """What is known of who gains.

    Attributes:
        effect: of all units, difference in means.
        control_mean: of the outcome.
        areas: of the ranking.
        deciles: ten, highest predicted uplift first.
        calibration: how effects follow predictions; None if some decile has no interval.
        importance: attributes with their share of what the models' splits gained, most first.
        left_out: attributes that are not used.
        settings: of the models.
        alpha: share of intervals that may miss.
        predicted: by unit, in the order given.
    """

    effect: Effect
    control_mean: float
    areas: Areas
    deciles: tuple[Decile, ...]
    calibration: Calibration | None
    importance: tuple[tuple[str, float], ...]
    left_out: tuple[str, ...]
    settings: Settings
    alpha: float
    predicted: Predicted


def estimate(
    attributes: Sequence[Attributes],
    outcome: F64,
    treated: Bool,
    code: U64,
    settings: Settings | None = None,
    *,
    alpha: float = 0.05,
    told: Callable[[int, int], None] | None = None,
) -> Estimate:
    """Estimate. The result does not depend on the order of units.

    Args:
        attributes: of each unit, as they were before it was exposed; n of them.
        outcome: finite, shape (n,).
        treated: whether a unit is in the arm that is tried, not in the control, shape (n,).
        code: hash of each unit, all different, shape (n,).
        settings: how models are learnt.
        alpha: share of intervals that may miss.
        told: called as work goes on: how much is done, of how much.

    Raises:
        Inestimable: there are too few units, or the outcome is the same for all, or not finite, or huge.
        NoAttributes: nothing tells units apart.
        MissingExtra: LightGBM cannot be used.
    """
    settings = settings or Settings()
    for arm, units in (("treated units", int(treated.sum())), ("controls", int((~treated).sum()))):
        if units < FEWEST:
            raise Inestimable(f"expected at least {FEWEST} {arm}, got {units:,}")
    if (outcome == outcome[0]).all():
        raise Inestimable(f"expected outcomes that differ, got {outcome[0]:g} for all {len(outcome):,} units")
    if not bool((np.abs(outcome) <= GREATEST).all()):
        raise Inestimable(f"expected outcomes of size {GREATEST:g} at most, got others")
    # Sums of floats depend on their order; that of hashes is the same whatever came first.
    order = np.argsort(code, kind="stable")
    outcome, treated, code = outcome[order], treated[order], code[order]
    table = table_of([attributes[at] for at in order])
    steps = 2 * settings.folds + PERMUTATIONS // 20
    moved = (lambda done, _: told(done, steps)) if told else None
    predicted = cross_fit(table, outcome, treated, code, settings, moved)
    rank = ranks(predicted.uplift, predicted.fold)
    found = by_decile(outcome, treated, rank, predicted.uplift, alpha)
    areas = _areas(outcome, rank, treated, settings.seed)
    if told:
        told(steps, steps)
    return Estimate(
        difference_in_means(outcome, treated, alpha),
        float(outcome[~treated].mean()),
        areas,
        found,
        calibration(found, alpha),
        _importance(table, predicted),
        table.left_out,
        settings,
        alpha,
        _at(predicted, np.argsort(order, kind="stable")),
    )


def robust(
    attributes: Sequence[Attributes],
    outcome: F64,
    treated: Bool,
    code: U64,
    settings: Settings = CONFOUNDING,
    *,
    alpha: float = 0.05,
    overlap: float = 0.1,
) -> Robust:
    """Estimate effects doubly robust; arguments and errors as `estimate`."""
    order = np.argsort(code, kind="stable")
    outcome, treated, code = outcome[order], treated[order], code[order]
    table = table_of([attributes[at] for at in order])
    predicted = cross_fit(table, outcome, treated, code, settings)
    share = propensities(table, treated, predicted.fold, settings)
    return Robust(
        doubly_robust(outcome, treated, predicted, share, alpha, overlap),
        doubly_robust_on_treated(outcome, treated, predicted, share, alpha, overlap),
        overlap,
    )


def _at(predicted: Predicted, places: I64) -> Predicted:
    return predicted._replace(
        treated=predicted.treated[places], control=predicted.control[places], fold=predicted.fold[places]
    )


def _importance(table: Table, predicted: Predicted) -> tuple[tuple[str, float], ...]:
    named = [(column.name, float(share)) for column, share in zip(table.columns, predicted.importance, strict=True)]
    return tuple(sorted(named, key=lambda one: (-one[1], one[0])))


def _areas(outcome: F64, rank: F64, treated: Bool, seed: int) -> Areas:
    binary = bool(np.isin(outcome, (0.0, 1.0)).all())
    qini = qini_perfect_normalised(outcome, rank, treated)
    draws = np.random.default_rng(seed)
    chance = np.array([qini_perfect_normalised(outcome, draws.permutation(rank), treated) for _ in range(PERMUTATIONS)])
    known = not math.isnan(qini)
    return Areas(
        qini,
        auuc_perfect_normalised(outcome, rank, treated) if binary else math.nan,
        qini_causalml(outcome, rank, treated),
        qini_causalml_normalised(outcome, rank, treated),
        auuc_causalml_normalised(outcome, rank, treated),
        float(np.quantile(chance, 0.95)) if known else math.nan,
        float((1 + np.count_nonzero(chance >= qini)) / (1 + PERMUTATIONS)) if known else math.nan,
    )
