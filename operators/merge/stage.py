"""Merge: parts of all partitions in, readouts, decisions and audit records out. The one stage of its flow.

A part stands for all before it of its partition (`schemas.part`), so the newest of each is kept and all of them added
up (`experiments.totals`). What follows from the parts and definitions alone is exact and the same wherever batches are
cut, and after every restart: which looks are taken (`experiments.looks`), decisions, alarms, the audit trail. Readouts
are written at a flush, of experiments whose parts changed since: which of them are written depends on the clock, so
they are no part of what is written again byte for byte; what they say follows from the state.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, get_args

import msgspec
import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from operators.audit import Chain
from operators.batches import U8, Encoded, Messages, Outgoing, Rejected, Span
from operators.dead_letter import dead_letter
from operators.decode.explain import Fault, depth
from operators.fingerprint import fingerprint
from operators.merge import records
from operators.merge.experiment import Answered, Experiment
from operators.merge.read import TOPIC, read_definitions, read_part
from operators.side import Applied, Side, applied
from operators.state import Measurement, State
from schemas.part import Part
from schemas.verdict import Answer

LAYOUT: Final = 1

_ORDER: Final = "experiments"
_ONE: Final = "experiment:"
_DAY_MS: Final = 86_400_000
_ANSWERS: Final[tuple[Answer, ...]] = get_args(Answer)


@dataclass(frozen=True, slots=True)
class MergeConfig:
    """Settings of the merge stage.

    Attributes:
        max_experiments: held per partition, at least 1; each partition holds the definitions of all. When there are
            more, those that have ended go; where none has, the new one is refused.
        readouts_per_flush: written at once at most; the others at the next flush. Each takes some milliseconds.
        look_interval_s: stream time after which a look is due, seconds; also when units grew by a hundredth.
        check_alpha: how often each check of what is broken may call a sound experiment broken, above 0 and below 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_experiments: Annotated[int, Ge(1), Le(100_000)] = 1_000
    readouts_per_flush: Annotated[int, Ge(1), Le(10_000)] = 100
    look_interval_s: Annotated[float, Gt(0), Le(86_400)] = 60.0
    check_alpha: Annotated[float, Gt(0), Lt(1)] = 0.01


@dataclass(frozen=True, slots=True)
class Merged(Encoded):
    """Everything one stretch of input leads to, and what of it could not be read."""

    rejected: list[Rejected] = field(default_factory=list)


class Merge:
    """All experiments of one partition of `experiments.parts`.

    Attributes:
        config: the settings.
        flow: name of the flow, written into dead letters.
        fingerprint: of the layout of the state alone: no setting makes what was counted wrong.
    """

    def __init__(self, config: MergeConfig, flow: str = "readouts", chain: Chain | None = None) -> None:
        self.config = config
        self.flow = flow
        self.fingerprint = fingerprint(LAYOUT, "experiments.parts")
        self._chain = chain
        self._experiments: dict[str, Experiment] = {}
        self._unread: dict[str, None] = {}  # in the order in which their readouts are to be written
        self._time_ms = self._read_ms = 0
        self._refused = self._superseded = 0
        self._defined: list[Answered] = []
        depth(b"{}")  # compiled now, not at the first record

    def process(self, batch: Messages) -> Merged:
        """Take in parts; return decisions, audit records and dead letters, in the order of the records they belong to.

        A muted batch changes the state and gives none: its records are in Kafka already.
        """
        written: list[Outgoing] = []
        rejected: list[Rejected] = []
        kinds: list[str] = []
        if batch.values and not batch.span.muted:
            written += self._configuration(batch.timestamps_ms[0], kinds)
        for value, offset, time_ms in zip(batch.values, batch.offsets, batch.timestamps_ms, strict=True):
            found = read_part(value)
            if isinstance(found, Fault):
                rejected.append(Rejected(offset, time_ms, found.reason, found.detail))
                if not batch.span.muted:
                    written.append(dead_letter(self.flow, batch.topic, batch.span.partition, rejected[-1]))
            elif (answered := self._take(found)) is not None and not batch.span.muted:
                written += self._said(answered, kinds)
        return Merged(batch.span, written, self._beside(batch.span), tuple(kinds), rejected)

    def take_side(self, side: Side) -> None:
        """Take in definitions, and look at experiments whose parts have waited for them."""
        self._defined = []
        if side.topic != TOPIC:
            return
        gone = read_definitions(side)
        for name, definition in (side.definitions or {}).items():
            if name in gone:
                self._drop(name)
            if definition is None:
                continue
            one = self._one(name)
            if one is not None and one.define(definition):
                self._note(name, one)
                answered = one.look(self.config.look_interval_s, self.config.check_alpha)
                self._defined += [] if answered is None else [answered]

    def end_side(self, side: Side) -> Applied:
        """Return what the definitions led to, and a dead letter for each record that could not be read."""
        ended, kinds = applied(self.flow, side, self._beside(side.span)), list[str]()
        if side.muted:
            return ended
        written = list(ended.records)
        if self._defined:
            written += self._configuration(self._defined[0].readout.timestamp, kinds)
        for answered in self._defined:
            written += self._said(answered, kinds)
        return Applied(side.span, written, self._beside(side.span), tuple(kinds), side=side)

    def at_flush(self, partition: int) -> Encoded | None:
        """Return readouts of experiments whose parts changed, at most `readouts_per_flush`, the longest due first."""
        written: list[Outgoing] = []
        for name in list(self._unread):
            if len(written) == self.config.readouts_per_flush:
                break  # whoever was told something asks again, who was told nothing does not
            del self._unread[name]
            one = self._experiments[name]
            readout = one.read(self.config.check_alpha)
            if readout is not None:
                self._read_ms = max(self._read_ms, readout.timestamp)
                written.append(records.of_readout(readout))
        span = Span(partition, 0, 0)
        return Encoded(span, written, self._beside(span)) if written else None

    def recall(self, text: str) -> None:
        """Go on with the audit chain from the text committed beside the input offset; "" begins a new one.

        Raises:
            ValueError: the text is not one that an `Encoded.beside` had.
        """
        if self._chain is not None:
            self._chain.recall(text)

    def dump(self) -> State:
        """Return a copy of the state: one array of bytes for each experiment, so that only changed ones are written."""
        order = msgspec.json.encode(list(self._experiments))
        return {
            _ORDER: np.frombuffer(order, np.uint8),
            "unread": np.frombuffer(msgspec.json.encode(list(self._unread)), np.uint8),
            "time_ms": self._time_ms,
            "refused": self._refused,
            "superseded": self._superseded,
            **{_ONE + name: one.dump() for name, one in self._experiments.items()},
        }

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` returned; experiments that its list does not hold are old, and left out.

        Raises:
            ValueError: it is not such a state.
        """
        names = _names(state, _ORDER)
        self._experiments = {name: Experiment.load(_bytes(state, _ONE + name)) for name in names}
        self._unread = dict.fromkeys(name for name in _names(state, "unread") if name in self._experiments)
        counts = [state.get(name) for name in ("time_ms", "refused", "superseded")]
        if not all(isinstance(count, int) for count in counts):
            raise ValueError(f"expected whole numbers, got {counts} - at time_ms, refused, superseded")
        self._time_ms, self._refused, self._superseded = counts  # type: ignore[assignment]

    def measurements(self) -> Iterable[Measurement]:
        """Yield how many experiments stand where, alarms, and what waits."""
        answers = [one.decision for one in self._experiments.values()]
        for answer in _ANSWERS:
            yield Measurement("tidegate_experiments_decided", float(answers.count(answer)), {"decision": answer})
        alarms = sum(bool(one.alarms) for one in self._experiments.values())
        yield Measurement("tidegate_sample_ratio_alarms", float(alarms))
        yield Measurement("tidegate_readouts_pending", float(len(self._unread)))
        yield Measurement("tidegate_experiments_refused_total", float(self._refused))
        yield Measurement("tidegate_parts_superseded_total", float(self._superseded))
        if self._time_ms:
            yield Measurement("tidegate_stream_time_seconds", self._time_ms / 1000)
        if self._read_ms:
            yield Measurement("tidegate_readout_time_seconds", self._read_ms / 1000)
        if self._chain is not None:
            yield Measurement("tidegate_audit_sequence", float(self._chain.sequence))

    def _take(self, part: Part) -> Answered | None:
        self._time_ms = max(self._time_ms, part.timestamp)
        one = self._one(part.experiment)
        if one is None:
            return None
        if not one.take(part):
            self._superseded += 1
            return None
        self._note(part.experiment, one)
        return one.look(self.config.look_interval_s, self.config.check_alpha)

    def _one(self, name: str) -> Experiment | None:
        """Return an experiment, a new one if there is none of the name; None if there is no room for it."""
        found = self._experiments.get(name)
        if found is None:
            if len(self._experiments) >= self.config.max_experiments and not self._make_room():
                self._refused += 1
                return None
            found = self._experiments[name] = Experiment()
        return found

    def _make_room(self) -> bool:
        """Drop the experiment that ended first, of which nothing can come any more; False if there is none.

        If none has ended: one whose definition did not come for a day, or was taken back before its last part came.
        """
        found = [
            (each.definition.end or 0, name)
            for name, each in self._experiments.items()
            if each.definition is not None and each.ended(self._time_ms)
        ]
        found = found or [
            (each.stream_ms, name)
            for name, each in self._experiments.items()
            if each.definition is None and each.stream_ms + _DAY_MS <= self._time_ms
        ]
        if found:
            self._drop(min(found)[1])
        return bool(found)

    def _drop(self, name: str) -> None:
        self._experiments.pop(name, None)
        self._unread.pop(name, None)

    def _note(self, name: str, one: Experiment) -> None:
        if one.parts:
            self._unread.setdefault(name)

    def _said(self, answered: Answered, kinds: list[str]) -> list[Outgoing]:
        """Return the records of a look that changed something, and note the kinds of audit records."""
        found = [records.of_decision(answered)] if answered.changed else []
        if self._chain is not None:
            time_ms = answered.readout.timestamp
            for kind, detail in records.trail(answered):
                kinds.append(kind)
                found.append(self._chain.record(kind, time_ms, detail))
        return found

    def _configuration(self, time_ms: int, kinds: list[str]) -> list[Outgoing]:
        told = [] if self._chain is None else self._chain.configuration(time_ms)
        kinds += ["configuration"] * len(told)
        return told

    def _beside(self, span: Span) -> str:
        return "" if self._chain is None or span.muted else self._chain.beside


def _bytes(state: State, name: str) -> U8:
    value = state.get(name)
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise ValueError(f"expected bytes - at {name}")
    return np.asarray(value, np.uint8)


def _names(state: State, name: str) -> list[str]:
    try:
        return msgspec.json.decode(_bytes(state, name).tobytes(), type=list[str])
    except msgspec.DecodeError as error:
        raise ValueError(f"expected a list of names - at {name}") from error
