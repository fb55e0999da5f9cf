"""The made-up shop on a real Kafka as a user plays it: three flows, a ranker, and what each step after it costs."""

import itertools
import json
import runpy
import sys
import time
from collections import Counter

import msgspec
import pytest
from harness import KEY, ROOT, Flow, read_committed

from flows.settings import load_settings
from flows.shop.shop import Shop
from flows.shop.world import DAY_MS, OFFERS, ShopConfig
from operators.partitioner import murmur2
from schemas.uplift import Uplift

pytestmark = pytest.mark.broker

PARTITIONS = 2
CONFIG = ROOT / "examples" / "shop.toml"
BEFORE, AFTER, STEPS = 1_700, 700, 300
RERANK = {
    "uplift": {"experiment": "offers", "weight": 0.3},
    "risk": {"strength": 0.5},
    "fairness": {"kind": "top_k", "group": "small", "p": 0.4},
}


class Process(Flow):
    """One process of a flow of ranking, under the example's settings."""

    def __init__(self, name, bootstrap, prefix, log):
        section = f"TIDEGATE_{name.upper()}__"
        own = {"GROUP": f"{prefix}{name}", "SNAPSHOT_INTERVAL_S": "2"}
        super().__init__(
            bootstrap, prefix, log, TIDEGATE_CONFIG=str(CONFIG), **{section + k: v for k, v in own.items()}
        )
        self.command = [sys.executable, "-m", "flows", "run", name]


@pytest.fixture
def example():
    return runpy.run_path(str(ROOT / "examples" / "shop.py"))


@pytest.fixture
def shop():
    start_ms = int(time.time() * 1_000) - int(ShopConfig().days * DAY_MS)
    return Shop(ShopConfig(lists=BEFORE + AFTER + STEPS, start_ms=start_ms, offers=0.3))


@pytest.fixture
def own(settings, tidegate, bootstrap, prefix, monkeypatch):
    monkeypatch.setenv("TIDEGATE_CONFIG", str(CONFIG))
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", KEY)
    monkeypatch.setenv("TIDEGATE_TOPICS__PARTITIONS", str(PARTITIONS))
    assert tidegate("topics", "create")[0] == 0
    return load_settings(CONFIG, {"TIDEGATE_KAFKA__BOOTSTRAP": bootstrap, "TIDEGATE_KAFKA__PREFIX": prefix})


def values(bootstrap, topic):
    return [json.loads(value) for _, value, _ in itertools.chain(*read_committed(bootstrap, topic, PARTITIONS))]


def shares(shop, answered):
    """Return shares of the places: of small sellers, of risky ones, of items with a coupon."""
    shown = [int(item.item.removeprefix("item-")) for one in answered for item in one.answer.items]
    coupon = shop.world.offer == OFFERS.index("coupon")
    return [each[shown].mean() for each in (shop.world.small, shop.world.risk > 0.5, coupon)]


def publish_uplift(bootstrap, prefix, time_ms):
    """Publish what an experiment found: coupons bring clicks, gifts do not."""
    from confluent_kafka import Producer  # noqa: PLC0415

    producer = Producer({"bootstrap.servers": bootstrap})
    for variation, effect in (("coupon", 0.5), ("gift", 0.0)):
        record = Uplift(
            experiment="offers", version=1, timestamp=time_ms, segment=f"{variation}/all", variation=variation,
            control="none", metric="clicks", better="up", treated=100, controls=100, effect=effect, level=0.95,
        )  # fmt: skip
        for partition in range(PARTITIONS):
            key = f"offers/{variation}/all".encode()
            producer.produce(f"{prefix}uplift", msgspec.json.encode(record), key, partition, timestamp=time_ms)
    assert producer.flush(20) == 0


def test_a_shop_gets_better_lists_by_a_ranker_and_sees_what_each_step_after_it_costs(
    tidegate, own, example, shop, bootstrap, prefix, tmp_path, monkeypatch
):
    flows = {name: Process(name, bootstrap, prefix, tmp_path / name) for name in ("interactions", "signals", "ranking")}
    for flow in flows.values():
        flow.start()
    for flow in flows.values():
        flow.wait_ready(240)
    loop = example["OnKafka"](shop, own)
    loop.open()
    flows["ranking"]._wait(
        lambda: len(values(bootstrap, f"{prefix}ranking.catalogue")) >= 300, 60, "known to be a shop"
    )
    before = loop.go(BEFORE)
    code, said, trouble = tidegate("train", "ranker", "--leaves", "7", "--publish", "--anyway")
    assert code == 0, trouble
    time.sleep(1)
    after = [one for one in loop.go(AFTER) if one.answer.model != "fallback"]
    assert len(after) > AFTER / 2
    served = loop.served()

    # By the truth, on the same lists: the ranker against popularity. And everything is answered, once.
    mean = loop.means(after)
    popular = [example["by_popularity"](shop, served[one.answer.id]) for one in after]
    assert mean.ndcg > sum(popular) / len(popular) + 0.03
    assert Counter(one.answer.model for one in before) == {"fallback": BEFORE}
    assert "popularity" in said

    # The steps after the ranker, all on: each says its cost, and does what it is for.
    publish_uplift(bootstrap, prefix, loop.now_ms)
    assert flows["ranking"].terminate() == 0
    flows["ranking"].environment |= {
        "TIDEGATE_RANKING__UPLIFT": "true",
        "TIDEGATE_RANKING__RERANK": json.dumps(RERANK),
    }
    flows["ranking"].start().wait_ready(240)
    stepped = loop.go(STEPS)
    costs = loop.means(stepped).costs
    small, risky, coupon = zip(shares(shop, after), shares(shop, stepped), strict=True)
    assert set(costs) == {"uplift", "risk", "fairness"}
    assert 0 < sum(costs.values()) < 0.3
    assert small[1] > small[0]
    assert risky[1] < risky[0]
    assert coupon[1] > coupon[0]
    for flow in flows.values():
        assert flow.terminate() == 0

    answered = values(bootstrap, f"{prefix}ranking.results")
    assert Counter(one["id"] for one in answered) == Counter(f"list-{at}" for at in range(BEFORE + AFTER + STEPS))
    assert values(bootstrap, f"{prefix}dead-letters") == []
    quality = [
        one for one in values(bootstrap, f"{prefix}ranking.quality") if one["model"] not in ("fallback", "several")
    ]
    assert sum(one["clicked"] * (one["ndcg"] - one["ndcg_popularity"]) for one in quality) > 0
    assert tidegate("audit", "verify")[0] == 0
    print(example["table"](loop, {"fallback": before, "ranker": after, "with all steps": stepped}, served))


def test_lines_of_the_shop_are_published_under_their_keys(tidegate, own, bootstrap, prefix, tmp_path, shop):
    for records in (shop.items(), shop.history()[:500], shop.requests()[:500]):
        topic = records[0].topic
        (tmp_path / topic).write_bytes(b"\n".join(record.value for record in records))
        assert tidegate("publish", "--topic", topic, str(tmp_path / topic))[0] == 0
        found = read_committed(bootstrap, f"{prefix}{topic}", PARTITIONS)
        expected = [[], []]
        for record, at in zip(records, murmur2([record.key for record in records], PARTITIONS), strict=True):
            expected[at].append((record.key, record.value, record.timestamp_ms))
        assert found == expected
