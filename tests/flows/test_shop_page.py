"""docs/shop.md is held to the code: its example runs, its commands are commands."""

import re

import pytest

from flows import cli


@pytest.fixture
def page(repository):
    return (repository / "docs" / "shop.md").read_text(encoding="utf-8")


def test_the_example_plays_the_shop(page, repository, monkeypatch):
    monkeypatch.chdir(repository)
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(compile(code, "docs/shop.md", "exec"), names)

    assert names["mean"].lists == len(names["shown"]) == 200
    assert {one.answer.model for one in names["shown"]} == {"fallback"}


def test_its_commands_are_commands_with_these_arguments(page, capsys):
    shells = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ")
    commands = re.findall(r"tidegate ((?:[^|&\n])+)", shells)

    assert len(commands) > 10
    for words in commands:
        with pytest.raises(SystemExit) as ended:
            cli.main([*words.replace("$START", "2026-01-05T06:00:00Z").split(), "--help"])
        assert ended.value.code == 0
    capsys.readouterr()
