"""An explanation in words. The sentences are closed templates, filled with numbers and with names of the catalogue.

No identifier can get into one: they are not in the evidence. A family without a template of its own is told by its
feature's name and unit.
"""

import math
from typing import NamedTuple

from operators.featurize.catalogue import window_name

_THINGS = {
    "ip": ("IP address", "IP addresses"),
    "device": ("device", "devices"),
    "counterparty": ("counterparty", "counterparties"),
    "type": ("type of event", "types of event"),
}
"""What an attribute is called, one and many; others are called by their name."""

_SHARES = ("gap_entropy", "counterparty_new_share")
"""Families whose numbers are told in per cent."""

_LED_BY_FOREST = "It stands out by its combination of values more than by any single one."
_LED_BY_EVIDENCE = "Single values stand out, more than their combination."
_LED_BY_BOTH = "Single values and their combination stand out alike."
_LEADS = 2 / 3


class Told(NamedTuple):
    """One feature of an event.

    Attributes:
        name: in the catalogue.
        unit: of the numbers.
        direction: which way is risky: up, down or both.
        family: in the catalogue.
        window_s: length of the window in seconds; None where there is none.
        value: at this event; NaN where not known.
        usual: for this user; NaN where there is nothing to hold against.
        tail: share of earlier events at least as far on the risky side, above 0, at most 1.
    """

    name: str
    unit: str
    direction: str
    family: str
    window_s: int | None
    value: float
    usual: float
    tail: float

    @property
    def beyond_usual(self) -> bool:
        """Whether the value lies on the risky side of what is usual for the user."""
        if self.direction == "both":
            return not math.isnan(self.usual)
        return self.value < self.usual if self.direction == "down" else self.value > self.usual


def number(value: float) -> str:
    """Write a number for people: whole as it is, from 100 up rounded to one, else with two or three digits."""
    if abs(value - round(value)) < 1e-9 or abs(value) >= 100:
        return f"{round(value):,}"
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.3g}"


def lasting(window_s: int) -> str:
    """Write the length of a window: `10 minutes`, `1 hour`, `90 seconds`."""
    name = window_name(window_s)
    count, unit = int(name[:-1]), {"h": "hour", "m": "minute", "s": "second"}[name[-1]]
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def sentence(told: Told) -> str | None:
    """Return a feature's sentence; None where its value is not known."""
    if math.isnan(told.value):
        return None
    within = "" if told.window_s is None else f" in {lasting(told.window_s)}"
    # No more than usual for this user, and rare all the same: then it is others who do not go so far.
    rare = f"; 1 event in {_one_in(told.tail)} goes as far" if told.tail <= 0.5 else ""
    usual = f"; usual for this user: {_written(told.usual, told.family)}" if told.beyond_usual else rare
    stem = told.name if told.window_s is None else told.name.removesuffix(f"_{window_name(told.window_s)}")
    things = _things(stem.removesuffix(f"_{told.family}"))
    value = _written(told.value, told.family)
    match told.family:
        case "count":
            text = f"{_counted(told.value, 'event', 'events')}{within}{usual}."
        case "amount":
            text = f"Amounts of {value} in all{within}{usual}."
        case "distinct":
            text = f"{_counted(told.value, f'different {things[0]}', f'different {things[1]}')}{within}{usual}."
        case "entropy":
            text = f"varied {things[1]}{within}: {value} nats of entropy{usual}."
        case "amount_deviation":
            text = f"An amount {_beside(told.value, 'above', 'below')} what this user's amounts were{within}."
        case "gap_deviation":
            text = f"A gap {_beside(told.value, 'above', 'below')} the gaps between this user's events{within}."
        case "gap_variation":
            text = f"gaps between events vary by {value} of their mean{within}{usual}."
        case "gap_entropy":
            text = f"gaps between events {value} as varied as they could be{within}{usual}."
        case "counterparty_new_share":
            text = f"a new counterparty in {value} of the events{within}{usual}."
        case "hour_deviation" if told.value > 0:
            text = "an hour of the day at which this user is seldom active."
        case "amount_repeats":
            text = f"{_counted(told.value, 'event', 'events')} of the same amount{within}{usual}."
        case "novelty" if told.value > 0:
            text = f"new for this user: the {things[0]}."
        case _:
            text = f"{stem.replace('_', ' ')}: {value} {told.unit}{within}{usual}."
    return text[0].upper() + text[1:]


def led(forest_share: float) -> str:
    """Return the sentence on what led the decision: single values, their combination, or both."""
    if forest_share >= _LEADS:
        return _LED_BY_FOREST
    return _LED_BY_EVIDENCE if forest_share <= 1 - _LEADS else _LED_BY_BOTH


def rarity(tail_probability: float) -> str:
    """Return the sentence on how rare the event is; the number is rounded to two significant digits."""
    return f"Only 1 event in {_one_in(tail_probability)} is like this."


def _one_in(probability: float) -> str:
    return f"{int(float(f'{1 / probability:.1e}')):,}"


def _written(value: float, family: str) -> str:
    return f"{number(100 * value)} %" if family in _SHARES else number(value)


def _things(attribute: str) -> tuple[str, str]:
    name = attribute.replace("_", " ")
    return _THINGS.get(attribute, (name, f"{name}s"))


def _counted(value: float, one: str, many: str) -> str:
    return f"{number(value)} {one if number(value) == '1' else many}"


def _beside(value: float, above: str, below: str) -> str:
    return f"{number(abs(value))} standard deviations {below if value < 0 else above}"
