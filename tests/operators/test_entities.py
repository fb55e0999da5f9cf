"""The segmented LRU table against a plain Python model, and the attack it is for."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "featurize"))
from featurize_reference import ReferenceLru

from operators.compiled import compiled
from operators.entities import Entities, find, retire, touch
from operators.state import pack, unpack


@compiled
def touch_all(table, keys, times_ms, rows, fresh):
    """The table's API as a stage uses it: inside a compiled loop."""
    for i in range(len(keys)):
        rows[i], fresh[i] = touch(table, keys[i], times_ms[i])


@compiled
def find_all(table, keys, rows):
    for i in range(len(keys)):
        rows[i] = find(table, keys[i])


def use(entities, keys, times_ms):
    """Touch keys; return (row, fresh) of each."""
    keys, times_ms = np.array(keys, np.uint64), np.array(times_ms, np.int64)
    rows, fresh = np.empty(len(keys), np.int64), np.empty(len(keys), np.bool_)
    entities.reserve(len(keys))
    touch_all(entities.table, keys, times_ms, rows, fresh)
    return list(zip(rows.tolist(), fresh.tolist(), strict=True))


def held(entities, keys):
    """Return which of the keys have a row."""
    rows = np.empty(len(keys), np.int64)
    find_all(entities.table, np.array(keys, np.uint64), rows)
    return {key for key, row in zip(keys, rows.tolist(), strict=True) if row >= 0}


@given(
    size=st.integers(1, 12),
    promote_after_ms=st.sampled_from([0, 5, 50]),
    uses=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 9)), max_size=150),
)
def test_evicts_what_a_segmented_lru_on_lists_evicts(size, promote_after_ms, uses):
    entities, model = Entities(size, promote_after_ms), ReferenceLru(size, promote_after_ms)
    rows, clock_ms, evicted = {}, 0, 0
    for key, step_ms in uses:
        clock_ms += step_ms
        expected_fresh = key not in model.first_ms
        victim = model.touch(key, clock_ms)
        evicted += victim is not None
        freed = rows.pop(victim, None)
        ((row, fresh),) = use(entities, [key], [clock_ms])

        assert fresh == expected_fresh
        assert row == rows.get(key, freed if freed is not None else len(rows))
        rows[key] = row
    everyone = list(range(1, 21))

    assert held(entities, everyone) == set(model.first_ms)
    assert (len(entities), entities.evicted) == (len(model.first_ms), evicted)


def test_a_long_run_agrees_with_the_model_after_growth_eviction_and_a_snapshot():
    rng = np.random.default_rng(4)
    keys = (rng.zipf(1.2, 20_000) % 5_000 + 1).tolist()
    times_ms = np.cumsum(rng.integers(0, 30, 20_000)).tolist()
    model, entities, other = ReferenceLru(1_000, 2_000), Entities(1_000, 2_000), Entities(1_000, 2_000)
    for key, time_ms in zip(keys, times_ms, strict=True):
        model.touch(key, time_ms)
    use(entities, keys[:9_000], times_ms[:9_000])
    other.load(unpack(pack(entities.dump())))
    use(other, keys[9_000:], times_ms[9_000:])

    assert held(other, list(range(1, 5_001))) == set(model.first_ms)
    assert other.evicted > 1_000


def test_growth_does_not_show_in_rows_or_state():
    rng = np.random.default_rng(6)
    keys, times_ms = rng.integers(1, 5_000, 8_000).tolist(), list(range(8_000))
    at_once, by_and_by = Entities(3_000, 100), Entities(3_000, 100)
    expected = use(at_once, keys, times_ms)
    answers = [pair for k in range(0, 8_000, 7) for pair in use(by_and_by, keys[k : k + 7], times_ms[k : k + 7])]

    assert answers == expected
    assert pack(by_and_by.dump()) == pack(at_once.dump())


def test_a_flood_of_newcomers_seen_twice_evicts_newcomers_only():
    entities = Entities(100, promote_after_ms=600_000)
    regulars = list(range(1, 81))
    use(entities, regulars, [0] * 80)
    use(entities, regulars, [600_000] * 80)
    flood = [key for key in range(1_000, 21_000) for _ in range(2)]
    use(entities, flood, [600_000 + k for k in range(len(flood))])

    assert held(entities, regulars) == set(regulars)
    assert entities.evicted == 20_000 - 20


def test_a_hit_before_the_age_of_promotion_does_not_protect():
    entities = Entities(10, promote_after_ms=600_000)
    use(entities, [1, 1], [0, 599_999])
    use(entities, list(range(2, 12)), [599_999] * 10)

    assert held(entities, [1]) == set()


def test_protected_keys_hold_at_most_four_fifths_of_the_rows():
    entities = Entities(10, promote_after_ms=0)
    everyone = list(range(1, 11))
    use(entities, everyone * 2, range(20))  # all ten ask for promotion; 1 and 2 overflow back to probation
    use(entities, [11, 12], [20, 21])

    assert held(entities, everyone) == set(range(3, 11))


def test_looking_a_key_up_changes_nothing():
    entities = Entities(4, 0)
    use(entities, [1, 2, 3, 4], range(4))
    before = pack(entities.dump())

    assert held(entities, [1, 9]) == {1}
    assert pack(entities.dump()) == before


def test_keys_that_fall_on_the_same_slot_are_kept_apart():
    # With the multiplier odd, keys that differ in high bits only share the product's low bits but not its high ones;
    # so collide by choice: look for keys whose slot in a small index is the same.
    golden, mask = 0x9E3779B97F4A7C15, 511
    keys = [key for key in range(1, 200_000) if ((key * golden) % 2**64 >> 32) & mask == 7][:60]
    entities = Entities(40, 10**9)
    use(entities, keys, range(60))

    assert held(entities, keys) == set(keys[20:])


def test_a_snapshot_of_other_bounds_is_refused():
    with pytest.raises(ValueError, match="expected bounds"):
        Entities(10, 0).load(Entities(11, 0).dump())


@compiled
def retire_row(table, row):
    retire(table, row)


def test_a_retired_row_is_handed_on_first_and_its_key_is_found_until_then():
    entities = Entities(3, promote_after_ms=0)
    use(entities, [1, 2, 3], [0, 0, 0])
    use(entities, [3, 1], [1, 2])  # both protected; 2 is the least recent
    retire_row(entities.table, 0)

    assert held(entities, [1, 2, 3]) == {1, 2, 3}
    use(entities, [4], [3])
    assert held(entities, [1, 2, 3, 4]) == {2, 3, 4}
    use(entities, [5], [4])
    assert held(entities, [2, 3, 4, 5]) == {3, 4, 5}


def test_the_only_row_of_its_segment_can_be_retired():
    entities = Entities(1, promote_after_ms=10)
    use(entities, [1], [0])
    retire_row(entities.table, 0)
    use(entities, [2, 1], [1, 2])

    assert held(entities, [1, 2]) == {1}
