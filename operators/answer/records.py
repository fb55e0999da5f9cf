"""The records of lists: what is answered on `ranking.results`, and what the ranker saw on `ranking.served`.

The key of both is the user's pseudonym. Where no user is told it is the request's id, which the record holds anyway:
the request's own key may be whatever identifies its publisher's users, and is never written.

No record is larger than a topic takes: one that is would be refused whenever it is tried again, and its partition would
stand still.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from operators.answer.config import AnswerConfig
from operators.batches import Outgoing
from operators.encode import FLAGS, numbers, significant
from operators.lists import SOURCES, Ordered
from ranking.rerank import REASONS, Step, places_of
from schemas import ranked
from schemas.ranked import Move, Ranked, RankedList
from schemas.served import Served

RESULTS: Final = "ranking.results"
SERVED: Final = "ranking.served"

MOST_BYTES: Final = 900_000
"""Of a record's value. Producer and broker take 1 MB with key and header, unless they are told otherwise."""

PARTS: Final = ("moves", "before", "served", "list")
"""What may have to be left out for that: the first two of an answer, then what the ranker saw, or the whole answer."""

_encode = msgspec.json.Encoder().encode
_NAMES: Final[tuple[tuple[Any, ...], ...]] = tuple(
    tuple(name for bit, name in enumerate(SOURCES) if bits >> bit & 1) for bits in range(1 << len(SOURCES))
)


class Records:
    """Makes the records of one batch.

    Args:
        batch: lists in order.
        config: what is written beside the answers.

    Attributes:
        cut: how often each of `PARTS` was left out for its size.
    """

    def __init__(self, batch: Ordered, config: AnswerConfig) -> None:
        scored, lists = batch.scored, batch.scored.lists
        self._batch, self._config = batch, config
        self.cut: Counter[str] = Counter()
        self._starts = lists.starts.tolist()
        sizes = np.diff(lists.starts)
        self._shown: list[int] = np.minimum(lists.count, sizes).tolist()
        self._score: list[float] = significant(scored.score).tolist()
        self._probability = numbers(scored.probability)
        self._signals: list[int] = lists.signals_ms.tolist()
        self._source: list[int] = lists.source.tolist()
        self._popularity: list[float] = significant(lists.popularity).tolist()
        requests = lists.requests
        self._keys = [(user or id_).encode() for user, id_ in zip(requests.users, requests.ids, strict=True)]
        self._times: list[int] = requests.time_ms.tolist()
        self._offsets: list[int] = requests.offsets.tolist()
        self._flags: list[int] = lists.flags.tolist()
        self._versions = dict(sorted(lists.versions.items()))
        # Hashes are even over 64 bits, so their size is a draw: 53 bits of it, as a double holds them.
        draw = (requests.ranking >> np.uint64(11)).astype(np.float64) * 2.0**-53
        self._logged: list[bool] = (draw < config.served_share).tolist()

    def of(self, k: int) -> list[Outgoing]:
        """Return the records of request k: its answer, and what the ranker saw if that is to be told.

        Only lists that show something are told of. Nothing is returned where items alone are too large for a record.
        """
        answer = self._fitting(self._result(k))
        if answer is None:
            return []
        found = [self._outgoing(RESULTS, k, answer)]
        if self._logged[k] and self._shown[k] and not self._flags[k]:
            served = _encode(self._served(k))
            if len(served) <= MOST_BYTES:
                found.append(self._outgoing(SERVED, k, served))
            else:
                self.cut["served"] += 1
        return found

    def _fitting(self, result: RankedList) -> bytes | None:
        """Return the answer; too large, without moves, then without the order before; None if it still is."""
        value = _encode(result)
        if len(value) > MOST_BYTES:
            self.cut["moves"] += 1
            items = tuple(msgspec.structs.replace(each, moves=()) for each in result.items)
            result = msgspec.structs.replace(result, items=items)
            value = _encode(result)
        if len(value) > MOST_BYTES:
            self.cut["before"] += 1
            value = _encode(msgspec.structs.replace(result, before=()))
        if len(value) > MOST_BYTES:
            self.cut["list"] += 1
            return None
        return value

    def _outgoing(self, topic: str, k: int, value: bytes) -> Outgoing:
        return Outgoing(topic, self._keys[k], value, max(self._times[k], 1))  # to librdkafka 0 means now

    def _result(self, k: int) -> RankedList:
        batch = self._batch
        lists = batch.scored.lists
        first, end, shown = self._starts[k], self._starts[k + 1], self._shown[k]
        after = batch.after[first:end][:shown].tolist()
        before = batch.before[first:end]
        places = places_of(before)
        moves = _moves(batch.steps[k], after)
        items = tuple(
            Ranked(
                item=lists.items[first + at],
                before=place + 1,
                score=self._score[first + at],
                probability=self._probability[first + at],
                sources=_NAMES[self._source[first + at]],
                signals=signals if (signals := self._signals[first + at]) >= 0 else None,
                moves=why,
            )
            for at, place, why in zip(after, places[after].tolist(), moves, strict=True)
        )
        ahead = before[:shown].tolist()
        return RankedList(
            id=lists.requests.ids[k],
            timestamp=self._times[k],
            user=lists.requests.users[k] or None,
            partition=batch.span.partition,
            offset=self._offsets[k],
            items=items,
            before=() if ahead == after else tuple(lists.items[first + at] for at in ahead),
            steps=tuple(
                ranked.Step(name=step.name, cost=cost)  # type: ignore[arg-type]  # one of its names
                for step, cost in zip(batch.steps[k], _costs(batch.steps[k]), strict=True)
            ),
            candidates=end - first,
            model=batch.scored.model,
            signals=self._versions,
            flags=FLAGS[self._flags[k]],
        )

    def _served(self, k: int) -> Served:
        batch = self._batch
        lists = batch.scored.lists
        first, end, shown = self._starts[k], self._starts[k + 1], self._shown[k]
        places = places_of(batch.after[first:end])
        # In the order of the candidates, which says nothing of how good they are: a trainer keeps ties as they stand.
        rows = np.flatnonzero(places < max(self._config.served_candidates, shown))
        chosen = (first + rows).tolist()
        with np.errstate(over="ignore"):  # beyond the range of float32 is infinite
            features = np.ascontiguousarray(lists.features[chosen], "<f4").tobytes()
        return Served(
            id=lists.requests.ids[k],
            timestamp=self._times[k],
            user=lists.requests.users[k] or None,
            partition=batch.span.partition,
            offset=self._offsets[k],
            names=lists.names,
            items=tuple(lists.items[at] for at in chosen),
            features=features,
            place=tuple(places[rows].tolist()),
            shown=shown,
            score=tuple(self._score[at] for at in chosen),
            popularity=tuple(self._popularity[at] for at in chosen),
            source=tuple(self._source[at] for at in chosen),
            model=batch.scored.model,
        )


def _moves(steps: Sequence[Step], after: Sequence[int]) -> list[tuple[Move, ...]]:
    """Return why each item that is shown is in another place, step by step."""
    moves: list[list[Move]] = [[] for _ in after]
    for step in steps:
        was, now = places_of(step.before)[after], places_of(step.after)[after]
        for at in np.flatnonzero(was != now).tolist():
            why = REASONS[step.reason[after[at]]]
            move = Move(step=step.name, before=int(was[at]) + 1, after=int(now[at]) + 1, reason=why)  # type: ignore[arg-type]
            moves[at].append(move)
    return [tuple(each) for each in moves]


def _costs(steps: Sequence[Step]) -> list[float]:
    return [float(cost) for cost in significant(np.array([step.cost for step in steps], np.float64))]
