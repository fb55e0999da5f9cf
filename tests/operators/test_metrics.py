"""The one page of metrics: names, counting from totals, and series that go away with their partition."""

import re

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from operators.metrics import LABELS, Metrics, default
from operators.state import Measurement

GRAMMAR = re.compile(r"tidegate(_[a-z]+)+")


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry())


def evicted(metrics, partition=0):
    return metrics.registry.get_sample_value(
        "tidegate_entities_evicted_total", {"flow": "risk", "partition": str(partition)}
    )


def publish_evicted(metrics, total, partition=0):
    metrics.publish("risk", partition, [Measurement("tidegate_entities_evicted_total", total)])


def test_every_name_follows_the_grammar_and_only_counters_end_in_total(metrics):
    for name in metrics.declared:
        assert GRAMMAR.fullmatch(name)
        assert name.endswith("_total") == isinstance(metrics._published.get(name), Counter), name


def test_every_label_is_on_the_closed_list(metrics):
    assert {label for labels in metrics.declared.values() for label in labels} <= LABELS


def test_a_label_outside_the_list_cannot_be_declared(metrics):
    with pytest.raises(ValueError, match=r"expected labels out of .*, got user - at tidegate_new_total"):
        metrics._counter("tidegate_new_total", "x", "user")


def test_a_counter_rises_by_the_difference_between_totals(metrics):
    publish_evicted(metrics, 3)
    publish_evicted(metrics, 10)

    assert evicted(metrics) == 10


def test_a_total_that_fell_counts_from_zero(metrics):
    publish_evicted(metrics, 10)
    publish_evicted(metrics, 4)  # a new task: 10 before it, 4 since

    assert evicted(metrics) == 14


def test_adopted_totals_were_counted_by_the_owner_before(metrics):
    metrics.adopt("risk", 0, [Measurement("tidegate_entities_evicted_total", 1000)])
    assert evicted(metrics) == 0

    publish_evicted(metrics, 1001)
    assert evicted(metrics) == 1


def test_gauges_show_the_newest_value_also_when_adopted(metrics):
    metrics.publish("risk", 1, [Measurement("tidegate_entities", 5)])
    metrics.adopt("risk", 1, [Measurement("tidegate_entities", 2)])

    assert metrics.registry.get_sample_value("tidegate_entities", {"flow": "risk", "partition": "1"}) == 2


def test_labels_of_a_measurement_join_flow_and_partition(metrics):
    metrics.publish("risk", 2, [Measurement("tidegate_threshold_score", 0.9, {"tier": "high"})])

    labels = {"flow": "risk", "partition": "2", "tier": "high"}
    assert metrics.registry.get_sample_value("tidegate_threshold_score", labels) == 0.9


def test_partitions_are_counted_apart(metrics):
    publish_evicted(metrics, 7, partition=0)
    publish_evicted(metrics, 5, partition=1)

    assert (evicted(metrics, 0), evicted(metrics, 1)) == (7, 5)


@pytest.mark.parametrize("name", ["tidegate_unheard_of", "tidegate_commit_seconds", "tidegate_entities_evicted"])
def test_a_name_that_no_stage_may_publish_is_an_error(metrics, name):
    with pytest.raises(ValueError, match=f"expected a counter or gauge of operators.metrics, got {name}"):
        metrics.publish("risk", 0, [Measurement(name, 1)])


@pytest.mark.parametrize(
    "measurement",
    [Measurement("tidegate_threshold_score", 1), Measurement("tidegate_entities", 1, {"tier": "high"})],
)
def test_missing_and_needless_labels_are_errors(metrics, measurement):
    with pytest.raises(ValueError, match="expected labels flow, partition"):
        metrics.publish("risk", 0, [measurement])


def test_forgetting_removes_every_series_of_the_partition_and_no_other(metrics):
    for flow, partition in (("risk", 0), ("risk", 1), ("rekey", 0)):
        publish = [Measurement("tidegate_entities", 5), Measurement("tidegate_entities_evicted_total", 5)]
        metrics.publish(flow, partition, publish)
        metrics.lag_records.labels(flow, partition).set(1)  # written by a connector, not by a stage
        metrics.records_received.labels(flow, "decode", partition).inc()

    metrics.forget("risk", 0)

    text = generate_latest(metrics.registry).decode()
    left = {
        re.search(r'flow="(\w+)"', line)[1] + re.search(r'partition="(\d+)"', line)[1]
        for line in text.splitlines()
        if "partition=" in line
    }
    assert left == {"risk1", "rekey0"}


def test_a_forgotten_partition_that_comes_back_counts_from_zero(metrics):
    publish_evicted(metrics, 10)
    metrics.forget("risk", 0)
    publish_evicted(metrics, 12)

    assert evicted(metrics) == 12


def test_forgetting_an_unknown_partition_does_nothing(metrics):
    metrics.forget("risk", 99)


def test_outcomes_exist_at_zero_before_the_first_transaction(metrics):
    metrics.begin("risk")

    labels = {"flow": "risk", "outcome": "doubt"}
    assert metrics.registry.get_sample_value("tidegate_transactions_total", labels) == 0


def test_the_process_has_one_default(monkeypatch):
    assert default() is default()
    assert default().registry.get_sample_value("process_start_time_seconds") is not None
