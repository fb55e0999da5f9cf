"""A batch's identifiers as columns: users, attributes and event ids, through bounded caches."""

from array import array
from collections.abc import Sequence
from itertools import repeat

import numpy as np
from xxhash import xxh3_64_intdigest

from operators.batches import U64
from operators.decode.pseudonym import Memo, Pseudonymizer
from operators.hashing import GOLDEN
from schemas.event import Event


class Identifiers:
    """Pseudonyms of one kind of topic: its identifiers are raw, or pseudonyms already and pass through as given."""

    def __init__(self, pseudonymizer: Pseudonymizer, cache_entries: int, *, given: bool) -> None:
        """Set up the caches.

        Args:
            pseudonymizer: makes the pseudonyms.
            cache_entries: results remembered per kind of identifier, >= 2.
            given: whether identifiers are pseudonyms already.
        """
        self._seed = pseudonymizer.seed
        as_given = pseudonymizer.attribute_as_given
        self._users = Memo(pseudonymizer.user_as_given if given else pseudonymizer.user, cache_entries)
        self._ip = Memo(as_given if given else pseudonymizer.attribute("ip"), cache_entries)
        self._device = Memo(as_given if given else pseudonymizer.attribute("device"), cache_entries)
        self._counterparty = Memo(as_given if given else pseudonymizer.attribute("counterparty"), cache_entries)
        self._type = Memo(as_given, cache_entries)  # a type is no secret
        self._memos = (self._users, self._ip, self._device, self._counterparty)

    @property
    def asked(self) -> int:
        """Identifiers looked up so far."""
        return sum(memo.asked for memo in self._memos)

    @property
    def missed(self) -> int:
        """Identifiers that had to be hashed."""
        return sum(memo.missed for memo in self._memos)

    def users(self, users: Sequence[str]) -> tuple[list[str], U64]:
        """Return the pseudonyms of users and their 64 bits, shape (n,)."""
        found = self._users(users)
        return [text for text, _ in found], _u64([bits for _, bits in found])

    def attributes(self, events: Sequence[Event]) -> U64:
        """Return 64 bits of each event's `operators.batches.ATTRIBUTES`, shape (n, 4); 0 where absent."""
        columns = np.empty((len(events), 4), dtype=np.uint64)
        columns[:, 0] = _u64(self._ip([event.ip for event in events]))
        columns[:, 1] = _u64(self._device([event.device for event in events]))
        columns[:, 2] = _u64(self._counterparty([event.counterparty for event in events]))
        columns[:, 3] = _u64(self._type([event.type for event in events]))
        return columns

    def id_hash(self, ids: Sequence[str], user: U64) -> U64:
        """Return 64-bit hashes of (user, id), never 0, shape (n,).

        The id's XXH3 plus a multiple of the user's bits, then SplitMix64's finalizer (Steele, Lea and Flood 2014, table
        of mix13). Each step can be undone, so two ids of one user collide only if their XXH3 do, and the same id of two
        users never does.
        """
        plain = map(xxh3_64_intdigest, map(str.encode, ids), repeat(self._seed))
        mixed = np.fromiter(plain, dtype=np.uint64, count=len(ids)) + user * GOLDEN  # modulo 2^64
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        hashes: U64 = np.maximum(mixed, np.uint64(1))
        return hashes


def _u64(numbers: list[int]) -> U64:
    """Return the numbers as an array; by way of `array`, which need not look for their type as NumPy does."""
    return np.frombuffer(array("Q", numbers), dtype=np.uint64)
