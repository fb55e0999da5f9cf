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


def test_topics_of_experiments_are_needed_and_must_be_cut_as_the_input_is():
    settings = load_settings(None, {})
    assert {"exposures", "metrics", "experiments.definitions", "experiments.parts"} <= set(needed(settings))
    assert miscounted({"metrics": 3}, settings) == ["metrics has 3 partitions, settings say 4"]


def test_definitions_are_compacted_so_that_the_newest_of_each_experiment_stays_for_ever():
    config = topic_config(TOPICS["experiments.definitions"], LIMITED)
    assert config["cleanup.policy"] == "compact"
    assert "retention.ms" not in config


def test_definitions_stay_as_they_were_while_the_input_may_be_read_again():
    """Rolling forward applies each version where it was applied: one that is compacted away is refused."""
    of, forever = TOPICS["experiments.definitions"], load_settings(None, {"TIDEGATE_TOPICS__RETENTION_MS": "-1"})
    assert topic_config(of, LIMITED)["min.compaction.lag.ms"] == "60000"
    assert topic_config(of, forever)["min.compaction.lag.ms"] == "9223372036854775807"
    assert "min.compaction.lag.ms" not in topic_config(TOPICS["experiments.readouts"], LIMITED)


def test_side_topics_of_the_ranking_flow_stay_as_they_were_and_the_catalogue_for_a_day():
    for name in ("uplift", "ranking.models"):
        assert topic_config(TOPICS[name], LIMITED)["min.compaction.lag.ms"] == "60000"
    assert topic_config(TOPICS["ranking.catalogue"], LIMITED)["min.compaction.lag.ms"] == "86400000"
