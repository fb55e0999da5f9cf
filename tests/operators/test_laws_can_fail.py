"""For each law a stage that breaks it: a law that no stage can break proves nothing."""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

import laws
import numpy as np
import pytest
from cutting import cut, evenly
from streams import decoded, habits

from operators.batches import LATE, Decoded, Featured, Scored
from operators.side import Side
from operators.state import Measurement, State

BOUND = 8  # users the honest stage remembers


class Honest:
    """Scores an event by its distance from the mean of the user's earlier ones; keeps every law."""

    fingerprint: ClassVar[str] = "honest"

    def __init__(self) -> None:
        self.users: dict[int, tuple[float, int]] = {}  # user -> sum, count; oldest first
        self.learned = 0

    def process(self, batch: Featured) -> Scored:
        score = np.array([self.event(batch, row) for row in range(len(batch.flags))], np.float64)
        return Scored(batch, score, score, score, batch.features.copy(), batch.teach)

    def event(self, batch: Featured, row: int) -> float:
        user, value = self.key(batch, row), float(batch.features[row, 0])
        score = self.score(user, value)
        if self.may_learn(batch, row):
            self.learn(user, value)
        return score

    def key(self, batch: Featured, row: int) -> int:
        return int(batch.decoded.user[row])

    def may_learn(self, batch: Featured, row: int) -> bool:
        return bool(batch.teach[row])

    def score(self, user: int, value: float) -> float:
        total, count = self.users.get(user, (0.0, 0))
        return abs(value - total / count) if count else np.nan

    def learn(self, user: int, value: float) -> None:
        self.learned += 1
        total, count = self.users.get(user, (0.0, 0))
        self.users[user] = (total + value, count + 1)
        if len(self.users) > BOUND:
            del self.users[next(iter(self.users))]

    def dump(self) -> State:
        return {
            "users": np.array(list(self.users), np.uint64),
            "sums": np.array([total for total, _ in self.users.values()], np.float64),
            "counts": np.array([count for _, count in self.users.values()], np.int64),
            "learned": self.learned,
        }

    def load(self, state: State) -> None:
        columns: list[Any] = [state[name] for name in ("users", "sums", "counts")]
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.users = {user: (total, count) for user, total, count in rows}
        self.learned = int(state["learned"])  # type: ignore[arg-type]

    def measurements(self) -> Iterable[Measurement]:
        return ()


class WritesIntoItsInput(Honest):
    def process(self, batch: Featured) -> Scored:
        answer = super().process(batch)
        batch.features[:, 0] *= 0.5
        return answer


class UsesOneBufferForAllAnswers(Honest):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = np.zeros(10_000)

    def process(self, batch: Featured) -> Scored:
        answer = super().process(batch)
        view = self.buffer[: len(answer.score)]
        view[:] = answer.score
        return dataclasses.replace(answer, score=view)


class ForgetsTheCounts(Honest):
    def load(self, state: State) -> None:
        super().load(state)
        self.users = {user: (total, 1) for user, (total, _) in self.users.items()}


class KeepsWhatItHadWhenLoading(Honest):
    def load(self, state: State) -> None:
        before = self.users
        super().load(state)
        self.users = self.users | before


class HandsOutItsOwnArray(Honest):
    def __init__(self) -> None:
        super().__init__()
        self.array = np.zeros(1)

    def process(self, batch: Featured) -> Scored:
        answer = super().process(batch)
        self.array[0] = self.learned
        return answer

    def dump(self) -> State:
        return super().dump() | {"array": self.array}

    def load(self, state: State) -> None:
        super().load(state)
        self.array = np.array(state["array"])


class CountsBatches(Honest):
    def process(self, batch: Featured) -> Scored:
        answer = super().process(batch)
        self.learned += 1  # once per batch: shows in the dump alone
        return answer


class ComparesWithinTheBatch(Honest):
    def process(self, batch: Featured) -> Scored:
        answer = super().process(batch)
        return dataclasses.replace(answer, score=answer.score / np.nanmax(np.append(answer.score, 1e-9)))


class AppliesSideInputsWhenTheNextBatchIsOver(Honest):
    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0

    def take_side(self, side: Side) -> None:
        self.waiting += len(side.values)

    def process(self, batch: Featured) -> Scored:
        answer = super().process(batch)
        self.users.update({user: (total + self.waiting, count) for user, (total, count) in self.users.items()})
        self.waiting = 0
        return answer


class SkipsWhatIsMuted(Honest):
    def may_learn(self, batch: Featured, row: int) -> bool:
        return super().may_learn(batch, row) and not batch.decoded.span.muted


class DrawsWithoutASeed(Honest):
    def score(self, user: int, value: float) -> float:
        return super().score(user, value) + np.random.default_rng().random()


class LearnsFromFlaggedEvents(Honest):
    def may_learn(self, batch: Featured, row: int) -> bool:
        return bool(batch.teach[row] or batch.flags[row])


class RemembersFlaggedEventsOutsideItsDump(LearnsFromFlaggedEvents):
    def dump(self) -> State:
        return {}


class NeverForgetsAUser(Honest):
    def learn(self, user: int, value: float) -> None:
        self.users[user] = (value, 1)


class HoardsOutsideItsDump(Honest):
    def __init__(self) -> None:
        super().__init__()
        self.hoard: list[float] = []

    def learn(self, user: int, value: float) -> None:
        super().learn(user, value)
        self.hoard.append(value)


class TakesAllForOneUser(Honest):
    def key(self, batch: Featured, row: int) -> int:
        return 1


class LooksAtTheNextEvent(Honest):
    def event(self, batch: Featured, row: int) -> float:
        score = super().event(batch, row)
        return score + batch.features[min(row + 1, len(batch.flags) - 1), 0]


class LearnsBeforeItScores(Honest):
    def event(self, batch: Featured, row: int) -> float:
        user, value = self.key(batch, row), float(batch.features[row, 0])
        if self.may_learn(batch, row):
            self.learn(user, value)
        return self.score(user, value)


class AnswersAnotherStretch(Honest):
    def process(self, batch: Featured) -> Scored:
        before = batch.decoded
        after = dataclasses.replace(before, span=dataclasses.replace(before.span, next=before.span.next + 1))
        return super().process(dataclasses.replace(batch, decoded=after))


def featured(base: Decoded, seed: int = 0, flag: int = 0) -> Featured:
    n = len(base.ids)
    features = np.random.default_rng(seed).random((n, 2))
    return Featured(base, features * 10, features, np.full(n, flag, np.uint8), np.full(n, flag == 0))


def stream(seed: int = 1, n: int = 300, users: int = 5, **more: Any) -> Featured:
    return featured(decoded(habits(seed, n, users=users), **more), seed)


def in_pairs() -> Featured:
    """Return a stream in which a second user follows each event of the first, at the same time."""
    events = []
    for event in habits(2, 50, users=1):
        events += [event, {**event, "user": "other"}]
    return featured(decoded(events), 2)


def newcomers() -> list[Featured]:
    events = [{"id": str(i), "timestamp": i, "user": str(i), "type": "t"} for i in range(10_000)]
    return evenly(featured(decoded(events), 3), 500)


def check_input(make: laws.Make) -> None:
    laws.leaves_its_input_alone(make, evenly(stream(), 50))


def check_snapshot(make: laws.Make) -> None:
    laws.survives_a_snapshot(make, evenly(stream(), 30), at=[2, 5, 8])


def check_cuts(make: laws.Make) -> None:
    laws.does_not_care_about_cuts(make, stream(), at=[7, 8, 100])


def check_cuts_around_sides(make: laws.Make) -> None:
    first, second = cut(stream(), [150])
    said = Side(0, "labels", 150, 0, 1, [b"{}"], [b"k"], [0], [0])
    laws.does_not_care_about_cuts_around_sides(make, [first, said, second], at=[160, 200])


def check_muted(make: laws.Make) -> None:
    laws.learns_the_same_when_muted(make, evenly(stream(), 100))


def check_repeat(make: laws.Make) -> None:
    laws.repeats_itself(make, evenly(stream(), 100))


def check_flagged(make: laws.Make) -> None:
    before, after = cut(stream(), [150])
    laws.learns_nothing_from(make, [before], featured(decoded(habits(9, 20, users=5)), 9, LATE), [after])


def check_memory(make: laws.Make) -> None:
    laws.keeps_its_memory_bounded(make, newcomers())


def check_users(make: laws.Make) -> None:
    batch = in_pairs()
    laws.keeps_users_apart(make, batch, int(batch.decoded.user[0]))


def check_future(make: laws.Make) -> None:
    batch = stream()
    features = batch.features.copy()
    features[101:] = 1 - features[101:]
    laws.does_not_look_ahead(make, batch, dataclasses.replace(batch, features=features), until=101)


def check_order(make: laws.Make) -> None:
    laws.scores_before_it_learns(make, stream(), row=200)


CHECKS = [
    check_input,
    check_snapshot,
    check_cuts,
    check_cuts_around_sides,
    check_muted,
    check_repeat,
    check_flagged,
    check_memory,
    check_users,
    check_future,
    check_order,
]

BROKEN = [
    (check_input, WritesIntoItsInput, "input"),
    (check_input, UsesOneBufferForAllAnswers, "an earlier answer"),
    (check_input, AnswersAnotherStretch, "expected an answer to"),
    (check_snapshot, ForgetsTheCounts, "after a restart"),
    (check_snapshot, KeepsWhatItHadWhenLoading, "after a restart"),
    (check_snapshot, HandsOutItsOwnArray, "a dump changed"),
    (check_cuts, CountsBatches, "state after cuts"),
    (check_cuts, ComparesWithinTheBatch, "answers after cuts: differs in score"),
    (check_cuts_around_sides, AppliesSideInputsWhenTheNextBatchIsOver, "answers after cuts: differs in"),
    (check_muted, SkipsWhatIsMuted, "after rolling forward"),
    (check_repeat, DrawsWithoutASeed, "second run"),
    (check_flagged, LearnsFromFlaggedEvents, "state after flagged"),
    (check_flagged, RemembersFlaggedEventsOutsideItsDump, "answers after flagged"),
    (check_memory, NeverForgetsAUser, "the dump grows"),
    (check_memory, HoardsOutsideItsDump, "memory grows"),
    (check_users, TakesAllForOneUser, "without the others"),
    (check_future, LooksAtTheNextEvent, "before a change"),
    (check_order, LearnsBeforeItScores, "answer to the event itself"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_an_honest_stage_keeps_the_law(check):
    check(Honest)


@pytest.mark.parametrize(("check", "broken", "message"), BROKEN, ids=[f"{b.__name__}" for _, b, _ in BROKEN])
def test_a_stage_that_breaks_the_law_is_caught(check, broken, message):
    with pytest.raises(AssertionError, match=message):
        check(broken)


def test_every_law_has_a_stage_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)
