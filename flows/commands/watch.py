"""`tidegate watch TOPIC`: the records of a topic as they come, one line each, until Ctrl-C."""

import argparse
import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.text import Text

from connectors.clients import Admin, plain_consumer, read
from flows.cli import OK
from flows.commands._shared import (
    TIER_STYLES,
    above_zero,
    at_least_one,
    counted,
    err,
    full_name,
    out,
    partitions_of,
    printable,
    settings_of,
)
from operators.batches import TIERS
from schemas.dead_letter import DeadLetter
from schemas.decision import Decision
from schemas.explanation import Explanation
from schemas.registry import TOPICS

_raw = msgspec.json.Decoder(msgspec.Raw).decode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate watch`."""
    parser.add_argument("topic", metavar="TOPIC", help="such as risk.alerts, risk.explanations or dead-letters")
    parser.add_argument(
        "--from", dest="start", choices=("beginning", "end"), default="end", help="where to begin (default: end)"
    )
    parser.add_argument("--tier", choices=TIERS, help="decisions and explanations of this tier and above")
    parser.add_argument("--json", action="store_true", help="the records as they are, one JSON value per line")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="end after N records")
    parser.add_argument("--idle-seconds", type=above_zero, metavar="S", help="end when nothing came for S seconds")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate watch`."""
    settings = settings_of(args)
    topic = full_name(settings, args.topic)
    partitions = partitions_of(Admin(settings, "watch").partitions(), topic)
    record = TOPICS[args.topic].record if args.topic in TOPICS else None
    decoder = msgspec.json.Decoder(record) if record in (Decision, DeadLetter, Explanation) else None
    console = out()
    if args.start == "end":
        err().print(f"waiting for new records of {topic}; --from beginning shows the old ones too; Ctrl-C ends")
    shown = 0
    try:
        for message in read(
            plain_consumer(settings, "watch"),
            topic,
            partitions,
            beginning=args.start == "beginning",
            to_end=False,
            idle_s=args.idle_seconds,
        ):
            value = message.value()
            if args.tier and not _reaches(value, args.tier):
                continue
            if args.json:
                console.file.write(json_line(value) + "\n")
            else:
                console.print(line(message, decoder), soft_wrap=True)
            console.file.flush()
            shown += 1
            if shown == args.limit:
                break
    except KeyboardInterrupt:
        pass  # this is how watching ends
    if not args.json:
        err().print(counted(shown, "record"))
    return OK


def _reaches(value: bytes | None, tier: str) -> bool:
    try:
        found = msgspec.json.decode(value or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    name = found.get("tier") if isinstance(found, dict) else None
    return name in TIERS and TIERS.index(name) >= TIERS.index(tier)


def json_line(value: bytes | None) -> str:
    """Return a record's value as one line of JSON: the record's own bytes if they are JSON.

    What is not JSON comes as `{"not_json": BASE64}`, a missing value as `null`.
    """
    if value is None:
        return "null"
    try:
        text = value.decode("utf-8")
        _raw(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return json.dumps({"not_json": base64.b64encode(value).decode("ascii")})
    if "\n" in text or "\r" in text:  # between tokens only: within a string JSON escapes them
        return text.replace("\r", " ").replace("\n", " ")
    return text


def line(message: Any, decoder: "msgspec.json.Decoder[Any] | None") -> Text:
    """Return a record as one line for people."""
    kind, time_ms = message.timestamp()
    begin = Text.assemble((when(time_ms) if kind else "-", "dim"), "  ")
    value = message.value()
    if value is None:
        return begin.append("(no value)", "dim")
    if decoder is not None:
        try:
            found = decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # not what it should be: shown as it is
        else:
            if isinstance(found, Explanation):
                return begin.append_text(_explanation(found))
            return begin.append_text(_decision(found) if isinstance(found, Decision) else _dead_letter(found))
    return begin.append(printable(value.decode("utf-8", "backslashreplace"), 400))


def when(time_ms: int) -> str:
    """Write epoch milliseconds as `2015-09-12 00:46:58.771` (UTC)."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return str(time_ms)


def _decision(found: Decision) -> Text:
    tail = "" if found.tail_probability is None else f"p={found.tail_probability:.2g}"
    text = Text.assemble(
        (f"{found.tier:<8}", TIER_STYLES[found.tier]),
        f"  {tail:<9}  {printable(found.user, 14):<14}  standing {found.standing:<8}  id {printable(found.id, 40)}",
    )
    for flag in found.flags:
        text.append(f"  {flag}", "magenta")
    for reason in found.reasons[:3]:
        usual = "" if reason.baseline is None else f" (usual {reason.baseline:.4g})"
        value = "?" if reason.value is None else f"{reason.value:.4g}"
        text.append(f"  {printable(reason.feature, 40)}={value}{usual}", "cyan")
    return text


def _explanation(found: Explanation) -> Text:
    text = Text.assemble(
        (f"{found.tier:<8}", TIER_STYLES[found.tier]),
        f"  {printable(found.user, 14):<14}  id {printable(found.id, 40)}",
    )
    for sentence in found.sentences:
        text.append(f"  {printable(sentence, 200)}", "cyan")
    return text


def _dead_letter(found: DeadLetter) -> Text:
    return Text.assemble(
        (f"{found.reason:<16}", "yellow"),
        f"  {printable(found.topic)}-{found.partition}@{found.offset}  {printable(found.detail)}",
    )
