"""Wording and overlaying, on small models whose every answer can be read off the model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, MinLen
from pydantic import BaseModel, ConfigDict

from flows.configuration import Draft, check, dotted, expected, overlay, prune


@dataclass(frozen=True, slots=True)
class Inner:
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    size: Annotated[int, Gt(0)] = 5
    windows_s: tuple[Annotated[int, Ge(1)], ...] = (60,)

    def __post_init__(self):
        if self.size in self.windows_s:
            raise ValueError("size must not be a window")


class Outer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "a"
    ratio: Annotated[float, Gt(0), Le(1)] = 0.5
    on: bool = True
    mode: Literal["fast", "slow"] = "fast"
    file: Path | None = None
    passed: dict[str, str] = {}
    inner: Inner = Inner()


def mistakes(data, environ=None):
    draft = Draft(data, "x.toml", hidden=(("passed",),))
    overlay(draft, Outer, "T_", environ or {}, lambda name: name == "T_EXTRA")
    prune(draft, Outer)
    model = check(draft, Outer)
    return model, draft.lines()


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Annotated[int, Gt(0)], "an integer > 0"),
        (Annotated[float, Gt(0), Le(1)], "a number > 0 and <= 1"),
        (Annotated[int, Interval(ge=1, lt=9)], "an integer >= 1 and < 9"),
        (Annotated[str, MinLen(1)], "a string of length >= 1"),
        (Annotated[float | None, Gt(0)], "a number > 0"),
        (bool, "true or false"),
        (Path | None, "a path"),
        (Literal["fast", "slow"], 'one of "fast", "slow"'),
        (tuple[Annotated[int, Ge(1)], ...], "a list, each an integer >= 1"),
        (dict[str, str], "a table"),
        (Inner, "a table"),
    ],
)
def test_what_is_expected_is_worded_from_the_annotation(annotation, text):
    assert expected(annotation) == text


def test_a_path_is_written_with_dots_and_brackets():
    assert dotted(("risk", "windows_s", 1)) == "risk.windows_s[1]"


def test_all_mistakes_are_found_at_once_with_their_sources():
    _, lines = mistakes({"ratio": 2.0, "inner": {"size": 0, "siz": 3}}, {"T_MODE": "medium"})

    assert lines == [
        "inner.siz: no such setting; did you mean size? (from x.toml)",
        "inner.size: expected an integer > 0, got 0 (from x.toml)",
        'mode: expected one of "fast", "slow", got "medium" (from T_MODE)',
        "ratio: expected a number > 0 and <= 1, got 2.0 (from x.toml)",
    ]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"inner": {"size": "5"}}, 'inner.size: expected an integer > 0, got "5" (from x.toml)'),
        ({"inner": {"size": True}}, "inner.size: expected an integer > 0, got true (from x.toml)"),
        ({"inner": {"size": 5.0}}, "inner.size: expected an integer > 0, got 5.0 (from x.toml)"),
        ({"on": 1}, "on: expected true or false, got 1 (from x.toml)"),
        ({"inner": 3}, "inner: expected a table, got 3 (from x.toml)"),
        ({"inner": {"windows_s": [60, 0]}}, "inner.windows_s[1]: expected an integer >= 1, got 0 (from x.toml)"),
        ({"ratio": float("nan")}, "ratio: expected a number > 0 and <= 1, got NaN (from x.toml)"),
    ],
)
def test_a_file_is_taken_at_its_word(data, line):
    assert mistakes(data)[1] == [line]


def test_a_check_of_the_dataclass_itself_is_reported_in_its_own_words():
    assert mistakes({"inner": {"size": 60}})[1] == ["inner: size must not be a window (from x.toml)"]


def test_a_list_in_the_file_becomes_a_tuple():
    model, _ = mistakes({"inner": {"windows_s": [1, 2]}})

    assert model.inner.windows_s == (1, 2)


def test_the_environment_wins_over_the_file():
    environ = {"T_RATIO": "0.25", "T_ON": "false", "T_INNER__SIZE": "7", "T_INNER__WINDOWS_S": "[1,2]", "T_FILE": "/k"}
    model, lines = mistakes({"ratio": 0.75, "inner": {"size": 9}}, environ)

    assert lines == []
    assert (model.ratio, model.on, model.inner, model.file) == (0.25, False, Inner(7, (1, 2)), Path("/k"))


def test_a_table_from_the_environment_is_merged_key_by_key():
    model, _ = mistakes({"passed": {"a": "1", "b": "2"}}, {"T_PASSED": '{"b": "3", "c": "4"}'})

    assert model.passed == {"a": "1", "b": "3", "c": "4"}


def test_an_unknown_variable_with_the_prefix_is_a_mistake():
    assert mistakes({}, {"T_RATOI": "1"})[1] == ["T_RATOI: no such setting; did you mean T_RATIO?"]


def test_a_known_variable_that_is_no_setting_is_left_alone():
    assert mistakes({}, {"T_EXTRA": "1", "PATH": "/bin"})[1] == []


def test_a_key_in_the_wrong_table_is_told_its_place():
    assert mistakes({"size": 3})[1] == ["size: no such setting; did you mean inner.size? (from x.toml)"]


@pytest.mark.parametrize("text", ["hunter2", '["hunter2"]', '{"a": "hunter2"'])
def test_a_table_that_is_not_json_is_a_mistake_that_does_not_show_it(text):
    _, lines = mistakes({}, {"T_PASSED": text})

    assert lines == ["passed: expected a table written as JSON (from T_PASSED)"]


def test_a_hidden_value_is_not_shown():
    _, lines = mistakes({"passed": {"password": ["hunter2"]}})

    assert lines == [
        "passed.password: expected a string, got something else (not shown: it may be a secret) (from x.toml)"
    ]


def test_a_long_value_is_shortened():
    (line,) = mistakes({"mode": "x" * 500})[1]

    assert len(line) < 150
