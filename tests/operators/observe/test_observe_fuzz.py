"""Observe against the oracle of the decode stage's test: exposures and metrics as the contract says, word by word."""

import math
import re

import fuzzing
from observe_streams import NOW, PSEUDONYMS, REVENUE, definition, exposures, observe, taken
from strict_json import TOKENS, members, number, text, time_ms

from operators.accumulate.observed import TICKED, experiment_key, key_of
from operators.decode import reading
from operators.observe import explain, stage

STAGE = observe(definition(primary=REVENUE))
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\n?")  # as `re` reads the pattern: `$` stands before a last newline


class Whole(int):
    """A number written without point or exponent."""


def integer(digits):
    found = number(digits)
    return Whole(found) if isinstance(found, int) else found


def name(value):
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def whole(value, below=math.inf):
    return value is None or (isinstance(value, Whole) and 0 <= value < below)


def real(value):
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return False
    return value is None or math.isfinite(float(value))


def check_exposure(value):
    said = members(value, integer) or {}
    when = time_ms(said.get("timestamp"))
    good = (
        name(said.get("experiment_id"))
        and name(said.get("variation_id"))
        and text(said.get("user"), 1024)
        and when is not None
        and whole(said.get("phase"))
        and whole(said.get("bucket"), 10_000)
        and isinstance(said.get("attributes"), tuple | None)
        and real(said.get("pre_value"))
    )
    found = STAGE.process(exposures(value))
    if not good:
        assert len(found.observed.kind) == 0, "accepted, and should not be"
        return found.rejected[0].detail
    assert not found.rejected, f"refused, and should not be: {found.rejected}"
    rows = found.observed
    assert rows.time_ms.tolist() == [when]
    if said["experiment_id"] == "tidegate.time":
        assert (rows.kind[0], rows.unit[0]) == (TICKED, 0)
        return "tick"
    assert rows.unit.tolist() == [PSEUDONYMS.user(said["user"])[1]]
    arms = ["control", "green"] if said["experiment_id"] == "button" else []
    key = experiment_key("button", arms) if arms else key_of("experiment", said["experiment_id"])
    assert rows.what.tolist() == [key]
    assert rows.phase[0] == min(-1 if said.get("phase") is None else said["phase"], 2**31 - 1)
    same(rows.pre[0], said.get("pre_value"))
    assert rows.arm[0] == (arms.index(said["variation_id"]) if said["variation_id"] in arms else -1)
    return int(rows.arm[0]), said.get("bucket") is None, said.get("phase") is None


def check_metric(value):
    said = members(value, integer) or {}
    when = time_ms(said.get("timestamp"))
    good = (
        text(said.get("user"), 1024)
        and text(said.get("metric"), 256)
        and real(said.get("value"))
        and when is not None
        and real(said.get("pre_value"))
        and (said.get("id") is None or text(said["id"], 256))
        and isinstance(said.get("fields"), tuple | None)
    )
    found = taken(STAGE, "metrics", value)
    if not good:
        assert len(found.observed.kind) == 0, "accepted, and should not be"
        return found.rejected[0].detail
    assert not found.rejected, f"refused, and should not be: {found.rejected}"
    rows = found.observed
    assert len(rows.kind) == (said["metric"] == "revenue")
    if len(rows.kind):
        assert rows.time_ms.tolist() == [when]
        same(rows.value[0], said.get("value"))
        same(rows.pre[0], said.get("pre_value"))
        assert (rows.id_hash[0] == 0) == (said.get("id") is None)
    return len(rows.kind), said.get("id") is None


def same(found, told):
    assert math.isnan(found) if told is None else found == float(told)


EXPOSURES = (
    b'{"experiment_id":"button","variation_id":"green","user":"ada","timestamp":1767225600000,"phase":0,"bucket":7}',
    b'{"experiment_id":"button","variation_id":"x","user":"a","timestamp":0,"attributes":{"a":["x"]},"pre_value":1.5}',
    b'{"experiment_id":"other","variation_id":"x","user":"\\u00e9","timestamp":"2025-12-31T23:59:59.5+01:00"}',
    b'{"user":1,"experiment_id":"tidegate.time","variation_id":"tick","user":"t","timestamp":1.7672256e12,"phase":null}',
)
METRICS = (
    b'{"user":"ada","metric":"revenue","value":2.5,"timestamp":1767225600000,"pre_value":1,"id":"m-1","fields":{"a":[]}}',
    b'{"metric":"visits","user":"\\u00e9","timestamp":"2025-12-31T23:59:59.5+01:00","value":null}',
    b'{"user":"u","metric":1,"metric":"revenue","timestamp":1.7672256e12,"value":-0.0,"more":[{}]}',
)
WORDS = [
    b'"%s":' % each
    for each in (
        b"experiment_id",
        b"variation_id",
        b"phase",
        b"bucket",
        b"attributes",
        b"pre_value",
        b"metric",
        b"value",
    )
]
WORDS += [b"9999", b"10000", b"1.0", b"1e2", b'"button\\n"', b'"tidegate.time"', b'"revenue"', b'"' + b"a" * 129 + b'"']


def test_observe_accepts_the_exposures_that_a_strict_reader_accepts_and_nothing_else():
    assert fuzzing.fuzz(check_exposure, EXPOSURES, (stage, reading, explain), 0.05, TOKENS + WORDS) > 0


def test_observe_accepts_the_numbers_that_a_strict_reader_accepts_and_nothing_else():
    assert fuzzing.fuzz(check_metric, METRICS, (stage, reading, explain), 0.05, TOKENS + WORDS) > 0


def test_the_seeds_are_as_they_seem():
    outcomes = [check_exposure(each) for each in EXPOSURES] + [check_metric(each) for each in METRICS]

    assert outcomes == [(1, False, False), (-1, True, True), (-1, True, True), "tick", (1, False), (0, True), (1, True)]
    assert NOW == 1_767_225_600_000
