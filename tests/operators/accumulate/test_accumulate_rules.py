"""What counts when, rule by rule, with numbers that can be checked by hand."""

import math

import pytest
from accumulate_reference import batch, decided, experiment, measured, measures, metric, rows, shown, tick

from operators.accumulate.config import REASONS, AccumulateConfig
from operators.accumulate.stage import Accumulate
from operators.side import Side
from schemas.definition import Phase
from schemas.part import RISK, STRATA

T = 10_000_000
S = 1_000
WINDOW_S, LATENESS_S = 300, 60


def phase(start_s, *weights):
    return Phase(start=T + start_s * S, coverage=1.0, weights=weights or (0.5, 0.5))


def stage(*experiments, **config):
    made = Accumulate(AccumulateConfig(**{"allowed_lateness_s": LATENESS_S, "tiers": True, **config}))
    experiments = experiments or (experiment(window_s=WINDOW_S),)
    made.define({each.id: each for each in experiments})
    return made


def after(made, *listed):
    made.process(batch(list(listed)))
    return made


def settled(made, name="e", index=0):
    """Return n, and the sums of y, d, x and w of units whose windows are over."""
    return made.totals(name).matured[index, ..., :5].sum(axis=(0, 1, 2)).tolist()


def opened(made, name="e", index=0):
    """Return open units, and their sums of y and d."""
    return made.totals(name).open[index].sum(axis=(0, 1, 2)).tolist()


END = tick(T + 10_000 * S)


def test_a_unit_enters_the_sums_when_its_window_and_the_lateness_are_over():
    made = after(stage(), shown(1, T), measured(1, T + 5 * S, 3.0), tick(T + 359 * S))
    assert (opened(made), settled(made)[0]) == ([1.0, 3.0, 1.0], 0.0)

    after(made, tick(T + 360 * S))
    assert (opened(made), settled(made)) == ([0.0, 0.0, 0.0], [1.0, 3.0, 1.0, 0.0, 1.0])


@pytest.mark.parametrize(("at_s", "counts"), [(-1, 0.0), (0, 3.0), (299, 3.0), (300, 0.0)])
def test_a_record_counts_from_the_exposure_to_the_end_of_the_window(at_s, counts):
    made = after(stage(), shown(1, T), measured(1, T + at_s * S, 3.0), END)

    assert settled(made)[1] == counts


def test_a_record_that_comes_before_the_exposure_it_follows_counts():
    assert settled(after(stage(), measured(1, T + 5 * S, 3.0), shown(1, T), END))[1] == 3.0


def test_the_first_exposure_by_event_time_counts_though_it_comes_second():
    made = after(stage(), shown(1, T + 10 * S, arm=1), measured(1, T + 305 * S, 3.0), shown(1, T + 250 * S, arm=0))
    assert made.totals("e").exposed.sum(axis=(0, 1)).tolist() == [0.0, 1.0]

    made = after(stage(), shown(1, T + 10 * S, arm=1), measured(1, T + 50 * S, 3.0), shown(1, T, arm=0))
    assert made.totals("e").exposed.sum(axis=(0, 1)).tolist() == [1.0, 0.0]
    assert made.totals("e").several.sum(axis=(0, 1)).tolist() == [1.0, 0.0]
    assert made.totals("e").first_ms == T


def test_a_unit_that_comes_back_after_its_window_is_not_counted_again():
    made = after(stage(), shown(1, T), tick(T + 1_000 * S), shown(1, T + 1_001 * S, arm=1), END)

    assert settled(made)[0] == 1.0
    assert made.totals("e").several.sum() == 1.0


def test_a_late_record_of_an_open_window_counts_and_of_a_closed_one_is_refused():
    made = after(stage(), shown(1, T), tick(T + 200 * S), measured(1, T + 5 * S, 3.0))
    assert (opened(made)[1], made.totals("e").refused) == (3.0, {})

    after(made, tick(T + 360 * S), measured(1, T + 6 * S, 3.0))
    assert (settled(made)[1], made.totals("e").refused) == (3.0, {"late": 1})


def test_a_cap_is_put_on_the_sum_of_a_unit_and_on_what_was_before():
    spend = metric("spend", cap=5.0)
    made = stage(experiment(primary=spend, window_s=WINDOW_S, pre_period_s=100))
    after(made, measured(1, T - 9 * S, 4.0), measured(1, T - 8 * S, 4.0), shown(1, T))
    after(made, measured(1, T + 1 * S, 4.0), measured(1, T + 2 * S, 4.0))
    assert opened(made)[1] == 8.0

    assert settled(after(made, END)) == [1.0, 5.0, 1.0, 5.0, 1.0]


def test_a_proportion_is_1_once_there_is_any_record_even_one_without_a_number():
    made = stage(experiment(primary=metric("spend", "proportion"), window_s=WINDOW_S))
    after(made, shown(1, T), measured(1, T + 1, math.nan), measured(1, T + 2, 7.0), shown(2, T), END)

    assert settled(made) == [2.0, 1.0, 2.0, 0.0, 2.0]
    assert made.totals("e").refused == {}


def test_a_ratio_has_two_sums_of_both_times():
    of = metric("spend", "ratio", denominator_event="visit", denominator="pages")
    above, below = measures(of)
    made = stage(experiment(primary=of, window_s=WINDOW_S, pre_period_s=100))
    after(made, measured(1, T - 2 * S, 5.0, above), measured(1, T - 1 * S, 2.0, below), shown(1, T))
    after(made, *(measured(1, T + k, 1.5, above) for k in (0, 1)), measured(1, T + 9, 4.0, below))
    assert opened(made) == [1.0, 3.0, 4.0]

    assert settled(after(made, END)) == [1.0, 3.0, 4.0, 5.0, 2.0]


def test_a_sum_ignores_a_record_without_a_number_and_counts_it_as_refused():
    made = after(stage(), shown(1, T), measured(1, T + 1, math.nan), measured(1, T + 2, 2.0), END)

    assert settled(made)[1] == 2.0
    assert made.totals("e").refused == {"no_value": 1}


@pytest.mark.parametrize("value", [1.1e75, -math.inf, math.inf])
def test_a_number_whose_square_could_not_be_summed_is_refused(value):
    made = after(stage(), shown(1, T), measured(1, T + 1, value), END)

    assert (settled(made)[1], made.totals("e").refused) == (0.0, {"too_large": 1})


WITH_PAST = experiment(window_s=WINDOW_S, pre_period_s=100)


@pytest.mark.parametrize(
    ("told", "on_record", "x"),
    [(9.0, math.nan, 9.0), (math.nan, 8.0, 8.0), (9.0, 8.0, 9.0), (math.nan, math.nan, 4.0), (math.inf, 8.0, 8.0)],
)
@pytest.mark.parametrize("exposure_first", [True, False])
def test_before_exposure_counts_what_the_exposure_tells_else_a_record_else_what_was_seen(
    told, on_record, x, exposure_first
):
    exposure, record = shown(1, T, pre=told), measured(1, T + 1, 1.0, pre=on_record)
    listed = [exposure, record] if exposure_first else [record, exposure]
    made = after(stage(WITH_PAST), measured(1, T - 99 * S, 4.0), measured(1, T - 101 * S, 50.0), *listed)

    assert settled(after(made, END))[3] == x


@pytest.mark.parametrize("exposure_first", [True, False])
def test_of_records_that_tell_what_was_before_the_first_is_believed(exposure_first):
    records = [measured(1, T + 2, pre=6.0), measured(1, T + 1, pre=7.0)]
    listed = [shown(1, T), *records] if exposure_first else [*records, shown(1, T)]

    assert settled(after(stage(WITH_PAST), *listed, END))[3] == 6.0


def test_the_phase_is_as_told_else_by_the_time():
    made = stage(experiment(phases=(phase(0), phase(100), phase(200)), window_s=WINDOW_S))
    after(made, shown(1, T + 99 * S), shown(2, T + 100 * S), shown(3, T + 200 * S, phase=0))

    assert made.totals("e").exposed.sum(axis=(1, 2)).tolist() == [2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (shown(1, T - 1), "before_start"),
        (shown(1, T + 50 * S), "after_end"),
        (shown(1, T, phase=1), "no_phase"),
        (shown(1, T, arm=2), "no_variation"),
        (shown(1, T, arm=-1), "no_variation"),
    ],
)
def test_an_exposure_that_does_not_count_is_refused_by_reason(row, reason):
    made = stage(experiment(phases=(phase(0),), end=T + 50 * S))
    answer = made.process(batch([row]))

    assert made.totals("e").refused == {reason: 1}
    assert answer.flags.tolist() == [1 + REASONS.index(reason)]
    assert made.totals("e").exposed.sum() == 0


def test_the_stratum_is_the_newest_tier_before_the_exposure_whenever_it_comes():
    before, newest, at = decided(1, T - 9, 1), decided(1, T - 1, 3), decided(1, T, 4)
    for listed in ([before, newest, at, shown(1, T)], [at, newest, shown(1, T), before], [shown(1, T), newest, at]):
        made = after(stage(), *listed)
        assert made.totals("e").exposed.sum(axis=(0, 2)).tolist() == [0, 0, 0, 1, 0], listed


@pytest.mark.parametrize("strata", [(1, 3), (3, 1)])
@pytest.mark.parametrize("later", [(), (tick(T + 5_000 * S),)])
def test_of_two_decisions_at_the_same_time_the_higher_is_the_stratum(strata, later):
    decisions = [decided(1, T, stratum) for stratum in strata]
    made = after(stage(), *decisions, *later, shown(1, T + 5_001 * S if later else T + 1))

    assert made.totals("e").exposed.sum(axis=(0, 2)).tolist() == [0, 0, 0, 1, 0]


def test_an_experiment_of_more_metrics_than_fit_is_refused():
    many = experiment("many", secondary=tuple(metric(f"m{number}") for number in range(600)))
    made = stage(experiment(window_s=WINDOW_S), many)

    assert [each.id for each in made.definitions] == ["e"]
    assert made._world.ledger.refused[0, REASONS.index("definition")] == 1


def test_a_tier_is_remembered_longer_than_decisions_are_pending():
    made = after(stage(), decided(1, T, 2), tick(T + 5_000 * S), shown(1, T + 5_001 * S), shown(2, T + 5_001 * S))

    assert made.totals("e").exposed.sum(axis=(0, 2)).tolist() == [1, 0, 1, 0, 0]


@pytest.mark.parametrize(("stratum", "at_s", "risk"), [(2, 5, 0), (3, 5, 1), (4, 299, 1), (4, 300, 0), (4, -1, 0)])
@pytest.mark.parametrize("exposure_first", [True, False])
def test_a_high_or_critical_decision_within_the_window_is_a_risk(stratum, at_s, risk, exposure_first):
    listed = [shown(1, T), decided(1, T + at_s * S, stratum)]
    made = after(stage(), *(listed if exposure_first else listed[::-1]), END)
    assert made.totals("e").metrics == ("spend", RISK)

    assert settled(made, index=1) == [1.0, risk, 1.0, 0.0, 1.0]


def test_without_tiers_all_units_are_unknown_and_there_is_no_risk():
    made = after(stage(tiers=False), decided(1, T - 1, 4), shown(1, T), decided(1, T + 1, 4), END)

    assert made.totals("e").metrics == ("spend",)
    assert made.totals("e").exposed.sum(axis=(0, 2)).tolist() == [1, 0, 0, 0, 0]
    assert made.totals("e").exposed.shape[1] == len(STRATA)


def test_a_repeated_record_changes_nothing():
    made = after(stage(), shown(1, T), *(measured(1, T + 1, 3.0, id_hash=5) for _ in range(2)))

    assert opened(made)[1] == 3.0
    assert made._world.ledger.refused[0, REASONS.index("duplicate")] == 1


def test_one_wrong_clock_closes_no_window():
    made = after(stage(max_gap_s=600), shown(1, T), measured(2, T + 10_000 * S), measured(1, T + 1, 3.0))
    assert opened(made)[:2] == [1.0, 3.0]

    after(made, measured(3, T + 10_000 * S), measured(4, T + 10_000 * S))  # three units confirm it
    assert settled(made)[:2] == [1.0, 3.0]


def test_a_tick_moves_time_at_once_however_far_and_never_back():
    made = after(stage(), shown(1, T), tick(T + 10_000_000 * S), tick(T))

    assert made.stream_ms == T + 10_000_000 * S
    assert settled(made)[0] == 1.0


def test_records_of_a_side_topic_count_as_those_between():
    made = after(stage(), shown(1, T))
    made.take_side(Side(0, "metrics", 1, 0, 1, [], [], [], [], observed=rows([measured(1, T + 1, 3.0)])))

    assert opened(made)[1] == 3.0


def test_an_exposure_of_an_experiment_that_is_not_known_yet_is_refused():
    made = after(stage(), shown(1, T, "later"))

    assert made._world.ledger.refused[0, REASONS.index("no_experiment")] == 1


def test_a_new_phase_keeps_what_was_counted_and_gets_what_comes():
    first = experiment(phases=(phase(0),), window_s=WINDOW_S)
    made = after(stage(first), shown(1, T), measured(1, T + 1, 3.0), tick(T + 400 * S), shown(2, T + 401 * S))
    made.define({"e": experiment(phases=(phase(0), phase(500)), window_s=WINDOW_S, version=2)})
    after(made, shown(3, T + 501 * S), measured(2, T + 502 * S, 2.0))
    totals = made.totals("e")

    assert totals.definition.version == 2
    assert totals.exposed.sum(axis=(1, 2)).tolist() == [2.0, 1.0]
    assert totals.matured[0, ..., 1].sum(axis=(1, 2)).tolist() == [3.0, 0.0]
    assert totals.open[0, ..., 1].sum(axis=(1, 2)).tolist() == [2.0, 0.0]


def test_a_phase_that_nobody_came_in_may_go():
    made = after(stage(experiment(phases=(phase(0), phase(500)))), shown(1, T))
    made.define({"e": experiment(phases=(phase(0),), version=2)})

    assert made.totals("e").exposed.shape[0] == 1
    assert made.totals("e").exposed.sum() == 1


@pytest.mark.parametrize(
    "other",
    [
        {"variations": ("control", "new", "newer")},
        {"primary": metric("clicks")},
        {"window_s": 7},
        {"pre_period_s": 7},
        {"phases": (phase(1),)},
    ],
)
def test_a_change_that_does_not_fit_what_was_counted_is_refused(other):
    made = after(stage(experiment(phases=(phase(0),))), shown(1, T))
    made.define({"e": experiment(**{"phases": (phase(0),), **other, "version": 2})})

    assert made.totals("e").definition.version == 1
    assert made.totals("e").refused == {"definition": 1}


def test_before_anything_was_counted_every_change_is_taken():
    made = stage(experiment(phases=(phase(0),)))
    made.define({"e": experiment(phases=(phase(5),), variations=("a", "b", "c"), version=2)})
    after(made, shown(1, T + 5 * S, arm=2, arms=("a", "b", "c")))

    assert made.totals("e").exposed.sum(axis=(0, 1)).tolist() == [0, 0, 1]


def test_an_experiment_that_is_taken_back_takes_nothing_from_the_others():
    made = stage(*(experiment(name, window_s=WINDOW_S) for name in "efg"))
    after(made, *(shown(unit, T, name) for unit in (1, 2) for name in "efg"), measured(1, T + 1, 3.0))
    made.define({"f": None})
    after(made, measured(2, T + 2, 2.0), shown(3, T + 3, "f"), END)

    assert [settled(made, name)[:2] for name in "eg"] == [[2.0, 5.0], [2.0, 5.0]]
    with pytest.raises(KeyError):
        made.totals("f")


def test_an_experiment_that_comes_back_begins_anew():
    made = after(stage(), shown(1, T))
    made.define({"e": None})
    made.define({"e": experiment(window_s=WINDOW_S)})
    assert made.totals("e").exposed.sum() == 0

    assert after(made, shown(1, T + 1)).totals("e").exposed.sum() == 1


def test_changed_names_the_experiments_whose_totals_changed_since_it_was_asked():
    made = stage(*(experiment(name, window_s=WINDOW_S) for name in "ef"))
    assert made.changed() == ["e", "f"]
    assert made.changed() == []

    assert after(made, shown(1, T, "f")).changed() == ["f"]
    assert after(made, measured(1, T + 1)).changed() == ["f"]
    assert after(made, measured(2, T + 2)).changed() == []
    assert after(made, tick(T + 2)).changed() == ["e", "f"]  # another time, for all


def test_after_a_restart_all_experiments_have_changed():
    made = after(stage(), shown(1, T))
    made.changed()
    other = stage()
    other.load(made.dump())

    assert other.changed() == ["e"]


def test_sums_are_held_to_more_digits_than_one_float_has():
    """1e16 + 1 is 1e16 in one float: the low part keeps what a thousand such lose."""
    made = stage()
    listed = [
        row for unit in range(1, 1_001) for row in (shown(unit, T), measured(unit, T + 1, 1.0 if unit > 1 else 1e16))
    ]
    totals = after(made, *listed, END).totals("e")
    high, low = (array[0, ..., 1].sum() for array in (totals.matured, totals.matured_low))

    assert int(high) + int(low) == 10**16 + 999


def test_the_measurements_say_what_is_held_and_refused():
    made = after(stage(), shown(1, T), shown(2, T), measured(1, T + 1), shown(3, T, arm=9), decided(1, T, 3))
    found = {(each.metric, *each.labels.values()): each.value for each in made.measurements()}

    assert found["tidegate_units",] == 2
    assert found["tidegate_units_open",] == 2
    assert found["tidegate_pending_records",] == 2
    assert found["tidegate_units_refused_total", "no_variation"] == 1
    assert found["tidegate_stream_time_seconds",] == (T + 1) / 1_000


def test_another_configuration_has_another_fingerprint():
    assert stage().fingerprint == stage().fingerprint
    assert stage().fingerprint != stage(max_gap_s=7).fingerprint
