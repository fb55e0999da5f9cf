"""The flow as a process of its own: the same command, settings file and code path as everywhere else."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

import flows
from flows.settings import ENVIRONMENT_PREFIX, FILE_VARIABLE, KEY_VARIABLE

HOST = "127.0.0.1"

_STOP_S = 20.0


def free_port() -> int:
    """Return a TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class FlowProcess:
    """`tidegate run risk` on the embedded broker, with settings of its own and a throw-away pseudonym key.

    Nothing of the caller's configuration is used: neither `./tidegate.toml` nor `TIDEGATE_*` variables.

    Args:
        folder: where settings, log and snapshots go.
        settings: text of the `tidegate.toml` to run with; it must put the metrics on `port`.
        port: where `/readyz` and `/metrics` are.

    Attributes:
        metrics_url: where Prometheus would look.
    """

    def __init__(self, folder: Path, settings: str, port: int) -> None:
        self.metrics_url = f"http://{HOST}:{port}/metrics"
        self._ready_url = f"http://{HOST}:{port}/readyz"
        self._log = folder / "flow.log"
        file = folder / "tidegate.toml"
        file.write_text(settings, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
        environment[FILE_VARIABLE] = str(file)
        environment[KEY_VARIABLE] = f"hex:{secrets.token_hex(32)}"
        # The packages may be used from a checkout that is not installed.
        root = str(Path(flows.__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows", "run", "risk"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C ends the demo, which then ends the flow in good order
            )

    @property
    def died(self) -> bool:
        """Whether it has ended, which it never does by itself."""
        return self._process.poll() is not None

    def ready(self) -> bool:
        """Return whether `/readyz` says 200: compiled, and all partitions live."""
        try:
            with urllib.request.urlopen(self._ready_url, timeout=1.0) as answer:  # noqa: S310  our own http address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> int:
        """Let it finish in good order, or end it after 20 s; return its exit code."""
        if not self.died:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_words(self, lines: int = 20) -> str:
        """Return the end of its log."""
        text = self._log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
