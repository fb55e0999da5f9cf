"""Effects of variations, as the topic `uplift` tells them: the newest of each, in bounded memory."""

from typing import Any, Final, Literal

import msgspec
import numpy as np

from operators.batches import F64, Change, Rejected
from operators.decode.explain import EMPTY_VALUE, NOT_JSON, Fault, fault, unreadable
from operators.side import Side
from schemas.dead_letter import Reason
from schemas.uplift import Uplift

TOPIC: Final = "uplift"

MOST: Final = 1_000
"""Variations remembered, of all experiments, so that another one can be switched to."""

_OTHER: Final = fault(Reason.WRONG_TYPE, "a record of uplift, version 1", "another")
_OTHER_KEY: Final = fault(Reason.OUT_OF_RANGE, "experiment/segment as key", "another key, or none")

_decode = msgspec.json.Decoder(Uplift).decode
_ALL: Final = "/all"


class Effect(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One variation's, on all units.

    Attributes:
        control: the variation that it was held against.
        effect: in the metric's unit, above 0 where it is good. None: not known.
        lower: the worse end of its interval, likewise.
        time_ms: of the newest record that counted, epoch milliseconds.
    """

    control: str
    effect: float | None
    lower: float | None
    time_ms: int


class Effects:
    """Of the variations of all experiments, by `experiment/variation`.

    Args:
        experiment: whose effects are never forgotten for others'; empty for none.

    Attributes:
        forgotten: that had to go for others.
    """

    def __init__(self, experiment: str = "") -> None:
        self.experiment = experiment
        self.forgotten = 0
        self._newest: dict[str, Effect] = {}  # in the order in which they were told last

    def __len__(self) -> int:
        return len(self._newest)

    @property
    def known(self) -> int:
        """Variations of the experiment with a known effect."""
        mine = self.experiment + "/"
        return sum(name.startswith(mine) and each.effect is not None for name, each in self._newest.items())

    def take(self, side: Side) -> None:
        """Apply records of the topic, and fill in `side.rejected`, and `side.changes` for the experiment's own."""
        rows = zip(side.keys, side.values, side.offsets, side.timestamps_ms, strict=True)
        for key, value, offset, stamp in rows:
            found = _read(key, value)
            if isinstance(found, Fault):
                side.rejected.append(Rejected(offset, stamp, found.reason, found.detail))
                continue
            experiment, variation, record = found
            if variation is None:
                continue
            name = f"{experiment}/{variation}"
            before = self._newest.pop(name, None)
            if record is not None:
                self._newest[name] = _effect(record)
                self._make_room()
            if experiment == self.experiment and self._newest.get(name) != before:
                time_ms = stamp if record is None else record.timestamp
                side.changes.append(Change(offset, time_ms, TOPIC, _detail(experiment, variation, record)))

    def values(self, use: Literal["effect", "lower"], offers: list[str], worth: F64) -> F64:
        """Return the incremental value of showing each item, NaN where it is not known, shape (m,).

        The control's own is 0: it is what effects are held against. Beyond the range of a double it is not known.

        Args:
            use: see `UpliftConfig`.
            offers: which variation each item stands for, m of them; "" for none.
            worth: of one unit of effect, shape (m,).
        """
        known: dict[str, float] = {"": np.nan}
        mine = self.experiment + "/"
        for name, each in self._newest.items():
            if name.startswith(mine):
                found = each.effect if use == "effect" else each.lower
                known[name[len(mine) :]] = np.nan if found is None else found
                known.setdefault(each.control, 0.0)
        effects = np.array([known.get(offer, np.nan) for offer in offers], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            values = effects * worth
        return np.where(np.isfinite(values), values, np.nan)

    def dump(self) -> str:
        """Return the state, as JSON."""
        return msgspec.json.encode(self._newest).decode()

    def load(self, text: str) -> None:
        """Replace the state by one that `dump` returned."""
        self._newest = msgspec.json.decode(text, type=dict[str, Effect])

    def _make_room(self) -> None:
        if len(self._newest) > MOST:
            mine = self.experiment + "/"
            oldest = next((name for name in self._newest if not name.startswith(mine)), next(iter(self._newest)))
            del self._newest[oldest]
            self.forgotten += 1


def _effect(record: Uplift) -> Effect:
    if record.better == "up":
        return Effect(record.control, record.effect, record.lower, record.timestamp)
    effect, lower = (None if each is None else 0.0 - each for each in (record.effect, record.upper))
    return Effect(record.control, effect, lower, record.timestamp)


def _detail(experiment: str, variation: str, record: Uplift | None) -> dict[str, Any]:
    about = {"experiment": experiment, "variation": variation}
    if record is None:
        return {**about, "effect": None}
    return {**about, "effect": record.effect, "lower": record.lower, "upper": record.upper, "better": record.better}


def _read(key: bytes | None, value: bytes | None) -> tuple[str, str | None, Uplift | None] | Fault:
    """Return experiment, variation and record, the record None where it was taken back, the variation for a decile."""
    experiment, _, segment = (key or b"").decode(errors="replace").partition("/")
    if not segment:
        return _OTHER_KEY
    variation = segment.removesuffix(_ALL) if segment.endswith(_ALL) else None
    if value is None:  # a tombstone
        return experiment, variation, None
    record = _record(value)
    if isinstance(record, Fault):
        return record
    mine = record.experiment == experiment and record.segment == segment
    if not mine or (variation is not None and record.variation != variation):
        return _OTHER_KEY
    return experiment, variation, record


def _record(value: bytes) -> Uplift | Fault:
    if not value:
        return EMPTY_VALUE
    if found := unreadable(value):
        return found
    try:
        return _decode(value)
    except msgspec.ValidationError:
        return _OTHER
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOT_JSON
