"""How tests are dealt out where several processes run them side by side: `pytest -n 3 --dist loadfile`.

Each process has a Kafka of its own, once a test asks it for one. So the files that need it are dealt out in one fewer
hands than there are processes, of about the same length: they wait most of their time, and meanwhile the last process
computes what the other files ask for. Files are never split, for what their tests share.
"""

from collections.abc import Iterable, Sequence
from typing import Any

BROKER_S: dict[str, int] = {
    "broker/test_chaos.py": 150,
    "broker/test_side_inputs.py": 100,
    "broker/test_exactly_once.py": 90,
    "broker/test_takeover.py": 70,
    "broker/test_side_inputs_merged.py": 70,
    "broker/test_experiments_flow.py": 60,
    "broker/test_attacks.py": 60,
    "broker/test_stored_snapshots.py": 60,
    "broker/test_replay.py": 60,
    "broker/test_readouts.py": 50,
    "broker/test_side_inputs_refused.py": 50,
    "broker/test_hillstrom.py": 50,
    "broker/test_rekey.py": 40,
    "broker/test_evaluate_topic.py": 40,
    "broker/test_audit.py": 40,
    "broker/test_side_inputs_risk.py": 30,
    "broker/test_commands.py": 30,
    "broker/test_decided.py": 30,
    "broker/test_explanations.py": 30,
    "broker/test_wikiticker.py": 30,
    "broker/test_uplift_topic.py": 20,
    "broker/test_experiments_commands.py": 20,
    "broker/test_doctor.py": 20,
}
"""About how many seconds the files under tests/broker take that take longest, by what they wait for; others are taken
to need `USUAL_S`. Where it is wrong one process ends before the other, and nothing else."""

LONG: tuple[str, ...] = (
    "notebooks/test_notebooks.py",
    "flows/test_demo.py",
    "experiments/test_error_rates.py",
    "training/uplift/test_uplift_estimate.py",
    "ranking/test_betting.py",
    "experiments/test_simulated.py",
    "experiments/test_through_accumulation.py",
    "operators/calibrate/test_calibrate_budgets.py",
    "operators/calibrate/test_calibrate_drift.py",
)
"""Other files that take long, which are begun first, so that nobody waits for one at the end."""

USUAL_S = 5


def file_of(test: str) -> str:
    """Return the file of a test, as a path below `tests`, from pytest's name of it."""
    return test.partition("::")[0].removeprefix("tests/")


def hands(files: Iterable[str], number: int) -> dict[str, int]:
    """Deal files out in so many hands, the longest first and each to the hand that has least; return whose each is."""
    loads = [0] * number
    dealt = {}
    for file in sorted(files, key=lambda file: (-BROKER_S.get(file, USUAL_S), file)):
        least = loads.index(min(loads))
        loads[least] += BROKER_S.get(file, USUAL_S)
        dealt[file] = least
    return dealt


def groups(files: Sequence[str], processes: int) -> dict[str, str]:
    """Return the group of each file, in the order in which groups are begun.

    Args:
        files: paths below `tests`, each once.
        processes: how many run side by side, >= 2.
    """
    broker = [file for file in files if file.startswith("broker/")]
    dealt = hands(broker, max(1, processes - 1))
    found = {file: f"broker-{dealt[file]}" for file in sorted(broker, key=dealt.__getitem__)}
    others = [file for file in files if file not in dealt]
    return found | {
        file: file for file in sorted(others, key=lambda file: LONG.index(file) if file in LONG else len(LONG))
    }


def scheduler(config: Any, log: Any) -> Any:
    """Return what deals out tests by these groups; for pytest-xdist, which is asked for only here."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415

    class ByGroup(LoadScopeScheduling):
        group_of: dict[str, str] | None = None

        def _split_scope(self, nodeid: str) -> str:
            if self.group_of is None:
                files = dict.fromkeys(map(file_of, self.collection))
                self.group_of = groups(list(files), self.numnodes)
            return self.group_of[file_of(nodeid)]

    config.option.loadscopereorder = False  # as they are collected, so in the order of `groups`
    return ByGroup(config, log)
