"""What is captured for explanations is what the score was made of: against sums by hand and a walk step by step."""

import dataclasses
import math

import msgspec
import numpy as np
import pytest
from cutting import cut
from laws import run
from stages import CATALOGUE, STAGES, troubled

from operators.batches import TIERS
from operators.capture import Capture, node_masses
from operators.score import ScoreConfig
from schemas.decision import Decision
from schemas.evidence import Evidence


def evidence_of(records):
    return [msgspec.json.decode(record.value, type=Evidence) for record in records if record.topic == "risk.evidence"]


@pytest.fixture(scope="module")
def records():
    return run(STAGES["encode"](), [troubled("encode")])[0].records


def walked(leaf, masses, limit):
    """Follow one event through one tree by the definition: a node's mass is the sum of the leaves below it."""
    leaves = len(masses.leaf[0])
    height = leaves.bit_length() - 1
    columns, found = [], []
    for tree, end in enumerate(leaf.tolist()):
        low, high, k = 0, leaves, 1
        for _ in range(height + 1):
            found.append(int(masses.leaf[tree, low:high].sum()))
            if found[-1] < limit or high - low == 1:
                break
            columns.append(int(masses.split_feature[tree, k]))
            middle = (low + high) // 2
            k, low, high = (2 * k, low, middle) if end < middle else (2 * k + 1, middle, high)
    return columns, found


def test_the_mass_of_a_node_is_the_sum_of_the_leaves_below_it():
    mass = np.zeros((1, 8), np.int32)
    node_masses(np.array([[1, 2, 3, 4]], np.int32), mass)

    assert mass[0, 1:].tolist() == [10, 3, 7, 1, 2, 3, 4]


def test_there_is_one_record_for_each_decision_from_medium_up_and_after_it(records):
    decisions = [record for record in records if record.topic == "risk.tiers"]
    risky = [msgspec.json.decode(record.value, type=Decision) for record in decisions]
    risky = [(each.id, each.offset, each.tier, each.user) for each in risky if each.tier in TIERS[2:]]
    found = evidence_of(records)
    topics = [record.topic for record in records]

    assert len(risky) > 50
    assert [(each.id, each.offset, each.tier, each.user) for each in found] == risky
    assert all(
        topics[at - 1] in ("risk.tiers", "risk.alerts") for at, topic in enumerate(topics) if topic == "risk.evidence"
    )


def test_the_record_holds_the_walks_and_numbers_of_its_event(records):
    batch = troubled("encode")
    scored = batch.calibrated.scored
    config = ScoreConfig(trees=5, height=6, window=100)  # as in `stages`
    by_offset = {each.offset: each for each in evidence_of(records)}
    assert len(scored.walks.masses) > 5

    for row in np.flatnonzero(batch.tier >= 2).tolist():
        offset = int(scored.featured.decoded.offsets[row])
        found = by_offset[offset]
        masses = [each for each in scored.walks.masses if each.offset <= offset][-1]
        columns, walk = walked(scored.walks.leaf[row], masses, config.size_limit * config.window)

        assert np.frombuffer(found.columns, "<u2").tolist() == columns
        assert np.frombuffer(found.masses, "<i4").tolist() == walk
        assert sum(found.steps) == len(columns)
        for name, expected in (
            ("raw", scored.featured.raw),
            ("mapped", scored.featured.features),
            ("tails", scored.feature_tail),
        ):
            assert getattr(found, name) == expected[row].tobytes()
        assert (found.score, found.forest, found.evidence) == (
            scored.score[row],
            scored.forest[row],
            scored.evidence[row],
        )


def test_the_masses_told_are_those_the_event_was_scored_by(records):
    """The forest's score follows from the walks alone, as the paper has it: the mass where each walk stops."""
    for found in evidence_of(records):
        steps, masses = np.frombuffer(found.steps, "u1").tolist(), np.frombuffer(found.masses, "<i4").tolist()
        stops, at = [], -1
        for depth in steps:
            at += depth + 1
            stops.append(math.log2(masses[at] * 2**depth + 1))
        expected = 1 - sum(stops) / len(stops) / math.log2(100 * 2**6 + 1)

        assert found.forest == pytest.approx(expected, abs=1e-12)


def test_the_share_of_the_forest_is_what_the_rule_adds_for_it(records):
    """The rule: score = w * forest * ln(window * 2^height + 1) + (1 - w) * evidence / families."""
    weight, families = ScoreConfig().forest_weight, len({each.family for each in CATALOGUE})
    for found in evidence_of(records):
        of_forest = weight * found.forest * math.log(100 * 2**6 + 1)

        assert found.score == pytest.approx(of_forest + (1 - weight) * found.evidence / families, rel=1e-12)
        assert found.forest_share == pytest.approx(of_forest / found.score, rel=1e-9)


def test_what_is_usual_is_what_the_reasons_say(records):
    batch = troubled("encode")
    offsets = batch.calibrated.scored.featured.decoded.offsets
    by_offset = {each.offset: each for each in evidence_of(records)}

    for row, reasons in batch.reasons.items():
        found = by_offset[int(offsets[row])]
        usual = dict(zip(found.catalogue.names, np.frombuffer(found.usual).tolist(), strict=True))
        assert [usual[reason.feature] for reason in reasons] == pytest.approx(
            [reason.baseline for reason in reasons], abs=0, nan_ok=True
        )


@pytest.mark.parametrize(("lowest", "tiers"), [("high", {"high", "critical"}), ("critical", {"critical"})])
def test_less_is_written_down_on_request(lowest, tiers):
    batch = troubled("encode")
    config = ScoreConfig(trees=5, height=6, window=100)
    capture = Capture(config, CATALOGUE, (0.1, 0.03, 0.01), lowest)

    assert {msgspec.json.decode(record.value, type=Evidence).tier for _, record in capture.records(batch)} == tiers


def test_a_batch_whose_score_does_not_say_how_it_came_about_has_no_records():
    batch = troubled("encode")
    scored = dataclasses.replace(batch.calibrated.scored, walks=None)
    batch = dataclasses.replace(batch, calibrated=dataclasses.replace(batch.calibrated, scored=scored))

    assert evidence_of(run(STAGES["encode"](), [batch])[0].records) == []


def test_a_window_that_ends_within_a_batch_does_not_change_what_was_in_force_before(records):
    """One event a batch, so that nothing can be mixed up, gives the same bytes."""
    batch = troubled("score")
    tail = [STAGES[name]() for name in ("score", "calibrate", "tier", "encode")]
    found = []
    for piece in cut(batch, range(batch.span.next)):
        answer = piece
        for stage in tail:
            answer = stage.process(answer)
        found += answer.records
    by_whole = [record for record in records if record.topic == "risk.evidence"]

    assert [record for record in found if record.topic == "risk.evidence"] == by_whole
