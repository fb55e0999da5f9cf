"""docs/ranking.md is held to the code: its example runs, its reasons are the reasons."""

import re

import numpy as np
import pytest

from ranking.rerank import REASONS


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
