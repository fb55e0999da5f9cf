"""The demo's counts against the truth, and how they are worded; every expected figure is counted by hand."""

import pytest
from rich.console import Console

from flows.demo import view
from flows.demo.generator import Planted
from flows.demo.tally import Tally
from flows.demo.words import explained, number
from operators.featurize.catalogue import catalogue
from schemas.decision import Decision, Reason

FEATURES = {feature.name: feature for feature in catalogue((60, 600, 3_600, 86_400))}


def planted(event_id, attack=None, campaign=0, garbage=None):
    return Planted({"id": event_id, "timestamp": 1_767_571_200_000, "user": "u"}, attack, campaign, garbage)


def decision(event_id, offset, tier="low", flags=(), partition=0, reasons=()):
    return Decision(
        id=event_id, timestamp=1_767_571_200_000, user="h1:0123456789abcdef", tier=tier, standing="low",
        partition=partition, offset=offset, flags=flags, reasons=reasons,
    )  # fmt: skip


@pytest.fixture
def tally():
    """Ten events: b1 and b2 normal, a0 to a5 one card testing, t0 one takeover, and one broken message."""
    tally = Tally()
    for event_id in ("b1", "b2"):
        tally.sent(planted(event_id), 10.0)
    for place in range(6):
        tally.sent(planted(f"a{place}", "card_testing", 1), 10.0)
    tally.sent(planted("t0", "account_takeover", 2), 10.0)
    tally.sent(planted("g", garbage=b"{"), 10.0)
    return tally


@pytest.fixture
def answered(tally):
    """Caught: a2 and a4 of the card testing. Missed: the takeover. One false alarm: b2."""
    tiers = {"b1": "low", "b2": "high", "a0": "low", "a1": "medium", "a2": "high", "a3": "low", "a4": "critical"}
    for offset, event_id in enumerate(["b1", "b2", "a0", "a1", "a2", "a3", "a4", "a5", "t0"]):
        tally.decided(decision(event_id, offset, tiers.get(event_id, "low")), 10.0 + 0.001 * (offset + 1))
    tally.rejected(0, 9, "not_json")
    return tally


def test_every_message_has_one_answer(answered):
    assert (answered.published, answered.answered, answered.in_flight) == (10, 10, 0)
    assert answered.complaints(0) == []


def test_tiers_and_dead_letters_are_counted(answered):
    assert answered.tiers == {"low": 5, "medium": 1, "high": 2, "critical": 1}
    assert answered.dead == {"not_json": 1}


def test_caught_attacks_events_and_the_first_alarm_are_those_of_the_truth(answered):
    card_testing, takeover, burst, _ = answered.caught()
    assert card_testing == ("card_testing", 1, 1, 6, 2, 2.0)
    assert takeover == ("account_takeover", 1, 0, 1, 0, None)
    assert burst == ("scripted_burst", 0, 0, 0, 0, None)


def test_high_and_critical_on_normal_behaviour_are_false_alarms(answered):
    assert answered.false_alarms == 1


def test_latency_is_from_sent_to_decided(answered):
    # 1, 2, ..., 9 ms: the median is 5; the 99th percentile lies 0.92 of the way from the 8th to the 9th.
    assert answered.latency() == pytest.approx((5.0, 8.92))


def test_forgotten_latencies_do_not_count_nor_do_those_still_under_way(tally):
    tally.decided(decision("b1", 0), 99.0)
    tally.forget_latencies()
    tally.decided(decision("b2", 1), 99.0)
    assert tally.latency() is None


def test_a_repeated_answer_is_counted_once_and_told(answered):
    answered.decided(decision("b2", 1, "critical"), 20.0)
    answered.rejected(0, 9, "not_json")
    assert answered.repeated == 2
    assert answered.answered == 10
    assert answered.tiers["critical"] == 1
    assert answered.dead == {"not_json": 1}


def test_the_same_offset_of_another_partition_is_another_message(tally):
    tally.decided(decision("b1", 0), 11.0)
    tally.decided(decision("b2", 0, partition=1), 11.0)
    assert tally.answered == 2


def test_a_copy_of_an_attack_event_does_not_count_as_a_further_one(tally):
    tally.sent(planted("a0", "card_testing", 1), 10.0)
    tally.decided(decision("a0", 2, "high"), 11.0)
    tally.decided(decision("a0", 10, "high", flags=("duplicate",)), 11.0)
    assert tally.caught()[0] == ("card_testing", 1, 1, 6, 1, 0.0)
    assert tally.flags == {"duplicate": 1}


@pytest.mark.parametrize(
    ("lost", "failed", "complaint"),
    [(1, 0, "got none to 1"), (0, 3, "3 messages could not be published")],
)
def test_lost_and_failed_messages_are_complained_about(answered, lost, failed, complaint):
    for place in range(lost):
        answered.sent(planted(f"lost{place}"), 12.0)
    assert complaint in "\n".join(answered.complaints(failed))


def test_no_answer_at_all_is_complained_about():
    assert "no event was answered" in Tally().complaints(0)


@pytest.mark.parametrize(
    ("name", "value", "baseline", "words"),
    [
        ("event_count_10m", 48, 2.134, "48 events in 10m (usual 2.13)"),
        ("amount_sum_1h", 12_345.6, 60, "12,346 spent in 1h (usual 60)"),
        ("amount_deviation_24h", 6.23, 0.0, "amount 6.23 \N{GREEK SMALL LETTER SIGMA} above usual in 24h"),
        ("gap_deviation_1m", -4.1, 0.0, "gap 4.1 \N{GREEK SMALL LETTER SIGMA} shorter than usual in 1m"),
        ("counterparty_distinct_1h", 21, 1.5, "21 counterparties in 1h (usual 1.5)"),
        ("ip_entropy_24h", 1.386, 0.0, "IPs mixed 1.39 in 24h (usual 0)"),
        ("device_novelty", 1, 0.0, "new device"),
        ("something_else", 3, None, "something else 3"),
    ],
)
def test_reasons_are_said_in_words(name, value, baseline, words):
    assert explained(Reason(feature=name, value=value, baseline=baseline), FEATURES.get(name)) == words


def test_every_feature_of_the_catalogue_has_words():
    for name, feature in FEATURES.items():
        assert name not in explained(Reason(feature=name, value=1.0, baseline=0.0), feature)


def test_numbers_are_written_for_people():
    assert [number(value) for value in (0, 3.0, 0.1234, 99.96, 1234.5)] == ["0", "3", "0.123", "100", "1,234"]


def screen(tally):
    return view.Screen(
        phase="streaming", tally=tally, metrics_url="http://127.0.0.1:9464/metrics", seconds=60.0,
        budgets={"medium": 0.02}, catalogue=FEATURES, elapsed_s=15.0, sent_per_s=2_000.0, notes=("a note",),
    )  # fmt: skip


def drawn(tally, width=120, height=44):
    console = Console(width=width, height=height, record=True, file=open("/dev/null", "w"))  # noqa: PTH123,SIM115
    with console:
        console.print(view.render(screen(tally), height))
    text = console.export_text()
    console.file.close()
    return text


def test_the_view_shows_alerts_with_reasons_and_the_truth(answered):
    reasons = (Reason(feature="counterparty_distinct_1h", value=21, baseline=1.5, contribution=6.0),)
    answered.alerted(decision("a2", 4, "high", reasons=reasons))
    answered.alerted(decision("a4", 6, "critical", reasons=reasons))
    text = drawn(answered)
    row = next(line for line in text.splitlines() if "21 counterparties" in line)
    for words in (
        "Mon 00:00:00",
        "h1:012345",
        "critical",
        "2 times",
        "21 counterparties in 1h (usual 1.5)",
        "card testing",
    ):
        assert words in row
    for words in ("http://127.0.0.1:9464/metrics", "a note", "2,000/s", "45 s left", "not json 1", "1 of 1"):
        assert words in text


@pytest.mark.parametrize(("width", "height"), [(120, 44), (100, 30), (80, 24)])
def test_the_view_fits_its_terminal_once_there_is_room_for_it(answered, width, height):
    lines = drawn(answered, width, height).splitlines()
    assert max(map(len, lines)) <= width
    if height >= 30:
        assert len(lines) <= height


def test_the_view_can_be_drawn_before_anything_happened():
    assert "0 of 0" in drawn(Tally())
    assert "published 0" in view.line(screen(Tally()))


def test_the_summary_says_what_was_caught(answered):
    text = "\n".join(view.summary(answered, 10, 2.0))
    assert "published     10 messages; 10 of them in 2.0 s: 5/s" in text
    assert "card testing      1 of 1 attacks, 2 of 6 events, first alarm after 2 events (median)" in text
    assert "account takeover  0 of 1 attacks, 0 of 1 events\n" in text
    assert "false alarms  1 of 9 decisions" in text
