"""Charts as SVG: figures in, text out. Colours are classes, so that the page decides them, in light and in dark.

Everything is drawn to a fixed grid and scales with the page. Nothing here reads a font or a screen, so the same figures
give the same bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 44
_LONG = 6


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Attributes:
        title: what it shows, with its unit.
        low: value at its beginning; above 0 on a logarithmic one.
        high: value at its end.
        ticks: values with what stands beside them.
        scale: `log` for equal ratios at equal distances.
    """

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    scale: str = "linear"

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the beginning, 1 at the end; outside values at the nearer end."""
        low, high = self.low, self.high
        if self.scale == "log":
            value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0


def shares(title: str) -> Axis:
    """Return an axis from 0 to 100 %."""
    return Axis(title, 0.0, 1.0, tuple((each / 5, f"{20 * each} %") for each in range(6)))


def round_axis(title: str, high: float, form: str = "{:g}") -> Axis:
    """Return an axis from 0 to just above `high`, with round ticks."""
    values = round_values(0.0, high if high > 0 else 1.0)
    return Axis(title, 0.0, values[-1], tuple((value, form.format(value)) for value in values))


def round_values(low: float, high: float, least: float = 1.0) -> list[float]:
    """Return round values in equal steps, two to eight, from `low` or just below to `high` or just above.

    Args:
        low: least value.
        high: greatest.
        least: what the steps are for if both are equal.
    """
    wide = high - low if high > low else least
    power = 10.0 ** math.floor(math.log10(wide))
    step = next(power * size for size in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if wide / (power * size) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * at for at in range(first, max(last, first + 1) + 1)]


def decades(title: str, low: int, high: int, form: str = "10<tspan class='up' dy='-5'>{}</tspan>") -> Axis:
    """Return a logarithmic axis from 10^low to 10^high."""
    ticks = tuple((10.0**power, form.format(power) if power else "1") for power in range(low, high + 1))
    return Axis(title, 10.0**low, 10.0**high, ticks, "log")


class Plot:
    """One chart: axes first, then what is drawn on them, in that order.

    Args:
        x: horizontal axis.
        y: vertical axis.
        about: what the chart shows, for those who cannot see it.
        width: of the grid.
        height: of the grid.
    """

    def __init__(self, x: Axis, y: Axis, about: str, width: int = 520, height: int = 320) -> None:
        self.x, self.y = x, y
        self._width, self._height = width, height
        self._about = about
        self._parts = [*self._grid()]

    def _grid(self) -> Sequence[str]:
        bottom, right = self._height - BOTTOM, self._width - RIGHT
        found = []
        for value, text in self.y.ticks:
            at = self._at_y(value)
            found += [
                f'<line class="rule" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>',
                f'<text class="tick" text-anchor="end" x="{LEFT - 7}" y="{at + 3.5:.1f}">{text}</text>',
            ]
        for value, text in self.x.ticks:
            at = self._at_x(value)
            # A long text at the right edge would hang over it.
            anchor = "end" if self.x.place(value) == 1.0 and len(text) > _LONG and "<" not in text else "middle"
            found += [f'<text class="tick" text-anchor="{anchor}" x="{at:.1f}" y="{bottom + 17}">{text}</text>']
        middle, title = (LEFT + right) / 2, escape(self.x.title)
        return [
            *found,
            f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>',
            f'<text class="title" text-anchor="middle" x="{middle:.1f}" y="{self._height - 6}">{title}</text>',
        ]

    def _at_x(self, value: float) -> float:
        return LEFT + self.x.place(value) * (self._width - LEFT - RIGHT)

    def _at_y(self, value: float) -> float:
        return self._height - BOTTOM - self.y.place(value) * (self._height - TOP - BOTTOM)

    def _path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        points = [
            f"{self._at_x(x):.1f},{self._at_y(y):.1f}"
            for x, y in zip(xs, ys, strict=True)
            if not (math.isnan(x) or math.isnan(y))
        ]
        return "M" + "L".join(points) if points else ""

    def line(self, xs: Sequence[float], ys: Sequence[float], css: str, name: str = "") -> "Plot":
        """Draw a line; `name` shows under the pointer."""
        title = f"<title>{escape(name)}</title>" if name else ""
        self._parts.append(f'<path class="line {css}" d="{self._path(xs, ys)}">{title}</path>')
        return self

    def stairs(self, xs: Sequence[float], ys: Sequence[float], css: str, name: str = "") -> "Plot":
        """Draw a line that keeps each value until the next x."""
        twice_x = [x for x in xs for _ in range(2)][1:]
        twice_y = [y for y in ys for _ in range(2)][:-1]
        return self.line(twice_x, twice_y, css, name)

    def band(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], css: str) -> "Plot":
        """Fill what lies between two lines."""
        there, back = self._path(xs, lows), self._path(list(xs)[::-1], list(highs)[::-1])
        self._parts.append(f'<path class="band {css}" d="{there}L{back[1:]}Z"/>')
        return self

    def level(self, y: float, css: str, text: str, anchor: Literal["start", "end"] = "end") -> "Plot":
        """Draw a level right across, with a text above its right end, or its left one (`start`)."""
        at, right = self._at_y(y), self._width - RIGHT
        place = f'text-anchor="{anchor}" x="{right - 3 if anchor == "end" else LEFT + 3}" y="{at - 4:.1f}"'
        self._parts += [
            f'<line class="level {css}" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>',
            f'<text class="note" {place}>{escape(text)}</text>',
        ]
        return self

    def note(self, x: float, y: float, text: str) -> "Plot":
        """Write a text to the right of a point, below it."""
        at = f'x="{self._at_x(x) + 4:.1f}" y="{self._at_y(y) + 11:.1f}"'
        self._parts.append(f'<text class="note" {at}>{escape(text)}</text>')
        return self

    def dot(self, x: float, y: float, css: str, name: str) -> "Plot":
        """Draw a point; `name` shows under the pointer, which need not hit it exactly."""
        at = f'cx="{self._at_x(x):.1f}" cy="{self._at_y(y):.1f}"'
        shapes = f'<circle {at} r="2.2"/><circle class="near" {at} r="7"/>'
        self._parts.append(f'<g class="dot {css}"><title>{escape(name)}</title>{shapes}</g>')
        return self

    def bar(self, left: float, right: float, value: float, css: str, name: str) -> "Plot":
        """Draw one bar between two edges; `name` shows under the pointer."""
        ground, x, top = self._at_y(self.y.low), self._at_x(left), self._at_y(value)
        width = max(0.5, self._at_x(right) - x - 0.8)
        self._parts.append(
            f'<rect class="bar {css}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{ground - top:.1f}">'
            f"<title>{escape(name)}</title></rect>"
        )
        return self

    def svg(self) -> str:
        """Return the chart."""
        return (
            f'<svg viewBox="0 0 {self._width} {self._height}" role="img" aria-label="{escape(self._about)}">'
            f"{''.join(self._parts)}</svg>"
        )


def heat(rows: Sequence[tuple[str, Sequence[float]]], columns: Sequence[str], about: str) -> str:
    """Draw stability indices as shades with the value in each, one row per name; fullest from 3.2, empty to 0.01.

    Args:
        rows: name and values, in the order of `columns`.
        columns: what stands below each column.
        about: what it shows, for those who cannot see it.
    """
    left, cell, high = 176, 38, 22
    parts = []
    for at, (name, values) in enumerate(rows):
        y = at * (high + 3)
        parts.append(f'<text class="tick" text-anchor="end" x="{left - 9}" y="{y + 15}">{escape(name)}</text>')
        for place, value in enumerate(values):
            shade = min(1.0, max(0.0, (math.log10(max(value, 1e-9)) + 2.0) / 2.5)) if not math.isnan(value) else 0.0
            x = left + cell * place
            parts.append(
                f"<g><title>{escape(name)}, {escape(columns[place])}: {value:.3f}</title>"
                f'<rect class="heat" x="{x}" y="{y}" width="{cell - 3}" height="{high}" rx="3" '
                f'style="opacity:{0.04 + 0.8 * shade:.2f}"/><text class="inside" text-anchor="middle" '
                f'x="{x + (cell - 3) / 2:.1f}" y="{y + 15}">{value:.2f}</text></g>'
            )
    bottom = len(rows) * (high + 3)
    for place, text in enumerate(columns):
        middle = left + cell * place + (cell - 3) / 2
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{middle:.1f}" y="{bottom + 15}">{escape(text)}</text>'
        )
    width = left + cell * len(columns)
    return f'<svg viewBox="0 0 {width} {bottom + 22}" role="img" aria-label="{escape(about)}">{"".join(parts)}</svg>'
