"""What an evaluation says: every figure, as it is written to JSON, shown in tables and drawn on the page.

Figures that do not exist (a precision without alerts) are NaN here and null in JSON. Nothing but `run` differs between
two runs on the same file with the same settings.
"""

from typing import Literal

import msgspec

FORMAT = "tidegate.evaluation"
SCHEMA = 1
"""Version of the JSON. New fields may be added; a field that goes or changes its meaning raises it."""

Group = Literal["flow", "feature", "isolation forest", "half-space trees"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the evaluation."""


class Source(Record, frozen=True, kw_only=True):
    """What was evaluated.

    Attributes:
        name: of the file or topic, without its folder.
        sha256: of the file's bytes, empty for a topic.
        labels: where the labels come from, in words.
        partitions: over how many the events were divided.
        settings: fingerprint of each stage's configuration.
        read: events read.
        refused: lines that are no events.
        rejected: events that `decode` refused, by reason.
        decided: events that got a decision.
        unknown: of those, decided while the models were still warming: left out of all that follows.
        unlabelled: of the others, those that nobody knows the truth about: left out of all that needs it.
        compared: known and labelled events, which the rank figures are about.
        risky: of those, the risky ones.
        risky_unknown: risky events that fell into the warm-up.
        flagged: decided events by flag.
        users: users with a decision.
        first_ms: event time of the first event, epoch milliseconds.
        last_ms: of the last one.
        audited: audit records by kind.
    """

    name: str
    sha256: str
    labels: str
    partitions: int
    settings: dict[str, str]
    read: int
    refused: int
    rejected: dict[str, int]
    decided: int
    unknown: int
    unlabelled: int
    compared: int
    risky: int
    risky_unknown: int
    flagged: dict[str, int]
    users: int
    first_ms: int
    last_ms: int
    audited: dict[str, int]


class Run(Record, frozen=True, kw_only=True):
    """How long it took; the one part that differs from run to run.

    Attributes:
        seconds: reading and all stages.
        events_per_s: read events a second, in one process, reading included.
    """

    seconds: float
    events_per_s: float


class Line(Record, frozen=True, kw_only=True):
    """A curve as it is drawn, x ascending."""

    x: list[float]
    y: list[float]


class Method(Record, frozen=True, kw_only=True):
    """One way to rank the events, and how well it does.

    Attributes:
        name: of the method.
        group: what it belongs to.
        note: what is special about it, such as that it looks ahead.
        looks_ahead: whether it saw what came later, which no stream can.
        roc_auc: area under the ROC curve.
        average_precision: of the risky class.
        recall_at_budget: share of the risky events among the highest `Evaluation.budget` of the scores, in hindsight.
        roc: false positive rate against recall; only for what is drawn.
        precision_recall: recall against precision; only for what is drawn.
    """

    name: str
    group: Group
    note: str
    looks_ahead: bool
    roc_auc: float
    average_precision: float
    recall_at_budget: float
    roc: Line | None = None
    precision_recall: Line | None = None


class Tier(Record, frozen=True, kw_only=True):
    """Decisions at or above one tier.

    Attributes:
        tier: medium, high or critical.
        budget: share of events it may hold.
        alerts: known events it holds.
        rate: their share of known, unflagged events.
        precision: share of the labelled alerts that are risky.
        recall: share of the risky events that are alerts.
    """

    tier: str
    budget: float
    alerts: int
    rate: float
    precision: float
    recall: float


class Partition(Record, frozen=True, kw_only=True):
    """One partition by itself; `rate` is that of medium and above among known, unflagged events."""

    partition: int
    events: int
    unknown: int
    risky: int
    roc_auc: float
    rate: float


class Scaled(Record, frozen=True, kw_only=True):
    """The same stream over another number of partitions, on the labelled events that both replays know.

    Attributes:
        partitions: the other number.
        compared: events that both know.
        risky: of those, the risky ones.
        before: method -> ROC-AUC over the number of partitions that is evaluated.
        after: method -> ROC-AUC over the other.
    """

    partitions: int
    compared: int
    risky: int
    before: dict[str, float]
    after: dict[str, float]


class Detection(Record, frozen=True, kw_only=True):
    """How soon attacked users were noticed.

    Attributes:
        tier: the decision at or above which counts.
        users: with at least one risky event after the warm-up.
        caught: of those, users with such a decision at or after their first risky event.
        median_events: events of the user from the first risky one to that decision, that one included, median over the
            users caught.
        p90_events: the same, 90 % of them take no longer.
        median_seconds: event time between the two.
        p90_seconds: the same, 90 %.
        within: events -> share of all attacked users caught within as many.
    """

    tier: str
    users: int
    caught: int
    median_events: float
    p90_events: float
    median_seconds: float
    p90_seconds: float
    within: dict[int, float]


class Kind(Record, frozen=True, kw_only=True):
    """One kind of abuse.

    Attributes:
        kind: as the labels name it.
        users: attacked.
        caught: of those, with at least one decision within the budget at or after the first risky event.
        events: risky events compared.
        recall: share of them that the flow put within the budget when they happened: tail at most the budget.
        recall_hindsight: share of them among the highest scores of the whole stream that fill the budget.
        median_events: events to the first decision within the budget, median over the users caught.
    """

    kind: str
    users: int
    caught: int
    events: int
    recall: float
    recall_hindsight: float
    median_events: float


class Slice(Record, frozen=True, kw_only=True):
    """A stretch of the known events, equally many in each.

    Attributes:
        start_ms: event time of its first event.
        risky: share of risky among its labelled events.
        rates: tier -> share of its events at or above it.
        surprise: quantiles 50, 90 and 99 % of -log10(tail).
    """

    start_ms: int
    risky: float
    rates: dict[str, float]
    surprise: list[float]


class Reliability(Record, frozen=True, kw_only=True):
    """Tail probabilities against what was observed.

    Attributes:
        level: nominal tails.
        observed: share of known events with a tail at most that.
        observed_legit: the same among legitimate ones.
    """

    level: list[float]
    observed: list[float]
    observed_legit: list[float]


class ProbabilityBin(Record, frozen=True, kw_only=True):
    """Events that were given probabilities within a factor of two.

    Attributes:
        events: how many.
        given: mean probability.
        risky: share of risky ones.
        frauds: their number.
    """

    events: int
    given: float
    risky: float
    frauds: int


class Probabilities(Record, frozen=True, kw_only=True):
    """Probabilities of fraud as they were given, against the truth; of labelled events once there were any.

    Attributes:
        delay_s: event time from an event to its label.
        events: compared.
        risky: of those, the risky ones.
        brier: mean squared error.
        brier_base: the same of their share of risky events, as everybody's probability.
        error: expected calibration error over the bins.
        bins: from the least probable; (1/2, 1], (1/4, 1/2] and so on, empty ones left out.
    """

    delay_s: float
    events: int
    risky: int
    brier: float
    brier_base: float
    error: float
    bins: list[ProbabilityBin]


class Histogram(Record, frozen=True, kw_only=True):
    """-log10(tail) by class, as shares of each class; `edges` has one entry more."""

    edges: list[float]
    legit: list[float]
    risky: list[float]


class Feature(Record, frozen=True, kw_only=True):
    """One feature.

    Attributes:
        name: in the catalogue.
        roc_auc: of its raw value in its risky direction.
        psi: stability index between the first and the last half of the known events.
        psi_over_time: of each tenth of the known events against the first.
    """

    name: str
    roc_auc: float
    psi: float
    psi_over_time: list[float]


class Evaluation(Record, frozen=True, kw_only=True):
    """All of it."""

    format: str = FORMAT
    schema: int = SCHEMA
    source: Source
    run: Run
    budget: float
    budget_rate: float  # share of known, unflagged events with a tail within the budget, as decided online
    methods: list[Method]
    tiers: list[Tier]
    partitions: list[Partition]
    detection: list[Detection]
    kinds: list[Kind]
    over_time: list[Slice]
    reliability: Reliability
    histogram: Histogram
    features: list[Feature]
    scaling: list[Scaled] = []
    probabilities: Probabilities | None = None

    @property
    def ours(self) -> Method:
        """The combination, which decides."""
        return self.methods[0]

    def losses(self) -> list[str]:
        """Say which other methods rank better than the combination, and by how much, one line each."""
        found = []
        for other in self.methods[1:]:
            better = [
                f"{name} {getattr(other, field):.3f} against {getattr(self.ours, field):.3f}"
                for field, name in (("roc_auc", "ROC-AUC"), ("average_precision", "average precision"))
                if getattr(other, field) > getattr(self.ours, field)
            ]
            if better:
                found.append(f"{other.name}: {', '.join(better)}{' (it looks ahead)' if other.looks_ahead else ''}")
        return found


def to_json(evaluation: msgspec.Struct) -> bytes:
    """Write an evaluation as JSON, indented, with NaN as null."""
    return msgspec.json.format(msgspec.json.encode(evaluation), indent=2) + b"\n"
