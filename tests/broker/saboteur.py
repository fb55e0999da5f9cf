"""The flow with one promise taken out of it, to see that the chaos test notices. Never part of what is installed.

    python tests/broker/saboteur.py [--session-ms 2000] [--without muting|fencing] run risk

Without `--without` it is the flow as it is; `--session-ms` shortens the group's session time-out, which the settings
refuse to change, so that many faults fit into a test. Every place that is patched is named here, and one that is gone
is an error (exit code 97): a saboteur that breaks nothing would prove nothing.
"""

import argparse
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from confluent_kafka import Consumer

from connectors.engine import Engine
from connectors.membership import Membership
from connectors.takeover import Takeover
from flows import cli

PATCH_POINT_GONE = 97


def _replace(owner: type, name: str, parameters: tuple[str, ...], make: Callable[[Any], Any]) -> None:
    """Replace a method by what `make` makes of it; it must still take these parameters."""
    there = owner.__dict__.get(name)
    if there is None or not set(parameters) <= set(inspect.signature(there).parameters):
        sys.stderr.write(f"saboteur: expected {owner.__name__}.{name}({', '.join(parameters)}), it is gone\n")
        sys.exit(PATCH_POINT_GONE)
    setattr(owner, name, make(there))


def shorten_session(session_ms: int) -> None:
    """Let the group take a silent process for dead sooner."""

    def make(there: Any) -> Any:
        def join(self: Any, config: Any, *given: Any, **more: Any) -> None:
            shorter = {"session.timeout.ms": session_ms, "heartbeat.interval.ms": min(500, session_ms // 4)}
            there(self, {**config, **shorter}, *given, **more)

        return join

    _replace(Membership, "__init__", ("config",), make)


def without_muting() -> None:
    """Answer again what is only rolled forward over."""

    def make(there: Any) -> Any:
        def messages(self: Any, *given: Any, muted: bool) -> Any:
            return there(self, *given, muted=False)

        return messages

    _replace(Engine, "_messages", ("muted",), make)


def without_fencing() -> None:
    """Let a former owner go on: nobody fences it, the broker gets no proof of it, and it does not notice its loss."""
    _replace(Takeover, "fence_former_owners", ("told", "owner"), lambda _: lambda *_given, **_more: None)

    group: dict[str, str] = {}

    def keep_group(there: Any) -> Any:
        def join(self: Any, config: Any, *given: Any, **more: Any) -> None:
            group.update(config)
            there(self, config, *given, **more)

        return join

    def anonymous(_: Any) -> Any:
        # Of a consumer that never joined: generation -1, no member id. The broker lets it commit whatever it likes.
        made: list[Consumer] = []

        def metadata(self: Any) -> Any:
            if not made:
                made.append(Consumer(group))
            return made[0].consumer_group_metadata()

        return metadata

    def lost_is_given_up(_: Any) -> Any:
        def was_lost(self: Any, consumer: Any, partitions: Any) -> None:
            self._revoked(consumer, partitions)  # commits what is pending, as for a partition asked back politely

        return was_lost

    _replace(Membership, "__init__", ("config",), keep_group)
    _replace(Membership, "metadata", (), anonymous)
    _replace(Membership, "_was_lost", ("partitions",), lost_is_given_up)
    _replace(Membership, "_revoked", ("partitions",), lambda there: there)


WITHOUT = {"muting": without_muting, "fencing": without_fencing}


def main() -> int:
    """Break what is to be broken, then be `tidegate`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--session-ms", type=int)
    parser.add_argument("--without", choices=sorted(WITHOUT))
    parser.add_argument("words", nargs=argparse.REMAINDER, help="arguments of tidegate")
    args = parser.parse_args()
    if args.session_ms:
        shorten_session(args.session_ms)
    if args.without:
        WITHOUT[args.without]()
    return cli.main(args.words)


if __name__ == "__main__":
    sys.exit(main())
