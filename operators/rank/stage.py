"""Rank: every candidate gets a score, by the newest ranker of `ranking.models`, or by the fallback while there is none.

A ranker is applied between two requests, at a place that the flow's journal holds; one that cannot be used is a dead
letter, and the one before stays. The state is the record itself, so whoever takes over scores by the same bytes.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from annotated_types import Ge

from operators.batches import F64, Change, Rejected
from operators.fingerprint import fingerprint
from operators.lists import Lists, Scored
from operators.rank.model import FALLBACK, REFUSALS, Model, Refused, read
from operators.rank.trees import Forest, score
from operators.side import Side
from operators.state import Measurement, State

MODELS: Final = "ranking.models"

_LAYOUT: Final = 1
_RELEVANCY: Final = "request_relevancy"
_SHOWN: Final = 16  # versions before the one in force whose metric is set to 0


@dataclass(frozen=True, slots=True)
class RankConfig:
    """What ranks while there is no ranker, and how large one may be.

    Attributes:
        fallback: `relevancy`: lists whose candidates all have a score by the publisher (`relevancy`) are ranked by it,
            all others by popularity; `popularity`: all are.
        max_model_bytes: larger rankers are refused; bytes, >= 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    fallback: Literal["relevancy", "popularity"] = "relevancy"
    max_model_bytes: Annotated[int, Ge(1)] = 1_048_576


class Rank:
    """The stage, for one partition.

    Attributes:
        config: what ranks without a ranker.
        names: of the features, in the order of their columns.
        fingerprint: of the state's layout alone: a ranker stays while settings change. One whose features are gone
            ranks nothing until they are back.
    """

    def __init__(self, config: RankConfig, names: Sequence[str]) -> None:
        """Know no ranker.

        Args:
            config: what ranks without one.
            names: of the features that lists come with (`Lists.names`).
        """
        self.config = config
        self.names = tuple(names)
        self.fingerprint = fingerprint(_LAYOUT, "rank")
        self._value = b""
        self._model: Model | None = None
        self._stream_ms = 0
        self._refused: Counter[str] = Counter()
        self._before: dict[str, None] = {}

    @property
    def version(self) -> str:
        """Version of the ranker in force, or `fallback`."""
        return FALLBACK if self._model is None else self._model.record.version

    def process(self, batch: Lists) -> Scored:
        """Score all candidates of a batch; the order among them is the next stage's.

        Raises:
            ValueError: the lists come with other features than were told.
        """
        if batch.names != self.names:
            raise ValueError(f"expected the features {', '.join(self.names)}, got {', '.join(batch.names)}")
        on_time = batch.requests.time_ms[batch.flags == 0]
        self._stream_ms = max(self._stream_ms, int(on_time.max(initial=0)))
        if self._model is None:
            return Scored(batch, self._fall_back(batch), np.full(len(batch.item), np.nan), FALLBACK)
        scores = self._model.score(batch.features)
        return Scored(batch, scores, self._model.chance(scores), self.version)

    def take_side(self, side: Side) -> None:
        """Apply rankers, or their taking back; note what is different, and what was refused."""
        if side.topic != MODELS:
            return
        changes: list[Change] = []
        rejected: list[Rejected] = []
        for offset, kafka_ms, key, value in zip(side.offsets, side.timestamps_ms, side.keys, side.values, strict=True):
            try:
                found = read(key, value, self.names, self.config.max_model_bytes)
            except Refused as error:
                self._refused[error.reason] += 1
                rejected.append(Rejected(offset, kafka_ms, *error.fault))
                continue
            if (value or b"") == self._value and (self._model is not None or found is None):  # the same once more
                continue
            changes.append(_change(offset, kafka_ms, found, self.version))
            self._set(value or b"", found)
        side.changes = changes
        side.rejected = rejected

    def dump(self) -> State:
        """Return the ranker's record, and what was counted."""
        return {
            "model": np.frombuffer(self._value, np.uint8).copy(),
            "stream_ms": self._stream_ms,
            **{f"refused.{reason}": self._refused[reason] for reason in REFUSALS},
        }

    def load(self, state: State) -> None:
        """Replace the state; a ranker whose features are not those of the flow any more is kept, and ranks nothing.

        That the fallback ranks instead shows in the audit trail as a change of the configuration, whose `lists` covers
        the features.

        Raises:
            ValueError: the ranker cannot be used for another reason, such as rules that a newer version holds it to.
        """
        value = np.asarray(state["model"], np.uint8).tobytes()
        self._stream_ms = int(state["stream_ms"])  # type: ignore[arg-type]
        self._refused = Counter({reason: int(state[f"refused.{reason}"]) for reason in REFUSALS})  # type: ignore[arg-type]
        try:
            model = read(b"ranker", value, self.names, max(len(value), 1)) if value else None
        except Refused as error:
            if error.reason != "features":
                told = "go on with the version before, publish another ranker or take this one back, then upgrade"
                raise ValueError(f"the ranker in force cannot be used any more: {error}; {told}") from error
            model = None
        self._set(value, model)

    def measurements(self) -> Iterable[Measurement]:
        """Yield which ranker is in force, how old it is in stream time, and how many were refused."""
        yield Measurement("tidegate_ranker_ready", float(self._model is not None))
        for version in self._before:
            yield Measurement("tidegate_ranker_info", 0.0, {"version": version})
        yield Measurement("tidegate_ranker_info", 1.0, {"version": self.version})
        if self._model is not None and self._stream_ms:
            age_ms = max(self._stream_ms - self._model.record.timestamp, 0)
            yield Measurement("tidegate_ranker_age_seconds", age_ms / 1_000)
        for reason in REFUSALS:
            yield Measurement("tidegate_ranker_refused_total", float(self._refused[reason]), {"reason": reason})

    def _set(self, value: bytes, model: Model | None) -> None:
        before = self.version
        self._value, self._model = value, model
        self._before[before] = None
        self._before.pop(self.version, None)
        while len(self._before) > _SHOWN:
            del self._before[next(iter(self._before))]

    def _fall_back(self, batch: Lists) -> F64:
        """Return the publisher's scores of lists that have one for each candidate, popularity of all others."""
        scores = batch.popularity.copy()
        if self.config.fallback == "popularity":
            return scores
        told = relevancy(batch)
        for first, end in zip(batch.starts[:-1].tolist(), batch.starts[1:].tolist(), strict=True):
            if np.isfinite(told[first:end]).all():
                scores[first:end] = told[first:end]
        return scores


def relevancy(batch: Lists) -> F64:
    """Return the publisher's score of each candidate, shape (m,); NaN where it told none."""
    if _RELEVANCY in batch.names:
        return batch.features[:, batch.names.index(_RELEVANCY)]
    requests, found = batch.requests, np.full(len(batch.item), np.nan)
    for k in range(batch.events):
        asked = slice(int(requests.starts[k]), int(requests.starts[k + 1]))
        if asked.start == asked.stop:
            continue
        # Of an item that was given twice the first score counts.
        told: dict[int, float] = {}
        for key, each in zip(requests.item[asked].tolist(), requests.relevancy[asked].tolist(), strict=True):
            told.setdefault(key, each)
        listed = slice(int(batch.starts[k]), int(batch.starts[k + 1]))
        found[listed] = [told.get(key, np.nan) for key in batch.item[listed].tolist()]
    return found


def warm_up() -> None:
    """Compile the loop, or load it."""
    whole = np.zeros(1, np.int32)
    leaf = np.full(1, -1, np.int32)
    forest = Forest(whole, whole, np.zeros(1), np.zeros(1, np.uint8), leaf, leaf - 1, np.zeros(2))
    score(forest, np.zeros((1, 1)))


def _change(offset: int, kafka_ms: int, model: Model | None, before: str) -> Change:
    if model is None:
        return Change(offset, max(kafka_ms, 0), "model", {"version": FALLBACK, "before": before})
    record = model.record
    detail: dict[str, str | int | float | bool | None] = {
        "version": record.version,
        "before": before,
        "checksum": record.checksum,
        "lists": record.lists,
        "trees": len(model.forest.root),
        "features": len(record.features),
    }
    return Change(offset, max(kafka_ms, 0), "model", {**dict(sorted(record.figures.items())), **detail})
