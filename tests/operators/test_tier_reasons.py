"""Reasons of a tier, worked by hand."""

import dataclasses
import math

import numpy as np
import pytest
from test_tier import CATALOGUE, COLUMN, CONFIG, calibrated, default

from operators.batches import Calibrated, Reason
from operators.tier import Tier


def reasons_of(feature_tail, raw=None, max_reasons=3, tail=5e-3):
    batch = calibrated(1, 1)
    raw = np.zeros(len(CATALOGUE)) if raw is None else raw
    featured = dataclasses.replace(batch.scored.featured, raw=raw[None])
    scored = dataclasses.replace(batch.scored, featured=featured, feature_tail=feature_tail[None])
    stage = default(max_reasons=max_reasons)
    return stage.process(Calibrated(scored, np.array([tail]))).reasons


def columns(fill, **values):
    row = np.full(len(CATALOGUE), fill)
    for name, value in values.items():
        row[COLUMN[name]] = value
    return row


def test_reasons_are_the_strongest_of_each_family_against_what_is_usual():
    tails = columns(1.0, event_count_1m=1e-3, event_count_1h=1e-2, ip_entropy_1m=1e-4, gap_deviation_1m=0.5,
                    ip_novelty=0.1)  # fmt: skip
    raw = columns(0.0, event_count_1m=30.0, event_count_1h=148.0, ip_entropy_1m=1.5, ip_entropy_1h=0.25,
                  ip_novelty=1.0)  # fmt: skip

    # 118 events in the other 59 minutes of the hour are 2 in a minute; the hour's entropy is 0.25 nats; novelty's
    # usual is 0.
    assert reasons_of(tails, raw) == {
        0: (
            Reason("ip_entropy_1m", 1.5, 0.25, -math.log(1e-4)),
            Reason("event_count_1m", 30.0, 2.0, -math.log(1e-3)),
            Reason("ip_novelty", 1.0, 0.0, -math.log(0.1)),
        )
    }


def test_the_longest_window_has_no_baseline():
    [(count, entropy)] = reasons_of(columns(1.0, event_count_1h=1e-3, ip_entropy_1h=1e-2)).values()

    assert math.isnan(count.baseline)
    assert math.isnan(entropy.baseline)


def test_equal_contributions_are_told_in_the_order_of_the_columns():
    names = [reason.feature for reason in reasons_of(columns(0.01), max_reasons=16)[0]]

    assert names == sorted(names, key=COLUMN.__getitem__)
    assert len(names) == len({feature.family for feature in CATALOGUE})
    assert names[0] == CATALOGUE[0].name


def test_a_feature_outside_its_tail_is_no_reason():
    assert reasons_of(columns(1.0)) == {0: ()}
    assert [reason.feature for reason in reasons_of(columns(1.0, device_novelty=0.2))[0]] == ["device_novelty"]


def test_there_are_no_reasons_below_medium():
    assert reasons_of(columns(0.01), tail=0.5) == {}
    assert reasons_of(columns(0.01), tail=math.nan) == {}


def test_no_reasons_are_told_if_none_are_wanted():
    assert reasons_of(columns(0.01), max_reasons=0) == {0: ()}


def test_with_all_families_told_contributions_add_up_to_the_evidence():
    batch = calibrated(6, 200)
    stage = Tier(dataclasses.replace(CONFIG, max_reasons=16), CATALOGUE, "")
    told = stage.process(batch).reasons

    assert len(told) > 20
    for row, reasons in told.items():
        tail = batch.scored.feature_tail[row]
        evidence = sum(
            max(-math.log(tail[column]) for column, one in enumerate(CATALOGUE) if one.family == family)
            for family in {one.family for one in CATALOGUE}
        )
        assert sum(reason.contribution for reason in reasons) == pytest.approx(evidence, rel=1e-12)
