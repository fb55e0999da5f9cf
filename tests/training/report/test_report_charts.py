"""What the charts and words of an experiment's page do with figures, and with none."""

import math
import re

import msgspec
import pytest
from made_readouts import NOW, START, comparisons, looks, ratio, readout

from schemas.readout import Interval
from training.report.about import About, leaning
from training.report.forest import draw_metrics
from training.report.over_time import draw_lift, draw_sample_ratio, lift_axis, times
from training.report.words import chance, evidence, lifts, percent, plain

UP, DOWN = comparisons()[0], comparisons()[3]


def points(path):
    return [tuple(map(float, pair.split(","))) for pair in re.split(r"[MLZ]", path) if pair]


def paths(svg, css):
    return [points(found) for found in re.findall(rf'<path class="{css}" d="([^"]*)"', svg)]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0312, "+3.12 %"),
        (-0.1, "−10.0 %"),  # noqa: RUF001  the minus that is shown
        (2.5, "+250 %"),
        (0.0, "0 %"),
        (0.000123, "+0.012 %"),
        (None, "not known"),
        (math.nan, "not known"),
        (math.inf, "not known"),
    ],
)
def test_shares_are_written_with_the_digits_they_take(value, said):
    assert percent(value, sign=True) == said


@pytest.mark.parametrize(
    ("value", "said"), [(12_345.6, "12,346"), (320.54, "320.5"), (12.371, "12.37"), (0.00345, "0.00345"), (12.0, "12")]
)
def test_numbers_are_written_with_the_digits_they_take(value, said):
    assert plain(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(1.0, "1"), (0.0413, "0.041"), (0.00002, "2.0e-5"), (1e-9, "below 1e-6"), (None, "not known")],
)
def test_chances_are_never_written_as_nought(value, said):
    assert chance(value) == said


@pytest.mark.parametrize(("log_e", "said"), [(math.log(244.7), "244.7"), (50.0, "above 1e6"), (None, "not known")])
def test_evidence_is_written_as_odds(log_e, said):
    assert evidence(log_e) == said


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(lower=0.01, upper=0.02), "+1.00 % to +2.00 %"),
        (Interval(lower=0.01), "above +1.00 %"),
        (Interval(upper=0.01), "below +1.00 %"),
        (Interval(), "no end on either side"),
    ],
)
def test_an_end_that_is_not_there_is_said(interval, said):
    assert lifts(interval) == said


def test_an_interval_of_what_is_not_known_has_no_ends_to_tell():
    assert lifts(Interval(), known=False) == "not known"


@pytest.mark.parametrize(
    ("one", "interval", "css"),
    [
        (UP, Interval(lower=0.01, upper=0.02), "good"),
        (UP, Interval(lower=-0.02, upper=-0.01), "bad"),
        (DOWN, Interval(lower=0.01, upper=0.02), "bad"),
        (DOWN, Interval(lower=-0.02, upper=-0.01), "good"),
        (UP, Interval(lower=-0.01, upper=0.02), "open"),
        (UP, Interval(lower=0.01), "good"),
        (UP, Interval(), "open"),
        (UP, Interval(lower=0.02, upper=0.01), "open"),
    ],
)
def test_colour_says_whether_nought_is_left_out_and_on_which_side(one, interval, css):
    assert leaning(one, interval) == css


def test_ticks_of_lifts_are_round_and_hold_nought():
    axis = lift_axis("", 0.004, 0.054)

    assert [said for _, said in axis.ticks] == ["0 %", "+1 %", "+2 %", "+3 %", "+4 %", "+5 %", "+6 %"]


def test_ticks_of_time_are_round():
    axis = times(START, NOW, 8)

    assert [said for _, said in axis.ticks][:3] == ["6 Jan", "8 Jan", "10 Jan"]


def test_the_band_over_time_has_an_edge_at_every_look_and_at_the_readout():
    about = About(readout(looks=looks(count=10)))

    # There and back again: 10 looks and the readout, twice.
    [band] = paths(draw_lift(about, 0), "band ours")
    assert len(band) == 22


def test_a_look_at_which_the_lift_was_not_known_leaves_a_gap():
    shown = list(looks(count=10))
    shown[4] = msgspec.structs.replace(shown[4], lifts=(None,), always=(Interval(),), fixed=(Interval(),))

    bands = paths(draw_lift(About(readout(looks=tuple(shown))), 0), "band ours")
    assert [len(band) for band in bands] == [8, 12]


def test_an_interval_without_ends_fills_the_height_of_the_chart():
    shown = list(looks(count=10))
    shown[0] = msgspec.structs.replace(shown[0], always=(Interval(),), fixed=(Interval(),))

    [band] = paths(draw_lift(About(readout(looks=tuple(shown))), 0), "band ours")
    assert (band[0][1], band[-1][1]) == (320 - 44, 14)  # bottom and top of the grid


def test_the_sample_ratio_begins_at_one_and_falls_to_its_newest_value():
    svg = draw_sample_ratio(About(readout(looks=(), sample_ratio=(ratio(p=1e-3),))))

    # Axis from 1 to 1e-3 and below it the limit, two thirds down.
    [line] = paths(svg, "line risky thick")
    assert (line[0][1], line[-1][1]) == (14, 300 - 44)
    assert "alarm at 0.01" in svg


def test_a_quiet_sample_ratio_is_not_drawn_as_an_alarm():
    assert paths(draw_sample_ratio(About(readout())), "line risky thick") == []


def test_an_interval_beyond_the_scale_ends_in_arrows():
    # The risk metric's reaches from -28.6 to 38.6 %, farther than five times the median of all.
    assert draw_metrics(About(readout())).count('class="arrow"') >= 1


def test_a_long_name_is_cut_in_the_chart():
    first, *others = comparisons()
    name = "n" * 100

    svg = draw_metrics(About(readout(comparisons=(msgspec.structs.replace(first, metric=name), *others))))
    assert f">{name}<" not in svg
    assert "nnn…" in svg
