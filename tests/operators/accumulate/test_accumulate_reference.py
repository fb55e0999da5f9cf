"""The stage says what brute force says, over streams with everything in them."""

import numpy as np
import pytest
from accumulate_reference import Reference, batch, rows
from accumulate_streams import CONFIG, EXPERIMENTS, ending, kinds, stream

from operators.accumulate.config import REASONS
from operators.accumulate.observed import EXPOSED, MEASURED, TICKED, TIERED
from operators.accumulate.stage import Accumulate
from operators.side import Side

NAMES = [each.id for each in EXPERIMENTS]


def side(listed=None, definitions=None, topic="metrics"):
    return Side(0, topic, 0, 0, 0, [], [], [], [], observed=rows(listed or []), definitions=definitions)


def stage(config=CONFIG, experiments=EXPERIMENTS):
    fresh = Accumulate(config)
    fresh.take_side(side(definitions={each.id: each for each in experiments}))
    return fresh


def agree(found, expected):
    """Compare a stage with the reference: counts are equal, sums to 1e-12."""
    for name in NAMES:
        totals, (matured, open_, exposed, several, refused) = found.totals(name), expected.totals(name)
        assert totals.refused == refused, name
        np.testing.assert_array_equal(totals.exposed, exposed, name)
        np.testing.assert_array_equal(totals.several, several, name)
        np.testing.assert_array_equal(totals.matured[..., 0], matured[..., 0], name)
        np.testing.assert_array_equal(totals.open[..., 0], open_[..., 0], name)
        np.testing.assert_allclose(totals.matured + totals.matured_low, matured, 1e-12, 1e-12, err_msg=name)
        np.testing.assert_allclose(totals.open, open_, 1e-12, 1e-12, err_msg=name)
    for place, reason in enumerate(REASONS):
        assert found._world.ledger.refused[0, place] == expected.refused[None][reason], reason
    assert found.stream_ms == expected.stream


@pytest.mark.parametrize("seed", range(40))
def test_the_stage_says_what_brute_force_says(seed):
    found, expected = stage(), Reference(CONFIG, EXPERIMENTS)
    listed = stream(seed)
    for at in range(0, len(listed), 100):
        part = listed[at : at + 100]
        if at % 200:
            found.take_side(side(part))
        else:
            found.process(batch(part, at))
        expected.process(part)
        agree(found, expected)
    last = [ending(listed)]
    found.process(batch(last))
    expected.process(last)

    agree(found, expected)
    assert not any(found.totals(name).open.any() for name in NAMES)


def test_the_streams_have_everything_in_them():
    refused, strata, several, risky, told = np.zeros(len(REASONS)), np.zeros(5), np.zeros(len(NAMES)), 0.0, 0
    for seed in range(40):
        listed, found = stream(seed), stage()
        assert all(len(some) > 4 for kind, some in kinds(listed).items() if kind != TICKED)
        found.process(batch([*listed, ending(listed)]))
        refused += found._world.ledger.refused.sum(axis=0)
        totals = [found.totals(name) for name in NAMES]
        strata += totals[0].exposed.sum(axis=(0, 2))
        several += [each.several.sum() for each in totals]
        risky += totals[2].matured[-1, ..., 1].sum()
        told += sum((each.matured[..., 3] != 0).sum() for each in totals)

    never = {"sampled", "pending", "definition", "ahead"}  # streams of their own; what is ahead waits
    assert {name for name, n in zip(REASONS, refused, strict=True) if n == 0} == never
    assert (strata > 10).all()
    assert (several > 10).all()
    assert risky > 50
    assert told > 100


def merged(seed, listed):
    """Return the same rows, each topic in its own order, but the topics beside each other in another one.

    Each is held back by up to 24 s: 12 s of disorder within and 24 between are less than the lateness of 60 s.
    """
    rng = np.random.default_rng(seed)
    now, arrives = 0, []
    topic = {EXPOSED: 0, MEASURED: 1, TIERED: 2}
    held = rng.integers(0, 24_000, (3, len(listed) // 25 + 1))
    last = [0, 0, 0]
    for at, row in enumerate(listed):
        now = max(now, row.time_ms)
        own = topic[row.kind]
        last[own] = max(last[own], now + int(held[own, at // 25]))  # a topic does not overtake itself
        arrives.append((last[own], own, at))
    return [listed[at] for _, _, at in sorted(arrives)]


@pytest.mark.parametrize("seed", range(25))
def test_the_order_between_topics_within_the_lateness_leaves_no_trace(seed):
    listed = stream(seed, late=0.0, trouble=False)
    first, other = merged(1, listed), merged(2, listed)
    assert first != other
    one, two = stage(), stage()
    for end in (False, True):
        one.process(batch([ending(listed)] if end else first))
        two.process(batch([ending(listed)] if end else other))
        for name in NAMES:
            a, b = one.totals(name), two.totals(name)
            assert a.exposed.sum() > 3
            np.testing.assert_array_equal(a.exposed, b.exposed)
            np.testing.assert_array_equal(a.several, b.several)
            np.testing.assert_array_equal(a.matured[..., 0], b.matured[..., 0])
            np.testing.assert_allclose(a.matured + a.matured_low, b.matured + b.matured_low, 1e-12, 1e-12)
            np.testing.assert_allclose(a.open, b.open, 1e-12, 1e-12)
            assert a.refused == b.refused
