"""The risk flow: events in, risk tiers out. Read it from top to bottom.

One stream carries batches and control items, so a snapshot's barrier, a rejected record and a commit can never overtake
one another on their way to the one sink.
"""

from dataclasses import asdict
from functools import partial
from typing import Any

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.sides import SideTopics
from flows.assembly import go_through, plan_of, pseudonymizer, with_any_key
from flows.description import Flow, Plan
from flows.settings import Settings, audit_key
from operators.audit import Chain
from operators.batches import Messages, Span
from operators.calibrate import Calibrate, ReviewConfig
from operators.capture import Capture
from operators.decode import Decode
from operators.encode import Encode
from operators.featurize import Featurize
from operators.fingerprint import fingerprint
from operators.metrics import installed
from operators.score import Score
from operators.stage import Observer, Silent, stage
from operators.state import Stage
from operators.tier import Tier

FLOW = "risk"
INPUT = "events"
LABELS = "labels"
JOURNAL = "risk.journal"


class Stages:
    """Makes the fresh state of each stage, for one partition, from the settings."""

    def __init__(self, settings: Settings) -> None:
        """Check that the settings fit together.

        Raises:
            ValueError: there is no pseudonym key.
        """
        privacy, self._risk, audit = settings.privacy, settings.risk, settings.audit
        self._review = ReviewConfig(audit.drift_limit, audit.drift_end, audit.threshold_factor)
        self._pseudonymizer = pseudonymizer(settings, INPUT)
        decode, featurize = self.decode(0), self.featurize(0)
        self._catalogue = featurize.catalogue
        score = self.score(0)
        self._scoring = score.fingerprint
        calibrate = self.calibrate(0)
        self._calibration = calibrate.fingerprint
        self._audit_key = audit_key(settings)
        self._configuration = self._described(
            privacy.key_version,
            decode=decode,
            featurize=featurize,
            score=score,
            calibrate=calibrate,
            tier=self.tier(0),
        )

    def _described(self, key_version: int, **stages: Stage[Any, Any]) -> dict[str, str]:
        """Return what an audit record of the configuration tells: fingerprints, the key's version, and ours."""
        review = fingerprint(1, "review", **asdict(self._review))
        return {
            # Cut short: all of it must fit beside an offset.
            **{name: stage.fingerprint[:12] for name, stage in stages.items()},
            "review": review[:8],
            "key_version": str(key_version),
            "version": installed()[:16],
        }

    def decode(self, _partition: int) -> Decode:
        """Messages to events; what is unreadable is set aside."""
        return Decode(self._risk.decode, self._pseudonymizer, self._risk.features)

    def featurize(self, _partition: int) -> Featurize:
        """Events to features of their user."""
        return Featurize(self._risk.featurize, self._risk.features)

    def score(self, _partition: int) -> Score:
        """Features to scores."""
        return Score(self._risk.score, self._catalogue)

    def calibrate(self, _partition: int) -> Calibrate:
        """Scores to tail probabilities."""
        tier, costs = self._risk.tier, self._risk.costs
        budgets = {"medium": tier.medium, "high": tier.high, "critical": tier.critical}
        names = [feature.name for feature in self._catalogue]
        return Calibrate(
            self._risk.calibrate,
            self._scoring,
            budgets,
            self._review,
            names,
            self._risk.probability,
            costs.warrants if costs else None,
        )

    def tier(self, _partition: int) -> Tier:
        """Tail probabilities to decisions."""
        return Tier(self._risk.tier, self._catalogue, self._calibration, self._risk.costs)

    def encode(self, partition: int) -> Encode:
        """Decisions, dead letters and changes to records, and what explanations need."""
        chain = Chain(self._audit_key, FLOW, partition, self._configuration)
        lowest = self._risk.explain_from
        if lowest == "never":
            return Encode(FLOW, chain)
        tier = self._risk.tier
        budgets = (tier.medium, tier.high, tier.critical)
        return Encode(FLOW, chain, Capture(self._risk.score, self._catalogue, budgets, lowest))


def build(settings: Settings, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
    """Make the flow.

    Args:
        settings: with a pseudonym key.
        source: gives `Messages` and control items.
        sink: takes `Encoded` batches and the same control items.
        observer: is told about every batch.
    """
    return wire(Stages(settings), source, sink, observer)


def wire(fresh: Stages, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
    """Wire the stages, as `build` does, from what makes them: it is the same for every assignment of partitions."""
    watch = observer or Silent()
    flow = Dataflow(FLOW)
    messages = op.input("read", flow, source)
    events = stage("decode", messages, fresh.decode, watch)
    features = stage("featurize", events, fresh.featurize, watch)
    scores = stage("score", features, fresh.score, watch)
    tails = stage("calibrate", scores, fresh.calibrate, watch)
    tiers = stage("tier", tails, fresh.tier, watch)
    records = stage("encode", tiers, fresh.encode, watch)
    op.output("write", records, sink)
    return flow


def warm_up(settings: Settings) -> None:
    """Compile every loop, or load it, before the first transaction: its time-out is shorter than compiling."""
    settings = with_any_key(settings)
    fresh = Stages(settings)
    event = b'{"id":"%d","timestamp":%d,"user":"%d","type":"t","amount":1.0,"ip":"1","device":"1","counterparty":"1"}'
    values: list[bytes | None] = [event % (number, 1_000 + number, number % 3) for number in range(16)]
    values[7] = b"{"
    times = list(range(1_000, 1_016))
    batch = Messages(Span(0, 0, 16), INPUT, values, [b"k"] * 16, list(range(16)), times)
    stages: tuple[Stage[Any, Any], ...] = (
        fresh.decode(0), fresh.featurize(0), fresh.score(0), fresh.calibrate(0), fresh.tier(0), fresh.encode(0),
    )  # fmt: skip
    go_through(stages, [batch])


def plan(settings: Settings) -> Plan:
    """Say how to run under these settings; they hold a pseudonym key."""
    own, fresh = settings.risk, Stages(settings)
    fixed = {"decode": fresh.decode(0).fingerprint}
    return plan_of(settings, FLOW, own, settings.kafka.prefix + INPUT, partial(wire, fresh), fixed, _sides(settings))


def _sides(settings: Settings) -> SideTopics:
    labels, prefix = settings.risk.labels, settings.kafka.prefix
    if not labels.enabled:
        return SideTopics()
    return SideTopics(
        {LABELS: prefix + LABELS},
        prefix + JOURNAL,
        "risk.labels.enabled",
        labels.interval_ms / 1000,
        labels.batch_max,
        at_end=settings.risk.start == "latest",
    )


DESCRIPTION = Flow(FLOW, needs_key=True, warm_up=warm_up, plan=plan)
