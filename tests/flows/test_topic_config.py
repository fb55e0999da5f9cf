"""How `tidegate topics create` makes topics, as far as it needs no broker."""

from flows.commands.topics import miscounted, needed, topic_config
from flows.settings import load_settings
from schemas.registry import TOPICS

LIMITED = load_settings(None, {"TIDEGATE_TOPICS__RETENTION_MS": "60000", "TIDEGATE_TOPICS__RETENTION_BYTES": "5000"})


def test_a_topic_is_kept_as_long_as_the_settings_say():
    config = topic_config(TOPICS["labels"], LIMITED)
    assert (config["cleanup.policy"], config["retention.ms"], config["retention.bytes"]) == ("delete", "60000", "5000")


def test_the_journal_outlives_snapshots_whatever_the_settings_say_of_other_topics():
    config = topic_config(TOPICS["risk.journal"], LIMITED)
    assert (config["cleanup.policy"], config["retention.ms"]) == ("delete", "-1")
    assert config["retention.bytes"] == "268435456"


def test_topics_of_labels_are_in_nobodys_way_while_they_are_off():
    off, on = load_settings(None, {}), load_settings(None, {"TIDEGATE_RISK__LABELS__ENABLED": "true"})
    assert set(needed(on)) - set(needed(off)) == {"labels", "risk.journal"}
    assert miscounted({"labels": 3, "events": 4}, off) == []
    assert miscounted({"labels": 3, "events": 4}, on) == ["labels has 3 partitions, settings say 4"]


def test_topics_of_experiments_are_in_nobodys_way_while_no_flow_reads_them():
    assert {"exposures", "experiments.definitions"}.isdisjoint(needed(load_settings(None, {})))


def test_definitions_are_compacted_so_that_the_newest_of_each_experiment_stays_for_ever():
    config = topic_config(TOPICS["experiments.definitions"], LIMITED)
    assert config["cleanup.policy"] == "compact"
    assert "retention.ms" not in config
