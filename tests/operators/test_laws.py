"""Every stage keeps every law; then the whole pipeline, over garbage, any cuts and restarts at any point.

Which law a stage is held against follows from its place: teaching and flags exist downstream of featurize.
"""

import hashlib
import os
import subprocess
import sys
from functools import cache

import laws
import msgspec
import numpy as np
import pytest
import streams
from cutting import cut, evenly, random_cuts, span
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import run
from stages import COUNTERS, KEYED, PROPOSALS, STAGES, Pipeline, before, sided, trouble, troubled, upstream

from operators.batches import AHEAD, DUPLICATE, LATE, TIERS, Calibrated
from operators.calibrate.teaching import OUTCOMES
from operators.metrics import AUDIT_KINDS
from operators.state import Stage

SEEDS = (1, 2, 3)
TAUGHT = [name for name in STAGES if "featurize" in before(name)]
LEARNING = [name for name in TAUGHT if name not in ("tier", "encode")]  # a tier knows no model


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_is_a_stage(name):
    assert isinstance(STAGES[name](), Stage)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_leaves_its_input_alone(name):
    laws.leaves_its_input_alone(STAGES[name], evenly(troubled(name), 300))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_survives_a_snapshot(name, seed):
    batch = troubled(name, seed)
    batches = cut(batch, random_cuts(seed, span(batch).first, span(batch).next, 12))

    laws.survives_a_snapshot(STAGES[name], batches, at=range(1, len(batches), 2))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_does_not_care_about_cuts(name, seed):
    batch = troubled(name, seed)

    laws.does_not_care_about_cuts(STAGES[name], batch, random_cuts(seed, span(batch).first, span(batch).next, 40))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_does_not_care_about_cuts_around_side_inputs(name, seed):
    laws.does_not_care_about_cuts_around_sides(STAGES[name], sided(name, seed), random_cuts(seed, 0, 2_000, 40))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_survives_a_snapshot_around_side_inputs(name):
    items = sided(name)

    laws.survives_a_snapshot(STAGES[name], items, at=range(1, len(items), 3))


def test_the_side_inputs_of_the_laws_have_everything_in_them():
    stage = STAGES["calibrate"]()
    answers = run(stage, sided("calibrate"))
    measured = {(each.metric, *each.labels.values()): each.value for each in stage.measurements()}
    given = np.concatenate([answer.probability for answer in answers if isinstance(answer, Calibrated)])

    assert np.isnan(given).any()
    assert len(np.unique(given[~np.isnan(given)])) > 20
    assert all(measured["tidegate_labels_total", outcome] > 0 for outcome in OUTCOMES)
    assert measured[("tidegate_remembered_unripe_total",)] > 0


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_does_not_care_if_every_record_comes_alone(name):
    [batch] = upstream(name, [streams.messages(trouble(4, 400))])

    laws.does_not_care_about_cuts(STAGES[name], batch, range(span(batch).next))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_learns_the_same_when_muted(name):
    laws.learns_the_same_when_muted(STAGES[name], evenly(troubled(name), 500))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_repeats_itself(name):
    laws.repeats_itself(STAGES[name], evenly(troubled(name), 500))


def late_and_repeated(past):
    """Return events that repeat the last forty, with another amount, and forty new ones that come a day late."""
    last = [event for event in past if isinstance(event, dict)][-40:]
    longer_ago = streams.START_MS - streams.DAY_MS
    late = [{**event, "id": f"late-{i}", "timestamp": longer_ago, "amount": 1e6} for i, event in enumerate(last)]
    return [*({**event, "amount": 1e6} for event in last), *late]


def of_a_wrong_clock(past):
    """Return the events of one user whose clock runs ten days ahead: too few users to confirm a jump."""
    event = [event for event in past if isinstance(event, dict)][-1]
    ahead = event["timestamp"] + 10 * streams.DAY_MS
    return [{**event, "id": f"ahead-{i}", "timestamp": ahead + i, "amount": 1e6} for i in range(40)]


@pytest.mark.parametrize(
    ("flag_with", "bits", "may_change"),
    [(late_and_repeated, LATE | DUPLICATE, COUNTERS), (of_a_wrong_clock, AHEAD, COUNTERS | PROPOSALS)],
)
@pytest.mark.parametrize("name", ["featurize", *TAUGHT])
def test_a_stage_learns_nothing_from_flagged_events(name, flag_with, bits, may_change):
    past = trouble(5, 900)
    flagged = flag_with(past)
    newest = [event["timestamp"] for event in past if isinstance(event, dict)][-1]
    after = streams.habits(6, 300, start_ms=newest, users=40)
    pieces = cut(streams.messages([*past, *flagged, *after]), [len(past), len(past) + len(flagged)])
    assert np.bitwise_or.reduce(upstream("score", pieces)[1].flags) == bits
    assert (upstream("score", pieces)[1].flags != 0).all()

    first, between, last = upstream(name, pieces)
    laws.learns_nothing_from(STAGES[name], [first], between, [last], may_change)


def newcomers(n):
    """Return batches in which each event is of a user never seen before."""
    rng = np.random.default_rng(8)
    amounts = rng.lognormal(3, 1, n).round(2).tolist()
    events = [
        {
            "id": f"n{i}",
            "timestamp": streams.START_MS + 100 * i,
            "user": f"newcomer-{i}",
            "type": "pay",
            "amount": amounts[i],
            "ip": f"ip-{i}",
            "device": f"device-{i}",
            "counterparty": f"shop-{i % 7}",
        }
        for i in range(n)
    ]
    return evenly(streams.messages(events), 2_500)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_keeps_its_memory_bounded_under_a_flood_of_users(name):
    # A histogram is written up to its last bin in use, and a rare score may come late: a tenth more.
    laws.keeps_its_memory_bounded(STAGES[name], upstream(name, newcomers(100_000)), slack=0.1)


@pytest.mark.parametrize("name", KEYED)
def test_a_stage_keeps_users_apart(name):
    rng = np.random.default_rng(10)
    events = []
    for event in streams.habits(11, 900, users=1, bursts=0.02, gap_ms=10_000):
        others = [f"other-{number}" for number in rng.integers(5, size=rng.integers(3))]
        # The others share address, device and shop with the user, and much of the time also the event's id.
        events += [event, *({**event, "user": other, "amount": 1.0} for other in others)]
    [batch] = upstream(name, [streams.messages(events)])
    [judged] = upstream("calibrate", [streams.messages(events)])

    laws.keeps_users_apart(STAGES[name], batch, int(judged.featured.decoded.user[0]))


@pytest.mark.parametrize("name", [name for name in STAGES if name != "encode"])
def test_a_stage_does_not_look_ahead(name):
    past = trouble(12, 900)
    newest = max(event["timestamp"] for event in past if isinstance(event, dict))
    futures = [streams.habits(seed, 200, start_ms=newest, users=40, bursts=0.1) for seed in (13, 14)]
    batch, other = (upstream(name, [streams.messages([*past, *future])])[0] for future in futures)

    laws.does_not_look_ahead(STAGES[name], batch, other, until=len(past))


@pytest.mark.parametrize("name", LEARNING)
def test_a_stage_scores_before_it_learns(name):
    batch = troubled(name)
    scored = troubled("calibrate")
    unflagged = np.flatnonzero(scored.featured.flags == 0)
    highest = unflagged[np.nanargmax(scored.score[unflagged])]

    for row in (highest, *unflagged[:: len(unflagged) // 12]):
        laws.scores_before_it_learns(STAGES[name], batch, int(row))


@pytest.mark.parametrize(("name", "column"), [("score", "score"), ("calibrate", "tail")])
def test_what_is_flagged_is_never_learned(name, column):
    batch = troubled(name)
    for row in range(len(troubled("score").flags)):
        if troubled("score").flags[row] == 0:
            batch = laws.with_learning_flipped(batch, row)

    [answer] = run(STAGES[name](), [batch])

    assert np.isnan(getattr(answer, column)).all()


def test_the_stream_of_the_laws_has_everything_in_it():
    """Laws over a stream in which nothing happens would say nothing."""
    tiered = troubled("encode")
    flags = tiered.calibrated.scored.featured.flags
    pipeline = Pipeline()
    kinds = pipeline.process(streams.messages(trouble(1))).audited
    measured = {
        measurement.metric: measurement.value
        for stage in pipeline.stages.values()
        for measurement in stage.measurements()
    }

    assert {TIERS[code] for code in tiered.tier} == set(TIERS)
    assert {TIERS[code] for code in tiered.standing} == set(TIERS) - {"unknown"}
    assert all((flags & bit).any() for bit in (LATE, DUPLICATE, AHEAD))
    assert len({rejected.reason for rejected in troubled("featurize").rejected}) >= 8
    assert set(kinds) == set(AUDIT_KINDS["risk"])
    for metric in ("entities", "dedup", "standings"):
        assert measured[f"tidegate_{metric}_evicted_total"] > 0, metric


def answers(values, cuts=(), restarts=None, warm=None, first=0):
    """Return what the pipeline writes for raw values, as bytes, and its state after them.

    Args:
        values: events and garbage.
        cuts: offsets.
        restarts: batch -> names of the stages that are restarted before it.
        warm: written state to begin with.
        first: offset of the first value.
    """
    pipeline = Pipeline()
    pipeline.restart(warm or {})
    records = []
    for i, batch in enumerate(cut(streams.messages(values, first=first), cuts)):
        written = pipeline.dump()
        pipeline.restart({name: written[name] for name in (restarts or {}).get(i, ())})
        records += pipeline.process(batch).records
    return records, pipeline.dump()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_pipeline_writes_the_same_bytes_for_any_cuts_and_restarts(seed):
    values = trouble(seed)
    rng = np.random.default_rng(seed)
    cuts = random_cuts(seed, 0, len(values), 40)
    restarts = {i: rng.choice(list(STAGES), rng.integers(len(STAGES) + 1), replace=False) for i in range(len(cuts))}

    assert answers(values, cuts, restarts) == answers(values)


WARM_VALUES = streams.with_garbage(streams.habits(20, 600, users=4, bursts=0.02), 20)
WARM_UNTIL = max(event["timestamp"] for event in WARM_VALUES if isinstance(event, dict))


@cache
def warm_state():
    return answers(WARM_VALUES)[1]


@settings(max_examples=100)
@given(data=st.data())
def test_a_warm_pipeline_writes_the_same_bytes_for_any_trouble_cuts_and_restarts(data):
    values = data.draw(streams.strategy_values(start_ms=WARM_UNTIL))
    first = len(WARM_VALUES)
    cuts = data.draw(streams.strategy_cuts(first, first + len(values)))
    restarts = data.draw(st.dictionaries(st.integers(0, 12), st.sets(st.sampled_from(list(STAGES))), max_size=6))

    cut_and_restarted = answers(values, cuts, restarts, warm_state(), first)

    assert cut_and_restarted == answers(values, warm=warm_state(), first=first)


@settings(max_examples=100)
@given(streams.strategy_values())
def test_every_record_leaves_by_exactly_one_door(values):
    records, _ = answers(values)

    doors = [record for record in records if record.topic not in ("risk.alerts", "risk.evidence", "audit")]
    assert [msgspec.json.decode(record.value)["offset"] for record in doors] == list(range(len(values)))


def test_the_pipeline_writes_the_same_bytes_in_processes_with_other_hash_seeds():
    digests = [
        subprocess.run(
            [sys.executable, "-c", "import test_laws; print(test_laws.digest())"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]

    assert digests == [digest()] * 2


def digest():
    """Return a hash of all that the pipeline writes for a stream, and of its state."""
    records, written = answers(trouble(1))
    said = repr([msgspec.structs.astuple(record) for record in records]).encode() + b"".join(written.values())
    return hashlib.sha256(said).hexdigest()
