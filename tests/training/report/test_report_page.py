"""The page of an experiment: all that it must name and say, and what it must never show."""

import html
import re

import msgspec
import pytest
from made_readouts import START, arm, compared, comparisons, definition, looks, ratio, readout, uplift, verdict

from schemas.definition import Metric
from schemas.readout import Estimate, Interval
from training.report.about import About
from training.report.page import page

VERDICTS = (verdict("continue", 5, reasons=("too early",)), verdict(variation="green", before="continue"))
FULL = About(readout(), VERDICTS, definition(), uplift())


def unstyled(about):
    return re.sub(r"<style>.*?</style>", "", page(about), flags=re.DOTALL)


def text(about):
    """What a person reads, without the markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", unstyled(about))))


def warming(**missing):
    unknown = dict.fromkeys(("unadjusted", "adjusted", "bonferroni", "holm", "bound", "bound_harm", "variance_saved"))
    told = unknown | {"state": "warming", "held": False, "e_bh": False, "strata": (), "missing": missing}
    return tuple(msgspec.structs.replace(one, **told) for one in comparisons())


def with_primary(**fields):
    first, *others = comparisons()
    return About(readout(comparisons=(msgspec.structs.replace(first, **fields), *others)))


EMPTY = About(readout(comparisons=(), sample_ratio=(), looks=(), first_exposure=None, offsets={}, partitions=()))
BARE = About(
    readout(
        tiers=False,
        looks=(),
        comparisons=(
            compared(control=arm("control", None), arm=arm("green", None), unadjusted=Estimate(), adjusted=None,
                     variance_saved=None, bonferroni=None, holm=None),
            compared("refunds", role="guardrail", unadjusted=None, adjusted=None, margin=0.1, margin_of="relative"),
        ),
        sample_ratio=(msgspec.structs.replace(ratio(), chi_squared_p=None),),
    )
)  # fmt: skip
THREE_ARMS = About(
    readout(
        comparisons=tuple(one for pair in zip(comparisons(), comparisons("blue"), strict=True) for one in pair),
        looks=looks(2),
        sample_ratio=(ratio(counts=(8_000, 8_010, 7_990)),),
    ),
    (),
    definition(variations=("control", "green", "blue")),
)
CASES = {
    "full": FULL,
    "empty": EMPTY,
    "bare": BARE,
    "three arms": THREE_ARMS,
    "uplift not known": About(
        readout(), uplift=[msgspec.structs.replace(one, effect=None, lower=None, upper=None) for one in uplift()]
    ),
    "uplift without ranking": About(readout(), uplift=uplift()[1:]),
    "warming": About(readout(comparisons=warming(units=63.0), looks=(), tiers=False)),
}


@pytest.mark.parametrize("name", ["revenue", "buyers", "revenue-per-visit", "refunds", "latency", "tidegate.risk"])
def test_every_metric_is_named(name):
    assert name in text(FULL)


def test_every_variation_is_named_and_has_a_chart_of_its_own():
    shown = text(THREE_ARMS)

    assert "green, blue against control" in shown
    assert "Lift of revenue over time: green" in shown
    assert "Lift of revenue over time: blue" in shown


@pytest.mark.parametrize("name", ["low risk", "risky", "no tier", "all but risky"])
def test_every_stratum_is_named(name):
    assert name in text(FULL).split("By risk tier before exposure")[1]


def test_the_description_stands_at_the_top():
    assert "checkout-button Does a green button sell more?" in text(FULL)


def test_what_others_wrote_is_escaped():
    evil = '<script>alert("1")</script>'
    first, *others = comparisons()
    about = About(
        readout(
            comparisons=(msgspec.structs.replace(first, metric=evil, arm=arm(evil, 12.0)), *others),
            refused={evil: 3},
            offsets={evil: {evil: 1}},
        ),
        (verdict(reasons=(evil,)), verdict(reasons=(evil,), variation=evil)),
        definition(description=evil, primary=Metric(name=evil, kind="mean", event="x"), variations=("control", evil)),
        [
            msgspec.structs.replace(
                one, ranking=one.ranking and msgspec.structs.replace(one.ranking, importance={evil: 1.0})
            )
            for one in uplift(evil)
        ],
    )

    assert "<script" not in page(about)
    assert evil in text(about)


@pytest.mark.parametrize("about", CASES.values(), ids=CASES)
def test_no_page_shows_what_is_absent_as_a_number_or_a_sign(about):
    assert re.findall(r"(?i)\b(nan|none|null|inf|infinity)\b", unstyled(about)) == []


@pytest.mark.parametrize("about", CASES.values(), ids=CASES)
def test_a_page_takes_nothing_from_elsewhere_and_runs_nothing(about):
    assert re.findall(r"https?:|//|src=|href=|url\(|@import|<script|<link|<iframe", page(about)) == []


@pytest.mark.parametrize("about", CASES.values(), ids=CASES)
def test_every_tag_that_is_opened_is_closed(about):
    counted = {
        tag: (len(re.findall(rf"<{tag}[\s>]", page(about))), page(about).count(f"</{tag}>"))
        for tag in ("div", "section", "svg", "table", "tr", "td", "ul", "li", "g", "span", "dl", "text")
    }

    assert {tag: both for tag, both in counted.items() if both[0] != both[1]} == {}


def test_the_decision_stands_there_with_its_reasons():
    assert "Ship green revenue: lift of green 3.1 %, always valid 0.8 % to 5.4 %" in text(FULL)


def test_decisions_before_it_are_listed_newest_first():
    shown = text(FULL).split("Decisions so far")[1]

    assert shown.index("ship green") < shown.index("too early")


def test_that_there_is_no_decision_is_said():
    assert "No decision yet" in text(About(readout()))


def test_both_intervals_of_the_lift_are_shown_always_valid_first():
    # around(0.031, 0.0145): fixed 1.65 to 4.55 %; always 1.6 times as wide, 0.78 to 5.42 %.
    assert "+0.78 % to +5.42 % fixed: +1.65 % to +4.55 %" in text(FULL)


def test_without_cuped_the_unadjusted_analysis_is_the_declared_one():
    # around(0.035, 0.022): always 3.5 -+ 3.52 %, fixed 3.5 -+ 2.2 %.
    assert "−0.02 % to +7.02 % fixed: +1.30 % to +5.70 %" in text(About(readout(cuped=False)))  # noqa: RUF001  the minus that is shown


def test_an_interval_without_a_lower_end_is_said_to_be_below_its_upper_one():
    estimate = Estimate(difference=0.4, lift=0.03, always_lift=Interval(upper=0.5), fixed_lift=Interval())

    shown = text(with_primary(adjusted=estimate))
    assert "below +50.0 % fixed: no end on either side" in shown


def test_where_there_is_no_lift_the_difference_is_shown():
    assert "no lift; difference +0.4" in text(with_primary(adjusted=Estimate(difference=0.4, p=0.2)))


def test_a_metric_that_is_warming_says_what_it_lacks_and_shows_no_lift():
    shown = text(About(readout(comparisons=warming(units=63.0, effective_units=3.2), looks=())))

    assert "revenue of green: lacks 63 units whose window is over, 4 effective units" in shown
    assert "+3.10 %" not in shown


def test_an_effect_that_changes_is_told():
    shown = text(with_primary(state="changing"))

    assert "revenue of green: no single effect is in all intervals so far" in shown
    assert "empty: the effect changes" in shown


def test_a_guardrail_is_held_or_harm_is_shown_with_margin_and_bound():
    shown = text(FULL).split("Guardrails and risk")[1]

    assert "refunds green 0.20 points absolute 0.13 points held" in shown
    assert "latency green 1.00 % of the control 5.20 % by at least 1.50 % harm shown" in shown


def test_a_guardrail_that_is_worse_by_less_than_its_margin_is_no_harm():
    comparisons = [
        compared("latency", role="guardrail", margin=0.02, margin_of="relative", bound=0.05, bound_harm=0.015)
    ]

    assert "2.00 % of the control 5.00 % not shown yet" in text(About(readout(comparisons=tuple(comparisons))))


def test_more_risk_is_harm_without_any_margin():
    # A proportion: 0.003 is 0.3 points.
    more = compared("tidegate.risk", role="risk", kind="proportion", better="down", bound=0.02, bound_harm=0.003)

    assert "no margin 2.00 points by at least 0.30 points harm shown" in text(About(readout(comparisons=(more,))))


def test_the_interval_that_decides_stands_beside_that_of_all_looks():
    # Running: 1.5 times the fixed half-width of 1.45 %.
    assert "+0.92 % to +5.27 % decides: +0.111 to +0.633" in text(FULL)


def test_a_decision_that_is_older_than_the_readout_says_that_its_figures_are():
    older = About(readout(), (verdict(days=14),))

    assert "Not changed since; its figures are of then." in text(older)
    assert "Not changed since" not in text(FULL)


def test_the_family_is_shown_corrected():
    shown = text(FULL).split("Several hypotheses at once")[1]

    # The e-value of log 5.5 is 244.7.
    assert "revenue green 0.012 0.012 244.7 discovery" in shown
    assert "buyers green 1 0.83" in shown


def test_units_are_shown_against_what_was_expected():
    assert "all 24,010 expected 24,000 23,990 expected 24,000 0.41 fixed: 0.93 quiet" in text(FULL)


def test_an_alarm_of_the_sample_ratio_is_told_with_its_stray_units():
    shown = text(About(readout(sample_ratio=(ratio(p=0.0004, alarm=True, stray=7),))))

    assert "0.0004 fixed: 0.93 alarm 7 in arms of weight 0" in shown


def test_that_tiers_are_not_read_is_said():
    assert "Risk tiers are not read" in text(CASES["bare"])
    assert "Risk tiers are not read" not in text(FULL)


def test_a_definition_of_another_version_is_said():
    about = About(readout(), VERDICTS, definition(version=4))

    assert "The definition is of version 4, the readout of version 3" in text(about)


def test_offsets_are_shown_by_topic_and_partition():
    assert "exposures 20,411 19,950 metrics 90,004 88,123" in text(FULL)


def test_uplift_is_shown_by_decile_with_what_was_predicted():
    shown = text(FULL).split("Uplift by decile: green")[1]

    assert "all units 20,010 / 20,000 +0.3 +0.2 to +0.4 +0.31" in shown
    assert "decile 10 2,010 / 2,000" in shown
    assert "0.06; of random rankings a share of 0.005 is as good" in shown


def test_without_uplift_there_is_no_word_of_it():
    assert "Uplift" not in text(About(readout()))


def test_time_is_that_of_the_stream():
    # START is 2027-01-04 08:00; the readout is of 15 days later.
    assert START == 1_799_049_600_000
    assert "read at 2027-01-19 08:00 UTC" in text(FULL)
