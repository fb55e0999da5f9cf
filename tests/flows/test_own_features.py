"""Declared features in the settings: all mistakes at once, and from there to the decisions."""

import json
import re
from pathlib import Path

import pytest
from bytewax.testing import TestingSink, TestingSource, run_main

from flows import risk
from flows.settings import SettingsError, load_settings
from operators.batches import Encoded, Messages, Span
from operators.control import Restore

KEY = {"TIDEGATE_PSEUDONYM_KEY": "0123456789abcdef0123"}


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def loaded(text):
    path = Path("tidegate.toml")
    path.write_text(text, encoding="utf-8")
    return load_settings(path, KEY, needs_key=True)


def complaints(text):
    with pytest.raises(SettingsError) as caught:
        loaded(text)
    return list(caught.value.mistakes)


def table(**changes):
    given = {"name": "x", "operation": "count", "window_s": 60, "limits": [0, 1]} | changes
    return "[[risk.features]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())


def test_all_mistakes_of_all_declarations_are_listed_at_once():
    lines = complaints(
        table(operation="median")
        + table(name="X", operation="sum", of="ip")
        + table(name="event_count_1m", window_s=0)
        + table(window_s=3_000_000, limits=[1])
        + table(name="y", family="entropy", direction="sideways", wher=["pay"])
    )

    assert [line.partition(":")[0] for line in lines] == [
        "risk.features[0].operation",
        "risk.features[1]",
        "risk.features[2].name",
        "risk.features[2].window_s",
        "risk.features[3].limits",
        "risk.features[3].name",
        "risk.features[3].window_s",
        "risk.features[4].direction",
        "risk.features[4].family",
        "risk.features[4].wher",
    ]
    assert lines[1] == (
        "risk.features[1]: expected a small letter, then small letters, digits and _, 64 at most, got 'X' - at name; "
        "expected a number for sum, got 'ip', which is a text - at of (from tidegate.toml)"
    )


def test_no_more_than_32_can_be_declared():
    declared = "".join(table(name=f"x{k}") for k in range(33))

    assert complaints(declared)[0].startswith("risk.features: expected a list, each a table of length <= 32, got [")
    assert len(loaded(declared.rpartition("[[")[0]).risk.features) == 32


def test_a_name_is_free_where_no_window_builds_it_in():
    settings = loaded("[risk.featurize]\nwindows_s = [10, 600]\n" + table(name="event_count_1m"))

    assert settings.risk.features[0].name == "event_count_1m"


def answered(settings, events):
    """Return what the risk flow writes for events, as JSON, the audit trail left out."""
    values = [json.dumps(event).encode() for event in events]
    n = len(values)
    batch = Messages(Span(0, 0, n), "events", values, [b"k"] * n, list(range(n)), [e["timestamp"] for e in events])
    found = []
    run_main(risk.build(settings, TestingSource([Restore(0, {}), batch]), TestingSink(found)))
    records = [record for item in found if isinstance(item, Encoded) for record in item.records]
    return [json.loads(record.value) for record in records if record.topic == "risk.tiers"]


def test_the_sample_file_declares_features_that_load(repository):
    lines = (repository / "tidegate.toml").read_text(encoding="utf-8").splitlines()
    first = lines.index("# [[risk.features]]")
    commented = [line.removeprefix("#").strip() for line in lines[first : lines.index("[risk.score]")]]

    assert [each.name for each in loaded("\n".join(commented)).risk.features] == ["refunds_24h", "basket_mean_1h"]


def test_a_declared_feature_is_named_as_a_reason_with_its_value():
    settings = loaded(
        "[risk.tier]\nmedium = 0.6\nhigh = 0.1\n"  # wide: reasons are told from medium up
        + table(name="level_mean", operation="mean", of="fields.level", window_s=3600, limits=[0, 100])
    )
    start = 1_767_225_600_000
    event = {"type": "view"}
    events = [
        event | {"id": f"{k}", "timestamp": start + 1_000 * k, "user": f"u{k % 400}", "fields": {"level": k % 9}}
        for k in range(6_001)
    ]
    events[-1]["fields"] = {"level": 1e4}
    reasons = {reason["feature"]: reason for reason in answered(settings, events)[-1]["reasons"]}

    # Panes are 720 s and start with the stream, so those of 6,000 s begin at 2,160 s. User u0 has ten events from there
    # on, with levels 6, 1, 5, 0, 4, 8, 3, 7, 2 and 10,000.
    assert reasons["level_mean"]["value"] == 1003.6
    assert "baseline" not in reasons["level_mean"]


def test_the_worked_example_of_the_docs_loads_and_shows_the_stated_value(repository):
    text = (repository / "docs" / "features.md").read_text(encoding="utf-8")
    (declared,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (event,) = map(json.loads, re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    stages = risk.Stages(loaded(declared))
    reset = event | {"id": "e4", "type": "password_reset", "timestamp": event["timestamp"] - 60_000}
    values = [json.dumps(each).encode() for each in (reset, event)]
    batch = Messages(Span(0, 0, 2), "events", values, [b"k"] * 2, [0, 1], [event["timestamp"]] * 2)
    featurize = stages.featurize(0)
    raw = featurize.process(stages.decode(0).process(batch)).raw[-1]
    shown = {feature.name: value for feature, value in zip(featurize.catalogue, raw, strict=True)}

    assert {name: shown[name] for name in list(shown)[-5:]} == {
        "refunds_24h": 0,
        "basket_mean_1h": 4,
        "since_password_reset": 60,
        "cards_10m": 1,
        "cards_24h": 1,
    }
    assert "shows `since_password_reset` = 60" in text
