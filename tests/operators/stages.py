"""The registry of stages that the laws run over, and the input of each: a stream through all stages before it.

A new stage joins with one line in `STAGES`; one that keeps something for each user also with its name in `KEYED`.
"""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import streams
from cutting import cut
from laws import Make, recall, run

from operators.audit import Chain
from operators.batches import Encoded, Messages
from operators.calibrate import Calibrate, CalibrateConfig, ProbabilityConfig, ReviewConfig
from operators.capture import Capture
from operators.decode import Decode, DecodeConfig, Pseudonymizer
from operators.encode import Encode
from operators.featurize import Featurize, FeaturizeConfig
from operators.own_feature import OwnFeature
from operators.score import Score, ScoreConfig
from operators.side import Side
from operators.state import Stage, pack, unpack
from operators.tier import Tier, TierConfig

AUDIT_KEY = bytes(range(32, 64))

# Bounds and warm-ups so small that a stream of 2,000 events meets all of them, and budgets that fill every tier.
_PSEUDONYMS = Pseudonymizer(bytes(range(32)))
_FEATURES = FeaturizeConfig(max_users=24, dedup_max=64)
_SCORES = ScoreConfig(
    trees=5, height=6, window=100, half_life=1000, refresh=20, warmup=100, gate_share=0.1, relearn_users=3
)
_TAILS = CalibrateConfig(half_life=1000, refresh=20, warmup=100, drift_window=100, level=0.1, adapt_events=1000)
_LABELS = ProbabilityConfig(
    enabled=True, wait_s=900, sample_share=0.2, max_remembered=48, half_life=1000, min_fraud=3, min_labels=12
)
_TIERS = TierConfig(medium=0.1, high=0.03, critical=0.01, standing_hold_s=600, max_users=4, rate_half_life=1000)
_DECLARED = (
    OwnFeature("items_10m", "sum", 600, (0, 50), of="fields.basket.items", where=("pay",)),
    OwnFeature("items_mean", "mean", 3_600, (0, 5), of="fields.basket.items", direction="both", family="items"),
    OwnFeature("methods", "distinct", 86_400, (0, 4), of="fields.method"),
    OwnFeature("types", "entropy", 600, (0, 1.1), of="type"),
    OwnFeature("spent_max", "max", 3_600, (0, 10_000), of="amount"),
    OwnFeature("logins", "count", 60, (0, 10), where=("login", "view")),
    OwnFeature("since_login", "gap", 3_600, (0, 3_600), where=("login",), direction="down"),
)
CATALOGUE = Featurize(_FEATURES, _DECLARED).catalogue
_SCORING = Score(_SCORES, CATALOGUE).fingerprint
_BUDGETS = _TIERS.budgets
_REVIEW = ReviewConfig(drift_limit=0.2, drift_end=0.15, threshold_factor=1.2)
_NAMES = [feature.name for feature in CATALOGUE]
_CALIBRATION = Calibrate(_TAILS, _SCORING, _BUDGETS, features=_NAMES, probability=_LABELS).fingerprint

STAGES: dict[str, Make] = {
    "decode": lambda: Decode(DecodeConfig(cache_entries=16), _PSEUDONYMS, _DECLARED),
    "featurize": lambda: Featurize(_FEATURES, _DECLARED),
    "score": lambda: Score(_SCORES, CATALOGUE),
    "calibrate": lambda: Calibrate(_TAILS, _SCORING, _BUDGETS, _REVIEW, _NAMES, _LABELS),
    "tier": lambda: Tier(_TIERS, CATALOGUE, _CALIBRATION),
    "encode": lambda: Encode(
        "risk",
        Chain(AUDIT_KEY, "risk", 0, {"tier": _CALIBRATION}),
        Capture(_SCORES, CATALOGUE, (_TIERS.medium, _TIERS.high, _TIERS.critical), "medium"),
    ),
}
"""Stage -> factory of its fresh state, in the data's order."""

KEYED = ("featurize", "tier")
"""Stages that keep something for each user; the others keep nothing, or what is usual among all."""

COUNTERS = frozenset({"sequence.flagged"})
"""What any flagged event may change in a dump: how many there were, for the metrics."""

PROPOSALS = frozenset({"sequence.clock", "sequence.proposers", "sequence.proposed_ms", "sequence.objectors"})
"""What an event ahead of its time may change besides: it waits for others to confirm it."""


def before(name: str) -> list[str]:
    """Return the stages upstream of one."""
    names = list(STAGES)
    return names[: names.index(name)]


def upstream(name: str, batches: Iterable[Any]) -> list[Any]:
    """Return what reaches a stage when `Messages` go through all stages before it."""
    given = list(batches)
    for stage in before(name):
        given = run(STAGES[stage](), given)
    return given


def trouble(seed: int, n: int = 2_000, users: int = 40) -> list[streams.Event | bytes | None]:
    """Return a stream with everything in it: bursts, disorder, repeats, garbage, a wrong clock, a true jump of time."""
    people: dict[str, Any] = {
        "users": users,
        "gap_ms": 3_000,
        "jitter_ms": 60_000,
        "repeated": 0.03,
        "late": 0.01,
        "bursts": 0.01,
    }
    past = streams.habits(seed, n * 2 // 3, **people)
    later = streams.habits(seed + 1, n - len(past), start_ms=past[-1]["timestamp"] + 2 * streams.DAY_MS, **people)
    wrong_clock = {**past[-1], "id": "wrong-clock", "timestamp": past[-1]["timestamp"] + 300 * streams.DAY_MS}
    past.insert(len(past) // 2, wrong_clock)
    return streams.with_garbage(past + later, seed, share=0.02)


@cache
def troubled(name: str, seed: int = 1, n: int = 2_000) -> Any:
    """Return the input of a stage for a stream of `trouble`, as one batch; do not change it."""
    return upstream(name, [streams.messages(trouble(seed, n))])[0]


@cache
def sided(name: str, seed: int = 1, n: int = 2_000, every: int = 90) -> list[Any]:
    """Return the input of a stage for a stream of `trouble` with records of `labels` between; do not change it.

    Labels are late, some of them wrong and corrected later, some of events that never were, some of them garbage.
    """
    values = trouble(seed, n)
    whole, rng = streams.messages(values), np.random.default_rng(seed)
    items: list[Any] = []
    said = 0
    for piece in cut(whole, range(every, n, every)):
        at = piece.span.next
        known = [event for event in values[max(0, at - 5 * every) : at] if isinstance(event, dict)]
        chosen = [known[k] for k in rng.integers(len(known), size=60)]
        labels = [label_of(event, bool(rng.random() < 0.1)) for event in chosen]
        labels += [label_of({"id": f"never-{k}", "user": "user-1", "timestamp": 0}, wrong=False) for k in range(5)]
        labels += [b"{", None, *labels[:3]]
        offsets, stamps = list(range(said, said + len(labels))), [piece.timestamps_ms[-1]] * len(labels)
        said += len(labels)
        side = Side(0, "labels", at, offsets[0], said, labels, [b"k"] * len(labels), offsets, stamps)
        items += [piece, side]
    return upstream(name, items)


def label_of(event: streams.Event, wrong: bool) -> bytes:  # noqa: FBT001  a fact about the label, not a mode
    """Return what is said of an event: the amounts of bursts are fraud."""
    fraud = (event.get("amount", 0.0) > 300) != wrong
    said = {key: event[key] for key in ("id", "user", "timestamp")} | {"label": "fraud" if fraud else "legit"}
    return json.dumps(said).encode()


class Pipeline:
    """All stages, one after the other, as the flow wires them."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage[Any, Any]] = {name: make() for name, make in STAGES.items()}
        self.beside = ""  # what would be committed beside the offset

    def process(self, batch: Messages) -> Encoded:
        """Answer a batch of raw records."""
        answer: Any = batch
        for stage in self.stages.values():
            [answer] = run(stage, [answer])
        self.beside = answer.beside
        return answer

    def dump(self) -> dict[str, bytes]:
        """Return every stage's state as it is written."""
        return {name: pack(stage.dump()) for name, stage in self.stages.items()}

    def restart(self, written: dict[str, bytes]) -> None:
        """Put fresh stages in place of some, with the state that `dump` wrote."""
        for name, state in written.items():
            self.stages[name] = STAGES[name]()
            self.stages[name].load(unpack(state))
            recall(self.stages[name], self.beside)
