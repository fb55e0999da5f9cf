"""The laws of the observe stage: cuts do not matter, snapshots do not show, muted is as live."""

import dataclasses
import random

import pytest
from bad_records import MOST
from observe_streams import (
    BUYERS,
    NOW,
    decision,
    definition,
    definitions,
    event,
    exposed,
    exposures,
    joined,
    number,
    observe,
    side,
)
from streams import GARBAGE

from operators.batches import Span
from operators.observe import Observe, ObserveConfig
from operators.side import Side
from operators.state import Stage, pack, unpack

USERS = ("ada", "bob", "cy", "x" * 200)


def stream(seed, topic, n=300):
    """Return records of a topic, with garbage, repeats, ticks, strangers and other things among them."""
    rng = random.Random(seed)
    found = []
    for at in range(n):
        user, time = {"user": rng.choice(USERS)}, {"timestamp": NOW + rng.randrange(-(10**6), 10**5)}
        if rng.random() < 0.1:
            found.append(rng.choice(GARBAGE))
        elif topic == "exposures":
            names = {"experiment_id": rng.choice(("button", "other", "tidegate.time", "unknown"))}
            arm = {"variation_id": rng.choice(("control", "green", "blue"))}
            found.append(exposed(**user, **time, **names, **arm, bucket=rng.randrange(10_000)))
        elif topic == "metrics":
            found.append(number(**user, **time, value=rng.random(), **({"id": f"m-{at // 3}"} if at % 2 else {})))
        elif topic == "events":
            found.append(event(**user, **time, id=f"e-{at // 3}", amount=rng.random()))
        else:
            found.append(decision(**time, id=f"e-{at}", tier=rng.choice(("unknown", "low", "critical"))))
    return found


def items(seed):
    """Return batches and side records in turn, with definitions that come, change and go."""
    whole, found = exposures(*stream(seed, "exposures"), first=0), []
    second = definition("other", version=2, secondary=(BUYERS,))
    between = {
        0: [definitions(definition(secondary=(BUYERS,)))],
        100: [definitions(definition("other"), second), side("metrics", stream(seed, "metrics"))],
        200: [side("events", stream(seed, "events")), side("experiments.definitions", [None, b"{"], [b"button", b"x"])],
        300: [side("risk.tiers", stream(seed, "risk.tiers")), side("metrics", stream(seed + 1, "metrics"))],
    }
    for at, sides in between.items():
        found += sides
        if at < 300:
            found.append(piece(whole, at, at + 100))
    return found


def piece(item, first, end):
    """Return some records of a batch or of side records."""
    chosen = slice(first, end)
    names = ("values", "keys", "offsets", "timestamps_ms")
    parts = {name: list(getattr(item, name))[chosen] for name in names}
    offsets = parts["offsets"]
    if isinstance(item, Side):
        return dataclasses.replace(item, **parts, first=offsets[0], next=offsets[-1] + 1)
    return dataclasses.replace(item, **parts, span=Span(0, offsets[0], offsets[-1] + 1, item.span.muted))


def cut(all_items, seed, most=40):
    """Return the same items in pieces."""
    rng, found = random.Random(seed), []
    for item in all_items:
        at = 0
        while at < len(item.values):
            end = min(len(item.values), at + rng.randrange(1, most))
            found.append(piece(item, at, end))
            at = end
    return found


def fresh():
    return Observe(ObserveConfig(max_message_bytes=MOST, cache_entries=4), observe().pseudonymizer)


def told(stage, all_items, restarts=()):
    """Return all that a stage says of items, joined, and its last state; put it down and up before some of them."""
    answers, rejected, defined, changes = [], [], {}, []
    for at, given in enumerate(all_items):
        item = dataclasses.replace(given)
        if at in restarts:
            state = unpack(pack(stage.dump()))
            stage = fresh()
            stage.load(state)
        if isinstance(item, Side):
            stage.take_side(item)
        answer = item if isinstance(item, Side) else stage.process(item)
        rejected += answer.rejected
        if answer.observed is not None:
            answers.append(answer)
        if isinstance(item, Side) and item.definitions is not None:
            defined |= item.definitions
            changes += item.changes
    return joined(answers), rejected, defined, changes, pack(stage.dump())


def test_observe_is_a_stage():
    assert isinstance(fresh(), Stage)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cuts_do_not_matter(seed):
    assert told(fresh(), cut(items(seed), seed)) == told(fresh(), items(seed))


def test_records_may_come_alone():
    assert told(fresh(), cut(items(4), 4, most=2)) == told(fresh(), items(4))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_snapshot_does_not_show(seed):
    pieces = cut(items(seed), seed)
    restarts = random.Random(seed).sample(range(len(pieces)), 20)

    assert told(fresh(), pieces, restarts) == told(fresh(), pieces)


def test_muted_is_as_live():
    live = items(1)
    muted = [
        dataclasses.replace(item, muted=True)
        if isinstance(item, Side)
        else dataclasses.replace(item, span=dataclasses.replace(item.span, muted=True))
        for item in live
    ]

    assert told(fresh(), muted) == told(fresh(), live)


def test_the_streams_of_the_laws_have_everything_in_them():
    rows, rejected, defined, changes, _ = told(fresh(), items(1))

    assert {"0", "1", "2", "3"} == set(rows["kind"])
    assert {"-1", "0", "1", "4"} <= set(rows["arm"])
    assert len(rejected) > 50
    assert {each.detail["changed"] for each in changes} == {"new", "secondary", "taken back"}
    assert defined["button"] is None


def test_a_new_key_of_pseudonyms_is_another_fingerprint():
    other = Observe(ObserveConfig(), type(observe().pseudonymizer)(b"other" * 8))

    assert other.fingerprint != fresh().fingerprint
