"""`tidegate ranking`: how good and how fair the lists of the ranking flow were."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from connectors.clients import Admin, plain_consumer, read
from flows.cli import OK
from flows.commands import CommandError
from flows.commands._shared import err, full_name, out, partitions_of, settings_of
from flows.settings import Settings
from operators.judge.config import JudgeConfig
from schemas.quality import Quality
from training.ranking_report.about import About, about
from training.ranking_report.page import page

TOPIC = "ranking.quality"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate ranking`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    report = actions.add_parser("report", help="write a page about quality and fairness of the lists (HTML)")
    report.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        default="ranking.html",
        help="where to (default: %(default)s; -: standard output)",
    )
    report.add_argument("--json", action="store_true", help="print the figures as one JSON object, and write no page")
    report.add_argument(
        "--file", type=Path, metavar="FILE", help="records of ranking.quality, one a line: a page without a broker"
    )


def main(args: argparse.Namespace) -> int:
    """Do `tidegate ranking`."""
    settings = settings_of(args)
    config = settings.ranking.judge
    said = _about(_from_topic(settings) if args.file is None else _from_file(args.file), config)
    if args.json:
        out().file.write(msgspec.json.encode(said).decode() + "\n")
    elif args.out == "-":
        out().file.write(page(said))
    else:
        _write(Path(args.out), page(said))
    return OK


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error
    out().print(f"wrote {path}", soft_wrap=True)


def _about(records: Iterable[Quality], config: JudgeConfig) -> About:
    there = list(records)
    if not there:
        raise CommandError(
            "nothing is known of the quality of lists yet: `tidegate run ranking` writes a record when a stretch of "
            "time is over, and the time in which clicks count for its lists"
        )
    return about(there, config)


def _from_topic(settings: Settings) -> Iterator[Quality]:
    full = full_name(settings, TOPIC)
    there = Admin(settings, "report").partitions()
    consumer, partitions = plain_consumer(settings, "report"), partitions_of(there, full)
    with err().status(f"reading {full}"):
        values = [message.value() for message in read(consumer, full, partitions, beginning=True, to_end=True)]
    for value in values:
        if value is not None:
            yield _decoded(value, full)


def _from_file(path: Path) -> Iterator[Quality]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _decoded(line, f"line {number} of {path}")


def _decoded(value: bytes, where: str) -> Quality:
    try:
        return msgspec.json.decode(value, type=Quality)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{where} cannot be read by this version of Tidegate: {error}") from error
