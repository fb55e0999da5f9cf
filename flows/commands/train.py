"""`tidegate train ranker`: learn from served lists and what was clicked of them how to rank the next ones."""

import argparse
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from connectors.clients import Admin, common_config
from connectors.fetching import Contents
from flows.assembly import pseudonymizer
from flows.cli import FAILED, OK
from flows.commands import ArgumentsError, CommandError, _models
from flows.commands._shared import (
    above_zero,
    at_least_one,
    counted,
    err,
    full_name,
    out,
    partitions_of,
    progress_bar,
    settings_of,
)
from flows.commands._train_answer import document, render
from flows.served_lists import Rules, ServedLists
from flows.settings import Settings, load_settings
from schemas.event import LAST_TIME_MS
from training.ranker.learner import Learning, load_ranker_library
from training.ranker.lists import GradedLists
from training.ranker.train import Plan, Trained, Untrainable, train
from training.uplift.learner import MissingExtra

ABOUT = """\
Learn to rank from lists as they were served (`ranking.served`) and what users did with them (`interactions`):
LambdaMART, divided by time, without the bias of places. Shows how good it is on lists that were kept back, beside
popularity and the order that was served; writes it, or publishes it. docs/ranker.md: what the figures mean.
"""

INTERACTIONS = "interactions"

EVERY = 4_096
"""Records between two movements of the progress bar."""

_VERSION = re.compile(r"^(?!fallback$)[A-Za-z0-9._-]{1,64}$")

Take = Callable[[bytes, int], None]


class Source(NamedTuple):
    """One kind of records.

    Attributes:
        topic: short name.
        take: what is done with each.
        file: to read instead of the topic.
    """

    topic: str
    take: Take
    file: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate train`."""
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    ranker = what.add_parser("ranker", help="a ranker, from served lists and interactions")
    ranker.description = ABOUT
    ranker.formatter_class = argparse.RawDescriptionHelpFormatter
    add = ranker.add_argument
    add("--out", type=Path, metavar="FILE", help="write the ranker (JSON)")
    add("--publish", action="store_true", help="put it on every partition of ranking.models")
    add("--anyway", action="store_true", help="publish one that is worse than popularity, too")
    add("--json", action="store_true", help="the figures as one JSON object")
    add("--version", metavar="NAME", help="of the ranker (default: its newest list's day, and a hash)")
    add("--seed", type=_natural, default=1, metavar="N", help="of trees and intervals (default: 1)")
    add("--threads", type=at_least_one, default=1, metavar="N", help="of LightGBM (default: 1)")
    labels = ranker.add_argument_group("what is learnt from")
    add = labels.add_argument
    add(
        "--within",
        type=above_zero,
        metavar="S",
        help="attribution time, seconds (default: ranking.judge.within_s, by which live probabilities are judged)",
    )
    add(
        "--grades",
        nargs="+",
        metavar="TYPE=GRADE",
        help="of types of interactions, 0 to 30 (default: 1 for clicks, 2 for purchases, as ranking.notice has them)",
    )
    add("--lists", type=at_least_one, default=100_000, metavar="N", help="the newest so many (default: 100,000)")
    add("--train", type=_share, default=0.6, metavar="SHARE", help="of the lists, the oldest (default: 0.6)")
    add("--validation", type=_share, default=0.2, metavar="SHARE", help="of the lists, the next (default: 0.2)")
    add(
        "--without-risky",
        action="store_true",
        help="leave out lists and interactions of users who ever were of high or critical risk (risk.tiers)",
    )
    trees = ranker.add_argument_group("how")
    add = trees.add_argument
    add("--at", type=at_least_one, default=10, metavar="K", help="places of NDCG, MRR and MAP (default: 10)")
    add("--gain", choices=("linear", "exponential"), default="linear", help="of a grade (default: linear)")
    add("--no-debias", action="store_true", help="take clicks as they are, wherever the item stood")
    add("--trees", type=at_least_one, default=300, metavar="N", help="at the most (default: 300)")
    add("--leaves", type=at_least_one, default=15, metavar="N", help="of a tree (default: 15)")
    add("--leaf-rows", type=at_least_one, default=20, metavar="N", help="fewest in a leaf (default: 20)")
    add("--rate", type=above_zero, default=0.05, metavar="R", help="share of each tree that counts (default: 0.05)")
    files = ranker.add_argument_group("from files instead of topics, one record a line, may be .gz")
    files.add_argument("--served", type=Path, metavar="FILE", help="records of ranking.served")
    files.add_argument("--interactions", type=Path, metavar="FILE", help="records of interactions")
    files.add_argument("--tiers", type=Path, metavar="FILE", help="records of risk.tiers, for --without-risky")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate train`.

    Returns:
        The exit code: 1 if the ranker is worse than popularity and was therefore not published.

    Raises:
        ArgumentsError: with all mistakes.
        CommandError: there is no ranker, and why.
    """
    settings = settings_of(args)
    plan, rules = _asked(args, settings)
    try:
        load_ranker_library()  # before anything is read
    except MissingExtra as error:
        raise CommandError(str(error)) from error
    if INTERACTIONS not in settings.privacy.pseudonymised_topics:
        keyed = load_settings(args.config, os.environ, needs_key=True)
        rules = rules._replace(pseudonym=partial(pseudonymizer(keyed, INTERACTIONS).pseudonym, "user"))
    lists = _read(args, settings, rules)
    try:
        with err().status("learning") as status:
            found = train(lists, plan, status.update)
    except Untrainable as error:
        raise CommandError(str(error)) from error
    _tell(args, found, plan)
    if args.out is not None:
        _models.save(args.out, found.record)
    if not args.publish:
        return OK
    if why := worse(found):
        err().print(why if args.anyway else f"{why}. Nothing was published; --anyway does it", soft_wrap=True)
        if not args.anyway:
            return FAILED
    _models.publish(settings, found.record)
    return OK


def worse(found: Trained) -> str:
    """Say that a ranker is worse than popularity on the test; nothing if it is not.

    Its pooled NDCG is lower, by however little: an interval that holds 0 alone is no reason.
    """
    if found.gain.mean >= 0.0:
        return ""
    return (
        f"the ranker's pooled NDCG is {-found.gain.mean:.4f} below that of popularity"
        f" (95 %: {found.gain.low:+.4f} to {found.gain.high:+.4f})"
    )


def _asked(args: argparse.Namespace, settings: Settings) -> tuple[Plan, Rules]:
    mistakes = []
    files = [name for name in ("served", "interactions", "tiers") if getattr(args, name) is not None]
    if files and {"served", "interactions"} - set(files):
        mistakes.append("expected --served and --interactions, or neither, got one")
    if "tiers" in files and not args.without_risky:
        mistakes.append("--tiers: expected with --without-risky, got it without")
    if files and args.without_risky and "tiers" not in files:
        mistakes.append("--without-risky: expected --tiers with files, got it without")
    if args.train + args.validation >= 1.0:
        mistakes.append(f"--train and --validation: expected a sum below 1, got {args.train + args.validation:g}")
    if args.leaves < 2:
        mistakes.append(f"--leaves: expected at least 2, got {args.leaves}")
    if args.rate > 1.0:
        mistakes.append(f"--rate: expected at most 1, got {args.rate:g}")
    if args.version is not None and not _VERSION.match(args.version):
        mistakes.append("--version: expected 1 to 64 letters, digits, `.`, `_`, `-`, and not `fallback`, got another")
    if args.anyway and not args.publish:
        mistakes.append("--anyway: expected with --publish, got it without")
    grades = grades_of(args.grades, settings, mistakes)
    if mistakes:
        raise ArgumentsError("\n".join(mistakes))
    learning = Learning(
        trees=args.trees,
        rate=args.rate,
        leaves=args.leaves,
        leaf_rows=args.leaf_rows,
        at=args.at,
        gain=args.gain,
        debias=not args.no_debias,
        seed=args.seed,
        threads=args.threads,
    )
    worth = np.asarray(settings.interactions.count.worth, np.float64)
    within_s = float(settings.ranking.judge.within_s) if args.within is None else args.within
    plan = Plan(learning, worth, (args.train, args.validation), args.version, within_s)
    notice = settings.ranking.notice
    return plan, Rules(grades, within_s, args.lists, frozenset((*notice.clicks, *notice.purchases)), str)


def grades_of(given: list[str] | None, settings: Settings, mistakes: list[str]) -> Mapping[str, int]:
    """Return grades by type; what is wrong with the arguments is added to `mistakes`."""
    if given is None:
        notice = settings.ranking.notice
        return dict.fromkeys(notice.clicks, 1) | dict.fromkeys(notice.purchases, 2)
    grades = {}
    for each in given:
        name, _, number = each.rpartition("=")
        if name and number.isascii() and number.isdigit() and int(number) <= 30:
            grades[name] = int(number)
        else:
            mistakes.append("--grades: expected TYPE=GRADE with a grade from 0 to 30, such as click=1, got another")
    if not mistakes and not any(grades.values()):
        mistakes.append("--grades: expected a type with a grade above 0, got none")
    return grades


def _read(args: argparse.Namespace, settings: Settings, rules: Rules) -> GradedLists:
    lists = ServedLists(rules)
    sources = [
        Source("ranking.served", lists.serve, args.served),
        Source(INTERACTIONS, lists.interact, args.interactions),
    ]
    if args.without_risky:
        sources.insert(0, Source("risk.tiers", lists.suspect, args.tiers))
    for source in sources:
        if source.file is None:
            _of_topic(settings, source)
        else:
            _of_file(source.file, source.take)
        if source.topic == "ranking.served" and not len(lists):
            _remark(lists)
            where = source.file or full_name(settings, source.topic)
            raise CommandError(f"expected served lists in {where}, got none: has `tidegate run ranking` answered any?")
    graded, others = lists.graded()
    _remark(lists)
    if others:
        err().print(f"left out: {counted(others, 'list')} with other features than the newest one")
    if still := lists.open():
        err().print(f"left out: {counted(still, 'list')} whose attribution time is not over")
    return graded


def _of_topic(settings: Settings, source: Source) -> None:
    full = full_name(settings, source.topic)
    partitions = partitions_of(Admin(settings, "train").partitions(), full)
    log = Contents(common_config(settings, "train"), full, partitions)
    with progress_bar(f"reading {source.topic}", "records") as progress:
        task, number = progress.add_task("", total=log.total, count=0), 0
        for message in log:
            if message is None:
                continue
            source.take(message.value() or b"", message.timestamp()[1])
            number += 1
            if number % EVERY == 0:
                progress.update(task, completed=number, count=number)


def _of_file(path: Path, take: Take) -> None:
    with err().status(f"reading {path}"):
        for line in _lines(path):
            take(line, LAST_TIME_MS)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield from (line for line in map(bytes.strip, file) if line)
    except (OSError, EOFError, zlib.error) as error:
        raise CommandError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _remark(lists: ServedLists) -> None:
    for what, count in sorted(lists.refused.items()):
        if count:
            err().print(f"left out: {what}: {count:,}", soft_wrap=True)


def _tell(args: argparse.Namespace, found: Trained, plan: Plan) -> None:
    console = out()
    if args.json:
        console.file.write(json.dumps(document(found, plan)) + "\n")
        return
    for part in render(found, plan):
        console.print(part, soft_wrap=isinstance(part, str))


def _share(text: str) -> float:
    number = float(text)
    if not 0.0 < number < 1.0:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, got {text}")
    return number


def _natural(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 31:
        raise argparse.ArgumentTypeError(f"expected an integer >= 0, got {number}")
    return number
