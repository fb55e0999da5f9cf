"""`tidegate experiments` on a real Kafka."""

import json
import re
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from commands import records
from confluent_kafka import Producer

from flows.commands import CommandError
from flows.commands._definitions import Writer, held
from flows.settings import load_settings
from schemas.definition import Definition

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("topics")]


def at(hours):
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat(timespec="seconds")


STARTED = at(-1)
PARTITIONS = 4
"""As `tidegate topics create` makes them."""


@pytest.fixture
def file(tmp_path):
    def write(name="button", *, start=STARTED, more="", alpha=0.05):
        path = tmp_path / f"{name}.toml"
        path.write_text(
            f'id = "{name}"\nvariations = ["control", "green"]\nattribution_window_s = 60\n'
            "minimum_run_s = 0\nmde = 0.1\n"
            f"alpha = {alpha}\n[[phases]]\nstart = {start}\ncoverage = 0.5\n{more}\n"
            '[primary]\nname = "m"\nkind = "proportion"\nevent = "buy"\n'
        )
        return str(path)

    return write


def listed(tidegate):
    return [json.loads(line) for line in tidegate("experiments", "list", "--json")[1].splitlines()]


def ramp(hours):
    return f"[[phases]]\nstart = {at(hours)}\n"


def test_a_new_definition_is_published_under_its_id_and_again_is_not(tidegate, file, bootstrap, prefix):
    path = file()
    before = time.time_ns() // 1_000_000

    assert tidegate("experiments", "apply", path)[:2] == (0, "new        button, version 1\n")
    assert tidegate("experiments", "apply", path)[:2] == (0, "unchanged  button, version 1\n")
    messages = records(bootstrap, f"{prefix}experiments.definitions", PARTITIONS)
    assert sorted(message.partition() for message in messages) == list(range(PARTITIONS))
    assert {(message.key(), message.value()) for message in messages} == {(b"button", messages[0].value())}
    one = msgspec.json.decode(messages[0].value(), type=Definition)
    assert (one.id, one.version) == ("button", 1)
    assert one.timestamp == messages[0].timestamp()[1] >= before
    assert [(each["version"], each["timestamp"]) for each in listed(tidegate)] == [(1, one.timestamp)]


def test_a_change_of_the_future_gets_the_next_version_and_is_shown(tidegate, file):
    tidegate("experiments", "apply", file())
    code, shown, _ = tidegate("experiments", "apply", file(more=ramp(1)))

    assert (code, shown.splitlines()[0]) == (0, "changed    button, version 2")
    assert shown.splitlines()[1].startswith('  phases: [{"start":')
    assert [(one["version"], len(one["phases"]), one["state"]) for one in listed(tidegate)] == [(2, 2, "running")]


def test_a_definition_that_is_missing_in_partitions_is_shown_and_published_there_once(
    tidegate, file, bootstrap, prefix
):
    """As an older Tidegate left it: in the one partition that its key falls on."""
    tidegate("experiments", "apply", file())
    topic = f"{prefix}experiments.definitions"
    whole = held(load_settings(None, {"TIDEGATE_KAFKA__BOOTSTRAP": bootstrap, "TIDEGATE_KAFKA__PREFIX": prefix}))
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition in range(1, PARTITIONS):
        producer.produce(topic, None, b"button", partition)
    producer.flush(20)

    missing = "  published to partitions that did not hold it: 1, 2, 3\n"
    assert [one["id"] for one in listed(tidegate)] == ["button"]
    assert tidegate("experiments", "apply", "--dry-run", file())[1].startswith("unchanged")
    assert tidegate("experiments", "apply", file())[:2] == (0, f"unchanged  button, version 1\n{missing}")
    assert tidegate("experiments", "apply", file())[:2] == (0, "unchanged  button, version 1\n")
    found = records(bootstrap, topic, 3 * PARTITIONS - 2)
    newest = {message.partition(): message.value() for message in found}
    assert [msgspec.json.decode(newest[at], type=Definition) for at in range(PARTITIONS)] == [
        whole.newest["button"]
    ] * PARTITIONS


def test_a_dry_run_shows_what_would_change_and_publishes_nothing(tidegate, file):
    code, shown, _ = tidegate("experiments", "apply", "--dry-run", file())

    assert (code, shown) == (0, "new        button, version 1\ndry run: nothing was published\n")
    assert listed(tidegate) == []


def test_what_breaks_a_running_experiment_is_refused_with_its_reason_and_then_nothing_is_published(tidegate, file):
    tidegate("experiments", "apply", file())
    code, _, said = tidegate("experiments", "apply", file("other"), file(alpha=0.1))

    assert code == 1
    assert "problem: button: alpha: expected 0.05, got 0.1: the intervals hold for the analysis declared" in said
    assert "Nothing was published." in said
    assert [(one["id"], one["version"]) for one in listed(tidegate)] == [("button", 1)]


def test_before_its_start_an_experiment_may_be_changed_in_everything(tidegate, file):
    start = at(1)
    tidegate("experiments", "apply", file(start=start))

    assert tidegate("experiments", "apply", file(start=start, alpha=0.1))[0] == 0
    assert [(one["alpha"], one["version"], one["state"]) for one in listed(tidegate)] == [(0.1, 2, "scheduled")]


def test_stopping_sets_the_end_once_and_an_ended_experiment_stays(tidegate, file):
    tidegate("experiments", "apply", file(more=ramp(1)))
    dry = tidegate("experiments", "stop", "--dry-run", "button")
    still = listed(tidegate)
    before = time.time_ns() // 1_000_000
    first, second = tidegate("experiments", "stop", "button"), tidegate("experiments", "stop", "button")
    (one,) = listed(tidegate)

    assert (dry[0], still[0]["state"], still[0]["version"]) == (0, "running", 1)
    assert (first[0], first[1].splitlines()[0]) == (0, "changed    button, version 2")
    assert second[:2] == (0, "unchanged  button, version 2\n")
    assert (one["version"], one["state"], len(one["phases"])) == (2, "ended", 1)
    assert before <= one["end"] <= time.time_ns() // 1_000_000
    code, _, said = tidegate("experiments", "apply", file())
    assert (code, "it ended at" in said) == (1, True)


def test_stopping_what_is_not_there_is_a_problem(tidegate):
    code, _, said = tidegate("experiments", "stop", "nothing")
    assert (code, said.split(";")[0]) == (1, "tidegate: there is no experiment nothing")


def test_the_table_shows_phase_coverage_and_weights_of_now(tidegate, file):
    tidegate("experiments", "apply", file(more=ramp(1)), file("second", start=at(2)))
    shown = tidegate("experiments", "list")[1]

    assert re.search(r"button +│ 1 +│ running +│ 1 of 2 │ 0.5 +│ control 0.5, green 0.5 │ m ", shown)
    assert re.search(r"second +│ 1 +│ scheduled │ 1 of 1 ", shown)
    assert shown.splitlines()[-1] == "2 experiments"


def test_of_two_who_write_at_once_the_first_fails_rather_than_overwrite_unseen(tidegate, file, prefix, bootstrap):
    tidegate("experiments", "apply", file())
    settings = load_settings(None, {"TIDEGATE_KAFKA__BOOTSTRAP": bootstrap, "TIDEGATE_KAFKA__PREFIX": prefix})
    writer = Writer(settings)
    one = held(settings).newest["button"]
    tidegate("experiments", "apply", file(more=ramp(1)))

    with pytest.raises(CommandError, match="nothing was published"):
        writer.publish([msgspec.structs.replace(one, version=2, description="unseen")])
    assert [(each["version"], each.get("description", "")) for each in listed(tidegate)] == [(2, "")]


def test_without_transactions_definitions_are_published_all_the_same(tidegate, file, monkeypatch):
    monkeypatch.setenv("TIDEGATE_KAFKA__DELIVERY", "at_least_once")

    assert tidegate("experiments", "apply", file())[0] == 0
    assert [one["id"] for one in listed(tidegate)] == ["button"]


def test_exposures_of_an_applied_experiment_are_published_keyed_by_user_at_their_time(
    tidegate, file, bootstrap, prefix, tmp_path
):
    tidegate("experiments", "apply", file())
    units = [f"user-{number}" for number in range(40)]
    by_id = tidegate("assign", "button", "--exposures", "--at", at(0), "--unit", *units)[1]
    (tmp_path / "exposures.json").write_text(by_id)
    code, _, said = tidegate("publish", "--topic", "exposures", str(tmp_path / "exposures.json"))

    lines = by_id.splitlines()
    assert 0 < len(lines) < 40  # half of them
    assert (code, f"published {len(lines)} events" in said) == (0, True)
    found = records(bootstrap, f"{prefix}exposures", len(lines))
    assert sorted(message.value().decode() for message in found) == sorted(lines)
    for message in found:
        one = json.loads(message.value())
        assert (message.key().decode(), message.timestamp()[1]) == (one["user"], one["timestamp"])


def test_assigning_by_an_experiment_that_is_not_there_is_a_problem(tidegate):
    code, _, said = tidegate("assign", "nothing", "--unit", "ada")
    assert (code, said.split(";")[0]) == (1, "tidegate: there is no experiment nothing")
