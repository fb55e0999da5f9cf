"""The librdkafka settings a user may pass through, and those that belong to the engine.

The names and values are checked by librdkafka itself, on a client that is told of no broker: nothing connects.
"""

from collections.abc import Iterator, Mapping

OWNED = {
    "bootstrap.servers": "it is kafka.bootstrap",
    "metadata.broker.list": "it is kafka.bootstrap",
    "client.id": "the engine names its clients after what they do",
    "group.id": "it is risk.group; the commands read without a group",
    "group.instance.id": "two processes of one flow would claim the same membership",
    "group.protocol": "the engine's rebalancing is written for the classic protocol",
    "session.timeout.ms": "it bounds how long a dead process holds its partitions; the engine sets it",
    "heartbeat.interval.ms": "the engine sets it to fit its session time-out",
    "max.poll.interval.ms": "the engine sets it to fit its session time-out",
    "partition.assignment.strategy": "the engine's rebalancing is written for one strategy",
    "enable.auto.commit": "offsets are committed in the transaction of the outputs they led to",
    "auto.commit.interval.ms": "offsets are committed in the transaction of the outputs they led to",
    "enable.auto.offset.store": "offsets are committed in the transaction of the outputs they led to",
    "auto.offset.reset": "an expired offset must be an error, not a silent jump; the first start is risk.start",
    "isolation.level": "input of aborted transactions must not be answered",
    "enable.partition.eof": "the engine follows the ends of partitions itself",
    "transactional.id": "it is derived from group and process, so that a successor can fence its predecessor",
    "transaction.timeout.ms": "it bounds how long a dead process holds its partitions; the engine sets it",
    "enable.idempotence": "transactions need it, and without it records could be doubled or reordered",
    "acks": "exactly once needs all in-sync replicas",
    "request.required.acks": "exactly once needs all in-sync replicas",
    "max.in.flight": "the order of records depends on it",
    "max.in.flight.requests.per.connection": "the order of records depends on it",
    "partitioner": "the partition of an output is that of its input; publishers use murmur2_random",
    "enable.gapless.guarantee": "the engine sets what delivery needs",
    "message.timeout.ms": "the engine sets what delivery needs",
    "delivery.timeout.ms": "the engine sets what delivery needs",
    "test.mock.num.brokers": "it would replace the brokers by an imitation; `tidegate demo` has one",
}
"""Settings the engine sets itself, each with the reason why it cannot be passed through."""


_PYTHON_ONLY = frozenset({"logger", "opaque", "on_commit", "on_delivery", "default.topic.config"})


def value_text(value: str | float) -> str:
    """Write a value as librdkafka reads it: `true`, not `True` (a bool is an int, too)."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _writable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def mistakes(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong with it) for settings that are the engine's own or that librdkafka does not accept.

    The texts never hold a value: it may be a password.
    """
    allowed = {}
    for key, value in settings.items():
        if key in OWNED:
            yield key, f"is the engine's own: {OWNED[key]}"
        elif not (_writable(key) and _writable(value)):
            # The client crashes on some of these and cuts others off.
            yield ascii(key), "cannot be handed to librdkafka: not UTF-8, or a zero byte in it"
        elif key.endswith("_cb") or key in _PYTHON_ONLY:
            yield key, "is no setting of librdkafka but of its Python client"
        else:
            allowed[key] = value
    if allowed:
        # Imported late: loading librdkafka takes longer than everything else here together.
        yield from _refused(allowed)


def _refused(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    from confluent_kafka import Consumer, KafkaException  # noqa: PLC0415

    quiet = {"group.id": "check", "log_level": 0}
    complaints = 0
    for key, value in settings.items():
        try:
            Consumer({**quiet, key: value}).close()
        except (KafkaException, ValueError, TypeError) as error:
            text = _text(error)
            if text.startswith("Failed to create"):
                continue  # it depends on the other settings: judged together, below
            complaints += 1
            if "No such configuration property" in text:
                yield key, "librdkafka has no such setting"
            elif "outside allowed range" in text:
                yield key, f"expected a number in {text.strip().rpartition(' ')[2]}"
            else:
                yield key, "librdkafka does not accept the value (not shown: it may be a secret)"
    if complaints:
        return
    try:
        Consumer({**settings, **quiet}).close()
    except (KafkaException, ValueError, TypeError) as error:
        text = _text(error).removeprefix("Failed to create consumer: ")
        named = [key for key in sorted(settings, key=len, reverse=True) if key in text]
        for key, value in settings.items():
            if any(word in key for word in _SECRET) and value:
                text = text.replace(value, "***")
        yield (named[0] if named else ""), f"librdkafka does not accept these settings together: {text}"


_SECRET = ("password", "secret", "key", "pem", "token", "username", "config")


def _text(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    return str(inner.str()) if hasattr(inner, "str") else str(inner)
