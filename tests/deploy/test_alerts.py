"""Alerts: each wakes somebody when it should, stays quiet when it should not, and says what to do.

Prometheus' own `promtool` plays the cases; Debian's package `prometheus` has it.
"""

import shutil
import subprocess

import pytest
import yaml

RISK = 'flow="risk"'
P0 = 'flow="risk",partition="0",instance="a"'
UP = 'up{job="tidegate",service="risk",instance="a"}'
MEMORY = 'process_resident_memory_bytes{job="tidegate",instance="a"}'
READ = f'tidegate_records_received_total{{{P0},stage="decode"}}'
COMMITTED = f'tidegate_transactions_total{{{RISK},outcome="committed"}}'
DOUBT = f'tidegate_transactions_total{{{RISK},outcome="doubt"}}'
ABORTED = f'tidegate_transactions_total{{{RISK},outcome="aborted"}}'
REJECTED = f'tidegate_records_rejected_total{{{RISK},stage="decode",reason="not_json"}}'
RATE, BUDGET = f'tidegate_alert_rate{{{P0},tier="high"}}', f'tidegate_alert_budget{{{P0},tier="high"}}'

READOUTS_0 = 'flow="readouts",partition="0",instance="a"'
STOPPED, BROKEN = (f'tidegate_experiments_decided{{{READOUTS_0},decision="{each}"}}' for each in ("stop", "broken"))
MATCHED, UNMATCHED, UNSAMPLED = (
    f'tidegate_labels_total{{{P0},outcome="{outcome}"}}' for outcome in ("matched", "unmatched", "unsampled")
)

E0 = 'flow="experiments",partition="0",instance="a"'
SIDE, SIDE_REJECTED = (
    f'tidegate_side_records{more}{{flow="experiments",topic="metrics",{last}}}'
    for more, last in (("_total", 'partition="0"'), ("_rejected_total", 'reason="not_json"'))
)
OBSERVED = f'tidegate_records_sent_total{{{E0},stage="observe"}}'
MISASSIGNED = f"tidegate_exposures_misassigned_total{{{E0}}}"
SAMPLED, CHANGED = (f'tidegate_units_refused_total{{{E0},reason="{reason}"}}' for reason in ("sampled", "definition"))

# (alert, whether it fires within 30 minutes, series by the minute in promtool's notation: start+step x count)
CASES = [
    ("TidegateFlowDown", True, {UP: "1x5 0x30"}),
    ("TidegateFlowDown", True, {}),  # DNS knows no replica at all
    ("TidegateFlowDown", False, {UP: "0x30", UP.replace('"a"', '"b"'): "1x30"}),  # one of two is enough
    ("TidegateStuck", True, {'tidegate_heartbeat_age_seconds{instance="a"}': "0x10 60+60x20"}),
    ("TidegateStuck", False, {'tidegate_heartbeat_age_seconds{instance="a"}': "29x30"}),
    ("TidegateNotReady", True, {'tidegate_ready{instance="a"}': "1x10 0x20"}),
    ("TidegateNotReady", False, {'tidegate_ready{instance="a"}': "0x4 1x26"}),
    ("TidegateLagGrowing", True, {f"tidegate_lag_records{{{P0}}}": "60000+5000x30"}),
    ("TidegateLagGrowing", False, {f"tidegate_lag_records{{{P0}}}": "900000-5000x30"}),  # catching up
    ("TidegateLagGrowing", False, {f"tidegate_lag_records{{{P0}}}": "0+10x30"}),  # growing, but small
    ("TidegateLagNotRecovering", True, {f"tidegate_lag_records{{{P0}}}": "900000x30"}),
    ("TidegateLagNotRecovering", True, {f"tidegate_lag_records{{{P0}}}": "900000-5000x30"}),  # two hours to go
    ("TidegateLagNotRecovering", False, {f"tidegate_lag_records{{{P0}}}": "1800000-30000x30"}),  # half an hour
    ("TidegateLagNotRecovering", False, {f"tidegate_lag_records{{{P0}}}": "40000x30"}),  # steady, but small
    ("TidegateSideLagGrowing", True, {f'tidegate_side_lag_records{{{P0},topic="labels"}}': "60000+5000x30"}),
    ("TidegateSideLagGrowing", False, {f'tidegate_side_lag_records{{{P0},topic="labels"}}': "900000-5000x30"}),
    ("TidegateSideLagGrowing", False, {f'tidegate_side_lag_records{{{P0},topic="labels"}}': "0+10x30"}),
    ("TidegateMemoryHigh", True, {MEMORY: "1.5e9x10 1.9e9x20"}),
    ("TidegateMemoryHigh", False, {MEMORY: "1.7e9x30"}),
    ("TidegateMemoryHigh", False, {MEMORY.replace("tidegate", "kafka"): "1.9e9x30"}),  # somebody else's
    ("TidegateDuplicatesForgotten", True, {f"tidegate_dedup_evicted_total{{{P0}}}": "0x5 0+20x25"}),
    ("TidegateDuplicatesForgotten", False, {f"tidegate_dedup_evicted_total{{{P0}}}": "500x30"}),  # long ago
    ("TidegateStandingsForgotten", True, {f"tidegate_standings_evicted_total{{{P0}}}": "0x5 0+20x25"}),
    ("TidegateStandingsForgotten", False, {f"tidegate_standings_evicted_total{{{P0}}}": "500x30"}),
    ("TidegateCommitsFailing", True, {COMMITTED: "0+60x30", ABORTED: "0+10x30"}),
    ("TidegateCommitsFailing", False, {COMMITTED: "0+600x30", ABORTED: "0+10x30"}),
    ("TidegateTransactionsInDoubt", True, {DOUBT: "0x20 4x10"}),
    ("TidegateTransactionsInDoubt", False, {DOUBT: "0x20 1x10"}),
    (
        "TidegateNotCommitting",
        True,
        {f"tidegate_lag_records{{{P0}}}": "10x30", COMMITTED: "5x30", 'tidegate_ready{instance="a"}': "1x30"},
    ),
    (
        "TidegateNotCommitting",
        False,  # nothing to do
        {f"tidegate_lag_records{{{P0}}}": "0x30", COMMITTED: "5x30", 'tidegate_ready{instance="a"}': "1x30"},
    ),
    ("TidegateSnapshotsFailing", True, {f"tidegate_snapshot_failures_total{{{RISK}}}": "0x5 0+1x25"}),
    ("TidegateSnapshotsFailing", False, {f"tidegate_snapshot_failures_total{{{RISK}}}": "3x30"}),  # long ago
    ("TidegateSnapshotOld", True, {f"tidegate_snapshot_age_seconds{{{P0}}}": "0+60x30", READ: "0+600x30"}),
    ("TidegateSnapshotOld", False, {f"tidegate_snapshot_age_seconds{{{P0}}}": "0+60x30", READ: "600x30"}),  # idle
    ("TidegateDeadLetters", True, {READ: "0+1000x30", REJECTED: "0+60x30"}),
    (
        "TidegateDeadLetters",
        True,
        {
            each.replace("risk", "experiments").replace("decode", "observe"): values
            for each, values in ((READ, "0+1000x30"), (REJECTED, "0+60x30"))
        },
    ),
    ("TidegateDeadLetters", False, {READ: "0+1000x30", REJECTED: "0+40x30"}),
    ("TidegateAlertRateOverBudget", True, {RATE: "0.04x30", BUDGET: "0.01x30"}),
    ("TidegateAlertRateOverBudget", False, {RATE: "0.02x30", BUDGET: "0.01x30"}),
    ("TidegateAlertRateOutOfControl", True, {f"tidegate_rate_out_of_control{{{P0}}}": "0x3 1x27"}),
    ("TidegateAlertRateOutOfControl", False, {f"tidegate_rate_out_of_control{{{P0}}}": "1x15 0x2 1x13"}),
    ("TidegateDrift", True, {f"tidegate_features_shifted{{{P0}}}": "0x5 12x25"}),
    ("TidegateDrift", True, {f"tidegate_score_drifts_total{{{P0}}}": "0x3 1x3 2x3 4x21"}),
    ("TidegateDrift", False, {f"tidegate_score_drifts_total{{{P0}}}": "7x10 8x20"}),
    ("TidegateLabelsUnmatched", True, {UNMATCHED: "0+60x30", MATCHED: "0+30x30", UNSAMPLED: "0+900x30"}),
    ("TidegateLabelsUnmatched", False, {UNMATCHED: "0+30x30", MATCHED: "0+60x30"}),
    ("TidegateLabelsWaitedForTooShort", True, {f"tidegate_remembered_unripe_total{{{P0}}}": "0+60x30"}),
    ("TidegateLabelsWaitedForTooShort", False, {f"tidegate_remembered_unripe_total{{{P0}}}": "60x30"}),
    ("TidegateSideDeadLetters", True, {SIDE: "0+1000x30", SIDE_REJECTED: "0+60x30"}),
    ("TidegateSideDeadLetters", False, {SIDE: "0+1000x30", SIDE_REJECTED: "0+40x30"}),
    ("TidegateExposuresMisassigned", True, {OBSERVED: "0+1000x30", MISASSIGNED: "0+12x30"}),
    ("TidegateExposuresMisassigned", False, {OBSERVED: "0+1000x30", MISASSIGNED: "0+8x30"}),
    ("TidegateUnitsSampled", True, {SAMPLED: "0x5 0+20x25"}),
    ("TidegateUnitsSampled", False, {SAMPLED: "500x30"}),  # long ago
    ("TidegateDefinitionRefused", True, {CHANGED: "0x20 1x10"}),
    ("TidegateDefinitionRefused", False, {CHANGED: "1x30"}),
    ("TidegatePartsWaiting", True, {f"tidegate_parts_waiting{{{E0}}}": "3x30"}),
    ("TidegatePartsWaiting", False, {f"tidegate_parts_waiting{{{E0}}}": "3x15 0 3x14"}),
    (
        "TidegateEvictionSurge",  # 20 a minute is 1,200 an hour: more than a tenth of 10,000
        True,
        {f"tidegate_entities_evicted_total{{{P0}}}": "0+20x30", f"tidegate_entities{{{P0}}}": "10000x30"},
    ),
    (
        "TidegateEvictionSurge",
        False,
        {f"tidegate_entities_evicted_total{{{P0}}}": "0+10x30", f"tidegate_entities{{{P0}}}": "10000x30"},
    ),
    ("TidegateExperimentStopped", True, {STOPPED: "0x20 1x10"}),
    ("TidegateExperimentStopped", False, {STOPPED: "1x30", BROKEN: "0x20 1x10"}),  # long ago; and another
    ("TidegateExperimentBroken", True, {BROKEN: "2x20 3x10"}),
    ("TidegateExperimentBroken", False, {BROKEN: "2x20 1x10"}),
    ("TidegateReadoutsBehind", True, {f"tidegate_readouts_pending{{{READOUTS_0}}}": "60x30"}),
    ("TidegateReadoutsBehind", False, {f"tidegate_readouts_pending{{{READOUTS_0}}}": "60x20 20 60x9"}),
    ("TidegateExperimentsRefused", True, {f"tidegate_experiments_refused_total{{{READOUTS_0}}}": "0x5 0+1x25"}),
    ("TidegateExperimentsRefused", False, {f"tidegate_experiments_refused_total{{{READOUTS_0}}}": "9x30"}),
]


@pytest.fixture
def promtool():
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return path


def run(promtool, *arguments):
    return subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def test_every_alert_says_what_is_lost_and_what_to_do(alerts):
    for rule in alerts:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert len(rule["annotations"]["summary"]) > 30, rule["alert"]
        assert len(rule["annotations"]["runbook"]) > 100, rule["alert"]


def test_every_alert_is_played_both_ways(alerts):
    for rule in alerts:
        assert {fires for alert, fires, _ in CASES if alert == rule["alert"]} == {True, False}, rule["alert"]


def test_the_alert_on_memory_is_below_what_the_container_may_have(alerts, root):
    compose = yaml.safe_load((root / "docker-compose.yml").read_text())
    limit = compose["services"]["risk"]["deploy"]["resources"]["limits"]["memory"]
    expression = next(rule["expr"] for rule in alerts if rule["alert"] == "TidegateMemoryHigh")

    assert limit == "2G"  # 2 * 1024^3 bytes
    assert 0.8 < float(expression.rpartition("> ")[2]) / (2 * 1024**3) < 0.9


def test_prometheus_accepts_the_configuration_and_the_rules(promtool, root):
    result = run(promtool, "check", "config", root / "deploy/prometheus/prometheus.yml")

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("alert", "fires", "series"), CASES)
def test_it_fires_when_it_should_and_only_then(promtool, root, tmp_path, alert, fires, series):
    case = {
        "rule_files": [str(root / "deploy/prometheus/alerts.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                        "eval_time": "28m",
                        "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "case.yml"
    path.write_text(yaml.safe_dump(case))

    result = run(promtool, "test", "rules", path)

    assert result.returncode == 0, result.stdout + result.stderr
