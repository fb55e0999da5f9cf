"""The synthetic stream: reproducible, believable, and with the abuse that its ground truth claims."""

import time
from collections import Counter, defaultdict
from hashlib import blake2b
from itertools import islice, pairwise

import msgspec
import numpy as np
import pytest

from flows.demo.attacks import ATTACKS
from flows.demo.generator import GARBAGE, Generator, GeneratorConfig
from schemas.event import Event

DAY_MS = 86_400_000
CONFIG = GeneratorConfig()
DISTURBED = GeneratorConfig(out_of_order=0.05, duplicates=0.01, garbage=0.01)


def take(config, count):
    return list(islice(Generator(config).events(), count))


@pytest.fixture(scope="module")
def stream():
    """100,000 events: about 25 hours at the default rate and speed."""
    return take(CONFIG, 100_000)


@pytest.fixture(scope="module")
def disturbed():
    return take(DISTURBED, 50_000)


@pytest.fixture(scope="module")
def campaigns(stream):
    """The attacks that are over before the stream ends, by kind."""
    found = defaultdict(list)
    for planted in stream:
        if planted.attack is not None:
            found[planted.campaign].append(planted)
    end = stream[-1].timestamp_ms - 6 * 3_600_000
    by_kind = defaultdict(list)
    for events in found.values():
        if events[0].timestamp_ms < end:
            by_kind[events[0].attack].append(events)
    return by_kind


def digest(messages):
    text = b"\n".join(planted.key + b" " + planted.value for planted in messages)
    return blake2b(text, digest_size=16).hexdigest()


def test_same_seed_gives_the_same_bytes(disturbed):
    assert digest(take(DISTURBED, 20_000)) == digest(disturbed[:20_000])


def test_another_seed_gives_other_bytes():
    assert digest(take(GeneratorConfig(seed=8), 100)) != digest(take(CONFIG, 100))


def test_timestamps_increase_when_nothing_is_disturbed(stream):
    assert all(before.timestamp_ms <= after.timestamp_ms for before, after in pairwise(stream))


def test_disorder_is_there_and_at_most_30_seconds(disturbed):
    times = np.array([planted.timestamp_ms for planted in disturbed])
    behind = np.maximum.accumulate(times) - times
    # Copies come up to 60 s after their original, which may be 30 s late itself.
    assert 0.02 < np.mean(behind > 0) < 0.08
    assert behind.max() <= 90_000


def test_every_sound_message_is_an_event(disturbed):
    decode = msgspec.json.Decoder(Event).decode
    for planted in disturbed:
        if planted.garbage is None:
            event = decode(planted.value)
            assert event.user.encode() == planted.key


def test_every_kind_of_garbage_occurs_and_none_is_an_event(disturbed):
    broken = {planted.garbage for planted in disturbed if planted.garbage is not None}
    for value in broken:
        with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
            msgspec.json.decode(value, type=Event)
    assert len(GARBAGE) <= len(broken)
    assert b"" in broken


def test_share_of_garbage_and_duplicates_is_as_configured(disturbed):
    garbage = sum(planted.garbage is not None for planted in disturbed)
    copies = len(disturbed) - len({planted.event["id"] for planted in disturbed})
    # 500 expected of each; five standard deviations of a binomial count are 112.
    assert abs(garbage - 500) < 112
    assert abs(copies - 500) < 112


def test_a_copy_equals_its_original(disturbed):
    first = {}
    for planted in disturbed:
        if planted.garbage is None:
            assert first.setdefault(planted.event["id"], planted.value) == planted.value


def test_speed_and_rate_decide_how_much_event_time_passes(stream):
    # 100,000 events at 2,000/s are 50 s, 1,800 times faster: 25 hours. The extra hour is at night, hence the margin.
    hours = (stream[-1].timestamp_ms - stream[0].timestamp_ms) / 3_600_000
    assert 22.5 < hours < 27.5


def test_half_the_rate_passes_twice_the_event_time():
    slow = take(GeneratorConfig(rate=1_000.0), 50_000)
    hours = (slow[-1].timestamp_ms - slow[0].timestamp_ms) / 3_600_000
    assert 22.5 < hours < 27.5


def test_afternoons_are_several_times_busier_than_nights(stream):
    hours = Counter(planted.timestamp_ms // 3_600_000 % 24 for planted in stream if planted.attack is None)
    assert sum(hours[hour] for hour in (14, 15, 16)) > 3 * sum(hours[hour] for hour in (2, 3, 4))


def test_the_busiest_tenth_of_users_makes_a_third_to_two_thirds_of_the_events(stream):
    # With weights 1 / (rank + 8)^0.9 over 2,000 users: sum over 1..200 / sum over 1..2000 is about 0.56.
    counts = sorted(Counter(planted.event["user"] for planted in stream).values(), reverse=True)
    assert 0.33 < sum(counts[:200]) / sum(counts) < 0.67


def test_normal_users_keep_to_three_devices_and_four_addresses_a_day(stream):
    devices, addresses = defaultdict(set), defaultdict(set)
    for planted in stream:
        if planted.attack is None:
            user = planted.event["user"]
            devices[user].add(planted.event["device"])
            addresses[user, planted.timestamp_ms // DAY_MS].add(planted.event["ip"])
    assert max(map(len, devices.values())) == 3
    assert max(map(len, addresses.values())) == 4


def test_amounts_scatter_less_within_a_user_than_between_users(stream):
    amounts = defaultdict(list)
    for planted in stream:
        if planted.attack is None and planted.event["type"] == "payment":
            amounts[planted.event["user"]].append(np.log(planted.event["amount"]))
    regulars = [values for values in amounts.values() if len(values) >= 20]
    # Log-normal with sigma 0.45 around one's own mean, which is log-normal with sigma 0.7.
    assert np.mean([np.std(values) for values in regulars]) == pytest.approx(0.45, abs=0.03)
    assert np.std([np.mean(values) for values in regulars]) == pytest.approx(0.7, abs=0.1)


def test_attacks_have_about_the_configured_share(stream):
    share = sum(planted.attack is not None for planted in stream) / len(stream)
    assert 0.005 < share < 0.015


def test_nothing_is_planted_in_the_quiet_time_nor_with_a_share_of_zero(stream):
    quiet_ms = CONFIG.start_ms + CONFIG.quiet_s * 1_000
    assert all(planted.attack is None for planted in stream if planted.timestamp_ms < quiet_ms)
    assert all(planted.attack is None for planted in take(GeneratorConfig(attack_share=0.0), 50_000))


def test_every_kind_of_attack_occurs(campaigns):
    assert set(campaigns) == set(ATTACKS)


def test_card_testing_is_small_payments_to_many_counterparties_from_one_device_within_minutes(campaigns):
    for events in campaigns["card_testing"]:
        payments = [planted.event for planted in events if planted.event["type"] == "payment"]
        assert len(payments) >= 40
        assert len({event["counterparty"] for event in payments}) == len(payments)
        assert len({event["device"] for event in payments}) == 1
        assert max(event["amount"] for event in payments) <= 3.0
        assert events[-1].timestamp_ms - events[0].timestamp_ms < 20 * 60_000


def test_account_takeover_comes_from_a_device_address_and_country_the_user_never_had(stream, campaigns):
    had = defaultdict(set)
    for planted in stream:
        if planted.attack is None:
            had[planted.event["user"]] |= {planted.event[name] for name in ("device", "ip", "country")}
    for events in campaigns["account_takeover"]:
        event = events[0].event
        assert had[event["user"]]
        assert not had[event["user"]] & {event["device"], event["ip"], event["country"]}


def test_account_takeover_transfers_are_several_times_what_the_user_usually_transfers(stream, campaigns):
    usual = defaultdict(list)
    for planted in stream:
        if planted.attack is None and planted.event["type"] == "payment":
            usual[planted.event["user"]].append(planted.event["amount"])
    checked = 0
    for events in campaigns["account_takeover"]:
        own = usual[events[0].event["user"]]
        if len(own) >= 5:
            stolen = [planted.event["amount"] for planted in events if planted.event["type"] == "transfer"]
            assert np.mean(stolen) > 4 * np.median(own)
            checked += 1
    assert checked


def test_scripted_burst_has_machine_even_gaps_at_a_high_rate(campaigns):
    for events in campaigns["scripted_burst"]:
        gaps_ms = np.diff([planted.timestamp_ms for planted in events])
        assert len(events) >= 90
        assert gaps_ms.mean() < 1_100
        assert gaps_ms.std() < 10


def test_slow_drip_sends_medium_sums_to_ever_new_receivers_for_hours(campaigns):
    for events in campaigns["slow_drip"]:
        assert len({planted.event["counterparty"] for planted in events}) == len(events) >= 24
        assert events[-1].timestamp_ms - events[0].timestamp_ms > 2 * 3_600_000
        assert len({planted.event["device"] for planted in events}) == 1


def test_messages_are_about_200_bytes(stream):
    assert 170 < np.mean([len(planted.value) for planted in stream[:20_000]]) < 230


def test_twenty_thousand_events_take_less_than_a_second_of_a_processor():
    began = time.process_time()
    for planted in islice(Generator(CONFIG).events(), 20_000):
        assert planted.value
    assert time.process_time() - began < 1.0  # measured 0.1 s


def test_a_population_of_one_user_works():
    stream = take(GeneratorConfig(users=1, attack_share=0.0), 1_000)
    assert {planted.event["user"] for planted in stream} == {"u-0000000"}


@pytest.mark.parametrize("wrong", [{"users": 0}, {"rate": 0.0}, {"speed": -1.0}])
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(ValueError, match="expected users >= 1, rate > 0 and speed > 0"):
        Generator(GeneratorConfig(**wrong))
