"""Logs: one JSON object per line on stderr, or readable lines when a person is watching.

`tidegate` logs what happened to the flow, never what was in a record. What could carry an identifier is dropped here,
by name and by type, whoever logs it: `dropped` then lists the keys. Messages of the standard library's `logging`, and
through it librdkafka's, come out the same way.
"""

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
import structlog
from structlog.types import EventDict, Processor, WrappedLogger

LEVELS = ("debug", "info", "warning", "error", "critical")

IDENTIFIERS = ("user", "ip", "device", "counterparty", "session", "id")
"""Fields of an event that name somebody."""

FORBIDDEN = frozenset(
    {*IDENTIFIERS, "key", "record_key", "payload"}  # Kafka's record key is the user
    | {f"{word}s" for word in IDENTIFIERS}
    | {f"{word}_{tail}" for word in ("event", *IDENTIFIERS) for tail in ("id", "ids", "hash")}
)
"""Keys that are never logged, whatever they hold."""

_QUOTING = (KeyError, UnicodeError, msgspec.MsgspecError)
"""Errors whose text may quote the input."""

_MAX_DEPTH = 4
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LIBRDKAFKA = "librdkafka"


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Set up logging of the whole process; a later call replaces the former.

    Args:
        level: lowest level shown, one of `LEVELS`.
        stream: where lines go, standard error by default. JSON unless it is a terminal.

    Raises:
        ValueError: the level is unknown.
    """
    if level not in LEVELS:
        raise ValueError(f"expected a level out of {', '.join(LEVELS)}, got {level}")
    out = sys.stderr if stream is None else stream
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            *_processors(out.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,  # a logger made before `configure` follows it
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler) in (_Forward, logging.StreamHandler):  # a plain one would write everything again, unfiltered
            root.removeHandler(handler)
    root.addHandler(_Forward())
    root.setLevel(number)


def logger(**context: str | int) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry `context`: `flow`, `partition` and `offset` where they are known."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(**context)
    return bound


def librdkafka_logger() -> logging.Logger:
    """Return what to hand to a confluent-kafka client as `logger=`: its lines become `librdkafka` events."""
    return logging.getLogger(_LIBRDKAFKA)


def drop_identifiers(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Drop what may carry an identifier, at any depth, and list the keys under `dropped`.

    Values are numbers, strings, and lists and mappings of these. Of anything else, records above all, only the type's
    name is shown.
    """
    dropped: list[str] = []
    clean = {key: _clean(value, dropped, _MAX_DEPTH) for key, value in _allowed(event, dropped)}
    if dropped:
        clean["dropped"] = sorted(set(dropped))
    return clean


def describe_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Write the exception under `exc_info` as its type, its text and its frames; no local variables, no source lines.

    The text is left out where the error's kind quotes its input.
    """
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given is True else None
    if isinstance(given, tuple):
        error = given[1]
    if error is None:
        return event
    event["error"] = type(error).__qualname__
    if text := _text(error):
        event["error_text"] = text
    event["error_at"] = [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    if error.__cause__ is not None:
        event["error_cause"] = " ".join(filter(None, (type(error.__cause__).__qualname__, _text(error.__cause__))))
    return event


def stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put time, level and event first. The time is the wall clock's: a log line is no result."""
    head = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": event.pop("level"),
        "event": event.pop("event"),
    }
    return {**head, **event}


def _processors(terminal: bool) -> list[Processor]:  # noqa: FBT001  the one place that asks
    shared: list[Processor] = [describe_exception, drop_identifiers, stamp]
    if terminal:
        return [*shared, structlog.dev.ConsoleRenderer(colors=True)]
    return [*shared, structlog.processors.JSONRenderer(serializer=_json)]


def _json(value: Any, **_: Any) -> str:
    return msgspec.json.encode(value).decode()


def _allowed(mapping: Mapping[Any, Any], dropped: list[str]) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        name = str(key)
        if name.lower() in FORBIDDEN:
            dropped.append(name)
        else:
            yield name, value


def _clean(value: Any, dropped: list[str], depth: int) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, BaseException):
        return " ".join(filter(None, (type(value).__qualname__, _text(value))))
    if depth and isinstance(value, Mapping):
        return {key: _clean(inner, dropped, depth - 1) for key, inner in _allowed(value, dropped)}
    if depth and isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [_clean(inner, dropped, depth - 1) for inner in value]
    return f"<{type(value).__qualname__}>"


def _text(error: BaseException) -> str:
    return "" if isinstance(error, _QUOTING) else str(error)


class _Forward(logging.Handler):
    """Sends the standard library's records through the same processors; `extra=` becomes keys."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: MutableMapping[str, Any] = {
                key: value for key, value in vars(record).items() if key not in _RECORD_FIELDS
            }
            if record.exc_info is not None:
                event["exc_info"] = record.exc_info
            event["logger"] = record.name
            text = record.getMessage()
            if record.name == _LIBRDKAFKA and isinstance(record.args, tuple) and len(record.args) == 3:
                # confluent-kafka logs "%s [%s] %s" with facility, client and text
                event["facility"], event["client"], text = map(str, record.args)
            structlog.get_logger().log(record.levelno, text.strip(), **event)
        except Exception:  # noqa: BLE001  a line that cannot be written must not stop the flow
            self.handleError(record)
