"""What all tests share: helpers of tests/operators importable by name, and Hypothesis without chance or clock."""

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
