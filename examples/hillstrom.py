"""Turns the table of the MineThatData e-mail test into what Tidegate reads: `exposures.json` and `metrics.json`.

    python examples/hillstrom.py hillstrom.csv.gz exposures.json metrics.json

One JSON object a line. The table has no times: customers are exposed one after the other within a week, and visit, buy
and spend within the fortnight after it, at minutes drawn with a fixed seed.
"""

import csv
import gzip
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_MS = 1_205_971_200_000
"""2008-03-20T00:00:00Z, the start of the phase in examples/hillstrom.toml."""

WEEK_MS = 604_800_000

ARMS = {"No E-Mail": "none", "Mens E-Mail": "mens", "Womens E-Mail": "womens"}

ATTRIBUTES = ("recency", "mens", "womens", "newbie")
"""Numbers of the table that are known of a customer beforehand; `zip_code` and `channel` are words."""


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the table, by column."""
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        yield from csv.DictReader(file)


def records(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return exposures and metric records of the table, each in the order of time."""
    chance = random.Random(1)  # noqa: S311  a draw of minutes, no secret
    exposures, metrics = [], []
    for number, row in enumerate(rows(path)):
        user = f"customer-{number}"
        shown = START_MS + chance.randrange(WEEK_MS)
        spent = float(row["history"])
        exposures.append(
            {
                "experiment_id": "hillstrom",
                "variation_id": ARMS[row["segment"]],
                "user": user,
                "timestamp": shown,
                "attributes": {
                    **{name: int(row[name]) for name in ATTRIBUTES},
                    "zip_code": row["zip_code"],
                    "channel": row["channel"],
                    "history": spent,
                },
                "pre_value": spent,
            }
        )
        for metric in ("visit", "conversion", "spend"):
            if float(row[metric]) > 0:
                when = shown + chance.randrange(2 * WEEK_MS)
                metrics.append({"user": user, "metric": metric, "value": float(row[metric]), "timestamp": when})
    by_time = [sorted(each, key=lambda one: one["timestamp"]) for each in (exposures, metrics)]
    return by_time[0], by_time[1]


def main(source: str, *targets: str) -> None:
    """Write both files."""
    for target, found in zip(targets, records(Path(source)), strict=True):
        with Path(target).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in found)


if __name__ == "__main__":
    main(*sys.argv[1:])
