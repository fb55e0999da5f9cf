"""`tidegate models`: the ranker in force, publish another one, or go back to the fallback."""

import argparse
import json
from pathlib import Path

import msgspec

from flows.cli import OK
from flows.commands import _models
from flows.commands._shared import counted, err, out, settings_of
from flows.commands.watch import when
from flows.settings import Settings
from schemas.ranker import Ranker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate models`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="show the ranker that the topic holds, and what training measured")
    show.add_argument("--json", action="store_true", help="as one JSON object, without trees and curve")
    publish = actions.add_parser("publish", help="put a ranker on every partition: a new one, or an old one again")
    publish.add_argument("file", type=Path, metavar="FILE", help="what `tidegate train ranker --out` wrote")
    actions.add_parser("retire", help="take the ranker back: lists go by the fallback again")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate models`."""
    if args.action == "publish":
        record = _models.load(args.file)  # before anything connects
        _models.publish(settings_of(args), record)
        return OK
    if args.action == "retire":
        _models.publish(settings_of(args), None)
        return OK
    return show(settings_of(args), as_json=args.json)


def show(settings: Settings, *, as_json: bool) -> int:
    """Do `tidegate models show`."""
    held = _models.held(settings)
    newest = held.newest
    if held.unreadable:
        err().print(f"not rankers that can be read: on {counted(len(held.unreadable), 'partition')}")
    if newest is None:
        out().print("there is no ranker: lists go by the fallback")
        return OK
    if held.missing:
        numbers = ", ".join(map(str, held.missing))
        err().print(f"not on partitions {numbers}: `tidegate models publish` puts one on all of them")
    if as_json:
        out().file.write(json.dumps(summary(newest)) + "\n")
        return OK
    console = out()
    console.print(
        f"{newest.version}, trained on {counted(newest.lists, 'list')} up to {when(newest.timestamp)} UTC; "
        f"{counted(len(newest.features), 'feature')}, checksum {newest.checksum}"
    )
    for name, value in newest.figures.items():
        console.print(f"  {name:32} {value:.4f}")
    return OK


def summary(record: Ranker) -> dict[str, object]:
    """Return a ranker for people: all but its trees and its curve."""
    found: dict[str, object] = msgspec.to_builtins(record)
    return {name: value for name, value in found.items() if name not in ("trees", "curve", "probability")}
