"""Every signal against brute force over all rows, and parts of partitions against the whole."""

import dataclasses

import numpy as np
import pytest
from signals_reference import CONFIG, HOUR, SECOND, START, Row, batch, judged, signals, stream

from operators.noticed import CLICK, IMPRESSION
from operators.signals.items import COLUMNS
from operators.signals.merge import MergeItems, MergeItemsConfig
from operators.signals.stage import CountItems

SEEDS = (1, 2, 3)
MERGED = MergeItemsConfig()
LONG = {"items": 12, "users": 40, "step_s": 120}
"""Two days: windows, periods and half-lives pass."""


def merged(stages, config=CONFIG):
    merge = MergeItems(MERGED, config, len(stages))
    for number, stage in enumerate(stages):
        merge.take(number, stage.totals(stage.changed()))
    return merge


def told(merge):
    """Return the signals of all items: item -> name -> value."""
    found = merge.signals(np.arange(len(merge)))
    rows = (dict(zip(merge.names, row, strict=True)) for row in found.values)
    return dict(zip(found.items.tolist(), rows, strict=True))


def counted(listed, config=CONFIG):
    stage = CountItems(config)
    flags = stage.process(batch(listed)).flags
    return stage, flags


def compare(found, listed, stream_ms, config=CONFIG):
    assert found.keys() == {row.item for row in listed}
    for item, values in found.items():
        expected = signals(listed, item, stream_ms, config, MERGED.smoothing, MERGED.worth)
        assert values.keys() == expected.keys()
        for name, value in values.items():
            assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-9, nan_ok=True), (item, name)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_signals_are_those_of_brute_force(seed):
    listed = stream(seed, **LONG)
    stage, _ = counted(listed)
    stream_ms, flags = judged(listed, CONFIG)

    compare(told(merged([stage])), [row for row, flag in zip(listed, flags, strict=True) if not flag], stream_ms)


@pytest.mark.parametrize("seed", SEEDS)
def test_late_and_repeated_rows_are_those_of_brute_force(seed):
    listed = stream(seed, step_s=120)
    _, flags = counted(listed)
    expected = judged(listed, CONFIG)[1]

    assert len(set(expected)) == 3
    assert flags.tolist() == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_partitions_add_up_to_the_whole(seed):
    listed = stream(seed, **LONG, late=0.0, repeated=0.0)
    stages = [counted([row for row in listed if row.user % 3 == number])[0] for number in range(3)]

    compare(told(merged(stages)), listed, max(row.time_ms for row in listed))


def test_a_partition_that_lags_behind_adds_up_too():
    """Its newest rows are three hours old: of its windows of an hour nothing is left, of the day's all."""
    listed = stream(4, **LONG, late=0.0, repeated=0.0)
    end = max(row.time_ms for row in listed)
    listed = [row for row in listed if row.user % 2 or row.time_ms < end - 3 * HOUR]
    stages = [counted([row for row in listed if row.user % 2 == number])[0] for number in range(2)]

    compare(told(merged(stages)), listed, max(row.time_ms for row in listed))


def test_a_part_stands_for_all_before_it():
    listed = stream(5, **LONG)
    stage, merge = CountItems(CONFIG), MergeItems(MERGED, CONFIG, 2)
    for first in range(0, len(listed), 100):
        stage.process(batch(listed[first : first + 100], first))
        merge.take(1, stage.totals(stage.changed()))
    stream_ms, flags = judged(listed, CONFIG)

    compare(told(merge), [row for row, flag in zip(listed, flags, strict=True) if not flag], stream_ms)


def test_a_part_that_comes_twice_counts_once():
    listed = stream(6, 300)
    stage, merge = counted(listed)[0], MergeItems(MERGED, CONFIG, 1)
    totals = stage.totals(stage.changed())
    merge.take(0, totals)
    once = told(merge)
    merge.take(0, totals)

    assert repr(told(merge)) == repr(once)  # by their text, in which NaN equals itself


def test_a_click_counts_for_its_place_but_no_more_than_the_clip():
    """Chances .6, .05 (below the last place told too) and 1 where the place is not known; the clip is 8."""
    rows = [Row(CLICK, 1, 9, START + k, 0, place) for k, place in enumerate((1, 3, 7, -1))]
    stage, _ = counted(rows)
    sums = stage.totals(stage.changed()).sums.sums[0, 0].sum(axis=0)

    assert sums[COLUMNS.index("debiased_clicks")] == pytest.approx(1 / 0.6 + 8 + 8 + 1)


def test_places_without_told_chances_are_seen_by_one_over_their_number():
    """Joachims, Swaminathan, Schnabel (WSDM 2017): (1 / rank)^eta, eta 1. Places 0, 2 and 3: 1 + 3 + 4."""
    stage, _ = counted(
        [Row(CLICK, 1, 9, START + k, 0, place) for k, place in enumerate((0, 2, 3))],
        dataclasses.replace(CONFIG, propensities=()),
    )
    sums = stage.totals(stage.changed()).sums.sums[0, 0].sum(axis=0)

    assert sums[COLUMNS.index("debiased_clicks")] == pytest.approx(8)


def test_a_window_holds_all_of_its_length_and_nothing_older_than_a_fifth_more():
    rows = [Row(IMPRESSION, 1, 9, START + k * 10 * SECOND) for k in range(1_000)]
    for n in (400, 437, 700, 811, 1_000):
        stage, _ = counted(rows[:n])
        values = told(merged([stage]))[1]

        assert 360 <= values["impressions_1h"] <= 432  # 10 s apart: 360 an hour


def test_an_item_that_comes_again_after_it_had_gone_has_a_new_audience():
    """One pair is in the table still: of the item that was, so the user is counted again."""
    config = dataclasses.replace(CONFIG, max_items=1)
    rows = [Row(CLICK, 1, 9, START), Row(CLICK, 2, 9, START), Row(CLICK, 1, 9, START)]
    stage, _ = counted(rows, config)
    values = told(merged([stage], config))[1]

    assert (values["audience"], values["entropy"], values["clicks_1h"]) == (1, 0, 1)
