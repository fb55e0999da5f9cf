"""The pieces that the page is put together from: cards, tiles, tables, legends. Text is escaped by who gives it."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources


def document(name: str, body: str, what: str = "evaluation", more: str = "") -> str:
    """Return the whole page.

    Args:
        name: whom it is about.
        body: HTML.
        what: it is, for the title.
        more: style on top of that which all pages have, CSS.
    """
    style = resources.files("training.evaluate").joinpath("page.css").read_text(encoding="utf-8") + more
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(name)}: {what}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f"<body><main>{body}</main></body></html>\n"
    )


def image(svg: str) -> str:
    """Return a chart as an SVG file of its own, with the page's colours, light and dark."""
    style = resources.files("training.evaluate").joinpath("page.css").read_text(encoding="utf-8")
    head, rest = svg.split(">", 1)
    look = 'xmlns="http://www.w3.org/2000/svg" style="background:var(--card)"'
    return f"{head.replace('<svg', f'<svg {look}', 1)}><style>{style}</style>{rest}"


def card(title: str, hint: str, inside: str, size: str = "") -> str:
    """Return one card; `size` is its CSS class."""
    said = f'<p class="hint">{hint}</p>' if hint else ""
    return f'<section class="card {size}"><h2>{title}</h2>{said}{inside}</section>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return a legend: CSS class and text of each entry."""
    inside = "".join(f'<span class="{css}"><i></i><b>{escape(text)}</b></span>' for css, text in entries)
    return f'<div class="legend">{inside}</div>'


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], words_at: int = -1) -> str:
    """Return a table; each row with its CSS class, cells as HTML; `words_at` is the column of words, if any."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=words' if at == words_at else ''}>{text}</{tag}>" for at, text in enumerate(cells)
        )

    body = "".join(f'<tr class="{css}">{line("td", cells)}</tr>' for css, cells in rows)
    return f'<div class="scroll"><table><tr>{line("th", head)}</tr>{body}</table></div>'


def meter(value: float, css: str) -> str:
    """Return a bar filled to a share."""
    full = 0.0 if math.isnan(value) else 100 * min(1.0, max(0.0, value))
    return f'<span class="meter {css}"><i style="width:{full:.1f}%"></i></span>'


def best(text: str, *, at_top: bool) -> str:
    """Return a text, marked if it is the best of its column."""
    return f'<span class="best">{text}</span>' if at_top else text


def tile(name: str, value: str, beside: str) -> str:
    """Return one of the large figures at the top."""
    return (
        f'<div class="tile"><div class="name">{name}</div><div class="value">{value}</div>'
        f'<div class="beside">{beside}</div></div>'
    )
