"""The settings that are handed to librdkafka as they are."""

from connectors import librdkafka
from flows.configuration import Draft, Table


def write_as_text(draft: Draft) -> None:
    """Write the pass-through as librdkafka reads it: TOML makes tables of `sasl.mechanism`, and has numbers."""

    def flat(table: Table, above: str) -> Table:
        result: Table = {}
        for name, value in table.items():
            if isinstance(value, dict):
                result |= flat(value, f"{above}{name}.")
            elif isinstance(value, str | int | float):
                result[above + name] = librdkafka.value_text(value)
            else:
                result[above + name] = value
        return result

    kafka = draft.data.get("kafka")
    if isinstance(kafka, dict) and isinstance(kafka.get("librdkafka"), dict):
        kafka["librdkafka"] = flat(kafka["librdkafka"], "")


def check_passed(draft: Draft) -> None:
    """Note what librdkafka does not accept."""
    kafka = draft.data.get("kafka")
    passed = kafka.get("librdkafka") if isinstance(kafka, dict) else None
    if isinstance(passed, dict):
        texts = {name: value for name, value in passed.items() if isinstance(value, str)}
        for name, text in librdkafka.mistakes(texts):
            draft.add(("kafka", "librdkafka", name) if name else ("kafka", "librdkafka"), text)
