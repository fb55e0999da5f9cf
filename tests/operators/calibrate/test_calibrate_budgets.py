"""Alert rates meet their budgets: on stationary, drifting and daily scores, in each partition and over all of them."""

import math

import numpy as np
import pytest
from calibrate_streams import scored

from operators.calibrate import Calibrate, CalibrateConfig

SETTLED = 50_000
N = 1_100_000
DAY = 100_000  # events, 4,167 an hour


def ramp(nats):
    return np.linspace(0, nats, N)


def daily(amplitude):
    return amplitude + amplitude * np.sin(2 * np.pi * np.arange(N) / DAY)


STREAMS = {
    "stationary": lambda rng: rng.exponential(1.0, N),
    "half-normal": lambda rng: 5 + 0.5 * np.abs(rng.standard_normal(N)),
    "drifting up": lambda rng: rng.exponential(1.0, N) + ramp(4.0),
    "drifting up, on a scale of a tenth": lambda rng: 0.1 * (rng.exponential(1.0, N) + ramp(4.0)),
    "drifting down": lambda rng: rng.exponential(1.0, N) + 4.0 - ramp(4.0),
    "wider": lambda rng: rng.exponential(1.0, N) * (1 + ramp(0.5)),
    "daily": lambda rng: rng.exponential(1.0, N) + daily(0.5),
    "daily, drifting": lambda rng: rng.exponential(1.0, N) + daily(0.5) + ramp(2.0),
}


def rates(name, seed, config):
    answer = Calibrate(config, "").process(scored(STREAMS[name](np.random.default_rng(seed)), per_hour=DAY / 24))
    return [float((answer.tail[SETTLED:] <= budget).mean()) for budget in (1e-2, 1e-3, 1e-4)]


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
def test_each_rate_is_within_a_tenth_of_its_budget_in_each_partition(name):
    """1,050 alerts of `high` are expected, so 3.3 binomial standard deviations are another tenth; of medium, 3 %."""
    for seed in (17, 18):
        medium, high, _ = rates(name, seed, CalibrateConfig())
        assert abs(medium / 1e-2 - 1) <= 0.1
        assert abs(high / 1e-3 - 1) <= 0.1 + 3.3 / math.sqrt(1050)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stationary", "daily, drifting"])
def test_critical_is_within_its_budget_over_all_partitions(name):
    """Of ten partitions 1,050 critical events are expected: a tenth, and 3.3 standard deviations of chance."""
    critical = [rates(name, seed, CalibrateConfig())[2] for seed in range(10)]

    assert abs(np.mean(critical) / 1e-4 - 1) <= 0.1 + 3.3 / math.sqrt(1050)


def test_without_the_correction_a_drift_breaks_the_budget():
    """The same stream, the histogram alone: it lags by 144,000 events of 3.6e-6 nats, and e^0.52 is 1.7."""
    still = CalibrateConfig(adapt_events=10**12, drift_action="record")

    assert rates("drifting up", 17, still)[0] / 1e-2 == pytest.approx(1.6, abs=0.2)
