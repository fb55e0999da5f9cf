"""Reasons and figures in words, as a person would say them."""

from datetime import UTC, datetime

from operators.featurize.catalogue import Feature, window_name
from schemas.decision import Reason

_SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
_PLURALS = {"ip": "IPs", "device": "devices", "counterparty": "counterparties", "type": "event types"}
_SINGULARS = {"ip": "IP", "device": "device", "counterparty": "counterparty", "type": "event type"}


def number(value: float) -> str:
    """Write a number: three digits that matter, thousands apart."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def share(value: float) -> str:
    """Write a share as per cent with two decimals."""
    return f"{100 * value:.2f} %"


def spaced(name: str) -> str:
    """Write `card_testing` as `card testing`."""
    return name.replace("_", " ")


def clock(timestamp_ms: int) -> str:
    """Write event time as weekday and time of day, UTC."""
    return datetime.fromtimestamp(timestamp_ms / 1_000, UTC).strftime("%a %H:%M:%S")


def explained(reason: Reason, feature: Feature | None) -> str:
    """Say a reason in words, such as `48 events in 10m (usual 2.1)`.

    Args:
        reason: as in a decision.
        feature: the catalogue's entry of that name; None if there is none, and the name must do.
    """
    value = "?" if reason.value is None else number(reason.value)
    usual = "" if reason.baseline is None else f" (usual {number(reason.baseline)})"
    if feature is None:
        return f"{spaced(reason.feature)} {value}{usual}"
    attribute = feature.name.partition("_")[0]
    within = f" in {window_name(feature.window_s)}" if feature.window_s else ""
    match feature.family:
        case "count":
            return f"{value} events{within}{usual}"
        case "amount":
            return f"{value} spent{within}{usual}"
        case "amount_deviation":
            return f"amount {_deviation(reason.value, 'above', 'below')} usual{within}"
        case "gap_deviation":
            return f"gap {_deviation(reason.value, 'longer than', 'shorter than')} usual{within}"
        case "entropy":  # in nats, which would tell few people anything
            return f"{_PLURALS[attribute]} mixed {value}{within}{usual}"
        case "distinct":
            return f"{value} {_PLURALS[attribute]}{within}{usual}"
        case "novelty":
            return f"new {_SINGULARS[attribute]}"
        case "gap_variation" | "gap_entropy":
            return f"gaps even as a machine's{within}"
        case "hour_deviation":
            return "unusual time of day"
        case "counterparty_new_share":
            return f"{value} of counterparties new{within}"
        case "amount_repeats":
            return f"same amount {value} times before{within}"
        case _:  # declared by the user
            return f"{spaced(feature.name)} {value}{usual}"


def _deviation(value: float | None, up: str, down: str) -> str:
    """Say how many standard deviations (sigma) a value is off, and which way."""
    if value is None:
        return f"? {_SIGMA} {up}"
    return f"{number(abs(value))} {_SIGMA} {up if value >= 0 else down}"
