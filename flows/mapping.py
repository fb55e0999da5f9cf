"""Mapping files: how the fields of somebody else's records become the fields of our events.

    [event]
    user = "account.id"                                   # a field, by its dotted path
    type = { constant = "payment" }                       # the same for every record
    id = { template = "{source}-{line}" }                 # text with fields in it; `line` is the line's number
    amount = { field = "delta", convert = "absolute" }
    country = { field = "geo.country", default = "ZZ" }
    [event.fields]                                        # anything else worth keeping
    channel = "channel"
    [label]                                               # what `tidegate evaluate` compares with
    field = "isFraud"
    risky = [true]

A field that is absent, null or empty is left out. `timestamp` becomes epoch milliseconds. `convert` is `absolute`,
`seconds` (epoch seconds to milliseconds) or `number` (read from text).
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from flows.configuration import read_toml
from flows.labels import LabelRule
from operators.decode.explain import milliseconds as milliseconds_of

Record = Mapping[str, Any]
Rule = Callable[[Record, int], Any]

TEXT_FIELDS = ("id", "user", "type", "currency", "ip", "device", "counterparty", "country", "session")
EVENT_FIELDS = ("id", "timestamp", "user", "type", "amount", *TEXT_FIELDS[3:], "fields")
REQUIRED = ("id", "timestamp", "user", "type")

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_PLACE = re.compile(r"\{([^{}]*)\}|([{}])")


class MappingError(ValueError):
    """The mapping file cannot be used; one line per mistake."""


class Unmapped(ValueError):
    """A record that does not fit; the text says what was expected of which field, and shows no value."""


def load_mapping(path: Path) -> "EventMapping":
    """Read a mapping file.

    Raises:
        MappingError: with all mistakes.
    """
    try:
        data = read_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MappingError(f"{path}: {error}") from error
    mistakes = [f"{key}: no such table, expected [event] or [label]" for key in data if key not in ("event", "label")]
    label = None
    if "label" in data:
        try:
            label = LabelRule.of(data["label"])
        except ValueError as error:
            mistakes.append(f"label: {error}")
    rules: dict[str, Rule] = {}
    nested: dict[str, Rule] = {}
    event = data.get("event", {})
    if not isinstance(event, dict):
        raise MappingError(f"{path}: event: expected a table")
    extra = event.pop("fields", {})
    for table, target, prefix in ((event, rules, "event."), (extra, nested, "event.fields.")):
        for name, spec in table.items() if isinstance(table, dict) else ():
            if table is event and name not in EVENT_FIELDS:
                mistakes.append(f"event.{name}: no such field of an event, expected one of {', '.join(EVENT_FIELDS)}")
                continue
            try:
                target[name] = _rule(spec)
            except MappingError as error:
                mistakes.append(f"{prefix}{name}: {error}")
    if not isinstance(extra, dict):
        mistakes.append("event.fields: expected a table")
    mistakes += [f"event.{name}: missing, and every event needs it" for name in REQUIRED if name not in event]
    if mistakes:
        raise MappingError("\n".join(f"{path}: {line}" for line in mistakes))
    return EventMapping(rules, nested, label)


class EventMapping:
    """Turns records into events; made by `load_mapping`.

    Attributes:
        label: where a record says whether it was risky; None if the file does not tell.
    """

    def __init__(self, rules: Mapping[str, Rule], nested: Mapping[str, Rule], label: LabelRule | None = None) -> None:
        """Keep the rules.

        Args:
            rules: by the event's field.
            nested: by the name below `fields`.
            label: of the records.
        """
        self.label = label
        self._rules = dict(rules)
        self._nested = dict(nested)

    def __call__(self, record: Record, line: int) -> dict[str, Any]:
        """Return the event of a record, as a table with only what is there.

        Args:
            record: the decoded line.
            line: its number, from 1.

        Raises:
            Unmapped: a value cannot be converted.
        """
        event: dict[str, Any] = {}
        for name, rule in self._rules.items():
            value = _as_field(name, _apply(rule, record, line, name))
            if value is not None and value != "":
                event[name] = value
        fields = {name: _apply(rule, record, line, f"fields.{name}") for name, rule in self._nested.items()}
        fields = {name: value for name, value in fields.items() if value is not None and value != ""}
        return {**event, "fields": fields} if fields else event


def from_columns(row: Record) -> dict[str, Any]:
    """Return the event of a CSV row whose columns are named as the event's fields, `fields.x` for those below."""
    event: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for column, text in row.items():
        if text == "":
            continue
        if column.startswith("fields."):
            fields[column.removeprefix("fields.")] = text
        elif column in EVENT_FIELDS[:-1]:
            event[column] = _as_field(column, text)
        # Other columns are ignored, as unknown fields of a JSON event are.
    return {**event, "fields": fields} if fields else event


def milliseconds(value: Any) -> int:
    """Return epoch milliseconds (rounded down) of epoch milliseconds or an RFC 3339 time with its zone.

    Raises:
        Unmapped: it is neither.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        # A failure falls through to our own words: the library's may quote the value.
        with contextlib.suppress(msgspec.ValidationError):
            return milliseconds_of(msgspec.convert(value, _Moment))
    raise Unmapped("expected epoch milliseconds or an RFC 3339 time with its zone - at $.timestamp")


def _as_field(name: str, value: Any) -> Any:
    """Fit a value to its field: numbers become text where text is wanted, and the other way round."""
    if value is None or value == "":
        return None
    if name == "timestamp":
        return milliseconds(value)
    if name == "amount" and isinstance(value, str):
        return _number(value, "amount")
    if name in TEXT_FIELDS and not isinstance(value, str):
        if isinstance(value, dict | list):
            raise Unmapped(f"expected a plain value - at $.{name}")
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise Unmapped(f"expected a finite number - at $.{name}")
    return number


def _apply(rule: Rule, record: Record, line: int, name: str) -> Any:
    try:
        return rule(record, line)
    except Unmapped as error:
        raise Unmapped(f"{error} - at $.{name}") from None


def _lookup(record: Record, keys: tuple[str, ...]) -> Any:
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _field(path: str) -> Rule:
    whole, keys = path, tuple(path.split("."))
    # A column of a CSV file may have dots in its name.
    return lambda record, _line: record[whole] if whole in record else _lookup(record, keys)


def _template(text: str) -> Rule:
    parts: list[str | Rule] = []
    at = 0
    for match in _PLACE.finditer(text):
        if match[2]:
            raise MappingError("expected every { of a template closed around one field's name")
        parts.append(text[at : match.start()])
        parts.append((lambda _record, line: line) if match[1] == "line" else _field(match[1]))
        at = match.end()
    parts.append(text[at:])

    def fill(record: Record, line: int) -> str | None:
        values = [part if isinstance(part, str) else part(record, line) for part in parts]
        # A template with a hole in it would give many records the same text, such as one id.
        return None if any(value is None for value in values) else "".join(map(str, values))

    return fill


def _absolute(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value)
    return abs(_convertible(value))


def _convertible(value: Any) -> float:
    try:
        return _number(value, "")
    except Unmapped:
        raise Unmapped("expected a finite number") from None


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "absolute": _absolute,
    "number": _convertible,
    "seconds": lambda value: math.floor(_convertible(_convertible(value) * 1000)),
}


def _rule(spec: Any) -> Rule:
    if isinstance(spec, str):
        return _field(spec)
    if not isinstance(spec, dict):
        raise MappingError("expected a field's path or a table")
    return _finish(spec, list(_sources(spec)))


def _sources(spec: Mapping[str, Any]) -> Iterator[Rule]:
    for name, make in (("field", _field), ("template", _template)):
        if name in spec:
            if not isinstance(spec[name], str):
                raise MappingError(f"{name}: expected a string")
            yield make(spec[name])
    if "constant" in spec:
        yield lambda _record, _line: spec["constant"]


def _finish(spec: Mapping[str, Any], sources: list[Rule]) -> Rule:
    if unknown := sorted(set(spec) - {"field", "constant", "template", "default", "convert"}):
        raise MappingError(f"no such key: {', '.join(unknown)}")
    if len(sources) != 1:
        raise MappingError("expected one of field, constant and template")
    convert = spec.get("convert")
    if convert is not None and (not isinstance(convert, str) or convert not in _CONVERT):
        raise MappingError(f"convert: expected one of {', '.join(_CONVERT)}")
    source, default = sources[0], spec.get("default")

    def rule(record: Record, line: int) -> Any:
        value = source(record, line)
        if value is None or value == "":
            return default
        return _CONVERT[convert](value) if convert else value

    return rule
