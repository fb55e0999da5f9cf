"""What of parts and definitions cannot be used becomes a dead letter, and nothing else is lost."""

import json

import msgspec
import numpy as np
import pytest
from trials import QUICK, Trial, batch, defined, definition, wire

from operators.merge import Merge, MergeConfig
from schemas.definition import Phase


def stage():
    return Merge(MergeConfig())


BAD = {
    "empty_value": [None, b""],
    "not_json": [b"{"],
    "wrong_type": [b"{}", b"[1]", wire(QUICK)],
    "invalid_utf8": [b"\xff"],
    "out_of_range": [
        wire(Trial(QUICK).part(phases=2)),
        wire(Trial(QUICK).part(partition=3)),
        wire(Trial(QUICK).part(metrics=(), matured=b"", matured_low=b"", open=b"")),
        wire(Trial(QUICK).part(exposed=np.full(10, -1.0).tobytes())),
        wire(Trial(QUICK).part(open=np.full(30, np.nan).tobytes())),
    ],
    "missing_field": [wire(Trial(QUICK).part(offsets={"metrics": 1}))],
}


@pytest.mark.parametrize("reason", BAD)
def test_a_part_that_cannot_be_read_is_a_dead_letter(reason):
    answer = stage().process(batch(BAD[reason]))
    letters = [json.loads(each.value) for each in answer.records if each.topic == "dead-letters"]

    assert [each.reason for each in answer.rejected] == [reason] * len(BAD[reason])
    assert [(each["reason"], each["offset"]) for each in letters] == [(reason, at) for at in range(len(BAD[reason]))]
    assert {each["flow"] for each in letters} == {"readouts"}


def test_a_definition_that_cannot_be_used_is_a_dead_letter():
    lopsided = msgspec.structs.replace(QUICK, phases=(Phase(start=0, coverage=1.0, weights=(0.5, 0.3, 0.2)),))
    twice = msgspec.structs.replace(QUICK, secondary=(QUICK.primary,))
    bad = [
        ("button", b"{"),
        ("button", b"{}"),
        ("other", wire(QUICK)),
        ("button", wire(lopsided)),
        ("button", wire(twice)),
    ]
    merge = stage()
    side = defined(*bad, (None, None), definition(id="fine"))
    merge.take_side(side)
    answer = merge.end_side(side)

    assert [json.loads(each.value)["reason"] for each in answer.records] == [
        "not_json",
        "wrong_type",
        *["out_of_range"] * 4,
    ]
    assert list(merge._experiments) == ["fine"]
