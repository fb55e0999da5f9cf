"""Explain: records of `risk.evidence` in, one explanation for each on `risk.explanations`.

The stage of a flow of its own (`flows/explanations.py`), so that it costs the decisions nothing. It keeps nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np
from annotated_types import Ge, Le

from operators.batches import F64, I64, Encoded, Messages, Outgoing, Rejected
from operators.dead_letter import dead_letter
from operators.decode.explain import EMPTY_VALUE, NOT_JSON, Fault, depth, fault, unreadable
from operators.encode import significant
from operators.explain import contributions
from operators.explain.words import Told, led, rarity, sentence
from operators.state import Measurement, State
from schemas.dead_letter import Reason
from schemas.evidence import Catalogue, Evidence
from schemas.explanation import Contribution, Explanation

_decode = msgspec.json.Decoder(Evidence).decode
_encode = msgspec.json.Encoder().encode

_OTHER_RECORD: Final = fault(Reason.WRONG_TYPE, "a record of risk.evidence, version 1", "another")


@dataclass(frozen=True, slots=True)
class ExplainConfig:
    """Settings of the explain stage.

    Attributes:
        max_features: features listed per explanation, 1 to 1000; the rest is told in sum.
        max_sentences: sentences on features per explanation, 0 to 16.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_features: Annotated[int, Ge(1), Le(1000)] = 12
    max_sentences: Annotated[int, Ge(0), Le(16)] = 3


@dataclass(frozen=True, slots=True)
class Explained(Encoded):
    """Everything one stretch of input leads to, and what of it could not be read."""

    rejected: list[Rejected] = field(default_factory=list)


class Explain:
    """The one stage. It keeps nothing: its snapshot is empty.

    Attributes:
        config: the settings.
        flow: name of the flow, written into dead letters.
        fingerprint: empty; there is no state to belong to a configuration.
    """

    def __init__(self, config: ExplainConfig, flow: str = "explanations") -> None:
        self.config = config
        self.flow = flow
        self.fingerprint = ""
        depth(b"{}")  # compiled now, not at the first record
        self._catalogue: Catalogue | None = None  # seen last, with the numbers of its families: it hardly ever changes
        self._families: I64 = np.zeros(0, np.int64)

    def process(self, batch: Messages) -> Explained:
        """Return an explanation or a dead letter for every record, in their order; a muted batch gives none."""
        records: list[Outgoing] = []
        rejected: list[Rejected] = []
        for value, offset, time_ms in zip(batch.values, batch.offsets, batch.timestamps_ms, strict=True):
            found = self._read(value)
            if isinstance(found, Fault):
                rejected.append(Rejected(offset, time_ms, found.reason, found.detail))
                if not batch.span.muted:
                    records.append(dead_letter(self.flow, batch.topic, batch.span.partition, rejected[-1]))
            elif not batch.span.muted:
                stamp = max(found.timestamp, 1)  # to librdkafka 0 means now
                answer = _encode(self.explanation(found))
                records.append(Outgoing("risk.explanations", found.user.encode(), answer, stamp))
        return Explained(batch.span, records, rejected=rejected)

    def explanation(self, found: Evidence) -> Explanation:
        """Return what one event's score was made of.

        Args:
            found: whose arrays fit each other.
        """
        raw, usual, tails = (_doubles(each) for each in (found.raw, found.usual, found.tails))
        evidence = contributions.of_families(tails, self._families_of(found.catalogue))
        forest: F64 = np.zeros(len(tails))
        steps = np.frombuffer(found.steps, "u1")
        base = contributions.telescope(
            steps,
            np.frombuffer(found.columns, "<u2"),
            np.frombuffer(found.masses, "<i4"),
            found.height,
            found.statistic == "river",
            contributions.greatest(found.statistic, len(steps), found.height, found.window),
            forest,
        )
        share = contributions.shares(evidence, forest, found.forest_share)
        order = np.lexsort((np.arange(len(share)), -np.abs(forest), -evidence, -share))
        order = order[(evidence[order] > 0.0) | (forest[order] != 0.0)]
        listed, rest = order[: self.config.max_features], order[self.config.max_features :]
        error = max(abs(base + forest.sum() - found.forest), abs(evidence.sum() - found.evidence))
        numbers = [found.tail_probability, found.score, found.forest, found.evidence, found.forest_share, base]
        numbers += [float(evidence[rest].sum()), float(forest[rest].sum()), float(error)]
        tail, score, unusual, nats, led_by_forest, base, evidence_rest, forest_rest, error = _rounded(numbers)
        return Explanation(
            id=found.id,
            timestamp=found.timestamp,
            user=found.user,
            tier=found.tier,
            partition=found.partition,
            offset=found.offset,
            tail_probability=tail,
            score=score,
            forest=unusual,
            evidence=nats,
            forest_share=led_by_forest,
            forest_base=base,
            features=_listed(found.catalogue, listed, raw, usual, tails, evidence, forest, share),
            evidence_rest=evidence_rest,
            forest_rest=forest_rest,
            error=error,
            sentences=self._sentences(found, order, raw, usual, tails),
        )

    def _sentences(self, found: Evidence, order: I64, raw: F64, usual: F64, tails: F64) -> tuple[str, ...]:
        """Return how rare the event is, what led, and its first features, of each family one."""
        catalogue = found.catalogue
        said: dict[str, str] = {}
        for column in order.tolist():
            family = catalogue.families[column]
            if len(said) == self.config.max_sentences or family in said:
                continue
            names = catalogue.names[column], catalogue.units[column], catalogue.directions[column]
            numbers = float(raw[column]), float(usual[column]), float(tails[column])
            text = sentence(Told(*names, family, catalogue.windows_s[column], *numbers))
            if text is not None:
                said[family] = text
        return (*said.values(), rarity(found.tail_probability), led(found.forest_share))

    def _families_of(self, catalogue: Catalogue) -> I64:
        """Return the number of each column's family, from 0, in order of appearance."""
        if catalogue != self._catalogue:
            numbers: dict[str, int] = {}
            self._families = np.array([numbers.setdefault(name, len(numbers)) for name in catalogue.families], np.int64)
            self._catalogue = catalogue
        return self._families

    def _read(self, value: bytes | None) -> Evidence | Fault:
        """Return the evidence, or what is wrong with the record."""
        if not value:
            return EMPTY_VALUE
        if found := unreadable(value):
            return found
        try:
            evidence = _decode(value)
        except msgspec.ValidationError:
            return _OTHER_RECORD
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return NOT_JSON
        return _misfit(evidence) or evidence

    def dump(self) -> State:
        """Return nothing: there is no state."""
        return {}

    def load(self, state: State) -> None:
        """Take nothing."""

    def measurements(self) -> Iterable[Measurement]:
        """Return nothing: records are counted where they pass."""
        return ()


def _misfit(found: Evidence) -> Fault | None:
    """Return which of the arrays does not fit the others; None if all do."""
    names = found.catalogue.names
    count = len(names)
    for name in ("units", "directions", "families", "windows_s"):
        if len(getattr(found.catalogue, name)) != count:
            return fault(Reason.OUT_OF_RANGE, "as many as there are names", "another number", f"catalogue.{name}")
    for name in ("raw", "usual", "mapped", "tails"):
        if len(getattr(found, name)) != 8 * count:
            return fault(Reason.OUT_OF_RANGE, "a double for each feature", "another number", name)
    tails = _doubles(found.tails)
    if not bool(((tails > 0.0) & (tails <= 1.0)).all()):
        return fault(Reason.OUT_OF_RANGE, "numbers above 0 and at most 1", "others", "tails")
    windows = [window for window in found.catalogue.windows_s if window is not None]
    if min(windows, default=1) < 1:
        return fault(Reason.OUT_OF_RANGE, "windows of at least 1 s", "others", "catalogue.windows_s")
    if not found.steps or max(found.steps) > found.height:
        return fault(Reason.OUT_OF_RANGE, "at most as many steps as there are levels", "others", "steps")
    passed = sum(found.steps)
    if len(found.columns) != 2 * passed:
        return fault(Reason.OUT_OF_RANGE, "a column for each step", "another number", "columns")
    if passed and int(np.frombuffer(found.columns, "<u2").max()) >= count:
        return fault(Reason.OUT_OF_RANGE, "columns that have a name", "others", "columns")
    if len(found.masses) != 4 * (passed + len(found.steps)):
        return fault(Reason.OUT_OF_RANGE, "a mass for each node", "another number", "masses")
    if int(np.frombuffer(found.masses, "<i4").min()) < 0:
        return fault(Reason.OUT_OF_RANGE, "masses >= 0", "others", "masses")
    return None


def _doubles(data: bytes) -> F64:
    found: F64 = np.frombuffer(data, "<f8")
    return found


def _rounded(numbers: list[float]) -> list[float]:
    rounded: list[float] = significant(np.array(numbers)).tolist()
    return rounded


def _listed(
    catalogue: Catalogue, order: I64, raw: F64, usual: F64, tails: F64, evidence: F64, forest: F64, share: F64
) -> tuple[Contribution, ...]:
    """Return the columns of `order`, numbers rounded, absent where they are not finite."""
    table = significant(np.stack([raw, usual, tails, evidence, forest, share])[:, order])
    finite = np.isfinite(table[:2]).tolist()
    return tuple(
        Contribution(
            feature=catalogue.names[column],
            unit=catalogue.units[column],
            direction=catalogue.directions[column],
            value=value if has_value else None,
            baseline=baseline if has_baseline else None,
            tail_probability=tail,
            evidence=nats,
            forest=unusual,
            share=part,
        )
        for column, (value, baseline, tail, nats, unusual, part), (has_value, has_baseline) in zip(
            order.tolist(), table.T.tolist(), zip(*finite, strict=True), strict=True
        )
    )
