"""Files of events: every line leaves as an event or as a refusal with its number."""

import gzip
import json
import os
from pathlib import Path

import pytest

from flows.event_files import EventFile, Ready, Refused, ready
from flows.mapping import load_mapping

GOOD = b'{"id":"a","timestamp":5,"user":"ann","type":"pay"}'


def lines(path, content, mapping=None, form=None):
    path.write_bytes(content)
    with EventFile(path, mapping, form) as events:
        return list(events)


def test_an_event_leaves_as_its_own_bytes_with_key_and_time(tmp_path):
    assert lines(tmp_path / "f.json", GOOD + b"\n") == [Ready(1, b"ann", GOOD, 5)]


def test_a_gzipped_file_reads_like_a_plain_one(tmp_path):
    assert lines(tmp_path / "f.json.gz", gzip.compress(GOOD)) == [Ready(1, b"ann", GOOD, 5)]


def test_a_gzipped_file_cut_short_is_an_error(tmp_path):
    # Random bytes do not compress, so that the cut falls within them.
    content = gzip.compress(
        b"".join(GOOD[:-1] + b',"session":"%s"}\n' % os.urandom(64).hex().encode() for _ in range(99))
    )
    with pytest.raises(OSError, match="damaged"):
        lines(tmp_path / "f.json.gz", content[: len(content) // 2])


def test_blank_lines_are_passed_over_and_counted(tmp_path):
    assert [item.line for item in lines(tmp_path / "f.json", b"\n" + GOOD + b"\r\n  \n" + GOOD)] == [2, 4]


def test_a_byte_order_mark_is_passed_over(tmp_path):
    assert lines(tmp_path / "f.json", b"\xef\xbb\xbf" + GOOD) == [Ready(1, b"ann", GOOD, 5)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"secret", "expected JSON, got something else"),
        (b'["secret"]', "expected an object, got an array"),
        (b'{"secret":"\xff"}', "expected UTF-8, got other bytes"),
        (b'{"id":"a","timestamp":5,"type":"t"}', "expected a string, got no such field - at $.user"),
        (
            b'{"id":"a","timestamp":5,"user":"u","type":"t","amount":-1}',
            "expected a number >= 0, got a negative number",
        ),
        (b'{"id":"a","timestamp":-5,"user":"u","type":"t"}', "expected a time from 1970 to 9999, got an earlier one"),
        (b"[" * 10_000, "expected at most 256 levels of nesting, got more"),
    ],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_malformed_line_is_refused_in_the_engines_words_and_the_next_one_read(tmp_path, line, why, mapped):
    same = "".join(f'{name} = "{name}"\n' for name in ("id", "timestamp", "user", "type", "amount"))
    (tmp_path / "m.toml").write_text("[event]\n" + same)
    bad, good = lines(tmp_path / "f.json", line + b"\n" + GOOD, load_mapping(tmp_path / "m.toml") if mapped else None)

    assert bad.line == 1
    assert bad.why.startswith(why)
    assert isinstance(good, Ready)


def test_a_mapped_line_leaves_as_the_event_it_became(tmp_path):
    (tmp_path / "m.toml").write_text('[event]\nid={template="l{line}"}\nuser="who"\ntimestamp="t"\ntype={constant="x"}')
    (item,) = lines(tmp_path / "f.json", b'{"who":"ann","t":"1970-01-01T00:00:01Z"}', load_mapping(tmp_path / "m.toml"))

    assert (item.key, item.timestamp_ms) == (b"ann", 1000)
    assert json.loads(item.value) == {"id": "l1", "user": "ann", "timestamp": 1000, "type": "x"}


def test_rows_of_csv_leave_as_events(tmp_path):
    content = "\ufeffid,timestamp,user,type,amount\r\na,5,änn,pay,1.5\r\n".encode()
    (item,) = lines(tmp_path / "f.csv", content)

    assert item.key == "änn".encode()
    assert json.loads(item.value) == {"id": "a", "timestamp": 5, "user": "änn", "type": "pay", "amount": 1.5}


def test_the_form_can_be_said_when_the_name_does_not_tell(tmp_path):
    assert isinstance(lines(tmp_path / "f", b"id,timestamp,user,type\na,5,u,t\n", form="csv")[0], Ready)


def test_bad_rows_are_refused_and_the_others_read(tmp_path):
    content = b"id,timestamp,user,type,amount\na,5,u\nb,5,u,t,1,2\nc,5,\xff,t,1\nd,5,u,t,secret\n\ne,5,u,t,1\n"
    *bad, good = lines(tmp_path / "f.csv", content)

    assert bad == [
        Refused(2, "expected 5 columns, got fewer"),
        Refused(3, "expected 5 columns, got more"),
        Refused(4, "expected UTF-8, got other bytes"),
        Refused(5, "expected a finite number - at $.amount"),
    ]
    assert (good.line, good.key) == (7, b"u")


def test_the_number_of_a_row_is_that_of_its_last_line(tmp_path):
    content = b'id,timestamp,user,type\n"a\nb",5,u,t\nc,5,u,t\n'

    assert [item.line for item in lines(tmp_path / "f.csv", content)] == [3, 4]


def test_time_zero_is_not_taken_for_now():
    # librdkafka reads a timestamp of 0 as the present.
    assert ready(b'{"id":"a","timestamp":0,"user":"u","type":"t"}', 1).timestamp_ms == 1


@pytest.mark.parametrize(
    "text", ['"2015-09-12T00:46:58.771Z"', "1442018818771", "1442018818771.0", '"2015-09-12T02:46:58.771+02:00"']
)
def test_the_kafka_time_is_the_events(text):
    value = b'{"id":"a","timestamp":%s,"user":"u","type":"t"}' % text.encode()

    assert ready(value, 1).timestamp_ms == 1442018818771


def test_the_position_reaches_the_size(tmp_path):
    path = tmp_path / "f.json.gz"
    path.write_bytes(gzip.compress(GOOD))
    with EventFile(path) as events:
        list(events)

        assert events.position() == events.size == path.stat().st_size


def test_every_edit_of_wikiticker_becomes_an_event_with_an_id_of_its_own(repository):
    path = repository.parent / "shared" / "data" / "wikiticker" / "wikiticker-2015-09-12.repaired.json.gz"
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"missing: {path}")
        pytest.skip(f"the data are not part of the project; looked for {path}")
    with EventFile(path, load_mapping(repository / "examples" / "wikiticker.mapping.toml")) as events:
        items = list(events)

    assert [item for item in items if isinstance(item, Refused)] == []
    assert len(items) == 39_244  # as counted by `zcat | wc -l`
    assert len({json.loads(item.value)["id"] for item in items}) == len(items)


def test_a_missing_file_is_an_error():
    with pytest.raises(FileNotFoundError):
        EventFile(Path("missing.json"))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"id":"e","timestamp":1,"user":"u","type":"t","x":"\xff"}', "expected UTF-8, got other bytes"),
        (
            b'{"id":"e","timestamp":1,"user":"u","type":"t","x":' + b"[" * 256 + b"]" * 256 + b"}",
            "expected at most 256 levels of nesting, got more",
        ),
    ],
)
def test_what_the_engine_would_refuse_in_a_field_that_nobody_reads_is_refused_here(line, why):
    assert ready(line, 3) == Refused(3, why)


def test_a_later_field_replaces_a_wrong_one_as_it_does_in_the_engine():
    assert ready(b'{"id":7,"id":"e","timestamp":1,"user":"u","type":"t"}', 1).key == b"u"
