"""What the experiments read of records: measures, each read once however many experiments read the same.

A measure is what `operators.accumulate.observed.measure_key` names: records of one event on one topic, those with
certain values where the measure asks for them, and a number of each. Paths lead to a column of the record, into its
`fields`, or to any other member that it has; where a path leads nowhere there is no value.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from operators.accumulate.observed import measure_key
from operators.accumulate.plan import metrics_of
from schemas.definition import Definition, Metric, Scalar
from schemas.event import Event
from schemas.metric import MetricRecord

Told = tuple[str, Scalar] | None
"""A value with its JSON type, so that 1, "1" and true are three; None where there is none."""

_COLUMNS: Final = {
    "events": frozenset(Event.__struct_fields__) - {"fields", "timestamp"},
    "metrics": frozenset(MetricRecord.__struct_fields__) - {"fields", "timestamp"},
}

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


class Measure(NamedTuple):
    """One measure.

    Attributes:
        key: see `operators.accumulate.observed.measure_key`.
        plain: whether every record of the event has one, its own `value` on `metrics`, or 1 on `events`.
        own: whether the number is the record's own `value`, so that its `pre_value` is of it.
        number: of a record and its bytes, NaN where it has none.
        matches: whether a record, given with its bytes, has the values asked for.
    """

    key: int
    plain: bool
    own: bool
    number: Callable[[Any, bytes], float]
    matches: Callable[[Any, bytes], bool]


Table = Mapping[str, Mapping[str, Sequence[Measure]]]
"""Topic -> event -> measures, in the order of their keys."""


def table(definitions: Iterable[Definition]) -> Table:
    """Return all measures of some experiments."""
    found: dict[str, dict[str, dict[int, Measure]]] = {"events": {}, "metrics": {}}
    for definition in definitions:
        for metric in metrics_of(definition):
            for event, value in _read(metric):
                key = measure_key(metric.topic, event, value, metric.where)
                of_event = found[metric.topic].setdefault(event, {})
                if key not in of_event:
                    of_event[key] = _measure(key, metric.topic, value, metric.where)
    return {
        topic: {event: [each[key] for key in sorted(each)] for event, each in events.items()}
        for topic, events in found.items()
    }


def _read(metric: Metric) -> list[tuple[str, str | None]]:
    """Return the events that a metric reads, and the path of the number in each."""
    found = [(metric.event, metric.value)]
    if metric.kind == "ratio":
        found.append((metric.denominator_event or metric.event, metric.denominator))
    return found


def _measure(key: int, topic: str, value: str | None, where: Mapping[str, tuple[Scalar, ...]]) -> Measure:
    own = topic == "metrics" and value in (None, "value")
    number: Callable[[Any, bytes], float]
    if own:
        number = _own_value
    elif value is None:
        number = _one
    else:
        number = _number_at(_finder(topic, value))
    wanted = [(_finder(topic, path), frozenset(map(_typed, values))) for path, values in sorted(where.items())]

    def matches(record: Any, raw: bytes) -> bool:
        return all(find(record, raw) in values for find, values in wanted)

    return Measure(key, not where and (own or value is None), own, number, matches)


def _own_value(record: MetricRecord, _raw: bytes) -> float:
    return math.nan if record.value is None else record.value


def _one(_record: Any, _raw: bytes) -> float:
    return 1.0


def _number_at(find: Callable[[Any, bytes], Told]) -> Callable[[Any, bytes], float]:
    def number(record: Any, raw: bytes) -> float:
        found = find(record, raw)
        return float(found[1]) if found is not None and found[0] == "number" else math.nan

    return number


def _finder(topic: str, path: str) -> Callable[[Any, bytes], Told]:
    """Return the function from a record and its bytes to the value at a path."""
    head, *rest = path.split(".")
    if head in _COLUMNS[topic]:
        return lambda record, _raw: None if rest else _typed(getattr(record, head))
    if head == "fields":
        return lambda record, _raw: _below(record.fields, rest)
    return lambda _record, raw: _below(_members(raw), [head, *rest])


def _below(members: Mapping[str, msgspec.Raw] | None, names: Sequence[str]) -> Told:
    """Return the value at a path into raw members."""
    for at, name in enumerate(names):
        found = None if members is None else members.get(name)
        if found is None:
            return None
        raw = bytes(found)
        if at == len(names) - 1:
            return _told(raw)
        members = _members(raw) if raw[:1] == b"{" else None
    return None


def _told(raw: bytes) -> Told:
    first = raw[:1]
    if first == b'"':
        return "string", _text(raw)
    if first in (b"t", b"f"):
        return "boolean", first == b"t"
    if first in (b"{", b"[", b"n"):
        return None
    number = float(raw)
    return ("number", number) if math.isfinite(number) else None


def _typed(value: Scalar | None) -> Told:
    if value is None:
        return None
    if isinstance(value, bool):
        return "boolean", value
    return ("string", value) if isinstance(value, str) else ("number", float(value))
