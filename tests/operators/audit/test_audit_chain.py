"""The chain: its bytes against another HMAC and a recomputed key, its continuation, what it tells of configurations."""

import hashlib
import itertools
import json
import os
import subprocess

import msgspec
import pytest

from operators.audit import Chain, Fault, Head, derive_key, key_id
from operators.audit.chain import read_head, split
from operators.metrics import AUDIT_KINDS
from schemas.audit import Audit

KEY = bytes(range(32))
CONFIGURATION = {"score": "aaaaaaaaaaaa", "key_version": "1"}


def chain(configuration=CONFIGURATION, key=KEY):
    return Chain(key, "risk", 3, configuration)


def read(wire):
    return msgspec.json.decode(wire, type=Audit)


def test_the_mac_is_openssls_over_the_bytes_without_their_last_member():
    wire = chain().append("drift", 1_767_225_600_000, {"event": "began", "psi": 0.31})
    cut = wire.rindex(b',"mac":"')
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{KEY.hex()}"]
    said = subprocess.run(command, input=wire[:cut] + b"}", capture_output=True, check=True).stdout

    assert wire[cut:] == b',"mac":"' + said.split()[-1] + b'"}'


def test_a_record_has_this_very_form():
    body = (
        b'{"schema":1,"flow":"risk","partition":3,"sequence":0,"timestamp":1767225600000,"kind":"drift",'
        b'"detail":{"event":"began","psi":0.31},"previous":"' + b"0" * 64 + b'"}'
    )
    wire = chain().append("drift", 1_767_225_600_000, {"event": "began", "psi": 0.31})

    assert split(wire) == (body, read(wire).mac)


def test_each_record_carries_the_mac_of_the_one_before():
    one = chain()
    records = [read(one.append("drift", 5, {})) for _ in range(3)]

    assert [record.sequence for record in records] == [0, 1, 2]
    assert [record.previous for record in records] == ["0" * 64, records[0].mac, records[1].mac]


def test_a_chain_goes_on_from_what_was_committed_beside_the_offset():
    through = chain()
    expected = [through.tell(1), through.append("drift", 2, {}), through.append("drift", 3, {})]
    before = chain()
    got = [before.tell(1), before.append("drift", 2, {})]
    after = chain()
    after.recall(before.beside)

    assert not after.must_tell
    assert [*got, after.append("drift", 3, {})] == expected
    assert after.beside == through.beside


def test_what_is_committed_beside_the_offset_names_head_and_configuration():
    one = chain()
    mac = read(one.tell(1)).mac

    assert one.beside == f"0:{mac}:aaaaaaaaaaaa,1,{key_id(KEY)}"
    assert read_head(one.beside) == Head(0, mac)


def test_nothing_committed_begins_a_new_chain():
    one = chain()
    one.tell(1)
    one.recall("")

    assert (one.beside, one.sequence, one.must_tell) == ("", 0, True)
    assert read_head("") is None


def test_the_first_configuration_is_told_without_a_before():
    assert read(chain().tell(7)).detail == {**CONFIGURATION, "audit_key": key_id(KEY)}


def test_a_changed_configuration_is_told_with_what_it_was():
    old = chain()
    old.tell(1)
    new = chain({**CONFIGURATION, "score": "bbbbbbbbbbbb"})
    new.recall(old.beside)

    assert new.must_tell
    assert read(new.tell(2)).detail == {
        "score": "bbbbbbbbbbbb",
        "key_version": "1",
        "audit_key": key_id(KEY),
        "score_before": "aaaaaaaaaaaa",
    }


def test_a_new_audit_key_is_a_changed_configuration():
    old = chain()
    old.tell(1)
    new = chain(key=bytes(32))
    new.recall(old.beside)

    assert read(new.tell(2)).detail["audit_key_before"] == key_id(KEY)


def test_a_configuration_of_other_parts_was_something_that_cannot_be_said():
    old = chain({"score": "aaaaaaaaaaaa"})
    old.tell(1)
    new = chain()
    new.recall(old.beside)

    detail = read(new.tell(2)).detail
    assert [detail[f"{name}_before"] for name in (*CONFIGURATION, "audit_key")] == [None] * 3


def test_the_configuration_is_told_once():
    one = chain()
    one.tell(1)

    assert not one.must_tell


@pytest.mark.parametrize("text", ["x", "1:abc:d", ":" + "0" * 64 + ":a", "²:" + "0" * 64 + ":a"])
def test_a_text_that_is_none_of_ours_is_refused_without_showing_it(text):
    with pytest.raises(ValueError, match=rf"expected sequence:mac:configuration beside the offset, got {len(text)}"):
        chain().recall(text)


def test_a_configuration_that_does_not_fit_beside_an_offset_is_refused():
    with pytest.raises(ValueError, match="expected at most 200 characters beside an offset, got 214"):
        # 12 digits, 64 of the mac, 2 colons, 127 of the text, a comma and the key's 8
        chain({"score": "a" * 127})


def test_a_comma_in_a_configuration_is_refused():
    with pytest.raises(ValueError, match="without commas"):
        chain({"score": "a,b"})


def test_the_audit_key_is_another_secret_than_the_pseudonym_key():
    # RFC 7693: person is the last 16 bytes of the parameter block; hashlib is asked here with all parameters spelt out.
    expected = hashlib.blake2b(b"", digest_size=32, key=KEY, person=b"tidegate audit\0\0").digest()

    assert derive_key(KEY) == expected != KEY


def test_a_record_without_a_mac_at_its_end_has_no_body():
    record = json.loads(chain().append("drift", 1, {}))
    mac_first = json.dumps({"mac": record.pop("mac"), **record}, separators=(",", ":")).encode()

    assert split(mac_first) is None
    assert split(b"") is None


def test_an_event_time_before_1970_is_told_as_1970():
    assert read(chain().append("drift", -5, {})).timestamp == 0


def test_the_shell_lines_of_the_docs_compute_the_mac(repository):
    wire = chain().append("drift", 1, {"event": "began", "psi": 0.31})
    text = (repository / "docs" / "audit.md").read_text()
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith(("body=", "printf"))]
    given = {"record": wire.decode(), "KEY_IN_HEX": KEY.hex(), "PATH": os.environ["PATH"]}
    said = subprocess.run(["bash", "-c", "\n".join(lines)], env=given, capture_output=True, check=True).stdout

    assert len(lines) == 2
    assert said.split()[-1].decode() == read(wire).mac


def test_the_docs_name_every_fault_and_every_kind(repository):
    text = (repository / "docs" / "audit.md").read_text()
    names = {*Fault, *itertools.chain(*AUDIT_KINDS.values())}

    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
