"""Signals of the Open Bandit sample, through the very stages, against counts of the published tables by NumPy."""

import csv
import gzip
import json
import runpy
from types import SimpleNamespace

import numpy as np
import pytest

from flows.record_lines import LINES
from operators.batches import Messages, Span
from operators.decode import Pseudonymizer
from operators.notice import Notice, NoticeConfig
from operators.noticed import item_key
from operators.partitioner import murmur2
from operators.signals.config import CountItemsConfig
from operators.signals.merge import MergeItems, MergeItemsConfig
from operators.signals.rows import Interactions
from operators.signals.stage import CountItems
from ranking.rates import place_propensities

PARTITIONS = 3
DAYS = 8
"""One more than the sample has: the window holds all of it."""
SMOOTHING, CLIP = 10.0, 1.1
CAMPAIGNS = [(policy, campaign) for policy in ("random", "bts") for campaign in ("all", "men", "women")]


@pytest.fixture(scope="module")
def example(repository):
    return SimpleNamespace(**runpy.run_path(str(repository / "examples" / "open_bandit.py")))


@pytest.fixture(scope="module")
def log(real_data):
    """Return a function: a log's path."""
    found = real_data("obd_sample")
    return lambda policy, campaign: found / policy / campaign / f"{campaign}.csv.gz"


def table(path):
    """Return item, place from 0 and click of each row, as the published table has them."""
    with gzip.open(path, "rt") as lines:
        rows = [(int(row["item_id"]), int(row["position"]) - 1, int(row["click"])) for row in csv.DictReader(lines)]
    return np.array(rows).T


def chances(path):
    """Return the chance of each place to be seen, from a log of the random policy."""
    _, place, click = table(path)
    return place_propensities(np.bincount(place, click), np.bincount(place))


def published(example, path):
    """Return the lines of `interactions` of a log."""
    return [
        json.dumps(event).encode()
        for number, row in enumerate(example.rows(path))
        for event in example.interactions(row, number)
    ]


def signals(lines, places):
    """Publish, read, count and merge: item key -> name -> value."""
    config = CountItemsConfig(windows_s=(DAYS * 86_400,), propensities=tuple(places.tolist()), clip=CLIP)
    merge = MergeItems(MergeItemsConfig(smoothing=SMOOTHING), config, PARTITIONS)
    ready = [LINES["interactions"](line, number) for number, line in enumerate(lines, 1)]
    at = murmur2([each.key for each in ready], PARTITIONS)
    for partition in range(PARTITIONS):
        own = [ready[number] for number in np.flatnonzero(at == partition)]
        n = len(own)
        batch = Messages(
            Span(partition, 0, n),
            "interactions",
            [each.value for each in own],
            [each.key for each in own],
            list(range(n)),
            [each.timestamp_ms for each in own],
        )
        noticed = Notice(NoticeConfig(), Pseudonymizer(b"k" * 32)).process(batch)
        rows, stage = noticed.rows, CountItems(config)
        assert noticed.rejected == []
        stage.process(
            Interactions(
                batch.span,
                batch.topic,
                rows.offsets,
                rows.kind,
                rows.item,
                rows.user,
                rows.time_ms,
                rows.id_hash,
                rows.position,
                np.ones(n),
                np.zeros(n, np.bool_),
            )
        )
        merge.take(partition, stage.totals(stage.changed()))
    found = merge.signals(np.arange(len(merge)))
    return {
        item: dict(zip(merge.names, row, strict=True))
        for item, row in zip(found.items.tolist(), found.values, strict=True)
    }


def smoothed(hits, shown):
    """(w + hits) / (w x impressions / hits, of all items, + impressions); docs/ranking.md."""
    return (SMOOTHING + hits) / (SMOOTHING * shown.sum() / hits.sum() + shown)


@pytest.mark.parametrize(("policy", "campaign"), CAMPAIGNS)
def test_counts_rates_and_debiased_rates_are_those_of_the_tables(example, log, policy, campaign):
    path = log(policy, campaign)
    places = chances(log("random", campaign))
    item, place, click = table(path)
    shown, clicks = np.bincount(item), np.bincount(item, click)
    debiased = np.bincount(item, click * np.minimum(1.0 / places[place], CLIP))
    found = signals(published(example, path), places)
    told = [found[item_key(f"item-{number}")] for number in np.unique(item)]
    there = shown > 0

    assert len(found) == there.sum()
    for name, expected in (
        ("impressions", shown),
        ("clicks", clicks),
        ("click_rate", smoothed(clicks, shown)),
        ("debiased_rate", smoothed(debiased, shown)),
        ("exposure_share", shown / shown.sum()),
    ):
        assert [each[f"{name}_{DAYS}d"] for each in told] == pytest.approx(expected[there].tolist(), rel=1e-12), name


def test_the_clip_counts_in_some_campaign(log):
    """Else it would not be under test."""
    assert any((1.0 / chances(log("random", campaign)) > CLIP).any() for campaign in ("all", "men", "women"))


@pytest.mark.parametrize("campaign", ["all", "men"])
def test_items_and_requests_of_a_campaign_are_what_their_topics_hold(example, log, campaign):
    path = log("random", campaign)
    rows = list(example.rows(path))[:200]
    items = example.items(path, example.milliseconds(rows[0]))
    requests = [example.request(row, number) for number, row in enumerate(rows)]
    keys = [LINES["items"](json.dumps(each).encode(), 1).key for each in items]

    assert len(set(keys)) == {"all": 80, "men": 34}[campaign]
    for row, request in zip(rows, requests, strict=True):
        ready = LINES["ranking.requests"](json.dumps(request).encode(), 1)
        assert (ready.key.decode(), ready.timestamp_ms) == (example.user(row), example.milliseconds(row))
        assert {each["id"].encode() for each in request["items"]} == set(keys)
        affinities = [float(value) for name, value in row.items() if name.startswith("user-item_affinity_")]
        assert [(each.get("fields") or [{"value": 0}])[0]["value"] for each in request["items"]] == affinities
