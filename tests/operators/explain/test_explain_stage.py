"""The laws hold for `explain`, sums meet the decision's scores, and what cannot be read becomes a dead letter."""

import json
import random

import jsonschema
import msgspec
import numpy as np
import pytest
from cutting import cut, random_cuts
from laws import does_not_care_about_cuts, leaves_its_input_alone, repeats_itself, run, survives_a_snapshot
from stages import STAGES, troubled

from operators.batches import Messages, Span
from operators.explain import Explain, ExplainConfig
from schemas.dead_letter import DeadLetter
from schemas.decision import Decision
from schemas.evidence import Evidence
from schemas.evidence import encode as write
from schemas.explanation import Explanation
from schemas.generate import schema
from schemas.registry import TOPICS

GARBAGE = [None, b"", b"{", b"\xff", b"[" * 300 + b"]" * 300, b"[1]", b'{"id":"x"}']
REASONS = ["empty_value", "empty_value", "not_json", "invalid_utf8", "too_deep", "wrong_type", "wrong_type"]


def stage(**config):
    return Explain(ExplainConfig(**config))


def batch(values, *, muted=False):
    count = len(values)
    offsets = list(range(100, 100 + count))
    times = [1_000 + offset for offset in offsets]
    return Messages(Span(5, 100, 100 + count, muted), "risk.evidence", values, [b"k"] * count, offsets, times)


@pytest.fixture(scope="module")
def written():
    return run(STAGES["encode"](), [troubled("encode")])[0].records


@pytest.fixture(scope="module")
def evidence(written):
    return [record.value for record in written if record.topic == "risk.evidence"]


@pytest.fixture
def mixed(evidence):
    rng = random.Random(4)
    return batch([rng.choice(GARBAGE) if rng.random() < 0.2 else value for value in evidence])


def explanations(answer):
    return [msgspec.json.decode(each.value, type=Explanation) for each in answer.records]


@pytest.mark.parametrize("seed", range(3))
def test_answers_do_not_depend_on_cuts(mixed, seed):
    does_not_care_about_cuts(stage, mixed, random_cuts(seed, 100, mixed.span.next))


def test_the_other_laws_hold_too(mixed):
    leaves_its_input_alone(stage, [mixed])
    survives_a_snapshot(stage, cut(mixed, [150]), [1])
    repeats_itself(stage, [mixed])


def test_every_decision_from_medium_up_has_its_explanation_under_the_same_key_and_time(written, evidence):
    decisions = [record for record in written if record.topic == "risk.tiers"]
    told = [(msgspec.json.decode(each.value, type=Decision), each) for each in decisions]
    told = [(one, record) for one, record in told if one.tier in ("medium", "high", "critical")]
    answer = stage().process(batch(evidence))

    assert [(each.topic, each.key, each.timestamp_ms) for each in answer.records] == [
        ("risk.explanations", record.key, record.timestamp_ms) for _, record in told
    ]
    names = ("id", "timestamp", "user", "tier", "partition", "offset", "tail_probability", "score", "forest")
    names = (*names, "evidence")
    assert [[getattr(each, name) for name in names] for each in explanations(answer)] == [
        [getattr(one, name) for name in names] for one, _ in told
    ]


def test_the_sums_meet_the_scores_to_1e_9(evidence):
    for value in evidence:
        found = msgspec.json.decode(value, type=Evidence)

        assert stage().explanation(found).error < 1e-9


def test_what_is_written_adds_up_to_what_is_written(evidence):
    """Up to rounding: each number is within half a unit of its sixth digit."""
    for one in explanations(stage(max_features=5).process(batch(evidence))):
        assert len(one.features) <= 5
        assert sum(each.evidence for each in one.features) + one.evidence_rest == pytest.approx(one.evidence, abs=4e-4)
        unusual = one.forest_base + sum(each.forest for each in one.features) + one.forest_rest
        assert unusual == pytest.approx(one.forest, abs=1e-5)


def test_the_features_are_in_the_order_of_their_shares_which_add_up_to_what_has_somebody_to_share_it(evidence):
    for one in explanations(stage(max_features=1000).process(batch(evidence))):
        parts = [each.share for each in one.features]

        assert parts == sorted(parts, reverse=True)
        shared = one.forest_share * any(each.forest > 0 for each in one.features)
        shared += (1 - one.forest_share) * any(each.evidence > 0 for each in one.features)
        assert sum(parts) == pytest.approx(shared, abs=1e-4)


def test_the_evidence_is_that_of_the_reasons(evidence):
    """The tier stage finds the reasons on the way; both must tell the same features and nats."""
    tiered = troubled("encode")
    offsets = tiered.calibrated.scored.featured.decoded.offsets
    found = {one.offset: one for one in explanations(stage(max_features=1000).process(batch(evidence)))}
    for row, reasons in tiered.reasons.items():
        nats = {each.feature: each for each in found[int(offsets[row])].features if each.evidence > 0}
        for reason in reasons:
            assert nats[reason.feature].evidence == pytest.approx(reason.contribution, rel=1e-5)
            assert nats[reason.feature].value == pytest.approx(reason.value, rel=1e-5)


def test_every_explanation_fits_its_json_schema_and_every_record_of_evidence_its_own(evidence):
    for topic, values in (
        ("risk.evidence", evidence),
        ("risk.explanations", [each.value for each in stage().process(batch(evidence)).records]),
    ):
        validator = jsonschema.Draft202012Validator(json.loads(json.dumps(schema(TOPICS[topic]))))
        for value in values[:20]:
            validator.validate(json.loads(value))


def test_there_are_as_many_sentences_as_wanted_and_two(evidence):
    for one in explanations(stage(max_sentences=2).process(batch(evidence))):
        assert len(one.sentences) == 4
        assert one.sentences[-2].startswith("Only 1 event in ")


def test_a_muted_batch_writes_nothing(mixed):
    assert stage().process(batch(mixed.values, muted=True)).records == []


@pytest.mark.parametrize(("value", "reason"), list(zip(GARBAGE, REASONS, strict=True)))
def test_what_is_no_evidence_becomes_a_dead_letter_that_says_where_it_lies(value, reason):
    answer = stage().process(batch([value]))
    [record] = answer.records
    letter = msgspec.json.decode(record.value, type=DeadLetter)

    assert (letter.topic, letter.partition, letter.offset, letter.timestamp) == ("risk.evidence", 5, 100, 1_100)
    assert (letter.reason, letter.flow, record.topic) == (reason, "explanations", "dead-letters")
    assert [each.offset for each in answer.rejected] == [100]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda one: {"raw": one.raw[:-8]}, "raw"),
        (lambda one: {"usual": one.usual + bytes(8)}, "usual"),
        (lambda one: {"mapped": one.mapped[:-1]}, "mapped"),
        (lambda one: {"tails": bytes(len(one.tails))}, "tails"),
        (lambda one: {"tails": np.full(len(one.tails) // 8, np.nan).tobytes()}, "tails"),
        (lambda one: {"steps": b""}, "steps"),
        (lambda one: {"steps": bytes([one.height + 1]) + one.steps[1:]}, "steps"),
        (lambda one: {"columns": one.columns[:-2]}, "columns"),
        (lambda one: {"columns": b"\xff" * len(one.columns)}, "columns"),
        (lambda one: {"masses": one.masses[:-4]}, "masses"),
        (lambda one: {"masses": b"\xff" * len(one.masses)}, "masses"),
        (lambda one: {"catalogue": msgspec.structs.replace(one.catalogue, units=())}, "catalogue.units"),
        (
            lambda one: {
                "catalogue": msgspec.structs.replace(one.catalogue, windows_s=(0,) * len(one.catalogue.names))
            },
            "catalogue.windows_s",
        ),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_each_other_are_refused(evidence, change, where):
    one = msgspec.json.decode(evidence[0], type=Evidence)
    [record] = stage().process(batch([write(msgspec.structs.replace(one, **change(one)))])).records
    letter = msgspec.json.decode(record.value, type=DeadLetter)

    assert (letter.reason, letter.detail.rpartition(" - at $.")[2]) == ("out_of_range", where)


def test_a_catalogue_that_changes_within_a_batch_is_followed(evidence):
    one = msgspec.json.decode(evidence[0], type=Evidence)
    apart = msgspec.structs.replace(one.catalogue, families=one.catalogue.names)  # every feature speaks for itself
    other = write(msgspec.structs.replace(one, catalogue=apart))
    together = explanations(stage().process(batch([evidence[0], other, evidence[0]])))
    alone = [explanations(stage().process(batch([value])))[0] for value in (evidence[0], other, evidence[0])]

    assert together == alone
    assert sum(each.evidence for each in alone[1].features) > sum(each.evidence for each in alone[0].features)
