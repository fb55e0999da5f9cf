"""Verdicts on real experiments under peeking, against a scalar re-implementation that shares no code."""

import csv
import gzip
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import stdtr

from experiments.effects import Arms
from training.peeking import Series, growth, judge, read_series, tally

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def file(real_data):
    return real_data("asos_experiments", "asos_digital_experiments_dataset.csv.gz")


def said(*verdicts):
    return np.array(verdicts, np.int8)


def test_what_was_said_and_taken_back_is_counted():
    # Said and kept; said, taken back; turned round; never said; no look at all.
    found = tally([said(0, 1, 1), said(1, 0, 0), said(-1, 0, 1), said(0, 0, 0), said()])

    assert found._asdict() == {"last": 2, "ever": 3, "lost": 2, "changes": 1 + 1 + 2, "both": 1}


def series(n, mean_c, mean_t, variance, metric="4"):
    n, mean_c, mean_t = (np.array(one, float) for one in (n, mean_c, mean_t))
    nothing = np.zeros_like(n)
    arms = [Arms(n, mean, np.full_like(n, variance), nothing, nothing, nothing, n - 1) for mean in (mean_c, mean_t)]
    return Series("e", "1", metric, np.arange(len(n)) + 1.0, *arms)


def test_a_look_before_the_burn_in_says_nothing():
    # 99 units an arm are one too few, whatever they say.
    assert len(judge(series([99, 99], [10, 10], [20, 20], 1.0)).fixed) == 0


def test_a_proportion_waits_for_five_units_of_the_rarer_kind():
    # 3 units of 1,000 without it, and 18 of 6,000.
    found = judge(series([1_000, 6_000], [0.997, 0.997], [0.997, 0.997], 0.003, "1"))

    assert len(found.fixed) == 1


def test_a_look_without_spread_says_nothing():
    assert len(judge(series([1_000, 1_000], [10, 10], [11, 11], 0.0)).fixed) == 0


def test_the_way_of_an_effect_is_told():
    # Standard error sqrt(2 / 1000) = 0.0447: 1 is 22 of them.
    assert judge(series([1_000, 1_000], [10, 10], [11, 9], 1.0)).always.tolist() == [1, -1]


def test_a_fixed_test_says_what_an_always_valid_one_does_not_say_yet():
    # A difference of 2.5 standard errors; always-valid intervals are half as wide again at the very least.
    found = judge(series([2_500], [10], [10 + 2.5 * math.sqrt(2 / 2_500)], 1.0))

    assert (found.fixed.tolist(), found.always.tolist()) == ([1], [0])


def test_intervals_that_have_nothing_in_common_are_told():
    assert judge(series([1_000, 1_000], [10, 10], [11, 9], 1.0)).changing
    assert not judge(series([1_000, 1_000], [10, 10], [11, 11], 1.0)).changing


def test_growth_is_from_the_look_at_a_quarter_to_the_last():
    assert growth(series([100] * 4, [1, 2, 3, 5], [1, 1, 1, 1], 1.0)) == 2.5


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")

    with pytest.raises(ValueError, match="expected the columns of the data set"):
        read_series(path)


def scalar_look(row, metric, alpha, tuning):
    """One row by hand: (fixed, always, lower, upper), or None if it does not count.

    Welch 1947; Howard et al. 2021, eq. 14, with rho^2 of Waudby-Smith et al. 2024, eq. 161.
    """
    n, m, v = ([float(row[f"{field}_{arm}"] or "nan") for arm in "ct"] for field in ("count", "mean", "variance"))
    if not (n[0] >= 100 and n[1] >= 100) or math.isnan(v[0] + v[1]):
        return None
    for arm in (0, 1):
        effective = n[arm] * m[arm] ** 2 / (m[arm] ** 2 + v[arm]) if m[arm] ** 2 + v[arm] > 0 else 0.0
        ones = round(n[arm] * m[arm])
        if effective < 20 or (metric == "1" and min(ones, n[arm] - ones) < 5):
            return None
    parts = [v[0] / n[0], v[1] / n[1]]
    variance = sum(parts)
    if not variance > 0:
        return None
    difference = m[1] - m[0]
    dof = variance**2 / (parts[0] ** 2 / (n[0] - 1) + parts[1] ** 2 / (n[1] - 1))
    p = 2 * float(stdtr(dof, -abs(difference) / math.sqrt(variance)))
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuning
    grown = (n[0] + n[1]) * rho2
    half = math.sqrt(variance) * math.sqrt(2 * (grown + 1) / grown * math.log(math.sqrt(grown + 1) / alpha))
    way = (difference > 0) - (difference < 0)
    fixed, always = (way if significant else 0 for significant in (p <= alpha, abs(difference) > half))
    return fixed, always, difference - half, difference + half


def scalar_counts(rows, alpha, tuning):
    """Count as `tally` does, with plain loops: metric -> counts."""
    looks, names = {}, set()
    for row in rows:
        key = (row["metric_id"], row["experiment_id"], row["variant_id"])
        names.add(key)
        found = scalar_look(row, row["metric_id"], alpha, tuning)
        if found:
            looks.setdefault(key, []).append((float(row["time_since_start"]), *found))
    counts = {}
    for metric in ("1", "2", "3", "4", "all"):
        mine = [sorted(one) for key, one in looks.items() if metric in (key[0], "all")]
        here = [len(mine), sum(map(len, mine))]
        for column in (1, 2):
            last = ever = lost = changes = 0
            for one in mine:
                verdicts = [look[column] for look in one]
                last += verdicts[-1] != 0
                ever += any(verdicts)
                lost += any(verdict not in (0, verdicts[-1]) for verdict in verdicts)
                changes += sum(before != after for before, after in itertools.pairwise(verdicts))
            here += [last, ever, lost, changes]
        here.append(sum(max(look[3] for look in one) > min(look[4] for look in one) for one in mine))
        counts[metric] = here
    return counts


@pytest.fixture(scope="module")
def rows(file):
    with gzip.open(file, "rt") as lines:
        return list(csv.DictReader(lines))


def test_the_data_are_99_pairs_of_four_metrics(file, rows):
    # As INDEX.md and the paper say: 78 experiments, 99 pairs, 24,153 rows.
    found = read_series(file)

    assert (len(rows), len(found), len({one.experiment for one in found})) == (24_153, 4 * 99, 78)
    assert len({(one.experiment, one.variation) for one in found}) == 99


@pytest.mark.parametrize("tuning", [5_000, 500_000])
def test_every_count_is_that_of_a_scalar_count_by_hand(file, rows, tuning):
    judged = {metric: [] for metric in ("1", "2", "3", "4", "all")}
    for one in read_series(file):
        found = judge(one, tuning=tuning)
        judged[one.metric].append(found)
        judged["all"].append(found)
    counts = {}
    for metric, found in judged.items():
        both = [tally(one.fixed for one in found), tally(one.always for one in found)]
        counts[metric] = [
            sum(len(one.fixed) > 0 for one in found),
            sum(len(one.fixed) for one in found),
            *(count for each in both for count in (each.last, each.ever, each.lost, each.changes)),
            sum(one.changing for one in found),
        ]

    assert counts == scalar_counts(rows, 0.05, tuning)


@pytest.mark.parametrize("tuning", [5_000, 500_000])
def test_the_table_in_the_documentation_is_what_a_count_by_hand_gives(rows, tuning):
    shown = (ROOT / "docs" / "experiments.md").read_text().splitlines()

    for metric, counts in scalar_counts(rows, 0.05, tuning).items():
        assert f"| {metric} | {tuning:,} | " + " | ".join(f"{count:,}" for count in counts) + " |" in shown


def test_the_metrics_go_on_growing_after_exposure(file):
    # What the documentation says of them: medians over pairs, from a quarter of the looks to the last.
    found = {metric: [] for metric in "1234"}
    for one in read_series(file):
        found[one.metric].append(growth(one))

    assert {metric: round(float(np.median(each)), 2) for metric, each in found.items()} == {
        "1": 1.3,
        "2": 1.6,
        "3": 1.61,
        "4": 1.62,
    }
