"""What the ranker is given of each candidate: names, and the matrix (docs/candidates.md has the formulas).

As of stream time when the request came: nothing that came after it is in it. NaN is what is not known.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, U64
from operators.lists import SOURCES
from operators.noticed import Fields, Requests
from operators.recall.candidates import Found
from operators.recall.catalogue import Catalogue
from operators.recall.config import FeaturesConfig
from operators.recall.item_fields import number_of
from operators.recall.lookups import OF_PAIR, OF_USER, pair_columns, user_columns
from operators.recall.loop import World

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def names_of(config: FeaturesConfig, signals: Sequence[str], numbers: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the features, in the order of the columns.

    Args:
        config: which.
        signals: names of the signals of an item.
        numbers: names of the fields of an item that are numbers.
    """
    return (
        *(f"item_{name}" for name in signals),
        "item_age_h",
        *(f"item_number_{name}" for name in numbers),
        *(f"user_{name}" for name in OF_USER),
        *(f"pair_{name}" for name in OF_PAIR),
        *(f"pair_{name}_minus_mean" for name in numbers),
        "request_relevancy",
        "request_candidates",
        "request_hour_sin",
        "request_hour_cos",
        *(f"request_number_{name}" for name in config.request_numbers),
        *(f"candidate_number_{name}" for name in config.candidate_numbers),
        *(f"source_{name}" for name in SOURCES),
        *(("request_place",) if config.place else ()),
    )


def matrix(
    config: FeaturesConfig, requests: Requests, found: Found, who: U64, now_ms: I64, world: World, catalogue: Catalogue
) -> F64:
    """Return the features, shape (m, F).

    Args:
        config: which.
        requests: n of them.
        found: their candidates, m of them.
        who: user or session of each request, 0 for nobody, shape (n,).
        now_ms: as of when, shape (n,).
        world: what is known of users.
        catalogue: what is known of items.
    """
    of = np.repeat(np.arange(len(who)), np.diff(found.starts))
    numbers = taken(catalogue.numbers, found.rows, np.nan)
    return np.concatenate(list(_blocks(config, requests, found, who, now_ms, world, catalogue, of, numbers)), axis=1)


def _blocks(
    config: FeaturesConfig,
    requests: Requests,
    found: Found,
    who: U64,
    now_ms: I64,
    world: World,
    catalogue: Catalogue,
    of: I64,
    numbers: F64,
) -> Iterator[F64]:
    """Return groups of columns in the order of `names_of`."""
    m, known = len(of), found.rows >= 0
    yield taken(catalogue.signals, found.rows, np.nan)
    since_ms = taken(catalogue.since_ms, found.rows, -1)
    age_h = np.maximum(now_ms[of] - since_ms, 0) / HOUR_MS
    yield np.where(known & (since_ms >= 0), age_h, np.nan)[:, None]
    yield numbers

    of_user = np.empty((len(who), len(OF_USER)))
    user_columns(world, who, now_ms, of_user)
    yield of_user[of]
    of_pair = np.empty((m, len(OF_PAIR) + numbers.shape[1]))
    categories = taken(catalogue.categories, found.rows, 0)
    scratch = np.empty(world.users.items.shape[1], np.int64)
    pair_columns(world, who, now_ms, found.starts, found.item, numbers, categories, scratch, of_pair)
    yield of_pair

    turn = 2.0 * np.pi * (now_ms % DAY_MS) / DAY_MS
    of_request = np.stack([np.diff(found.starts).astype(np.float64), np.sin(turn), np.cos(turn)], axis=1)
    yield found.relevancy[:, None]
    yield of_request[of]
    yield _told(requests.fields, config.request_numbers)[of]
    yield _told(found.fields, config.candidate_numbers)
    yield (found.source[:, None] >> np.arange(len(SOURCES), dtype=np.uint8) & 1).astype(np.float64)
    if config.place:
        yield found.place[:, None]


def taken(column: NDArray[Any], rows: I64, default: float) -> NDArray[Any]:
    """Return rows of a column of the catalogue, another value where there is no row; floats are doubles then."""
    kind = np.dtype(np.float64) if column.dtype.kind == "f" else column.dtype
    out: NDArray[Any] = np.full((len(rows), *column.shape[1:]), default, kind)
    known = rows >= 0
    out[known] = column[rows[known]]
    return out


def _told(fields: list[Fields], names: tuple[str, ...]) -> F64:
    """Return numbers that requests tell, NaN where they do not, shape (n, names)."""
    if not names:
        return np.empty((len(fields), 0))
    told = [[number_of(each.get(name)) for name in names] for each in fields]
    return np.array(told, np.float64).reshape(len(fields), len(names))
