"""Who may import what, and that nothing in operators/, experiments/ or ranking/ reads a clock, chance or Python's hash.

The tests read the sources and name file and line. A rule that is broken here is a promise broken elsewhere: a stage
that reads the clock cannot be replayed, one that imports Kafka cannot be tested without it.
"""

import ast
from pathlib import PurePosixPath

import pytest

OURS = ("connectors", "experiments", "flows", "operators", "ranking", "schemas", "training")

FORBIDDEN = {
    "operators": (
        "bytewax",
        "confluent_kafka",
        "connectors",
        "flows",
        "prometheus_client",
        "secrets",
        "time",
        "uuid",
    ),
    "connectors": ("flows",),
    "experiments": (
        "bytewax",
        "confluent_kafka",
        "connectors",
        "flows",
        "prometheus_client",
        "scipy",
        "secrets",
        "time",
        "uuid",
    ),
    "ranking": (
        "bytewax",
        "confluent_kafka",
        "connectors",
        "flows",
        "prometheus_client",
        "scipy",
        "secrets",
        "time",
        "uuid",
    ),
    "training": ("bytewax", "confluent_kafka", "connectors", "flows", "prometheus_client"),
    "schemas": ("bytewax", "confluent_kafka", "connectors", "flows", "operators", "prometheus_client"),
}
"""Folder -> modules that no file in it may import. SciPy is in no core requirement; it serves the tests."""

PURE = ("experiments", "operators", "ranking")
"""Folders whose code says the same in every run."""

ALLOWED = {
    "operators/stage.py": ("bytewax", "time"),  # the thin operator; the time of a batch, for the metric alone
    "operators/metrics.py": ("prometheus_client",),
}
"""File -> what it may import all the same."""

CLOCKS = {"now", "utcnow", "today", "monotonic", "perf_counter", "time_ns", "urandom", "getrandbits"}
"""Methods that read a clock or chance, whatever they are called on."""

SEEDED = {"Generator", "PCG64", "Philox", "Random", "SeedSequence", "default_rng"}
"""What may be taken from `random` and `numpy.random`; each call with arguments, so with a seed."""


def imported(node):
    """Return the modules that a statement imports, by their full names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    if isinstance(node, ast.Call) and dotted(node.func) in {"__import__", "importlib.import_module"}:
        return [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
    return []


def dotted(node):
    """Return `a.b.c` for an attribute of an attribute of a name, otherwise an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def trespasses(path, source):
    """Return what a file does that its place forbids, as `file:line: what`."""
    folder = PurePosixPath(path).parts[0]
    allowed = ALLOWED.get(path, ())
    found = []
    for node in ast.walk(ast.parse(source)):
        for module in imported(node):
            root = module.partition(".")[0]
            if root in FORBIDDEN.get(folder, ()) and root not in allowed:
                found.append((node.lineno, f"imports {module}"))
        if folder in PURE and isinstance(node, ast.ImportFrom):
            found += [(node.lineno, what) for what in hidden(node)]
        if folder in PURE and isinstance(node, ast.Call):
            found += [(node.lineno, what) for what in impure(node, allowed)]
    return [f"{path}:{line}: {what}" for line, what in sorted(found)]


def hidden(statement):
    """Say what a `from` import brings in under a name that the other rules cannot see through."""
    if statement.level:
        yield "imports by a relative name"
    if statement.module in {"random", "numpy.random"}:
        yield from (f"imports {alias.name} from {statement.module}" for alias in statement.names)


def impure(call, allowed):
    """Say what a call reads that differs from run to run."""
    name = dotted(call.func)
    last = name.rpartition(".")[2]
    if name == "hash":
        yield "calls hash(), which is salted for str"
    elif last in CLOCKS and not (last == "perf_counter" and "time" in allowed):
        yield f"calls {name}()"
    elif "random" in name.split(".")[:-1] and last not in SEEDED:
        yield f"calls {name}(), which draws from a hidden state"
    elif last in SEEDED and not (call.args or call.keywords):
        yield f"calls {name}() without a seed"


def sources(repository, folder):
    """Return path -> source of every module in one of our packages."""
    return {
        path.relative_to(repository).as_posix(): path.read_text()
        for path in sorted((repository / folder).rglob("*.py"))
    }


@pytest.mark.parametrize("folder", OURS)
def test_no_module_does_what_its_folder_forbids(repository, folder):
    found = [line for path, source in sources(repository, folder).items() for line in trespasses(path, source)]

    assert not found, "\n".join(found)


def test_only_files_that_exist_are_excepted(repository):
    assert [path for path in ALLOWED if not (repository / path).is_file()] == []


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        (
            "operators/score/forest.py",
            "import numpy\nimport bytewax.operators as op\n",
            ":2: imports bytewax.operators",
        ),
        ("operators/score/forest.py", "from confluent_kafka import Consumer\n", ":1: imports confluent_kafka"),
        ("operators/stage.py", "import confluent_kafka\n", ":1: imports confluent_kafka"),
        ("operators/tier.py", "def f():\n    import prometheus_client\n", ":2: imports prometheus_client"),
        ("operators/metrics.py", "from bytewax import dataflow\n", ":1: imports bytewax"),
        ("operators/tier.py", "from flows.settings import Settings\n", ":1: imports flows.settings"),
        ("operators/tier.py", "import importlib\nimportlib.import_module('time')\n", ":2: imports time"),
        ("operators/tier.py", "import time\n", ":1: imports time"),
        ("operators/tier.py", "from random import random\n", ":1: imports random from random"),
        ("operators/tier.py", "import random\nx = random.random()\n", ":2: calls random.random()"),
        ("operators/tier.py", "import random\nx = random.Random()\n", ":2: calls random.Random() without a seed"),
        ("operators/tier.py", "from .encode import Encode\n", ":1: imports by a relative name"),
        ("operators/tier.py", "import datetime as d\nx = d.datetime.now(d.UTC)\n", ":2: calls d.datetime.now()"),
        ("operators/tier.py", "x = date.today()\n", ":1: calls date.today()"),
        ("operators/tier.py", "x = os.urandom(8)\n", ":1: calls os.urandom()"),
        ("operators/tier.py", "x = 1\ny = hash('a')\n", ":2: calls hash()"),
        ("operators/tier.py", "x = np.random.normal()\n", ":1: calls np.random.normal()"),
        ("operators/tier.py", "np.random.seed(1)\n", ":1: calls np.random.seed()"),
        ("operators/tier.py", "rng = np.random.default_rng()\n", ":1: calls np.random.default_rng() without a seed"),
        ("connectors/source.py", "from flows import risk\n", ":1: imports flows"),
        ("experiments/srm.py", "from scipy.special import gammaln\n", ":1: imports scipy.special"),
        ("experiments/srm.py", "x = np.random.normal()\n", ":1: calls np.random.normal()"),
        ("ranking/fair.py", "from scipy.stats import binom\n", ":1: imports scipy.stats"),
        ("ranking/rates.py", "import time\n", ":1: imports time"),
        ("ranking/rates.py", "x = np.random.normal()\n", ":1: calls np.random.normal()"),
        ("schemas/event.py", "from operators.batches import TIERS\n", ":1: imports operators.batches"),
    ],
)
def test_a_trespass_is_found_with_file_and_line(path, source, complaint):
    [found] = trespasses(path, source)

    assert found.startswith(path + complaint)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("operators/stage.py", "import bytewax.operators as op\nfrom time import perf_counter\nperf_counter()\n"),
        ("operators/metrics.py", "from prometheus_client import Counter\n"),
        ("operators/score/forest.py", "import random\nrng = random.Random(7)\nrng.choices([1, 2])\n"),
        ("operators/score/forest.py", "import numpy as np\nrng = np.random.Generator(np.random.PCG64(7))\n"),
        ("operators/decode/pseudonym.py", "import hashlib\nfrom datetime import UTC, datetime\nself.hash(b'x')\n"),
        ("connectors/source.py", "import time\nimport confluent_kafka\nfrom operators.batches import Span\n"),
        ("schemas/event.py", "import msgspec\nfrom schemas.registry import TOPICS\n"),
    ],
)
def test_what_is_allowed_is_not_found(path, source):
    assert trespasses(path, source) == []
