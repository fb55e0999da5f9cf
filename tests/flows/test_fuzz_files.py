"""What users write, settings and mappings and files of events, is taken or refused in our words: never a traceback."""

import gzip
import json
import tomllib

import fuzzing
import pytest

from flows import configuration, event_files, mapping, settings
from flows.event_files import EventFile, Ready, Refused
from flows.mapping import MappingError, load_mapping
from flows.settings import Settings, SettingsError, load_settings
from operators.batches import Messages, Span
from operators.decode import Decode, DecodeConfig, Pseudonymizer

KEY = {"TIDEGATE_PSEUDONYM_KEY": "0123456789abcdef0123"}
DECODE = Decode(DecodeConfig(cache_entries=8), Pseudonymizer(b"k" * 32))
FAR_MS = 253_402_300_799_999

MAPPING = b"""[event]
user = "account.id"
type = { constant = "payment" }
id = { template = "{source}-{line}" }
timestamp = { field = "when", convert = "seconds" }
amount = { field = "delta", convert = "absolute" }
country = { field = "geo.country", default = "ZZ" }
device = { field = "device", convert = "number" }
[event.fields]
channel = "channel"
"""
RECORDS = (
    b'{"account":{"id":7},"source":"web","when":1767225600.5,"delta":-3.5,"geo":{"country":"DE"},"channel":"app"}\n'
    b'{"account":{"id":"a"},"source":"web","when":"1767225600","delta":"9","device":"1e3","channel":{"deep":[1]}}\n'
)
VALUES = (
    b"1e308",
    b"9" * 310,
    b"1767225600.5",
    b'"2026-01-01T00:00:00Z"',
    b'"12.5"',
    b"-3",
    b'{"id":7}',
    b"[true,null]",
    b'"\xc3\xa9\\n"',
)
TYPED = b"""[event]
user = "user"
type = "type"
id = "id"
timestamp = "timestamp"
amount = { field = "amount", convert = "number" }
"""
EVENTS = (
    b'{"id":"e1","timestamp":1767225600000,"user":"ada","type":"pay","amount":12.5,"fields":{"a":[1]}}\n'
    b'{"id":"e2","timestamp":"2026-01-01T00:00:00Z","user":"bob","type":"t"}\n'
    b'{"id":1,"id":"e3","timestamp":0,"user":"\xc3\xbc","type":"t","x":null}\n'
)
TRAPS = (
    b'{"id":"e","timestamp":0,"user":"u","type":"t","x":"\xff"}',
    b'{"id":"e","timestamp":0,"user":"u","type":"t","x":' + b"[" * 260 + b"]" * 260 + b"}",
)
ROWS = b'id,timestamp,user,type,amount,fields.a\ne1,1767225600000,ada,pay,12.5,x\ne2,2026-01-01T00:00:00Z,"bo""b",t,,\n'
TOML = b"""[kafka]
bootstrap = "localhost:9092"
delivery = "exactly_once"
[kafka.librdkafka]
"sasl.mechanism" = "PLAIN"
"socket.timeout.ms" = 100
[privacy]
key_version = 1
pseudonymised_topics = ["events"]
[risk]
batch_max = 5000
snapshot_interval_s = 10.0
snapshot_store = "directory"
snapshot_directory = "/tmp"
[risk.featurize]
windows_s = [60, 600, 3600]
[risk.tier]
medium = 0.01
high = 0.001
[metrics]
port = 9464
[log]
level = "info"
"""
HUGE = (b"[topics]\npartitions = 0x" + b"f" * 5_000, b"[topics]\npartitions = " + b"9" * 5_000, b"a = " + b"[" * 2_000)
WORDS = (
    b"1979-05-27T07:32:00Z", b"07:32:00", b"0x" + b"f" * 5_000, b"9" * 5_000, b"nan", b"inf", b"-inf", b"[" * 1_200,
    b"{a=" * 1_200, b"convert = []", b"convert = {}", b"default = []", b"default = 1e308", b'"""', b"'''",
    b"[[event]]", b"[event.fields]", b"{ field = ", b"constant = ", b'"{"', b'"}{"', b"1e308",
    b"99999999999999999999", b'"99999999999999999999"', b"1e18", b'"seconds"', b'"number"', b'"absolute"', b"true",
    b"[]", b"{}", b"[[]]", b'[["a"]]', b"-1", b"1_000", b"\r\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "given"


def answered_by_decode(value):
    return DECODE.process(Messages(Span(0, 0, 1), "events", [value], [b"k"], [0], [FAR_MS]))


def check_lines(file):
    """Every line is ready or refused, and what is ready is what the decode stage will read."""
    outcome = set()
    with file:
        try:
            for line in file:
                assert isinstance(line, Ready | Refused)
                if isinstance(line, Refused):
                    outcome.add(line.why)
                    continue
                decoded = answered_by_decode(line.value)
                assert decoded.ids, f"ready, but {decoded.rejected[0].detail}"
                assert line.timestamp_ms == max(1, decoded.time_ms[0])
                outcome.add(("ready", len(line.value) // 64))
        except OSError as error:
            outcome.add(str(error)[:20])
    return frozenset(outcome)


def test_a_file_of_json_lines_is_read_to_its_end_whatever_is_in_it(path):
    def check(data):
        path.write_bytes(data)
        return check_lines(EventFile(path))

    print(f"json lines: {fuzzing.fuzz(check, [EVENTS, RECORDS, *TRAPS], (event_files, mapping), 0.08, WORDS):,} cases")


def test_a_csv_file_is_read_to_its_end_whatever_is_in_it(path):
    def check(data):
        path.write_bytes(data)
        return check_lines(EventFile(path, form="csv"))

    print(f"csv: {fuzzing.fuzz(check, [ROWS], (event_files, mapping), 0.06, WORDS):,} cases")


def test_a_damaged_gzip_file_is_an_error_of_reading(path):
    packed = path.with_suffix(".gz")
    squeezed = gzip.compress(EVENTS * 20, mtime=0)

    def check(data):
        packed.write_bytes(data)
        return check_lines(EventFile(packed))

    print(f"gzip: {fuzzing.fuzz(check, [squeezed, squeezed[:10]], (event_files, gzip), 0.04):,} cases")


def test_a_mapping_file_is_loaded_or_refused_and_then_maps_any_record_or_says_why_not(path):
    lines = path.with_suffix(".ndjson")
    lines.write_bytes(RECORDS + EVENTS)

    def check(data):
        path.write_bytes(data)
        try:
            loaded = load_mapping(path)
        except MappingError as error:
            return "refused", str(error).count("\n")
        return check_lines(EventFile(lines, loaded))

    print(f"mappings: {fuzzing.fuzz(check, [MAPPING, TYPED], (mapping,), 0.08, WORDS):,} cases")


@pytest.mark.parametrize("rules", [MAPPING, TYPED])
def test_any_value_of_any_field_is_mapped_or_refused(path, rules):
    path.write_bytes(rules)
    loaded = load_mapping(path)
    lines = path.with_suffix(".ndjson")
    whole = {**json.loads(RECORDS.splitlines()[0]), **json.loads(EVENTS.splitlines()[0])}

    def check(value):
        # One line for each field: the value there, all else as it should be.
        records = [{**whole, name: None} for name in [*whole, "device", "geo.country", "account.id"]]
        given = [json.dumps(record).encode().replace(b"null", value.replace(b"\n", b" "), 1) for record in records]
        lines.write_bytes(b"\n".join(given))
        return check_lines(EventFile(lines, loaded))

    print(f"mapped: {fuzzing.fuzz(check, VALUES, (mapping, event_files), 0.04, WORDS):,} cases")


def test_settings_are_read_or_every_mistake_is_said(path):
    def check(data):
        path.write_bytes(data)
        try:
            loaded = load_settings(path, KEY, needs_key=True)
        except SettingsError as error:
            if not error.mistakes or "0123456789abcdef0123" in str(error):
                raise AssertionError("no mistake, or the key is shown") from error
            return tuple(sorted({each.partition(":")[2][:25] for each in error.mistakes}))[:3]
        # What was read says what the file says: it can be written as JSON and read again by the model alone.
        again = Settings.model_validate_json(loaded.model_dump_json(exclude={"privacy": {"key"}}))
        assert again.risk == loaded.risk
        given = tomllib.loads(data.decode())
        assert given.get("risk", {}).get("batch_max", 5_000) == loaded.risk.batch_max
        return "read", loaded.kafka.delivery, loaded.risk.snapshot_store

    print(f"settings: {fuzzing.fuzz(check, [TOML, b'', *HUGE], (settings, configuration), 0.08, WORDS):,} cases")


def test_settings_of_the_environment_are_read_or_every_mistake_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["TIDEGATE_KAFKA__LIBRDKAFKA", "TIDEGATE_RISK__FEATURIZE__WINDOWS_S", "TIDEGATE_RISK__TIER__HIGH",
             "TIDEGATE_TOPICS__PARTITIONS", "TIDEGATE_RISK__SNAPSHOT_DIRECTORY", "TIDEGATE_RISK",
             "TIDEGATE_PRIVACY__PSEUDONYMISED_TOPICS", "TIDEGATE_KAFKA__PREFIX"]  # fmt: skip
    seeds = [b'{"socket.timeout.ms": 100}', b"[60, 600]", b"0.001", b"4", b"/tmp", b'{"tier": {"high": 0.001}}', b"x"]

    def check(data):
        # As the operating system hands them over: bytes that are not UTF-8 come as half surrogate pairs, NUL never.
        text = data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
        name = names[len(data) % len(names)]
        try:
            load_settings(None, {**KEY, name: text})
        except SettingsError as error:
            return name, error.mistakes[0].partition(":")[2][:25]
        return name, "read"

    print(f"environment: {fuzzing.fuzz(check, seeds, (settings,), 0.04, WORDS):,} cases")
