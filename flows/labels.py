"""Labels: what a record, or a second file, says was risky.

A rule names the field and the values that mean risky; every other value means legitimate, and an absent, null or empty
one that nobody knows. Values are compared as text, `true` and `1` as such, so that JSON and CSV agree.

A file of labels holds one record of the topic `labels` per line (`schemas.label.Label`): `id` and `user` of the event,
`label` (`fraud` or `legit`), and, if known, `kind`. Its `timestamp` may be left out: a file is read as a whole, and
says of an event what its last line says. An event that is not in it counts as legitimate, as it does for those who wait
for chargebacks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from schemas.event import Time
from schemas.label import Label

DEFAULT_RISKY = ("true", "1", "fraud")


class Truth(NamedTuple):
    """What is known of one event.

    Attributes:
        risky: whether it was.
        kind: which kind of abuse, if that is told; empty otherwise.
    """

    risky: bool
    kind: str = ""


LEGIT = Truth(risky=False)


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Where a record tells the truth about itself, and how to read it.

    Attributes:
        field: dotted path.
        risky: values that mean risky, as text.
        kind: dotted path to the kind of abuse, or None.
    """

    field: str
    risky: tuple[str, ...] = DEFAULT_RISKY
    kind: str | None = None

    @classmethod
    def of(cls, table: Any) -> Self:
        """Read the table `[label]` of a mapping file.

        Raises:
            ValueError: it cannot be used; the text says why.
        """
        if not isinstance(table, dict):
            raise ValueError("expected a table")  # noqa: TRY004  a mistake in a file, as the others are
        if unknown := sorted(set(table) - {"field", "risky", "kind"}):
            raise ValueError(f"no such key: {', '.join(unknown)}, expected field, risky and kind")
        field, kind, risky = table.get("field"), table.get("kind"), table.get("risky", list(DEFAULT_RISKY))
        if not isinstance(field, str) or not field:
            raise ValueError("field: expected the path of a field")
        if kind is not None and not isinstance(kind, str):
            raise ValueError("kind: expected the path of a field")
        if not isinstance(risky, list) or not risky or any(isinstance(one, dict | list) for one in risky):
            raise ValueError("risky: expected a list of values, such as [true]")
        return cls(field, tuple(as_text(one) for one in risky), kind)

    def __call__(self, record: Mapping[str, Any]) -> Truth | None:
        """Return what a record says, or None if it says nothing."""
        value = _lookup(record, self.field)
        if value is None or value == "":
            return None
        if as_text(value) not in self.risky:
            return LEGIT
        kind = _lookup(record, self.kind) if self.kind else None
        return Truth(risky=True, kind="" if kind is None else str(kind))


def as_text(value: Any) -> str:
    """Write a value as it would stand in a CSV file: `True` is `true`, 1.0 is `1`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return text.lower() if text.lower() in ("true", "false") else text


def _lookup(record: Mapping[str, Any], path: str) -> Any:
    if path in record:  # a column of a CSV file may have dots in its name
        return record[path]
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


class _Line(Label, frozen=True, kw_only=True, gc=False):
    """One line of a file of labels: as on the topic, but the time need not be known."""

    timestamp: Time | None = None  # type: ignore[assignment]


class LabelFileError(ValueError):
    """A file of labels that cannot be used; the text names the line and shows no value."""


def load_labels(path: Path) -> dict[tuple[str, str], Truth]:
    """Read a file of labels, JSON lines: (user, id) -> truth. Of two labels for one event the later counts.

    Raises:
        LabelFileError: a line is not a label, or there is none.
        OSError: it cannot be read.
    """
    decode = msgspec.json.Decoder(_Line).decode
    found: dict[tuple[str, str], Truth] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                label = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                # A validation error names types and places; other errors of the decoder may quote the line.
                why = (
                    str(error)
                    if isinstance(error, msgspec.ValidationError) and "Invalid enum" not in str(error)
                    else ""
                )
                expected = "expected an object with id, user and label, which is `fraud` or `legit`"
                raise LabelFileError(f"{path}, line {number}: {why or expected}") from None
            found[label.user, label.id] = Truth(label.label == "fraud", label.kind or "")
    if not found:
        raise LabelFileError(f"{path}: expected labels, got none")
    return found
