"""One small HTTP server for operators: `/metrics`, `/healthz` and `/readyz` on one port.

`/healthz` answers whether the process should be left alone: 200 while the main loop beats, 503 once it is stuck.
`/readyz` answers whether it does its work: 200 once every assigned partition is live, and as long as the loop beats:
what was ready when it got stuck is ready no more. It runs in threads of its own, so that it can say 503 while the main
loop cannot say anything.
"""

import errno
import logging
import socket
import sys
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self

import msgspec
from prometheus_client.exposition import choose_encoder

from operators.metrics import Metrics

log = logging.getLogger(__name__)

STUCK_AFTER_S = 30.0
"""Longer than the watchdog on a transaction (20 s), so that a slow broker alone does not get a process killed."""

_JSON = "application/json"
_PATHS = ("/metrics", "/healthz", "/readyz")


class Health:
    """What a process says about itself.

    `beat` and `ready` are called by the main loop, often and cheaply; the rest is answered from what they left.

    Args:
        metrics: shown under `/metrics`; its `tidegate_ready` and `tidegate_heartbeat_age_seconds` are kept here.
        stuck_after_s: seconds without a beat after which `/healthz` says 503, > 0.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        metrics: Metrics,
        stuck_after_s: float = STUCK_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not stuck_after_s > 0:
            raise ValueError(f"stuck_after_s == {stuck_after_s}, must be > 0")
        self._metrics = metrics
        self._stuck_after_s = stuck_after_s
        self._clock = clock
        self._beaten_at = clock()  # a start-up that never reaches the loop is stuck, too
        self._patience_s = stuck_after_s
        self._ready = (False, _encode({"ready": False, "detail": "starting"}))
        self._server: _Server | None = None
        metrics.ready.set_function(lambda: float(self.works()[0]))
        metrics.heartbeat_age_seconds.set_function(lambda: self._clock() - self._beaten_at)

    def beat(self) -> None:
        """Say that the main loop is going round."""
        self._beaten_at = self._clock()
        self._patience_s = self._stuck_after_s

    def busy(self, seconds: float, detail: str) -> None:
        """Say that the next beat may take so long: what is under way cannot beat. Not ready meanwhile.

        Args:
            seconds: without a beat after which it is stuck all the same.
            detail: what is under way.
        """
        self.beat()
        self._patience_s = max(seconds, self._stuck_after_s)
        self.ready(False, detail)

    def ready(self, ready: bool, detail: str | Mapping[str, object]) -> None:  # noqa: FBT001  a state, not a mode
        """Say whether every assigned partition is live.

        Args:
            ready: the status of `/readyz` from now on, as long as the loop beats.
            detail: why or how far, shown as JSON: a sentence, or for instance each partition's progress. It is written
                down at once, so later changes of a mapping do not show.
        """
        self._ready = (ready, _encode({"ready": ready, "detail": detail}))

    def alive(self) -> tuple[bool, bytes]:
        """Return whether the main loop has beaten lately, and the JSON to say so."""
        age = self._clock() - self._beaten_at
        healthy = age < self._patience_s
        said: dict[str, object] = {"healthy": healthy, "heartbeat_age_s": round(age, 3)}
        if not healthy:
            said["detail"] = f"the main loop has not beaten for {age:.1f} s, expected every {self._patience_s:g} s"
        return healthy, _encode(said)

    def works(self) -> tuple[bool, bytes]:
        """Return whether every assigned partition is live and the main loop beats, and the JSON to say so."""
        healthy, said = self.alive()
        ready, detail = self._ready
        return (
            (False, _encode({"ready": False, "detail": msgspec.Raw(said)}))
            if ready and not healthy
            else (ready, detail)
        )

    def serve(self, host: str, port: int) -> tuple[str, int]:
        """Start to answer in the background; return the address, with the port chosen if `port` is 0.

        Raises:
            OSError: the address cannot be had; the message says what to change.
        """
        if self._server is not None:
            raise RuntimeError("the health server is running already: call close() first")
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._server = _Server((host, port), self, family)
        except OSError as error:
            raise _explained(error, host, port) from error
        Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True).start()
        address = self._server.socket.getsockname()
        return str(address[0]), int(address[1])

    def close(self) -> None:
        """Stop answering and free the port; nothing happens if it is not served."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, path: str, accept: str = "") -> tuple[HTTPStatus, str, bytes]:
        """Return status, content type and body for a path; `accept` chooses between the metrics' text formats."""
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return HTTPStatus.OK, content_type, encode(self._metrics.registry)
        if path == "/healthz":
            good, body = self.alive()
        elif path == "/readyz":
            good, body = self.works()
        else:
            return HTTPStatus.NOT_FOUND, _JSON, _encode({"error": f"expected one of {', '.join(_PATHS)}"})
        return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, _JSON, body


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], health: Health, family: int) -> None:
        self.address_family = family
        self.health = health
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The parent also asks DNS for a name that nobody reads, which can block for seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  the parent's signature
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):  # clients may hang up
            log.error("health_request_failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "tidegate"
    sys_version = ""
    timeout = 10  # a client that sends nothing must not hold a thread for ever

    def do_GET(self) -> None:
        status, content_type, body = self.server.health.answer(
            self.path.partition("?")[0], self.headers.get("Accept", "")
        )
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  the parent finds methods by name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the parent's name
        """Say nothing: a line per scrape tells nobody anything."""


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value)


def _explained(error: OSError, host: str, port: int) -> OSError:
    wanted = f"expected to serve /metrics on {host}:{port}, got"
    if error.errno == errno.EADDRINUSE:
        advice = "the port is in use: set port in [metrics] or TIDEGATE_METRICS__PORT; 0 takes a free one"
        return OSError(errno.EADDRINUSE, f"{wanted} an error: {advice}")
    if error.errno == errno.EACCES:
        return OSError(errno.EACCES, f"{wanted} an error: ports below 1024 need a privilege, choose a higher one")
    return OSError(error.errno, f"{wanted} {error.strerror}: set host in [metrics] or TIDEGATE_METRICS__HOST")
