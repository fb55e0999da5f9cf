"""Files of events, read line by line: JSON lines or CSV, plain or gzipped, with or without a mapping.

A line leaves as an event that the engine will accept, in the bytes to be published, or as a refusal that says what is
wrong in the engine's own words. No refusal holds a value of the line.
"""

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, NamedTuple, Self

import msgspec

from flows.labels import LabelRule, Truth
from flows.mapping import EventMapping, Unmapped, from_columns
from operators.decode.explain import NOT_JSON, explain, last_counts, milliseconds, time_fault, unreadable
from operators.decode.wire import WireEvent

Format = Literal["ndjson", "csv"]

STANDARD_INPUT = Path("-")


class Ready(NamedTuple):
    """An event ready to be published.

    Attributes:
        line: number of its (last) line in the file, from 1.
        key: the user.
        value: the event as JSON.
        timestamp_ms: event time, epoch milliseconds.
        truth: what the line says of itself, where a label was asked for; None where it says nothing.
        partition: where it lies in Kafka; -1 for a file.
    """

    line: int
    key: bytes
    value: bytes
    timestamp_ms: int
    truth: Truth | None = None
    partition: int = -1


class Refused(NamedTuple):
    """A malformed line.

    Attributes:
        line: its number in the file, from 1.
        why: what was expected, got, and where.
    """

    line: int
    why: str


Check = Callable[[bytes, int], Ready | Refused]
"""From a line and its number to what is to be published."""


_UNDECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_event = msgspec.json.Decoder(WireEvent).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class EventFile:
    """Iterates over a file's lines as `Ready` or `Refused`; a context manager.

    Attributes:
        size: bytes of the file as it lies on the disk, or None for standard input.
    """

    size: int | None

    def __init__(
        self,
        path: Path,
        mapping: EventMapping | None = None,
        form: Format | None = None,
        label: LabelRule | None = None,
        check: Check | None = None,
    ) -> None:
        """Open the file.

        Args:
            path: the file; `-` is standard input.
            mapping: from its fields to ours; None if it has events already.
            form: None to go by the name: `.csv` and `.csv.gz` are CSV, all else JSON lines.
            label: where the lines tell the truth about themselves; None to leave it unread.
            check: what makes a line ready, where lines are not events; None for `ready`.

        Raises:
            OSError: it cannot be opened.
        """
        self._mapping = mapping
        self._label = label
        self._ready = check or ready
        self._raw: IO[bytes] = sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb")
        self.size = None if path == STANDARD_INPUT else path.stat().st_size
        zipped = path.suffix.lower() == ".gz"
        self._lines: IO[bytes] = gzip.GzipFile(fileobj=self._raw) if zipped else self._raw  # type: ignore[assignment]
        name = (path.with_suffix("") if zipped else path).name.lower()
        self._form: Format = form or ("csv" if name.endswith(".csv") else "ndjson")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._raw is not sys.stdin.buffer:
            self._lines.close()
            self._raw.close()

    def position(self) -> int | None:
        """Return how many bytes of the file have been read, or None for standard input."""
        return None if self.size is None else self._raw.tell()

    def __iter__(self) -> Iterator[Ready | Refused]:
        """Read on.

        Raises:
            OSError: the file is damaged, such as gzip data that end too early.
        """
        try:
            yield from self._rows() if self._form == "csv" else self._objects()
        except (EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]  # what gzip itself imports
            raise OSError(f"the compressed data are damaged: {error}") from error

    def _objects(self) -> Iterator[Ready | Refused]:
        for number, raw in enumerate(self._lines, 1):
            line = raw.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else raw.strip()
            if not line:
                continue
            if self._mapping is None and self._label is None:
                yield self._ready(line, number)
                continue
            try:
                record = _object(line)
            except _UNDECODED:
                yield Refused(number, explain(line).detail)
                continue
            if self._mapping is None:
                yield self._labelled(self._ready(line, number), record)
            else:
                yield self._mapped(record, number)

    def _rows(self) -> Iterator[Ready | Refused]:
        # Bytes that are not UTF-8 become surrogates, so that one bad line does not end the reading.
        text = io.TextIOWrapper(self._lines, "utf-8-sig", errors="surrogateescape", newline="")
        rows = csv.DictReader(text)
        try:
            while True:
                try:
                    row = next(rows)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield Refused(rows.line_num, f"expected CSV: {error}")
                    continue
                if None in row or None in row.values():
                    got = "more" if None in row else "fewer"
                    yield Refused(rows.line_num, f"expected {len(rows.fieldnames or ())} columns, got {got}")
                else:
                    yield self._mapped(row, rows.line_num)
        finally:
            text.detach()  # closing the lines is __exit__'s

    def _mapped(self, record: dict[str, Any], number: int) -> Ready | Refused:
        try:
            event = from_columns(record) if self._mapping is None else self._mapping(record, number)
            return self._labelled(self._ready(_encode(event), number), record)
        except Unmapped as error:
            return Refused(number, str(error))
        except UnicodeEncodeError:
            return Refused(number, "expected UTF-8, got other bytes")

    def _labelled(self, item: Ready | Refused, record: dict[str, Any]) -> Ready | Refused:
        if self._label is None or isinstance(item, Refused):
            return item
        return item._replace(truth=self._label(record))


def ready(value: bytes, line: int) -> Ready | Refused:
    """Check an event as the decode stage will, and take its key and time from it.

    Args:
        value: the event as JSON.
        line: its number.
    """
    if broken := unreadable(value):
        return Refused(line, broken.detail)
    try:
        event = _event(value)
    except _UNDECODED:
        found = explain(value)
        if found is not NOT_JSON:
            return Refused(line, found.detail)
        try:
            event = _event(last_counts(value))
        except _UNDECODED:
            return Refused(line, found.detail)
    moment: Any = event.timestamp
    time_ms = milliseconds(moment) if isinstance(moment, datetime) else moment
    if fault := time_fault(time_ms):
        return Refused(line, fault.detail)
    # To librdkafka a timestamp of 0 means now.
    return Ready(line, event.user.encode(), value, max(1, int(time_ms)))
