"""The command line. Each command is one module in `flows.commands`, imported only when it is asked for."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; could not be done, or found wanting; wrong arguments or settings; ended by Ctrl-C."""


class Command(NamedTuple):
    """One command: the module that does it, and the line about it in `tidegate --help`."""

    module: str
    help: str


COMMANDS = {
    "demo": Command("flows.commands.demo", "show the risk flow on an embedded broker; nothing to install"),
    "run": Command("flows.commands.run", "run a flow until it is told to stop"),
    "topics": Command("flows.commands.topics", "create the topics, or list them"),
    "publish": Command("flows.commands.publish", "publish a file of events, or of records of another topic"),
    "generate": Command(
        "flows.commands.generate", "write the synthetic stream as JSON lines, for `tidegate publish -`"
    ),
    "evaluate": Command(
        "flows.commands.evaluate", "replay a labelled file through the flow, without a broker, and say how good it is"
    ),
    "power": Command("flows.commands.power", "say how many units an experiment needs, and how many days"),
    "watch": Command("flows.commands.watch", "show the records of a topic as they come"),
    "dead-letters": Command("flows.commands.dead_letters", "list what could not be read, and why; publish it again"),
    "audit": Command("flows.commands.audit", "verify the audit trail, export it, or show its key"),
    "experiments": Command("flows.commands.experiments", "apply definitions of experiments, list them, end one"),
    "ranking": Command("flows.commands.ranking", "write a page about quality and fairness of ranked lists"),
    "assign": Command("flows.commands.assign", "show which variation of an experiment units are in"),
    "train": Command("flows.commands.train", "train a ranker on lists that were served, and say how good it is"),
    "models": Command("flows.commands.models", "show the ranker in force, publish one, or take it back"),
    "doctor": Command("flows.commands.doctor", "check broker, topics, permissions and key, and say what to do"),
    "compile": Command("flows.commands.compile", "compile every loop now, so that no start waits for it"),
}


class _LazyParser(argparse.ArgumentParser):
    """A parser of one command, which asks the command's module for the arguments only when it is to parse them."""

    module: str | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.module is not None:
            module: Any = importlib.import_module(self.module)
            self.module = None
            module.add_arguments(self)
            self.set_defaults(main=module.main)
        return super().parse_known_args(args, namespace)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="tidegate",
        description="Risk tiers, readouts of experiments and ranked lists from Kafka, to Kafka, for small teams.",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    _add_config(top, default=None)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_LazyParser)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.help, description=command.help.capitalize() + ".")
        one.module = command.module
        # SUPPRESS: a default here would undo `tidegate --config FILE COMMAND`.
        _add_config(one, default=argparse.SUPPRESS)
    return top


def _add_config(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=default,
        help="settings (default: the file named by TIDEGATE_CONFIG, else ./tidegate.toml if there is one)",
    )


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from importlib import metadata  # noqa: PLC0415  only now wanted

        try:
            number = metadata.version("tidegate")
        except metadata.PackageNotFoundError:
            number = "(run from its sources, not installed)"
        parser.exit(message=f"tidegate {number}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code.

    Args:
        argv: the arguments, without the program's name; None for this process's own.
    """
    args = parser().parse_args(argv)
    # The flow logs JSON and sets that up by itself; the other commands talk to a person.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    return _guarded(args.main, args)


def _guarded(do: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command; turn what users can cause or mend into a message instead of a traceback."""
    try:
        return do(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left, as `head` does. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        text, code = _explained(error)
        if text is None:
            raise
        sys.stderr.write(f"tidegate: {text}\n")
        return code


def _explained(error: Exception) -> tuple[str | None, int]:
    # By name, because importing the classes is what a quick start avoids.
    names = {f"{one.__module__}.{one.__name__}" for one in type(error).__mro__}
    if "flows.settings.SettingsError" in names:
        return "the settings cannot be used:\n" + "\n".join(f"  {line}" for line in str(error).splitlines()), MISUSED
    if "flows.mapping.MappingError" in names:
        return "the mapping cannot be used:\n" + "\n".join(f"  {line}" for line in str(error).splitlines()), MISUSED
    if "flows.experiment_files.ExperimentError" in names:
        lines = "\n".join(f"  {line}" for line in str(error).splitlines())
        return "the definitions cannot be used:\n" + lines, MISUSED
    if "flows.commands.ArgumentsError" in names:
        return "the arguments cannot be used:\n" + "\n".join(f"  {line}" for line in str(error).splitlines()), MISUSED
    if names & {"connectors.clients.Unreachable", "flows.commands.CommandError", "flows.labels.LabelFileError"}:
        return str(error), FAILED
    if "cimpl.KafkaException" in names:
        inner: Any = error.args[0] if error.args else error
        return f"Kafka: {inner.str() if hasattr(inner, 'str') else inner}", FAILED
    return None, FAILED


if __name__ == "__main__":
    sys.exit(main())
