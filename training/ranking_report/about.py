"""About: the records of `ranking.quality` of all partitions, put together by stretch of time and as a whole.

Means are weighted by what they are means of; where a record does not say (costs of steps, merit), by its lists or
candidates. E-values of one group are averaged over partitions: an e-process if lists are fair given all before them in
all partitions (`ranking.betting`).
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from operators.judge.config import JudgeConfig
from schemas.quality import FairnessTest, Quality


@dataclass(frozen=True, slots=True)
class Reliability:
    """One bin of predicted probabilities: places shown, their mean probability, and the share that was clicked."""

    n: int
    predicted: float
    clicked: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step cost, and the share of places that hold another item because of it."""

    cost: float
    moved: float


@dataclass(frozen=True, slots=True)
class Group:
    """One group of items, as in `schemas.quality.GroupExposure`."""

    items: int
    shown: int
    exposure: float
    merit: float | None
    per_merit: float | None
    clicks: int


@dataclass(frozen=True, slots=True)
class Users:
    """One group of users: lists with anything relevant, and their mean NDCG."""

    lists: int
    ndcg: float | None


@dataclass(frozen=True, slots=True)
class Minimum:
    """Tests of minimum proportions of one group: how many, how many failed, and what share would if lists were fair."""

    lists: int
    failed: int
    expected: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of some time, of all partitions; what they mean is in `schemas.quality.Quality`."""

    since: int
    until: int
    models: tuple[str, ...]
    k: int
    lists: int
    clicked: int
    evicted: int
    asked: int
    ndcg: float | None
    ndcg_popularity: float | None
    mrr: float | None
    recall: float | None
    recall_of: dict[str, float]
    ece: float | None
    brier: float | None
    reliability: tuple[Reliability, ...]
    steps: dict[str, Cost]
    groups: dict[str, Group]
    user_groups: dict[str, Users]
    minimum: dict[str, Minimum]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The alarm on one group as of one time: mean e-value of the partitions, its largest so far, lists, difference.

    All of it is since `since_ms`, the beginning of the stretch in which a partition's judge last began anew. `alarms`
    are partitions whose own alarm went off.
    """

    time_ms: int
    since_ms: int
    log_e: float
    log_largest: float
    lists: int
    difference: float | None
    alarms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class About:
    """All that the page says.

    Attributes:
        whole: of all stretches together.
        stretches: one after the other.
        evidence: by group, one after the other.
        partitions: that told anything.
        alpha: of the alarms, as the newest record tells it, else as the settings do.
        tolerance: difference of exposure that is still called fair, likewise.
    """

    whole: Summary
    stretches: tuple[Summary, ...]
    evidence: dict[str, tuple[Evidence, ...]]
    partitions: tuple[int, ...]
    alpha: float
    tolerance: float


def about(records: Iterable[Quality], config: JudgeConfig) -> About:
    """Return what records say.

    Of records that are the same to the byte one counts, as of a delivery that was repeated. All others add up: of one
    stretch of one partition there are two where its judge began anew.

    Args:
        records: in any order of partitions, those of one in their own.
        config: settings of the judge.

    Raises:
        ValueError: there is no record.
    """
    each_once = {msgspec.json.encode(one): one for one in records}
    if not each_once:
        raise ValueError("expected a record, got none")
    found = sorted(each_once.values(), key=lambda one: (one.timestamp, one.since, one.partition))
    claim = _newest_claim(found) or _Claim(config.alpha, config.tolerance)
    return About(
        whole=summary(found, config.bins),
        stretches=tuple(
            summary(list(those), config.bins) for _, those in groupby(found, lambda one: (one.timestamp, one.since))
        ),
        evidence=_evidence(found, claim),
        partitions=tuple(sorted({one.partition for one in found})),
        alpha=claim.alpha,
        tolerance=claim.tolerance,
    )


def summary(records: Sequence[Quality], edges: Sequence[float]) -> Summary:
    """Return the figures of some records together.

    Args:
        records: at least one.
        edges: inner edges of the bins of probabilities, ascending.
    """
    bins = _bins(records, edges)
    places = sum(one.n for one in bins)
    models = {one.model: None for one in records}
    known = [one for one in records if one.brier is not None]
    return Summary(
        since=min(one.since for one in records),
        until=max(one.timestamp for one in records),
        models=tuple(models),
        k=records[-1].k,
        lists=sum(one.lists for one in records),
        clicked=sum(one.clicked for one in records),
        evicted=sum(one.evicted for one in records),
        asked=sum(one.asked for one in records),
        ndcg=_mean((one.clicked, one.ndcg) for one in records),
        ndcg_popularity=_mean((one.clicked, one.ndcg_popularity) for one in records),
        mrr=_mean((one.clicked, one.mrr) for one in records),
        recall=_mean((one.asked, one.recall) for one in records),
        recall_of=_recall_of(records),
        ece=sum(one.n * abs(one.predicted - one.clicked) for one in bins) / places if places else None,
        brier=_mean((sum(each.n for each in one.reliability), one.brier) for one in known),
        reliability=bins,
        steps=_by_name(records, lambda one: {each.name: each for each in one.steps}, _cost),
        groups=_groups(records),
        user_groups=_by_name(records, lambda one: {each.group: each for each in one.user_groups}, _users),
        minimum=_by_name(records, lambda one: {each.group: each for each in one.minimum}, _minimum),
    )


def _mean(terms: Iterable[tuple[float, float | None]]) -> float | None:
    known = [(weight, value) for weight, value in terms if value is not None and weight > 0]
    total = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / total if total else None


def _by_name(
    records: Sequence[Quality], parts: Callable[[Quality], dict[str, Any]], join: Callable[[list[Any]], Any]
) -> dict[str, Any]:
    """Join what records say of each name, as pairs of their lists and it; names as they come first."""
    found: dict[str, list[Any]] = {}
    for one in records:
        for name, each in parts(one).items():
            found.setdefault(name, []).append((one.lists, each))
    return {name: join(pairs) for name, pairs in found.items()}


def _cost(pairs: list[Any]) -> Cost:
    cost, moved = _mean((n, each.cost) for n, each in pairs), _mean((n, each.moved) for n, each in pairs)
    return Cost(cost or 0.0, moved or 0.0)


def _users(pairs: list[Any]) -> Users:
    return Users(sum(each.lists for _, each in pairs), _mean((each.lists, each.ndcg) for _, each in pairs))


def _minimum(pairs: list[Any]) -> Minimum:
    expected = _mean((each.lists, each.expected) for _, each in pairs)
    return Minimum(sum(each.lists for _, each in pairs), sum(each.failed for _, each in pairs), expected or 0.0)


def _recall_of(records: Sequence[Quality]) -> dict[str, float]:
    names = {name: None for one in records for name in one.recall_of}
    asked = sum(one.asked for one in records)
    if not asked:
        return {}
    return {name: sum(one.asked * one.recall_of.get(name, 0.0) for one in records) / asked for name in names}


def _bins(records: Sequence[Quality], edges: Sequence[float]) -> tuple[Reliability, ...]:
    """Return the bins of all records, those of one place between the edges as one."""
    found: dict[int, list[float]] = {}
    for one in records:
        for each in one.reliability:
            sums = found.setdefault(bisect_right(edges, each.predicted), [0, 0.0, 0.0])
            sums[0] += each.n
            sums[1] += each.n * each.predicted
            sums[2] += each.n * each.clicked
    return tuple(Reliability(int(n), p / n, y / n) for _, (n, p, y) in sorted(found.items()))


def _groups(records: Sequence[Quality]) -> dict[str, Group]:
    joined = _by_name(records, lambda one: {each.group: each for each in one.groups}, lambda pairs: pairs)
    known = {name: [each for _, each in pairs if each.merit is not None] for name, pairs in joined.items()}
    every = [each for those in known.values() for each in those]
    overall = _ratio(every)
    found = {}
    for name, pairs in joined.items():
        mine, ratio = [each for _, each in pairs], _ratio(known[name])
        found[name] = Group(
            items=sum(each.items for each in mine),
            shown=sum(each.shown for each in mine),
            exposure=_mean((each.items, each.exposure) for each in mine) or 0.0,
            merit=_mean((each.items, each.merit) for each in known[name]),
            per_merit=ratio / overall if ratio is not None and overall else None,
            clicks=sum(each.clicks for each in mine),
        )
    return found


def _ratio(groups: Sequence[Any]) -> float | None:
    merit = sum(each.items * each.merit for each in groups)
    return sum(each.items * each.exposure for each in groups) / merit if merit else None


class _Claim(NamedTuple):
    """What an alarm is about: how often it may ever go off, and what is still fair."""

    alpha: float
    tolerance: float


def _claim(test: FairnessTest) -> _Claim | None:
    return None if test.alpha is None or test.tolerance is None else _Claim(test.alpha, test.tolerance)


def _newest_claim(records: Sequence[Quality]) -> _Claim | None:
    told = (_claim(each) for one in reversed(records) for each in one.tests)
    return next((one for one in told if one is not None), None)


class _Told(NamedTuple):
    """What one record says of one group."""

    record: Quality
    test: FairnessTest


def _evidence(records: Sequence[Quality], claim: _Claim) -> dict[str, tuple[Evidence, ...]]:
    partitions = sorted({one.partition for one in records})
    by_group: dict[str, list[_Told]] = {}
    for one in records:
        for each in one.tests:
            by_group.setdefault(each.group, []).append(_Told(one, each))
    found = {name: tuple(_of(_of_claim(told, claim), partitions)) for name, told in by_group.items()}
    return {name: points for name, points in found.items() if points}


def _of_claim(told: Sequence[_Told], claim: _Claim) -> list[_Told]:
    """Return what was told since the last record of the same partition about another claim, in its order."""
    last = {one.record.partition: at for at, one in enumerate(told) if _claim(one.test) not in (None, claim)}
    return [one for at, one in enumerate(told) if at > last.get(one.record.partition, -1)]


def _began_anew(before: FairnessTest, now: FairnessTest) -> bool:
    """Return whether a judge forgot: neither lists nor the largest ever fall, and an alarm stays."""
    return now.lists < before.lists or now.log_largest < before.log_largest or (before.alarm and not now.alarm)


def _of(told: Sequence[_Told], partitions: Sequence[int]) -> Iterable[Evidence]:
    """Return the evidence on one group after each stretch; a partition that told nothing yet has e-value 1.

    Where a partition began anew, the largest does too: the mean before is of e-values that were thrown away.
    """
    newest: dict[int, FairnessTest] = {}
    largest, since = 0.0, min((one.record.since for one in told), default=0)
    for until, those in groupby(told, lambda one: one.record.timestamp):
        for record, test in those:
            before = newest.get(record.partition)
            if before is not None and _began_anew(before, test):
                largest, since = 0.0, record.since
            newest[record.partition] = test
        logs = [newest[at].log_e if at in newest else 0.0 for at in partitions]
        top = max(logs)
        log_e = top + math.log(sum(math.exp(each - top) for each in logs) / len(logs))
        largest = max(largest, log_e)
        difference = _mean((each.lists, each.difference) for each in newest.values())
        lists = sum(each.lists for each in newest.values())
        alarms = tuple(at for at in partitions if at in newest and newest[at].alarm)
        yield Evidence(until, since, log_e, largest, lists, difference, alarms)
