"""The readouts flow as it is wired, without a broker."""

import json

import pytest
from bytewax.testing import TestingSink, TestingSource, run_main
from trials import QUICK, batch, defined, growing

from flows import readouts
from flows.commands.run import FLOWS
from flows.settings import SettingsError, load_settings
from operators.control import Barrier, Flush, Restore
from operators.merge import MergeConfig
from operators.side import Applied

KEY = bytes(range(32))


def run(items):
    found = []
    fresh = readouts.Stages(MergeConfig(), KEY)
    run_main(readouts.build(fresh, TestingSource(items, batch_size=3), TestingSink(found)))
    return found


def test_definitions_and_parts_become_decisions_and_at_the_flush_a_readout():
    parts = growing()
    items = [Restore(5, {}), defined(QUICK), batch(parts), Barrier(5, len(parts)), Flush(live={5: len(parts)})]
    restored, applied, answer, barrier, flush = run(items)
    topics = [each.topic for each in answer.records]
    (written,) = flush.encoded

    assert isinstance(applied, Applied)
    assert (topics[0], topics[-2:]) == ("audit", ["experiments.decisions", "audit"])
    assert [each.topic for each in written.records] == ["experiments.readouts"]
    assert (written.span.first, written.span.next, written.beside) == (len(parts), len(parts), answer.beside)
    assert json.loads(written.records[0].value)["experiment"] == "button"
    assert list(barrier.snapshots) == ["merge"]
    assert restored is items[0]


def test_the_flow_begins_anew_from_its_snapshot():
    parts = growing()
    *_, barrier = run([Restore(5, {}), defined(QUICK), batch(parts), Barrier(5, len(parts))])
    again = run([Restore(5, barrier.snapshots), batch(parts[-3:], len(parts))])[-1]

    assert [each.topic for each in again.records] == ["audit"]  # the configuration: nothing was committed beside


def test_no_setting_of_the_stage_makes_its_state_useless():
    one, other = (readouts.Stages(config, KEY).merge(0) for config in (MergeConfig(), MergeConfig(7, 8, 9.0, 0.05)))

    assert one.fingerprint == other.fingerprint


def test_the_flow_needs_an_audit_key_and_no_pseudonym_key():
    flow = FLOWS["readouts"]
    needs = {"needs_key": flow.needs_key, "needs_audit_key": flow.needs_audit_key}
    with pytest.raises(SettingsError, match=r"audit\.key"):
        load_settings(None, {}, **needs)

    assert load_settings(None, {"TIDEGATE_AUDIT_KEY": "0123456789abcdef"}, **needs).audit.key is not None
    assert load_settings(None, {"TIDEGATE_PSEUDONYM_KEY": "0123456789abcdef"}, **needs).privacy.key is not None
