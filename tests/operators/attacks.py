"""Attacks on the bounded state of one partition, beside people with habits whose features are kept.

An attack's record carries the time of the person's event before it, so stream time is that of the people alone.
"""

import json
from collections.abc import Callable, Iterable, Iterator

import streams

from flows.risk import Stages
from flows.settings import load_settings
from operators.batches import Featured, Messages, Span
from operators.state import pack

BATCH = 2_000
AGE_MS = 600_000  # promote_after_s of the settings below

Record = tuple[bytes, int]
"""A value, and the record's Kafka timestamp."""

Attack = Callable[[int, int], Iterable[Record]]
"""From a number that counts up by one per person's event, and its time, to what the attacker sends then."""


class Partition:
    """The stages of one partition, fed with records; keeps what featurize says of the people's events.

    Attributes:
        stages: by name.
        people: id -> (raw features, flag, teach) of events whose id begins with `e`.
        taught: how many of the attacker's events later stages may learn from.
        rejected: records that were not events, by reason.
        most_reasons: the most reasons one event had.
    """

    def __init__(self, **bounds: float) -> None:
        environ = {f"TIDEGATE_RISK__{name}".upper(): str(value) for name, value in bounds.items()}
        fresh = Stages(
            load_settings(None, {"TIDEGATE_PSEUDONYM_KEY": "a key for tests only", **environ}, needs_key=True)
        )
        self.stages = {name: getattr(fresh, name)(0) for name in ("decode", "featurize", "score", "calibrate", "tier")}
        self.people: dict[str, tuple[bytes, int, bool]] = {}
        self.taught = 0
        self.rejected: dict[str, int] = {}
        self.most_reasons = 0
        self.offset = 0

    def feed(self, records: Iterable[Record], upto: str = "tier") -> "Partition":
        """Process records in batches, through the stages up to one."""
        batch: list[Record] = []
        for record in records:
            batch.append(record)
            if len(batch) == BATCH:
                self._process(batch, upto)
                batch = []
        if batch:
            self._process(batch, upto)
        return self

    def _process(self, records: list[Record], upto: str) -> None:
        values, times = map(list, zip(*records, strict=True))
        end = self.offset + len(records)
        given = Messages(
            Span(0, self.offset, end), "events", values, [b"k"] * len(values), list(range(self.offset, end)), times
        )
        self.offset = end
        for name, stage in self.stages.items():
            given = stage.process(given)
            if isinstance(given, Featured):
                self._note(given)
            if name == upto:
                break
        if upto == "tier":
            self.most_reasons = max([self.most_reasons, *map(len, given.reasons.values())])

    def _note(self, featured: Featured) -> None:
        for one in featured.decoded.rejected:
            self.rejected[one.reason] = self.rejected.get(one.reason, 0) + 1
        for i, event in enumerate(featured.decoded.ids):
            if event[0] == "e":
                self.people[event] = (featured.raw[i].tobytes(), int(featured.flags[i]), bool(featured.teach[i]))
            else:
                self.taught += bool(featured.teach[i])

    def state_bytes(self) -> dict[str, int]:
        """Bytes of each stage's state as a snapshot has them."""
        return {name: len(pack(stage.dump())) for name, stage in self.stages.items()}

    def measured(self, metric: str) -> float:
        return next(m.value for stage in self.stages.values() for m in stage.measurements() if m.metric == metric)

    def cached(self) -> int:
        """The most that any of decode's caches holds."""
        decode = self.stages["decode"]
        return max(len(memo) for each in (decode._raw, decode._given) for memo in (*each._memos, each._type))


def people(seed: int = 3, n: int = 4_000, warm: int = 1_500, users: int = 60) -> tuple[list[Record], list[Record]]:
    """Return what people do before an attack and during it: those who had come back after ten minutes before it."""
    events = streams.habits(seed, n, users=users, repeated=0.01)
    first, regulars = {}, set()
    for event in events[:warm]:
        if event["timestamp"] - first.setdefault(event["user"], event["timestamp"]) >= AGE_MS:
            regulars.add(event["user"])
    records = [
        (json.dumps(event).encode(), event["timestamp"]) if event["user"] in regulars else None for event in events
    ]
    return [each for each in records[:warm] if each], [each for each in records[warm:] if each]


def during(calm: Iterable[Record], attack: Attack, first: int = 0) -> Iterator[Record]:
    """Yield the people's records with the attacker's after each, counted from `first`."""
    for number, record in enumerate(calm, first):
        yield record
        yield from attack(number, record[1])


def event(who: str, number: int, time_ms: int, more: str = "") -> bytes:
    return f'{{"id":"x{number}","timestamp":{time_ms},"user":"{who}","type":"pay","amount":9{more}}}'.encode()


def newcomers(each: int) -> Attack:
    """So many identities after each person's event, never seen before and never again."""

    def attack(number: int, now: int) -> Iterator[Record]:
        for k in range(number * each, number * each + each):
            yield event(f"new-{k}", k, now, f',"ip":"{k}","device":"{k}","counterparty":"{k}"'), now

    return attack


def returning(each: int) -> Attack:
    """The same, and each identity comes three times at once."""

    def attack(number: int, now: int) -> Iterator[Record]:
        for k in range(number * each, number * each + each):
            for again in range(3):
                yield event(f"new-{k}", 3 * k + again, now), now

    return attack


def aged(identities: int, waves: int) -> Attack:
    """A pool of identities that all come back, long enough apart to be promoted, so many times; then a new pool."""
    period = 60  # people's events, of 20 s each: 20 minutes

    def attack(number: int, now: int) -> Iterator[Record]:
        pool, at = number // (period * waves), number % period
        for k in range(at * identities // period, (at + 1) * identities // period):
            yield event(f"aged-{pool}-{k}", number * identities + k, now), now

    return attack


def heavy(each: float) -> Attack:
    """One user, with a new address, device, counterparty and id each time."""

    def attack(number: int, now: int) -> Iterator[Record]:
        for k in range(int(number * each), int((number + 1) * each)):
            yield event("heavy", k, now, f',"ip":"{k}","device":"{k}","counterparty":"{k}"'), now

    return attack
