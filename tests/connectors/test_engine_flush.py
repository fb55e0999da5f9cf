"""What stages add at a flush, on its way through the engine: the broker is a stand-in that keeps what was committed."""

from types import SimpleNamespace

import pytest

from connectors import progress
from connectors.engine import Engine, Pace
from connectors.journal import Entry
from connectors.ledger import Ledger
from connectors.partition import Partition
from connectors.reader import Run
from connectors.sides import SideInputs, SidePlaces, SideTopics
from connectors.snapshots import DirectoryStore
from connectors.takeover import Opened
from operators.batches import Encoded, Outgoing
from operators.control import Flush, Restore
from operators.stage import Silent, Tasks


class Message:
    def __init__(self, offset):
        self.at = offset

    def offset(self):
        return self.at

    def value(self):
        return b"v"

    def key(self):
        return b"k"

    def timestamp(self):
        return 1, 1_000 + self.at


class Totals:
    """Answers every record, and says at a flush how many there were if that has changed."""

    fingerprint = "totals"

    def __init__(self, _partition):
        self.total = self.said = 0

    def process(self, batch):
        self.total += batch.events
        records = [] if batch.span.muted else [Outgoing("answers", b"", b"%d" % at, 1) for at in batch.offsets]
        return Encoded(batch.span, records, "" if batch.span.muted else f"head {batch.span.next}")

    def at_flush(self, partition):
        if self.total == self.said:
            return None
        self.said = self.total
        return Encoded(None, [Outgoing("parts", b"", b"%d" % self.total, 1)], "head of parts")

    def dump(self):
        return {"total": self.total}

    def load(self, state):
        self.total = state["total"]

    def measurements(self):
        return ()


def one_after_the_other(totals, _partition):
    if totals.total == totals.said:
        return None
    totals.said += 1
    return Encoded(None, [Outgoing("parts", b"", b"%d" % totals.said, 1)])


class Broker:
    """Keeps what each transaction carried: (records, offsets, texts)."""

    owner, overlaps = "owner-1", False

    def __init__(self):
        self.open, self.transactions = [], []

    def produce_all(self, records, partition, _names):
        self.open += [(partition, each.topic, each.value.decode()) for each in records]

    def commit(self, offsets, _membership):
        def finish():
            told = {each.partition: (each.offset, progress.read(each.metadata)) for each in offsets}
            self.transactions.append((self.open, told))
            self.open = []

        return finish

    def drop(self):
        return False


class Reader:
    topic = "events"

    def __init__(self):
        self.runs = []

    def assign(self, offsets):
        self.assigned = dict(offsets)

    def partitions(self):
        return 2

    def read(self, _limit, _timeout_s):
        return self.runs.pop(0) if self.runs else {}

    def high_watermark(self, _partition):
        return -1

    def close(self):
        """Nothing to close."""


class Member(SimpleNamespace):
    def poll(self, _timeout_s):
        """Nothing changes by itself."""

    def close(self):
        """Nothing to close."""


class Quiet:
    def __getattr__(self, name):
        return lambda *_, **__: None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Rig:
    """An engine between stand-ins, and the one stage of its flow."""

    def __init__(self, tmp_path, committed=10):
        self.broker, self.reader, self.clock = Broker(), Reader(), Clock()
        self.member = Member(partitions={0, 1}, changed=False, lost=False, confirmed=True)
        self.committed = committed
        takeover = SimpleNamespace(
            told=lambda count: dict.fromkeys(range(count)),
            fence_former_owners=lambda _told, _owner: None,
            check_partitions=lambda _told: None,
            open=lambda number, *_: Opened(number, 10, committed if number == 0 else 10, 0, ()),
        )
        ledger = Ledger("flow", "events", str, DirectoryStore(tmp_path, "flow"), Quiet(), self.clock)
        self.engine = Engine(
            "flow", ledger, self.reader, takeover, SideInputs({}, SideTopics(), self.clock),
            lambda: self.broker, lambda _: self.member, Quiet(), Pace(), self.clock,
        )  # fmt: skip
        self.turns = []

    def run(self, *executions):
        """Each execution is a list of what is read, turn by turn, and what happens before the last one."""
        executions = list(executions)

        def execute():
            tasks = Tasks("count", Totals, Silent())
            runs, then = executions.pop(0)
            for each in [*runs, None]:
                self.clock.now += 1.0
                if each is None:
                    then(self)
                else:
                    self.reader.runs.append(each)
                self._turn(tasks)
            with pytest.raises(StopIteration):
                self.engine.pull()

        self.engine.run(execute)
        return self.broker.transactions

    def _turn(self, tasks):
        items = self.engine.pull()
        self.turns.append(items)
        self.engine.push(tasks(items))


def stop(rig):
    rig.engine.stop()


def change(rig):
    rig.member.changed = True


def read(number, first, after, end=None):
    return {number: Run([Message(at) for at in range(first, after)], end)}


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_what_is_said_at_a_flush_is_in_the_transaction_of_the_answers_before_it(rig):
    _, first, *_ = rig.run(([read(0, 10, 12)], stop))
    records, told = first
    assert records == [(0, "answers", "10"), (0, "answers", "11"), (0, "parts", "2")]
    assert told[0][0] == 12
    assert told[0][1].beside == "head of parts"


def test_the_committed_offset_stays_where_it_is_for_a_partition_that_read_nothing(rig):
    """The claim names both; from then on only the one that read something."""
    _, first, *_ = rig.run(([read(0, 10, 12)], stop))
    assert first[1].keys() == {0}


def test_nothing_is_said_while_a_partition_is_rolled_forward(tmp_path):
    rig = Rig(tmp_path, committed=20)
    transactions = rig.run(([read(0, 10, 15), read(1, 10, 11)], stop))
    said = [record for records, _ in transactions for record in records]
    assert [record for record in said if record[0] == 0] == []
    assert (1, "parts", "1") in said


def test_a_partition_says_it_once_it_is_live_though_nothing_new_comes(tmp_path):
    """The end of the log lies at the committed offset: what made it live was no record."""
    rig = Rig(tmp_path, committed=20)
    transactions = rig.run(([read(0, 10, 15), {0: Run([], 20)}, {}], stop))
    [(records, told)] = [each for each in transactions if each[0]]
    assert records == [(0, "parts", "5")]
    assert (told[0][0], told[0][1].released) == (20, False)


def test_a_state_that_was_restored_with_something_to_say_says_it_without_waiting_for_input(rig, monkeypatch):
    monkeypatch.setattr(Totals, "__init__", lambda self, _: self.__dict__.update(total=7, said=0))
    transactions = rig.run(([{}], stop))
    records, told = transactions[1]
    assert records == [(0, "parts", "7"), (1, "parts", "7")]
    assert not told[0][1].released


def test_the_last_flush_says_what_is_left_and_lets_go(rig):
    rig.engine.pace = Pace(commit_interval_s=100.0)
    claim, (records, told), *more = rig.run(([read(0, 10, 12)], stop))
    assert records[-1] == (0, "parts", "2")
    assert [text.released for _, text in (more[-1] if more else (records, told))[1].values()] == [True, True]
    assert claim[0] == []


def test_a_partition_kept_over_a_change_says_it_before_and_not_again(rig):
    transactions = rig.run(([read(0, 10, 12)], change), ([{}, {}], stop))
    said = [record for records, _ in transactions for record in records if record[1] == "parts"]
    assert said == [(0, "parts", "2")]


def test_what_is_said_a_little_at_a_time_is_said_though_nothing_new_comes(rig, monkeypatch):
    monkeypatch.setattr(Totals, "at_flush", one_after_the_other)
    transactions = rig.run(([read(0, 10, 13), {}, {}, {}, {}], stop))
    said = [
        (record[2], told[0][1].released) for records, told in transactions for record in records if record[1] == "parts"
    ]
    assert said == [("1", False), ("2", False), ("3", False)]


def test_flushes_follow_what_the_stages_were_given_and_not_the_clock_alone(rig):
    rig.run(([read(0, 10, 12), {}, {}, {}], stop))
    assert [type(each) for each in rig.turns[1]] == [Flush]  # something was said: there may be more
    assert rig.turns[2:4] == [[], []]
    assert [type(each) for each in rig.turns[0][:2]] == [Restore, Restore]


def test_the_loop_beats_before_each_stretch_of_side_records_that_is_read_again(rig):
    """Each may take the broker as long as a turn may take."""
    entries = tuple(Entry("labels", 10, at, at + 1, 1, "") for at in range(3))
    places = SidePlaces({"labels": 3}, {"labels": 0}, 0, 0, entries)
    happened = []
    rig.engine._observer = SimpleNamespace(beat=lambda: happened.append("beat"))
    rig.engine._sides = SimpleNamespace(again=lambda _number, entry: happened.append(entry.first))
    rig.engine._batches(0, Partition.of(Opened(0, 10, 10, 0, (), sides=places), "flow", 0.0), Run())
    assert happened == ["beat", 0, "beat", 1, "beat", 2]
