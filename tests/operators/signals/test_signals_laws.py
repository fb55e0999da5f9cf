"""The laws of every stage, kept by the one that counts interactions."""

import os
import subprocess
import sys

import laws
import numpy as np
import pytest
from cutting import cut, random_cuts
from hypothesis import given, settings
from hypothesis import strategies as st
from signals_reference import CONFIG, HOUR, START, Row, batch, stream

from operators.noticed import CLICK
from operators.signals.config import CountItemsConfig
from operators.signals.merge import MergeItems, MergeItemsConfig
from operators.signals.stage import CountItems
from operators.state import Stage

SEEDS = (1, 2, 3)
TIGHT = CountItemsConfig(
    windows_s=(600, 3_600), half_life_s=3_600, audience_s=3_600, max_items=8, max_pairs=60, promote_after_s=60,
    allowed_lateness_s=60, max_gap_s=900, dedup_window_s=300, dedup_max=20,
)  # fmt: skip
"""Bounds that the streams run into."""


def made():
    return CountItems(TIGHT)


def rows(seed, n=1_500):
    """Return a stream with everything in it, a broken clock and a true jump of time too."""
    listed = stream(seed, n, items=20, users=40, step_s=5)
    half = len(listed) // 2
    wrong = listed[half]._replace(time_ms=listed[half].time_ms + 900 * HOUR, id_hash=10**9)
    later = [row._replace(time_ms=row.time_ms + 5 * HOUR) for row in listed[half + 200 :]]
    return [*listed[:half], wrong, *listed[half : half + 200], *later]


def crowded(seed, n=1_500):
    return batch(rows(seed, n))


def test_it_is_a_stage():
    assert isinstance(made(), Stage)


def test_it_leaves_its_input_alone():
    laws.leaves_its_input_alone(made, cut(crowded(1), range(0, 1_500, 200)))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_does_not_care_about_cuts(seed):
    whole = crowded(seed)

    laws.does_not_care_about_cuts(made, whole, random_cuts(seed, 0, whole.span.next, 40))


def test_it_does_not_care_if_every_record_comes_alone():
    whole = crowded(4, 600)

    laws.does_not_care_about_cuts(made, whole, range(whole.span.next))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_survives_a_snapshot(seed):
    whole = crowded(seed)
    batches = cut(whole, random_cuts(seed, 0, whole.span.next, 12))

    laws.survives_a_snapshot(made, batches, at=range(1, len(batches), 2))


def test_it_learns_the_same_when_muted():
    laws.learns_the_same_when_muted(made, cut(crowded(5), range(0, 1_500, 300)))


def test_it_repeats_itself():
    laws.repeats_itself(made, cut(crowded(6), range(0, 1_500, 300)))


def test_it_does_not_look_ahead():
    listed = rows(7)
    other = [*listed[:700], *(row._replace(item=1, weight=0.5) for row in listed[700:])]

    laws.does_not_look_ahead(made, batch(listed), batch(other), 700)


def test_late_and_repeated_rows_teach_nothing():
    listed = [row for row in stream(8, 600, step_s=5, late=0.0, repeated=0.0) if row.id_hash]
    late = [row._replace(time_ms=row.time_ms - HOUR, id_hash=10**9 + row.id_hash) for row in listed[:50]]
    first, flagged = batch(listed[:500]), batch([*late, *listed[495:500]], 500)

    laws.learns_nothing_from(made, [first], flagged, [batch(listed[500:], 555)], frozenset({"refused"}))


def test_the_laws_run_into_every_bound():
    stage = made()
    flags = laws.run(stage, [crowded(1)])[0].flags
    found = {each.metric: each.value for each in stage.measurements() if not each.labels}

    assert set(flags.tolist()) == {0, 1, 2, 4}
    assert min(found[f"tidegate_{name}_evicted_total"] for name in ("items", "audience_pairs", "dedup")) > 10


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_parts_of_one_turn_are_the_state(data):
    """Any sweeps, and a restart from the parts at any of them."""
    laws.its_parts_are_its_state(
        made,
        ([piece] for piece in cut(crowded(data.draw(st.integers(1, 9)), 600), range(0, 600, 60))),
        lambda: data.draw(st.integers(1, 64)),
        lambda: data.draw(st.booleans()),
    )


def test_memory_is_bounded_under_a_flood_of_items_and_users():
    def newcomers(first, n=1_000):
        numbers = range(first, first + n)
        return batch([Row(CLICK, 1 + k, 1 + k * 7, START + k * 50, 1 + k) for k in numbers], first)

    laws.keeps_its_memory_bounded(made, [newcomers(first) for first in range(0, 16_000, 1_000)], slack=0.1)


def test_a_snapshot_of_other_bounds_is_refused():
    other = CountItems(CountItemsConfig(max_items=31))

    with pytest.raises(ValueError, match="expected"):
        other.load(made().dump())


def test_a_snapshot_of_other_windows_is_refused():
    other = CountItems(CountItemsConfig(windows_s=(60,)))

    with pytest.raises(ValueError, match="expected shape"):
        other.load(CountItems(CONFIG).dump())


def test_other_settings_have_another_fingerprint():
    assert len({CountItems(each).fingerprint for each in (TIGHT, CONFIG, CountItemsConfig())}) == 3


def test_unknown_items_are_left_out_of_totals():
    stage = made()
    stage.process(batch([Row(CLICK, 1, 1, START)]))

    assert stage.totals(np.array([2, 1], np.uint64)).items.tolist() == [1]


def signatures():
    """Return how many versions of each loop are compiled."""
    modules = [module for name, module in sys.modules.items() if name.startswith("operators.signals.")]
    loops = [each for module in modules for each in vars(module).values() if hasattr(each, "signatures")]
    return {f"{each.__module__}.{each.__name__}": len(each.signatures) for each in loops}


def busy():
    """Do with both stages all that can be done with them."""
    stage, merge = made(), MergeItems(MergeItemsConfig(), TIGHT, 1)
    for piece in cut(crowded(1), range(0, 1_500, 100)):
        laws.run(stage, [piece])
        merge.take(0, stage.totals(stage.changed()))
        merge.due()
        stage = laws.restarted(made, stage)


def test_the_warm_ups_compile_all_that_is_ever_needed():
    code = (
        "import test_signals_laws as t; from operators.signals import merge, stage; stage.warm_up(); merge.warm_up(); "
        "before = t.signatures(); t.busy(); after = t.signatures(); "
        "assert len(before) > 12, before; assert before == after, {n: after[n] for n in after if before[n] != after[n]}"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
