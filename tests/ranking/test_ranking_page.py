"""docs/ranking.md is held to the code: its example runs, its reasons are the reasons."""

import re

import msgspec
import numpy as np
import pytest

from ranking.gain import kept
from ranking.rerank import REASONS
from schemas.ranked import RankedList
from schemas.ranking_request import RankingRequest


@pytest.fixture
def page(repository):
    return (repository / "docs" / "ranking.md").read_text(encoding="utf-8")


def test_the_example_gives_what_it_says(page):
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(compile(code, "docs/ranking.md", "exec"), names)
    found = names["found"]
    said = dict(re.findall(r"^(\S.*?) +# (.*)$", code, re.MULTILINE))

    assert said["table = cautious_adjusted(5, 0.8, 0.1).table"].startswith(str(names["table"]))
    assert said["found.after"] == str(found.after)
    assert said["found.steps[0].moves(5)[1]"] == str(found.steps[0].moves(5)[1])
    assert [float(number) for number in re.findall(r"\d?\.\d+", said["round(found.cost, 3)"])] == pytest.approx(
        np.round([found.cost, *(step.cost for step in found.steps)], 3)
    )


def test_every_reason_stands_in_the_page(page):
    assert [reason for reason in REASONS if reason != "kept" and f"`{reason}`" not in page] == []


def test_the_requests_and_the_answer_of_the_page_are_such(page):
    asked, answer = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    requests = [msgspec.json.decode(line, type=RankingRequest) for line in asked.splitlines()]
    result = msgspec.json.decode(answer, type=RankedList)

    assert result.id == requests[0].id
    assert {each.item for each in result.items} == {each.id for each in requests[0].items} == set(result.before)
    assert [result.before.index(each.item) + 1 for each in result.items] == [each.before for each in result.items]
    scores = [each.score for each in result.items]
    assert result.steps[0].cost == pytest.approx(1 - kept(scores, [0, 1, 2], 3), rel=1e-3)
