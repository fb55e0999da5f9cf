"""`tidegate experiments`, as far as it needs no broker."""

import msgspec
import pytest

from flows import cli
from flows.commands import CommandError, _definitions
from flows.commands._tick import tick
from flows.settings import Settings
from schemas.definition import Definition, Metric, Phase

ONE = Definition(
    id="x",
    version=1,
    timestamp=0,
    seed="x",
    variations=("a", "b"),
    phases=(Phase(start=0, coverage=1.0, weights=(0.5, 0.5)),),
    primary=Metric(name="m", kind="mean", event="e"),
    alpha=0.05,
    tuning_n=5_000,
    attribution_window_s=60,
    minimum_run_s=0,
    mde=0.1,
    cuped=True,
)


def taken(*records):
    found = _definitions.Held({}, set())
    for key, value in records:
        _definitions._take(found, key, value)
    return found


def wire(**fields):
    return msgspec.json.encode(msgspec.structs.replace(ONE, **fields))


def test_mistakes_are_told_before_anything_connects(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.toml"
    path.write_text("")

    assert cli.main(["experiments", "apply", str(path)]) == cli.MISUSED
    shown = capsys.readouterr().err
    assert shown.startswith(f"tidegate: the definitions cannot be used:\n  {path}: attribution_window_s: expected")


def test_the_newest_record_of_a_key_counts():
    assert taken(("x", wire()), ("x", wire(version=2))).of("x").version == 2


def test_a_tombstone_takes_a_definition_away():
    assert taken(("x", wire()), ("x", None)).of("x") is None


@pytest.mark.parametrize("value", [b"no json", b"{}", wire(id="y"), wire().replace(b'"schema":1', b'"schema":2')])
def test_what_cannot_be_read_is_never_taken_for_nothing(value):
    with pytest.raises(CommandError, match="the newest definition of x cannot be read"):
        taken(("x", wire()), ("x", value)).of("x")


def several(*partitions):
    return _definitions.together([taken(*records) for records in partitions])


def test_the_highest_version_of_all_partitions_counts_and_the_others_lack_it():
    found = several([("x", wire(version=2))], [("x", wire(version=3))], [], [("x", wire(version=3))])
    assert (found.of("x").version, found.missing) == (3, {"x": [0, 2]})


def test_of_two_definitions_of_one_version_the_later_counts():
    found = several([("x", wire(timestamp=5))], [("x", wire(timestamp=4))])
    assert (found.of("x").timestamp, found.missing) == (5, {"x": [1]})


def test_partitions_that_agree_lack_nothing():
    assert several([("x", wire())], [("x", wire())]).missing == {}


def test_a_tombstone_in_one_partition_takes_nothing_away_from_the_others():
    found = several([("x", wire()), ("x", None)], [("x", wire())])
    assert (found.of("x").version, found.missing) == (1, {"x": [0]})


def test_what_cannot_be_read_in_one_partition_is_not_taken_for_the_others_version():
    with pytest.raises(CommandError, match="the newest definition of x cannot be read"):
        several([("x", wire(version=2))], [("x", b"{}")]).of("x")


@pytest.mark.parametrize("at_ms", [-1, 4_102_444_800_000])
def test_a_tick_of_a_time_that_has_not_come_is_refused_before_anything_connects(at_ms):
    """A slip of the year would close every open window, for good."""
    with pytest.raises(CommandError, match="expected a time from 1970 to now"):
        tick(Settings(), at_ms)
