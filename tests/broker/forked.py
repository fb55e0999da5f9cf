"""Starts flows at once: a process that has imported and compiled everything forks one for each.

What is forked is a process of its own as any other, to be killed, stalled and fenced; it only need not import and
compile again, which takes 3 s of a processor. `python tests/broker/forked.py` is the one that forks: it has no client
of Kafka and no thread. With TIDEGATE_TEST_FRESH=1 every flow is started from nothing, as users do, and as chaos tests
always do.
"""

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Forked:
    """A forked process, to its starter like one of `subprocess`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = _ask({"poll": self.pid})["code"]
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its exit code."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended: until its end was told here no other process has its number."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def fork(command: list[str], environment: dict[str, str], log: Path) -> Forked:
    """Start `command`, which begins with Python's own path and a module or a program, with its output in a file."""
    words = command[1:]
    asked = {"module": words[1], "words": words[2:]} if words[0] == "-m" else {"program": words[0], "words": words[1:]}
    return Forked(_ask({"environment": environment, "log": str(log), **asked})["pid"])


_server: list[subprocess.Popen[str]] = []
_one_at_a_time = threading.Lock()


def _ask(question: dict[str, Any]) -> Any:
    with _one_at_a_time:
        if not _server:
            command = [sys.executable, __file__]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            _server.append(subprocess.Popen(command, cwd=ROOT, text=True, **pipes))
            atexit.register(_end)
        server = _server[0]
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(question) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())


def _end() -> None:
    for server in _server:
        server.kill()
        server.wait()


def _import_all() -> None:
    sys.path.insert(0, str(ROOT))
    from flows import explanations, ranking, risk  # noqa: PLC0415  only in this process, not in that of the tests
    from flows.commands import run  # noqa: F401, PLC0415
    from flows.settings import load_settings  # noqa: PLC0415

    settings = load_settings(None, {"TIDEGATE_PSEUDONYM_KEY": "a key for tests only, 32 bytes.."}, needs_key=True)
    risk.warm_up(settings)
    explanations.warm_up(settings)
    ranking.warm_up(settings)


def _serve() -> dict[str, Any] | None:
    """Fork what is asked for; returns the question in the child, None in the parent at its end."""
    for line in iter(sys.stdin.readline, ""):
        question = json.loads(line)
        if "poll" in question:
            pid, status = os.waitpid(question["poll"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            answer = {"pid": os.fork()}
            if answer["pid"] == 0:
                return question
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return None


def _become(question: dict[str, Any]) -> None:
    """Go on as what was asked for: environment, output and arguments, then the program."""
    os.environ.clear()
    os.environ.update(question["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(question["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
        os.set_inheritable(new, True)
    sys.argv = [question.get("program", "flows"), *question["words"]]
    if "module" in question:
        runpy.run_module(question["module"], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(question["program"]).parent))
        runpy.run_path(question["program"], run_name="__main__")


if __name__ == "__main__":
    _import_all()
    asked = _serve()
    if asked is not None:
        _become(asked)
