"""What all tests share: helpers of tests/operators importable by name, and Hypothesis without chance or clock."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]

# `streams`, `cutting` and `laws` serve the tests of other folders too.
sys.path.insert(0, str(REPOSITORY / "tests" / "operators"))

# The same examples in every run, so that a red build is red again; a first call may compile, so no deadline.
settings.register_profile("tidegate", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("tidegate")


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
