"""Sentences: closed templates, numbers as people write them, nothing left unfilled."""

import math
import re

import pytest

from operators.explain.words import Told, lasting, led, number, rarity, sentence
from operators.featurize.catalogue import catalogue

NAN = math.nan


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (("counterparty_distinct_10m", "values", "up", "distinct", 600, 14.0, 2.0, 0.1),
         "14 different counterparties in 10 minutes; usual for this user: 2."),
        (("counterparty_distinct_10m", "values", "up", "distinct", 600, 14.0, 14.0, 4.76e-4),
         "14 different counterparties in 10 minutes; 1 event in 2,100 goes as far."),
        (("ip_distinct_1h", "values", "up", "distinct", 3600, 1.0, NAN, 0.5),
         "1 different IP address in 1 hour; 1 event in 2 goes as far."),
        (("event_count_1m", "events", "up", "count", 60, 1234.0, 1.55, 0.1),
         "1,234 events in 1 minute; usual for this user: 1.6."),
        (("amount_sum_24h", "amount", "both", "amount", 86400, 9876.54, 12000.4, 0.1),
         "Amounts of 9,877 in all in 24 hours; usual for this user: 12,000."),
        (("amount_deviation_1h", "standard deviations", "both", "amount_deviation", 3600, -4.24, 0.0, 0.1),
         "An amount 4.2 standard deviations below what this user's amounts were in 1 hour."),
        (("gap_deviation_90s", "standard deviations", "down", "gap_deviation", 90, -3.0, 0.0, 0.1),
         "A gap 3 standard deviations below the gaps between this user's events in 90 seconds."),
        (("type_entropy_1h", "nats", "up", "entropy", 3600, 1.386, 0.5, 0.1),
         "Varied types of event in 1 hour: 1.4 nats of entropy; usual for this user: 0.5."),
        (("ip_novelty", "0 or 1", "up", "novelty", None, 1.0, 0.0, 0.1), "New for this user: the IP address."),
        (("device_novelty", "0 or 1", "up", "novelty", None, 0.0, 0.0, 1.0),
         "Device novelty: 0 0 or 1."),
        (("gap_variation_24h", "of the mean", "down", "gap_variation", 86400, 0.0312, NAN, 0.001),
         "Gaps between events vary by 0.031 of their mean in 24 hours; 1 event in 1,000 goes as far."),
        (("gap_entropy_24h", "of its maximum", "down", "gap_entropy", 86400, 0.125, NAN, 0.001),
         "Gaps between events 12.5 % as varied as they could be in 24 hours; 1 event in 1,000 goes as far."),
        (("counterparty_new_share_24h", "of events", "up", "counterparty_new_share", 86400, 0.75, 0.25, 0.001),
         "A new counterparty in 75 % of the events in 24 hours; usual for this user: 25 %."),
        (("hour_deviation", "nats", "up", "hour_deviation", None, 2.5, 0.0, 0.001),
         "An hour of the day at which this user is seldom active."),
        (("amount_repeats_24h", "events", "up", "amount_repeats", 86400, 7.0, NAN, 0.001),
         "7 events of the same amount in 24 hours; 1 event in 1,000 goes as far."),
        (("rest_min_1h", "seconds", "down", "of_our_own", 3600, 4.0, 30.0, 0.1),
         "Rest min: 4 seconds in 1 hour; usual for this user: 30."),
    ],
)  # fmt: skip
def test_a_feature_in_words(given, written):
    assert sentence(Told(*given)) == written


def test_what_is_not_known_is_not_told():
    assert sentence(Told("event_count_1m", "events", "up", "count", 60, NAN, NAN, 0.1)) is None


@pytest.mark.parametrize("windows_s", [(60, 600, 3600, 86400), (45, 7200)])
def test_every_feature_of_a_catalogue_has_a_sentence_without_a_name_of_the_code(windows_s):
    for feature in catalogue(windows_s):
        named = (feature.name, feature.unit, feature.direction, feature.family, feature.window_s)
        text = sentence(Told(*named, 2.5, 1.25, 0.01))

        assert re.fullmatch(r"[A-Z0-9][^_{}]*\.", text), text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (1e6, "1,000,000"),
        (-1234.5, "-1,234"),
        (0.001234, "0.0012"),
        (12.34, "12.3"),
        (99.96, "100"),
        (999.6, "1,000"),
    ],
)
def test_numbers(value, written):
    assert number(value) == written


@pytest.mark.parametrize(
    ("window_s", "written"),
    [(1, "1 second"), (60, "1 minute"), (5400, "90 minutes"), (3600, "1 hour"), (2592000, "720 hours")],
)
def test_lengths_of_windows(window_s, written):
    assert lasting(window_s) == written


def test_what_led_is_told_in_thirds():
    assert len({led(0.9), led(0.5), led(0.1)}) == 3
    assert led(0.9) == led(0.7)


@pytest.mark.parametrize(("tail", "count"), [(4.76e-4, "2,100"), (0.01, "100"), (0.0999, "10"), (1.0, "1")])
def test_how_rare_an_event_is(tail, count):
    assert rarity(tail) == f"Only 1 event in {count} is like this."
