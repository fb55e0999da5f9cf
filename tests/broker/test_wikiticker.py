"""Real events, driven as a newcomer would: topics, publish with a mapping, run, kill, run, watch."""

import json
import os
from collections import Counter
from pathlib import Path

import harness
import pytest
from harness import KEY, ROOT, Flow, committed

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("settings")]

DATA = ROOT.parent / "shared" / "data" / "wikiticker"
EDITS = 39_244


@pytest.fixture
def file() -> Path:
    found = sorted(DATA.glob("*.json*"))
    if not found:
        missing = f"no wikiticker data in {DATA}"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return found[0]


def test_a_day_of_wikipedia_is_answered_once_though_the_flow_is_killed(
    tidegate, bootstrap, prefix, tmp_path, file, monkeypatch
):
    monkeypatch.setenv("TIDEGATE_TOPICS__PARTITIONS", str(harness.PARTITIONS))
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", KEY)
    assert tidegate("topics", "create")[0] == 0
    flow = Flow(bootstrap, prefix, tmp_path / "log", TIDEGATE_RISK__SNAPSHOT_INTERVAL_S="1").start().wait_ready()
    mapping = str(ROOT / "examples" / "wikiticker.mapping.toml")
    assert tidegate("publish", str(file), "--mapping", mapping)[0] == 0
    flow._wait(lambda: sum(committed(bootstrap, flow.group, f"{prefix}events")) > 0, 60, "begun")
    flow.kill()

    flow.start().wait_ready()
    flow._wait(lambda: sum(committed(bootstrap, flow.group, f"{prefix}events")) == EDITS, 60, "done")
    assert flow.terminate() == 0

    code, out, _ = tidegate("watch", "risk.tiers", "--from", "beginning", "--json", "--limit", str(EDITS))
    decisions = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len({(each["partition"], each["offset"]) for each in decisions}) == len(decisions) == EDITS
    assert {each["id"] for each in decisions} == {f"wikiticker-{number}" for number in range(1, EDITS + 1)}
    tiers = Counter(each["tier"] for each in decisions)
    judged = EDITS - tiers["unknown"]
    # The budgets are 1 % from medium up, 0.1 % from high up, and the day is not stationary: docs/calibration.md has 1.7
    # and 2.6 times the one with 1 and 4 partitions, 2.9 and 5 times the other.
    assert 0.01 * judged < tiers["medium"] + tiers["high"] + tiers["critical"] < 0.026 * judged
    assert 0 < tiers["high"] + tiers["critical"] < 0.005 * judged
