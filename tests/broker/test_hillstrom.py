"""The e-mail test of MineThatData as a newcomer runs it: applied, published, counted, read, killed in between."""

import csv
import gzip
import itertools
import json
import random
import runpy
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from harness import ROOT, Flow, read_committed

pytestmark = pytest.mark.broker

PARTITIONS = 4
CUSTOMERS = 6_000


@pytest.fixture
def table(real_data, tmp_path):
    """The first rows of the real table, as a file."""
    path = tmp_path / "hillstrom.csv"
    with gzip.open(real_data("hillstrom", "hillstrom.csv.gz"), "rt") as file:
        path.write_text("".join(itertools.islice(file, 1 + CUSTOMERS)))
    return path


def by_hand(table):
    """Return customers, and the means of visits and of spending, by arm, from the table."""
    names = {"No E-Mail": "none", "Mens E-Mail": "mens", "Womens E-Mail": "womens"}
    units, visits, spent = Counter(), Counter(), Counter()
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            arm = names[row["segment"]]
            units[arm] += 1
            visits[arm] += int(row["visit"])
            spent[arm] += min(float(row["spend"]), 500)
    return {arm: (units[arm], visits[arm] / units[arm], spent[arm] / units[arm]) for arm in units}


class Process(Flow):
    """One process of a flow of experiments."""

    def __init__(self, name, bootstrap, prefix, log):
        section = f"TIDEGATE_{name.upper()}__"
        super().__init__(
            bootstrap,
            prefix,
            log,
            **{
                section + "GROUP": f"{prefix}{name}",
                section + "COMMIT_INTERVAL_MS": "100",
                section + "SNAPSHOT_INTERVAL_S": "1",
                section + "BATCH_MAX": "500",
                "TIDEGATE_TOPICS__PARTITIONS": str(PARTITIONS),
            },
        )
        self.command = [sys.executable, "-m", "flows", "run", name]


def newest(bootstrap, prefix):
    """Return the newest readout, None before there is one."""
    found = [value for _, value, _ in itertools.chain(*read_committed(bootstrap, f"{prefix}experiments.readouts", 4))]
    return json.loads(found[-1]) if found else None


@pytest.mark.usefixtures("topics")
def test_a_newcomer_reads_readout_decision_report_and_audit_trail_though_the_flows_are_killed(
    tidegate, bootstrap, prefix, table, tmp_path, monkeypatch
):
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", "a key for tests only, 32 bytes..")
    convert = runpy.run_path(str(ROOT / "examples" / "hillstrom.py"))["main"]
    files = [tmp_path / "exposures.json", tmp_path / "metrics.json"]
    convert(str(table), *map(str, files))
    assert tidegate("experiments", "apply", str(ROOT / "examples" / "hillstrom.toml"))[0] == 0
    for topic, path in zip(("exposures", "metrics"), files, strict=True):
        assert tidegate("publish", "--topic", topic, str(path))[0] == 0
    flows = [Process(name, bootstrap, prefix, tmp_path / name).start() for name in ("experiments", "readouts")]
    rng = random.Random(11)
    for flow in flows:
        flow.wait_ready()
        time.sleep(2 * rng.random())
        flow.kill()
        flow.start()
    assert tidegate("experiments", "tick", "--at", "2008-05-01T00:00:00Z")[0] == 0

    def counted():
        readout = newest(bootstrap, prefix)
        return (
            readout is not None
            and readout["comparisons"][0]["control"]["units"] == truth["none"][0]
            and (
                sum(each["arm"]["units"] for each in readout["comparisons"][:2])
                == truth["mens"][0] + truth["womens"][0]
            )
        )

    truth = by_hand(table)
    flows[1]._wait(counted, 120, "counted")
    comparisons = {
        (each["metric"], each["arm"]["variation"]): each for each in newest(bootstrap, prefix)["comparisons"]
    }
    for arm in ("mens", "womens"):
        for place, metric in ((1, "visit"), (2, "spend")):
            assert comparisons[metric, arm]["arm"]["mean"] == pytest.approx(truth[arm][place], rel=1e-5)
            assert comparisons[metric, arm]["control"]["mean"] == pytest.approx(truth["none"][place], rel=1e-5)
    code, shown, _ = tidegate("experiments", "show", "hillstrom")
    assert (code, "ship mens" in shown) == (0, True)
    assert tidegate("experiments", "report", "hillstrom", "-o", str(tmp_path / "report.html"))[0] == 0
    assert "mens is better" in Path(tmp_path / "report.html").read_text()
    said = [
        json.loads(value)
        for _, value, _ in itertools.chain(*read_committed(bootstrap, f"{prefix}experiments.decisions", 4))
    ]
    decisions = [one["decision"] for one in said]
    assert decisions == [each for each, _ in itertools.groupby(decisions)]  # each is said once, when it changes
    assert said[-1]["variation"] == "mens"
    assert tidegate("audit", "verify")[0] == 0
    for flow in flows:
        assert flow.terminate() == 0
