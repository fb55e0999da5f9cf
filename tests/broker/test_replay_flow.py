"""From a refused record to its decision: the risk flow, a setting that is mended, a replay."""

import json

import pytest
from harness import Flow, Sent, create_topics, publish, read_committed

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("settings")]

TIME_MS = 1_700_000_000_000


def ids(bootstrap, prefix):
    return sorted(
        json.loads(value)["id"] for one in read_committed(bootstrap, f"{prefix}risk.tiers") for _, value, _ in one
    )


def test_records_refused_for_a_setting_are_decided_once_it_is_mended_and_they_are_replayed(
    tidegate, bootstrap, prefix, tmp_path
):
    create_topics(bootstrap, prefix)
    events = [
        {"id": f"e{n}", "timestamp": TIME_MS + n, "user": f"u{n % 5}", "type": "t" * (200 if n % 4 == 0 else 1)}
        for n in range(20)
    ]
    records = [
        Sent(json.dumps(each).encode(), each["user"].encode(), each["timestamp"], n % 2)
        for n, each in enumerate(events)
    ]
    counts = publish(bootstrap, prefix, [*records, Sent(b"{", b"u", TIME_MS, 0)])
    strict = Flow(bootstrap, prefix, tmp_path / "log", TIDEGATE_RISK__DECODE__MAX_MESSAGE_BYTES="150").start()
    strict.wait_answered(counts)
    assert strict.terminate() == 0
    assert len(ids(bootstrap, prefix)) == 15

    flow = Flow(bootstrap, prefix, tmp_path / "log").start().wait_ready()
    assert tidegate("dead-letters", "replay")[1] == "replayed: 6 records (not_json 1, too_large 5)\n"
    flow._wait(lambda: len(ids(bootstrap, prefix)) >= 20, 60, "decided")
    # The one that is wrong in itself is refused again, and that is the end of it.
    flow._wait(lambda: sum(map(len, read_committed(bootstrap, f"{prefix}dead-letters"))) == 7, 30, "refused again")
    out = tidegate("dead-letters", "replay")[1]
    assert flow.terminate() == 0

    assert out.splitlines()[:2] == [
        "replayed: 0 records", "refused again after a replay: 1 record; --again replays them once more"
    ]  # fmt: skip
    assert ids(bootstrap, prefix) == sorted(each["id"] for each in events)
