"""Plays the made-up shop against the flows of ranking on your Kafka: lists, clicks, a ranker, better lists.

    tidegate --config examples/shop.toml topics create
    tidegate --config examples/shop.toml run interactions     # these three, each in a terminal of its own
    tidegate --config examples/shop.toml run signals
    tidegate --config examples/shop.toml run ranking
    python examples/shop.py --config examples/shop.toml

The shop's twelve hours end with the last full hour; they are played as fast as the flows answer. The first lists are
ranked by the fallback; then `tidegate train ranker --publish` learns from them, and the others are ranked by what it
found. Each line of the table is told by the shop, which knows how relevant every item is to every user.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, TopicPartition

from connectors.clients import Admin, common_config, plain_producer
from flows.settings import Settings, load_settings
from flows.shop.loop import Answered, Loop, by_popularity
from flows.shop.shop import Record, Shop
from flows.shop.world import DAY_MS, ShopConfig
from schemas.ranked import RankedList
from schemas.served import Served

HOUR_MS = 3_600_000
SIGNALS_S = 1.5
"""Time in which what was published reaches the ranking flow as signals, seconds."""

_ranked = msgspec.json.Decoder(RankedList).decode
_served = msgspec.json.Decoder(Served).decode


class OnKafka(Loop):
    """The shop's loop over topics of Kafka.

    Args:
        shop: the shop.
        settings: those of the flows.
        patience_s: how long an answer is waited for, seconds.
    """

    def __init__(self, shop: Shop, settings: Settings, patience_s: float = 60.0) -> None:
        super().__init__(shop)
        self._settings, self._patience_s = settings, patience_s
        # It places keys as Java's does, as all publishers must: what is of one user, or item, meets in one task.
        self._producer = plain_producer(settings, "shop", **{"linger.ms": 5})
        self._results = self._reader("ranking.results")

    def publish(self, records: Sequence[Record]) -> None:
        """Publish records, in their order, each at its time."""
        for each in records:
            self._producer.produce(self._name(each.topic), each.value, each.key, timestamp=each.timestamp_ms)
            self._producer.poll(0)
        self._producer.flush(self._patience_s)

    def answers(self, asked: Sequence[str]) -> list[RankedList]:
        """Wait for the answers to requests.

        Raises:
            TimeoutError: some do not come.
        """
        waiting, found = set(asked), []
        deadline = time.monotonic() + self._patience_s
        while waiting:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(waiting)} of {len(asked)} requests were not answered: do the flows run?")
            for message in self._results.consume(1_000, 0.05):
                answer = _ranked(message.value())
                if answer.id in waiting:
                    waiting.remove(answer.id)
                    found.append(answer)
        return found

    def served(self) -> dict[str, Served]:
        """Return what the ranker saw of each list so far, by the list's id."""
        reader, found = self._reader("ranking.served"), {}
        while messages := reader.consume(10_000, 2.0):
            found |= {one.id: one for one in (_served(message.value()) for message in messages)}
        reader.close()
        return found

    def _name(self, topic: str) -> str:
        return self._settings.kafka.prefix + topic

    def _reader(self, topic: str) -> Consumer:
        """Return a reader of all that is committed in a topic, from now on or, of served lists, from the beginning."""
        own: dict[str, Any] = {"group.id": "shop", "enable.auto.commit": False, "isolation.level": "read_committed"}
        reader = Consumer(common_config(self._settings, "shop") | own | {"auto.offset.reset": "earliest"})
        count = Admin(self._settings, "shop").partitions()[self._name(topic)]
        reader.assign([TopicPartition(self._name(topic), number, 0) for number in range(count)])
        return reader


def play(loop: OnKafka, lists: int, command: Sequence[str]) -> tuple[list[Answered], list[Answered]]:
    """Play the shop: some lists by the fallback, a ranker, the same number by the ranker.

    Args:
        loop: opened here.
        lists: how many, before and after.
        command: that trains.
    """
    loop.open()
    time.sleep(SIGNALS_S)
    before = loop.go(lists)
    subprocess.run(command, check=True)  # noqa: S603  the caller's own
    time.sleep(SIGNALS_S)
    return before, loop.go(lists)


def table(loop: Loop, parts: Mapping[str, Sequence[Answered]], served: Mapping[str, Served]) -> str:
    """Return means over lists, a line for each part and for what it would be by popularity."""
    lines = [f"{'':24}{'lists':>7}{'NDCG@10':>9}{'clicks':>8}{'small':>8}{'risky':>8}  cost of steps"]
    for name, answered in parts.items():
        if not answered:
            continue
        mean = loop.means(answered)
        costs = ", ".join(f"{step} {cost:.3f}" for step, cost in mean.costs.items())
        shares = f"{mean.small:>8.1%}{mean.risky:>8.1%}"
        lines.append(f"{name:24}{mean.lists:>7}{mean.ndcg:>9.3f}{mean.clicks:>8.2f}{shares}  {costs}".rstrip())
        known = [by_popularity(loop.shop, served[one.answer.id]) for one in answered if one.answer.id in served]
        if known:
            lines.append(f"{'  by popularity':24}{len(known):>7}{sum(known) / len(known):>9.3f}")
    return "\n".join(lines)


def main() -> None:
    """Play the shop and print the table."""
    parser = argparse.ArgumentParser(description="Play the made-up shop against the flows of ranking.")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_suffix(".toml"), help="settings (TOML)")
    parser.add_argument("--lists", type=int, default=2_000, help="before, and after the ranker (default: 2000)")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    start_ms = int(time.time() * 1_000) // HOUR_MS * HOUR_MS - int(ShopConfig().days * DAY_MS)
    shop = Shop(ShopConfig(seed=args.seed, lists=2 * args.lists, start_ms=start_ms))
    loop = OnKafka(shop, load_settings(args.config, os.environ))
    train = [sys.executable, "-m", "flows", "--config", str(args.config), "train", "ranker", "--leaves", "7"]
    try:
        before, after = play(loop, args.lists, [*train, "--publish"])
    except subprocess.CalledProcessError as error:
        sys.exit(f"no ranker (exit code {error.returncode}): with more --lists there is more to learn from")
    parts = {
        "fallback": [one for one in before if one.answer.model == "fallback"],
        "ranker": [one for one in after if one.answer.model != "fallback"],
    }
    print(table(loop, parts, loop.served()))  # noqa: T201  what it is for


if __name__ == "__main__":
    main()
