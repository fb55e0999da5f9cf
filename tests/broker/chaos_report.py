"""What a chaos run found, as JSON and as a table."""

import json
import statistics
from collections import Counter
from dataclasses import asdict, dataclass, field

from chaos_actors import Takeover
from chaos_plan import Plan
from chaos_verdict import Verdict


@dataclass
class Result:
    """One run.

    Attributes:
        plan: what was to go wrong.
        session_ms: the group's session time-out; None for the product's own.
        without: what a saboteur had taken out.
        done: what did go wrong, by kind.
        counts: what became of processes, and what they logged.
        takeovers: partitions that changed hands.
        verdict: on what was read.
        doubled_input: input records that the publisher's client stored twice; answered like any other.
        missing_input: records that the publisher's client was told are stored, and a killed broker did not keep.
        problems: what no run may show, whatever was read.
        notes: what was left out, and why.
        seconds: the whole run took.
        command: that makes the same plan again.
        logs: where they lie.
    """

    plan: Plan
    session_ms: int | None = None
    without: str | None = None
    done: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    takeovers: list[Takeover] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    doubled_input: int = 0
    missing_input: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    command: str = ""
    logs: str = ""

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return self.verdict.kept and not self.problems


@dataclass(frozen=True)
class Times:
    """Seconds from a fault to the successor's first answers, by partition; alone: no other fault came between."""

    alone: int
    median_s: float | None
    worst_s: float | None
    overlapped: int
    overlapped_median_s: float | None
    overlapped_worst_s: float | None
    unseen: int


def times(takeovers: list[Takeover], cause: str) -> Times:
    """Sum up the take-overs after one kind of fault."""
    ours = [each for each in takeovers if each.cause == cause]
    seen = [each for each in ours if each.seconds is not None]
    alone = [each.seconds for each in seen if not each.overlapped]
    overlapped = [each.seconds for each in seen if each.overlapped]
    return Times(
        len(alone), *_median_and_worst(alone),
        len(overlapped), *_median_and_worst(overlapped),
        len(ours) - len(seen),
    )  # fmt: skip


def _median_and_worst(seconds: list[float]) -> tuple[float | None, float | None]:
    if not seconds:
        return None, None
    return round(statistics.median(seconds), 2), round(max(seconds), 2)


CAUSES = {"kill": "kill -9", "term": "SIGTERM", "stall": "stalled (SIGSTOP)"}


def figures(result: Result) -> dict[str, int]:
    """Everything that is counted, by the words of the table."""
    done, counts, verdict = result.done, result.counts, result.verdict
    return {
        "input records": verdict.expected,
        "of these stored twice by the publisher's client": result.doubled_input,
        "told to the publisher's client as stored, and not in the log": result.missing_input,
        **{f"answers on {topic}": count for topic, count in verdict.found.items()},
        "kill -9 of a process": done["kill"],
        "of these while one started": done["kill.starting"],
        "of these while one restored": done["kill.restoring"],
        "of these right after a commit": done["kill.committed"],
        "processes added or removed": done["rescale"],
        "owners stalled beyond their session": done["stall"],
        "of these woken after a successor had committed": done["woken_after_a_successor_committed"],
        "broker killed (kill -9)": done["broker_kill"],
        "broker stalled 1-4 s": done["broker_slow"],
        "snapshot store full": done["store_full"],
        "snapshots not stored, and made up for later": counts["log.snapshot_not_stored"],
        "faults that had nobody to hit": sum(count for kind, count in done.items() if kind.startswith("skipped.")),
        "restarts": counts["restarts"],
        "ended by the watchdog": counts["ended.watchdog"],
        "start-ups failed while the broker was away": counts["ended.startup"],
        "former owners fenced": counts["log.fencing"],
        "began again after a doubt": counts["log.starting_again_from_what_is_committed"],
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "out of order": verdict.disordered,
        "foreign": verdict.foreign,
        "records differing from the undisturbed run": verdict.differing,
        "users miscounted": verdict.miscounted,
        "partitions not committed to the end": verdict.uncommitted,
        "other problems": len(result.problems),
    }


def as_json(result: Result) -> str:
    """Everything, for machines."""
    return json.dumps(
        {
            "kept": result.kept,
            "seed": result.plan.seed,
            "command": result.command,
            "session_ms": result.session_ms,
            "without": result.without,
            "seconds": round(result.seconds, 1),
            "compared": result.verdict.compared,
            "figures": figures(result),
            "takeover_s": {cause: asdict(times(result.takeovers, cause)) for cause in CAUSES},
            "counts": dict(sorted(result.counts.items())),
            "examples": result.verdict.examples,
            "problems": result.problems,
            "notes": result.notes,
            "logs": result.logs,
        },
        indent=2,
    )


def as_markdown(result: Result) -> str:
    """The table, and below it what went wrong and how to have it again."""
    session = f"{result.session_ms} ms, shortened for the test" if result.session_ms else "as shipped"
    title = f"Chaos, seed {result.plan.seed}: {'kept' if result.kept else 'BROKEN'}, {result.seconds:.0f} s"
    lines = [
        f"{title}; session time-out {session}, a snapshot every second.",
        "",
        "| what | how often |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in figures(result).items()),
        "",
        "| take-over after | alone: partitions | median s | worst s | overlapped | median s | worst s | not seen |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cause, name in CAUSES.items():
        found = asdict(times(result.takeovers, cause))
        lines.append(f"| {name} | {' | '.join('-' if each is None else str(each) for each in found.values())} |")
    lines += ["", "Overlapped: another fault happened before the successor had answered.", ""]
    lines += [f"Note: {note}." for note in result.notes]
    if not result.kept:
        lines += [*(f"- {problem}" for problem in result.problems)]
        lines += [f"- {fault}: {'; '.join(examples)}" for fault, examples in result.verdict.examples.items()]
        lines += ["", f"The same plan again: `{result.command}`", f"Logs: {result.logs}"]
    return "\n".join(lines) + "\n"
