"""Lists as they were served, joined with what users did with them, in bounded memory: what a ranker is trained on.

Served lists come first, all of them; then interactions, which name the list and the item. What an item is graded is the
highest grade of what the list's user did with it from the request until the attribution time is over. Lists whose time
is not over are left out, for their clicks are not all there yet, and so are lists older than the oldest interaction:
theirs may be gone. Only shown items are kept.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from operators.batches import F64, I64, Bool
from operators.decode.explain import Fault, text_time, time_fault
from operators.decode.reading import REFUSED
from operators.notice import wire
from schemas.served import Served
from training.ranker.lists import F32, GradedLists

RISKY: Final = ("high", "critical")
"""Tiers of users whose lists and interactions teach nothing, if tiers are read."""

UNREADABLE: Final = "that cannot be read"


class _Tiered(msgspec.Struct, gc=False):
    """What is read of `schemas.decision.Decision`."""

    user: str
    tier: str


class _List(msgspec.Struct, gc=False):
    """What is kept of a list: its shown items, in the order of its candidates."""

    order: tuple[int, int, int]  # time, partition, offset
    user: str | None  # pseudonym
    names: tuple[str, ...]
    items: tuple[str, ...]
    features: bytes
    place: tuple[int, ...]
    popularity: tuple[float, ...]
    grades: dict[str, int]
    clicked: set[str]


class Rules(NamedTuple):
    """What is made of interactions.

    Attributes:
        grades: by type; other types say nothing.
        within_s: attribution time, seconds after the request.
        most: lists that are kept, the newest.
        clicks: types after which an item counts as clicked, whatever they are graded: what probabilities are of.
        pseudonym: of a user of `interactions`, as `ranking.served` has it.
    """

    grades: Mapping[str, int]
    within_s: float
    most: int
    clicks: frozenset[str]
    pseudonym: Callable[[str], str]


_served = msgspec.json.Decoder(Served).decode
_tiered = msgspec.json.Decoder(_Tiered).decode


class ServedLists:
    """Lists by the id of their request.

    Attributes:
        refused: records that did not count, by what they are.
        stream_ms: time of the newest record; 0 without any.
    """

    def __init__(self, rules: Rules) -> None:
        """Know no list.

        Args:
            rules: what is made of interactions.
        """
        self._rules = rules
        self._within_ms = rules.within_s * 1_000
        self._lists: dict[str, _List] = {}
        self._risky: set[str] = set()
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._texts: dict[str, str] = {}  # one text for each item and user, however many lists it is in
        self._oldest_ms: int | None = None  # of interactions
        self.refused: Counter[str] = Counter()
        self.stream_ms = 0

    def __len__(self) -> int:
        """Return how many lists are kept."""
        return len(self._lists)

    def suspect(self, value: bytes, _kafka_ms: int = 0) -> None:
        """Take note of a record of `risk.tiers`: risky users do not count. Before any list."""
        try:
            one = _tiered(value)
        except REFUSED:
            self.refused[f"decisions {UNREADABLE}"] += 1
            return
        if one.tier in RISKY:
            self._risky.add(one.user)

    def serve(self, value: bytes, kafka_ms: int) -> None:
        """Take note of a record of `ranking.served`.

        Args:
            value: the record.
            kafka_ms: Kafka's time of it: no clock is believed that goes ahead of it.
        """
        try:
            one = _served(value)
        except REFUSED:
            self.refused[f"served lists {UNREADABLE}"] += 1
            return
        if not _is_whole(one):
            self.refused[f"served lists {UNREADABLE}"] += 1
            return
        self.stream_ms = max(self.stream_ms, min(one.timestamp, kafka_ms))
        if one.user is not None and one.user in self._risky:
            self.refused["lists of users of high or critical risk"] += 1
            return
        order = (one.timestamp, one.partition, one.offset)
        before = self._lists.get(one.id)
        if before is not None:
            self.refused["lists whose request id was used again; the newer counts"] += 1
            if before.order >= order:
                return
        self._lists[one.id] = self._shown(one, order)
        if len(self._lists) > self._rules.most + self._rules.most // 4:
            self._forget()

    def interact(self, value: bytes, kafka_ms: int) -> None:
        """Take note of a record of `interactions`; arguments as `serve`."""
        try:
            told = wire.interaction(value)
        except REFUSED:
            self.refused[f"interactions {UNREADABLE}"] += 1
            return
        time_ms = _milliseconds(told.timestamp)
        if time_ms is None:
            self.refused[f"interactions {UNREADABLE}"] += 1
            return
        self.stream_ms = max(self.stream_ms, min(time_ms, kafka_ms))
        self._oldest_ms = time_ms if self._oldest_ms is None else min(self._oldest_ms, time_ms)
        record = told.record
        grade, click = self._rules.grades.get(record.type, 0), record.type in self._rules.clicks
        if grade == 0 and not click:
            return
        if not record.ranking:
            self.refused["graded interactions that name no list"] += 1
            return
        user = None if record.user is None else self._rules.pseudonym(record.user)
        of = self._lists.get(record.ranking)
        if user in self._risky:
            self.refused["graded interactions of users of high or critical risk"] += 1
        elif of is None:
            self.refused["graded interactions with lists that are not known"] += 1
        elif None not in (user, of.user) and user != of.user:
            self.refused["graded interactions of other users than the list's"] += 1
        elif record.item not in of.items:
            self.refused["graded interactions with items that were not shown in their list"] += 1
        elif not 0 <= time_ms - of.order[0] <= self._within_ms:
            self.refused["graded interactions before the request, or after the attribution time"] += 1
        else:
            of.grades[record.item] = max(of.grades.get(record.item, 0), grade)
            if click:
                of.clicked.add(record.item)

    def open(self) -> int:
        """Return how many lists' attribution time is not over."""
        return sum(not self._over(one) for one in self._lists.values())

    def graded(self) -> tuple[GradedLists, int]:
        """Return lists with the features of the newest one, in the order of time; and how many have others."""
        self._forget()
        oldest = self.stream_ms if self._oldest_ms is None else self._oldest_ms
        every = [one for one in self._lists.values() if self._over(one)]
        over = sorted((one for one in every if one.order[0] >= oldest), key=lambda one: one.order)
        self.refused["lists that are older than the oldest interaction"] = len(every) - len(over)
        names = over[-1].names if over else ()
        kept = [one for one in over if one.names == names]
        return _together(names, kept), len(over) - len(kept)

    def _over(self, one: _List) -> bool:
        return one.order[0] + self._within_ms <= self.stream_ms

    def _forget(self) -> None:
        """Keep the newest."""
        gone = sorted(self._lists.items(), key=lambda one: one[1].order)[: max(0, len(self._lists) - self._rules.most)]
        for name, _ in gone:
            del self._lists[name]
        self.refused["lists that are older than the newest --lists"] += len(gone)

    def _shown(self, one: Served, order: tuple[int, int, int]) -> _List:
        shown = [at for at, place in enumerate(one.place) if place < one.shown]
        features = np.frombuffer(one.features, "<f4").reshape(len(one.items), len(one.names))
        text = self._texts.setdefault
        return _List(
            order,
            None if one.user is None else text(one.user, one.user),
            self._names.setdefault(one.names, one.names),
            tuple(text(one.items[at], one.items[at]) for at in shown),
            features[shown].tobytes(),
            tuple(one.place[at] for at in shown),
            tuple(one.popularity[at] for at in shown),
            {},
            set(),
        )


def _is_whole(one: Served) -> bool:
    n, shown = len(one.items), [place for place in one.place if place < one.shown]
    return (
        len(one.features) == 4 * n * len(one.names)
        and len(one.place) == len(one.popularity) == n
        and sorted(shown) == list(range(len(shown)))
        and len(shown) > 0
        and all(map(math.isfinite, one.popularity))
    )


def _milliseconds(stamp: float | str) -> int | None:
    """Return epoch milliseconds; None if it is no time."""
    if isinstance(stamp, str):
        found = text_time(stamp)
        return None if isinstance(found, Fault) else found
    return None if time_fault(stamp) else int(stamp)


def _together(names: tuple[str, ...], lists: Sequence[_List]) -> GradedLists:
    raw: F32 = np.frombuffer(b"".join(one.features for one in lists), "<f4").astype(np.float32, copy=False)
    starts: I64 = np.cumsum([0, *(len(one.items) for one in lists)], dtype=np.int64)
    click: Bool = np.array([item in one.clicked for one in lists for item in one.items], np.bool_)
    popularity: F64 = np.array([each for one in lists for each in one.popularity], np.float64)
    return GradedLists(
        names,
        raw.reshape(int(starts[-1]), len(names)),
        starts,
        np.array([one.order[0] for one in lists], np.int64),
        np.array([one.grades.get(item, 0) for one in lists for item in one.items], np.int64),
        np.array([each for one in lists for each in one.place], np.int64),
        popularity,
        click,
    )
