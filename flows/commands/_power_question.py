"""What `tidegate power` is asked: its arguments, read together, so that all mistakes are told at once.

argparse would end at the first one; so it is given texts, and they are read here.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.effects import ratios
from experiments.planning import Design, Metric
from experiments.sums import Moments
from flows.commands import ArgumentsError
from flows.commands._replay import moment

MOST_ARMS = 50
MOST_DAYS = 36_500

GREATEST = 1e30
"""Size of a number; its square, multiplied by others, must stay finite, and that of one over it above 0."""


class Question(NamedTuple):
    """What is asked.

    Attributes:
        kind: `mean`, `proportion` or `ratio`.
        metric: as it is now.
        design: arms and error rates of each comparison, without the covariate.
        correlation: of metric and covariate; None for no covariate.
        alpha: of all comparisons together.
        family: how many share it.
        effect: difference of means to be found; None if something else is asked.
        lift: likewise, as a share of the mean.
        days: of traffic that there are; the effect is asked.
        units: that there are; the effect is asked.
        tuning: N* of the sequential test; None to choose it.
        coverage: share of the users who are in the experiment.
        per_day: new units a day; None if they are counted, or not wanted.
        events: file to count users in.
        topic: to count users in.
        mapping: from the file's fields to an event's.
        form: of the file.
        since_ms: count events of this time and later only.
    """

    kind: str
    metric: Metric
    design: Design
    correlation: float | None
    alpha: float
    family: int
    effect: float | None
    lift: float | None
    days: int | None
    units: int | None
    tuning: float | None
    coverage: float
    per_day: float | None
    events: Path | None
    topic: str | None
    mapping: Path | None
    form: Any
    since_ms: int | None


class _Rule(NamedTuple):
    """What a number must be.

    Attributes:
        words: after "expected".
        good: whether one is.
    """

    words: str
    good: Callable[[float], bool]


_ANY = _Rule("a number", lambda _: True)
_NOT_0 = _Rule("a number other than 0", lambda x: x != 0.0)
_ABOVE_0 = _Rule("a number > 0", lambda x: x > 0.0)
_NOT_BELOW_0 = _Rule("a number >= 0", lambda x: x >= 0.0)
_BETWEEN = _Rule("a number between 0 and 1", lambda x: 0.0 < x < 1.0)
_SHARE = _Rule("a number > 0 and <= 1", lambda x: 0.0 < x <= 1.0)
_CORRELATION = _Rule("a number between -1 and 1", lambda x: -1.0 < x < 1.0)
_LIFT = _Rule("a number > -1 other than 0", lambda x: x > -1.0 and x != 0.0)


def _whole(least: int, most: int) -> _Rule:
    words = f"an integer from {least:,} to {most:,}"
    return _Rule(words, lambda x: x.is_integer() and least <= x <= most)


class _Reader:
    """Reads arguments, and keeps what is wrong with them in `mistakes`."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self.mistakes: list[str] = []

    def text(self, name: str) -> Any:
        return getattr(self._args, name.replace("-", "_"), None)

    def number(self, name: str, rule: _Rule, default: float | None = None) -> float | None:
        text = self.text(name)
        return default if text is None else self._read(name, text, rule)

    def needed(self, name: str, rule: _Rule) -> float | None:
        if self.text(name) is None:
            self.mistakes.append(f"--{name}: expected {rule.words}, got nothing")
        return self.number(name, rule)

    def numbers(self, name: str, *rules: _Rule) -> list[float | None]:
        texts = self.text(name)
        return [None] * len(rules) if texts is None else [self._read(name, *one) for one in zip(texts, rules)]  # noqa: B905  argparse counted them, or there is one rule for all

    def _read(self, name: str, text: str, rule: _Rule) -> float | None:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not rule.good(number):
            self.mistakes.append(f"--{name}: expected {rule.words}, got {text}")
            return None
        if number and not 1 / GREATEST <= abs(number) <= GREATEST:
            self.mistakes.append(f"--{name}: expected a size from {1 / GREATEST:g} to {GREATEST:g}, got {text}")
            return None
        return number

    def one_of(self, names: tuple[str, ...], *, least: int) -> None:
        """Complain unless at most one of the options is given, and at least so many."""
        given = [f"--{name}" for name in names if self.text(name) is not None]
        if not least <= len(given) <= 1:
            options = ", ".join(f"--{name}" for name in names[:-1]) + f" or --{names[-1]}"
            amount = "one of" if least else "at most one of"
            self.mistakes.append(f"expected {amount} {options}, got {' and '.join(given) or 'none'}")


def question(args: argparse.Namespace) -> Question:
    """Return what the arguments ask.

    Raises:
        ArgumentsError: with all mistakes.
    """
    read = _Reader(args)
    metric = {"mean": _mean, "proportion": _proportion, "ratio": _ratio}[args.kind](read)
    alpha = read.number("alpha", _BETWEEN, 0.05)
    target = read.number("power", _BETWEEN, 0.8)
    weights = _weights(read)
    family = read.number("family", _whole(1, 1_000_000), float(max(1, len(weights) - 1)))
    correlation = read.number("correlation", _CORRELATION)
    read.one_of(("effect", "lift", "days", "units"), least=1)
    effect, lift = read.number("effect", _NOT_0), read.number("lift", _LIFT)
    days, units = read.number("days", _whole(1, MOST_DAYS)), read.number("units", _whole(2, 10**12))
    tuning = read.number("tuning", _ABOVE_0)
    read.one_of(("units-per-day", "events", "topic"), least=int(days is not None))
    per_day, coverage = read.number("units-per-day", _ABOVE_0), read.number("coverage", _SHARE, 1.0)
    since_ms = _source(read)
    if metric is not None:
        _reachable(read, metric, effect, lift)
    if alpha is not None and target is not None and family is not None and not alpha / family < target:
        read.mistakes.append(f"--power: expected more than alpha, {alpha / family:g}, got {target:g}")
    if read.mistakes:
        raise ArgumentsError("\n".join(read.mistakes))
    assert metric is not None
    assert alpha is not None
    assert target is not None
    assert family is not None
    assert coverage is not None
    return Question(
        kind=args.kind,
        metric=metric,
        design=Design(weights, alpha / family, target),
        correlation=correlation,
        alpha=alpha,
        family=int(family),
        effect=effect,
        lift=lift,
        days=None if days is None else int(days),
        units=None if units is None else int(units),
        tuning=tuning,
        coverage=coverage,
        per_day=per_day,
        events=args.events,
        topic=args.topic,
        mapping=args.mapping,
        form=args.format,
        since_ms=since_ms,
    )


def _mean(read: _Reader) -> Metric | None:
    mean, sd = read.needed("mean", _ANY), read.needed("sd", _ABOVE_0)
    return None if mean is None or sd is None else Metric(mean, sd**2)


def _proportion(read: _Reader) -> Metric | None:
    rate = read.needed("rate", _BETWEEN)
    return None if rate is None else Metric(rate, rate * (1.0 - rate), binary=True)


def _ratio(read: _Reader) -> Metric | None:
    """Return the ratio of two means as the readout has it, by the delta method."""
    for name, words in (("numerator", "its mean and deviation"), ("denominator", "its mean and deviation")):
        if read.text(name) is None:
            read.mistakes.append(f"--{name}: expected {words}, got nothing")
    y, y_sd = read.numbers("numerator", _ANY, _NOT_BELOW_0)
    d, d_sd = read.numbers("denominator", _ABOVE_0, _NOT_BELOW_0)
    covariance = read.needed("covariance", _ANY)
    if y is None or y_sd is None or d is None or d_sd is None or covariance is None:
        return None
    if abs(covariance) > y_sd * d_sd * (1.0 + 1e-9):
        most = f"{y_sd * d_sd:g}"
        read.mistakes.append(
            f"--covariance: expected from -{most} to {most}, the deviations' product, got {covariance:g}"
        )
        return None
    sums = np.zeros((4, 4))
    sums[:2, :2] = [[y_sd**2, covariance], [covariance, d_sd**2]]
    arm = ratios(Moments(np.float64(2.0), np.array([y, d, 0.0, 0.0]), sums))  # type: ignore[arg-type]
    if not arm.variance > 0.0:
        read.mistakes.append("--numerator, --denominator: expected a ratio that differs between units, got no spread")
        return None
    return Metric(float(arm.mean), float(arm.variance))


def _weights(read: _Reader) -> tuple[float, ...]:
    """Return the shares of the arms; equal ones where they cannot be read, so that the rest can be looked at."""
    arms = read.number("arms", _whole(2, MOST_ARMS))
    texts = read.text("weights")
    if texts is None:
        return (1.0 / (arms or 2),) * int(arms or 2)
    if not 2 <= len(texts) <= MOST_ARMS:
        read.mistakes.append(f"--weights: expected 2 to {MOST_ARMS} numbers, got {len(texts)}")
    elif arms is not None and arms != len(texts):
        read.mistakes.append(f"--weights: expected {arms:g} numbers, one for each of --arms, got {len(texts)}")
    weights = [weight for weight in read.numbers("weights", *[_ABOVE_0] * len(texts)) if weight is not None]
    return tuple(weight / sum(weights) for weight in weights) if weights else (0.5, 0.5)


def _source(read: _Reader) -> int | None:
    """Check what says where users are counted; return since when."""
    if read.text("events") is None:
        read.mistakes += [
            f"--{name}: expected with --events, got it without"
            for name in ("mapping", "format")
            if read.text(name) is not None
        ]
    if read.text("format") not in (None, "ndjson", "csv"):
        read.mistakes.append(f"--format: expected ndjson or csv, got {read.text('format')}")
    if (since := read.text("since")) is None:
        return None
    if read.text("events") is None and read.text("topic") is None:
        read.mistakes.append("--since: expected with --events or --topic, got it without")
    try:
        return moment(since)
    except argparse.ArgumentTypeError as error:
        read.mistakes.append(f"--since: {error}")
        return None


def _reachable(read: _Reader, metric: Metric, effect: float | None, lift: float | None) -> None:
    """Complain of an effect that the metric cannot have."""
    if lift is not None and not metric.mean > 0.0:
        read.mistakes.append(f"--lift: expected a mean > 0 to be a share of, got {metric.mean:g}; name --effect")
        return
    for name, change in (("effect", effect), ("lift", None if lift is None else lift * metric.mean)):
        if metric.binary and change is not None and not 0.0 < metric.mean + change < 1.0:
            got = f"{metric.mean:g} {'+' if change > 0 else '-'} {abs(change):g}"
            read.mistakes.append(f"--{name}: expected a rate between 0 and 1 in the other arm, got {got}")
