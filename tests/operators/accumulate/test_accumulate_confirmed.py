"""What must not be lost, swapped, hidden or kept open, though nobody would do it on purpose."""

from accumulate_reference import batch, decided, experiment, measured, rows, shown, tick

from operators.accumulate.config import REASONS, AccumulateConfig
from operators.accumulate.loop import PER_UNIT
from operators.accumulate.stage import Accumulate
from operators.batches import Change
from operators.side import Side
from operators.waiting import MOST
from schemas.definition import Phase

T, S = 10_000_000, 1_000
NIGHT = T + 43_200 * S
CRITICAL = 4


def stage(of=None, **config):
    made = Accumulate(AccumulateConfig(**{"allowed_lateness_s": 60, "max_gap_s": 600, "tiers": True, **config}))
    made.define({"e": of or experiment(window_s=86_400)})
    return made


def after(made, *listed):
    made.process(batch(list(listed)))
    return made


def opened(made):
    return made.totals("e").open[0, ..., :2].sum(axis=(0, 1, 2)).tolist()


def refused(made, reason):
    return made._world.ledger.refused[:, REASONS.index(reason)].sum()


def test_what_one_unit_did_in_a_quiet_morning_counts_however_long_apart():
    """Its newest record proposes the jump; its exposure, farther back than the lateness, is none the later for it."""
    made = after(stage(), shown(1, T), shown(5, NIGHT), measured(5, NIGHT + 70 * S, 7.0))
    after(made, measured(6, NIGHT + 80 * S), measured(7, NIGHT + 90 * S))

    assert opened(made) == [2.0, 7.0]
    assert refused(made, "late") == 0


def test_a_record_that_waits_counts_in_a_window_that_closes_within_the_jump():
    made = after(stage(experiment(window_s=43_260)), shown(1, T), measured(1, NIGHT, 3.0), measured(1, NIGHT + 480 * S))
    after(made, measured(2, NIGHT + 481 * S), measured(3, NIGHT + 482 * S))

    assert made.totals("e").matured[0, ..., :2].sum(axis=(0, 1, 2)).tolist() == [1.0, 3.0]


def test_what_is_due_counts_though_what_confirms_the_jump_is_still_ahead_of_it():
    made = after(stage(), shown(1, T), measured(1, NIGHT, 3.0), measured(2, NIGHT + 1 * S))
    after(made, measured(3, NIGHT + 40_000 * S))

    assert opened(made) == [1.0, 3.0]


def test_decisions_that_wait_make_room_for_exposures():
    made = after(stage(), shown(1, T), shown(5, NIGHT))
    after(made, *(decided(9, NIGHT + n, 1) for n in range(MOST)), shown(6, NIGHT), shown(7, NIGHT))

    assert opened(made)[0] == 4.0


def test_a_unit_does_not_hide_its_tier_behind_a_flood_of_records():
    made = after(stage(), *(measured(9, T, 0.0) for _ in range(PER_UNIT)), decided(9, T + 1, CRITICAL), shown(9, T + 2))

    assert made.totals("e").exposed.sum(axis=(0, 2)).tolist() == [0, 0, 0, 0, 1]


def test_a_phase_that_has_not_begun_has_no_units_whatever_an_exposure_tells():
    phases = tuple(Phase(start=T + at * S, coverage=1.0, weights=(0.5, 0.5)) for at in (0, 1_000))
    made = after(stage(experiment(phases=phases)), shown(1, T, phase=1))
    assert made.totals("e").refused == {"no_phase": 1}

    ended = experiment(phases=phases[:1], end=T + 10 * S, version=2)
    made.define({"e": ended})
    assert made.totals("e").definition == ended


def test_exposures_read_by_a_definition_that_was_refused_are_refused_rather_than_counted_in_swapped_arms():
    made = after(stage(), shown(1, T))
    made.define({"e": experiment(window_s=86_400, variations=("new", "control"), version=2)})
    after(made, shown(2, T + 1, arms=("new", "control")), shown(3, T + 1, arm=1))

    assert made.totals("e").exposed.sum(axis=(0, 1)).tolist() == [1, 1]
    assert refused(made, "no_experiment") == 1


def test_taken_back_and_applied_again_counts_anew_also_where_both_are_read_at_once():
    made = after(stage(), shown(1, T))
    gone = Change(0, 0, "experiment", {"experiment": "e", "version": None, "changed": "taken back"})
    definitions = {"e": experiment(window_s=86_400)}
    made.take_side(Side(0, "experiments.definitions", 1, 0, 2, [], [], [], [], definitions=definitions, changes=[gone]))

    assert made.totals("e").exposed.sum() == 0


def test_what_was_refused_stays_counted_when_its_experiment_is_taken_back():
    made = after(stage(), shown(1, T, arm=7))
    before = made._world.ledger.refused.sum()
    made.define({"e": None})

    assert made._world.ledger.refused.sum() == before == 1


def test_a_tick_lets_what_waits_of_a_side_topic_count_as_well():
    made = after(stage(), shown(1, T))
    made.take_side(Side(0, "metrics", 1, 0, 1, [], [], [], [], observed=rows([measured(1, NIGHT, 3.0)])))

    assert opened(after(made, tick(NIGHT)))[1] == 3.0
