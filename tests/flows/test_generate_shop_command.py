"""`tidegate generate` of a shop: lines for `tidegate publish`, and a loop that can be closed in a shell."""

import io
import json
from types import SimpleNamespace

import pytest

from flows import cli
from flows.commands import generate as command
from flows.commands._generate_shop import config_of
from flows.record_lines import LINES
from flows.shop.world import ShopConfig

TOPICS = {"items": "items", "interactions": "interactions", "requests": "ranking.requests", "clicks": "interactions"}


@pytest.fixture
def run(monkeypatch):
    def generate(*arguments, given=b""):
        out = SimpleNamespace(buffer=io.BytesIO())
        monkeypatch.setattr(command, "stdout", out)
        monkeypatch.setattr(command, "stdin", SimpleNamespace(buffer=io.BytesIO(given)))
        code = cli.main(["generate", *arguments])
        return code, out.buffer.getvalue()

    return generate


@pytest.mark.parametrize("what", ["items", "interactions", "requests"])
def test_lines_are_what_their_topic_holds_and_the_same_again(run, what):
    code, lines = run(what, "--at-once", "--limit", "50")

    assert (code, lines.count(b"\n")) == (0, 50)
    assert all(hasattr(LINES[TOPICS[what]](line, 1), "key") for line in lines.splitlines())
    assert run(what, "--at-once", "--limit", "50")[1] == lines
    assert run(what, "--at-once", "--limit", "50", "--seed", "8")[1] != lines


def test_there_are_as_many_requests_as_asked_for(run):
    assert run("requests", "--at-once", "--lists", "77")[1].count(b"\n") == 77


def test_answers_become_what_users_do_with_them_item_by_item(run):
    given = b'{"id":"list-3","items":[{"item":"item-4","score":1},{"item":"item-9"}],"model":"m"}\n\n'
    code, lines = run("clicks", "--at-once", given=given)
    found = [json.loads(line) for line in lines.splitlines()]

    assert code == 0
    assert [each["item"] for each in found if each["type"] == "impression"] == ["item-4", "item-9"]
    assert {each["ranking"] for each in found} == {"list-3"}


@pytest.mark.parametrize(
    "line",
    [b"nothing", b'{"id":"list-3"}', b'{"id":"order-3","items":[]}', b'{"id":"list-99999","items":[]}'],
)
def test_what_is_no_answer_for_this_shop_is_named_by_its_line(run, capsys, line):
    code, _ = run("clicks", "--at-once", given=b'{"id":"list-3","items":[]}\n' + line + b"\n")

    assert code == 1
    assert "line 2: expected a record of ranking.results for this shop" in capsys.readouterr().err


def arguments(**more):
    return SimpleNamespace(**{"seed": 7, "users": None, "lists": 10, "start": None, "at_once": False} | more)


def test_lists_end_with_the_last_full_hour_unless_a_start_is_given():
    """1,800,000 s after 1970 are 500 hours; half a day before are 488."""
    assert config_of(arguments(), now_ms=500 * 3_600_000 + 1).start_ms == 488 * 3_600_000
    assert config_of(arguments(start=5), now_ms=0).start_ms == 5
    assert config_of(arguments(at_once=True)).start_ms == ShopConfig().start_ms
