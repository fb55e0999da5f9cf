"""The image's recipe, checked without an engine."""

import os
import re
import stat
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from connectors.health import Health
from operators.metrics import Metrics


@pytest.fixture(scope="module")
def instructions(root):
    """Return (instruction, arguments) in order, continued lines joined, comments left out."""
    lines = [line for line in (root / "deploy/Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def of(instructions, name):
    return [arguments for instruction, arguments in instructions if instruction == name]


def last_stage(instructions):
    start = max(at for at, (instruction, _) in enumerate(instructions) if instruction == "FROM")
    return instructions[start:]


def test_there_are_two_stages_and_the_last_installs_nothing(instructions):
    assert len(of(instructions, "FROM")) == 2
    assert not [run for run in of(last_stage(instructions), "RUN") if re.search(r"\b(pip|apt-get|curl|wget)\b", run)]


def test_the_base_image_is_pinned_to_an_exact_version(instructions):
    (image,) = [argument for argument in of(instructions, "ARG") if argument.startswith("PYTHON_IMAGE=")]

    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.12\.\d+-slim-\w+", image)
    assert all(stage.startswith("${PYTHON_IMAGE} AS ") for stage in of(instructions, "FROM"))


def test_nothing_is_added_from_the_net(instructions):
    assert of(instructions, "ADD") == []
    assert not [copy for copy in of(instructions, "COPY") if "://" in copy]


def test_everything_that_pip_fetches_is_held_against_a_hash(instructions):
    installs = [one for run in of(instructions, "RUN") for one in run.split("&&") if "pip install" in one]

    assert installs
    assert all("--require-hashes" in one or "--no-index" in one for one in installs)


def test_what_the_locks_do_not_name_is_never_looked_for(root):
    said = [(root / name).read_text().splitlines() for name in ("Makefile", "deploy/Dockerfile")]
    installs = [line for lines in said for line in lines if "--require-hashes" in line]

    assert len(installs) == 4
    assert all("--no-deps" in line for line in installs)


def test_every_pinned_requirement_has_a_hash(root):
    for name in ("core.lock", "build.lock"):
        requirements = (root / "requirements" / name).read_text().replace("\\\n", " ").splitlines()
        pinned = [line for line in requirements if "==" in line and not line.lstrip().startswith("#")]
        assert pinned
        assert all("--hash=sha256:" in line for line in pinned), name


def test_it_runs_as_a_numbered_user_that_is_not_root(instructions):
    (user,) = of(last_stage(instructions), "USER")

    assert all(int(number) >= 1000 for number in user.split(":"))


def test_the_installed_files_do_not_belong_to_that_user(instructions):
    assert not [copy for copy in of(instructions, "COPY") if "--chown" in copy]


def test_it_has_a_health_check_on_healthz_without_further_programs(instructions):
    (check,) = of(last_stage(instructions), "HEALTHCHECK")

    assert '"python", "-c"' in check
    assert "/healthz" in check


@pytest.mark.parametrize(("age_s", "healthy"), [(1, True), (11, False)])
def test_the_health_checks_python_says_what_the_server_says(instructions, age_s, healthy):
    program = re.search(r'CMD \["python", "-c", "(.*)"\]', of(instructions, "HEALTHCHECK")[0])[1]
    now = 0.0
    with Health(Metrics(CollectorRegistry()), stuck_after_s=10, clock=lambda: now) as health:
        _, port = health.serve("127.0.0.1", 0)
        now += age_s
        environ = {**os.environ, "TIDEGATE_METRICS__PORT": str(port)}
        result = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, check=False)

    assert (result.returncode == 0) == healthy


def test_it_stops_by_sigterm_which_reaches_the_program(instructions, root):
    assert of(instructions, "STOPSIGNAL") == ["SIGTERM"]
    assert of(instructions, "ENTRYPOINT") == ['["entrypoint.sh"]']  # the list form: no shell in between
    assert (root / "deploy/entrypoint.sh").read_text().rstrip().endswith('exec tidegate "$@"')


def test_the_loops_are_compiled_at_build_for_any_processor_and_found_at_run(instructions):
    build, run = instructions[: -len(last_stage(instructions))], last_stage(instructions)

    for stage in (build, run):
        settings = " ".join(of(stage, "ENV"))
        assert "NUMBA_CPU_NAME=generic" in settings
        assert "NUMBA_DISABLE_INTEL_SVML=1" in settings
    assert any("tidegate compile" in command for command in of(build, "RUN"))


def test_every_file_that_is_copied_exists_and_is_let_through(instructions, root):
    ignored = (root / ".dockerignore").read_text().splitlines()
    let_through = [line[1:].rstrip("/") for line in ignored if line.startswith("!")]
    for copy in of(instructions, "COPY"):
        words = [word for word in copy.split() if not word.startswith("--")]
        if "--from=" in copy:
            continue
        for source in words[:-1]:
            assert (root / source).exists(), source
            assert any((root / source).match(f"**/{pattern}") for pattern in let_through), source


def test_the_context_leaves_out_everything_that_is_not_named(root):
    lines = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert lines[0] == "*"


@pytest.fixture
def image(root, tmp_path):
    """A directory in place of the image's root, with a `tidegate` that shows what reached it."""
    cache = tmp_path / "opt" / "numba-cache"
    cache.mkdir(parents=True)
    (cache / "loop.nbc").write_text("compiled")
    program = tmp_path / "bin" / "tidegate"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho $$ "$@"\n')
    program.chmod(0o755)
    script = tmp_path / "entrypoint.sh"
    script.write_text((root / "deploy/entrypoint.sh").read_text().replace("/opt/tidegate", str(tmp_path / "opt")))
    return tmp_path


def start(image, *arguments):
    environ = {"PATH": f"{image / 'bin'}:{os.environ['PATH']}", "NUMBA_CACHE_DIR": str(image / "tmp-cache")}
    with subprocess.Popen(["sh", image / "entrypoint.sh", *arguments], env=environ, stdout=subprocess.PIPE) as process:
        return process.pid, process.communicate()[0].decode().split()


def test_the_entry_point_copies_the_cache_and_becomes_the_program(image):
    pid, shown = start(image, "run", "risk")

    assert (image / "tmp-cache/loop.nbc").read_text() == "compiled"
    assert shown == [str(pid), "run", "risk"]  # the same process: signals reach it


def test_the_entry_point_keeps_a_cache_that_is_there(image):
    (image / "tmp-cache").mkdir()
    start(image, "run")

    assert list((image / "tmp-cache").iterdir()) == []


def test_the_entry_point_can_be_executed(root):
    assert (root / "deploy/entrypoint.sh").stat().st_mode & stat.S_IXUSR
