"""The deployment's files, read once."""

import json
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from operators.metrics import Metrics

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="session")
def alerts():
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="session")
def dashboard():
    return json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())


@pytest.fixture(scope="session")
def metrics():
    return Metrics(CollectorRegistry())
