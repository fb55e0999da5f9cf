"""The merge stage: laws, which parts count, what is written when, and what is held."""

import json

import msgspec
import numpy as np
import pytest
from cutting import cut, random_cuts
from laws import (
    does_not_care_about_cuts,
    does_not_care_about_cuts_around_sides,
    keeps_its_memory_bounded,
    learns_the_same_when_muted,
    leaves_its_input_alone,
    repeats_itself,
    survives_a_snapshot,
)
from trials import DAY_MS, QUICK, START_MS, Trial, batch, defined, definition, drawn, growing

from operators.audit import Chain
from operators.audit.chain import mac_of, split
from operators.merge import Merge, MergeConfig
from operators.parts import EVERYTHING, Assembly, Changes, Sweep
from operators.state import pack, unpack
from schemas.audit import Audit
from schemas.definition import Phase
from schemas.readout import Readout
from schemas.verdict import Verdict

KEY = bytes(range(32))
EVERY_PART = {"look_interval_s": 0.001}


def stage(**config):
    return Merge(MergeConfig(**{**EVERY_PART, **config}), chain=Chain(KEY, "readouts", 5, {"version": "1"}))


def apply(merge, *definitions, **kwargs):
    side = defined(*definitions, **kwargs)
    merge.take_side(side)
    return merge.end_side(side)


def told(answer, topic, record):
    return [msgspec.json.decode(each.value, type=record) for each in answer.records if each.topic == topic]


def decisions(answer):
    return [each.decision for each in told(answer, "experiments.decisions", Verdict)]


@pytest.fixture(scope="module")
def parts():
    return growing()


@pytest.fixture(scope="module")
def mixed(parts):
    """Parts of two experiments, and records that cannot be read."""
    other = growing(definition(id="other", minimum_run_s=0), lift=-0.15, seed=2)
    several = [each for pair in zip(parts, other, strict=True) for each in pair]
    return batch([*several[:20], b"{", None, *several[20:]])


def ready(**config):
    merge = stage(**config)
    apply(merge, QUICK, definition(id="other", minimum_run_s=0))
    return merge


@pytest.mark.parametrize("seed", range(3))
def test_answers_do_not_depend_on_cuts(mixed, seed):
    does_not_care_about_cuts(ready, mixed, random_cuts(seed, 0, mixed.span.next))


def test_answers_do_not_depend_on_cuts_around_definitions(mixed):
    before, after = cut(mixed, [20])
    does_not_care_about_cuts_around_sides(
        stage, [before, defined(QUICK, at=20), after], random_cuts(4, 0, mixed.span.next)
    )


def test_the_other_laws_hold_too(mixed):
    pieces = cut(mixed, [11, 30, 50])
    leaves_its_input_alone(ready, pieces)
    survives_a_snapshot(ready, pieces, [1, 2, 3])
    repeats_itself(ready, pieces)
    learns_the_same_when_muted(ready, pieces)


def test_a_muted_batch_says_nothing_and_leaves_the_chain_alone(parts):
    merge = ready()
    answer = merge.process(batch(parts, muted=True))

    assert (answer.records, answer.beside, answer.audited) == ([], "", ())
    assert merge.process(batch([parts[-1]], len(parts))).audited == ("configuration",)


def test_an_effect_ships_and_the_decision_is_said_when_it_changes(parts):
    answer = ready().process(batch(parts))
    first, last = told(answer, "experiments.decisions", Verdict)

    assert (first.decision, first.before, first.variation) == ("continue", None, None)
    assert (last.decision, last.before, last.variation) == ("ship", "continue", "green")
    assert {each.key for each in answer.records if each.topic == "experiments.decisions"} == {b"button"}
    assert last.version == 1
    assert set(last.offsets["exposures"]) == {"0", "1", "2"}


def test_the_same_parts_again_change_no_decision(parts):
    merge = ready()
    merge.process(batch(parts))

    assert decisions(merge.process(batch(parts[-3:], len(parts)))) == []


def test_a_decision_is_not_said_again_after_a_kill(parts):
    """From a snapshot in the middle the rest is rolled forward, muted; then the last parts come once more."""
    through, middle = ready(), ready()
    whole = batch(parts)
    first, second = cut(whole, [10])
    middle.process(first)
    other = stage()
    other.load(unpack(pack(middle.dump())))
    other.process(cut(batch(parts, muted=True), [10])[1])
    answer = through.process(whole)
    other.recall(answer.beside)
    for merge in (through, other):
        again = merge.process(batch(parts[-3:], whole.span.next))
        assert (decisions(again), again.audited) == ([], ())

    assert pack(through.dump()) == pack(other.dump())
    assert len(decisions(middle.process(second))) == 1


def test_decisions_and_alarms_are_in_the_audit_trail_with_what_they_rest_on():
    """All of green comes, and nothing of control: it alarms."""
    merge = ready()
    trial = Trial(QUICK)
    units = drawn(np.random.default_rng(1), 400)
    units.arm[:] = 1
    answer = merge.process(batch([trial.add(units).part()]))
    trail = told(answer, "audit", Audit)
    alarm, decision = trail[1:]

    assert answer.audited == ("configuration", "sample_ratio", "decision")
    assert decisions(answer) == ["broken"]
    assert (alarm.detail["stratum"], json.loads(alarm.detail["counts"])) == ("all", [0, 400])
    assert alarm.detail["p"] < 1e-9
    for each in (alarm, decision):
        assert (each.detail["experiment"], each.detail["version"]) == ("button", 1)
        assert json.loads(each.detail["offsets"]) == {"exposures": {"0": 400}}
    assert decision.detail["reasons"].startswith("Sample ratio of all units: 0 for 200, 400 for 200 expected")
    assert "sample_ratio" not in merge.process(batch([trial.add(units).part()], 1)).audited


def test_the_trail_is_one_chain(mixed):
    previous, answer = "0" * 64, ready().process(mixed)
    macs = [each.value for each in answer.records if each.topic == "audit"]
    for sequence, value in enumerate(macs):
        body, mac = split(value)
        found = msgspec.json.decode(value, type=Audit)

        assert mac == mac_of(KEY, body)
        assert (found.sequence, found.previous) == (sequence, previous)
        previous = mac
    assert len(macs) >= 5


def test_readouts_are_written_at_a_flush_one_for_each_experiment_that_changed(mixed):
    merge = ready()
    merge.process(mixed)
    first = merge.at_flush(5)

    assert [each.experiment for each in told(first, "experiments.readouts", Readout)] == ["button", "other"]
    assert merge.at_flush(5) is None
    merge.process(batch([growing()[-1]], mixed.span.next))
    assert [each.experiment for each in told(merge.at_flush(5), "experiments.readouts", Readout)] == ["button"]


def test_a_readout_holds_the_newest_part_of_every_partition(parts):
    merge = ready()
    merge.process(batch(parts))
    (found,) = told(merge.at_flush(5), "experiments.readouts", Readout)

    assert found.partitions == (0, 1, 2)
    assert sum(sum(each.counts) for each in found.sample_ratio) == 12 * 3 * 60
    assert found.timestamp == parts[-1].timestamp


def test_no_more_readouts_are_written_at_once_than_set_and_the_longest_due_come_first():
    merge = stage(readouts_per_flush=2)
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        of = definition(id=name)
        apply(merge, of)
        merge.process(batch([Trial(of).add(drawn(np.random.default_rng(1), 10)).part()]))
    found = [[each.experiment for each in told(merge.at_flush(5), "experiments.readouts", Readout)] for _ in range(3)]

    assert found == [["a", "b"], ["c", "d"], ["e"]]


def test_experiments_that_say_nothing_keep_none_behind_them_from_being_written():
    """Whoever says nothing at a flush is not asked again."""
    merge = stage(readouts_per_flush=1)
    for name in ("undefined", "defined"):
        of = definition(id=name)
        if name == "defined":
            apply(merge, of)
        merge.process(batch([Trial(of).add(drawn(np.random.default_rng(1), 10)).part()]))
    assert [each.experiment for each in told(merge.at_flush(5), "experiments.readouts", Readout)] == ["defined"]


def test_what_is_still_to_be_written_survives_a_snapshot(mixed):
    merge, other = ready(), stage()
    merge.process(mixed)
    other.load(unpack(pack(merge.dump())))

    assert other.at_flush(5).records == merge.at_flush(5).records


def test_an_older_part_of_a_partition_says_nothing(parts):
    """Older: a lower offset of exposures; or the same, and an earlier time."""
    merge = ready()
    newest, older = parts[-3], parts[0]
    earlier = msgspec.structs.replace(newest, timestamp=newest.timestamp - 1)
    merge.process(batch([newest]))
    before = pack(merge.dump())
    merge.process(batch([older, earlier], 1))

    assert merge._experiments["button"].parts[0] == newest
    assert pack(merge.dump()) != before  # they are counted
    assert {m.metric: m.value for m in merge.measurements()}["tidegate_parts_superseded_total"] == 2


def test_parts_wait_for_their_definition_and_are_looked_at_when_it_comes(parts):
    merge = stage()
    answer = merge.process(batch(parts))
    assert (decisions(answer), merge.at_flush(5)) == ([], None)

    assert decisions(apply(merge, QUICK, at=len(parts))) == ["ship"]
    assert len(told(merge.at_flush(5), "experiments.readouts", Readout)) == 1


def test_parts_of_a_newer_version_wait_for_it(parts):
    merge = ready()
    newer = msgspec.structs.replace(parts[-1], version=2)
    merge.process(batch([newer]))
    assert merge.at_flush(5) is None

    apply(merge, msgspec.structs.replace(QUICK, version=2))
    assert len(told(merge.at_flush(5), "experiments.readouts", Readout)) == 1


def test_an_older_definition_says_nothing():
    merge = stage()
    newer = msgspec.structs.replace(QUICK, version=2, description="newer")
    apply(merge, newer)
    apply(merge, QUICK)

    assert merge._experiments["button"].definition == newer


def test_a_new_phase_keeps_the_looks_and_another_primary_metric_begins_anew(parts):
    merge = ready()
    merge.process(batch(parts))
    looks = merge._experiments["button"]._looks
    phases = (*QUICK.phases, Phase(start=START_MS + 99 * DAY_MS, coverage=1.0, weights=(0.1, 0.9)))
    apply(merge, msgspec.structs.replace(QUICK, version=2, phases=phases))
    assert merge._experiments["button"]._looks is looks

    apply(merge, msgspec.structs.replace(QUICK, version=3, alpha=0.01))
    assert merge._experiments["button"]._looks is not looks


def test_an_experiment_that_is_taken_back_goes(parts):
    merge = ready()
    merge.process(batch(parts))
    apply(merge, ("button", None))

    assert list(merge._experiments) == ["other"]
    assert merge.at_flush(5) is None


def test_taken_back_and_applied_again_begins_anew_also_where_both_are_read_at_once(parts):
    merge = ready()
    merge.process(batch(parts))
    looks = merge._experiments["button"]._looks
    apply(merge, ("button", None), QUICK)

    assert merge._experiments["button"]._looks is not looks
    assert merge._experiments["button"].decision is None


def test_muted_definitions_say_nothing_and_are_taken(parts):
    merge = stage()
    merge.process(batch(parts, muted=True))
    answer = apply(merge, QUICK, at=len(parts), muted=True)

    assert (answer.records, answer.beside) == ([], "")
    assert merge._experiments["button"].decision == "ship"


def test_when_there_is_no_room_those_that_ended_go_first_and_then_nobody():
    of = [definition(id=name, end=START_MS + at) for at, name in enumerate(["early", "late"])]
    merge = stage(max_experiments=2)
    apply(merge, of[1], of[0])
    apply(merge, definition(id="refused"))
    assert set(merge._experiments) == {"late", "early"}

    merge.process(batch([Trial(of[0]).part(START_MS + 1 + 3_600_000)]))  # the attribution window is an hour
    apply(merge, definition(id="new"))
    assert set(merge._experiments) == {"late", "new"}
    assert {m.metric: m.value for m in merge.measurements()}["tidegate_experiments_refused_total"] == 1


def test_memory_is_bounded_however_many_experiments_come():
    def several(at):
        parts = []
        for number in range(20):
            of = definition(id=f"x{20 * at + number:04}")
            parts.append(Trial(of).part(START_MS + (20 * at + number) * DAY_MS))
        return batch(parts, 20 * at)

    keeps_its_memory_bounded(lambda: stage(max_experiments=30), [several(at) for at in range(8)])


def test_measurements_tell_decisions_and_alarms(mixed):
    merge = ready()
    merge.process(mixed)
    found = [(m.metric, m.labels.get("decision"), m.value) for m in merge.measurements()]

    assert ("tidegate_experiments_decided", "ship", 1) in found
    assert ("tidegate_experiments_decided", "stop", 1) in found
    assert ("tidegate_experiments_decided", "broken", 0) in found
    assert ("tidegate_sample_ratio_alarms", None, 0) in found
    assert ("tidegate_readouts_pending", None, 2) in found


def test_measurements_tell_the_time_of_the_newest_readout_once_there_is_one(parts):
    merge = ready()
    merge.process(batch(parts))
    before = [m.metric for m in merge.measurements()]
    merge.at_flush(5)

    assert "tidegate_readout_time_seconds" not in before
    assert {m.metric: m.value for m in merge.measurements()}["tidegate_readout_time_seconds"] == (
        parts[-1].timestamp / 1000
    )


def test_experiments_without_a_part_have_no_readout_that_waits():
    assert {m.metric: m.value for m in ready().measurements()}["tidegate_readouts_pending"] == 0


def test_a_look_that_changes_nothing_else_is_in_the_readout(parts):
    """Of the look in a batch, and of one worked out at the flush, the figures are the same."""
    one, other = ready(), ready(look_interval_s=86_400.0)
    for merge in (one, other):
        merge.process(batch(parts[:9]))
        merge.at_flush(5)
    one.process(batch(parts[9:10], 9))
    other.process(batch(parts[9:10], 9))
    (made,), (worked_out,) = (told(each.at_flush(5), "experiments.readouts", Readout) for each in (one, other))

    assert made.comparisons[0].unadjusted.always == worked_out.comparisons[0].unadjusted.always
    assert made.sample_ratio[0].counts == worked_out.sample_ratio[0].counts


def test_a_state_of_another_kind_is_refused():
    for bad in ({}, {"experiments": np.frombuffer(b"{}", np.uint8)}, {"experiments": 3}):
        with pytest.raises(ValueError, match="at experiments"):
            stage().load(bad)


def test_a_part_of_a_snapshot_holds_what_changed_and_what_went_stays_away(mixed):
    merge, changes, other = ready(), Changes(), stage()
    apply(merge, definition(id="quiet"))
    first, second = cut(mixed, [40])
    merge.process(first)
    whole = changes.of(merge, EVERYTHING)
    merge.process(second)
    apply(merge, ("other", None))
    part = changes.of(merge, Sweep(1, 1))
    assembly = Assembly(part)
    for each in (whole, part):
        assembly.add(each)
    other.load(assembly.finish())

    assert "experiment:button" in part
    assert "experiment:quiet" not in part
    assert list(other._experiments) == ["button", "quiet"]
    assert pack(other.dump()) == pack(merge.dump())
