"""Records of `experiments.parts` and `experiments.definitions`; every one is used, or leaves as a dead letter."""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import numpy as np

from experiments.totals import misfit
from operators.batches import Rejected
from operators.decode.explain import EMPTY_VALUE, NOT_JSON, Fault, fault, unreadable
from operators.side import Side
from schemas.dead_letter import Reason
from schemas.definition import Definition
from schemas.part import Part

Record = TypeVar("Record")

TOPIC: Final = "experiments.definitions"

_part = msgspec.json.Decoder(Part).decode
_definition = msgspec.json.Decoder(Definition).decode

_OTHER_PART: Final = fault(Reason.WRONG_TYPE, "a record of experiments.parts, version 1", "another")
_OTHER_DEFINITION: Final = fault(Reason.WRONG_TYPE, "a record of experiments.definitions, version 1", "another")
_TOO_FEW: Final = fault(Reason.OUT_OF_RANGE, "a metric and two arms at least", "fewer", "metrics")
_NO_SUCH_PARTITION: Final = fault(Reason.OUT_OF_RANGE, "a partition below their number", "another", "partition")
_NO_OFFSET: Final = fault(Reason.MISSING_FIELD, "the next offset of exposures", "none", "offsets.exposures")
_NOT_FINITE: Final = fault(Reason.OUT_OF_RANGE, "finite numbers, counts from 0 on", "others", "matured")
_OTHER_KEY: Final = fault(Reason.OUT_OF_RANGE, "the experiment as key", "another key, or none")
_WEIGHTS: Final = fault(Reason.OUT_OF_RANGE, "a weight for each variation, sum 1", "others", "phases")
_NAMES: Final = fault(Reason.OUT_OF_RANGE, "metrics and variations of different names", "a name twice")


def read_part(value: bytes | None) -> Part | Fault:
    """Return a part whose arrays fit each other, or what is wrong with the record."""
    found = _read(value, _part, _OTHER_PART)
    if isinstance(found, Fault):
        return found
    if not found.metrics or len(found.arms) < 2:
        return _TOO_FEW
    if name := misfit(found):
        return fault(Reason.OUT_OF_RANGE, "as many numbers as metrics, phases and arms say", "another number", name)
    if found.partition >= found.partitions:
        return _NO_SUCH_PARTITION
    if "exposures" not in found.offsets:
        return _NO_OFFSET
    numbers = [np.frombuffer(getattr(found, name), "<f8") for name in ("matured", "matured_low", "open")]
    counts = [np.frombuffer(getattr(found, name), "<f8") for name in ("exposed", "several")]
    if not all(np.isfinite(each).all() for each in (*numbers, *counts)) or any((each < 0.0).any() for each in counts):
        return _NOT_FINITE
    return found


def read_definitions(side: Side) -> set[str]:
    """Fill in `side.definitions`, the newest by experiment and None where it was taken back, and `side.rejected`.

    Returns:
        Experiments that were taken back, though a new one of the same name may have come after.
    """
    newest: dict[str, Definition | None] = {}
    gone: set[str] = set()
    rejected: list[Rejected] = []
    for key, value, offset, time_ms in zip(side.keys, side.values, side.offsets, side.timestamps_ms, strict=True):
        name = (key or b"").decode(errors="replace")
        found = _read_definition(name, value)
        if isinstance(found, Fault):
            rejected.append(Rejected(offset, time_ms, found.reason, found.detail))
        else:
            newest[name] = found
            if found is None:
                gone.add(name)
    side.definitions, side.rejected = newest, rejected
    return gone


def _read_definition(name: str, value: bytes | None) -> Definition | Fault | None:
    if value is None:  # a tombstone
        return None if name else _OTHER_KEY
    found = _read(value, _definition, _OTHER_DEFINITION)
    if isinstance(found, Fault):
        return found
    if found.id != name:
        return _OTHER_KEY
    arms = len(found.variations)
    if any(len(phase.weights) != arms or not abs(sum(phase.weights) - 1.0) <= 1e-6 for phase in found.phases):
        return _WEIGHTS
    metrics = [each.name for each in (found.primary, *found.secondary, *(each.metric for each in found.guardrails))]
    if len(set(metrics)) < len(metrics) or len(set(found.variations)) < arms:
        return _NAMES
    return found


def _read(value: bytes | None, decode: Callable[[bytes], Record], other: Fault) -> Record | Fault:
    if not value:
        return EMPTY_VALUE
    if found := unreadable(value):
        return found
    try:
        return decode(value)
    except msgspec.ValidationError:
        return other
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOT_JSON
