"""What goes wrong in a chaos run, and when: a pure function of a seed, so that a run can be had again.

A plan names moments and draws, not processes: who is hit is decided when it happens, among those who are there.
"""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "kill", "rescale", "stall", "broker_kill", "broker_start", "broker_slow", "broker_quick", "store_full", "store_free"
]  # fmt: skip
Moment = Literal["any", "starting", "restoring", "committed", "prepared"]

PARTITIONS = 4
MOMENTS: tuple[Moment, ...] = ("any", "starting", "restoring", "committed")
_SHARE = (4, 2, 2, 2)
"""How often each moment of a kill is drawn, out of ten."""

CALM_S = 3.0
"""Before the first fault: everything runs."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How many of each; a kill is a kill -9 of one process of the flow."""

    kills: int = 0
    rescales: int = 0
    zombies: int = 0
    broker_deaths: int = 0
    slow_brokers: int = 0
    full_stores: int = 0

    @property
    def total(self) -> int:
        return (
            self.kills + self.rescales + self.zombies + self.broker_deaths + self.slow_brokers + self.full_stores
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done.

    Attributes:
        at_s: seconds after the start; later when an earlier step took longer.
        kind: what.
        draw: in [0, 1): which of those whom it can hit.
        moment: of a kill: at once; while a process starts; while one restores; right after a commit. Of a stall: at
            once; or while outputs are prepared in a transaction, half a second after the last one was committed.
        processes: of a rescale: how many there shall be.
        lasts_s: of a stall: how long.
    """

    at_s: float
    kind: Kind
    draw: float = 0.0
    moment: Moment = "any"
    processes: int = 0
    lasts_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run: how many processes begin, and the steps in order of time."""

    seed: int
    processes: int
    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """When the last step is due."""
        return self.steps[-1].at_s if self.steps else 0.0

    def counts(self) -> Counter[str]:
        """Count the steps by kind."""
        return Counter(step.kind for step in self.steps)


def make_plan(seed: int, faults: Faults, *, session_s: float = 2.0, gap_s: float = 4.0) -> Plan:
    """Draw a plan.

    Args:
        seed: decides everything.
        faults: how many of each.
        session_s: the group's session time-out; who is stalled for longer is taken for dead.
        gap_s: mean seconds between two faults; the last of a burst has longer, so that take-overs can be measured.
    """
    rng = random.Random(seed)
    processes = begin = rng.randint(2, PARTITIONS)
    left = Counter(
        {
            "kill": faults.kills,
            "rescale": faults.rescales,
            "stall": faults.zombies,
            "broker_kill": faults.broker_deaths,
            "broker_slow": faults.slow_brokers,
            "store_full": faults.full_stores,
        }
    )
    steps: list[Step] = []
    at_s = CALM_S
    while left.total():
        # A zombie needs a successor: with a single process nobody would take over from it.
        kinds = [kind for kind in left if left[kind] and (kind != "stall" or processes > 1)]
        kind = rng.choices(kinds, [left[each] for each in kinds])[0]
        left[kind] -= 1
        moment: Moment = rng.choices(MOMENTS, _SHARE)[0] if kind == "kill" else "any"
        if moment in ("starting", "restoring") and steps and steps[-1].kind == "kill":
            # Close upon another kill, when its victim is starting again; else there is nobody to be hit so.
            at_s = steps[-1].at_s + rng.uniform(0.1, 3.0)
        match kind:
            case "kill":
                steps.append(Step(at_s, "kill", rng.random(), moment))
            case "rescale":
                lonely = left["stall"] > 0 and left["rescale"] == 0
                processes = _other(rng, processes, least=2 if lonely else 1)
                steps.append(Step(at_s, "rescale", rng.random(), processes=processes))
            case "stall":
                # Beyond the session; some beyond the transaction time-out as well.
                lasts_s = session_s + rng.uniform(2.0, 10.0)
                steps.append(Step(at_s, "stall", rng.random(), lasts_s=lasts_s))
            case "broker_kill":
                down_s = rng.uniform(0.0, 4.0)
                steps += [Step(at_s, "broker_kill"), Step(at_s + down_s, "broker_start")]
                at_s += down_s + 2 * gap_s
            case "broker_slow":
                slow_s = rng.uniform(1.0, 4.0)
                steps += [Step(at_s, "broker_slow"), Step(at_s + slow_s, "broker_quick")]
                at_s += slow_s
            case "store_full":
                full_s = rng.uniform(2.0, 6.0)
                steps += [Step(at_s, "store_full"), Step(at_s + full_s, "store_free")]
        at_s += gap_s * rng.uniform(0.3, 1.7)
    return Plan(seed, begin, tuple(sorted(steps, key=lambda step: step.at_s)))


def _other(rng: random.Random, processes: int, least: int) -> int:
    """Another number of processes, 1 to one more than there are partitions."""
    return rng.choice([number for number in range(least, PARTITIONS + 2) if number != processes])
