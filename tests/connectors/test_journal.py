"""What the journal says is to be applied while rolling forward: all of it, once, in order, or a refusal."""

import pytest

from connectors.journal import Entry, JournalUnusable, Pending, checksum, entry
from operators.side import Side


def said(first, after, at=100, topic="labels"):
    return Entry(topic, at, first, after, after - first, "0" * 16)


def pending(begin, end, *entries):
    made = Pending({"labels": begin}, {"labels": end})
    for each in entries:
        made.add(each)
    return made


def test_what_lies_between_snapshot_and_commit_is_applied_in_the_order_of_the_journal():
    entries = [said(0, 10, 90), said(10, 14, 100), said(14, 15, 100), said(15, 20, 130)]
    made = pending(10, 20, *entries)
    assert made.whole
    assert made.entries(100, 130) == entries[1:]


def test_what_was_not_committed_is_not_applied():
    assert pending(0, 10, said(0, 10), said(10, 12)).entries(100, 100) == [said(0, 10)]


def test_a_commit_at_the_very_offset_of_the_labels_includes_them():
    assert pending(0, 10, said(0, 10, at=150)).entries(100, 150) == [said(0, 10, at=150)]


def test_a_missing_entry_in_the_middle_is_refused():
    made = pending(0, 20, said(0, 5), said(8, 20))
    assert not made.whole
    with pytest.raises(JournalUnusable, match="expected an entry for labels from 5, found one from 8"):
        made.entries(100, 200)


def test_a_missing_entry_at_the_end_is_refused():
    with pytest.raises(JournalUnusable, match="expected entries for labels from 5 to 20, found none from 5"):
        pending(0, 20, said(0, 5)).entries(100, 200)


def test_an_empty_journal_is_refused():
    with pytest.raises(JournalUnusable, match="expected entries for labels from 3 to 9, found none from 3"):
        pending(3, 9).entries(100, 200)


def test_a_snapshot_in_the_middle_of_an_entry_is_refused():
    with pytest.raises(JournalUnusable, match="expected an entry for labels from 5, found one from 0"):
        pending(5, 10, said(0, 10)).entries(100, 200)


@pytest.mark.parametrize("at", [99, 201])
def test_an_entry_before_the_snapshot_or_beyond_the_commit_is_refused(at):
    with pytest.raises(JournalUnusable, match=f"expected labels 0 to be applied from 100 to 200, found {at}"):
        pending(0, 10, said(0, 10, at)).entries(100, 200)


def test_an_entry_that_steps_back_is_refused():
    with pytest.raises(JournalUnusable, match="from 150 to 200, found 120"):
        pending(0, 10, said(0, 5, 150), said(5, 10, 120)).entries(100, 200)


def test_an_entry_takes_the_place_of_those_that_were_never_committed():
    """As without transactions: the owner died between writing and committing, and its successor read again."""
    made = pending(0, 12, said(0, 10, 110), said(0, 5, 120), said(5, 12, 130))
    assert made.entries(100, 200) == [said(0, 5, 120), said(5, 12, 130)]


def test_the_snapshot_has_what_took_the_place_of_an_uncommitted_entry():
    made = pending(5, 12, said(0, 10, 110), said(0, 5, 120), said(5, 12, 130))
    assert made.entries(125, 200) == [said(5, 12, 130)]


def test_topics_are_followed_apart():
    made = Pending({"labels": 0, "lists": 7}, {"labels": 5, "lists": 9})
    for each in (said(7, 9, topic="lists"), said(0, 5), said(3, 4, topic="other")):
        made.add(each)
    assert made.entries(100, 100) == [said(7, 9, topic="lists"), said(0, 5)]
    assert made.topics == {"labels", "lists"}


def test_an_entry_tells_what_was_applied_where():
    side = Side(3, "labels", 40, 6, 9, [b"x", None], [b"u", b"u"], [6, 8], [1, 1])
    assert entry(side) == Entry("labels", 40, 6, 9, 2, checksum([6, 8], [b"u", b"u"], [b"x", None]))


def test_other_records_have_another_checksum():
    one = checksum([1, 2], [b"a", b"b"], [b"x", b""])
    others = [
        checksum([1, 3], [b"a", b"b"], [b"x", b""]),
        checksum([1, 2], [b"a", b"b"], [b"x", None]),
        checksum([1, 2], [b"a", b"bx"], [b"", b""]),
        checksum([1, 2], [b"ax", b"b"], [b"", b""]),
        checksum([1], [b"a"], [b"x"]),
    ]
    assert len({one, *others}) == 6
