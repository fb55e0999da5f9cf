"""What a person sees of a readout and a decision."""

import io
import re

import msgspec
import numpy as np
import pytest
from rich.console import Console
from trials import START_MS, Trial, batch, defined, definition, drawn

from flows.commands._readout import declared, write
from operators.merge import Merge, MergeConfig
from schemas.readout import Comparison, Readout
from schemas.verdict import Verdict


def shown(readout, verdict):
    console = Console(file=io.StringIO(), width=250)
    write(console, readout, verdict)
    return console.file.getvalue()


@pytest.fixture
def golden(repository):
    folder = repository / "tests" / "schemas" / "golden" / "v1"

    def load(name, record):
        return msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=record)

    return load


def row(text, word):
    """Return the cells of the first row that begins so."""
    (line,) = [line for line in text.splitlines() if re.search(rf"^\W*{word}\b", line)][:1]
    return [cell.strip() for cell in re.split(r"[│┃]", line.strip("│┃ "))]


def test_a_readout_is_shown_with_its_decision(golden):
    text = shown(golden("experiments.readouts.full", Readout), golden("experiments.decisions.ship", Verdict))

    assert text.startswith("button, version 3, as of 2026-01-08 00:00:00.000 UTC; 2 partitions\nship green, since ")
    assert "  green is better: spending of green differs by 0.15 to 2.8 from control" in text
    assert row(text, "spending") == [
        "spending",
        "primary",
        "green",
        "20.41",
        "21.93",
        "3,502 / 3,488",
        "7.25 %",
        "",  # no always-valid lift of the adjusted analysis in this message
        "0.031",
        "ready",
    ]
    assert row(text, "refunds")[-1] == "held: worse by 19 % at most, margin 20 %"
    assert row(text, "risky") == ["risky", "96, 40", "68.0, 68.0", "0.00451", "", "alarm: 2 in arms of weight 0"]
    assert "0.13 % of units were shown several variations" in text
    assert "not counted: 4 late" in text


def test_before_the_burn_in_is_over_it_says_what_is_missing(golden):
    text = shown(golden("experiments.readouts.minimal", Readout), None)

    assert row(text, "m")[-1] == "warming: missing 100 units"
    assert "No risk tiers are read" in text


def test_what_the_flow_writes_can_be_shown():
    of = definition(margin=0.5, minimum_run_s=0)
    merge = Merge(MergeConfig())
    side = defined(of)
    merge.take_side(side)
    units = drawn(np.random.default_rng(1), 3_000, 0.2)
    units.values = units.values.repeat(2, axis=1)
    answer = merge.process(batch([Trial(of).add(units).part(START_MS)]))
    verdict = msgspec.json.decode(answer.records[0].value, type=Verdict)
    readout = msgspec.json.decode(merge.at_flush(5).records[0].value, type=Readout)

    assert verdict.reasons[0] in shown(readout, verdict)


def test_the_declared_analysis_is_the_adjusted_one_where_it_is_known(golden):
    one = golden("experiments.readouts.full", Readout).comparisons[0]

    assert isinstance(one, Comparison)
    assert declared(one, cuped=True) is one.adjusted
    assert declared(one, cuped=False) is one.unadjusted
    assert declared(msgspec.structs.replace(one, adjusted=None), cuped=True) is one.unadjusted
