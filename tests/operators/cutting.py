"""Cutting a batch of any stage into smaller ones, and joining batches into one form that can be compared."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from operators.accumulate.observed import Observations
from operators.batches import Change, Masses, Rejected, Span
from operators.side import Side

Batch = TypeVar("Batch")


def span(batch: Any) -> Span:
    """Return the stretch of input of any batch, however deep it lies."""
    while not hasattr(batch, "span"):
        batch = getattr(batch, dataclasses.fields(batch)[0].name)
    return batch.span


def offsets(batch: Any) -> list[int]:
    """Return the offset of every row of any batch but `Encoded`."""
    while not hasattr(batch, "offsets"):
        if isinstance(batch, Observations):  # in the laws each record makes one row
            return list(range(batch.span.first, batch.span.next))
        batch = getattr(batch, dataclasses.fields(batch)[0].name)
    return [int(offset) for offset in batch.offsets]


def part(batch: Batch, first: int, end: int) -> Batch:
    """Return what a batch holds of the records `first <= offset < end`."""
    rows = np.asarray(offsets(batch))
    return _narrow(batch, (rows >= first) & (rows < end), dataclasses.replace(span(batch), first=first, next=end))


def select(batch: Batch, chosen: NDArray[np.bool_]) -> Batch:
    """Return the chosen rows of a batch, as an answer to the same stretch of input."""
    return _narrow(batch, chosen, span(batch))


def muted(batch: Batch) -> Batch:
    """Return a batch as it comes while rolling forward to the committed offset."""
    everything = np.ones(len(offsets(batch)), np.bool_)
    return _narrow(batch, everything, dataclasses.replace(span(batch), muted=True))


def _narrow(value: Any, chosen: NDArray[np.bool_], stretch: Span) -> Any:
    if isinstance(value, Span):
        return stretch
    if dataclasses.is_dataclass(value):
        narrowed = {
            field.name: _narrow(getattr(value, field.name), chosen, stretch) for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **narrowed)  # type: ignore[type-var]
    if isinstance(value, list) and value and isinstance(value[0], Rejected | Change):
        return [each for each in value if stretch.first <= each.offset < stretch.next]
    if isinstance(value, list) and value and isinstance(value[0], Masses):
        # Those that come into force within the stretch, after the one that was in force where it begins.
        began = [each for each in value if each.offset < stretch.first][-1:]
        began = [dataclasses.replace(each, offset=stretch.first) for each in began]
        return began + [each for each in value if stretch.first <= each.offset < stretch.next]
    if isinstance(value, list) and not value:
        return []
    if isinstance(value, dict):  # `Tiered.reasons`, by row
        row = np.cumsum(chosen) - 1
        return {int(row[old]): reasons for old, reasons in value.items() if chosen[old]}
    if isinstance(value, np.ndarray):
        return value[chosen]
    if isinstance(value, list):
        return list(itertools.compress(value, chosen))
    return value


def cut(batch: Batch, at: Iterable[int]) -> list[Batch]:
    """Return a batch as several, cut before each of the offsets in `at`; those outside the batch do nothing."""
    whole = span(batch)
    edges = sorted({whole.first, whole.next, *(offset for offset in at if whole.first < offset < whole.next)})
    return [part(batch, low, high) for low, high in itertools.pairwise(edges)]


def evenly(batch: Batch, size: int) -> list[Batch]:
    """Return a batch cut into pieces of `size` records."""
    return cut(batch, range(span(batch).first, span(batch).next, size))


def random_cuts(seed: int, first: int, end: int, pieces: int = 8) -> list[int]:
    """Return about `pieces` places to cut, some of them neighbours, so that batches of one record occur."""
    rng = np.random.default_rng(seed)
    places = [int(place) for place in rng.integers(first, end + 1, pieces)]
    return sorted({*places, *(place + 1 for place in places[::3])})


def canonical(value: Any) -> Any:
    """Return a value in a form where `==` means equal to the last bit; every NaN is the same NaN."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            value = np.where(np.isnan(value), np.array(np.nan, value.dtype), value)
        return (value.dtype.str, value.shape[1:], np.ascontiguousarray(value).tobytes())
    if isinstance(value, Masses):
        return [value.offset, canonical(value.leaf), canonical(value.split_feature)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return repr(value)  # shortest form that reads back to the same bits; -0.0 and nan included
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {key: canonical(entry) for key, entry in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [canonical(entry) for entry in value]
    return value


def columns(batches: Sequence[Any]) -> dict[str, Any]:
    """Return everything that consecutive batches say, joined, as name -> `canonical` value; side inputs say nothing.

    Where batches were cut does not show: spans are joined to one, and row numbers become offsets.
    """
    joined: dict[str, list[Any]] = {}

    def collect(prefix: str, value: Any, rows: list[int]) -> None:
        for field in dataclasses.fields(value):
            entry = getattr(value, field.name)
            name = f"{prefix}{field.name}"
            if isinstance(entry, Span):
                joined.setdefault(name, []).append(entry)
            elif dataclasses.is_dataclass(entry):
                collect(f"{name}.", entry, rows)
            elif isinstance(entry, dict):
                joined.setdefault(name, []).append([(rows[row], entry[row]) for row in sorted(entry)])
            else:
                joined.setdefault(name, []).append(entry)

    for batch in batches:
        if isinstance(batch, Side):
            continue
        collect("", batch, [] if hasattr(batch, "records") else offsets(batch))

    answer: dict[str, Any] = {}
    for name, entries in joined.items():
        if isinstance(entries[0], Span):
            breaks = [(a.next, b.first) for a, b in itertools.pairwise(entries) if a.next != b.first]
            assert not breaks, f"expected batches without gaps, got {breaks} - at {name}"
            answer[name] = repr(dataclasses.replace(entries[0], next=entries[-1].next))
        elif isinstance(entries[0], np.ndarray):
            answer[name] = canonical(np.concatenate(entries))
        elif isinstance(entries[0], list | tuple):
            told = [canonical(entry) for entries_ in entries for entry in entries_]
            if name.endswith("masses"):  # each batch repeats what was in force before it
                told = [next(same) for _, same in itertools.groupby(told, key=lambda masses: masses[1:])]
            answer[name] = told
        elif name == "beside":  # as of the last batch; nothing was committed before
            answer[name] = entries[-1]
        else:
            assert len(set(entries)) == 1, f"expected one {name}, got {set(entries)}"
            answer[name] = entries[0]
    return answer
