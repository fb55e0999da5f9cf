"""What all tests share: helpers of tests/operators importable by name, and Hypothesis without chance or clock."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from side_by_side import file_of, groups, scheduler

REPOSITORY = Path(__file__).resolve().parents[1]

# `streams`, `cutting` and `laws` serve the tests of other folders too.
sys.path.insert(0, str(REPOSITORY / "tests" / "operators"))

# The same examples in every run, so that a red build is red again; a first call may compile, so no deadline.
settings.register_profile("tidegate", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("tidegate")


def pytest_collection_modifyitems(items):
    """Put the tests in the order in which they are dealt out, if several processes run them side by side."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes > 1:
        files = {item: file_of(item.nodeid) for item in items}
        order = {file: place for place, file in enumerate(groups(list(dict.fromkeys(files.values())), processes))}
        items.sort(key=lambda item: order[files[item]])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Deal out as tests/side_by_side.py says, where files are asked to stay whole."""
    return scheduler(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data():
    """Return a function: the path of a real data set, none of which is part of the project.

    In CI one that is missing fails the test; elsewhere it skips it, and says where it was looked for.
    """

    def path(*parts: str) -> Path:
        inside = Path("shared", "data", *parts)
        found = next((at for up in REPOSITORY.parents[:3] if (at := up / inside).exists()), None)
        if found is None:
            assert not os.environ.get("CI"), f"expected {inside} beside the repository, got nothing"
            pytest.skip(f"{inside} is not beside the repository; it is not part of the project")
        return found

    return path
