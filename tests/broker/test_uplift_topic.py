"""`tidegate experiments uplift ID` on a real Kafka: exposures with attributes and metrics in, records on `uplift` out.

The units are every second of two arms of Hillstrom's e-mail test, published as a shop would.
"""

import csv
import gzip
import json
from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest
from commands import records
from confluent_kafka import Producer

from schemas.uplift import Uplift

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("topics")]

ARMS = {"No E-Mail": "none", "Womens E-Mail": "womens"}
NUMBERS = ("recency", "history", "mens", "womens", "newbie")
TEXTS = ("zip_code", "channel")
START = 1_750_000_000_000
WINDOW_S = 3_600
PARTITIONS = 4


@pytest.fixture(scope="module")
def customers(real_data):
    found = real_data()
    with gzip.open(found / "hillstrom" / "hillstrom.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["segment"] in ARMS]
    return rows[::2]


@pytest.fixture
def applied(tidegate, tmp_path):
    def apply(kind="proportion"):
        path = tmp_path / "email.toml"
        start = datetime.fromtimestamp(START / 1000, UTC).isoformat()
        below = 'denominator_event = "open"\n' if kind == "ratio" else ""
        path.write_text(
            f'id = "email"\nvariations = ["none", "womens"]\nattribution_window_s = {WINDOW_S}\nminimum_run_s = 0\n'
            f"mde = 0.1\n[[phases]]\nstart = {start}\n"
            f'[primary]\nname = "visits"\nkind = "{kind}"\nevent = "visit"\ntopic = "metrics"\n{below}'
        )
        assert tidegate("experiments", "apply", str(path))[0] == 0

    return apply


@pytest.fixture
def publish(bootstrap, prefix):
    def send(found):
        producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
        for topic, record in found:
            value = json.dumps(record).encode()
            producer.produce(f"{prefix}{topic}", value, record["user"].encode(), timestamp=record["timestamp"])
        assert producer.flush(30) == 0

    return send


def exposure(user, time_ms, variation, **more):
    return "exposures", {
        "experiment_id": "email",
        "variation_id": variation,
        "user": user,
        "timestamp": time_ms,
        **more,
    }


def visit(user, time_ms, **more):
    return "metrics", {"user": user, "metric": "visit", "timestamp": time_ms, **more}


def stream(rows):
    """Each unit's exposure and visit; units of another test; a duplicate; a visit too late; one unit shown both."""
    for at, row in enumerate(rows):
        user, time_ms = f"customer-{at}", START + at
        attributes = {name: float(row[name]) for name in NUMBERS} | {name: row[name] for name in TEXTS}
        yield exposure(user, time_ms, ARMS[row["segment"]], attributes=attributes)
        if row["visit"] == "1":
            yield visit(user, time_ms + 60_000, id="v")
            yield visit(user, time_ms + 60_000, id="v")
        else:
            yield visit(user, time_ms + WINDOW_S * 1_000)
    other = "womens" if ARMS[rows[0]["segment"]] == "none" else "none"
    yield exposure("customer-0", START + 5_000, other, attributes={"recency": 1_000.0})
    yield exposure("late", START + 2 * WINDOW_S * 1_000, "none")
    yield visit("nobody", START + 3 * WINDOW_S * 1_000 - 1)


def test_effects_by_decile_are_published_as_the_file_says_them(
    tidegate, applied, publish, customers, bootstrap, prefix
):
    applied()
    publish(stream(customers))

    code, shown, said = tidegate("experiments", "uplift", "email", "--json")
    assert code == 0, said
    assert "1 unit shown more than one variation; the first counts" in said
    assert "1 unit left out: the attribution window is open" in said
    assert f"published 11 records on {prefix}uplift" in said
    told = [json.loads(line) for line in shown.splitlines()]

    published = records(bootstrap, f"{prefix}uplift", 11 * PARTITIONS)
    by_key = {message.key().decode(): json.loads(message.value()) for message in published}
    assert by_key == {f"email/{one['segment']}": one for one in told}
    places = Counter((message.key(), message.partition()) for message in published)
    assert len(places) == 11 * PARTITIONS, "each partition holds each record"
    for message in published:
        one = msgspec.json.decode(message.value(), type=Uplift)
        assert message.timestamp()[1] == one.timestamp == START + 3 * WINDOW_S * 1_000 - 1

    # The effect of all, from the file by hand.
    visits = {
        arm: [int(row["visit"]) for row in customers if row["segment"] == segment] for segment, arm in ARMS.items()
    }
    everybody = by_key["email/womens/all"]
    assert (everybody["treated"], everybody["controls"]) == (len(visits["womens"]), len(visits["none"]))
    means = {arm: sum(values) / len(values) for arm, values in visits.items()}
    assert everybody["effect"] == pytest.approx(means["womens"] - means["none"], rel=1e-5)
    assert everybody["control_mean"] == pytest.approx(means["none"], rel=1e-5)
    assert set(everybody["ranking"]["importance"]) == {*NUMBERS, *TEXTS}
    assert everybody["ranking"]["chance_p"] < 0.05
    deciles = [by_key[f"email/womens/decile-{at}"] for at in range(1, 11)]
    assert sum(one["treated"] + one["controls"] for one in deciles) == len(customers)

    # Again it says the same, and dry it publishes nothing.
    again = tidegate("experiments", "uplift", "email", "--json", "--dry-run")
    assert again[:2] == (0, shown)
    assert "dry run: nothing was published" in again[2]
    assert len(records(bootstrap, f"{prefix}uplift", 11 * PARTITIONS)) == 11 * PARTITIONS


def test_what_cannot_be_is_said(tidegate, applied, publish, prefix):
    assert "there is no experiment email" in tidegate("experiments", "uplift", "email")[2]
    applied()
    assert f"email: expected exposures on {prefix}exposures, got none" in tidegate("experiments", "uplift", "email")[2]

    publish(exposure(f"u{at}", START + at, "none") for at in range(300))
    publish([visit("u1", START + 2 * WINDOW_S * 1_000)])
    code, _, said = tidegate("experiments", "uplift", "email")
    assert (code, "womens against none: expected at least 100 treated units, got 0" in said) == (1, True)

    publish(exposure(f"w{at}", START + at, "womens") for at in range(300))
    publish([visit("w1", START + 1_000)])
    said = tidegate("experiments", "uplift", "email")[2]
    assert "womens against none: expected attributes in which units differ, got none" in said


def test_a_ratio_is_refused(tidegate, applied):
    applied("ratio")
    code, _, said = tidegate("experiments", "uplift", "email")

    assert code == 1
    assert "email: expected a primary metric that each unit has (mean or proportion), got a ratio, visits" in said
