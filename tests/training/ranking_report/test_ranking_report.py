"""The page about ranking: records of several partitions put together by hand, and what the page says of them."""

import math
from html.parser import HTMLParser

import pytest
from made_quality import HOUR, START, bare, quality

from operators.judge.config import JudgeConfig
from schemas.quality import Bin, FairnessTest, GroupExposure, StepCost
from training.ranking_report.about import about, summary
from training.ranking_report.page import page
from training.report.words import moment

CONFIG = JudgeConfig()


def test_means_are_weighted_by_what_they_are_means_of():
    found = summary([quality(), quality(clicked=10, ndcg=0.1, asked=150, recall=0.4, lists=300)], CONFIG.bins)

    assert found.ndcg == pytest.approx((40 * 0.6 + 10 * 0.1) / 50)
    assert found.recall == pytest.approx((50 * 0.8 + 150 * 0.4) / 200)
    assert found.recall_of == pytest.approx({"popular": 0.5, "new": 0.3})
    assert (found.lists, found.clicked, found.asked) == (400, 50, 200)


def test_a_record_without_a_figure_does_not_weigh():
    assert summary([quality(), bare()], CONFIG.bins).ndcg == pytest.approx(0.6)
    assert summary([bare()], CONFIG.bins).ndcg is None


def test_costs_of_steps_are_weighted_by_lists():
    found = summary([quality(), quality(lists=300, steps=(StepCost(name="risk", cost=0.06, moved=0.5),))], CONFIG.bins)

    assert found.steps["risk"].cost == pytest.approx((100 * 0.02 + 300 * 0.06) / 400)
    assert found.steps["risk"].moved == pytest.approx((100 * 0.1 + 300 * 0.5) / 400)


def test_bins_of_all_records_are_joined_and_give_the_calibration_error():
    found = summary([quality(), quality(reliability=(Bin(n=20, predicted=0.03, clicked=0.3),))], CONFIG.bins)

    # .04 and .03 lie between .02 and .05: 80 places, predicted 3 in all, clicked 9.
    assert [(one.n, one.predicted, one.clicked) for one in found.reliability] == [
        (80, pytest.approx(3 / 80), pytest.approx(9 / 80)),
        (40, 0.25, 0.2),
    ]
    assert found.ece == pytest.approx((abs(3 - 9) + abs(10 - 8)) / 120)


def test_exposure_per_merit_is_that_of_a_group_over_that_of_all():
    other = GroupExposure(group="other", items=100, shown=10, exposure=0.5, merit=0.2, clicks=0)
    ours = GroupExposure(group="ours", items=50, shown=10, exposure=0.2, merit=0.2, clicks=0)
    found = summary([quality(groups=(other, ours))], CONFIG.bins)

    # All: (50 + 10) / (20 + 10) = 2; ours: 10 / 10.
    assert found.groups["ours"].per_merit == pytest.approx(0.5)
    assert found.groups["other"].per_merit == pytest.approx(1.25)


def test_a_record_that_is_repeated_counts_once_and_others_of_one_stretch_add_up():
    assert about([quality(lists=7), quality(lists=7)], CONFIG).whole.lists == 7
    assert about([quality(lists=7), quality(lists=9)], CONFIG).whole.lists == 16


def test_stretches_of_several_lengths_are_told_apart():
    half = quality(lists=7, timestamp=START + HOUR // 2)
    found = about([quality(lists=9), half, quality(1, lists=5), quality(lists=4, partition=1)], CONFIG)

    assert [(one.since, one.until, one.lists) for one in found.stretches] == [
        (START, START + HOUR // 2, 7),
        (START, START + HOUR, 13),
        (START + HOUR, START + 2 * HOUR, 5),
    ]
    assert found.whole.lists == 25


def test_the_bins_are_those_of_the_settings():
    one = quality(reliability=(Bin(n=10, predicted=0.3, clicked=0.1), Bin(n=10, predicted=0.4, clicked=0.6)))

    assert [each.n for each in about([one], JudgeConfig(bins=(0.35,))).whole.reliability] == [10, 10]
    assert about([one], JudgeConfig(bins=(0.35,))).whole.ece == pytest.approx(0.2)
    assert [each.n for each in about([one], JudgeConfig(bins=(0.2,))).whole.reliability] == [20]


def evidence(at, partition, e, *, most=None, lists=10, **more):
    told = {"group": "ours", "log_e": math.log(e), "log_largest": math.log(most or max(e, 1.0))}
    return quality(at, partition, tests=(FairnessTest(**told, lists=lists, difference=0.1, **more),))


def test_e_values_are_averaged_over_partitions_and_one_that_told_nothing_yet_has_one():
    records = [
        evidence(0, 0, 3.0),
        evidence(1, 0, 36.0, alarm=True),
        evidence(1, 1, 4.0),
        evidence(2, 1, 0.5, most=4.0),
    ]
    points = about(records, CONFIG).evidence["ours"]

    assert [math.exp(one.log_e) for one in points] == pytest.approx([2.0, 20.0, 18.25])
    assert [math.exp(one.log_largest) for one in points] == pytest.approx([2.0, 20.0, 20.0])
    assert [one.alarms for one in points] == [(), (0,), (0,)]
    assert [one.lists for one in points] == [10, 20, 20]


@pytest.mark.parametrize(
    "anew",
    [
        evidence(1, 0, 2.0, lists=3),
        evidence(1, 0, 2.0, lists=50),
        evidence(1, 0, 2.0, lists=50, most=50.0),
    ],
    ids=["fewer lists", "a smaller largest", "an alarm that is off"],
)
def test_a_partition_whose_judge_began_anew_is_started_again(anew):
    """Two partitions: (40 + 2) / 2 = 21 was an alarm; (2 + 2) / 2 is none."""
    records = [evidence(0, 0, 40.0, alarm=True), evidence(0, 1, 2.0), anew]
    before, after = about(records, CONFIG).evidence["ours"]
    said = page(about(records, CONFIG))

    assert (math.exp(before.log_largest), before.since_ms) == (pytest.approx(21.0), START)
    assert (math.exp(after.log_largest), after.since_ms) == (pytest.approx(2.0), START + HOUR)
    assert "No alarm on exposure" in said
    assert f"ours: the judge began anew, all is since {moment(START + HOUR)} UTC" in said


def test_e_values_of_other_settings_are_not_held_against_those_of_now():
    old, now = {"alpha": 0.05, "tolerance": 0.0}, {"alpha": 0.01, "tolerance": 0.1}
    records = [evidence(0, 0, 40.0, alarm=True, **old), evidence(0, 1, 60.0, alarm=True, **old)]
    records += [evidence(1, 0, 50.0, most=50.0, lists=90, **now)]
    found = about(records, CONFIG)
    (only,) = found.evidence["ours"]

    assert (found.alpha, found.tolerance) == (0.01, 0.1)
    assert (math.exp(only.log_e), only.alarms, only.since_ms) == (pytest.approx((50 + 1) / 2), (), START + HOUR)
    assert "No alarm on exposure" in page(found)


def test_an_alarm_after_a_new_beginning_is_known_from_there_on():
    records = [evidence(0, 0, 40.0, alarm=True), evidence(1, 0, 1.0, lists=3), evidence(2, 0, 30.0, lists=9)]
    said = page(about(records, CONFIG))

    assert f"known by {moment(START + 3 * HOUR)} UTC" in said
    assert "nan" not in said.lower()


@pytest.mark.parametrize(("e", "saying"), [(20.5, "Exposure is not fair"), (19.5, "No alarm on exposure")])
def test_the_page_says_whether_exposure_is_fair(e, saying):
    assert saying in page(about([evidence(0, 0, e)], CONFIG))


def test_the_page_says_what_the_mean_over_partitions_needs():
    assert "given all lists before in all partitions" in page(about([evidence(0, 0, 2.0)], CONFIG))


def test_an_alarm_of_one_partition_alone_is_told():
    said = page(about([evidence(0, 0, 30.0, alarm=True), evidence(0, 1, 1.0)], CONFIG))

    assert "only the alarm of partition 0 went off" in said


class _Open(HTMLParser):
    """Keeps the elements that are open, and complains of one that is closed out of turn."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "records",
    [
        [quality(at, partition) for at in range(30) for partition in (0, 1)],
        [quality()],
        [bare()],
        [quality(), bare(1)],
        [quality(groups=(), tests=(), minimum=(), user_groups=(), steps=())],
    ],
    ids=["long", "one", "bare", "both", "without groups"],
)
def test_the_page_is_whole_html_without_scripts_whatever_is_known(records):
    reader = _Open()
    said = page(about(records, CONFIG))
    reader.feed(said)

    assert reader.open == []
    assert "script" not in reader.seen
    assert "http" not in said
    assert "nan" not in said.lower().replace("tenant", "")


def test_names_are_escaped():
    said = page(about([quality(model="<i>")], CONFIG))

    assert "<women>" not in said
    assert "&lt;women&gt;" in said
    assert "<i>," not in said


def test_the_page_tells_the_figures():
    said = page(about([quality(), quality(1, evicted=3)], CONFIG))

    assert "60.0 %" in said
    assert "+10.0 points against popularity" in said
    assert "13.3 %" in said  # 12 of 90 lists fail, where 8 % would
    assert "8.00 %" in said
    assert "3 lists had to go before their time was over" in said


def test_the_same_records_give_the_same_page():
    assert page(about([quality(), quality(1)], CONFIG)) == page(about([quality(), quality(1)], CONFIG))


def test_without_a_record_there_is_no_page():
    with pytest.raises(ValueError, match="expected a record"):
        about([], CONFIG)


def test_times_of_the_page_are_those_of_its_records():
    whole = about([quality(2), quality()], CONFIG).whole

    assert (whole.since, whole.until) == (START, START + 3 * HOUR)
