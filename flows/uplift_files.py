"""A table of units, CSV, plain or gzipped, as `tidegate experiments uplift --file` takes it."""

import csv
import gzip
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import xxhash

from flows.uplift_units import Sample
from training.uplift.tables import Attributes

SHOWN = 8
"""Names that a message lists."""


class BadTable(ValueError):
    """The file is not what was asked for; the text says what was expected, what was found, and where."""


class Columns(NamedTuple):
    """Which column is what.

    Attributes:
        treatment: the arm of a unit.
        outcome: a number.
        unit: the unit's name, each once; None: the lines are the units.
        attributes: None: all others.
        without: no attributes.
    """

    treatment: str
    outcome: str
    unit: str | None
    attributes: Sequence[str] | None
    without: Sequence[str]


class UnitTable:
    """What a file holds, at most so many units.

    Attributes:
        arms: texts of the treatment's column with their units, by name.
        sampled: share of units that are kept.
        refused: lines without treatment or outcome.
    """

    def __init__(self, path: Path, columns: Columns, most: int) -> None:
        """Read.

        Raises:
            BadTable: it is no CSV, a column is not there, an outcome is no number, or a unit is there twice.
            OSError: the file cannot be read.
        """
        self._columns = columns
        self._below = 1 << 64
        self._rows: dict[int, tuple[str, float, tuple[str, ...]]] = {}
        self.refused = 0
        try:
            with _opened(path) as file:
                rows = csv.reader(file, strict=True)
                head = next(rows, [])
                self._names = _attributes(head, columns)
                self._read(rows, head, most)
        except csv.Error as error:
            raise BadTable(f"expected CSV, got something else: {error}") from error
        except (UnicodeDecodeError, EOFError, zlib.error) as error:
            raise BadTable("expected text, got something else, or only a part of it") from error
        self.arms = dict(sorted(Counter(arm for arm, _, _ in self._rows.values()).items()))
        numeric = [_is_numeric(row[2][at] for row in self._rows.values()) for at in range(len(self._names))]
        self._numeric = dict(zip(self._names, numeric, strict=True))

    @property
    def sampled(self) -> float:
        """Share of units that are kept."""
        return self._below / (1 << 64)

    def __len__(self) -> int:
        """Return how many units are kept."""
        return len(self._rows)

    def _read(self, rows: Iterator[list[str]], head: list[str], most: int) -> None:
        at = {name: place for place, name in enumerate(head)}
        columns = self._columns
        places = [at[name] for name in self._names]
        for number, row in enumerate(rows, 2):
            if len(row) != len(head):
                raise BadTable(f"line {number:,}: expected {len(head)} columns, got {len(row)}")
            arm, text = row[at[columns.treatment]].strip(), row[at[columns.outcome]].strip()
            if not arm or not text:
                self.refused += 1
                continue
            outcome = _number(text)
            if outcome is None:
                raise BadTable(f"line {number:,}: expected a number as {columns.outcome}, got {text[:40]!r}")
            unit = str(number) if columns.unit is None else row[at[columns.unit]]
            code = xxhash.xxh3_64_intdigest(unit.encode())
            if code in self._rows:
                raise BadTable(f"line {number:,}: expected each {columns.unit} once, got one again")
            if code < self._below:
                self._rows[code] = (arm, outcome, tuple(row[place].strip() for place in places))
            while len(self._rows) > most:
                self._below >>= 1
                self._rows = {code: row for code, row in self._rows.items() if code < self._below}

    def control(self, named: str | None) -> str:
        """Return the text that says control: as named, else `0` where the arms are 0 and 1.

        Raises:
            BadTable: there is no such arm, or nothing says which it is.
        """
        wanted = "0" if named is None and set(self.arms) <= {"0", "1"} else named
        found = next((arm for arm in self.arms if arm == wanted), None)
        if found is None:
            listed = ", ".join(list(self.arms)[:SHOWN]) + (", ..." if len(self.arms) > SHOWN else "")
            got = "got none" if wanted is None else f"got {wanted}"
            raise BadTable(f"--control: expected one of the values of {self._columns.treatment} ({listed}), {got}")
        return found

    def sample(self, variation: str, control: str) -> Sample:
        """Return the units of an arm and of the control."""
        kept = [(code, *row) for code, row in sorted(self._rows.items()) if row[0] in (variation, control)]
        return Sample(
            [self._known(cells) for _, _, _, cells in kept],
            np.array([outcome for _, _, outcome, _ in kept], np.float64),
            np.array([arm == variation for _, arm, _, _ in kept], np.bool_),
            np.array([code for code, _, _, _ in kept], np.uint64),
            0,
        )

    def _known(self, cells: tuple[str, ...]) -> Attributes:
        return {
            name: (float(cell) if self._numeric[name] else cell)
            for name, cell in zip(self._names, cells, strict=True)
            if cell
        }


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _attributes(head: list[str], columns: Columns) -> list[str]:
    twice = [name for name, count in Counter(head).items() if count > 1]
    if twice:
        raise BadTable(f"expected columns of different names, got {', '.join(twice[:SHOWN])} twice")
    asked = [columns.treatment, columns.outcome, *(columns.attributes or ()), *columns.without]
    missing = [name for name in [*asked, *([columns.unit] if columns.unit else [])] if name not in head]
    if missing:
        listed = ", ".join(head[:SHOWN]) + (", ..." if len(head) > SHOWN else "")
        raise BadTable(f"expected a column {', '.join(missing[:SHOWN])}, got {listed or 'nothing'}")
    out = {columns.treatment, columns.outcome, columns.unit, *columns.without}
    return [name for name in (columns.attributes or head) if name not in out]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_numeric(cells: Iterator[str]) -> bool:
    return all(_number(cell) is not None for cell in cells if cell)
