"""The registry names every topic, and how Kafka cleans it up."""

from schemas.decision import Decision
from schemas.registry import TOPICS


def test_the_topics_are_cleaned_up_as_the_design_says():
    assert {topic.name: (topic.cleanup, topic.internal) for topic in TOPICS.values()} == {
        "events": ("delete", False),
        "labels": ("delete", False),
        "exposures": ("delete", False),
        "metrics": ("delete", False),
        "items": ("delete", False),
        "interactions": ("delete", False),
        "ranking.requests": ("delete", False),
        "risk.tiers": ("delete", False),
        "risk.alerts": ("delete", False),
        "risk.evidence": ("delete", True),
        "risk.explanations": ("delete", False),
        "experiments.definitions": ("compact", False),
        "experiments.parts": ("delete", True),
        "experiments.readouts": ("compact", False),
        "experiments.decisions": ("delete", False),
        "uplift": ("compact", False),
        "ranking.parts": ("delete", True),
        "ranking.signals": ("compact", False),
        "ranking.results": ("delete", False),
        "ranking.served": ("delete", True),
        "ranking.catalogue": ("compact", True),
        "ranking.models": ("compact", True),
        "ranking.quality": ("delete", False),
        "dead-letters": ("delete", False),
        "dead-letters.replays": ("compact", True),
        "audit": ("delete", False),
        "risk.snapshots": ("compact", True),
        "risk.journal": ("delete", True),
        "experiments.snapshots": ("compact", True),
        "experiments.journal": ("delete", True),
        "readouts.snapshots": ("compact", True),
        "readouts.journal": ("delete", True),
        "interactions.snapshots": ("compact", True),
        "interactions.journal": ("delete", True),
        "ranking.snapshots": ("compact", True),
        "ranking.journal": ("delete", True),
        "signals.snapshots": ("compact", True),
        "signals.journal": ("delete", True),
        "explanations.snapshots": ("compact", True),
    }


def test_an_alert_is_a_decision_once_more():
    assert TOPICS["risk.alerts"].record is TOPICS["risk.tiers"].record is Decision


def test_only_what_happens_outside_is_written_by_users():
    assert [topic.name for topic in TOPICS.values() if topic.writer == "publishers"] == [
        "events",
        "labels",
        "exposures",
        "metrics",
        "items",
        "interactions",
        "ranking.requests",
    ]


def test_a_public_topic_has_a_record_and_a_version():
    assert all(topic.version == 1 and topic.record is not None for topic in TOPICS.values() if not topic.internal)
