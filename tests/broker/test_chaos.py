"""Killed, stalled, rescaled, and its broker with it: every input offset is answered exactly once, byte for byte.

A short run of tests/broker/chaos.py (`make chaos` is the long one), and the same with a promise taken out of the flow,
which the verdict must find: a test that cannot fail would prove nothing.
"""

import os
from collections.abc import Iterator

import pytest
from chaos import Options, run
from chaos_actors import Broker
from chaos_plan import Faults, Plan, Step, make_plan
from chaos_report import as_markdown
from chaos_verdict import ALERTS, DEAD, TIERS
from server import UnavailableError

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A Kafka of its own, since it is killed; one that was given is left alone, and its deaths are left out."""
    try:
        broker = Broker(os.environ.get("TIDEGATE_TEST_BOOTSTRAP"))
    except UnavailableError as error:
        if os.environ.get("CI") or os.environ.get("TIDEGATE_TEST_REQUIRE_BROKER"):
            pytest.fail(f"no Kafka of its own to kill ({error}): install Java 17 and Maven")
        pytest.skip(f"no Kafka of its own to kill: {error}")
    yield broker
    broker.stop()


def test_whatever_dies_every_input_offset_is_answered_once_in_order_byte_for_byte(broker, prefix, tmp_path):
    plan = make_plan(3, Faults(kills=9, rescales=3, zombies=2, broker_deaths=1, slow_brokers=1), gap_s=3.0)

    result = run(broker, Options(plan), tmp_path, prefix)

    print(as_markdown(result))
    assert result.kept, as_markdown(result)
    assert (result.done["kill"], result.done["rescale"], result.done["stall"]) == (9, 3, 2)
    assert result.verdict.compared
    assert all(result.verdict.found[topic] for topic in (TIERS, ALERTS, DEAD)), result.verdict.found
    assert any(each.seconds is not None for each in result.takeovers)


def test_without_muting_the_verdict_finds_doubled_answers(broker, prefix, tmp_path):
    plan = Plan(2, 1, (Step(2.0, "kill"), Step(4.0, "kill", moment="committed")))

    result = run(broker, Options(plan, without="muting", compared=False, settle_s=20), tmp_path, prefix)

    assert result.verdict.doubled > 0, as_markdown(result)
    assert not result.kept


def test_without_fencing_the_verdict_finds_doubled_answers(broker, prefix, tmp_path):
    """Two owners of three are stalled with answers prepared, the third takes over, and they wake and go on."""
    stalls = (Step(2.0, "stall", 0.0, "prepared", lasts_s=7.0), Step(2.0, "stall", 0.9, lasts_s=7.0))
    options = Options(Plan(4, 3, stalls), without="fencing", compared=False, settle_s=20, commit_interval_ms=2_000)

    result = run(broker, options, tmp_path, prefix)

    assert result.verdict.doubled > 0, as_markdown(result)
    assert not result.kept


def test_a_saboteur_whose_patch_point_is_gone_breaks_loudly(monkeypatch, capsys):
    import saboteur  # noqa: PLC0415  it is a program, imported only to be tested

    monkeypatch.delattr("connectors.takeover.Takeover.fence_former_owners")

    with pytest.raises(SystemExit) as ended:
        saboteur.without_fencing()

    assert ended.value.code == saboteur.PATCH_POINT_GONE
    assert "Takeover.fence_former_owners" in capsys.readouterr().err
