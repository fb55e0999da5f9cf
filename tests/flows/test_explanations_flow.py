"""The explanations flow as it is wired, without a broker; and what a person sees of an explanation."""

import json

import msgspec
from bytewax.testing import TestingSink, TestingSource, run_main
from test_risk import KEY_TEXT, batches, records

from flows import explanations, risk
from flows.commands.watch import line
from flows.settings import load_settings
from operators.batches import Encoded, Messages, Span
from operators.control import Barrier, Flush, Restore
from operators.explain import ExplainConfig
from schemas.explanation import Explanation

QUICK = {
    "TIDEGATE_PSEUDONYM_KEY": KEY_TEXT,
    "TIDEGATE_RISK__SCORE__WINDOW": "200",
    "TIDEGATE_RISK__SCORE__WARMUP": "200",
    "TIDEGATE_RISK__CALIBRATE__WARMUP": "200",
    "TIDEGATE_RISK__CALIBRATE__REFRESH": "100",
    "TIDEGATE_RISK__TIER__MEDIUM": "0.1",
}
SETTINGS = load_settings(None, QUICK, needs_key=True)
EXPLAINED = Explanation(
    id="e-1",
    timestamp=0,
    user="h1:0",
    tier="high",
    partition=0,
    offset=0,
    tail_probability=0.001,
    score=1.0,
    forest=0.5,
    evidence=1.0,
    forest_share=0.5,
    forest_base=0.5,
    sentences=("14 events in 1 minute.", "Only\x1b[2J 1 event."),
)


def run_risk(items, settings=SETTINGS):
    found = []
    run_main(risk.build(settings, TestingSource(items, batch_size=3), TestingSink(found)))
    return found


def evidence(items):
    """What the risk flow writes on `risk.evidence`, as the other flow reads it."""
    written = [record for record in records(run_risk(items)) if record[0] == "risk.evidence"]
    offsets = list(range(len(written)))
    values, keys, times = [each[2] for each in written], [each[1] for each in written], [each[3] for each in written]
    return Messages(Span(0, 0, len(written)), "risk.evidence", values, keys, offsets, times)


def run(items):
    found = []
    fresh = explanations.Stages(ExplainConfig())
    run_main(explanations.build(fresh, TestingSource(items, batch_size=3), TestingSink(found)))
    return found


def test_every_risky_decision_is_explained_once():
    items = [Restore(0, {}), *batches(3_000, 0)]
    tiers = [json.loads(record[2]) for record in records(run_risk(items)) if record[0] == "risk.tiers"]
    risky = [(one["id"], one["offset"], one["tier"]) for one in tiers if one["tier"] in ("medium", "high", "critical")]
    answers = [item for item in run([Restore(0, {}), evidence(items)]) if isinstance(item, Encoded)]
    told = [json.loads(record.value) for answer in answers for record in answer.records]

    assert len(risky) > 20
    assert [(one["id"], one["offset"], one["tier"]) for one in told] == risky


def test_control_items_come_out_where_they_went_in():
    empty = Messages(Span(0, 0, 1), "risk.evidence", [None], [None], [0], [1])
    found = run([Restore(0, {}), empty, Barrier(0, 1), Flush(final=True)])

    assert [type(item).__name__ for item in found] == ["Restore", "Explained", "Barrier", "Flush"]
    assert list(found[2].snapshots) == ["explain"]


def test_nothing_is_written_down_where_nobody_is_to_explain():
    settings = load_settings(None, {**QUICK, "TIDEGATE_RISK__EXPLAIN_FROM": "never"}, needs_key=True)
    items = [Restore(0, {}), *batches(3_000, 0)]
    without, with_evidence = records(run_risk(items, settings)), records(run_risk(items))

    assert without == [record for record in with_evidence if record[0] != "risk.evidence"]
    assert without != with_evidence


def test_the_plan_reads_what_the_risk_flow_writes():
    settings = SETTINGS.model_copy(update={"kafka": SETTINGS.kafka.model_copy(update={"prefix": "a."})})
    plan = explanations.plan(settings)

    assert (plan.topic, plan.group, plan.start_at_end) == ("a.risk.evidence", "tidegate.explanations", False)


class Message:
    """A record as a consumer hands it out."""

    def timestamp(self):
        return 1, 1442018818771

    def value(self):
        return msgspec.json.encode(EXPLAINED)


def test_an_explanation_is_watched_as_sentences_that_cannot_steer_the_terminal():
    text = line(Message(), msgspec.json.Decoder(Explanation)).plain

    assert text == (
        "2015-09-12 00:46:58.771  high      h1:0            id e-1"
        "  14 events in 1 minute.  Only\\x1b[2J 1 event."
    )  # fmt: skip
