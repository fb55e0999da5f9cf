"""What may be changed of an experiment: before its start all, then the future alone."""

import msgspec
import pytest

from flows.experiment_changes import FROZEN, applied, differences, ended, refusals, state
from schemas.definition import Definition, Guardrail, Metric, Phase

METRIC = Metric(name="m", kind="mean", event="e", value="amount")
START, NOW, LATER = 1_000, 2_000, 3_000


def phase(start, *weights):
    return Phase(start=start, coverage=1.0, weights=weights or (0.5, 0.5))


RUNNING = Definition(
    id="x",
    version=4,
    timestamp=500,
    seed="x",
    variations=("a", "b"),
    phases=(phase(START), phase(LATER, 0.1, 0.9)),
    primary=METRIC,
    alpha=0.05,
    tuning_n=5_000,
    attribution_window_s=60,
    minimum_run_s=0,
    mde=0.1,
    cuped=True,
)
OTHER = {
    "seed": "y",
    "hash_version": 1,
    "namespace": "n",
    "namespace_first": 0.1,
    "namespace_end": 0.9,
    "variations": ("a", "c"),
    "primary": msgspec.structs.replace(METRIC, cap=5.0),
    "secondary": (METRIC,),
    "guardrails": (Guardrail(metric=METRIC, margin=0.1),),
    "alpha": 0.1,
    "tuning_n": 6_000,
    "cuped": False,
    "mde": 0.2,
    "minimum_run_s": 1,
    "attribution_window_s": 61,
    "pre_period_s": 1,
}
FREE = {"id", "schema", "version", "timestamp", "phases", "end", "description"}


def changed(**fields):
    return msgspec.structs.replace(RUNNING, **fields)


def test_every_field_is_either_frozen_or_known_to_be_free():
    assert FROZEN.keys() | FREE == set(Definition.__struct_fields__)
    assert FROZEN.keys() == OTHER.keys()


@pytest.mark.parametrize("name", OTHER)
def test_the_analysis_and_the_hashing_stay_once_it_runs_and_the_reason_is_said(name):
    (line,) = refusals(RUNNING, changed(**{name: OTHER[name]}), NOW)
    assert line.startswith(f"{name}: expected ")
    assert line.endswith(FROZEN[name])


@pytest.mark.parametrize("name", OTHER)
def test_before_its_start_everything_may_change(name):
    assert refusals(RUNNING, changed(**{name: OTHER[name]}), START - 1) == []


def test_all_refusals_come_at_once():
    assert len(refusals(RUNNING, changed(**OTHER), NOW)) == len(OTHER)


@pytest.mark.parametrize(
    "fields",
    [
        {"phases": (phase(START),)},
        {"phases": (phase(START), phase(LATER, 0.2, 0.8))},
        {"phases": (phase(START), phase(NOW + 1, 0.2, 0.8), phase(LATER))},
        {"end": NOW},
        {"end": LATER + 1},
        {"description": "in other words"},
    ],
)
def test_the_future_may_change_while_it_runs(fields):
    assert refusals(RUNNING, changed(**fields), NOW) == []


@pytest.mark.parametrize(
    ("phases", "told"),
    [
        ((phase(START, 0.4, 0.6),), "phases[0]: expected "),
        ((phase(START + 1),), "phases[0]: expected "),
        ((phase(START), phase(NOW)), "phases[1].start: expected a time from now on, got 2000: "),
        ((phase(START), phase(START + 1), phase(LATER)), "phases[1].start: expected a time from now on, got 1001: "),
    ],
)
def test_phases_that_have_begun_stay_and_none_begins_in_the_past(phases, told):
    (line,) = refusals(RUNNING, changed(phases=phases), NOW)
    assert line.startswith(told)


def test_an_end_in_the_past_is_refused():
    assert refusals(RUNNING, changed(end=NOW - 1), NOW) == [
        "end: expected a time from now on, got 1999: units have been assigned since"
    ]


def test_an_ended_experiment_stays_as_it_was():
    over = changed(end=NOW)
    (line,) = refusals(over, changed(end=None), NOW)

    assert line.startswith("end: it ended at 2000, and ")
    assert refusals(over, over, NOW) == []


def test_an_experiment_that_is_not_there_yet_may_have_begun():
    assert refusals(None, RUNNING, NOW) == []


def test_differences_name_the_fields_and_stamps_are_none():
    assert differences(RUNNING, changed(version=9, timestamp=9)) == []
    assert differences(RUNNING, changed(alpha=0.1, end=7)) == ["alpha: 0.05 -> 0.1", "end: null -> 7"]
    assert differences(None, RUNNING) == ["new"]


def test_an_applied_definition_has_the_next_version_and_the_time():
    first, next_one = applied(None, RUNNING, NOW), applied(RUNNING, RUNNING, NOW)
    assert [(one.version, one.timestamp) for one in (first, next_one)] == [(1, NOW), (5, NOW)]


def test_stopping_sets_the_end_and_takes_out_phases_that_would_come_after_it():
    assert ended(RUNNING, NOW) == changed(phases=(phase(START),), end=NOW)
    assert ended(RUNNING, LATER + 1) == changed(end=LATER + 1)
    assert refusals(RUNNING, ended(RUNNING, NOW), NOW) == []


def test_the_state_goes_from_scheduled_by_running_to_ended():
    assert [state(changed(end=LATER), at) for at in (START - 1, START, LATER - 1, LATER)] == [
        "scheduled",
        "running",
        "running",
        "ended",
    ]
