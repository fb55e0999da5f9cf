"""A small coverage-guided fuzzer: inputs that reach new lines, or a new outcome, are kept and mutated further.

The run is drawn from a seed, and what is kept depends on inputs alone: case number k is the same in every run, and the
clock only says how many there are. A failure shows the input, as short as it still fails, to be pasted into a test.

All fuzz tests share `TOTAL_S`; TIDEGATE_TEST_FUZZ_SECONDS lengthens it, as for a night's run.
"""

import os
import random
import re
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from types import FrameType, ModuleType
from typing import Any

TOTAL_S = float(os.environ.get("TIDEGATE_TEST_FUZZ_SECONDS", "60"))

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\w.+:-]+|.', re.DOTALL)
"""What JSON, TOML and CSV are made of, near enough: strings, words and numbers, single bytes."""

JUNK = (
    b"\x00", b"\xff", b"\x7f", b"\x80", b"\xc3\x28", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\\u",
    b"\n", b"\r", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",", b":", b"=", b"0", b"-1", b"-0", b"1e400",
    b"-1e400", b"1e-400", b"NaN", b"Infinity", b"null", b"true", b"0.5", b"01", b"2147483648", b"9223372036854775808",
    b"18446744073709551616", b"9" * 310, b"[" * 300, b"1e308", b'""', b"{}", b"[]", b"\xff" * 8, b"\x00" * 8,
)  # fmt: skip
"""Bytes that parsers stumble over."""


class Failed(AssertionError):
    """An input broke a promise; the text holds it."""


def mutate(rng: random.Random, corpus: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Return one of the corpus, changed in one to four places, by bytes or by tokens."""
    data = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if rng.random() < 0.5 and len(data) < 5_000:
            data = b"".join(_by_tokens(rng, TOKEN.findall(data), rng.choice(corpus), tokens))
        else:
            data = _by_bytes(rng, data, rng.choice(corpus), tokens)
    return data


def _by_tokens(rng: random.Random, parts: list[bytes], other: bytes, tokens: Sequence[bytes]) -> list[bytes]:
    at = rng.randrange(len(parts) + 1)
    to = min(len(parts), at + rng.choice((1, 1, 1, 2, 3, 4, 8)))
    theirs = TOKEN.findall(other[:5_000]) or [b""]
    start = rng.randrange(len(theirs))
    choices = ([], parts[at:to] * 2, [rng.choice(tokens)], theirs[start : start + rng.choice((1, 1, 2, 4, 8))])
    keep = parts[at:to] if rng.random() < 0.2 else []
    return parts[:at] + keep + rng.choice(choices) + parts[to:]


def _by_bytes(rng: random.Random, data: bytes, other: bytes, tokens: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    to = min(len(data), at + rng.choice((0, 0, 1, 1, 2, 4, 8, 64)))
    kind = rng.randrange(6)
    if kind == 0 and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + rng.randbytes(rng.choice((1, 1, 2, 4, 8))) + data[to:]
    if kind == 2:
        return data[:at] + rng.choice(tokens) + data[to:]
    if kind == 3:
        return data[:at] + data[at:to] * 2 + data[to:]
    if kind == 4:
        return data[:at] + other[rng.randrange(len(other) + 1) :]
    return data[:at] + data[to:]


def fuzz(
    target: Callable[[bytes], Hashable],
    seeds: Iterable[bytes],
    covering: Iterable[ModuleType],
    share: float,
    tokens: Sequence[bytes] = (),
    change: Callable[[random.Random, bytes], bytes] = lambda _rng, data: data,
    at_least: int = 300,
    seed: int = 1,
) -> int:
    """Feed a target until its share of the time is over; return the number of cases.

    Args:
        target: raises where a promise is broken; what it returns is an outcome worth keeping an input for.
        seeds: inputs to begin with.
        covering: modules whose lines are watched; without any, mutation goes blindly from the seeds.
        share: of `TOTAL_S`.
        tokens: words of the input's language, besides `JUNK`.
        change: applied after the mutation, such as sealing with a checksum.
        at_least: cases, however slow the machine is.
        seed: of everything drawn.
    """
    rng, corpus, seen = random.Random(seed), list(seeds), set[Hashable]()
    files = {module.__file__ for module in covering}
    words, cases = [*JUNK, *tokens, *tokens], 0
    deadline = time.monotonic() + share * TOTAL_S
    waiting = [change(random.Random(seed), each) for each in corpus]
    while waiting or cases < at_least or time.monotonic() < deadline:
        data = waiting.pop() if waiting else change(rng, mutate(rng, corpus, words))
        cases += 1
        try:
            found = {("outcome", target(data))} if not files else _traced(target, data, files)
        except Exception as error:
            short = _shortened(target, data, type(error))
            raise Failed(f"case {cases} of seed {seed}: {type(error).__name__}: {error}\ninput: {short!r}") from error
        if files and not found <= seen:
            seen |= found
            corpus.append(data[:20_000])
    return cases


def _traced(target: Callable[[bytes], Hashable], data: bytes, files: set[str | None]) -> set[Hashable]:
    found: set[Hashable] = set()

    def line(frame: FrameType, event: str, _given: Any) -> Any:
        if event == "line":
            found.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    before = sys.gettrace()
    sys.settrace(lambda frame, _event, _given: line if frame.f_code.co_filename in files else None)
    try:
        outcome = target(data)
    finally:
        sys.settrace(before)
    return found | {("outcome", outcome)}


def _shortened(target: Callable[[bytes], Hashable], data: bytes, kind: type[Exception]) -> bytes:
    """Cut away what the failure does not need, for up to five seconds."""
    size, until = max(1, len(data) // 2), time.monotonic() + 5
    while size and time.monotonic() < until:
        at = 0
        while at < len(data) and time.monotonic() < until:
            shorter = data[:at] + data[at + size :]
            try:
                target(shorter)
                at += size
            except kind:
                data = shorter
            except Exception:  # noqa: BLE001  another failure: not this one
                at += size
        size //= 2
    return data
