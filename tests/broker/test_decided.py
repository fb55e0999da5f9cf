"""From what an application publishes to what `tidegate experiments show` says, through both flows on a real Kafka."""

import json
import sys
import time

import numpy as np
import pytest
from harness import Flow
from shoppers import by_hand, people

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("topics")]

HOUR_MS = 3_600_000


class Of(Flow):
    """One process of `tidegate run FLOW`."""

    def __init__(self, flow, bootstrap, prefix, log):
        super().__init__(bootstrap, prefix, log)
        self.command = [sys.executable, "-m", "flows", "run", flow]
        self.environment |= {
            f"TIDEGATE_{flow.upper()}__GROUP": f"{prefix}{flow}",
            f"TIDEGATE_{flow.upper()}__COMMIT_INTERVAL_MS": "100",
            "TIDEGATE_TOPICS__PARTITIONS": "4",
        }


def written(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_an_effect_comes_out_as_the_figures_of_the_published_records_and_ships(tidegate, bootstrap, prefix, tmp_path):
    """2,000 units; green spends 60 % more. Means, units and lift against the records themselves, in plain Python."""
    began = int(time.time() * 1000) - HOUR_MS
    exposures, records = people(3, n=2_000, start_ms=began + 1)
    arms = {each["user"]: each["variation_id"] for each in exposures}
    records = [each | {"value": each["value"] * (1.6 if arms[each["user"]] == "green" else 1.0)} for each in records]
    definition = tmp_path / "button.toml"
    definition.write_text(
        'id = "button"\nvariations = ["control", "green"]\nattribution_window_s = 600\nminimum_run_s = 0\nmde = 0.1\n'
        "cuped = false\n"
        f"[[phases]]\nstart = {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(began / 1000))}\n"
        '[primary]\nname = "revenue"\nkind = "mean"\nevent = "revenue"\ntopic = "metrics"\n'
        '[[secondary]]\nname = "buyers"\nkind = "proportion"\nevent = "revenue"\ntopic = "metrics"\n'
    )
    assert tidegate("experiments", "apply", str(definition))[0] == 0
    assert tidegate("experiments", "show", "button")[0] == 1
    for topic, lines in (("exposures", exposures), ("metrics", records)):
        assert tidegate("publish", "--topic", topic, written(tmp_path / f"{topic}.json", lines))[0] == 0
    assert tidegate("experiments", "tick")[0] == 0
    flows = [Of(name, bootstrap, prefix, tmp_path / name).start() for name in ("experiments", "readouts")]

    def shown():
        code, said, _ = tidegate("experiments", "show", "button", "--json")
        return json.loads(said) if code == 0 else None

    def whole():
        found = shown()
        return found is not None and found["readout"]["comparisons"][0]["control"]["units"] >= n[0, 0]

    n, total, _ = np.moveaxis(by_hand(exposures, records), -1, 0)
    flows[1]._wait(whole, 120, "whole")
    flows[1]._wait(lambda: shown()["decision"]["decision"] == "ship", 30, "shipped")
    found, table = shown(), tidegate("experiments", "show", "button")[1]
    assert [flow.terminate() for flow in flows] == [0, 0]
    revenue, buyers = found["readout"]["comparisons"]
    means = total / n

    for at, one in enumerate((revenue, buyers)):
        assert [one[arm]["units"] for arm in ("control", "arm")] == n[at].tolist()
        assert [one[arm]["mean"] for arm in ("control", "arm")] == pytest.approx(means[at], rel=1e-5)
        assert one["unadjusted"]["lift"] == pytest.approx(means[at, 1] / means[at, 0] - 1, rel=1e-4)
    assert found["readout"]["sample_ratio"][0]["counts"] == n[0].tolist()
    assert (found["decision"]["decision"], found["decision"]["variation"]) == ("ship", "green")
    assert "ship green, since" in table
