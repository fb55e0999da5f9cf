"""docs/fairness.md is held to the code: its settings are the defaults, its metrics are those there are."""

import re
import tomllib
from dataclasses import asdict

import pytest
from prometheus_client import CollectorRegistry

from operators.judge import Judge, JudgeConfig
from operators.metrics import Metrics
from operators.metrics_of_ranking import OF_RANKING


@pytest.fixture(scope="module")
def text(repository):
    return (repository / "docs" / "fairness.md").read_text(encoding="utf-8")


def test_the_settings_on_the_page_are_all_there_are_with_their_defaults(text):
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    told = tomllib.loads(block)["ranking"]["judge"]

    assert told == {
        name: list(each) if isinstance(each, tuple) else each for name, each in asdict(JudgeConfig()).items()
    }


def test_the_metrics_on_the_page_are_declared_and_those_of_the_stage_are_on_it(text):
    declared = Metrics(CollectorRegistry()).declared
    whole = text.replace("`_", "`tidegate_ranking_")
    named = set(re.findall(r"tidegate_\w+", whole))

    assert named <= set(declared)
    names = [name for name, *_ in OF_RANKING]
    of_stage = set(names[names.index("tidegate_ranking_quality_time_seconds") :])
    assert {name for name, *_ in Judge(JudgeConfig(), ("one",)).measurements()} <= of_stage <= named


def test_a_list_takes_the_bytes_that_the_page_says(text):
    config = JudgeConfig(max_lists=64)
    (said,) = re.findall(r"per partition; ([\d.]+) kB each", text)

    assert Judge(config).nbytes / 64 == pytest.approx(1_000 * float(said), rel=0.1)
