"""How the demo looks: one screen from one `Screen`, and the same as plain lines where there is no terminal.

Pure: it reads counts and times that it is given, and no clock.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.demo.tally import ALARMS, Alert, Tally
from flows.demo.words import clock, explained, number, share, spaced
from operators.featurize.catalogue import Feature

TIERS = ("unknown", "low", "medium", "high", "critical")
COLOURS = {"unknown": "bright_black", "low": "green", "medium": "yellow", "high": "dark_orange", "critical": "bold red"}
_SHOWN_REASONS = 2


@dataclass(slots=True)
class Screen:
    """Everything the view shows that the tally does not know.

    Attributes:
        phase: what is going on, in a few words.
        tally: the counts.
        metrics_url: where Prometheus would look.
        seconds: how long the stream shall run.
        budgets: share of the events past warming that a tier and those above it may hold, by tier.
        catalogue: the features, by name.
        elapsed_s: how long it has run.
        sent_per_s: messages published a second, lately.
        answered_per_s: messages answered a second, lately.
        notes: lines to be said once, such as which key is used.
    """

    phase: str
    tally: Tally
    metrics_url: str
    seconds: float
    budgets: Mapping[str, float]
    catalogue: Mapping[str, Feature]
    elapsed_s: float = 0.0
    sent_per_s: float = 0.0
    answered_per_s: float = 0.0
    notes: tuple[str, ...] = field(default=())


def render(screen: Screen, height: int) -> RenderableType:
    """Draw the screen; the caller holds the tally's lock.

    Args:
        screen: what to show.
        height: lines of the terminal; the table of alerts takes what is left.
    """
    top = Table.grid(expand=True, padding=(0, 1))
    top.add_column(ratio=1)
    top.add_column(ratio=1)
    top.add_row(_tiers(screen), _flow(screen))
    rest = height - 25 - len(screen.notes)
    return Group(_header(screen), top, _alerts(screen, max(3, rest)), _planted(screen.tally))


def _header(screen: Screen) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1)
    grid.add_column(justify="right")
    event_ms = screen.tally.event_ms
    at = f"event time {clock(event_ms)}" if event_ms is not None else ""
    grid.add_row(Text(screen.phase, style="bold"), Text(at, style="cyan"))
    left = max(0.0, screen.seconds - screen.elapsed_s)
    bar = ProgressBar(total=screen.seconds, completed=min(screen.elapsed_s, screen.seconds), complete_style="cyan")
    grid.add_row(bar, Text(f"{left:3.0f} s left", style="dim"))
    notes = [Text(note, style="dim", no_wrap=True, overflow="ellipsis") for note in screen.notes]
    return Panel(
        Group(grid, *notes),
        title="[bold]tidegate demo[/] · risk flow",
        title_align="left",
        box=box.ROUNDED,
        border_style="cyan",
    )


def _tiers(screen: Screen) -> RenderableType:
    table = _table()
    table.add_column("tier")
    table.add_column("decisions", justify="right")
    table.add_column("share", justify="right")
    table.add_column("with above", justify="right")
    table.add_column("budget", justify="right", style="dim")
    tiers = screen.tally.tiers
    total = max(1, sum(tiers.values()))
    known = max(1, total - tiers["unknown"])
    for place, tier in enumerate(TIERS):
        above = sum(tiers[higher] for higher in TIERS[place:])
        limited = tier in screen.budgets
        table.add_row(
            Text(tier, style=COLOURS[tier]),
            f"{tiers[tier]:,}",
            share(tiers[tier] / total),
            share(above / known) if limited else "",
            share(screen.budgets[tier]) if limited else "",
        )
    return Panel(table, title="tiers so far", title_align="left", box=box.ROUNDED, border_style="bright_black")


def _flow(screen: Screen) -> RenderableType:
    tally = screen.tally
    table = _table()
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    latency = tally.latency(recent=True)
    dead = ", ".join(f"{spaced(reason)} {count}" for reason, count in sorted(tally.dead.items(), key=_most)[:2])
    table.show_header = False
    table.add_row("events in", f"{screen.sent_per_s:,.0f}/s", f"{tally.published:,} so far")
    table.add_row("decisions out", f"{screen.answered_per_s:,.0f}/s", f"{tally.in_flight:,} under way")
    table.add_row("latency p50", f"{latency.p50:,.0f} ms" if latency else "-", "published to read back")
    table.add_row("latency p99", f"{latency.p99:,.0f} ms" if latency else "-", "")
    table.add_row("duplicates", f"{tally.flags['duplicate']:,}", "answered, changed nothing")
    table.add_row("dead letters", f"{tally.dead.total():,}", Text(dead, overflow="ellipsis", no_wrap=True))
    return Panel(
        table,
        title="through Kafka",
        subtitle=f"[cyan]{screen.metrics_url}[/]",
        subtitle_align="right",
        title_align="left",
        box=box.ROUNDED,
        border_style="bright_black",
    )


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _alerts(screen: Screen, rows: int) -> RenderableType:
    table = _table()
    table.expand = True
    table.add_column("event time", no_wrap=True)
    table.add_column("user", no_wrap=True, style="dim")
    table.add_column("tier", no_wrap=True)
    table.add_column("", no_wrap=True, style="dim")
    table.add_column("why", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("truth", no_wrap=True)
    newest = _by_user(screen.tally.newest)[:rows]
    for alert, count in newest:
        table.add_row(
            clock(alert.timestamp_ms),
            f"{alert.user[:9]}…",
            Text(alert.tier, style=COLOURS.get(alert.tier, "")),
            "" if count == 1 else f"{count} times",
            _why(alert, screen.catalogue),
            _truth(alert.attack),
        )
    for _ in range(rows - len(newest)):
        table.add_row()
    return Panel(
        table, title="newest high and critical", title_align="left", box=box.ROUNDED, border_style="bright_black"
    )


def _by_user(alerts: Iterable[Alert]) -> list[tuple[Alert, int]]:
    """Return each user's newest alert and how many there are, newest first: one attack must not fill the table."""
    found: dict[str, tuple[Alert, int]] = {}
    for alert in alerts:
        found[alert.user] = (alert, found.pop(alert.user, (alert, 0))[1] + 1)
    return list(found.values())[::-1]


def _why(alert: Alert, catalogue: Mapping[str, Feature]) -> str:
    return "; ".join(explained(reason, catalogue.get(reason.feature)) for reason in alert.reasons[:_SHOWN_REASONS])


def _truth(attack: str | None) -> Text:
    return Text("normal", style="dim") if attack is None else Text(spaced(attack), style="magenta")


def _planted(tally: Tally) -> RenderableType:
    table = _table()
    table.expand = True
    table.add_column("planted abuse")
    for column in ("attacks caught", "events caught", "events before first alarm"):
        table.add_column(column, justify="right")
    for row in tally.caught():
        table.add_row(
            Text(spaced(row.kind), style="magenta"),
            f"{row.attacks_caught} of {row.attacks}",
            f"{row.events_caught:,} of {row.events:,}",
            "-" if row.delay is None else f"{number(row.delay)} (median)",
        )
    return Panel(table, box=box.ROUNDED, border_style="bright_black")


def _table() -> Table:
    return Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))


def line(screen: Screen) -> str:
    """Write the screen as one line, for logs."""
    tally = screen.tally
    latency = tally.latency(recent=True)
    alarms = sum(tally.tiers[tier] for tier in ALARMS)
    return (
        f"{screen.elapsed_s:5.1f} s  {screen.phase}: "
        f"in {screen.sent_per_s:,.0f}/s, out {screen.answered_per_s:,.0f}/s, "
        f"published {tally.published:,}, answered {tally.answered:,}, high or critical {alarms:,}, "
        f"dead letters {tally.dead.total():,}"
        + (f", latency p50 {latency.p50:,.0f} ms, p99 {latency.p99:,.0f} ms" if latency else "")
    )


def summary(tally: Tally, streamed: int, elapsed_s: float) -> Iterator[str]:
    """Write what the demo did, line by line.

    Args:
        tally: the counts of the whole run.
        streamed: messages published at the chosen rate.
        elapsed_s: how long that took.
    """
    decided = sum(tally.tiers.values())
    per_s = streamed / elapsed_s if elapsed_s else 0.0
    yield f"published     {tally.published:,} messages; {streamed:,} of them in {elapsed_s:,.1f} s: {per_s:,.0f}/s"
    yield f"answered      {tally.answered:,}: {decided:,} decisions, {tally.dead.total():,} dead letters"
    if tally.repeated:
        yield f"repeated      {tally.repeated:,} answers came twice, as at_least_once allows"
    yield "tiers         " + ", ".join(f"{tier} {tally.tiers[tier]:,}" for tier in TIERS)
    yield "dead letters  " + (
        ", ".join(f"{reason} {count:,}" for reason, count in sorted(tally.dead.items(), key=_most)) or "none"
    )
    if (latency := tally.latency()) is not None:
        yield f"latency       p50 {latency.p50:,.0f} ms, p99 {latency.p99:,.0f} ms, from publishing to reading back"
    yield "planted abuse (caught: at least one event high or critical)"
    for row in tally.caught():
        after = "" if row.delay is None else f", first alarm after {number(row.delay)} events (median)"
        yield (
            f"  {spaced(row.kind):<17} {row.attacks_caught} of {row.attacks} attacks, "
            f"{row.events_caught:,} of {row.events:,} events{after}"
        )
    yield f"false alarms  {tally.false_alarms:,} of {decided:,} decisions were high or critical on normal behaviour"
