"""The metrics on the pages of ranking are those there are, and those of each stage are on its page."""

import re

import pytest
from prometheus_client import CollectorRegistry

from operators.answer import Answer
from operators.audit import Chain
from operators.metrics import Metrics
from operators.metrics_of_ranking import OF_RANKING
from operators.rank import Rank, RankConfig
from operators.recall.config import RecallConfig
from operators.recall.stage import Recall
from operators.rerank import Rerank
from operators.rerank.config import RerankConfig

PAGES = ("candidates", "fairness", "ranking", "signals")


@pytest.fixture(scope="module")
def named(repository):
    def read(page):
        text = (repository / "docs" / f"{page}.md").read_text(encoding="utf-8")
        return set(re.findall(r"tidegate_\w+", text.replace("`_", "`tidegate_ranking_")))

    return {page: read(page) for page in PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_the_metrics_on_a_page_are_declared(named, page):
    assert named[page] <= set(Metrics(CollectorRegistry()).declared)


def test_every_metric_of_ranking_is_on_a_page(named):
    assert {name for name, *_ in OF_RANKING} <= set().union(*named.values())


def test_what_recall_measures_is_on_the_page_of_candidates(named):
    assert {one.metric for one in Recall(RecallConfig()).measurements()} <= named["candidates"]


def test_what_is_measured_from_the_ranker_to_the_answer_is_on_the_page_of_ranking(named):
    answer = Answer("ranking", Chain(b"k" * 32, "ranking", 0, {}))
    stages = (Rank(RankConfig(), ("a",)), Rerank(RerankConfig()), answer)
    measured = {one.metric for stage in stages for one in stage.measurements()}

    assert measured - {"tidegate_audit_sequence"} <= named["ranking"]  # the audit trail is of every flow
