"""What a log line looks like, and what can never be in one."""

import io
import json
import logging
import re

import confluent_kafka
import msgspec
import pytest
import structlog

from connectors.logs import FORBIDDEN, configure, librdkafka_logger, logger


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def out(request):
    level, handlers = logging.getLogger().level, list(logging.getLogger().handlers)
    stream = io.StringIO()
    configure("debug", stream)
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def lines(out):
    return [json.loads(line) for line in out.getvalue().splitlines()]


class Record(msgspec.Struct):
    user: str


def test_a_line_is_one_json_object_with_time_level_and_event_first(out):
    logger(flow="risk", partition=3).info("committed", offset=42)

    (line,) = lines(out)
    assert list(line) == ["timestamp", "level", "event", "flow", "partition", "offset"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {"level": "info", "event": "committed", "flow": "risk", "partition": 3, "offset": 42}


@pytest.mark.parametrize("key", sorted(FORBIDDEN))
def test_an_identifiers_key_is_dropped_and_the_line_says_so(out, key):
    logger().info("seen", **{key: "SECRET", "partition": 1})

    (line,) = lines(out)
    assert "SECRET" not in out.getvalue()
    assert (line["dropped"], line["partition"]) == ([key], 1)


@pytest.mark.parametrize("key", ["user", "ip", "device", "counterparty", "session", "id"])
def test_every_identifier_of_an_event_is_among_the_forbidden(key):
    assert {key, f"{key}s"} <= FORBIDDEN


def test_case_does_not_smuggle_an_identifier(out):
    logger().info("seen", User="SECRET")

    assert "SECRET" not in out.getvalue()


def test_identifiers_inside_lists_and_mappings_are_dropped_too(out):
    logger().info("seen", batch=[{"user": "SECRET", "offset": 7}], settings={"deep": {"ip": "SECRET"}})

    (line,) = lines(out)
    assert "SECRET" not in out.getvalue()
    assert (line["batch"], line["dropped"]) == ([{"offset": 7}], ["ip", "user"])


@pytest.mark.parametrize("value", [Record("SECRET"), b"SECRET", {"SECRET"}, [[[[["SECRET"]]]]]])
def test_of_records_bytes_and_deep_values_only_the_type_is_shown(out, value):
    logger().info("seen", value=value)

    assert "SECRET" not in out.getvalue()
    assert re.search(r"<\w+>", out.getvalue())


def test_an_exception_is_its_type_text_and_frames_without_local_variables(out):
    def fail():
        user = "SECRET"
        raise OSError(28, f"disk full{user[:0]}")

    try:
        fail()
    except OSError:
        logger(partition=1).exception("snapshot_failed")

    (line,) = lines(out)
    assert (line["error"], line["error_text"]) == ("OSError", "[Errno 28] disk full")
    assert line["error_at"][-1].endswith(" fail")
    assert "SECRET" not in out.getvalue()


def quote_key():
    return {}["SECRET"]


def quote_enum():
    return msgspec.convert("SECRET", type=__import__("enum").Enum("Kind", {"A": "a"}))


def quote_bytes():
    return b"SECRET\xff".decode()


@pytest.mark.parametrize("fail", [quote_key, quote_enum, quote_bytes])
def test_errors_that_quote_their_input_lose_their_text(out, fail):
    try:
        fail()
    except (LookupError, ValueError) as error:
        logger().exception("failed", reason=error)
        wrapped = RuntimeError("wrapped")
        wrapped.__cause__ = error
        logger().error("failed", exc_info=wrapped)

    assert "SECRET" not in out.getvalue()
    assert lines(out)[1]["error_cause"] == lines(out)[0]["error"]


def test_a_level_below_the_configured_one_is_not_written():
    out = io.StringIO()
    configure("warning", out)
    logger().info("hidden")
    logging.getLogger("connectors.delivery").info("hidden")
    logger().warning("shown")
    structlog.reset_defaults()

    assert [line["event"] for line in lines(out)] == ["shown"]


def test_an_unknown_level_is_an_error_that_lists_the_levels():
    with pytest.raises(ValueError, match="expected a level out of debug, info, warning, error, critical, got loud"):
        configure("loud")


def test_the_standard_librarys_records_come_out_the_same_way(out):
    logging.getLogger("connectors.delivery").warning(
        "aborted after %d records", 3, extra={"flow": "risk", "partition": 2, "user": "SECRET"}
    )

    (line,) = lines(out)
    del line["timestamp"]
    assert line == {
        "level": "warning",
        "event": "aborted after 3 records",
        "flow": "risk",
        "partition": 2,
        "logger": "connectors.delivery",
        "dropped": ["user"],
    }


def test_configuring_twice_does_not_write_twice(out):
    configure("info", out)
    logging.getLogger("x").warning("once")

    assert len(lines(out)) == 1


def test_a_plain_handler_that_would_write_unfiltered_lines_is_replaced(out):
    plain = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(plain))
    configure("info", out)
    logging.getLogger("x").warning("once")

    assert (plain.getvalue(), len(lines(out))) == ("", 1)


def test_librdkafkas_lines_carry_its_facility_and_client(out):
    configuration = {"bootstrap.servers": "127.0.0.1:9", "group.id": "g", "debug": "broker"}
    consumer = confluent_kafka.Consumer(configuration, logger=librdkafka_logger())
    found: list[dict] = []
    for _ in range(50):
        consumer.poll(0.1)
        found = [line for line in lines(out) if line.get("logger") == "librdkafka"]
        if {"FAIL", "CONNECT"} & {line["facility"] for line in found}:
            break
    consumer.close()

    assert found
    assert all(line["client"].startswith("rdkafka#consumer") for line in found)
    assert {"FAIL", "CONNECT"} & {line["facility"] for line in found}


def test_a_terminal_gets_readable_lines_that_drop_the_same_keys():
    out = Terminal()
    configure("info", out)
    logger(partition=3).info("committed", user="SECRET")
    structlog.reset_defaults()

    assert not out.getvalue().startswith("{")
    assert "committed" in out.getvalue()
    assert "SECRET" not in out.getvalue()
