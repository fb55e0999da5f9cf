"""The command line: what it loads, what it says, and its exit codes."""

import subprocess
import sys

import pytest

from flows import cli

HEAVY = ("pydantic", "numba", "numpy", "confluent_kafka", "bytewax", "rich", "msgspec")


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def python(code, repository):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_help_loads_nothing_heavy(repository):
    code = f"""
import sys
from flows import cli
try:
    cli.main(["--help"])
except SystemExit:
    print([name for name in {HEAVY} if name in sys.modules])
"""
    assert python(code, repository).splitlines()[-1] == "[]"


def test_the_package_runs_as_a_module(repository):
    done = subprocess.run(
        [sys.executable, "-m", "flows", "--help"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.startswith("usage: tidegate ")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    shown = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if name not in shown] == []


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name != "demo"])
def test_every_command_has_help_of_its_own(name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])

    assert ended.value.code == 0
    assert f"usage: tidegate {name} " in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "nothing"],
        ["topics"],
        ["publish"],
        ["publish", "f", "--rate", "0"],
        ["publish", "f", "--rate", "inf"],
        ["publish", "f", "--limit", "0"],
        ["watch", "risk.tiers", "--tier", "lowish"],
        ["dead-letters", "list", "--reason", "no_reason"],
    ],
)
def test_wrong_arguments_end_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)

    assert ended.value.code == 2
    assert "usage: tidegate" in capsys.readouterr().err


def test_mistakes_in_the_settings_are_listed_without_a_traceback(tmp_path, capsys):
    path = tmp_path / "bad.toml"
    path.write_text("[risk]\nbatch_max = 0\n[log]\nlevel = 'loud'\n")

    assert cli.main(["--config", str(path), "topics", "list"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "tidegate: the settings cannot be used:",
        f'  log.level: expected one of "debug", "info", "warning", "error", got "loud" (from {path})',
        f"  risk.batch_max: expected an integer > 0 and <= 100000, got 0 (from {path})",
    ]


def test_the_settings_can_be_named_after_the_command_too(tmp_path, capsys):
    assert cli.main(["topics", "--config", str(tmp_path / "missing.toml"), "list"]) == 2
    assert "missing.toml: cannot be read" in capsys.readouterr().err


def test_a_flow_without_a_key_does_not_start(capsys, monkeypatch):
    monkeypatch.delenv("TIDEGATE_PSEUDONYM_KEY", raising=False)

    assert cli.main(["run", "risk"]) == 2
    assert "openssl rand -hex 32" in capsys.readouterr().err


def test_mistakes_in_a_mapping_are_listed_without_a_traceback(tmp_path, capsys):
    (tmp_path / "m.toml").write_text("[event]\n")

    assert cli.main(["publish", "events.json", "--mapping", str(tmp_path / "m.toml")]) == 2
    assert "event.user: missing, and every event needs it" in capsys.readouterr().err


def test_a_broker_that_does_not_answer_is_named(monkeypatch, capsys):
    # Port 1 of the loopback interface: nothing listens there.
    monkeypatch.setenv("TIDEGATE_KAFKA__BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setattr("connectors.clients.Admin.__init__.__defaults__", ("admin", 1.0))

    assert cli.main(["topics", "list"]) == 1
    error = capsys.readouterr().err
    assert "tidegate: no broker answered at 127.0.0.1:1 within 1 s" in error
    assert "Connection refused" in error


def test_ctrl_c_ends_with_130():
    def interrupted(_):
        raise KeyboardInterrupt

    assert cli._guarded(interrupted, None) == 130


def test_an_error_nobody_foresaw_keeps_its_traceback():
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli._guarded(broken, None)
