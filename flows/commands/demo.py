"""`tidegate demo`: the risk flow on an embedded broker, fed with a synthetic stream in which abuse is planted."""

import argparse
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from connectors.embedded import EmbeddedBroker
from flows.commands import CommandError
from flows.commands._shared import above_zero, at_least_one
from flows.demo import view
from flows.demo.generator import Generator, GeneratorConfig
from flows.demo.process import FlowProcess, free_port
from flows.demo.tally import Tally
from flows.demo.traffic import Publisher, Reader
from operators.featurize import Featurize, FeaturizeConfig
from schemas.registry import TOPICS

BUDGETS = {"medium": 0.02, "high": 0.005, "critical": 0.001}
"""Shares of events for a tier and those above it: more than in earnest, as a minute is short and holds much abuse."""

COVERED_S = 2 * 86_400
"""Event time that the demo covers, however long it runs: two days."""

QUIET_EVENTS = 8_000
"""Events before the first attack, a third of the stream at most: the flow has to learn what is normal first."""

_SETTINGS = """\
[kafka]
bootstrap = "{bootstrap}"
delivery = "at_least_once"  # the embedded broker keeps no transactions

[kafka.librdkafka]
"fetch.wait.max.ms" = "10"  # this broker lets a fetch that finds nothing wait to the end, also when records come in

[risk]
commit_interval_ms = 50
snapshot_store = "directory"
snapshot_directory = "{folder}/snapshots"

[risk.score]
window = 500  # a minute is short: learn faster, forget faster
warmup = 500
half_life = 20_000

[risk.calibrate]
warmup = 500
half_life = 20_000

[risk.tier]
medium = {medium}
high = {high}
critical = {critical}

[metrics]
port = {port}
"""

_NOTES = (
    "The pseudonym key was made for this run and goes with it. Delivery is at least once: this broker keeps no",
    "transactions. The days that pass are synthetic, seed {seed}, and some accounts in them are up to no good.",
)

_START_S = 180.0  # compiling everything takes some 20 s on a slow machine
_FIRST_EVENTS = 400
_DRAIN_S = 20.0
_DRAW_S = 0.25
_LINE_S = 2.0
_POLL_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--seconds", type=above_zero, default=60.0, help="how long to publish (default: 60)")
    parser.add_argument("--rate", type=above_zero, default=2_000.0, help="events a second (default: 2000)")
    parser.add_argument("--seed", type=int, default=7, help="another seed, another day (default: 7)")
    parser.add_argument("--users", type=at_least_one, help="size of the population (default: one per event a second)")
    parser.add_argument("--plain", action="store_true", help="plain lines instead of the live view")


def main(args: argparse.Namespace) -> int:
    """Run the demo; 0 if every message was answered."""
    console = Console()
    signal.signal(signal.SIGTERM, _end)  # so that the flow's process is ended too
    with tempfile.TemporaryDirectory(prefix="tidegate-demo-") as folder, EmbeddedBroker() as broker:
        broker.create(TOPICS)
        port = free_port()
        settings = _SETTINGS.format(bootstrap=broker.bootstrap, folder=folder, port=port, **BUDGETS)
        with FlowProcess(Path(folder), settings, port) as flow:
            run = _Run(args, console, broker, flow)
            try:
                run.go()
            except KeyboardInterrupt:
                console.print("interrupted")
                return 130
            code = 0 if flow.died else flow.stop()
            for text in view.summary(run.tally, run.streamed, run.screen.elapsed_s):
                console.print(text, highlight=False, soft_wrap=True)
            return run.verdict(code)


def _end(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


class _Run:
    """One run, from a flow that has just been started to the last answer."""

    def __init__(self, args: argparse.Namespace, console: Console, broker: EmbeddedBroker, flow: FlowProcess) -> None:
        self.console = console
        self.flow = flow
        self.rate = args.rate
        self.plain = args.plain or not console.is_terminal
        self.tally = Tally()
        self.streamed = 0
        self.config = GeneratorConfig(
            seed=args.seed,
            users=args.users or max(1, round(args.rate)),
            rate=args.rate,
            speed=COVERED_S / args.seconds,
            quiet_s=COVERED_S * min(1 / 3, QUIET_EVENTS / (args.rate * args.seconds)),
            out_of_order=0.02,
            duplicates=0.001,
            garbage=0.0005,
        )
        self.screen = view.Screen(
            phase="starting",
            tally=self.tally,
            metrics_url=flow.metrics_url,
            seconds=args.seconds,
            budgets=BUDGETS,
            catalogue={feature.name: feature for feature in Featurize(FeaturizeConfig()).catalogue},
            notes=tuple(note.format(seed=args.seed) for note in _NOTES),
        )
        self.publisher = Publisher(broker.bootstrap, "events", Generator(self.config).events(), self.tally)
        self.reader = Reader(broker.bootstrap, "", self.tally)
        self._workers: list[Future[None]] = []
        self._rates: deque[tuple[float, int, int]] = deque(maxlen=int(2 / _POLL_S))
        self._draw: Callable[[], None] = lambda: None
        self._drawn = 0.0

    def go(self) -> None:
        """Wait for the flow, stream, drain."""
        stop_publishing, stop_reading = threading.Event(), threading.Event()
        with closing(self.publisher), ThreadPoolExecutor(2) as pool, self._shown():
            try:
                self._workers.append(pool.submit(self.reader.run, stop_reading))
                self._start()
                self.tally.forget_latencies()
                before = self.tally.published
                began = time.monotonic()
                self._workers.append(pool.submit(self.publisher.run, self.rate, stop_publishing))
                self._phase("streaming")
                self._until(lambda: self._elapsed(began) >= self.screen.seconds, None)
                stop_publishing.set()
                self._workers.pop().result()
                self.streamed = self.tally.published - before
                self._phase("draining")
                self._drain()
                self._phase("done")
            finally:
                stop_publishing.set()
                stop_reading.set()

    def verdict(self, code: int) -> int:
        """Return the exit code of the demo, given the flow's; complain if there is something to complain about."""
        complaints = self.tally.complaints(self.publisher.failed)
        if code:
            complaints.append(f"the flow ended with exit code {code}; its log ends:\n{self.flow.last_words()}")
        for complaint in complaints:
            self.console.print(f"[bold red]failed[/]        {escape(complaint)}", highlight=False)
        return 1 if complaints else 0

    def _start(self) -> None:
        """Wait until the flow is ready and has answered its first events, which are what makes it compile."""
        self._phase("compiling (first run only)")
        if not self._until(self.flow.ready, _START_S):
            raise CommandError(f"the flow was not ready within {_START_S:g} s; its log ends:\n{self.flow.last_words()}")
        self.publisher.send(_FIRST_EVENTS)
        self.publisher.flush()
        if not self._until(lambda: self.tally.in_flight == 0, _START_S):
            raise CommandError(f"no answers within {_START_S:g} s; the flow's log ends:\n{self.flow.last_words()}")

    def _drain(self) -> None:
        """Wait for the last answers, as long as there are new ones."""
        left = self.tally.in_flight
        while left and self._until(lambda: self.tally.in_flight < left, _DRAIN_S):  # noqa: B023  called at once
            left = self.tally.in_flight

    def _elapsed(self, began: float) -> float:
        self.screen.elapsed_s = time.monotonic() - began
        return self.screen.elapsed_s

    def _phase(self, phase: str) -> None:
        self.screen.phase = phase
        self._drawn = 0.0

    def _until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Keep drawing until the condition holds; False if it does not in time. A dead flow or thread is an error."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not condition():
            if self.flow.died:
                raise CommandError(f"the flow has ended; its log ends:\n{self.flow.last_words()}")
            for worker in self._workers:
                if worker.done():
                    worker.result()
            if deadline is not None and time.monotonic() > deadline:
                return False
            self._measure()
            time.sleep(_POLL_S)
        return True

    def _measure(self) -> None:
        now = time.monotonic()
        self._rates.append((now, self.tally.published, self.tally.answered))
        since, published, answered = self._rates[0]
        if now > since:
            self.screen.sent_per_s = (self.tally.published - published) / (now - since)
            self.screen.answered_per_s = (self.tally.answered - answered) / (now - since)
        if now - self._drawn >= (_LINE_S if self.plain else _DRAW_S):
            self._drawn = now
            self._draw()

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Show the view while inside: live on a terminal, as lines elsewhere."""
        if self.plain:
            for note in self.screen.notes:
                self.console.print(note, highlight=False, soft_wrap=True)
            self.console.print(f"metrics       {self.screen.metrics_url}", highlight=False)
            self._draw = lambda: print(view.line(self.screen), flush=True)  # noqa: T201  the command line's answer
            yield
            return
        with Live(console=self.console, auto_refresh=False) as live:

            def draw() -> None:
                with self.tally.lock:
                    picture = view.render(self.screen, self.console.height)
                    live.update(picture, refresh=True)

            self._draw = draw
            yield
            draw()
