"""One experiment as the merge stage keeps it: the newest part of each partition, the looks so far, the last answer."""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from experiments.looking import Plan, plan
from experiments.looks import Looks, see
from experiments.readout import readout
from experiments.totals import Progress, fits, progress, together, total
from experiments.verdicts import Decided, decide
from operators.state import pack, unpack
from schemas.definition import Definition
from schemas.part import Part
from schemas.readout import Readout
from schemas.verdict import Answer


class Answered(NamedTuple):
    """What a look led to.

    Attributes:
        readout: with this look.
        decided: by it.
        before: the decision before; None if this is the first.
        changed: whether decision or variation are others than before.
        alarms: strata whose sample ratio alarms for the first time.
    """

    readout: Readout
    decided: Decided
    before: Answer | None
    changed: bool
    alarms: frozenset[str]


class _Kept(msgspec.Struct, frozen=True):
    """An experiment as it is written into a snapshot."""

    definition: Definition | None
    parts: list[Part]
    looks: bytes
    decision: Answer | None
    variation: str | None
    alarms: list[str]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class Experiment:
    """One experiment. Parts that come before the definition are kept until it comes.

    Attributes:
        definition: newest; None before it came.
        parts: newest of each partition.
        decision: last; None before the first look.
        alarms: strata whose sample ratio has alarmed.
    """

    def __init__(self) -> None:
        self.definition: Definition | None = None
        self.parts: dict[int, Part] = {}
        self.decision: Answer | None = None
        self.alarms: frozenset[str] = frozenset()
        self._variation: str | None = None
        self._plan: Plan | None = None
        self._looks: Looks | None = None
        self._readout: Readout | None = None
        self._far: dict[int, Progress] = {}
        self._written: NDArray[np.uint8] | None = None

    def define(self, definition: Definition) -> bool:
        """Take a definition; one that is older than what is here says nothing, and False is returned.

        What was declared changes before the first exposure only; then nothing that was seen of it counts.
        """
        old = self.definition
        if old is not None and definition.version < old.version:
            return False
        if old is None or _declared(old) != _declared(definition):
            of = plan(definition)
            self._looks = Looks(len(of.kinds), of.pairs)
        self.definition, self._plan = definition, plan(definition)
        self._touched()
        return True

    def take(self, part: Part) -> bool:
        """Take a part; one that is older than the newest of its partition says nothing, and False is returned."""
        held = self.parts.get(part.partition)
        if held is not None and _age(part) < _age(held):
            return False
        self.parts[part.partition], self._far[part.partition] = part, progress(part)
        self._touched()
        return True

    @property
    def stream_ms(self) -> int:
        """Latest stream time of any part; 0 without one."""
        return max((part.timestamp for part in self.parts.values()), default=0)

    def ended(self, at_ms: int) -> bool:
        """Whether nothing can come any more at a stream time: it has ended, and so has the last attribution window."""
        of = self.definition
        return of is not None and of.end is not None and of.end + 1_000 * of.attribution_window_s <= at_ms

    def look(self, interval_s: float, check_alpha: float) -> Answered | None:
        """Take a look, if one is due.

        Args:
            interval_s: of stream time, between two looks.
            check_alpha: see `experiments.verdicts`.
        """
        fitting, looks = self._fitting(), self._looks
        if not fitting or looks is None or self._plan is None:
            return None
        if not looks.due(together(self._far[part.partition] for part in fitting), interval_s):
            return None
        assert self.definition is not None, "no part fits without one"
        totals = total(fitting, self.definition)
        seen = looks.look(totals, self._plan)
        self._written = None
        found = self._readout = readout(self.definition, self._plan, totals, seen, looks, check_alpha)
        decided = decide(self.definition, found, check_alpha)
        before, changed = self.decision, (decided.decision, decided.variation) != (self.decision, self._variation)
        alarming = frozenset(each.stratum for each in found.sample_ratio if each.alarm)
        fresh = alarming - self.alarms
        self.decision, self._variation = decided.decision, decided.variation
        self.alarms |= fresh
        return Answered(found, decided, before, changed, fresh)

    def read(self, check_alpha: float) -> Readout | None:
        """Return the newest readout; None where nothing can be said yet.

        One that a look has made is not made again, and then not held any longer: it is larger than all else here.
        """
        found, self._readout = self._readout, None
        fitting, of, how, looks = self._fitting(), self.definition, self._plan, self._looks
        if found is None and fitting and of is not None and how is not None and looks is not None:
            totals = total(fitting, of)
            found = readout(of, how, totals, see(totals, how), looks, check_alpha)
        return found

    def _fitting(self) -> list[Part]:
        """Return the parts that count by the definition; none while one counts by a newer, which has not come yet."""
        of = self.definition
        if of is None or any(part.version > of.version for part in self.parts.values()):
            return []
        return [part for part in self.parts.values() if fits(part, of)]

    def _touched(self) -> None:
        self._readout = self._written = None

    def dump(self) -> NDArray[np.uint8]:
        """Return it as bytes; the same array until it changes."""
        if self._written is None:
            kept = _Kept(
                self.definition,
                [part for _, part in sorted(self.parts.items())],
                b"" if self._looks is None else pack(self._looks.dump()),
                self.decision,
                self._variation,
                sorted(self.alarms),
            )
            self._written = np.frombuffer(_encode(kept), np.uint8)
        return self._written

    @classmethod
    def load(cls, written: NDArray[np.uint8]) -> "Experiment":
        """Return what was dumped.

        Raises:
            ValueError: it is not what `dump` returns.
        """
        try:
            kept = _decode(written.tobytes())
        except msgspec.DecodeError as error:
            raise ValueError(f"expected an experiment, got something else: {error}") from error
        one = cls()
        if kept.definition is not None:
            one.define(kept.definition)
        if one._looks is not None:
            one._looks.load(unpack(kept.looks))
        for part in kept.parts:
            one.take(part)
        one.decision, one._variation, one.alarms = kept.decision, kept.variation, frozenset(kept.alarms)
        one._written = None
        return one


def _age(part: Part) -> tuple[int, int]:
    return part.offsets.get("exposures", 0), part.timestamp


def _declared(of: Definition) -> Definition:
    """Return what of a definition may not change once it runs, but for the phases: units stay where they were."""
    return msgspec.structs.replace(of, version=1, timestamp=0, phases=(), end=None, description="")
