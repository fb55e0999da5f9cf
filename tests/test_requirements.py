"""The locks: every package pinned and hashed, no registry named, and nothing at odds with pyproject.toml."""

import re
import tomllib

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("core.lock", "evaluate.lock", "uplift.lock", "notebooks.lock", "dev.lock", "build.lock")
PYTHONS = ("3.11.9", "3.12.4")


def read_lock(text):
    """Return the requirements of a lock and the hashes of each."""
    lines = text.replace("\\\n", " ").splitlines()
    entries = [line for line in lines if line.strip() and not line.startswith("#")]
    return [
        (Requirement(entry.partition(" --hash=")[0].strip()), re.findall(r"--hash=(\S+)", entry)) for entry in entries
    ]


def pins(lock, python, platform):
    """Return package -> version of what a lock installs on one Python."""
    environment = default_environment() | {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": platform,
    }
    chosen = [need for need, _ in lock if need.marker is None or need.marker.evaluate(environment)]
    names = [canonicalize_name(need.name) for need in chosen]
    assert len(names) == len(set(names)), "a package is pinned twice for one environment"
    return {name: next(iter(need.specifier)).version for name, need in zip(names, chosen, strict=True)}


def unmet(needs, installed):
    """Return the needs that a set of pins does not meet, each with what it found."""
    return [
        f"{need}: {installed.get(canonicalize_name(need.name), 'absent')}"
        for need in needs
        if not need.specifier.contains(installed.get(canonicalize_name(need.name), "0.dev0"), prereleases=False)
    ]


@pytest.fixture
def locks(repository):
    return {name: read_lock((repository / "requirements" / name).read_text()) for name in LOCKS}


@pytest.fixture
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_one_exact_version(locks, name):
    loose = [str(need) for need, _ in locks[name] if [part.operator for part in need.specifier] != ["=="]]

    assert not loose


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_sha256_hashes(locks, name):
    bare = [
        str(need)
        for need, hashes in locks[name]
        if not hashes or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes)
    ]

    assert not bare


@pytest.mark.parametrize("name", [*LOCKS, "build.in"])
def test_no_lock_names_a_registry_or_a_path(repository, name):
    text = (repository / "requirements" / name).read_text()

    assert not re.findall(
        r"^.*(?:://|--index-url|--extra-index-url|--find-links|--trusted-host| @ ).*$", text, re.MULTILINE
    )


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", ["core.lock", "dev.lock"])
def test_the_locks_meet_the_direct_dependencies(locks, project, name, python, platform):
    needs = [Requirement(line) for line in project["project"]["dependencies"]]

    assert not unmet(needs, pins(locks[name], python, platform))


@pytest.mark.parametrize("python", PYTHONS)
def test_the_development_lock_meets_the_development_dependencies(locks, project, repository, python):
    needs = [Requirement(line) for extra in project["project"]["optional-dependencies"].values() for line in extra]
    needs += [Requirement(line) for line in (repository / "requirements" / "build.in").read_text().split()]

    assert not unmet(needs, pins(locks["dev.lock"], python, "linux"))


@pytest.mark.parametrize("lock", ["its own", "dev.lock"])
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extra", ["evaluate", "uplift"])
def test_the_locks_meet_what_an_extra_needs(locks, project, extra, python, lock):
    lock = f"{extra}.lock" if lock == "its own" else lock
    needs = [Requirement(line) for line in project["project"]["dependencies"]]
    needs += [Requirement(line) for line in project["project"]["optional-dependencies"][extra]]

    assert not unmet(needs, pins(locks[lock], python, "linux"))


def test_the_build_lock_meets_the_build_requirements(locks, project, repository):
    needs = [Requirement(line) for line in project["build-system"]["requires"]]
    needs += [Requirement(line) for line in (repository / "requirements" / "build.in").read_text().split()]

    assert not unmet(needs, pins(locks["build.lock"], "3.11.9", "linux"))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", ["core.lock", "evaluate.lock", "uplift.lock", "build.lock"])
def test_tests_run_on_the_versions_that_users_install(locks, name, python):
    development = pins(locks["dev.lock"], python, "linux")

    different = {
        package: (version, development.get(package))
        for package, version in pins(locks[name], python, "linux").items()
        if development.get(package) != version
    }

    assert not different


def test_a_pin_below_what_is_asked_for_is_found():
    assert unmet([Requirement("numpy>=2.0")], {"numpy": "1.26.4"}) == ["numpy>=2.0: 1.26.4"]


def test_a_package_that_is_not_locked_is_found():
    assert unmet([Requirement("PyYAML>=6")], {"pydantic": "2.9"}) == ["PyYAML>=6: absent"]


def test_a_lock_is_read_with_its_markers_and_hashes():
    [(need, hashes)] = read_lock(
        "Rich==15.0.0 ; python_version < '3.12' \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n"
    )

    assert (str(need.marker), str(need.specifier), hashes) == (
        'python_version < "3.12"',
        "==15.0.0",
        ["sha256:ab", "sha256:cd"],
    )
