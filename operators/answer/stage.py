"""Answer, the step `encode` of the ranking flow: every request leaves as one result or one dead letter, in order."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from operators.answer.config import AnswerConfig
from operators.answer.records import PARTS, SERVED, Records
from operators.audit import Chain
from operators.batches import Change, Encoded, Outgoing, Rejected, first_ms
from operators.dead_letter import dead_letter
from operators.decode.explain import fault
from operators.encode import rounded, significant
from operators.lists import Judged
from operators.side import Applied, Side, audited
from operators.state import Measurement, State
from schemas.dead_letter import Reason
from schemas.quality import Quality

QUALITY: Final = "ranking.quality"
INPUT: Final = "ranking.requests"
FALLBACK: Final = "fallback"

_TOO_LARGE: Final = fault(Reason.TOO_LARGE, "an answer that fits a record", "a larger one")
_UNKNOWN_MS: Final = -1  # Kafka's own time of a request that could be read

_encode = msgspec.json.Encoder().encode


class Answer:
    """The last stage, for one partition. Its snapshot is empty: the audit chain's head is beside the input offset.

    Attributes:
        flow: name of the flow, written into dead letters.
        fingerprint: empty; there is no state to belong to a configuration.
    """

    def __init__(self, flow: str, chain: Chain, config: AnswerConfig | None = None) -> None:
        """Begin.

        Args:
            flow: name of the flow.
            chain: where changes are written.
            config: what is written beside the answers.
        """
        self.flow = flow
        self.fingerprint = ""
        self._chain = chain
        self._config = config or AnswerConfig()
        self._answered = self._served = self._by_fallback = 0
        self._cut: Counter[str] = Counter()

    def process(self, batch: Judged) -> Encoded:
        """Return the records for a batch; a muted one gives none.

        In the order of the input: of each request its result and, if it is to be told, what the ranker saw of it, or
        its dead letter; one whose answer is too large for a record has a dead letter, too. Then what is known now of
        lists shown before, and an audit record of each alarm. The configuration, if it is not the one told last, comes
        before everything.
        """
        span = batch.span
        if span.muted:
            return Encoded(span, [])
        lists = batch.ordered.scored.lists
        time_ms = first_ms(lists.requests.offsets, lists.requests.time_ms, lists.rejected)
        told = self._chain.configuration(1 if time_ms is None else time_ms)
        records = told + self._answers(batch)
        records += [_quality(each) for each in batch.quality]
        records += [self._chain.record(each.kind, each.time_ms, rounded(each.detail)) for each in batch.alarms]
        kinds = ("configuration",) * len(told) + tuple(change.kind for change in batch.alarms)
        return Encoded(span, records, self._chain.beside, kinds)

    def end_side(self, side: Side) -> Applied:
        """Return a dead letter for each side record that could not be read, and an audit record for each change."""
        return audited(self.flow, side, self._chain, [_rounded(each) for each in side.changes])

    def recall(self, text: str) -> None:
        """Go on with the audit chain from the text committed beside the input offset; "" begins a new one.

        Raises:
            ValueError: the text is not one that an `Encoded.beside` had.
        """
        self._chain.recall(text)

    def dump(self) -> State:
        """Return nothing: there is no state."""
        return {}

    def load(self, state: State) -> None:
        """Take nothing."""

    def measurements(self) -> Iterable[Measurement]:
        """Yield what was answered, and how long the audit chain is."""
        yield Measurement("tidegate_lists_answered_total", self._answered)
        yield Measurement("tidegate_lists_by_fallback_total", self._by_fallback)
        yield Measurement("tidegate_lists_served_total", self._served)
        for part in PARTS:
            yield Measurement("tidegate_lists_cut_total", self._cut[part], {"part": part})
        yield Measurement("tidegate_audit_sequence", float(self._chain.sequence))

    def _answers(self, batch: Judged) -> list[Outgoing]:
        scored = batch.ordered.scored
        lists = scored.lists
        made = Records(batch.ordered, self._config)
        rejected = iter(lists.rejected)
        letter = next(rejected, None)
        records: list[Outgoing] = []
        answered = 0
        requests = lists.requests
        for k, (offset, time_ms) in enumerate(zip(requests.offsets.tolist(), requests.time_ms.tolist(), strict=True)):
            while letter is not None and letter.offset < offset:
                records.append(self._dead_letter(batch, letter))
                letter = next(rejected, None)
            if found := made.of(k):
                answered += 1
                records += found
            else:
                too_large = self._dead_letter(batch, Rejected(offset, _UNKNOWN_MS, *_TOO_LARGE))
                records.append(msgspec.structs.replace(too_large, timestamp_ms=max(time_ms, 1)))
        while letter is not None:
            records.append(self._dead_letter(batch, letter))
            letter = next(rejected, None)
        self._answered += answered
        self._by_fallback += answered * (scored.model == FALLBACK)
        self._served += sum(record.topic == SERVED for record in records)
        self._cut += made.cut
        return records

    def _dead_letter(self, batch: Judged, letter: Rejected) -> Outgoing:
        return dead_letter(self.flow, batch.ordered.scored.lists.topic, batch.span.partition, letter)


def _rounded(change: Change) -> Change:
    return replace(change, detail=rounded(change.detail))


def _quality(quality: Quality) -> Outgoing:
    value = _encode(_six(msgspec.to_builtins(quality)))
    return Outgoing(QUALITY, str(quality.partition).encode(), value, max(quality.timestamp, 1))


def _six(value: Any) -> Any:
    """Return a value with all numbers in it rounded, whole ones aside."""
    if isinstance(value, float):
        return float(significant(np.array([value]))[0])
    if isinstance(value, dict):
        return {name: _six(each) for name, each in value.items()}
    return [_six(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
