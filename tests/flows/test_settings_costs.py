"""Costs of mistakes in the settings: all there, in order, and not without probabilities."""

import pytest
from test_settings import NOWHERE, complaints, written

from flows.settings import load_settings
from operators.tier import CostsConfig


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


LABELS = "[risk.labels]\nenabled = true\n"
COSTS = "[risk.costs]\nmissed = 100\nmedium = 1\nhigh = 5\ncritical = 50\n"


def test_costs_need_probabilities():
    assert complaints(COSTS) == ["risk: costs need probabilities: set probability.enabled = true (from tidegate.toml)"]
    settings = load_settings(written(LABELS + "[risk.probability]\nenabled = true\n" + COSTS), NOWHERE)
    assert settings.risk.costs == CostsConfig(missed=100, medium=1, high=5, critical=50)


def test_probabilities_need_labels():
    (line,) = complaints("[risk.probability]\nenabled = true\n")

    assert line == "risk: probabilities need labels: set labels.enabled = true (from tidegate.toml)"


def test_mistakes_in_costs_are_listed_together_with_the_others():
    table = "[risk.probability]\nenabled = true\nmethod = 'platt'\nwait_s = 0\n"
    table += "[risk.costs]\nmissed = -1\nmedium = 1\nhigh = 5\n"

    assert [line.partition(":")[0] for line in complaints(table)] == [
        "risk.costs.critical",
        "risk.costs.missed",
        "risk.probability.method",
        "risk.probability.wait_s",
    ]


def test_a_dearer_tier_must_cost_more():
    (line,) = complaints("[risk.probability]\nenabled = true\n" + COSTS.replace("high = 5", "high = 500"))

    assert "expected medium < high < critical, got medium = 1.0, high = 500.0, critical = 50.0" in line
