"""Rolling forward with side records in between: each where the journal says, however the input is cut into runs."""

import random

from connectors.journal import Entry
from connectors.partition import Partition
from connectors.reader import Run
from connectors.rolling import SIDES_AT_ONCE, STRETCHES_AT_ONCE, roll_forward
from connectors.sides import SidePlaces
from connectors.takeover import Opened


class Message:
    def __init__(self, offset):
        self.at = offset

    def offset(self):
        return self.at


def entries_at(*places):
    return tuple(Entry("labels", at, number, number + 1, 1, "") for number, at in enumerate(places))


def opened(start, committed, *places):
    sides = SidePlaces({"labels": len(places)}, {"labels": 0}, 0, 0, entries_at(*places))
    return Partition.of(Opened(0, start, committed, 0, (), sides=sides), "risk", 0.0)


def told(stretches):
    """Offsets of input records, and `L` and a number for side records."""
    return [
        word
        for each in stretches
        for word in ([f"L{each.first}"] if isinstance(each, Entry) else [message.offset() for message in each])
    ]


def roll(partition, run):
    found = []
    while not partition.live:
        stretches, again = roll_forward(partition, run)
        found += told(stretches)
        if not again:
            break
    return found, [message.offset() for message in run.messages]


def test_side_records_come_before_the_record_at_their_offset():
    partition = opened(10, 14, 10, 12, 12, 14)
    found = roll(partition, Run([Message(at) for at in range(10, 16)]))
    assert found == (["L0", 10, 11, "L1", "L2", 12, 13, "L3"], [14, 15])
    assert partition.live
    assert partition.position == 14


def test_side_records_beyond_what_was_read_wait():
    partition = opened(10, 20, 13)
    assert roll(partition, Run([Message(10), Message(11)])) == ([10, 11], [])
    assert not partition.live
    assert roll(partition, Run([Message(12)])) == ([12, "L0"], [])


def test_a_partition_without_new_records_gets_what_was_applied_at_the_committed_offset():
    partition = opened(14, 14, 14, 14)
    assert not partition.live
    assert roll(partition, Run()) == (["L0", "L1"], [])
    assert partition.live
    assert partition.position == 14


def test_a_gap_in_the_log_holds_nothing_up():
    partition = opened(10, 14, 12)
    assert roll(partition, Run([Message(10), Message(17)])) == ([10, "L0"], [17])
    assert partition.live
    assert partition.position == 14


def test_the_end_of_the_log_is_enough():
    partition = opened(10, 14, 13)
    assert roll(partition, Run([Message(10)], end=14)) == ([10, "L0"], [])
    assert partition.live


def test_many_side_records_are_not_held_at_once():
    partition = opened(10, 12, *[10] * (2 * STRETCHES_AT_ONCE + 1))
    run = Run([Message(10), Message(11)])
    sizes = []
    while not partition.live:
        stretches, _ = roll_forward(partition, run)
        sizes.append(sum(isinstance(each, Entry) for each in stretches))
    assert sizes == [STRETCHES_AT_ONCE, STRETCHES_AT_ONCE, 1]


def test_wherever_the_input_is_cut_the_order_is_the_same():
    rng = random.Random(5)
    for _ in range(300):
        places = sorted(rng.randint(0, 40) for _ in range(rng.randint(0, 30)))
        offsets = sorted(rng.sample(range(60), 45))
        partition = opened(0, 40, *places)
        found, left = [], offsets
        while left and not partition.live:
            count = rng.randint(1, 9)
            some, rest = roll(partition, Run([Message(at) for at in left[:count]]))
            found += some
            left = rest + left[count:]
        below = [at for at in offsets if at < 40]
        keyed = [((at, 1), at) for at in below] + [((at, 0), f"L{n}") for n, at in enumerate(places)]
        if partition.live:
            assert found == [word for _, word in sorted(keyed, key=lambda each: each[0])]
            assert left == offsets[len(below) :]


def test_large_stretches_are_given_out_a_few_at_a_time():
    large = SIDES_AT_ONCE // 3 + 1
    entries = tuple(Entry("labels", 10, at * large, (at + 1) * large, large, "") for at in range(4))
    partition = Partition.of(Opened(0, 10, 12, 0, (), sides=SidePlaces({"labels": 1}, {}, 0, 0, entries)), "risk", 0.0)
    stretches, again = roll_forward(partition, Run([Message(10), Message(11)]))
    assert (len(stretches), again) == (3, True)
