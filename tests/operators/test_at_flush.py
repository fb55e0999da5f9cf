"""Records that a stage adds at a flush: who is asked, and what becomes of the answers."""

import pytest

from operators.batches import Encoded, Outgoing, Span
from operators.control import Barrier, Flush, Restore
from operators.stage import Silent, Tasks


class Totals:
    """Says its total, if it has changed since it was last said."""

    fingerprint = "totals"

    def __init__(self, _partition):
        self.total, self.said = 0, 0

    def process(self, batch):
        self.total += batch.span.next - batch.span.first
        return batch

    def at_flush(self, partition):
        if self.total == self.said:
            return None
        self.said = self.total
        record = Outgoing("parts", b"%d" % partition, b"%d" % self.total, 1)
        return Encoded(Span(partition, 0, 0), [record], f"head {self.total}", ("readout",))

    def dump(self):
        return {"total": self.total}

    def load(self, state):
        self.total = state["total"]

    def measurements(self):
        return ()


class Batch:
    def __init__(self, span):
        self.span = span


class Told(Silent):
    def __init__(self):
        self.flushes = []

    def flushed(self, partition, answer):
        self.flushes.append((partition, answer.audited))


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def tasks(told):
    made = Tasks("encode", Totals, told)
    for partition in (0, 1):
        made.answer(Restore(partition, {}))
        made.answer(Batch(Span(partition, 10, 13 + partition)))
    return made


def said(flush):
    return [(each.span, each.records[0].value) for each in flush.encoded]


def test_every_live_partition_is_asked_and_answers_for_no_input_where_it_stands(tasks):
    flush = tasks.answer(Flush(live={0: 13, 1: 14}))
    assert said(flush) == [(Span(0, 13, 13), b"3"), (Span(1, 14, 14), b"4")]


def test_the_text_beside_the_offset_is_the_stage_s_own(tasks):
    assert tasks.answer(Flush(live={0: 13})).encoded[0].beside == "head 3"


def test_a_partition_that_is_rolled_forward_is_not_asked_and_answers_once_it_is_live(tasks):
    assert said(tasks.answer(Flush(live={1: 14}))) == [(Span(1, 14, 14), b"4")]
    assert said(tasks.answer(Flush(live={0: 13, 1: 14}))) == [(Span(0, 13, 13), b"3")]


def test_what_it_says_has_everything_before_the_flush_in_it_and_nothing_after(tasks):
    first, second = Flush(live={0: 13}), Flush(live={0: 20})
    tasks([first, Batch(Span(0, 13, 20)), second])
    assert said(first) + said(second) == [(Span(0, 13, 13), b"3"), (Span(0, 20, 20), b"10")]


def test_a_stage_that_has_nothing_to_say_says_nothing(tasks):
    tasks.answer(Flush(live={0: 13, 1: 14}))
    assert tasks.answer(Flush(live={0: 13, 1: 14})).encoded == []


def test_a_stage_that_was_kept_in_memory_goes_on_with_what_it_said(tasks):
    tasks.answer(Flush(live={0: 13}))
    barrier = tasks.answer(Barrier(0, 13, keep=True))
    other = Tasks("encode", Totals, Silent())
    other.answer(Restore(0, {}, barrier.kept))
    assert other.answer(Flush(live={0: 13})).encoded == []


def test_the_observer_is_told_once_for_each_answer(tasks, told):
    tasks.answer(Flush(live={0: 13}))
    assert told.flushes == [(0, ("readout",))]


class Silentless:
    """A stage as all were before: nothing of the protocol."""

    fingerprint = ""

    def __init__(self, _partition):
        pass

    def measurements(self):
        return ()


def test_a_stage_without_the_method_is_left_alone():
    tasks = Tasks("tier", Silentless, Silent())
    tasks.answer(Restore(0, {}))
    assert tasks.answer(Flush(live={0: 1})).encoded == []


def test_a_flush_that_names_no_partition_asks_none(tasks):
    assert tasks.answer(Flush()).encoded == []
