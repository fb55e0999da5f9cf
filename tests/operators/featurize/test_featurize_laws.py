"""Laws of the stage: cuts, snapshots, separation of users, bounds."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from featurize_reference import Event, decoded
from featurize_streams import START_MS, long_stream, streams
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.featurize import Featurize, FeaturizeConfig
from operators.state import Stage, pack, unpack

SMALL = FeaturizeConfig(max_users=300, dedup_max=300, dedup_window_s=600, promote_after_s=60)
OUTPUTS = ("raw", "features", "flags", "teach")


def run(stage, events, cuts=()):
    """Process events in batches cut at `cuts`; return the outputs as bytes."""
    edges = [0, *sorted(cuts), len(events)]
    batches = [stage.process(decoded(events[a:b], a)) for a, b in pairwise(edges)]
    return {name: np.concatenate([getattr(batch, name) for batch in batches]).tobytes() for name in OUTPUTS}


def crowd(seed=11, n=4000, users=700):
    """Enough users and ids to fill and overflow the small configuration, so arrays grow and rows change hands."""
    return long_stream(seed, n, users, step_ms=200)


@given(streams(max_size=30), st.lists(st.integers(0, 30), max_size=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_cut_into_batches_gives_the_same_bytes(events, cuts):
    cuts = [min(cut, len(events)) for cut in cuts]

    assert run(Featurize(SMALL), events, cuts) == run(Featurize(SMALL), events)


def test_cuts_while_arrays_grow_and_users_are_evicted_give_the_same_bytes():
    events = crowd()
    rng = np.random.default_rng(1)
    one, many = Featurize(SMALL), Featurize(SMALL)

    assert run(one, events) == run(many, events, rng.integers(0, len(events), 60).tolist())
    assert one._entities.evicted > 100
    assert one._dedup.evicted > 100
    assert pack(one.dump()) == pack(many.dump())


@pytest.mark.parametrize("at", [0, 1, 900, 3000])
def test_a_snapshot_in_the_middle_changes_no_byte_after_it(at):
    events = crowd()
    whole = Featurize(SMALL)
    run(whole, events[:at])
    resumed = Featurize(SMALL)
    resumed.load(unpack(pack(whole.dump())))

    assert run(resumed, events[at:], [500]) == run(whole, events[at:])
    assert pack(resumed.dump()) == pack(whole.dump())
    assert list(resumed.measurements()) == list(whole.measurements())


def test_a_snapshot_is_not_changed_by_later_events():
    stage = Featurize(SMALL)
    run(stage, crowd()[:500])
    state = stage.dump()
    before = pack(state)
    run(stage, crowd()[500:])

    assert pack(state) == before


def test_input_is_not_changed():
    batch = decoded(crowd()[:300])
    before = [np.copy(a) for a in (batch.time_ms, batch.user, batch.id_hash, batch.attributes, batch.amount)]
    Featurize(SMALL).process(batch)

    after = [batch.time_ms, batch.user, batch.id_hash, batch.attributes, batch.amount]
    assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(before, after, strict=True))


def test_an_empty_batch_is_answered_and_changes_nothing():
    stage = Featurize(SMALL)
    run(stage, crowd()[:100])
    before = pack(stage.dump())
    featured = stage.process(decoded([]))

    assert featured.raw.shape == (0, len(stage.catalogue))
    assert pack(stage.dump()) == before


def test_what_other_users_do_does_not_show_in_a_users_features():
    # In order and within the bounds, so that neither flags nor evictions link the users.
    rng = np.random.default_rng(2)
    events = [
        Event(int(rng.integers(1, 5)), i + 1, START_MS + 700 * i, tuple(rng.integers(0, 3, 4).tolist()), float(i % 50))
        for i in range(800)
    ]
    together = Featurize(SMALL).process(decoded(events))
    for user in range(1, 5):
        mine = [i for i, event in enumerate(events) if event.user == user]
        alone = Featurize(SMALL).process(decoded([events[i] for i in mine]))

        assert np.array_equal(alone.raw, together.raw[mine])


@given(streams(max_size=40))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_flagged_events_change_no_state_of_any_user(events):
    """Without its flagged events a stream gives the rest the same values, and leaves the same users behind."""
    stage = Featurize(SMALL)
    featured = stage.process(decoded(events))
    kept = [i for i in range(len(events)) if featured.flags[i] == 0]
    calm = replace(SMALL, max_gap_s=10**7)
    other = Featurize(calm)

    assert np.array_equal(other.process(decoded([events[i] for i in kept])).raw, featured.raw[kept])
    with_flagged, without = stage.dump(), other.dump()
    for name in with_flagged:
        if name.startswith(("rows.", "entities.")):
            assert np.array_equal(with_flagged[name], without[name], equal_nan=name == "rows.f32"), name


def test_features_lie_in_the_unit_interval_on_every_accident():
    featured = Featurize(SMALL).process(decoded(crowd(seed=12)))

    assert featured.features.min() >= 0
    assert featured.features.max() <= 1
    assert np.isfinite(featured.raw).all()


def test_state_stays_below_2_kb_per_user_with_the_default_windows():
    stage = Featurize(FeaturizeConfig())
    users = 5_000
    stage.process(decoded([Event(u, u, START_MS) for u in range(1, users + 1)]))
    bytes_held = sum(array.nbytes for array in (*stage._rows, *stage._entities.table))

    assert bytes_held / stage._entities.capacity < 2_048
    assert len(pack(stage.dump())) / users < 2_048


def test_a_hundred_thousand_new_users_do_not_grow_a_full_table():
    stage = Featurize(SMALL)
    events = [Event(u, u, START_MS + u) for u in range(1, 100_001)]
    stage.process(decoded(events[:5_000]))
    full = [array.nbytes for array in (*stage._rows, *stage._entities.table, *stage._dedup.seen)]
    for at in range(5_000, 100_000, 5_000):
        stage.process(decoded(events[at : at + 5_000]))

    assert [array.nbytes for array in (*stage._rows, *stage._entities.table, *stage._dedup.seen)] == full
    counters = {m.metric: m.value for m in stage.measurements() if not m.labels}
    assert counters["tidegate_entities"] == 300
    assert counters["tidegate_entities_evicted_total"] == 100_000 - 300
    assert counters["tidegate_dedup_entries"] == 300
    assert counters["tidegate_dedup_evicted_total"] == 100_000 - 300


def test_regulars_keep_their_history_through_a_flood_of_newcomers():
    stage = Featurize(SMALL)
    regulars = range(1, 201)
    numbers = iter(range(1, 10**9))
    for minute in range(3):  # seen again after 60 s: promoted
        stage.process(decoded([Event(u, next(numbers), START_MS + minute * 60_000) for u in regulars]))
    # Each newcomer comes twice at once: a second hit alone must not make a regular.
    flood = [Event(10**6 + k, next(numbers), START_MS + 121_000 + k) for k in range(20_000) for _ in range(2)]
    stage.process(decoded(flood))
    featured = stage.process(decoded([Event(u, next(numbers), START_MS + 150_000) for u in regulars]))

    assert set(featured.raw[:, 2]) == {4.0}  # event_count_1h: three earlier events and this one


def test_measurements_count_flagged_events_by_flag():
    stage = Featurize(SMALL)
    far_ms = START_MS + 86_400_000
    events = [Event(1, 1, START_MS), Event(1, 1, START_MS), Event(1, 2, START_MS - 301_000)]
    stage.process(decoded([*events, Event(2, 3, far_ms), Event(2, 4, far_ms)]))
    flagged = {m.labels["flag"]: m.value for m in stage.measurements() if m.labels}

    assert flagged == {"late": 1, "duplicate": 1, "ahead": 2}
    assert [m.value for m in stage.measurements() if m.metric == "tidegate_stream_time_seconds"] == [START_MS / 1000]


def test_stream_time_is_not_measured_before_there_is_one():
    assert "tidegate_stream_time_seconds" not in [m.metric for m in Featurize(SMALL).measurements()]


def test_featurize_is_a_stage():
    assert isinstance(Featurize(SMALL), Stage)


def test_fingerprint_changes_with_what_shapes_the_state_and_with_nothing_else():
    base = FeaturizeConfig()
    same = [FeaturizeConfig(), FeaturizeConfig(min_history=9), FeaturizeConfig(teach_cap_per_hour=9)]
    other = [FeaturizeConfig(windows_s=(60,)), FeaturizeConfig(max_users=9), FeaturizeConfig(dedup_window_s=9)]

    assert {Featurize(config).fingerprint for config in same} == {Featurize(base).fingerprint}
    assert Featurize(base).fingerprint not in {Featurize(config).fingerprint for config in other}
