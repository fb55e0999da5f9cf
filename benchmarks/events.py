"""Events for benchmarks: about 200 bytes, users by Zipf's law, habits per user. Quick to make, no abuse in them."""

import random
from collections.abc import Iterator

START_MS = 1_760_000_000_000  # a million events cover eleven hours


def events(
    count: int, users: int, first: int = 0, *, seed: int = 1, spacing_ms: float = 40.0
) -> Iterator[tuple[str, bytes, int]]:
    """Yield (user, JSON, event time in ms); `first` goes on where a former call ended."""
    rng = random.Random(seed)
    weights = [1 / (rank + 10) for rank in range(users)]
    names = [f"user-{number:06d}" for number in range(users)]
    ips = [[f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}" for _ in range(3)] for _ in names]
    kinds = ("view", "view", "view", "login", "payment")
    chosen = rng.choices(range(users), weights=weights, k=count)
    draw = rng.random
    for number, who in enumerate(chosen, first):
        time_ms = START_MS + int(number * spacing_ms)
        kind = kinds[int(draw() * 5)]
        amount = round(5 + 200 * draw() * draw(), 2)
        line = (
            f'{{"id":"e{number:09d}","timestamp":{time_ms},"user":"{names[who]}","type":"{kind}","amount":{amount},'
            f'"currency":"EUR","ip":"{ips[who][int(draw() * 3)]}","device":"dev-{who}-{int(draw() * 2)}",'
            f'"counterparty":"shop-{int(draw() * draw() * 2000)}","country":"DE"}}'
        )
        yield names[who], line.encode(), time_ms
