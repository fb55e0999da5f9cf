"""What lies ahead of stream time waits until it has come: after a quiet night nothing is lost."""

import pytest
from accumulate_reference import batch, experiment, measured, shown, tick

from operators.accumulate.config import REASONS, AccumulateConfig
from operators.accumulate.stage import Accumulate
from operators.waiting import MOST

T, S = 10_000_000, 1_000
NIGHT = T + 43_200 * S


def fresh():
    """A window of a day, a lateness of a minute, and a jump takes three units."""
    made = Accumulate(AccumulateConfig(allowed_lateness_s=60, max_gap_s=600))
    made.define({"e": experiment(window_s=86_400)})
    return made


def after(made, *listed):
    made.process(batch(list(listed)))
    return made


def settled(made):
    return made.totals("e").matured[0, ..., :2].sum(axis=(0, 1, 2)).tolist()


def opened(made):
    return made.totals("e").open[0, ..., :2].sum(axis=(0, 1, 2)).tolist()


def quiet():
    """A unit is exposed, then nobody speaks for twelve hours."""
    return after(fresh(), shown(1, T))


def test_what_comes_after_a_quiet_night_counts_once_others_confirm_that_it_is_over():
    made = after(quiet(), measured(1, NIGHT, 3.0), measured(2, NIGHT + 1 * S))
    assert opened(made)[1] == 0.0

    after(made, measured(3, NIGHT + 500 * S))
    assert opened(made)[1] == 3.0
    assert made._world.ledger.refused.sum() == 0


def test_what_waits_is_an_exposure_too_and_no_later_for_having_waited():
    made = after(quiet(), shown(5, NIGHT), measured(5, NIGHT + 2 * S, 7.0), measured(6, NIGHT + 1 * S))
    after(made, measured(7, NIGHT + 500 * S))  # the allowed lateness, 60 s, is over by then

    assert opened(made)[:2] == [2.0, 7.0]


def test_what_waits_counts_at_the_tick_before_windows_close_that_it_lies_in():
    made = after(quiet(), measured(1, NIGHT, 3.0), tick(T + 86_460 * S))

    assert settled(made)[:2] == [1.0, 3.0]


def test_what_waits_for_later_than_the_tick_goes_on_waiting():
    made = after(quiet(), measured(1, NIGHT, 3.0), tick(NIGHT - 1))
    assert (opened(made)[1], made.stream_ms) == (0.0, NIGHT - 1)

    assert opened(after(made, tick(NIGHT)))[1] == 3.0


def test_what_waits_is_in_the_snapshot():
    before, again = after(quiet(), measured(1, NIGHT, 3.0)), fresh()
    again.load(before.dump())

    assert opened(after(again, tick(NIGHT)))[1] == 3.0


def test_of_what_waits_the_oldest_goes_when_there_is_no_room_and_is_counted():
    made = after(quiet(), *(measured(1, NIGHT + number, 2.0**-number) for number in range(MOST + 2)))
    assert made._world.ledger.refused[0, REASONS.index("ahead")] == 2

    assert opened(after(made, tick(NIGHT + MOST + 2)))[1] == pytest.approx(0.5, rel=1e-12)  # 2^-2 + 2^-3 + ...
