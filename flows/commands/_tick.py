"""`tidegate experiments tick`: time goes on though nobody is exposed, so that open attribution windows close."""

import time

import msgspec

from connectors.clients import ANSWER_S, Admin, plain_producer
from flows.commands import CommandError
from flows.commands._shared import counted, full_name, out, partitions_of
from flows.settings import Settings
from operators.observe import TICK
from schemas.exposure import Exposure

TOPIC = "exposures"


def tick(settings: Settings, at_ms: int | None) -> None:
    """Publish a record that says nothing but what time it is, to every partition of `exposures`.

    Args:
        settings: those of Tidegate.
        at_ms: epoch milliseconds; None for now.

    Raises:
        CommandError: the time lies in the future, there is no such topic, or not all was delivered.
        KafkaException: the broker does not answer.
    """
    present = time.time_ns() // 1_000_000
    now = present if at_ms is None else at_ms
    if not 0 <= now <= present + round(settings.experiments.observe.max_clock_skew_s * 1_000):
        raise CommandError("expected a time from 1970 to now, got another: what a tick closes cannot be opened again")
    topic = full_name(settings, TOPIC)
    partitions = partitions_of(Admin(settings, "experiments").partitions(), topic)
    value = msgspec.json.encode(Exposure(experiment_id=TICK, variation_id="tick", user=TICK, timestamp=now))
    failed: list[str] = []
    producer = plain_producer(settings, "experiments")
    for number in range(partitions):
        producer.produce(
            topic,
            value,
            TICK.encode(),
            number,
            timestamp=max(now, 1),  # to librdkafka 0 means now
            on_delivery=lambda error, _: failed.append(error.str()) if error else None,
        )
    if producer.flush(3 * ANSWER_S) or failed:
        raise CommandError(f"not delivered: {failed[0] if failed else 'the broker does not answer'}")
    out().print(f"ticked  {counted(partitions, 'partition')} of {topic}")
