"""Experiments as people write them: one TOML file each, every mistake of all files found in one go."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from flows.configuration import Draft, Table, check, prune, read_toml
from schemas import definition as wire
from schemas.part import MOST_ARMS, RISK

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
_Filled = Annotated[str, MinLen(1)]
_Share = Annotated[float, Ge(0), Le(1)]

ALL_UNITS = (0.0, 1.0)
"""The part of a namespace that is the whole of it."""


class ExperimentError(ValueError):
    """The files cannot be used; the text has one line per mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        """Keep the lines.

        Args:
            mistakes: one line each.
        """
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistakes))


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Phase(_Section):
    """See `schemas.definition.Phase`; without weights the arms are equal."""

    start: AwareDatetime
    coverage: _Share = 1.0
    weights: tuple[_Share, ...] | None = None


class Metric(_Section):
    """See `schemas.definition.Metric`."""

    name: _Name
    kind: Literal["mean", "proportion", "ratio"]
    event: _Filled
    topic: Literal["events", "metrics"] = "events"
    value: _Filled | None = None
    denominator_event: _Filled | None = None
    denominator: _Filled | None = None
    where: dict[str, Any] = {}
    cap: Annotated[float, Gt(0)] | None = None
    better: Literal["up", "down"] = "up"


class Guardrail(Metric):
    """See `schemas.definition.Guardrail`."""

    margin: Annotated[float, Ge(0)]
    margin_of: Literal["relative", "absolute"] = "relative"


class Namespace(_Section):
    """A namespace, and this experiment's part of it."""

    name: _Name
    first: _Share = ALL_UNITS[0]
    end: _Share = ALL_UNITS[1]


class Experiment(_Section):
    """A file; see `schemas.definition.Definition`."""

    id: _Name
    description: str = ""
    seed: Annotated[str, MinLen(1), MaxLen(256)] | None = None
    hash_version: Literal[1, 2] = 2
    namespace: Namespace | None = None
    variations: tuple[_Name, ...]
    phases: tuple[Phase, ...]
    end: AwareDatetime | None = None
    primary: Metric
    secondary: tuple[Metric, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.05
    tuning_n: Annotated[int, Ge(1)] = 5_000
    attribution_window_s: Annotated[int, Ge(1), Le(wire.LONGEST_S)]
    minimum_run_s: Annotated[int, Ge(0), Le(wire.LONGEST_S)]
    mde: Annotated[float, Gt(0)]
    cuped: bool = True
    pre_period_s: Annotated[int, Ge(0), Le(wire.LONGEST_S)] = 0


def load_experiments(paths: Iterable[Path]) -> list[wire.Definition]:
    """Read definitions; their version is 1 and their timestamp 0 until they are applied.

    Raises:
        ExperimentError: with every mistake in all files.
    """
    found: list[wire.Definition] = []
    mistakes: list[str] = []
    files: dict[str, Path] = {}
    for path in paths:
        try:
            one = load_experiment(path)
        except ExperimentError as error:
            mistakes += error.mistakes
            continue
        if one.id in files:
            mistakes.append(f"{path}: id: expected another for each file, got {one.id}, as in {files[one.id]}")
        files[one.id] = path
        found.append(one)
    if mistakes:
        raise ExperimentError(mistakes)
    return found


def load_experiment(path: Path) -> wire.Definition:
    """Read one definition, as `load_experiments` does.

    Raises:
        ExperimentError: with every mistake.
    """
    try:
        draft = Draft(read_toml(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ExperimentError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ExperimentError([f"{path}: expected UTF-8"]) from None
    except ValueError as error:
        raise ExperimentError([f"{path}: expected TOML: {error}"]) from None
    prune(draft, Experiment)
    experiment = check(draft, Experiment)
    _check_phases(draft)
    _check_ramps(draft)
    _check_metrics(draft)
    _check_names(draft)
    _check_size(draft)
    if draft.mistakes or experiment is None:
        raise ExperimentError([f"{path}: {line}" for line in draft.lines()])
    return _definition(experiment)


# What concerns several keys is asked of the table as it was read, and only of what is readable: so these mistakes are
# told together with those of single keys, and none is told twice.


def _check_phases(draft: Draft) -> None:
    variations, before = draft.data.get("variations"), None
    end = _moment(draft.data.get("end"))
    if draft.data.get("phases") == []:
        draft.add(("phases",), "expected at least one, got none")
    for at, phase in _tables(draft.data, "phases"):
        start, weights = _moment(phase.get("start")), phase.get("weights")
        if start is not None and start.timestamp() < 0:
            draft.add(("phases", at, "start"), f"expected a time from 1970 on, got {_shown(start)}")
        if start is not None and before is not None and start <= before:
            draft.add(
                ("phases", at, "start"), f"expected later than the phase before, {_shown(before)}, got {_shown(start)}"
            )
        if start is not None and end is not None and start >= end:
            draft.add(("phases", at, "start"), f"expected before the end, {_shown(end)}, got {_shown(start)}")
        before = start or before
        if not isinstance(weights, list) or not all(_is_share(one) for one in weights):
            continue
        if isinstance(variations, list) and len(weights) != len(variations):
            what = f"expected one for each of {len(variations)} variations, got {len(weights)}"
            draft.add(("phases", at, "weights"), what)
        elif abs(sum(weights) - 1.0) > 1e-6:
            draft.add(("phases", at, "weights"), f"expected a sum of 1, got {sum(weights):g}")


def _check_ramps(draft: Draft) -> None:
    """While not all units are in, weights stay as they are: a growing arm would get units that were never in.

    Units that were in before do not count again, so in the new phase the growing arm would have more new ones, and the
    others the rare ones of those who were in: neither the shares nor the kinds of units would be those of the weights.
    """
    variations = draft.data.get("variations")
    arms = len(variations) if isinstance(variations, list) else 0
    before: tuple[float, list[float]] | None = None
    for at, phase in _tables(draft.data, "phases"):
        coverage, weights = phase.get("coverage", 1.0), phase.get("weights", [1.0 / arms] * arms if arms else None)
        if not _is_share(coverage) or not isinstance(weights, list) or not weights or not all(map(_is_share, weights)):
            before = None
            continue
        if before is not None and min(before[0], coverage) < 1.0 and _grows_unevenly(before[1], weights):
            draft.add(
                ("phases", at, "weights"),
                "expected the weights of the phase before, as long as coverage is below 1: raise it to 1 first, then "
                "change weights in a phase of its own",
            )
        before = (coverage, weights)


def _grows_unevenly(before: list[float], after: list[float]) -> bool:
    """Return whether variations that go on do so in other shares among themselves, or a new one joins."""
    if len(before) != len(after):
        return False  # a mistake of its own
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if new > 0.0]
    if any(old == 0.0 for old, _ in pairs):
        return True
    scales = [new / old for old, new in pairs]
    return max(scales, default=1.0) - min(scales, default=1.0) > 1e-6


def _check_metrics(draft: Draft) -> None:
    for path, metric in _metrics(draft.data):
        kind = metric.get("kind")
        divides = [key for key in ("denominator", "denominator_event") if metric.get(key) is not None]
        if kind == "ratio" and not divides:
            draft.add(path, 'a ratio needs what to divide by: set "denominator" or "denominator_event"')
        if kind in ("mean", "proportion"):
            surplus = [*divides, *(key for key in ("value", "cap") if kind == "proportion" and key in metric)]
            for key in surplus:
                draft.add((*path, key), f"a {kind} has none")
        where = metric.get("where")
        for field, values in where.items() if isinstance(where, dict) else ():
            if not _are_values(values if isinstance(values, list) else [values]):
                what = "expected a string, a number, true or false, or a list of these, got something else"
                draft.add((*path, "where", field), what)


def _check_size(draft: Draft) -> None:
    metrics, data = 1 + len(list(_metrics(draft.data))), draft.data
    phases, arms = (len(each) if isinstance(each := data.get(name), list) else 0 for name in ("phases", "variations"))
    if metrics * phases * arms > MOST_ARMS:
        draft.add((), f"expected at most {MOST_ARMS} metrics x phases x variations, got {metrics * phases * arms}")


def _check_names(draft: Draft) -> None:
    variations = draft.data.get("variations")
    if isinstance(variations, list):
        if len(variations) < 2:
            draft.add(("variations",), f"expected at least two, got {len(variations)}")
        for name in _repeated(variations):
            draft.add(("variations",), f"expected each once, got {name} again")
    for path, metric in _metrics(draft.data):
        if metric.get("name") == RISK:
            draft.add((*path, "name"), f"expected another, {RISK} is Tidegate's own")
    for name in _repeated([metric.get("name") for _, metric in _metrics(draft.data)]):
        paths = [path for path, metric in _metrics(draft.data) if metric.get("name") == name]
        draft.add((*paths[-1], "name"), f"expected another for each metric, got {name} again")
    space = draft.data.get("namespace")
    if isinstance(space, dict):
        first, end = space.get("first", ALL_UNITS[0]), space.get("end", ALL_UNITS[1])
        if _is_share(first) and _is_share(end) and first >= end:
            draft.add(("namespace", "end"), f"expected > first, {first}, got {end}")


def _tables(data: Table, name: str) -> Iterator[tuple[int, Table]]:
    found = data.get(name)
    for at, one in enumerate(found if isinstance(found, list) else ()):
        if isinstance(one, dict):
            yield at, one


def _metrics(data: Table) -> Iterator[tuple[tuple[str | int, ...], Table]]:
    if isinstance(primary := data.get("primary"), dict):
        yield ("primary",), primary
    for name in ("secondary", "guardrails"):
        for at, one in _tables(data, name):
            yield (name, at), one


def _repeated(values: list[Any]) -> list[str]:
    return [name for name, count in Counter(one for one in values if isinstance(one, str)).items() if count > 1]


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _are_values(values: list[Any]) -> bool:
    return bool(values) and all(
        isinstance(one, str) or (isinstance(one, int | float) and math.isfinite(one)) for one in values
    )


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo is not None else None


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def milliseconds(moment: datetime) -> int:
    """Return epoch milliseconds, cut."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution * 1_000)


def _definition(of: Experiment) -> wire.Definition:
    space, arms = of.namespace, len(of.variations)
    return wire.Definition(
        id=of.id,
        version=1,
        timestamp=0,
        seed=of.seed or of.id,
        variations=of.variations,
        phases=tuple(
            wire.Phase(
                start=milliseconds(one.start), coverage=one.coverage, weights=one.weights or (1.0 / arms,) * arms
            )
            for one in of.phases
        ),
        primary=_metric(of.primary),
        alpha=of.alpha,
        tuning_n=of.tuning_n,
        attribution_window_s=of.attribution_window_s,
        minimum_run_s=of.minimum_run_s,
        mde=of.mde,
        cuped=of.cuped,
        pre_period_s=of.pre_period_s,
        secondary=tuple(map(_metric, of.secondary)),
        guardrails=tuple(
            wire.Guardrail(metric=_metric(one), margin=one.margin, margin_of=one.margin_of) for one in of.guardrails
        ),
        hash_version=of.hash_version,
        namespace=space.name if space else None,
        namespace_first=space.first if space else ALL_UNITS[0],
        namespace_end=space.end if space else ALL_UNITS[1],
        end=milliseconds(of.end) if of.end else None,
        description=of.description,
    )


def _metric(of: Metric) -> wire.Metric:
    where = {path: tuple(one) if isinstance(one, list) else (one,) for path, one in of.where.items()}
    fields = {name: getattr(of, name) for name in wire.Metric.__struct_fields__ if name != "where"}
    return wire.Metric(**fields, where=where)
