"""`tidegate doctor`: is everything there that a flow needs, and if not, what to do."""

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any

from confluent_kafka import KafkaException, Producer, libversion
from rich.table import Table
from rich.text import Text

from connectors.clients import Admin, Unreachable, common_config, topic_configs
from flows.cli import FAILED, OK
from flows.commands import _doctor_keys
from flows.commands._doctor_keys import ADDED
from flows.commands._shared import Check, full_name, out, printable, settings_of
from flows.commands.topics import needed
from flows.settings import KEY_VARIABLE, Settings, read_key
from schemas.registry import TOPICS

REACH_S = 5.0
"""How long a broker has to answer at all."""

TRANSACTION_S = 15.0
"""How long the transaction coordinator has; its first use on a new cluster makes a topic."""

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
_DAY_MS = 86_400_000
_UNLIMITED_MS = 9_223_372_036_854_775_807


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate doctor`: none."""
    del parser


def main(args: argparse.Namespace) -> int:
    """Do `tidegate doctor`."""
    settings = settings_of(args)
    table = Table("check", "result", "found", "what to do")
    failed = 0
    for check in checks(settings, os.environ):
        failed += check.result == "failed"
        style = _STYLES[check.result]
        table.add_row(check.name, Text(check.result, style), _folded(check.found), _folded(check.remedy))
    console = out()
    console.print(table)
    console.print(f"failed: {failed}" if failed else "nothing is in the way of a flow")
    return FAILED if failed else OK


def checks(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    """Look at everything; what depends on a broker that does not answer is skipped."""
    yield _versions()
    yield _key(settings, environ)
    admin = Admin(settings, "doctor", REACH_S)
    try:
        found = admin.metadata()
    except Unreachable as error:
        yield Check(
            "broker", "failed", str(error), "see that it runs, and check kafka.bootstrap and [kafka.librdkafka]"
        )
        for name in ("topics", "delivery"):
            yield Check(name, "skipped", "no broker to ask")
        return
    brokers = len(found.brokers)
    plural = "" if brokers == 1 else "s"
    yield Check("broker", "ok", f"{brokers} broker{plural} at {settings.kafka.bootstrap}, cluster {found.cluster_id}")
    yield from _topics(settings, found.topics)
    yield from _attempt("topic settings", lambda: _topic_settings(settings, admin, found))
    yield from _keys(settings, found.topics)
    yield _delivery(settings)


def _versions() -> Check:
    text = f"Python {platform.python_version()}, confluent-kafka {metadata.version('confluent-kafka')}, "
    text += f"librdkafka {libversion()[0]}, bytewax {metadata.version('bytewax')}"
    return Check("versions", "ok", text)


def _key(settings: Settings, environ: Mapping[str, str]) -> Check:
    name, remedy = "pseudonym key", f"`openssl rand -hex 32`, kept in {KEY_VARIABLE} or in privacy.key_file"
    file = settings.privacy.key_file
    try:
        key = read_key(environ, file)
    except ValueError as error:
        return Check(name, "failed", str(error), remedy)
    if key is None:
        return Check(name, "failed", "there is none", remedy)
    source = KEY_VARIABLE if KEY_VARIABLE in environ else str(file)
    found = f"{len(key)} bytes from {source}, version {settings.privacy.key_version}"
    if source != KEY_VARIABLE and file is not None and file.stat().st_mode & 0o044:
        return Check(name, "warning", f"{found}; others may read the file", f"chmod 600 {file}")
    return Check(name, "ok", found)


def _topics(settings: Settings, existing: Mapping[str, Any]) -> Iterator[Check]:
    names = [full_name(settings, topic) for topic in needed(settings)]
    refused = [name for name in names if name in existing and existing[name].error is not None]
    missing = [name for name in names if name not in existing]
    if missing:
        yield Check("topics", "failed", f"missing: {', '.join(missing)}", "tidegate topics create")
    elif refused:
        why = existing[refused[0]].error.str()
        yield Check(
            "topics", "failed", f"no answer about {', '.join(refused)}: {why}", "give this client DESCRIBE on them"
        )
    else:
        yield Check("topics", "ok", f"all {len(names)} exist")

    counts = {name: len(existing[name].partitions) for name in names if name in existing and name not in refused}
    wanted = counts.get(full_name(settings, "events"), settings.topics.partitions)
    other = [f"{name} has {count}" for name, count in counts.items() if count != wanted]
    if other:
        yield Check(
            "partitions",
            "failed",
            f"{full_name(settings, 'events')} has {wanted}, but {', '.join(other)}",
            f"topics of a flow need equal numbers: delete and create the others, or use a new kafka.prefix; {ADDED}",
        )
    elif counts:
        remedy = f"set topics.partitions = {wanted}" if wanted != settings.topics.partitions else ""
        found = f"{wanted} each" + (f", settings say {settings.topics.partitions}" if remedy else "")
        yield Check("partitions", "warning" if remedy else "ok", found, remedy)


def _attempt(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from look()
    except KafkaException as error:
        why = error.args[0].str()
        yield Check(
            name, "warning", f"the broker did not tell: {why}", "give this client DESCRIBE_CONFIGS on the topics"
        )


def _keys(settings: Settings, existing: Mapping[str, Any]) -> Iterator[Check]:
    try:
        yield from _doctor_keys.look(settings, existing)
    except KafkaException as error:
        yield Check("keys", "warning", f"no records: {error.args[0].str()}", "give this client READ on the inputs")


def _topic_settings(settings: Settings, admin: Admin, found: Any) -> Iterator[Check]:
    names = {full_name(settings, name): topic for name, topic in TOPICS.items()}
    held = {name: found.topics[name] for name in names if name in found.topics and found.topics[name].partitions}
    configs = topic_configs(admin, list(held))
    yield from _replication(held, configs, len(found.brokers))
    stamped = [
        name
        for name, config in configs.items()
        if names[name].writer == "tidegate" and config["message.timestamp.type"] != "CreateTime"
    ]
    if stamped:
        yield Check(
            "timestamps",
            "failed",
            f"message.timestamp.type is not CreateTime: {', '.join(stamped)}",
            "set it to CreateTime: what we write carries event time",
        )
    elif configs:
        yield Check("timestamps", "ok", "outputs keep the event time they are given")
    yield from _kept(settings, configs)
    compacted = {name: configs[name]["cleanup.policy"] for name in configs}
    wrong = [
        f"{name} has cleanup.policy={policy}, expected {names[name].cleanup}"
        for name, policy in compacted.items()
        if policy != names[name].cleanup
    ]
    if wrong:
        yield Check("cleanup", "failed", "; ".join(wrong), "kafka-configs.sh --alter --entity-type topics ...")
    elif compacted:
        yield Check("cleanup", "ok", "what Tidegate keeps by key is compacted, nothing else is")


def _replication(held: Mapping[str, Any], configs: Mapping[str, Mapping[str, str]], brokers: int) -> Iterator[Check]:
    unwritable, tight, single = [], [], []
    for name, topic in held.items():
        copies = min(len(partition.replicas) for partition in topic.partitions.values())
        in_sync = min(len(partition.isrs) for partition in topic.partitions.values())
        needed = int(configs[name].get("min.insync.replicas", 1))
        if in_sync < needed:
            unwritable.append(f"{name}: {in_sync} in sync, min.insync.replicas={needed}")
        elif copies == 1:
            single.append(name)
        elif copies == needed:
            tight.append(name)
    if unwritable:
        yield Check("replication", "failed", "; ".join(unwritable), "bring brokers back, or lower min.insync.replicas")
    elif tight:
        yield Check(
            "replication",
            "warning",
            f"one broker away stops the writing to {', '.join(tight)}",
            "min.insync.replicas should be below the replication",
        )
    elif single:
        remedy = "fine on one broker" if brokers == 1 else f"topics.replication = {min(3, brokers)} for new topics"
        yield Check("replication", "warning", f"a lost broker loses data: {len(single)} topics have one copy", remedy)
    elif held:
        yield Check("replication", "ok", "a broker may be away")


def _kept(settings: Settings, configs: Mapping[str, Mapping[str, str]]) -> Iterator[Check]:
    """Ages are taken from event time, so limits of age meet a replay of old data first."""
    refusing = [
        name
        for name, config in configs.items()
        if int(config.get("message.timestamp.before.max.ms", _UNLIMITED_MS)) != _UNLIMITED_MS
    ]
    if refusing:
        yield Check(
            "old records",
            "failed",
            f"message.timestamp.before.max.ms is set: {', '.join(refusing)}",
            "unset it: a replay of older data would be refused",
        )
        return
    limited = {
        name: int(config.get("retention.ms", -1))
        for name, config in configs.items()
        if "delete" in config["cleanup.policy"] and int(config.get("retention.ms", -1)) >= 0
    }
    if limited:
        days = min(limited.values()) / _DAY_MS
        remedy = "nothing for live data; before a replay of older data set retention.ms = -1"
        yield Check("old records", "ok", f"kept for {days:.1f} days of event time, at the least", remedy)
    elif configs:
        events = configs.get(full_name(settings, "events"), {}).get("retention.bytes", "-1")
        bound = "without limit" if events == "-1" else f"up to {int(events) / 2**20:,.0f} MiB a partition"
        yield Check("old records", "ok", f"kept whatever their event time, {bound}")


def _delivery(settings: Settings) -> Check:
    if settings.kafka.delivery == "at_least_once":
        return Check(
            "delivery",
            "warning",
            "at least once: after a crash some outputs are written twice",
            'kafka.delivery = "exactly_once", if the broker has transactions',
        )
    # An id of its own, so that no running flow is fenced; below the prefix that a right to transactions may name.
    name = f"{settings.kafka.prefix}tidegate.doctor-{os.getpid()}"
    try:
        producer = Producer({**common_config(settings, "doctor"), "transactional.id": name})
        producer.init_transactions(TRANSACTION_S)
        producer.begin_transaction()
        producer.abort_transaction(TRANSACTION_S)
    except KafkaException as error:
        return Check(
            "delivery",
            "failed",
            f"exactly once is wanted, and a transaction is not possible: {error.args[0].str()}",
            f'give this client WRITE on transactional ids "{settings.kafka.prefix}tidegate.*", or set '
            'kafka.delivery = "at_least_once"',
        )
    return Check("delivery", "ok", "exactly once: transactions work")


def _folded(text: str) -> Text:
    return Text(printable(text, 2_000), overflow="fold")
