"""The tree says what the code does: one word for a stage everywhere, in one order, in files that fit on few screens."""

import itertools
import re
import subprocess
import sys

import pytest
from bytewax.testing import TestingSink, TestingSource
from stages import STAGES

import operators
from flows.risk import build
from flows.settings import Settings, with_key

LONGEST = 400
PACKAGES = ("connectors", "experiments", "flows", "operators", "ranking", "schemas", "training")
CODE = (*PACKAGES, "benchmarks", "tests")


@pytest.fixture(scope="module")
def flow():
    return build(with_key(Settings(), bytes(range(32))), TestingSource([]), TestingSink([]))


def names(flow):
    return [step.step_id.removeprefix(f"{flow.flow_id}.") for step in flow.substeps]


def listed(docstring):
    """Return the names that a docstring lists, one per indented line."""
    return re.findall(r"^ {4}(\w+) {2,}\S", docstring, re.MULTILINE)


def too_long(sizes):
    return {path: lines for path, lines in sizes.items() if lines > LONGEST}


def untested(stages, files):
    """Return the stages without a test file of their name, or a folder of their name with one."""
    return [
        stage
        for stage in stages
        if not any(re.fullmatch(rf"tests/operators/({stage}/test_\w+|test_{stage})\.py", path) for path in files)
    ]


def test_the_steps_of_the_flow_are_the_stages_in_the_order_of_operators(flow):
    assert names(flow)[1:-1] == operators.__all__


def test_the_flow_begins_with_its_source_and_ends_with_its_one_sink(flow):
    kinds = [type(step).__name__ for step in flow.substeps]

    assert (kinds[0], kinds[-1], kinds.count("output")) == ("input", "output", 1)


def test_each_step_reads_what_the_step_before_it_says(flow):
    links = [(before.down.stream_id, after.up.stream_id) for before, after in itertools.pairwise(flow.substeps)]

    assert [said for said, _ in links] == [read for _, read in links]


def test_the_docstring_of_operators_lists_the_stages_in_the_same_order():
    assert listed(operators.__doc__) == operators.__all__


def test_the_registry_of_the_laws_holds_every_stage():
    assert list(STAGES) == operators.__all__


@pytest.mark.parametrize("stage", operators.__all__)
def test_a_stage_is_one_file_or_one_folder_of_its_name(repository, stage):
    file, folder = repository / "operators" / f"{stage}.py", repository / "operators" / stage / "__init__.py"

    assert file.is_file() != folder.is_file()


def test_every_stage_has_tests_of_its_name(repository):
    files = [path.relative_to(repository).as_posix() for path in (repository / "tests").rglob("*.py")]

    assert untested(operators.__all__, files) == []


def test_no_module_is_longer_than_the_limit(repository):
    paths = [path for folder in CODE for path in (repository / folder).rglob("*.py")]
    sizes = {path.relative_to(repository).as_posix(): len(path.read_text().splitlines()) for path in paths}

    assert too_long(sizes) == {}


def test_no_two_test_files_share_a_name(repository):
    """Pytest imports test files by their bare name: of two that share one it would run one, or fail."""
    found = sorted(path.name for path in (repository / "tests").rglob("test_*.py"))

    assert [name for name, other in itertools.pairwise(found) if name == other] == []


def test_the_list_of_stages_can_be_read_without_loading_numba():
    code = "import operators, sys; sys.exit(bool({'numba', 'numpy', 'bytewax'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_module_of_one_line_too_many_is_found():
    assert too_long({"operators/a.py": LONGEST, "operators/b.py": LONGEST + 1}) == {"operators/b.py": LONGEST + 1}


def test_a_stage_without_tests_is_found():
    files = ["tests/operators/test_tier.py", "tests/operators/score/test_forest.py", "tests/flows/test_rank.py"]

    assert untested(["tier", "score", "rank"], files) == ["rank"]


def test_no_script_hides_a_package(repository):
    """A script's folder comes first on its path: one named `experiments.py` would hide the package from all others."""
    packages = {path.parent.name for path in repository.glob("*/__init__.py")}
    scripts = {path.stem for folder in ("benchmarks", "examples") for path in (repository / folder).glob("*.py")}

    assert scripts & packages == set()
