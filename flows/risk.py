"""The risk flow: events in, risk tiers out. Read it from top to bottom.

One stream carries batches and control items, so a snapshot's barrier, a rejected record and a commit can never overtake
one another on their way to the one sink.
"""

from collections.abc import Callable
from typing import Any

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink
from pydantic import SecretBytes

from flows.settings import Settings
from operators.batches import Messages, Span
from operators.calibrate import Calibrate
from operators.decode import Decode, Pseudonymizer
from operators.encode import Encode
from operators.featurize import Featurize
from operators.score import Score
from operators.stage import Observer, Silent, stage
from operators.state import Stage
from operators.tier import Tier

FLOW = "risk"
INPUT = "events"


class Stages:
    """Makes the fresh state of each stage, for one partition, from the settings."""

    def __init__(self, settings: Settings) -> None:
        """Check that the settings fit together.

        Raises:
            ValueError: there is no pseudonym key.
        """
        privacy, self._risk = settings.privacy, settings.risk
        if privacy.key is None:
            raise ValueError("expected settings with a pseudonym key, got none")
        given = [settings.kafka.prefix + topic for topic in privacy.pseudonymised_topics]
        self._pseudonymizer = Pseudonymizer(privacy.key.get_secret_value(), privacy.key_version, given)
        self._catalogue = self.featurize(0).catalogue
        self._scoring = self.score(0).fingerprint
        self._calibration = self.calibrate(0).fingerprint

    def decode(self, _partition: int) -> Decode:
        """Messages to events; what is unreadable is set aside."""
        return Decode(self._risk.decode, self._pseudonymizer)

    def featurize(self, _partition: int) -> Featurize:
        """Events to features of their user."""
        return Featurize(self._risk.featurize)

    def score(self, _partition: int) -> Score:
        """Features to scores."""
        return Score(self._risk.score, self._catalogue)

    def calibrate(self, _partition: int) -> Calibrate:
        """Scores to tail probabilities."""
        tier = self._risk.tier
        budgets = {"medium": tier.medium, "high": tier.high, "critical": tier.critical}
        return Calibrate(self._risk.calibrate, self._scoring, budgets)

    def tier(self, _partition: int) -> Tier:
        """Tail probabilities to decisions."""
        return Tier(self._risk.tier, self._catalogue, self._calibration)

    def encode(self, _partition: int) -> Encode:
        """Decisions and dead letters to records."""
        return Encode(FLOW)


def build(settings: Settings, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
    """Wire the stages.

    Args:
        settings: with a pseudonym key.
        source: gives `Messages` and control items.
        sink: takes `Encoded` batches and the same control items.
        observer: is told about every batch.
    """
    fresh, watch = Stages(settings), observer or Silent()
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
    if settings.privacy.key is None:  # any key compiles the same loops
        spare = settings.privacy.model_copy(update={"key": SecretBytes(bytes(32))})
        settings = settings.model_copy(update={"privacy": spare})
    fresh = Stages(settings)
    event = b'{"id":"%d","timestamp":%d,"user":"%d","type":"t","amount":1.0,"ip":"1","device":"1","counterparty":"1"}'
    values: list[bytes | None] = [event % (number, 1_000 + number, number % 3) for number in range(16)]
    values[7] = b"{"
    times = list(range(1_000, 1_016))
    batch: Any = Messages(Span(0, 0, 16), INPUT, values, [b"k"] * 16, list(range(16)), times)
    makers: tuple[Callable[[int], Stage[Any, Any]], ...] = (
        fresh.decode,
        fresh.featurize,
        fresh.score,
        fresh.calibrate,
        fresh.tier,
        fresh.encode,
    )
    for make in makers:
        state = make(0)
        batch = state.process(batch)
        state.load(state.dump())
        list(state.measurements())
