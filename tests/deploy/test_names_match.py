"""What alerts and dashboard ask for is what the program shows: every metric, every label."""

import re

import pytest
from prometheus_client import Histogram

from operators.metrics import LABELS

FOREIGN = {
    "up", "ALERTS",  # Prometheus' own
    "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total",  # prometheus_client's
}  # fmt: skip
FROM_PROMETHEUS = {"job", "instance", "service", "le", "alertname", "alertstate"}
"""Labels that the scrape adds (prometheus.yml), and a histogram's bucket."""

NAME = re.compile(r"\b(?:tidegate_\w+|process_\w+|python_\w+|up|ALERTS)\b")
SELECTOR = re.compile(r"\b(\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
TEMPLATE_LABEL = re.compile(r"\$labels\.(\w+)")
LEGEND_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def queries(dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"], target["legendFormat"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"], ""
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["expr"], annotation["textFormat"]


def problems(expression, metrics):
    """Return what is wrong with the names in an expression of PromQL."""
    declared = dict(metrics.declared)
    for name, metric in vars(metrics).items():
        if isinstance(metric, Histogram):
            base = f"tidegate_{name}"
            labels = declared.pop(base)
            declared |= {base + suffix: labels for suffix in ("_bucket", "_sum", "_count")}
    found = [f"unknown metric {name}" for name in NAME.findall(expression) if name not in declared.keys() | FOREIGN]
    for name, inside in SELECTOR.findall(expression):
        allowed = FROM_PROMETHEUS | set(declared.get(name, ()))
        found += [f"{name} has no label {label}" for label in MATCHER.findall(inside) if label not in allowed]
    for inside in GROUPING.findall(expression):
        labels = {label.strip() for label in inside.split(",")} - {""}
        found += [f"unknown label {label}" for label in labels - LABELS - FROM_PROMETHEUS]
    return found


def test_every_name_in_the_alerts_exists(alerts, metrics):
    assert alerts
    for rule in alerts:
        assert problems(rule["expr"], metrics) == [], rule["alert"]


def test_every_label_in_an_alerts_text_is_one_its_expression_can_have(alerts):
    for rule in alerts:
        text = " ".join(rule["annotations"].values())
        assert set(TEMPLATE_LABEL.findall(text)) <= LABELS | FROM_PROMETHEUS, rule["alert"]


def test_every_metric_of_tidegate_named_in_a_runbook_exists(alerts, metrics):
    for rule in alerts:
        for name in re.findall(r"\btidegate_\w+", rule["annotations"]["runbook"]):
            assert name in metrics.declared, rule["alert"]


def test_every_name_in_the_dashboard_exists(dashboard, metrics):
    for expression, legend in queries(dashboard):
        assert problems(expression, metrics) == [], expression
        assert set(LEGEND_LABEL.findall(legend)) <= LABELS | FROM_PROMETHEUS | {"severity"}, legend


def test_the_dashboard_shows_every_metric_but_the_ones_for_other_eyes(dashboard, metrics):
    shown = " ".join(expression for expression, _ in queries(dashboard))
    unseen = {name for name in metrics.declared if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", shown)}

    # For joining versions in queries; for the alert on a stuck loop; a time of day, not a course.
    assert unseen == {"tidegate_build_info", "tidegate_heartbeat_age_seconds", "tidegate_stream_time_seconds"}


def test_the_first_and_last_stages_in_alerts_and_panels_are_those_of_the_flows(alerts, dashboard, root):
    """A flow that is not named there would be one whose dead letters wake nobody."""
    flows = [path.read_text(encoding="utf-8") for path in (root / "flows").glob("*.py")]
    first, last = (
        {name for text in flows for name in re.findall(pattern, text)}
        for pattern in (r'= stage\("(\w+)", messages,', r'records = stage\("(\w+)",')
    )
    told = [rule["expr"] for rule in alerts] + [expression for expression, _ in queries(dashboard)]
    named = [set(some.split("|")) for some in re.findall(r'stage=~"([^"]+)"', " ".join(told))]

    assert {"decode", "notice", "merge"} < first
    assert named.count(first) == 4  # dead letters and old snapshots; unreadable and throughput
    assert named.count(last) == 2  # decided and throughput
    assert len(named) == 6


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("rate(tidegate_lag_record[5m])", "unknown metric tidegate_lag_record"),
        ('tidegate_lag_records{tier="high"}', "tidegate_lag_records has no label tier"),
        (
            "tidegate_commit_seconds",
            "unknown metric tidegate_commit_seconds",
        ),  # a histogram shows _bucket, _sum, _count
        ("sum by (user) (tidegate_lag_records)", "unknown label user"),
    ],
)
def test_this_test_sees_a_wrong_name(metrics, expression, problem):
    assert problems(expression, metrics) == [problem]
