"""Turns a log of the Open Bandit sample into what Tidegate reads: `items.json`, `interactions.json`, `requests.json`.

    python examples/open_bandit.py random/all/all.csv.gz items.json interactions.json requests.json

One JSON object a line; `item_context.csv` is read from the log's folder. Open Bandit Dataset: Saito, Aihara, Matsutani,
Narita (NeurIPS 2021), CC BY 4.0. What a row is:

- one item, shown at one of three places beside one another (`position` 1 to 3): an impression, and a click if it was
  clicked. It names its own row as its list, for which three rows belong together is not told.
- the user is told by four hashed features, so `user` is all people of one such kind, and audiences are of kinds.
- `propensity_score` is the chance that the policy chose this item, not that the place is seen: it goes with the
  interaction as the field `propensity`, which no flow reads. Chances of places come from the log of the random policy
  (`ranking.rates.place_propensities`) and are settings.
- as a request it is a list of all items of the campaign, each with the user's affinity to it where there is one.
"""

import csv
import gzip
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

SHOWN = 3


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a log in the order of time, by column."""
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        yield from sorted(csv.DictReader(file), key=lambda row: row["timestamp"])


def items(path: Path, time_ms: int) -> list[dict[str, Any]]:
    """Return the items of a log's campaign, known since a time."""
    with (path.parent / "item_context.csv").open(newline="") as file:
        return [_item(row, time_ms) for row in csv.DictReader(file)]


def interactions(row: dict[str, str], number: int) -> list[dict[str, Any]]:
    """Return what happened in a row: an impression, and perhaps a click."""
    fields = _fields({"position": int(row["position"]), "propensity": float(row["propensity_score"])})
    kinds = ("impression", "click") if row["click"] == "1" else ("impression",)
    return [
        {
            "event": "interaction",
            "id": f"row-{number}",
            "ranking": f"row-{number}",
            "timestamp": milliseconds(row),
            "user": user(row),
            "type": kind,
            "item": f"item-{row['item_id']}",
            "fields": fields,
        }
        for kind in kinds
    ]


def request(row: dict[str, str], number: int) -> dict[str, Any]:
    """Return the list that could have been asked for in a row."""
    affinity = {
        name.rpartition("_")[2]: float(row[name]) for name in row if name and name.startswith("user-item_affinity_")
    }
    return {
        "event": "ranking",
        "id": f"row-{number}",
        "timestamp": milliseconds(row),
        "user": user(row),
        "fields": _fields({f"user_feature_{n}": row[f"user_feature_{n}"] for n in range(4)}),
        "items": [
            {"id": f"item-{item}", **({"fields": _fields({"affinity": value})} if value else {})}
            for item, value in affinity.items()
        ],
        "count": SHOWN,
    }


def milliseconds(row: dict[str, str]) -> int:
    """Return the time of a row."""
    return int(datetime.fromisoformat(row["timestamp"]).timestamp() * 1_000)


def user(row: dict[str, str]) -> str:
    """Return the kind of people that the user is of."""
    return "-".join(row[f"user_feature_{n}"][:8] for n in range(4))


def _item(row: dict[str, str], time_ms: int) -> dict[str, Any]:
    name = f"item-{row['item_id']}"
    fields: dict[str, Any] = {"feature_0": float(row["item_feature_0"])}
    fields |= {f"feature_{n}": row[f"item_feature_{n}"] for n in (1, 2, 3)}
    return {"event": "item", "id": name, "item": name, "timestamp": time_ms, "fields": _fields(fields)}


def _fields(named: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in named.items()]


def main(source: str, *targets: str) -> None:
    """Write the three files."""
    path = Path(source)
    log = list(rows(path))
    made = (
        items(path, milliseconds(log[0])),
        [event for number, row in enumerate(log) for event in interactions(row, number)],
        [request(row, number) for number, row in enumerate(log)],
    )
    for target, events in zip(targets, made, strict=True):
        with Path(target).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)


if __name__ == "__main__":
    main(*sys.argv[1:])
