"""Random streams with everything in them, and the experiments that read them."""

import numpy as np
from accumulate_reference import NOTHING, Row, decided, experiment, measured, measures, metric, shown, tick

from operators.accumulate.config import AccumulateConfig
from schemas.definition import Guardrail, Phase

SECOND = 1_000
START = 1_000_000 * SECOND
CONFIG = AccumulateConfig(
    max_units=10_000, max_pending=10_000, allowed_lateness_s=60, max_gap_s=900, dedup_window_s=120, tiers=True
)

CLICKS = metric("bought", "proportion", event="buy", value=None)
SPEND = metric("spend", cap=12.0)
PER_VISIT = metric("per_visit", "ratio", event="spend", denominator_event="visit", denominator="pages", cap=20.0)


def phases(*starts):
    return tuple(Phase(start=START + start * SECOND, coverage=1.0, weights=(0.5, 0.5)) for start in starts)


EXPERIMENTS = (
    experiment("e", SPEND, window_s=200, pre_period_s=150, phases=phases(0), secondary=(CLICKS,)),
    experiment("f", PER_VISIT, window_s=40, pre_period_s=90, phases=phases(100, 700, 1_500), end=START + 2_600_000),
    experiment(
        "g",
        CLICKS,
        window_s=700,
        variations=("a", "b", "c"),
        phases=phases(0, 1_000),
        guardrails=(Guardrail(metric=SPEND, margin=0.1),),
    ),
)

_KEYS = {"spend": measures(SPEND)[0], "buy": measures(CLICKS)[0], "visit": measures(PER_VISIT)[1], "other": 77}


def stream(seed, n=500, units=12, step_s=16, late=0.03, trouble=1):
    """Return rows nearly in order: ties, disorder, late ones, gaps, broken clocks, duplicates, several exposures."""
    rng = np.random.default_rng(seed)
    now, found = START, []
    for number in range(n):
        now += int(rng.choice([0, 0, 1, step_s])) * int(rng.integers(0, 1_000))
        if trouble and rng.random() < 0.004:
            now += 1_200 * SECOND  # a true gap: the first ones are ahead, then three units have confirmed it
        unit, time_ms = int(rng.integers(1, units + 1)) * 1_000_003, now - int(rng.integers(0, 50)) * SECOND // 2
        if rng.random() < late:
            time_ms -= int(rng.integers(40, 400)) * SECOND
        if trouble and rng.random() < 0.005:
            time_ms += 10_000 * SECOND
        found.append(_row(rng, unit, time_ms, number))
        if trouble and rng.random() < 0.05:
            found.append(found[int(rng.integers(max(0, len(found) - 20), len(found)))])
        if trouble and rng.random() < 0.01:
            found.append(tick(now + int(rng.integers(-30, 30)) * SECOND))
    return found


def _row(rng, unit, time_ms, number):
    kind = rng.random()
    if kind < 0.25:
        arm = unit % 2 if rng.random() < 0.85 else int(rng.integers(-1, 3))
        phase = int(rng.integers(0, 4)) if rng.random() < 0.05 else -1
        name = str(rng.choice(["e", "f", "g", "unknown"], p=[0.33, 0.33, 0.33, 0.01]))
        arms = ("a", "b", "c") if name == "g" else ("control", "new")
        return shown(unit, time_ms, name, arm, arms, phase=phase, pre=_number(rng, 0.7))
    if kind < 0.45:
        return decided(unit, time_ms, int(rng.integers(0, 5)), id_hash=_id(rng, number))
    of = str(rng.choice(list(_KEYS), p=[0.4, 0.3, 0.25, 0.05]))
    value = 1.0 if of == "buy" else _number(rng, 0.05)
    if rng.random() < 0.01:
        value = 1e80
    return measured(unit, time_ms, value, _KEYS[of], id_hash=_id(rng, number), pre=_number(rng, 0.9))


def _number(rng, nothing):
    return NOTHING if rng.random() < nothing else float(np.round(rng.lognormal(0.5, 1.0), 2))


def _id(rng, number):
    return 0 if rng.random() < 0.2 else 1 + number


def kinds(listed):
    """Return rows by kind."""
    return {kind: [row for row in listed if row.kind == kind] for kind in range(4)}


def ending(listed, after_s=100_000):
    """Return a tick after which all windows are over."""
    return tick(max(row.time_ms for row in listed) + after_s * SECOND)


__all__ = ["CONFIG", "EXPERIMENTS", "SECOND", "START", "Row", "ending", "kinds", "stream"]
