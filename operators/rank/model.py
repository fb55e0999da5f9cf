"""One ranker: its record verified, and what it says of candidates."""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from math import isfinite
from typing import Final, NamedTuple

import msgspec
import numpy as np

from operators.batches import F64
from operators.decode.explain import EMPTY_VALUE, NOT_JSON, Fault, fault
from operators.decode.reading import REFUSED, forbidden
from operators.rank.trees import BadTrees, Forest, forest_of, score
from schemas.dead_letter import Reason
from schemas.ranker import Ranker

FALLBACK: Final = "fallback"
"""What results name while there is no ranker."""

KEY: Final = b"ranker"
"""Key of the records, so that a compacted topic keeps the newest alone."""

MOST_FIGURES: Final = 100
MOST_KNOTS: Final = 10_000

REFUSALS: Final = ("unreadable", "checksum", "features", "trees", "curve")
"""Values of the label `reason` of `tidegate_ranker_refused_total`."""

_FORM: Final = fault(Reason.WRONG_TYPE, "a ranker as `tidegate train ranker` writes it, version 1", "another")
_NO_KEY: Final = fault(Reason.MISSING_KEY, "`ranker` as key", "no key")
_OTHER_KEY: Final = fault(Reason.OUT_OF_RANGE, "`ranker` as key", "another key")
_CHECKSUM: Final = fault(Reason.OUT_OF_RANGE, "the checksum of the record", "another", "checksum")
_FEATURES: Final = fault(Reason.OUT_OF_RANGE, "features of the flow, each once", "others", "features")
_CURVE: Final = fault(
    Reason.OUT_OF_RANGE, "finite scores that rise, with probabilities that do not fall", "others", "curve"
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Ranker).decode


class Refused(ValueError):
    """A record is no ranker that can be used here.

    Attributes:
        reason: one of `REFUSALS`.
        fault: for the dead letter.
    """

    def __init__(self, reason: str, found: Fault) -> None:
        super().__init__(found.detail)
        self.reason = reason
        self.fault = found


class Model(NamedTuple):
    """A ranker that can be used.

    Attributes:
        record: as published.
        forest: its trees, over the columns of the flow.
        curve: scores of the calibration curve, shape (knots,).
        probability: at these, shape (knots,).
    """

    record: Ranker
    forest: Forest
    curve: F64
    probability: F64

    def score(self, features: F64) -> F64:
        """Return the score of each row, shape (m,); higher comes first.

        Rows are rounded to float32 first: lists are logged so, and a threshold that training found between two logged
        numbers must divide what is served as it divided those.

        Args:
            features: as the flow has them, shape (m, columns); NaN where not known.
        """
        return score(self.forest, rounded(features))

    def chance(self, scores: F64) -> F64:
        """Return the calibrated probability of a click, shape (m,); NaN without a curve."""
        if not len(self.curve):
            return np.full(len(scores), np.nan)
        return np.interp(scores, self.curve, self.probability)


def rounded(features: F64) -> F64:
    """Return features as `ranking.served` has them: rounded to float32, in C order."""
    with np.errstate(over="ignore"):  # beyond the range of float32 is infinite in the log, too
        return np.ascontiguousarray(features.astype(np.float32).astype(np.float64))


def checksum(record: Ranker) -> str:
    """Return BLAKE2b (16 bytes, hexadecimal) of the record with an empty checksum."""
    return blake2b(_encode(msgspec.structs.replace(record, checksum="")), digest_size=16).hexdigest()


def sealed(record: Ranker) -> Ranker:
    """Return the record with its checksum."""
    return msgspec.structs.replace(record, checksum=checksum(record))


def encoded(record: Ranker) -> bytes:
    """Return the record as it is published."""
    return _encode(record)


def read(key: bytes | None, value: bytes | None, names: Sequence[str], max_bytes: int) -> Model | None:
    """Return the ranker of a record of `ranking.models`; None if it is taken back.

    Args:
        key: of the record.
        value: of the record.
        names: of the flow's features, in the order of its columns.
        max_bytes: larger records are not parsed.

    Raises:
        Refused: it is none, or none for these features.
    """
    if not key:
        raise Refused("unreadable", _NO_KEY)
    if key != KEY:
        raise Refused("unreadable", _OTHER_KEY)
    if value is None:
        return None
    if not value:
        raise Refused("unreadable", EMPTY_VALUE)
    if found := forbidden(key, value, max_bytes):
        raise Refused("unreadable", found)
    try:
        record = _decode(value)
    except msgspec.ValidationError as error:
        raise Refused("unreadable", _FORM) from error
    except REFUSED as error:
        raise Refused("unreadable", NOT_JSON) from error
    return model_of(record, names)


def model_of(record: Ranker, names: Sequence[str]) -> Model:
    """Return the ranker of a record.

    Args:
        record: with its checksum.
        names: of the flow's features, in the order of its columns.

    Raises:
        Refused: it cannot be used for these features.
    """
    if len(record.figures) > MOST_FIGURES:
        raise Refused("unreadable", _FORM)
    if record.checksum != checksum(record):
        raise Refused("checksum", _CHECKSUM)
    places = {name: column for column, name in enumerate(names)}
    if len(set(record.features)) != len(record.features) or not places.keys() >= set(record.features):
        raise Refused("features", _FEATURES)
    curve, probability = record.curve, record.probability
    if (
        len(curve) != len(probability)
        or len(curve) > MOST_KNOTS
        or not all(map(isfinite, curve))
        or any(before >= after for before, after in pairwise(curve))
        or any(before > after for before, after in pairwise(probability))
    ):
        raise Refused("curve", _CURVE)
    columns = np.array([places[name] for name in record.features], np.int64)
    try:
        forest = forest_of(record.trees, columns)
    except BadTrees as error:
        raise Refused("trees", Fault(Reason.OUT_OF_RANGE.value, str(error))) from error
    return Model(record, forest, np.array(curve, np.float64), np.array(probability, np.float64))
