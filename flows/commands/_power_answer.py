"""What `tidegate power` answers: units, days or effects by test, and what must be known to believe them."""

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any

import msgspec
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from experiments.planning import Kind, arms_needed, chosen_tuning, effect_plan, lift_plan, size_found, tuning_at
from experiments.running import BURN_IN_CONVERSIONS, BURN_IN_UNITS
from flows.commands import CommandError
from flows.commands._power_question import Question
from flows.traffic import Arrivals, Traffic


class Tested(msgspec.Struct):
    """One test.

    Attributes:
        test: `fixed` or `sequential`.
        covariate: whether the covariate is used.
        tuning: N* of a sequential test, in units of the first arm and the smallest other.
        arms: units by arm.
        units: of all arms.
        days: until there are so many; None if nothing says how many come, or there never are.
        extrapolated: whether these are more days than were counted, so that it takes at least as long.
        effect: difference of means, asked or found; None if there is none that is found.
        lift: that as a share of the mean; None also where the mean is not above 0.
    """

    test: str
    covariate: bool
    tuning: float | None
    arms: tuple[int, ...]
    units: int
    days: int | None
    extrapolated: bool
    effect: float | None
    lift: float | None


class Users(msgspec.Struct):
    """What was counted.

    Attributes:
        source: file or topic.
        events: read.
        refused: records without a user, or no events.
        first_day: of those that count, UTC.
        whole_days: whether these are whole.
        daily: users of each day.
        new: of each day, those who came on none before.
        error: relative standard error of the users of all days; 0 if they are exact.
    """

    source: str
    events: int
    refused: int
    first_day: str
    whole_days: bool
    daily: tuple[float, ...]
    new: tuple[float, ...]
    error: float


class Answer(msgspec.Struct):
    """All that `--json` says."""

    kind: str
    mean: float
    variance: float
    alpha: float
    family: int
    power: float
    weights: tuple[float, ...]
    coverage: float
    asked: str
    correlation: float | None
    variance_saved: float | None
    users: Users | None
    tests: list[Tested]
    notes: list[str]


def users_of(traffic: Traffic, source: str, events: int, refused: int) -> Users:
    """Return what was counted, to be shown."""
    day = (dt.date(1970, 1, 1) + dt.timedelta(days=traffic.first_day)).isoformat()
    return Users(source, events, refused, day, traffic.whole, traffic.daily, traffic.new, traffic.error)


def answer(asked: Question, arrivals: Arrivals | None, users: Users | None) -> Answer:
    """Return the answer.

    Args:
        asked: the question.
        arrivals: of the units of the experiment; None if nothing says how many come.
        users: what was counted; None if nothing was.

    Raises:
        CommandError: there are too few units, or too many would be needed.
    """
    correlations = [0.0] if asked.correlation is None else [0.0, asked.correlation]
    try:
        tests = [
            _test(asked, arrivals, correlation, at, sequential=sequential)
            for sequential in (False, True)
            for at, correlation in enumerate(correlations)
        ]
    except ValueError as error:
        raise CommandError(f"{error}: expected an effect that can be found") from error
    saved = None if asked.correlation is None else asked.correlation**2
    return Answer(
        kind=asked.kind,
        mean=asked.metric.mean,
        variance=asked.metric.variance,
        alpha=asked.alpha,
        family=asked.family,
        power=asked.design.target,
        weights=asked.design.weights,
        coverage=asked.coverage,
        asked="units" if asked.effect is not None or asked.lift is not None else "effect",
        correlation=asked.correlation,
        variance_saved=saved,
        users=users,
        tests=tests,
        notes=list(_notes(asked, arrivals, users, tests)),
    )


def _test(
    asked: Question, arrivals: Arrivals | None, correlation: float, covariate: int, *, sequential: bool
) -> Tested:
    design, metric = asked.design._replace(correlation=correlation), asked.metric
    name, with_covariate = "sequential" if sequential else "fixed", covariate > 0
    kind, size = (lift_plan, asked.lift) if asked.effect is None else (effect_plan, asked.effect)
    if size is not None:
        tuning = (asked.tuning or chosen_tuning(kind, metric, design, size)) if sequential else None
        arms = arms_needed(kind, metric, design, size, tuning)
        days = arrivals.days(sum(arms)) if arrivals else None
        effect = size * metric.mean if kind is lift_plan else size
        lift = size if kind is lift_plan else effect / metric.mean if metric.mean > 0.0 else None
        return Tested(name, with_covariate, tuning, arms, sum(arms), days, _beyond(arrivals, days), effect, lift)
    units, days = _there(asked, arrivals)
    tuning = (asked.tuning or tuning_at(units * design.pair(design.compared()[0]))) if sequential else None

    def found(kind: Kind) -> float | None:
        return size_found(kind, metric, design, units, tuning)

    arms = tuple(math.floor(units * weight + 1e-6) for weight in design.weights)
    share = found(lift_plan) if metric.mean > 0.0 else None
    beyond = _beyond(arrivals, days)
    return Tested(name, with_covariate, tuning, arms, units, days, beyond, found(effect_plan), share)


def _beyond(arrivals: Arrivals | None, days: int | None) -> bool:
    return arrivals is not None and days is not None and 0 < len(arrivals.reached) < days


def _there(asked: Question, arrivals: Arrivals | None) -> tuple[int, int | None]:
    """Return the units that there are, and after how many days."""
    units, days = asked.units, asked.days
    if units is not None:
        days = arrivals.days(units) if arrivals else None
    else:
        assert days is not None
        assert arrivals is not None
        units = math.floor(arrivals.units(days))
    if units * min(asked.design.weights) < 1.0:
        raise CommandError(f"expected units in every arm, got {units:,} in all")
    return units, days


def _notes(asked: Question, arrivals: Arrivals | None, users: Users | None, tests: list[Tested]) -> Iterator[str]:
    how = "as --tuning says"
    if asked.tuning is None:
        how = "chosen near the units at which this test ends, where its interval is then narrowest"
    yield f"N*: units of the first arm and the smallest other, {how}. Fix it before the first look."
    yield "sequential: may be looked at at any time. The power is that at the last look; with all looks it is higher."
    if asked.family > 1:
        yield f"alpha {asked.alpha:g} is shared by {asked.family} comparisons: {asked.design.alpha:g} each."
    if asked.correlation is not None:
        saved = asked.correlation**2
        yield f"covariate: a correlation of {asked.correlation:g} saves {saved:.1%} of the variance, and of the units."
    yield from _doubts(asked, tests)
    if arrivals is not None:
        yield from _of_traffic(asked, arrivals, users, tests)


def _doubts(asked: Question, tests: list[Tested]) -> Iterator[str]:
    fewest = min(min(one.arms) for one in tests)
    if fewest < BURN_IN_UNITS:
        yield f"{fewest} units in an arm: the estimate need not be normal, and readouts begin at {BURN_IN_UNITS}."
    rare = fewest * min(asked.metric.mean, 1.0 - asked.metric.mean) if asked.metric.binary else math.inf
    if rare < BURN_IN_CONVERSIONS:
        yield f"{rare:.1f} of the rarer outcome in an arm: readouts begin at {BURN_IN_CONVERSIONS}."
    if any(one.effect is None or (one.lift is None and asked.metric.mean > 0.0) for one in tests):
        yield "none: with so few units it is not found however large it is."


def _of_traffic(asked: Question, arrivals: Arrivals, users: Users | None, tests: list[Tested]) -> Iterator[str]:
    part = "" if asked.coverage == 1.0 else f", {asked.coverage:.4g} of them in the experiment"
    if users is None:
        yield f"traffic: {asked.per_day:,.6g} new units a day{part}; those who come back are no new ones."
        return
    mean, counted = sum(users.daily) / len(users.daily), len(users.daily)
    exact = f"to {users.error:.1%} (one standard error)" if users.error else "exact"
    yield (
        f"traffic: {users.source}, {users.events:,} events, {counted} day{'s' if counted > 1 else ''} from "
        f"{users.first_day} on (UTC): {mean:,.0f} users a day, {sum(users.new):,.0f} different ones, {exact}{part}."
    )
    if users.refused:
        yield f"{users.refused:,} records were left out: they name no user."
    if not users.whole_days:
        yield "no whole day among them: the fullest was taken, with as many new users on each to come. Count more days."
    elif any(one.extrapolated for one in tests):
        yield (
            f"beyond {counted} days {arrivals.rate:,.6g} new units a day are assumed, as in the second half; "
            "they become fewer, so it takes longer, or never ends."
        )


def render(found: Answer) -> Iterator[RenderableType]:
    """Yield what to print."""
    shares = " / ".join(f"{100 * weight:.4g} %" for weight in found.weights)
    yield Text(
        f"{found.kind} {found.mean:.6g}, deviation {math.sqrt(found.variance):.6g}; arms {shares}; "
        f"alpha {found.alpha:g}, power {found.power:g}"
    )
    effects = found.asked == "effect"
    if not effects:
        one = found.tests[0]
        yield Text(f"to find: effect {_number(one.effect)}, lift {_percent(one.lift)}", style="bold")
    columns = ["test", "N*", "units by arm", "in all", "days", *(["effect", "lift"] if effects else [])]
    if found.users is None and all(one.days is None for one in found.tests):
        columns.remove("days")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left")
    for one in found.tests:
        cells = {
            "test": one.test + (", with covariate" if one.covariate else ""),
            "N*": "" if one.tuning is None else f"{one.tuning:,.10g}",
            "units by arm": _arms(one.arms),
            "in all": f"{one.units:,}",
            "days": "never" if one.days is None else ("at least " if one.extrapolated else "") + f"{one.days:,}",
            "effect": _number(one.effect),
            "lift": _percent(one.lift),
        }
        table.add_row(*(Text(cells[column]) for column in columns))
    yield table
    for note in found.notes:
        yield Text(note, style="dim")


def _arms(arms: tuple[int, ...]) -> str:
    return f"{arms[0]:,} each" if len(set(arms)) == 1 else " / ".join(f"{one:,}" for one in arms)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.4g} %"


def to_json(found: Answer) -> Any:
    """Return one JSON object."""
    return msgspec.json.encode(found).decode()
