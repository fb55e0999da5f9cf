"""Count: interactions as they were noticed in, the same with what they count out. The second stage of its flow.

Beside the sums (`operators.signals.stage`) it keeps what the sums cannot do without: the newest tier of each user, for
what the user's interactions count, and the id of each item, for it is written under that.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np

from operators.batches import U64
from operators.fingerprint import fingerprint
from operators.noticed import Interactions as Seen
from operators.noticed import Noticed, Tiers, who_of
from operators.parts import Sweep
from operators.side import Side
from operators.signals.config import CountItemsConfig
from operators.signals.rows import Counted, Interactions
from operators.signals.stage import CountItems
from operators.signals.totals import ItemTotals
from operators.signals.weights import Weights, WeightsConfig
from operators.state import Measurement, State
from operators.texts import Texts

_LAYOUT: Final = 2
_WAITING: Final = "ids.waiting"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, str]).decode


class Count:
    """State of the stage for one partition of `interactions`.

    Attributes:
        config: of the sums.
        fingerprint: of the state's layout and the configuration it depends on. Weights are not in it: under others what
            was counted stays as it is.
    """

    def __init__(self, config: CountItemsConfig, weights: WeightsConfig, *, tiers: bool) -> None:
        """Set up the empty state.

        Args:
            config: of the sums.
            weights: what interactions count, by tier.
            tiers: whether tiers are read; if not, all count 1, and no user is risky.
        """
        self.config = config
        self._sums = CountItems(config)
        self._weights = Weights(weights, config.promote_after_s)
        self._tiers = tiers
        self.fingerprint = fingerprint(_LAYOUT, self._sums.fingerprint, max_users=weights.max_users)
        self._ids = Texts("ids", bytes)
        self._named = np.zeros(0, np.uint64)  # the key of the item whose id each row has
        self._waiting: dict[int, str] = {}  # ids of items of rows that lie ahead

    def __len__(self) -> int:
        return len(self._sums)

    @property
    def stream_ms(self) -> int:
        """Stream time, epoch milliseconds; 0 before the first row."""
        return self._sums.stream_ms or 0

    @property
    def waiting(self) -> int:
        """Items whose sums changed and were not asked for yet."""
        return self._sums.waiting

    def process(self, batch: Noticed) -> Counted:
        """Count a batch.

        Raises:
            TypeError: these are no interactions.
        """
        rows = batch.rows
        if not isinstance(rows, Seen):
            raise TypeError(f"expected interactions, got {type(rows).__name__}")
        n = len(rows.kind)
        weight, risky = self._weights.of(rows.user) if self._tiers else (np.ones(n), np.zeros(n, np.bool_))
        counted = self._sums.process(
            Interactions(
                span=batch.span,
                topic=batch.topic,
                offsets=rows.offsets,
                kind=rows.kind,
                item=rows.item,
                user=who_of(rows),
                time_ms=rows.time_ms,
                id_hash=rows.id_hash,
                position=rows.position,
                weight=weight,
                risky=risky,
                rejected=batch.rejected,
            )
        )
        self._name(rows.item, rows.items)
        return counted

    def take_side(self, side: Side) -> None:
        """Take decisions about users, which hold for what they do from now on."""
        if self._tiers and isinstance(side.noticed, Tiers):
            self._weights.decide(side.noticed.user, side.noticed.tier, side.noticed.time_ms, self.stream_ms)

    def _name(self, keys: U64, items: Sequence[str]) -> None:
        """Give each row of the table the id of its item: one of this batch, or of a row that waited until now."""
        used = len(self._sums)
        if len(self._named) < used:
            self._named = np.concatenate([self._named, np.zeros(max(used, 256), np.uint64)])
        self._give(keys, items)
        if self._waiting:
            self._give(np.fromiter(self._waiting, np.uint64, len(self._waiting)), tuple(self._waiting.values()))
        ahead = set(self._sums.ahead.tolist())
        if ahead:
            ids = dict(zip(keys.tolist(), items, strict=True))
            self._waiting = {key: ids.get(key) or self._waiting[key] for key in sorted(ahead)}
        else:
            self._waiting = {}

    def _give(self, keys: U64, ids: Sequence[str]) -> None:
        """Give the rows of items their ids, where they have others."""
        rows = self._sums.rows(keys)
        known = np.flatnonzero(rows >= 0)
        for at in known[self._named[rows[known]] != keys[known]].tolist():
            row = int(rows[at])
            self._ids[row] = ids[at].encode()
            self._named[row] = keys[at]

    def changed(self, most: int | None = None) -> U64:
        """Return the items whose sums changed since they were last asked for; see `CountItems`."""
        return self._sums.changed(most)

    def totals(self, items: U64) -> ItemTotals:
        """Return what is known of some items; see `CountItems`."""
        return self._sums.totals(items)

    def ids(self, items: U64) -> list[bytes]:
        """Return the ids of items that have sums."""
        return [self._ids[int(row)] for row in self._sums.rows(items)]

    def since(self, items: U64) -> list[int]:
        """Return the stream time at which each of some items that have sums was first heard of, milliseconds."""
        return self._sums.since(items)

    def dump(self) -> State:
        """Return a copy of the state."""
        return self._sums.dump() | self._weights.dump() | self._rest()

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        return self._sums.changes(sweep) | self._weights.changes(sweep) | self._rest()

    def _rest(self) -> State:
        return self._ids.dump() | {_WAITING: np.frombuffer(_encode(self._waiting), np.uint8)}

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same fingerprint.

        Raises:
            ValueError: it cannot be such a state.
        """
        self._sums.load(state)
        self._weights.load(state)
        self._ids.load(state)
        if len(self._ids) != len(self._sums):
            raise ValueError(f"expected {len(self._sums)} ids, got {len(self._ids)} - at ids")
        self._named = self._sums.keys
        waiting = np.asarray(state[_WAITING], np.uint8).tobytes()
        try:
            self._waiting = _decode(waiting)
        except msgspec.MsgspecError as error:
            raise ValueError(f"expected ids by key - at {_WAITING}") from error

    def measurements(self) -> Iterable[Measurement]:
        """Return those of the sums, and of how many users a tier is remembered."""
        yield from self._sums.measurements()
        if self._tiers:
            yield Measurement("tidegate_weighted_users", len(self._weights))
            yield Measurement("tidegate_weighted_users_evicted_total", self._weights.evicted)
