"""Encode: decisions and rejections become the records that Kafka gets.

One low-tier event is one record on `risk.tiers`, about 200 bytes (see `schemas.decision.Decision`):

    {"schema":1,"id":"e-17","timestamp":1700000000000,"user":"h1:594afa3ae9a33aee4a6d4bfd63c5b89c","tier":"low",
     "standing":"low","partition":3,"offset":41,"tail_probability":0.168373,"score":0.824009}

Numbers unknown while warming, empty reasons and empty flags are left out. From medium up:

    "forest":0.646767,"evidence":12.3102,"reasons":[{"feature":"count_60s","value":31.0,"baseline":1.5,"contribution":7.1}],"flags":["late"]

Last, once there are labels enough: "probability":0.0231
"""

from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from operators import batches
from operators.audit import Chain
from operators.batches import F64, TIERS, Change, Decoded, Encoded, Outgoing, Tiered, first_ms
from operators.capture import Capture
from operators.dead_letter import dead_letter
from operators.side import Applied, Side, applied
from operators.state import Measurement, State
from schemas.decision import Decision, Flag, Reason

DIGITS: Final = 6
"""Significant digits of numbers in the outputs: more would be noise, and bytes."""

_EXPLAINED: Final = TIERS.index("medium")
_ALERTED: Final = TIERS.index("high")
_NAMED: Final[dict[int, Flag]] = {batches.LATE: "late", batches.DUPLICATE: "duplicate", batches.AHEAD: "ahead"}
FLAGS: Final = tuple(tuple(name for bit, name in _NAMED.items() if bits & bit) for bits in range(8))
"""Names of the bits of `Featured.flags`, by their sum."""

# Powers of ten that a double holds exactly, so that rounding is one exact scale, one rint and one division, each
# correctly rounded: the same on every machine, and the result prints with at most DIGITS digits.
_EXACT: Final = 22
_SMALLEST, _LARGEST = DIGITS - 1 - _EXACT, DIGITS  # decades; outside of them numbers stay as they are
_DECADES: Final = np.array([float(f"1e{power}") for power in range(_SMALLEST, _LARGEST + 1)])
_SCALES: Final = np.array([float(f"1e{DIGITS - 1 - power}") for power in range(_SMALLEST, _LARGEST)])

_encoder = msgspec.json.Encoder()


def significant(values: F64) -> F64:
    """Round to `DIGITS` significant digits, halves to even.

    Numbers below 1e-17 or from 1e6 up, NaN and infinities stay as they are.
    """
    decade = np.searchsorted(_DECADES, np.abs(values), side="right") - 1
    within = (decade >= 0) & (decade < len(_SCALES))
    scales = np.where(within, _SCALES[np.where(within, decade, 0)], 1.0)
    rounded: F64 = np.where(within, np.rint(values * scales) / scales, values)
    return rounded


class Encode:
    """The last stage. Its snapshot is empty: the audit chain's head is committed beside the input offset.

    Attributes:
        flow: name of the flow, written into dead letters.
        fingerprint: empty; there is no state to belong to a configuration.
    """

    def __init__(self, flow: str = "risk", chain: Chain | None = None, capture: Capture | None = None) -> None:
        """Begin.

        Args:
            flow: name of the flow.
            chain: where changes are written; None for no audit trail.
            capture: makes the records for later explanations; None for none.
        """
        self.flow = flow
        self.fingerprint = ""
        self._chain = chain
        self._capture = capture

    def process(self, batch: Tiered) -> Encoded:
        """Return the records for a batch, in the order of the input offsets.

        Every event gives one record on `risk.tiers`, and from high up the same on `risk.alerts` right after it; after
        these comes the one on `risk.evidence`, if the event is to be explained. Every rejection is one on
        `dead-letters`. A change is a record on `audit`, right after those of the event it came with;
        the configuration, if it is not the one told last, comes before everything. A muted batch gives none: its
        records are in Kafka already, and so is the head of the audit chain.
        """
        if batch.span.muted:
            return Encoded(batch.span, [])
        records = self._decisions(batch)
        decoded = batch.calibrated.scored.featured.decoded
        # What is not on `risk.tiers`, as (input offset, place among the decisions, record).
        others = [
            (int(decoded.offsets[at]), int(at) + 1, msgspec.structs.replace(records[at], topic="risk.alerts"))
            for at in np.flatnonzero(batch.tier >= _ALERTED)
        ]
        evidence = [] if self._capture is None else self._capture.records(batch)
        others += [(int(decoded.offsets[at]), at + 1, record) for at, record in evidence]
        places = np.searchsorted(decoded.offsets, [rejected.offset for rejected in decoded.rejected])
        others += [
            (rejected.offset, int(place), dead_letter(self.flow, decoded.topic, batch.span.partition, rejected))
            for place, rejected in zip(places, decoded.rejected, strict=True)
        ]
        trail = [] if self._chain is None else self._trail(self._chain, batch, decoded)
        others += [(offset, place, record) for offset, place, record, _ in trail]
        ordered: list[Outgoing] = []
        done = 0
        for _, place, record in sorted(others, key=lambda other: other[0]):
            ordered += records[done:place]
            ordered.append(record)
            done = place
        beside = "" if self._chain is None else self._chain.beside
        return Encoded(batch.span, ordered + records[done:], beside, tuple(kind for *_, kind in trail))

    def end_side(self, side: Side) -> Applied:
        """Return a dead letter for every side record that could not be read; the audit chain stays where it is."""
        return applied(self.flow, side, "" if self._chain is None else self._chain.beside)

    def recall(self, text: str) -> None:
        """Go on with the audit chain from the text committed beside the input offset; "" begins a new one.

        Raises:
            ValueError: the text is not one that an `Encoded.beside` had.
        """
        if self._chain is not None:
            self._chain.recall(text)

    def dump(self) -> State:
        """Return nothing: there is no state."""
        return {}

    def load(self, state: State) -> None:
        """Take nothing."""

    def measurements(self) -> Iterable[Measurement]:
        """Yield how long the audit chain is; records are counted where they are written."""
        if self._chain is not None:
            yield Measurement("tidegate_audit_sequence", float(self._chain.sequence))

    def _trail(self, chain: Chain, batch: Tiered, decoded: Decoded) -> list[tuple[int, int, Outgoing, str]]:
        """Return the audit records of a batch as (input offset, place among the decisions, record, kind)."""
        scored = batch.calibrated.scored
        found: list[tuple[int, int, Outgoing, str]] = []
        time = first_ms(decoded.offsets, decoded.time_ms, decoded.rejected)
        if time is not None:
            found += [(-1, 0, record, "configuration") for record in chain.configuration(time)]
        # Stable: of one event, the model's change comes before what it did to the thresholds.
        changes: list[Change] = sorted([*scored.changes, *batch.calibrated.changes], key=lambda change: change.offset)
        for change in changes:
            place = int(np.searchsorted(decoded.offsets, change.offset, side="right"))
            record = chain.record(change.kind, change.time_ms, rounded(change.detail))
            found.append((change.offset, place, record, change.kind))
        return found

    def _decisions(self, batch: Tiered) -> list[Outgoing]:
        scored = batch.calibrated.scored
        decoded = scored.featured.decoded
        times = decoded.time_ms.tolist()
        partition = batch.span.partition
        given = batch.calibrated.probability
        explained = np.flatnonzero(batch.tier >= _EXPLAINED)
        # One call writes them all, a line each; within a line a newline would be escaped.
        lines = _encoder.encode_lines(
            [
                Decision(
                    schema=1,
                    id=event_id,
                    timestamp=time,
                    user=user,
                    tier=TIERS[tier],  # type: ignore[arg-type]
                    standing=TIERS[standing],  # type: ignore[arg-type]
                    partition=partition,
                    offset=offset,
                    tail_probability=tail,
                    score=score,
                    forest=forest,
                    evidence=evidence,
                    reasons=why,
                    flags=FLAGS[flags],
                    probability=p,
                )
                for event_id, time, user, tier, standing, offset, tail, score, forest, evidence, why, flags, p in zip(
                    decoded.ids,
                    times,
                    decoded.users,
                    batch.tier.tolist(),
                    batch.standing.tolist(),
                    decoded.offsets.tolist(),
                    numbers(batch.calibrated.tail),
                    numbers(scored.score),
                    numbers(scored.forest, explained),
                    numbers(scored.evidence, explained),
                    _reasons(batch.reasons, len(times)),
                    scored.featured.flags.tolist(),
                    [None] * len(times) if given is None else numbers(given),
                    strict=True,
                )
            ]
        )
        keys = map(str.encode, decoded.users)
        stamps = np.maximum(decoded.time_ms, 1).tolist()  # to librdkafka 0 means now
        return list(map(Outgoing, repeat("risk.tiers"), keys, lines.split(b"\n"), stamps))


def rounded(
    detail: Mapping[str, str | int | float | bool | None],
) -> dict[str, str | int | float | bool | None]:
    """Return a change's detail with its numbers rounded."""
    return {
        name: numbers(np.array([value]))[0] if isinstance(value, float) else value for name, value in detail.items()
    }


def numbers(column: F64, only: NDArray[np.intp] | None = None) -> list[float | None]:
    """Return a column rounded, None where it is not finite: JSON has no word for it.

    With `only`, None everywhere but at those places.
    """
    if only is not None:
        chosen: list[float | None] = [None] * len(column)
        for at, number in zip(only.tolist(), numbers(column[only]), strict=True):
            chosen[at] = number
        return chosen
    finite = np.isfinite(column)
    found: list[float | None] = significant(column).tolist()
    if not finite.all():
        for at in np.flatnonzero(~finite):
            found[at] = None
    return found


def _reasons(found: dict[int, tuple[batches.Reason, ...]], events: int) -> list[tuple[Reason, ...]]:
    """Return each event's reasons, rounded; the rounding of all is one call."""
    written: list[tuple[Reason, ...]] = [()] * events
    if found:
        parts = [
            part for each in found.values() for one in each for part in (one.value, one.baseline, one.contribution)
        ]
        parted = iter(numbers(np.array(parts, dtype=np.float64)))
        for at, each in found.items():
            written[at] = tuple(
                Reason(feature=one.feature, value=next(parted), baseline=next(parted), contribution=next(parted))
                for one in each
            )
    return written
