"""What counts and when: jumps of time, bounds, users who are not trusted; and a planted attack."""

import dataclasses

import numpy as np
import pytest
from signals_reference import CONFIG, HOUR, SECOND, START, Row, batch, stream
from test_signals_reference import counted, merged, told

from operators.batches import AHEAD, LATE
from operators.noticed import CLICK, IMPRESSION, OTHER, PURCHASE
from operators.signals.stage import CountItems
from operators.waiting import MOST

DAY = 24 * HOUR
RANKED = (
    "click_rate_1d",
    "purchase_rate_1d",
    "debiased_rate_1d",
    "fading_click_rate",
    "trending",
    "velocity",
    "clicks_1d",
)
"""Signals that a list could be ordered by."""


def clicks(stage, item=1):
    """Return an item's clicks in the longest window."""
    return stage.totals(np.array([item], np.uint64)).sums.sums[0, -1, :, 1].sum()


def test_a_row_beyond_the_gap_waits_and_moves_no_time():
    stage, flags = counted([Row(CLICK, 1, 5, START), Row(CLICK, 1, 6, START + DAY)])

    assert (flags.tolist(), stage.stream_ms, clicks(stage)) == ([0, AHEAD], START, 1)


def test_rows_that_waited_count_once_three_users_confirm_the_jump():
    ahead = [Row(CLICK, 1, user, START + 2 * DAY + user * SECOND) for user in (5, 6, 7)]
    stage, flags = counted([Row(CLICK, 1, 5, START), *ahead])

    assert flags.tolist() == [0, AHEAD, AHEAD, 0]
    assert (stage.stream_ms, clicks(stage)) == (START + 2 * DAY + 7 * SECOND, 3)  # the first is too old


def test_one_broken_clock_neither_counts_nor_makes_others_late():
    wrong = [Row(CLICK, 1, 5, START + 300 * DAY + k, 100 + k) for k in range(2 * MOST)]
    stage, flags = counted([Row(CLICK, 1, 6, START), *wrong, Row(CLICK, 1, 7, START + SECOND)])
    refused = {each.labels["reason"]: each.value for each in stage.measurements() if each.labels}

    assert (flags[0], flags[-1], clicks(stage)) == (0, 0, 2)
    assert refused == {"late": 0, "duplicate": 0, "ahead": MOST}


def test_a_late_row_counts_nowhere():
    stage, flags = counted([Row(CLICK, 1, 5, START), Row(CLICK, 1, 6, START - HOUR)])
    totals = stage.totals(stage.changed())

    assert flags.tolist() == [0, LATE]
    assert totals.everything.decayed[0, 1] == 1.0


def test_what_is_neither_shown_nor_clicked_nor_bought_moves_time_alone():
    stage, flags = counted([Row(OTHER, 1, 5, START, weight=0.5, risky=True), Row(CLICK, 2, 6, START - HOUR)])

    assert (flags.tolist(), len(stage), stage.stream_ms) == ([0, LATE], 0, START)


@pytest.mark.parametrize(("weight", "counts"), [(0.0, 0.0), (0.25, 0.25), (7.0, 1.0), (-1.0, 0.0), (np.nan, 0.0)])
def test_a_weight_is_taken_into_the_range_from_0_to_1(weight, counts):
    stage, _ = counted([Row(CLICK, 1, 5, START, weight=weight)])

    assert told(merged([stage]))[1]["weighted_clicks_1h"] == counts


def test_a_flood_of_new_items_takes_no_regular_ones_place():
    config = dataclasses.replace(CONFIG, max_items=50)
    regulars = [Row(CLICK, item, item, START + turn * 700_000 + item) for turn in range(3) for item in range(1, 31)]
    flood = [Row(CLICK, 1_000 + k, 1 + k, START + 1_500_000 + k) for k in range(5_000)]
    stage, _ = counted([*regulars, *flood], config)

    assert (len(stage), len(stage.totals(np.arange(1, 31).astype(np.uint64)).items)) == (50, 30)


def test_a_flood_of_new_users_makes_regular_ones_no_strangers():
    config = dataclasses.replace(CONFIG, max_pairs=50)
    regulars = [Row(CLICK, 1, user, START + turn * 700_000 + user) for turn in range(3) for user in range(1, 31)]
    flood = [Row(CLICK, 2, 1_000 + k, START + 1_500_000 + k) for k in range(5_000)]
    again = [Row(CLICK, 1, user, START + 1_600_000 + user) for user in range(1, 31)]
    stage, _ = counted([*regulars, *flood, *again], config)

    assert told(merged([stage], config))[1]["audience"] == 30


def test_items_that_changed_are_handed_on_in_turns():
    stage, _ = counted([Row(CLICK, item, 1, START) for item in range(1, 8)])
    asked = [stage.changed(3).tolist() for _ in range(4)]

    assert asked == [[1, 2, 3], [4, 5, 6], [7], []]


def test_items_that_change_all_the_time_let_others_have_their_turn():
    stage = CountItems(CONFIG)
    asked = []
    for k in range(3):
        stage.process(batch([Row(CLICK, item, 1, START + k) for item in range(1, 8)]))
        asked += stage.changed(3).tolist()

    assert set(asked) == set(range(1, 8))


def test_after_a_restart_all_items_are_handed_on_again():
    stage, _ = counted([Row(CLICK, item, 1, START) for item in range(1, 8)])
    stage.changed()
    again = CountItems(CONFIG)
    again.load(stage.dump())

    assert again.changed().tolist() == list(range(1, 8))


def shop(seed, items=20):
    """Return what honest users do in six hours: item 1 is clicked most, by three in ten, item 20 least."""
    rng, listed = np.random.default_rng(seed), []
    for number in range(12_000):
        item, user = int(1 + rng.integers(items)), int(1 + rng.integers(1_000))
        row = Row(IMPRESSION, item, user, START + number * 1_800, position=int(rng.integers(10)))
        listed.append(row)
        if rng.random() < 0.3 - 0.013 * item:
            listed.append(row._replace(kind=CLICK))
            if rng.random() < 0.2:
                listed.append(row._replace(kind=PURCHASE))
    return listed


def attacked(listed, weight, item=20):
    """Return the same with 150 risky users who click the worst item from the last place, and buy it, all day long."""
    rng, more = np.random.default_rng(9), []
    for number, row in enumerate(listed):
        more.append(row)
        if number % 5 == 0:
            user = int(5_000 + rng.integers(150))
            click = Row(CLICK, item, user, row.time_ms, position=9, weight=weight, risky=True)
            more += [click, click._replace(kind=PURCHASE)]
    return more


def place(listed, name, item=20):
    """Return the place of an item in the order of a signal, the first is 1."""
    values = {each: found[name] for each, found in told(merged([counted(listed)[0]])).items()}
    return sorted(values, key=values.get, reverse=True).index(item) + 1


@pytest.mark.parametrize("name", RANKED)
def test_without_weights_the_attack_lifts_the_worst_item_to_the_top(name):
    assert place(attacked(shop(1), 0.0), name) == 1 < place(shop(1), name)


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("seed", [1, 2])
def test_click_fraud_of_users_who_count_nothing_does_not_lift_an_item(name, seed):
    assert place(attacked(shop(seed), 0.0), f"weighted_{name}") == place(shop(seed), f"weighted_{name}")


def test_users_who_count_nothing_move_no_weighted_signal_of_any_item():
    honest, under_attack = told(merged([counted(shop(3))[0]])), told(merged([counted(attacked(shop(3), 0.0))[0]]))
    names = [name for name in honest[1] if name.startswith("weighted_")]

    assert len(names) == 20
    for item, found in under_attack.items():
        for name in names:
            assert found[name] == pytest.approx(honest[item][name], rel=1e-9), (item, name)


def test_users_who_count_a_little_lift_an_item_by_that_little():
    """3,000 clicks or so at .01 count as 30 honest ones."""
    honest, under_attack = (told(merged([counted(rows)[0]]))[20] for rows in (shop(1), attacked(shop(1), 0.01)))
    many = under_attack["clicks_1d"] - honest["clicks_1d"]

    assert many > 2_000
    assert under_attack["weighted_clicks_1d"] - honest["weighted_clicks_1d"] == pytest.approx(many / 100)


def test_the_attack_shows_in_the_share_of_risky_users():
    found = told(merged([counted(attacked(shop(1), 0.0))[0]]))

    assert found[20]["risky_share_1d"] > 0.9
    assert all(found[item]["risky_share_1d"] == 0 for item in range(1, 20))


def test_signals_do_not_hang_on_the_order_in_which_partitions_are_read():
    listed = stream(1, 400, late=0.0)
    parts = [[row for row in listed if row.user % 2 == number] for number in range(2)]
    forth, back = (told(merged([counted(part)[0] for part in some])) for some in (parts, parts[::-1]))

    assert forth.keys() == back.keys()
    assert all(found == pytest.approx(back[item], rel=1e-12, nan_ok=True) for item, found in forth.items())
