"""Alerts: each wakes somebody when it should, stays quiet when it should not, and says what to do.

Prometheus' own `promtool` plays the cases; Debian's package `prometheus` has it.
"""

import re
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

R0 = 'flow="ranking",partition="0",instance="a"'
UNFAIR = f'tidegate_ranking_fairness_alarm{{{R0},group="small_sellers"}}'
NDCG, POPULARITY = f"tidegate_ranking_ndcg{{{R0}}}", f"tidegate_ranking_ndcg_popularity{{{R0}}}"
RANKER_REFUSED = f'tidegate_ranker_refused_total{{{R0},reason="out_of_range"}}'
SIGNALS_WAITING = 'tidegate_signals_waiting{flow="signals",partition="0",instance="a"}'
PARTS_OF_ITEMS = 'tidegate_parts_waiting{flow="interactions",partition="0",instance="a"}'
READY = f"tidegate_ranker_ready{{{R0}}}"
TIERS_EVICTED = 'tidegate_weighted_users_evicted_total{flow="interactions",partition="0",instance="a"}'
USERS, USERS_EVICTED, COVISITED, COVISITED_EVICTED, LISTS_EVICTED = (
    f"tidegate_{name}{{{R0}}}"
    for name in (
        "ranking_users", "ranking_users_evicted_total", "covisited_items", "covisited_items_evicted_total",
        "judged_lists_evicted_total",
    )
)  # fmt: skip
CUT, CUT_MOVES = (f'tidegate_lists_cut_total{{{R0},part="{part}"}}' for part in ("list", "moves"))
ITEMS_EVICTED = 'tidegate_items_evicted_total{flow="signals",partition="0",instance="a"}'

FIRST_STAGES = {
    "experiments": "observe", "explanations": "explain", "readouts": "merge", "interactions": "notice",
    "signals": "merge", "ranking": "notice", "rekey": "rekey",
}  # fmt: skip


def of_service(name):
    return MEMORY.replace("instance", f'service="{name}",instance')


def of_first(flow, stage, series=READ):
    return series.replace("risk", flow).replace("decode", stage)


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
    ("TidegateMemoryHigh", True, {of_service("ranking"): "3.7e9x30"}),
    ("TidegateMemoryHigh", False, {of_service("ranking"): "3.5e9x30"}),
    ("TidegateMemoryHigh", True, {of_service("readouts"): "0.95e9x30"}),
    ("TidegateMemoryHigh", False, {of_service("signals"): "1.7e9x30"}),
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
    (
        "TidegateSnapshotOld",
        True,
        {f"tidegate_snapshot_age_seconds{{{R0}}}": "0+60x30", of_first("ranking", "notice"): "0+600x30"},
    ),
    (
        "TidegateSnapshotOld",
        False,  # only a later stage has had something to do
        {f"tidegate_snapshot_age_seconds{{{R0}}}": "0+60x30", of_first("ranking", "recall"): "0+600x30"},
    ),
    ("TidegateDeadLetters", True, {READ: "0+1000x30", REJECTED: "0+60x30"}),
    *(
        (
            "TidegateDeadLetters",
            fires,
            {of_first(flow, stage): "0+1000x30", of_first(flow, stage, REJECTED): f"0+{rejected}x30"},
        )
        for flow, stage in FIRST_STAGES.items()
        for fires, rejected in ((True, 60), (False, 40))
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
    ("TidegateRankingUnfair", True, {UNFAIR: "0x10 1x20"}),
    ("TidegateRankingUnfair", False, {UNFAIR: "1x30"}),  # long ago
    ("TidegateRankingWorseThanPopularity", True, {NDCG: "0.30x30", POPULARITY: "0.35x30", READY: "1x30"}),
    ("TidegateRankingWorseThanPopularity", False, {NDCG: "0.34x30", POPULARITY: "0.35x30", READY: "1x30"}),
    ("TidegateRankingWorseThanPopularity", False, {NDCG: "0.30x30", POPULARITY: "0.35x30", READY: "0x30"}),
    ("TidegateRankerRefused", True, {RANKER_REFUSED: "0x20 1x10"}),
    ("TidegateRankerRefused", False, {RANKER_REFUSED: "3x30"}),
    ("TidegateSignalsWaiting", True, {SIGNALS_WAITING: "30000x30"}),
    ("TidegateSignalsWaiting", True, {PARTS_OF_ITEMS: "30000x30"}),
    ("TidegateSignalsWaiting", False, {SIGNALS_WAITING: "300x30", PARTS_OF_ITEMS: "300x30"}),
    ("TidegatePartsWaiting", False, {PARTS_OF_ITEMS: "30000x30"}),
    ("TidegateItemsForgotten", True, {ITEMS_EVICTED: "0x5 0+20x25"}),
    ("TidegateItemsForgotten", False, {ITEMS_EVICTED: "500x30"}),
    ("TidegateRankingMemoriesForgotten", True, {TIERS_EVICTED: "0x5 0+20x25"}),
    ("TidegateRankingMemoriesForgotten", True, {LISTS_EVICTED: "0x5 0+20x25"}),
    # 20 a minute is 1,200 an hour: more than a tenth of 10,000.
    ("TidegateRankingMemoriesForgotten", True, {USERS_EVICTED: "0+20x30", USERS: "10000x30"}),
    ("TidegateRankingMemoriesForgotten", True, {COVISITED_EVICTED: "0+20x30", COVISITED: "10000x30"}),
    (
        "TidegateRankingMemoriesForgotten",
        False,
        {TIERS_EVICTED: "500x30", LISTS_EVICTED: "500x30"}  # long ago
        | {USERS_EVICTED: "0+10x30", USERS: "10000x30", COVISITED_EVICTED: "0+10x30", COVISITED: "10000x30"},
    ),
    ("TidegateListsTooLarge", True, {CUT: "0x20 1x10"}),
    ("TidegateListsTooLarge", False, {CUT: "3x30", CUT_MOVES: "0+5x30"}),  # long ago; and less than the list
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


def test_the_alert_on_memory_is_below_what_each_container_may_have(alerts, compose, root):
    scraped = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    (names,) = (each["names"] for each in scraped["dns_sd_configs"])
    expression = next(rule["expr"] for rule in alerts if rule["alert"] == "TidegateMemoryHigh")
    found = re.findall(r'service(=|=~|!~)"([^"]+)"} > (\S+)', expression)
    bounds = {name: float(bound) for sign, some, bound in found if sign != "!~" for name in some.split("|")}
    ((others, rest),) = ((some, float(bound)) for sign, some, bound in found if sign == "!~")

    assert set(others.split("|")) == set(bounds) < set(names)
    for name in names:
        limit = compose["services"][name]["deploy"]["resources"]["limits"]["memory"]
        assert limit[-1] == "G"  # 1024^3 bytes
        assert 0.8 < bounds.get(name, rest) / (int(limit[:-1]) * 1024**3) < 0.9, name


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
