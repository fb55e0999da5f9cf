"""`tidegate audit verify`, `export` and `key`: is the trail whole; the trail as a file; the key that verifies it."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from rich.table import Table
from rich.text import Text

from connectors import progress
from connectors.clients import Admin, plain_consumer, read
from flows.cli import FAILED, OK
from flows.commands import CommandError
from flows.commands._shared import cell, counted, err, full_name, out, partitions_of, printable, settings_of
from flows.commands.watch import when
from flows.settings import AUDIT_KEY_VARIABLE, Settings, audit_key, load_settings, read_key
from operators.audit import Fault, Finding, Head, Verifier
from operators.audit.chain import read_head
from schemas.audit import Audit

FLOW = "risk"
CHAINS_MOST = 10_000
"""A forger may invent flows; beyond this many chains a record counts as misplaced in the risk flow's."""

ATTEMPTS = 10
SENTENCE_MOST = 500

_decode = msgspec.json.Decoder(Audit).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate audit`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    verify = actions.add_parser("verify", help="check every chain; exit 1 if anything is wrong")
    verify.add_argument("--file", type=Path, metavar="F", help="a file that `audit export` wrote, instead of the topic")
    verify.add_argument(
        "--from-start", action="store_true", help="a chain that does not begin at 0 is wrong, not a matter of retention"
    )
    verify.add_argument(
        "--old-key-file",
        type=Path,
        action="append",
        default=[],
        metavar="F",
        help="an audit key used before, as a file; may be given more than once",
    )
    export = actions.add_parser("export", help="write the records as they are, one JSON object per line")
    export.add_argument("--output", type=Path, metavar="F", help="a file, instead of standard output")
    export.add_argument("--since", type=_time, metavar="T", help="of this event time and later, such as 2026-01-31")
    export.add_argument("--until", type=_time, metavar="T", help="before this event time")
    export.add_argument("--kind", metavar="KIND", help="this kind only; such a file has gaps and cannot be verified")
    export.add_argument("--partition", type=int, metavar="N", help="this partition only")
    actions.add_parser("key", help="show the audit key, for whoever shall verify; it is a secret")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate audit ACTION`."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {"verify": _verify, "export": _export, "key": _key}
    return actions[args.action](args)


def _time(text: str) -> int:
    """Read an argument that is a date or time as in RFC 3339, UTC if it does not say; return epoch milliseconds."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date or time such as 2026-01-31T12:00:00Z, got {text}") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


# -- key ---------------------------------------------------------------------------------------------------------------


def _key(args: argparse.Namespace) -> int:
    key = audit_key(load_settings(args.config, os.environ, needs_audit_key=True))
    sys.stdout.write(f"hex:{key.hex()}\n")
    err().print(f"a secret: who has it can verify the trail, and write one; {AUDIT_KEY_VARIABLE} takes it")
    return OK


# -- verify ------------------------------------------------------------------------------------------------------------


class Chains:
    """The verifiers of all chains, made as their first records come."""

    def __init__(self, keys: list[bytes], heads: dict[tuple[str, int], Head]) -> None:
        """Begin.

        Args:
            keys: audit keys, the present one and older ones.
            heads: newest records as committed beside the offsets, by flow and partition.
        """
        self._keys = keys
        self._heads = heads
        self.verifiers = {chain: Verifier(keys, *chain, head) for chain, head in heads.items()}

    def feed(self, wire: bytes, where: str, partition: int | None = None) -> None:
        """Give a record to the verifier of its chain.

        Args:
            wire: its bytes.
            where: where it lies.
            partition: the partition it lies in; None for the one it names.
        """
        try:
            record = _decode(wire)
            flow, place = record.flow, record.partition if partition is None else partition
        except _UNREADABLE:
            flow, place = FLOW, partition or 0
        if (flow, place) not in self.verifiers and len(self.verifiers) >= CHAINS_MOST:
            flow = FLOW
        chain = (flow, place)
        if chain not in self.verifiers:
            self.verifiers[chain] = Verifier(self._keys, *chain, self._heads.get(chain))
        self.verifiers[chain].feed(wire, where)


def _verify(args: argparse.Namespace) -> int:
    settings = load_settings(args.config, os.environ, needs_audit_key=True)
    keys = [audit_key(settings), *(_old_key(path) for path in args.old_key_file)]
    if args.file is None:
        # The heads first: what is committed after them can only make the chains longer.
        heads = _committed_heads(settings)
        chains = Chains(keys, heads)
        for message in _records(settings):
            where = f"{message.topic()}[{message.partition()}]@{message.offset()}"
            chains.feed(message.value() or b"", where, message.partition())
    else:
        heads = {}
        chains = Chains(keys, heads)
        for number, line in _lines(args.file):
            chains.feed(line, f"line {number}")
    return _report(chains.verifiers, heads, first=0 if args.from_start else None, delivery=settings.kafka.delivery)


def _old_key(path: Path) -> bytes:
    try:
        key = read_key({}, path, AUDIT_KEY_VARIABLE)
    except ValueError as error:
        raise CommandError(str(error)) from None
    assert key is not None, "a file was given"
    return key


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip(b"\r\n")
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None


def _committed_heads(settings: Settings) -> dict[tuple[str, int], Head]:
    """Return the head of each chain, as committed beside the offsets of its flow's group.

    Raises:
        CommandError: the text beside an offset cannot be read.
    """
    existing = Admin(settings, "audit").partitions()
    heads = {}
    for flow, (topic, group) in _inputs(settings).items():
        asked = [TopicPartition(topic, number) for number in range(existing.get(topic, 0))]
        for each in _committed(settings, group, asked):
            try:
                found = progress.read(each.metadata)
                head = None if found is None else read_head(found.beside)
            except ValueError as error:
                raise CommandError(f"{error} - beside the offset of {topic}[{each.partition}]") from error
            if head is not None:
                heads[flow, each.partition] = head
    return heads


def _inputs(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return the input and the consumer group of each flow with an audit trail."""
    return {
        FLOW: (full_name(settings, "events"), settings.risk.group),
        "experiments": (full_name(settings, "exposures"), settings.experiments.group),
        "readouts": (full_name(settings, "experiments.parts"), settings.readouts.group),
        "interactions": (full_name(settings, "interactions"), settings.interactions.group),
        "signals": (full_name(settings, "ranking.parts"), settings.signals.group),
        "ranking": (full_name(settings, "ranking.requests"), settings.ranking.group),
    }


def _committed(settings: Settings, group: str, asked: list[TopicPartition]) -> list[Any]:
    """Return committed offsets with their texts; a coordinator that is moving, or a pending commit, is waited for."""
    if not asked:
        return []
    consumer = plain_consumer(settings, "audit", **{"group.id": group})
    try:
        for attempt in range(ATTEMPTS):
            try:
                found: list[Any] = consumer.committed(asked, timeout=5)
            except KafkaException as error:
                passing = error.args[0].retriable() or error.args[0].code() in (
                    KafkaError._TIMED_OUT,  # noqa: SLF001  librdkafka's own codes are spelt so
                    KafkaError.NOT_COORDINATOR,
                )
                if not passing or attempt == ATTEMPTS - 1:
                    raise
            else:
                return found
        return []
    finally:
        consumer.close()


def _records(settings: Settings) -> Iterator[Any]:
    topic = full_name(settings, "audit")
    partitions = partitions_of(Admin(settings, "audit").partitions(), topic)
    with err().status("reading the audit trail"):
        yield from read(plain_consumer(settings, "audit"), topic, partitions, beginning=True, to_end=True)


def _report(
    verifiers: dict[tuple[str, int], Verifier], heads: dict[tuple[str, int], Head], *, first: int | None, delivery: str
) -> int:
    console = out()
    table = Table("chain", "records", "from", "first", "last", "head", "committed", "result")
    said: list[tuple[str, Finding, bool]] = []
    remarks: list[str] = []
    for chain, verifier in sorted(verifiers.items()):
        name = f"{chain[0]}-{chain[1]}"
        findings = [(each, _is_wrong(each, delivery)) for each in verifier.finish(first=first)]
        said += [(name, each, wrong) for each, wrong in findings]
        wrong = sum(is_wrong for _, is_wrong in findings)
        begins = "-" if verifier.first is None else f"{verifier.first:,}"
        if verifier.first and first is None:
            remarks.append(
                f"{name}: begins at record {begins}; retention has removed older ones (--from-start refuses)"
            )
        table.add_row(
            cell(name),
            cell(f"{verifier.records:,}"),
            cell(begins),
            cell(_when(verifier.first_ms)),
            cell(_when(verifier.last_ms)),
            cell(_head(verifier.head)),
            cell(_head(heads.get(chain))),
            cell(counted(wrong, "fault"), "bold red") if wrong else cell("whole", "green"),
        )
    if verifiers:
        console.print(table)
    for remark in remarks:
        console.print(cell(remark, "yellow"))
    for name, finding, wrong in said:
        text = printable(f"{name}: {finding.fault}: {finding.text}", SENTENCE_MOST)
        console.print(Text(text, "red" if wrong else "yellow"), soft_wrap=True)
    faults = sum(wrong for _, _, wrong in said)
    console.print(f"{counted(len(verifiers), 'chain')}, {counted(faults, 'fault')}")
    return FAILED if faults else OK


def _is_wrong(finding: Finding, delivery: str) -> bool:
    # Without transactions a crash writes the stretch since the last commit again: that is what was chosen.
    return not (delivery == "at_least_once" and finding.fault is Fault.REPEATED)


def _when(time_ms: int | None) -> str:
    return "-" if time_ms is None else when(time_ms)


def _head(head: Head | None) -> str:
    return "-" if head is None else f"{head.sequence}:{head.mac[:12]}"


# -- export ------------------------------------------------------------------------------------------------------------


def _export(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    left_out = 0
    with ExitStack() as stack:
        # A chain is written as a whole, and the partitions come mixed; on disk, because a trail may be long.
        spools: dict[int, BinaryIO] = {}
        for message in _records(settings):
            wire, partition = message.value() or b"", message.partition()
            if args.partition not in (None, partition) or not _is_wanted(args, wire):
                continue
            if b"\n" in wire:
                left_out += 1
                continue
            if partition not in spools:
                spools[partition] = stack.enter_context(tempfile.TemporaryFile())
            spools[partition].write(wire + b"\n")
        written = 0
        try:
            sink = stack.enter_context(args.output.open("wb")) if args.output else sys.stdout.buffer
        except OSError as error:
            raise CommandError(f"cannot write {args.output}: {error.strerror}") from None
        for _, spool in sorted(spools.items()):
            spool.seek(0)
            for line in spool:
                sink.write(line)
                written += 1
        sink.flush()
    err().print(f"exported {counted(written, 'record')}")
    if left_out:
        err().print(f"not exported, since none of Tidegate's: {counted(left_out, 'record')} of more than one line")
    return FAILED if left_out else OK


def _is_wanted(args: argparse.Namespace, wire: bytes) -> bool:
    if args.since is None and args.until is None and args.kind is None:
        return True  # readable or not
    try:
        record = _decode(wire)
    except _UNREADABLE:
        return False
    return (
        (args.since is None or record.timestamp >= args.since)
        and (args.until is None or record.timestamp < args.until)
        and (args.kind is None or record.kind == args.kind)
    )
