"""The laws of every stage. Each takes a factory of fresh stages and input, and raises AssertionError when broken.

Replay is exact only because these hold: a flow that is killed goes back to a snapshot, reads the same records in other
batches, and must write the same bytes.
"""

import copy
import dataclasses
import gc
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from cutting import canonical, columns, cut, muted, offsets, part, select, span

from operators.batches import LATE, Featured, Scored
from operators.parts import EVERYTHING, SLICES, Assembly, Changes, Sweep
from operators.side import Side, TakesSides
from operators.state import Stage, State, pack, unpack

Make = Callable[[], Stage[Any, Any]]


def run(stage: Stage[Any, Any], batches: Iterable[Any]) -> list[Any]:
    """Return a stage's answers; each answers exactly the stretch of input it was given. Side inputs pass on."""
    answers = []
    for batch in batches:
        if isinstance(batch, Side):
            if isinstance(stage, TakesSides):
                stage.take_side(batch)
            answers.append(batch)
            continue
        answer = stage.process(batch)
        assert span(answer) == span(batch), f"expected an answer to {span(batch)}, got one to {span(answer)}"
        answers.append(answer)
    return answers


def same(expected: dict[str, Any], got: dict[str, Any], law: str) -> None:
    """Compare what `columns` or `canonical` returned, and name what differs."""
    assert expected.keys() == got.keys(), f"{law}: expected {sorted(expected)}, got {sorted(got)}"
    differing = [name for name in expected if expected[name] != got[name]]
    assert not differing, f"{law}: differs in {', '.join(differing)}"


def restarted(make: Make, stage: Stage[Any, Any]) -> Stage[Any, Any]:
    """Return a fresh stage that goes on where `stage` is, by way of the written form."""
    fresh = make()
    assert fresh.fingerprint == stage.fingerprint
    fresh.load(unpack(pack(stage.dump())))
    return fresh


def recall(stage: Any, beside: str) -> None:
    """Tell a stage that has such a method what was committed beside the offset that it goes on from."""
    if hasattr(stage, "recall"):
        stage.recall(beside)


def leaves_its_input_alone(make: Make, batches: Sequence[Any]) -> None:
    """A stage changes neither its input nor what it answered before.

    Later stages hold on to earlier columns, so a buffer that is used twice would change the past.
    """
    stage = make()
    given = [copy.deepcopy(columns([batch])) for batch in batches]
    answered = []
    answers = []
    for batch in batches:
        answers += run(stage, [batch])
        answered.append(copy.deepcopy(columns(answers[-1:])))
    for batch, before in zip(batches, given, strict=True):
        same(before, columns([batch]), "input")
    for answer, before in zip(answers, answered, strict=True):
        same(before, columns([answer]), "an earlier answer")


def survives_a_snapshot(make: Make, batches: Sequence[Any], at: Iterable[int]) -> None:
    """Written down and read back before each of the batches `at`, a stage goes on as if nothing had happened.

    Also: a dump is a copy, taking one changes nothing, and it replaces whatever state the loading stage had.
    """
    places = set(at)
    through, stage, used = make(), make(), make()
    run(used, batches[-1:])
    expected, answers, kept = [], [], []
    for i, batch in enumerate(batches):
        if i in places:
            dumped = stage.dump()
            same(canonical(through.dump()), canonical(dumped), "state after a restart")
            kept.append((dumped, pack(dumped)))
            if len(kept) % 2:
                old, stage = stage, restarted(make, stage)
            else:
                old, stage = stage, used
                stage.load(unpack(pack(dumped)))
            committed = [answer for answer in answers if not isinstance(answer, Side)]
            recall(stage, getattr(committed[-1], "beside", "") if committed else "")
            run(old, [batch])  # must not reach the dump, nor the stage that loaded it
            used = old
        expected += run(through, [batch])
        answers += run(stage, [batch])
    same(columns(expected), columns(answers), "answers after a restart")
    same(canonical(through.dump()), canonical(stage.dump()), "state after a restart")
    for dumped, written in kept:
        assert pack(dumped) == written, "a dump changed after it was taken"


def does_not_care_about_cuts(make: Make, batch: Any, at: Iterable[int]) -> None:
    """Answers and state do not depend on where the input was cut into batches."""
    whole, pieces = make(), make()
    expected = columns(run(whole, [batch]))
    same(expected, columns(run(pieces, cut(batch, at))), "answers after cuts")
    same(canonical(whole.dump()), canonical(pieces.dump()), "state after cuts")


def does_not_care_about_cuts_around_sides(make: Make, items: Sequence[Any], at: Iterable[int]) -> None:
    """The same for batches with side inputs between them: where those stand is input, all other cuts are not."""
    places = set(at)
    whole, pieces = make(), make()
    expected = columns(run(whole, items))
    smaller = [piece for item in items for piece in ([item] if isinstance(item, Side) else cut(item, places))]
    same(expected, columns(run(pieces, smaller)), "answers after cuts")
    same(canonical(whole.dump()), canonical(pieces.dump()), "state after cuts")


def learns_the_same_when_muted(make: Make, batches: Sequence[Any]) -> None:
    """Rolling forward, when the outputs are in Kafka already, leads to the same state."""
    live, rolling = make(), make()
    run(live, batches)
    run(rolling, [muted(batch) for batch in batches])
    same(canonical(live.dump()), canonical(rolling.dump()), "state after rolling forward")


def repeats_itself(make: Make, batches: Sequence[Any]) -> None:
    """Two runs over the same input are equal to the last bit."""
    first, second = make(), make()
    same(columns(run(first, batches)), columns(run(second, batches)), "answers of a second run")
    same(canonical(first.dump()), canonical(second.dump()), "state of a second run")


def learns_nothing_from(
    make: Make, batches: Sequence[Any], flagged: Any, after: Sequence[Any], counters: frozenset[str] = frozenset()
) -> None:
    """A batch of flagged events changes no later answer and no state, but for named counters.

    Args:
        make: factory of fresh stages.
        batches: what comes before.
        flagged: only events that the stage flags, or receives as flagged.
        after: what comes later; its answers must not change.
        counters: names in the dump that count what was seen, for the metrics alone.
    """
    without, with_flagged = make(), make()
    run(without, batches)
    run(with_flagged, batches)
    before = canonical(with_flagged.dump())
    run(with_flagged, [flagged])
    unchanged = {name: value for name, value in canonical(with_flagged.dump()).items() if name not in counters}
    same({name: value for name, value in before.items() if name not in counters}, unchanged, "state after flagged")
    same(columns(run(without, after)), columns(run(with_flagged, after)), "answers after flagged")


def size(state: State) -> int:
    """Return the bytes of a state's arrays and texts."""
    return sum(value.nbytes if isinstance(value, np.ndarray) else len(str(value)) for value in state.values())


def keeps_its_memory_bounded(make: Make, batches: Iterable[Any], slack: float = 0.02) -> None:
    """Once its bounds are reached, neither a stage's dump nor its process grows, however many users come.

    `batches` reach every bound within their first half. Arrays that compiled code allocates escape `tracemalloc`; the
    dump shows those.
    """
    stage = make()
    sizes, held = [], []
    tracemalloc.start()
    try:
        for batch in batches:
            run(stage, [batch])
            sizes.append(size(stage.dump()))
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    half = len(sizes) // 2
    assert max(sizes[half:]) <= (1 + slack) * max(sizes[:half]), f"the dump grows: {sizes[:: max(1, half // 4)]}"
    # The interpreter's own caches take some kilobytes, whatever runs.
    assert max(held[half:]) <= (1 + slack) * max(held[:half]) + 65_536, f"memory grows: {held[:: max(1, half // 4)]}"


def keeps_users_apart(make: Make, batch: Any, user: int) -> None:
    """What a stage says of a user is the same with and without the others' events between.

    In `batch` every event of the user shares its time with the others' that follow it, so stream time is the same.
    """
    mine = rows_of(batch, user)
    expected = columns([select(answer, mine) for answer in run(make(), [batch])])
    same(expected, columns(run(make(), [select(batch, mine)])), "answers without the others")


def rows_of(batch: Any, user: int) -> np.ndarray:
    """Return which rows of a batch are the user's."""
    while not hasattr(batch, "user"):
        batch = getattr(batch, dataclasses.fields(batch)[0].name)
    return np.asarray(batch.user == user)


def does_not_look_ahead(make: Make, batch: Any, other: Any, until: int) -> None:
    """Two batches that are equal below the offset `until` are answered equally below it."""
    first = span(batch).first
    told, told_otherwise = (columns([part(each, first, until)]) for each in (batch, other))
    same(told, told_otherwise, "the two inputs")
    answers = run(make(), [batch]) + run(make(), [other])
    told, told_otherwise = (columns([part(each, first, until)]) for each in answers)
    same(told, told_otherwise, "answers before a change")


def scores_before_it_learns(make: Make, batch: Any, row: int) -> None:
    """Whether a stage may learn from an event does not change what it says of that event."""
    at = offsets(batch)[row]
    answers = run(make(), [batch]) + run(make(), [with_learning_flipped(batch, row)])
    told, told_otherwise = (columns([part(each, at, at + 1)]) for each in answers)
    for name in [name for name in told if name.rpartition(".")[2] in ("teach", "learn", "flags")]:
        flipped = told.pop(name) != told_otherwise.pop(name)
        assert flipped or name.endswith(("teach", "learn")), "it was not flipped"
    for each in (told, told_otherwise):  # a change tells what the event taught, and holds for those after it
        for name in [name for name in each if name.rpartition(".")[2] == "changes"]:
            del each[name]
    same(told, told_otherwise, "answer to the event itself")


def with_learning_flipped(batch: Any, row: int) -> Any:
    """Return a batch in which one row is the other way round: learnt and counted, or neither."""
    if isinstance(batch, Featured):
        teach, flags = batch.teach.copy(), batch.flags.copy()
        flags[row] = LATE if flags[row] == 0 else 0
        teach[row] = flags[row] == 0
        return dataclasses.replace(batch, teach=teach, flags=flags)
    name = dataclasses.fields(batch)[0].name
    flipped = with_learning_flipped(getattr(batch, name), row)
    if isinstance(batch, Scored):
        learn = batch.learn.copy()
        learn[row] = flipped.teach[row]
        return dataclasses.replace(batch, **{name: flipped}, learn=learn)
    return dataclasses.replace(batch, **{name: flipped})


def its_parts_are_its_state(
    make: Make, stretches: Iterable[Sequence[Any]], size: Callable[[], int], restart: Callable[[], bool]
) -> None:
    """A restart from the parts at any of them: what is assembled goes on as the stage does.

    Args:
        make: a fresh stage.
        stretches: what it answers between two parts.
        size: says how many slices each part sweeps.
        restart: says whether to go on from what was assembled.
    """
    stage, changes, sweeps, first = make(), Changes(), list[Sweep](), 0
    parts: list[State] = []
    for items in stretches:
        run(stage, items)
        sweep = Sweep(first, size()) if parts else EVERYTHING
        first = sweep.next
        parts.append(unpack(pack(changes.of(stage, sweep))))
        sweeps.append(sweep)
        needed = parts[parts_needed(sweeps) :]
        assembly = Assembly(needed[-1])
        for part_ in needed:
            assembly.add(part_)
        again = make()
        again.load(assembly.finish())
        assert canonical(again.dump()) == canonical(stage.dump())
        if restart():
            stage, changes = again, Changes()


def parts_needed(sweeps: Sequence[Sweep]) -> int:
    """The rule of `operators.parts`, by brute force: a part may go once later sweeps have covered every slice."""
    for start in range(len(sweeps)):
        later = {n % SLICES for first, count in sweeps[start + 1 :] for n in range(first, first + count)}
        if len(later) < SLICES:
            return start
    return len(sweeps) - 1
