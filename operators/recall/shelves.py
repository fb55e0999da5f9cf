"""Ordered lists over the catalogue: the most popular items, the most trending, and new ones drawn at random.

Every list follows from the catalogue and the question alone, not from how often it was asked nor where batches were
cut, so nothing here is part of a snapshot. Lists are brought up to date at the first question after the catalogue
changed, by what changed.
"""

import math
from typing import Final

import numpy as np

from operators.batches import F64, I64, U64, Bool
from operators.compiled import Int, borrowing
from operators.hashing import GOLDEN
from operators.recall.catalogue import Catalogue
from operators.recall.catalogue_config import CatalogueConfig
from operators.recall.item_records import F32, SIGNALS

MOST: Final = 1_000
"""The longest list that is given."""

DRAWN_FROM: Final = 1_024
"""New items that one draw looks at."""

_SHORTEST, _FRESH, _LONGEST = MOST, 3 * MOST // 2, 2 * MOST  # of what is kept sorted
_IMPRESSIONS: Final = SIGNALS.index("fading_impressions")
_CATEGORIES: Final = 256  # lists of one category that are kept until the catalogue changes
_STEPS: Final = 64  # of `new_for_s`: pools of new items are kept for a 64th of it
_POOLS: Final = 8
_WORD: Final = 2**64 - 1
_11, _27, _30, _31 = (np.uint64(bits) for bits in (11, 27, 30, 31))
_MIX: Final = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_FIRST, _SECOND = (np.uint64(factor) for factor in _MIX)


class _Best:
    """The best rows by score, of two alike the one with the smaller key: always all that are no worse than one of them.

    Not all rows are sorted at every change: those that changed are put among the best, or taken from them. Only if too
    few are left is everything looked at again.
    """

    def __init__(self) -> None:
        self.rows = np.zeros(0, np.int64)
        self._worst: tuple[float, int] | None = None  # score and key of the last of them; None: they are all there are
        self._new = True

    def update(self, score: F64, key: U64, among: Bool, changed: I64) -> None:
        """Bring the rows up to date.

        Args:
            score: by row, no NaN.
            key: by row.
            among: whether a row is to be among them at all, by row.
            changed: rows of which any of these may have changed, ascending.
        """
        if not self._new:
            come = changed[among[changed]]
            if self._worst is not None:
                last, last_key = self._worst
                come = come[(score[come] > last) | ((score[come] == last) & (key[come] <= last_key))]
            gone = np.zeros(len(among), np.bool_)
            gone[changed] = True
            self.rows = np.concatenate([self.rows[~gone[self.rows]], come])
        if self._new or (self._worst is not None and len(self.rows) < _SHORTEST):
            self._new, self._worst = False, None
            self.rows = np.flatnonzero(among)
        if len(self.rows) > _LONGEST:
            self.rows = best(score, key, self.rows, _FRESH)
            last = self.rows[-1]
            self._worst = float(score[last]), int(key[last])
        else:
            self.rows = self.rows[np.lexsort((key[self.rows], -score[self.rows]))]


def best(score: F64, key: U64, rows: I64, n: int) -> I64:
    """Return the n of some rows with the largest scores, in that order; of two alike the smaller key comes first."""
    if n <= 0:
        return rows[:0]
    if n < len(rows):
        scores = score[rows]
        at_least = -np.partition(-scores, n - 1)[n - 1]
        above, ties = rows[scores > at_least], rows[scores == at_least]
        room = n - len(above)
        if room < len(ties):
            ties = ties[np.argpartition(key[ties], room - 1)[:room]]
        rows = np.concatenate([above, ties])
    return rows[np.lexsort((key[rows], -score[rows]))]


class Shelves:
    """Lists over one catalogue. Nobody else may ask that catalogue what `moved`.

    Args:
        catalogue: the items.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._seen = -1
        self._popular, self._trending = _Best(), _Best()
        self._by_category: dict[tuple[int, int], I64] = {}
        self._pools: dict[int, I64] = {}

    def popular(self, n: int, category: int = 0, column: int = 0) -> I64:
        """Return the rows of the most popular items, the most popular first; of two alike the smaller key is first.

        Args:
            n: how many at the most, `MOST` or less.
            category: only items that have this `category_key`; 0: all.
            column: in which of `category_fields`, by index.
        """
        self._refresh()
        if not category:
            return self._popular.rows[: min(n, MOST)].copy()
        found = self._by_category.get((column, category))
        if found is None:
            if len(self._by_category) >= _CATEGORIES:
                self._by_category.clear()
            catalogue = self._catalogue
            rows = np.flatnonzero(catalogue.categories[: catalogue.used, column] == np.uint64(category))
            found = best(catalogue.popularity, catalogue.key, rows, MOST)
            self._by_category[column, category] = found
        return found[:n].copy()

    def trending(self, n: int) -> I64:
        """Return the rows of the most trending items, as `popular`; only of items that trend at all, above 0."""
        self._refresh()
        return self._trending.rows[: min(n, MOST)].copy()

    def new(self, n: int, seed: int, now_ms: int) -> I64:
        """Return the rows of new items, drawn without putting back, in the order in which they were drawn.

        Only items with published fields are new, unless `new_undescribed` says otherwise: one interaction that names an
        id must not bring it into lists. An item is new until `new_for_s` after it was first heard of; one that is first
        heard of after `now_ms` is new, too, for the catalogue may be ahead. Each draw takes an item with a chance in
        proportion to 1 / (1 + impressions), those that fade, unweighted: so each has a chance, and one that was shown
        less has a larger one. That is what the n smallest -ln(u) (1 + impressions) are, with u uniform by a hash of
        seed and item key (Efraimidis and Spirakis, Information Processing Letters 97, 2006). Of more than `DRAWN_FROM`
        new items so many are looked at, chosen by the seed at equal distances (systematic sampling), each with the same
        chance.

        Args:
            n: how many at the most.
            seed: of the draw, any integer; only its last 64 bits count.
            now_ms: as of when, epoch milliseconds.
        """
        self._refresh()
        catalogue = self._catalogue
        after_ms = now_ms - 1_000 * catalogue.config.new_for_s
        pool, start = self._pool(after_ms), _mixed((seed + int(GOLDEN)) & _WORD)
        if len(pool) > DRAWN_FROM:
            pool = pool[(np.arange(DRAWN_FROM) * len(pool) + start % len(pool)) // DRAWN_FROM]
        drawn, shown = np.empty(len(pool)), catalogue.signals[:, _IMPRESSIONS]
        _draw(pool, catalogue.key, catalogue.since_ms, shown, after_ms, np.uint64(start), drawn)
        return pool[best(drawn, catalogue.key[pool], np.flatnonzero(drawn > -np.inf), n)]

    def _refresh(self) -> None:
        catalogue = self._catalogue
        if catalogue.generation == self._seen:
            return
        self._seen = catalogue.generation
        self._by_category.clear()
        self._pools.clear()
        changed, used = catalogue.moved(), catalogue.used
        key, there = catalogue.key[:used], catalogue.as_of_ms[:used] >= 0
        self._popular.update(catalogue.popularity[:used], key, there, changed)
        trending = catalogue.trending[:used]
        self._trending.update(trending, key, there & (trending > 0.0), changed)

    def _pool(self, after_ms: int) -> I64:
        """Return rows of all items that were first heard of after a time, and perhaps some a little older.

        For a stretch of time they are the same, so they are not looked for at every question; which stretch that is
        follows from the time alone.
        """
        step_ms = math.ceil(1_000 * self._catalogue.config.new_for_s / _STEPS)
        step = after_ms // step_ms
        found = self._pools.get(step)
        if found is None:
            if len(self._pools) >= _POOLS:
                self._pools.clear()
            used = self._catalogue.used
            fits = self._catalogue.since_ms[:used] >= max(step * step_ms, 0)
            if not self._catalogue.config.new_undescribed:
                fits &= self._catalogue.described[:used]
            found = self._pools[step] = np.flatnonzero(fits)
        return found


def _mixed(word: int) -> int:
    """Return SplitMix64's finalizer of a word (Steele, Lea and Flood 2014, table of mix13)."""
    word = ((word ^ (word >> 30)) * _MIX[0]) & _WORD
    word = ((word ^ (word >> 27)) * _MIX[1]) & _WORD
    return word ^ (word >> 31)


@borrowing
def _draw(pool: I64, key: U64, since_ms: I64, shown: F32, after_ms: int, start: Int, drawn: F64) -> None:
    """Fill in minus the time at which each row of a pool is drawn; minus infinity for one that is too old.

    The time is exponential with rate 1 / (1 + shown): -ln(u) (1 + shown), u in (0, 1) from the mixed sum of key and
    `start`.
    """
    for i in range(len(pool)):
        row = pool[i]
        if since_ms[row] <= after_ms:
            drawn[i] = -np.inf
            continue
        word = key[row] + start
        word = (word ^ (word >> _30)) * _FIRST
        word = (word ^ (word >> _27)) * _SECOND
        word = word ^ (word >> _31)
        uniform = (np.float64(word >> _11) + 0.5) / 2.0**53
        impressions = np.float64(shown[row])
        drawn[i] = np.log(uniform) * (1.0 + (0.0 if np.isnan(impressions) else impressions))


def warm_up() -> None:
    """Compile every loop, or load it."""
    catalogue = Catalogue(CatalogueConfig())
    Shelves(catalogue).new(1, 0, 0)
