"""`tidegate assign` on a file's definition: the same answer as the function, and exposures as they are published."""

import io
import json
import sys
from pathlib import Path

import msgspec
import pytest

from experiments.assigner import Assigner
from flows import cli
from flows.event_files import EventFile, Ready, Refused
from flows.experiment_files import load_experiment
from flows.record_lines import LINES
from schemas.exposure import Exposure

START = 1_767_225_600_000
UNITS = ["ada", "bob", "eve", "ünï 7"]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.toml"
    path.write_text(
        'id = "x"\nvariations = ["control", "green"]\nattribution_window_s = 60\nminimum_run_s = 0\nmde = 0.1\n'
        "[[phases]]\nstart = 2026-01-01T00:00:00Z\ncoverage = 0.6\n"
        '[primary]\nname = "m"\nkind = "proportion"\nevent = "buy"\n'
    )
    return str(path)


@pytest.fixture
def assign(capsys):
    def run(*words):
        code = cli.main(["assign", *words, "--at", "2026-01-01T00:00:00Z"])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def typed(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_the_command_says_what_the_function_says(file, assign):
    function = Assigner(load_experiment(Path(file)))
    code, shown, _ = assign(file, "--json", "--unit", *UNITS)

    assert code == 0
    assert [json.loads(line) for line in shown.splitlines()] == [
        {"unit": unit, **function(unit, START)._asdict()} for unit in UNITS
    ]


def test_units_come_from_arguments_a_file_or_standard_input_alike(file, assign, tmp_path, monkeypatch):
    lines = "\r\n".join(UNITS).encode() + b"\n\n"
    (tmp_path / "units").write_bytes(lines)
    typed(monkeypatch, lines)
    ways = [("--unit", *UNITS), ("--file", str(tmp_path / "units")), ()]

    assert len({assign(file, "--json", *way)[1] for way in ways}) == 1


def test_the_table_says_none_and_why_and_the_sum_is_on_the_other_console(file, assign):
    _, shown, said = assign(file, "--unit", *(f"user-{number}" for number in range(50)))

    assert "not_covered" in shown
    assert " none " in shown
    assert said.startswith("50 units: control ")


def test_exposures_are_of_those_with_a_variation_and_ready_to_be_published(file, assign, tmp_path):
    function = Assigner(load_experiment(Path(file)))
    units = [f"user-{number}" for number in range(50)]
    shown = assign(file, "--exposures", "--unit", *units)[1]
    (tmp_path / "exposures.json").write_text(shown)
    with EventFile(tmp_path / "exposures.json", check=LINES["exposures"]) as lines:
        ready = list(lines)

    expected = [(unit, found) for unit in units if (found := function(unit, START)).variation]
    assert 0 < len(expected) < 50
    assert [(one.key.decode(), one.timestamp_ms) for one in ready] == [(unit, START) for unit, _ in expected]
    assert [msgspec.json.decode(one.value, type=Exposure) for one in ready] == [
        Exposure(
            experiment_id="x",
            variation_id=found.variation,
            user=unit,
            timestamp=START,
            phase=0,
            bucket=found.bucket,
        )
        for unit, found in expected
    ]


def test_units_that_no_exposure_can_hold_are_a_problem_and_the_others_are_assigned(file, assign):
    code, shown, said = assign(file, "--json", "--unit", "ada", "x" * 1025)

    assert (code, len(shown.splitlines())) == (1, 1)
    assert "problem: left out 1 unit: expected 1 to 1,024 characters of UTF-8" in said


def test_bytes_that_are_not_text_are_named_by_their_line(file, assign, monkeypatch):
    typed(monkeypatch, b"ada\n\xff\n")
    code, _, said = assign(file, "--json")
    assert (code, said) == (1, "tidegate: line 2: expected UTF-8, got other bytes\n")


def test_a_time_without_its_offset_is_refused(file, capsys):
    with pytest.raises(SystemExit):
        cli.main(["assign", file, "--at", "2026-01-01T00:00:00"])
    assert "expected a time with its offset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"no json", "expected JSON, got something else"),
        (b'{"experiment_id":"x","user":"u","timestamp":0}', "missing required field `variation_id`"),
        (b'{"experiment_id":"x","variation_id":"a","user":"","timestamp":0}', "at `$.user`"),
        (b'{"experiment_id":"x","variation_id":"a","user":"u","timestamp":-1}', "$.timestamp"),
    ],
)
def test_a_line_that_is_no_exposure_is_refused_with_what_is_wrong(line, why):
    refused = LINES["exposures"](line, 7)
    assert isinstance(refused, Refused)
    assert (refused.line, why in refused.why) == (7, True)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "expected JSON, got something else"),
        (b'{"user":"u","timestamp":0}', "missing required field `metric`"),
        (b'{"user":"u","metric":"m","timestamp":0,"value":"1"}', "at `$.value`"),
        (b'{"user":"u","metric":"m","timestamp":0,"id":""}', "at `$.id`"),
        (b'{"user":"u","metric":"m","timestamp":0.5}', "$.timestamp"),
    ],
)
def test_a_line_that_is_no_number_of_a_unit_is_refused_with_what_is_wrong(line, why):
    refused = LINES["metrics"](line, 7)
    assert isinstance(refused, Refused)
    assert (refused.line, why in refused.why) == (7, True)


def test_a_number_of_a_unit_is_keyed_by_its_user_at_its_time():
    line = b'{"user":"u","metric":"m","timestamp":"2026-01-01T01:00:00+01:00","fields":{"a":[1]}}'
    assert LINES["metrics"](line, 1) == Ready(1, b"u", line, START)


def test_an_exposures_time_may_be_written_as_rfc_3339():
    line = b'{"experiment_id":"x","variation_id":"a","user":"u","timestamp":"2026-01-01T01:00:00+01:00"}'
    assert LINES["exposures"](line, 1) == Ready(1, b"u", line, START)


@pytest.mark.parametrize("topic", ["exposures", "metrics"])
def test_records_of_units_are_not_published_from_csv_or_through_a_mapping(tmp_path, monkeypatch, capsys, topic):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["publish", "--topic", topic, "x.csv"]) == 1
    assert f"{topic} are published as JSON lines" in capsys.readouterr().err
