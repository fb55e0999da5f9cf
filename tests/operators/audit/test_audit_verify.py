"""A real chain of ten records, one thing altered on the wire, and the verifier's name for it."""

import json

import pytest

from operators.audit import Chain, Fault, Head, Verifier
from operators.audit.chain import read_head

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))


def chain(key=KEY, configuration="a"):
    return Chain(key, "risk", 0, {"score": configuration})


def written(length=10, key=KEY):
    one = chain(key)
    return [one.tell(1000), *(one.append("drift", 1000 + at, {"psi": at / 8}) for at in range(1, length))]


WIRE = written()


def head(wires):
    last = json.loads(wires[-1])
    return Head(last["sequence"], last["mac"])


def verifier(wires, keys=(KEY,), committed=None):
    one = Verifier(keys, "risk", 0, committed)
    for at, wire in enumerate(wires):
        one.feed(wire, f"line {at + 1}")
    return one


def found(wires, keys=(KEY,), committed=None, first=None):
    return [(each.fault, each.sequence) for each in verifier(wires, keys, committed).finish(first=first)]


def altered(wire, **fields):
    return json.dumps({**json.loads(wire), **fields}, separators=(",", ":")).encode()


def replaced(at, wire):
    return [*WIRE[:at], wire, *WIRE[at + 1 :]]


def test_a_whole_chain_has_no_fault():
    one = verifier(WIRE, committed=head(WIRE))

    assert one.finish(first=0) == []
    assert (one.records, one.first, one.head, one.first_ms, one.last_ms) == (10, 0, head(WIRE), 1000, 1009)


@pytest.mark.parametrize("at", range(10))
@pytest.mark.parametrize(
    "field",
    [
        {"timestamp": 5},
        {"kind": "model"},
        {"detail": {"psi": 0.0}},
        {"previous": "ab" * 32},
        {"mac": "ab" * 32},
        {"operator": "cli"},  # a member that the schema does not know
    ],
)
@pytest.mark.parametrize("committed", [None, head(WIRE)])
def test_a_changed_record_is_named(at, field, committed):
    assert found(replaced(at, altered(WIRE[at], **field)), committed=committed) == [(Fault.CHANGED, at)]


def test_every_byte_of_a_record_is_under_its_mac():
    for place in range(len(WIRE[5])):
        flipped = bytearray(WIRE[5])
        flipped[place] ^= 1
        assert found(replaced(5, bytes(flipped)), committed=head(WIRE)), place


def test_a_record_written_anew_with_spaces_is_changed():
    assert found(replaced(4, json.dumps(json.loads(WIRE[4])).encode())) == [(Fault.CHANGED, 4)]


@pytest.mark.parametrize(("gone", "first"), [([4], 4), ([4, 5, 6], 4), ([8], 8)])
def test_missing_records_are_one_finding(gone, first):
    kept = [wire for at, wire in enumerate(WIRE) if at not in gone]

    assert found(kept, committed=head(WIRE)) == [(Fault.MISSING, first)]


def test_two_gaps_are_two_findings():
    assert found([*WIRE[:2], *WIRE[3:6], *WIRE[7:]]) == [(Fault.MISSING, 2), (Fault.MISSING, 6)]


@pytest.mark.parametrize("at", range(11))
@pytest.mark.parametrize("number", [0, 3, 9, 10, 99])
def test_a_forged_record_is_added(at, number):
    # At the end it fills a place beyond the committed head, in the middle one that a genuine record holds.
    forged = altered(WIRE[3], sequence=number, mac="ab" * 32)

    assert found([*WIRE[:at], forged, *WIRE[at:]], committed=head(WIRE)) == [(Fault.ADDED, number)]


def test_a_genuine_record_put_in_again_is_repeated():
    assert found([*WIRE[:6], WIRE[2], *WIRE[6:]], committed=head(WIRE)) == [(Fault.REPEATED, 2)]
    assert found([*WIRE, WIRE[0]], committed=head(WIRE)) == [(Fault.REPEATED, 0)]


@pytest.mark.parametrize(("moved", "to"), [(3, 4), (2, 7), (1, 9)])
def test_a_record_moved_down_is_reordered(moved, to):
    wires = [wire for at, wire in enumerate(WIRE) if at != moved]
    wires.insert(to, WIRE[moved])

    assert found(wires, committed=head(WIRE)) == [(Fault.REORDERED, moved)]


def test_a_chain_of_another_key_is_one_finding():
    assert found(written(key=OTHER)) == [(Fault.OTHER_KEY, 0)]


def test_a_tail_under_a_rotated_key_is_verified_with_both_keys():
    old, new = chain(), chain(OTHER)
    wires = [old.tell(1), old.append("drift", 2, {})]
    new.recall(old.beside)
    wires += [new.tell(3), new.append("drift", 4, {})]

    assert found(wires, keys=(KEY, OTHER), committed=read_head(new.beside)) == []
    assert found(wires, keys=(KEY,), committed=read_head(new.beside)) == [(Fault.OTHER_KEY, 2)]
    assert found(wires, keys=(KEY,)) == [(Fault.OTHER_KEY, 2)]
    assert found(wires, keys=(OTHER,)) == [(Fault.OTHER_KEY, 0)]


def test_a_chain_begun_anew_is_restarted():
    again = written(4)
    again = [Chain(KEY, "risk", 0, {"score": "b"}).tell(2000), *again[1:]]

    assert (Fault.RESTARTED, 0) in found([*WIRE, *again])


def test_a_restarted_chain_is_followed_from_there():
    other = chain(configuration="b")
    again = [other.tell(2000), other.append("drift", 2001, {})]
    one = verifier([*WIRE, *again], committed=head(again))

    assert [each.fault for each in one.finish()] == [Fault.RESTARTED]
    assert one.head == head(again)


def test_another_history_of_the_same_key_is_forked():
    fork = chain()
    fork.tell(1000)
    fork.append("drift", 1, {"psi": 9.0})
    other = fork.append("drift", 2, {})

    assert found([*WIRE[:2], other]) == [(Fault.FORKED, 2)]


@pytest.mark.parametrize("kept", range(10))
def test_a_tail_that_is_cut_off_is_found_by_the_committed_head(kept):
    assert found(WIRE[:kept], committed=head(WIRE)) == [(Fault.CUT_OFF, kept)]
    assert found(WIRE[:kept]) == []  # without the head nobody can know


def test_a_tail_that_is_cut_off_and_forged_is_changed_and_cut_off():
    forged = altered(WIRE[6], mac="ab" * 32)

    assert found([*WIRE[:6], forged], committed=head(WIRE)) == [(Fault.CHANGED, 6), (Fault.CUT_OFF, 7)]


def test_a_head_of_another_record_is_found():
    assert found(WIRE, committed=Head(9, "ab" * 32)) == [(Fault.OTHER_HEAD, 9)]


def test_a_chain_may_have_gone_on_since_its_head_was_read():
    assert found(WIRE, committed=head(WIRE[:7])) == []


def test_what_retention_removed_is_no_fault_unless_the_beginning_is_asked_for():
    assert verifier(WIRE[3:]).first == 3
    assert found(WIRE[3:], committed=head(WIRE)) == []
    assert found(WIRE[3:], committed=head(WIRE), first=0) == [(Fault.MISSING, 0)]


def test_a_record_of_another_partition_or_flow_is_misplaced():
    other = Chain(KEY, "risk", 1, {}).append("drift", 1, {})

    assert found([*WIRE[:3], other, *WIRE[3:]]) == [(Fault.MISPLACED, 0)]


@pytest.mark.parametrize("junk", [b"", b"{", b"null", b"\xff", b'{"schema":2}', b"[" * 100_000])
def test_what_is_no_audit_record_is_unreadable(junk):
    assert found([*WIRE[:3], junk, *WIRE[3:]]) == [(Fault.UNREADABLE, None)]


def test_a_flood_of_forged_records_is_counted_and_not_kept():
    forged = altered(WIRE[3], sequence=99, mac="ab" * 32)
    one = verifier([*WIRE, *[forged] * 10_005], committed=head(WIRE))
    findings = one.finish()

    assert len(findings) == 10_001
    assert "got 5 more that are not" in findings[-1].text


def test_a_finding_says_what_was_expected_what_came_and_where():
    (finding,) = verifier(replaced(4, altered(WIRE[4], kind="model"))).finish()

    assert finding.text == "expected record 4 with the mac of its content, got content and mac that differ - at line 5"
    (finding,) = verifier([*WIRE[:4], *WIRE[6:]]).finish()
    assert finding.text == "expected records 4 to 5, got nothing in its place - before line 5"


def test_no_text_of_a_forger_reaches_a_terminal_unfiltered():
    evil = Chain(OTHER, "risk", 0, {"score": "a"}).tell(1)
    evil = altered(evil, detail={"audit_key": "\x1b[31mred"})
    (finding,) = verifier([evil]).finish()

    assert "\x1b" not in finding.text


def test_a_verifier_without_a_key_is_refused():
    with pytest.raises(ValueError, match="at least one audit key"):
        Verifier((), "risk", 0)
