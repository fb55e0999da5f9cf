"""Every topic: its record, the record's version, its key, who writes it, and how Kafka cleans it up.

Names are without the configured prefix. A record grows (a new field has a default and comes last) and keeps its
version; a change that old readers would not survive is a new record, a new version and a new JSON Schema file.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from schemas.audit import Audit
from schemas.dead_letter import DeadLetter
from schemas.decision import Decision
from schemas.definition import Definition
from schemas.event import Event
from schemas.evidence import Evidence
from schemas.explanation import Explanation
from schemas.exposure import Exposure
from schemas.interaction import Interaction
from schemas.item import Item
from schemas.label import Label
from schemas.metric import MetricRecord
from schemas.part import Part
from schemas.quality import Quality
from schemas.ranked import RankedList
from schemas.ranking_request import RankingRequest
from schemas.readout import Readout
from schemas.signals import Signals
from schemas.uplift import Uplift
from schemas.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    Attributes:
        name: without prefix.
        about: what is in it, one sentence.
        record: the message as a Struct; None for topics in a form of their own, which only Tidegate reads.
        version: of the record.
        key: what the Kafka key holds.
        writer: who writes it.
        cleanup: Kafka's `cleanup.policy`.
        internal: whether it is for Tidegate alone.
        keeps_bytes: size of a partition from which its oldest records go, whatever their age; None: as set.
    """

    name: str
    about: str
    record: type[Struct] | None
    version: int
    key: str
    writer: Literal["publishers", "tidegate"]
    cleanup: Literal["delete", "compact"]
    internal: bool = False
    keeps_bytes: int | None = None


def _snapshots(flow: str, about: str = "") -> Topic:
    about = about or f"State of the {flow} flow, in pieces."
    return Topic(f"{flow}.snapshots", about, None, 1, "snapshot and piece", "tidegate", "compact", internal=True)


def _journal(flow: str) -> Topic:
    # An entry is about 150 bytes, at most one a second; no snapshot is so old that it needs one of weeks ago.
    kept, about = 268_435_456, f"Where the {flow} flow applied which records of other topics."
    return Topic(f"{flow}.journal", about, None, 1, "topic", "tidegate", "delete", internal=True, keeps_bytes=kept)


_ALL = (
    Topic("events", "What users do, as it happens.", Event, 1, "user", "publishers", "delete"),
    Topic("labels", "What was said later of events.", Label, 1, "user", "publishers", "delete"),
    Topic("exposures", "Who was shown which variation.", Exposure, 1, "user", "publishers", "delete"),
    Topic("metrics", "Numbers of units, as experiments compare them.", MetricRecord, 1, "user", "publishers", "delete"),
    Topic("items", "What is known of items.", Item, 1, "item", "publishers", "delete"),
    Topic("interactions", "What users do with items.", Interaction, 1, "user", "publishers", "delete"),
    Topic("ranking.requests", "Lists to be put in order.", RankingRequest, 1, "user", "publishers", "delete"),
    Topic("risk.tiers", "One decision for every event.", Decision, 1, "user (pseudonym)", "tidegate", "delete"),
    Topic(
        "risk.alerts",
        "The decisions of tier high and critical, once more.",
        Decision,
        1,
        "user (pseudonym)",
        "tidegate",
        "delete",
    ),
    Topic(
        "risk.evidence",
        "What the scores of tier medium and above were made of.",
        Evidence,
        1,
        "user (pseudonym)",
        "tidegate",
        "delete",
        internal=True,
    ),
    Topic(
        "risk.explanations",
        "Why a tier is medium or above.",
        Explanation,
        1,
        "user (pseudonym)",
        "tidegate",
        "delete",
    ),
    Topic(
        "experiments.definitions",
        "What is being tried, and how it will be judged.",
        Definition,
        1,
        "experiment; every partition holds all",
        "tidegate",
        "compact",
    ),
    Topic(
        "experiments.parts",
        "One partition's totals of one experiment; the newest stands for all before it.",
        Part,
        1,
        "experiment",
        "tidegate",
        "delete",
        internal=True,
        keeps_bytes=268_435_456,
    ),
    Topic(
        "experiments.readouts",
        "The newest statistics of each experiment.",
        Readout,
        1,
        "experiment",
        "tidegate",
        "compact",
    ),
    Topic(
        "experiments.decisions",
        "What the declared analysis says to do, when it changes.",
        Verdict,
        1,
        "experiment",
        "tidegate",
        "delete",
    ),
    Topic(
        "uplift",
        "How much more a variation does for some units than for all.",
        Uplift,
        1,
        "experiment/segment; every partition holds all",
        "tidegate",
        "compact",
    ),
    Topic(
        "ranking.parts",
        "One partition's sums of some items; the newest of an item stand for all before them.",
        None,
        1,
        "item",
        "tidegate",
        "delete",
        internal=True,
        keeps_bytes=268_435_456,
    ),
    Topic("ranking.signals", "What users do with an item, as of now.", Signals, 1, "item", "tidegate", "compact"),
    Topic(
        "ranking.results",
        "The ranked list of each request.",
        RankedList,
        1,
        "user (pseudonym)",
        "tidegate",
        "delete",
    ),
    Topic(
        "ranking.served",
        "What the ranker saw of each list, for training.",
        None,
        1,
        "user (pseudonym)",
        "tidegate",
        "delete",
        internal=True,
    ),
    Topic(
        "ranking.catalogue",
        "Signals and properties of all items, whole in every partition, for the ranking flow.",
        None,
        1,
        "item",
        "tidegate",
        "compact",
        internal=True,
    ),
    Topic(
        "ranking.models",
        "The newest ranker, in every partition.",
        None,
        1,
        "ranker",
        "tidegate",
        "compact",
        internal=True,
    ),
    Topic(
        "ranking.quality",
        "How good and how fair the lists of a stretch of time were.",
        Quality,
        1,
        "partition",
        "tidegate",
        "delete",
    ),
    Topic(
        "dead-letters",
        "What could not be read, why, and where it lies.",
        DeadLetter,
        1,
        "source topic-partition",
        "tidegate",
        "delete",
    ),
    Topic(
        "dead-letters.replays",
        "Which of the records that could not be read were published again.",
        None,
        1,
        "topic, partition, flow, reason",
        "tidegate",
        "compact",
        internal=True,
    ),
    Topic(
        "audit",
        "Changes of model, thresholds, drift and configuration.",
        Audit,
        1,
        "flow-partition",
        "tidegate",
        "delete",
    ),
    _snapshots("risk"),
    _journal("risk"),
    _snapshots("experiments"),
    _journal("experiments"),
    _snapshots("readouts"),
    _journal("readouts"),
    _snapshots("interactions"),
    _journal("interactions"),
    _snapshots("signals"),
    _journal("signals"),
    _snapshots("ranking"),
    _journal("ranking"),
    _snapshots("explanations", "Marks of the explanations flow."),
)

TOPICS = MappingProxyType({topic.name: topic for topic in _ALL})
"""Topics by name, in the order they are made."""
