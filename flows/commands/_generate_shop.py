"""`tidegate generate items|interactions|requests|clicks`: the made-up shop as JSON lines.

Everything has happened by now: lists are asked for in the twelve hours up to the last full hour, and `interactions` are
those of the twelve hours before them. Nothing is waited for. `clicks` closes the loop: it reads what `ranking.results`
answered, and writes what users do with the lists.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import BinaryIO

import msgspec

from flows.commands import CommandError
from flows.shop.shop import Record, Shop
from flows.shop.world import DAY_MS, ShopConfig

WHAT = ("items", "interactions", "requests", "clicks")

_HOUR_MS = 3_600_000


class _Shown(msgspec.Struct):
    item: str


class _Answer(msgspec.Struct):
    """What is read of `schemas.ranked.RankedList`."""

    id: str
    items: tuple[_Shown, ...]


_answer = msgspec.json.Decoder(_Answer).decode


def config_of(args: argparse.Namespace, now_ms: int | None = None) -> ShopConfig:
    """Return the shop that the arguments ask for."""
    config = ShopConfig(seed=args.seed, lists=args.lists)
    if args.users:
        config = replace(config, users=args.users)
    if args.start is not None:
        return replace(config, start_ms=args.start)
    if args.at_once:
        return config
    now_ms = int(time.time() * 1_000) if now_ms is None else now_ms
    return replace(config, start_ms=now_ms // _HOUR_MS * _HOUR_MS - int(config.days * DAY_MS))


def write(args: argparse.Namespace, lines: Iterable[bytes], out: BinaryIO) -> None:
    """Write what is asked for, one JSON object to a line; of `clicks` those of a list at once.

    Args:
        args: of the command line.
        lines: records of `ranking.results`, for `clicks`.
        out: where to.

    Raises:
        BrokenPipeError: the reader has gone.
        CommandError: a line is no answer to one of the shop's requests.
    """
    shop = Shop(config_of(args))
    if args.what == "clicks":
        for record in islice(clicks(shop, lines), args.limit):
            out.write(record.value + b"\n")
            out.flush()
        return
    made = {"items": shop.items, "interactions": shop.history, "requests": shop.requests}[args.what]
    for record in islice(made(), args.limit):
        out.write(record.value + b"\n")
    out.flush()


def clicks(shop: Shop, lines: Iterable[bytes]) -> Iterator[Record]:
    """Yield what users do with lists, given the answers to the requests for them, list by list.

    Raises:
        CommandError: a line is no answer to one of the shop's requests.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            answer = _answer(line)
            found = shop.respond(answer.id, [each.item for each in answer.items])
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, LookupError) as error:
            raise CommandError(f"line {number}: expected a record of ranking.results for this shop") from error
        yield from found
