"""`tidegate experiments show`: the newest readout and decision of an experiment, from the topics."""

import json
from typing import Final, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from connectors.clients import Admin
from experiments.sample_ratio import astray
from flows.cli import OK
from flows.commands import CommandError
from flows.commands._experiment_report import records_about
from flows.commands._shared import cell, counted, err, full_name, out, printable
from flows.commands.watch import when
from flows.settings import Settings
from schemas.readout import Arm, Comparison, Estimate, Interval, Readout, SampleRatio
from schemas.verdict import Verdict

Record = TypeVar("Record")

READOUTS: Final = "experiments.readouts"
DECISIONS: Final = "experiments.decisions"
STYLES: Final = {"continue": "", "ship": "bold green", "stop": "bold red", "broken": "bold white on red"}


def show(settings: Settings, name: str, *, as_json: bool) -> int:
    """Do `tidegate experiments show`.

    Raises:
        CommandError: there is no readout of the experiment, or it cannot be read.
        KafkaException: the broker does not give what it has.
    """
    there = Admin(settings, "experiments").partitions()
    readout = _newest(settings, there, READOUTS, name, Readout)
    if readout is None:
        raise CommandError(
            f"there is no readout of {printable(name)} yet: `tidegate run experiments` and `tidegate run readouts` "
            "make them, once units were exposed"
        )
    verdict = _newest(settings, there, DECISIONS, name, Verdict)
    console = out()
    if as_json:
        found = {"readout": msgspec.to_builtins(readout), "decision": msgspec.to_builtins(verdict)}
        console.file.write(json.dumps(found) + "\n")
        return OK
    write(console, readout, verdict)
    return OK


def write(console: Console, readout: Readout, verdict: Verdict | None) -> None:
    """Write both for people."""
    title = f"{readout.experiment}, version {readout.version}, as of {when(readout.timestamp)} UTC"
    console.print(f"{title}; {counted(len(readout.partitions), 'partition')}")
    if verdict is not None:
        which = f" {verdict.variation}" if verdict.variation else ""
        console.print(f"{verdict.decision}{which}", style=STYLES[verdict.decision], end="")
        console.print(f", since {when(verdict.timestamp)} UTC")
        for reason in verdict.reasons:
            console.print(f"  {printable(reason, 400)}", soft_wrap=True)
    console.print(_comparisons(readout))
    console.print(_ratios(readout))
    if readout.several:
        console.print(f"{100 * readout.several:.3g} % of units were shown several variations; the first counts.")
    for reason, count in sorted(readout.refused.items()):
        console.print(f"not counted: {count:,} {printable(reason)}")
    if not readout.tiers:
        console.print("No risk tiers are read: strata and the share of risky units are not watched.")
    console.print(
        f"Always-valid: at all looks together, {100 * (1 - readout.alpha):.4g} %, each for itself; p likewise. "
        "What decides is said above."
    )


def _comparisons(readout: Readout) -> Table:
    table = Table("metric", "role", "variation", "control", "mean", "units", "lift", "always-valid", "p", "state")
    for each in readout.comparisons:
        one = declared(each, cuped=readout.cuped)
        table.add_row(
            cell(each.metric),
            cell(each.role),
            cell(each.arm.variation),
            cell(_number(each.control.mean)),
            cell(_number(each.arm.mean)),
            cell(_units(each.control, each.arm)),
            cell("" if one is None else _share(one.lift)),
            cell("" if one is None else _interval(one.running_lift)),
            cell("" if one is None else _number(one.p)),
            cell(_state(each)),
        )
    return table


def declared(each: Comparison, *, cuped: bool) -> Estimate | None:
    """Return the declared analysis; without anything known of before it is the unadjusted one."""
    return each.adjusted if cuped and each.adjusted is not None else each.unadjusted


def _state(each: Comparison) -> str:
    if each.state == "warming":
        return "warming: missing " + ", ".join(f"{lack:.4g} {name}" for name, lack in each.missing.items())
    if each.role == "guardrail" and each.bound is not None and each.margin is not None:
        bound, margin = (
            _share(value) if each.margin_of == "relative" else _number(value) for value in (each.bound, each.margin)
        )
        return f"{'held' if each.held else 'not held'}: worse by {bound} at most, margin {margin}"
    if each.role == "risk":
        return f"higher by {_number(each.bound)} at most"
    return each.state


def _ratios(readout: Readout) -> Table:
    table = Table("sample ratio", "counted", "expected", "p, always-valid", "p, one look", "")
    for each in readout.sample_ratio:
        table.add_row(
            cell(each.stratum),
            cell(", ".join(f"{count:,}" for count in each.counts)),
            cell(", ".join(f"{count:,.1f}" for count in each.expected)),
            cell(_number(each.p)),
            cell(_number(each.chi_squared_p)),
            cell(_alarm(each), "bold red"),
        )
    return table


def _alarm(each: SampleRatio) -> str:
    said = "alarm" if each.alarm else ""
    if astray(each):
        return f"alarm: {each.stray:,} in arms of weight 0"
    return f"{said} {each.stray:,} in arms of weight 0".strip() if each.stray else said


def _units(control: Arm, arm: Arm) -> str:
    return f"{control.units:,} / {arm.units:,}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.4g} %"


def _interval(interval: Interval) -> str:
    if interval.lower is None and interval.upper is None:
        return ""
    return f"{_share(interval.lower) or '-'} to {_share(interval.upper) or '-'}"


def _newest(settings: Settings, there: dict[str, int], topic: str, name: str, record: type[Record]) -> Record | None:
    with err().status(f"reading {topic}"):
        value = dict(records_about(settings, there, topic, name)).get(name)
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(
            f"the newest record of {printable(name)} on {full_name(settings, topic)} cannot be read by this version"
        ) from error
