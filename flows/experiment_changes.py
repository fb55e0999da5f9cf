"""What may be changed of an experiment, and what breaks it.

Before the first phase begins everything may. From then on what is said of the results holds only for what was declared,
so the analysis stays; what may change is the future: phases that have not begun, an end that has not come, and words.
"""

from typing import Any

import msgspec

from schemas.definition import Definition, Phase

_STAMPS = ("version", "timestamp")

_HASHING = "units would move to other variations after they have seen one"
_ANALYSIS = "the intervals hold for the analysis declared before the start; none chosen after a look at them"
_ARMS = "pairs of variations are declared before the start; weight 0 ends one, a new one is a new experiment"
_UNITS = "units that have been counted would have been counted by another rule"

FROZEN = {
    "seed": _HASHING,
    "hash_version": _HASHING,
    "namespace": _HASHING,
    "namespace_first": _HASHING,
    "namespace_end": _HASHING,
    "variations": _ARMS,
    "primary": _ANALYSIS,
    "secondary": _ANALYSIS,
    "guardrails": _ANALYSIS,
    "alpha": _ANALYSIS,
    "tuning_n": _ANALYSIS,
    "cuped": _ANALYSIS,
    "mde": _ANALYSIS,
    "minimum_run_s": _ANALYSIS,
    "attribution_window_s": _UNITS,
    "pre_period_s": _UNITS,
}
"""Field -> why it stays as it is once the experiment has started."""


def differences(old: Definition | None, new: Definition) -> list[str]:
    """Return one line for each field that differs, in the record's order; stamps are left out."""
    if old is None:
        return ["new"]
    lines = []
    for name in Definition.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if name not in _STAMPS and before != after:
            lines.append(f"{name}: {_shown(before)} -> {_shown(after)}")
    return lines


def refusals(old: Definition | None, new: Definition, now_ms: int) -> list[str]:
    """Return one line for each change that would break a running experiment, with the reason.

    Args:
        old: what is in force, or None.
        new: what shall be.
        now_ms: the present, epoch milliseconds.
    """
    if old is None or not differences(old, new):
        return []
    if old.end is not None and old.end <= now_ms:
        return [f"end: it ended at {old.end}, and an ended experiment stays as it was: give a new one another id"]
    if old.phases[0].start > now_ms:
        return []
    lines = [
        f"{name}: expected {_shown(getattr(old, name))}, got {_shown(getattr(new, name))}: {why}"
        for name, why in FROZEN.items()
        if getattr(old, name) != getattr(new, name)
    ]
    lines += _phases(old.phases, new.phases, now_ms)
    if new.end is not None and new.end != old.end and new.end < now_ms:
        lines.append(f"end: expected a time from now on, got {new.end}: units have been assigned since")
    return lines


def applied(old: Definition | None, new: Definition, now_ms: int) -> Definition:
    """Return the new definition with its version and the time it was applied at."""
    return msgspec.structs.replace(new, version=1 if old is None else old.version + 1, timestamp=now_ms)


def ended(old: Definition, at_ms: int) -> Definition:
    """Return a definition that ends at a time, without the phases that would begin from then on.

    Its first phase stays: an experiment that is stopped before its start is one that never assigns.
    """
    phases = tuple(one for at, one in enumerate(old.phases) if at == 0 or one.start < at_ms)
    return msgspec.structs.replace(old, phases=phases, end=at_ms)


def state(of: Definition, now_ms: int) -> str:
    """Return `scheduled`, `running` or `ended`."""
    if of.end is not None and of.end <= now_ms:
        return "ended"
    return "running" if of.phases[0].start <= now_ms else "scheduled"


def _phases(old: tuple[Phase, ...], new: tuple[Phase, ...], now_ms: int) -> list[str]:
    begun = sum(one.start <= now_ms for one in old)
    lines = [
        f"phases[{at}]: expected {_shown(one)}, got {_shown(new[at]) if at < len(new) else 'nothing'}: "
        "it has begun, and its units were assigned by it"
        for at, one in enumerate(old[:begun])
        if at >= len(new) or new[at] != one
    ]
    lines += [
        f"phases[{begun + at}].start: expected a time from now on, got {one.start}: "
        "units that came since then were assigned by the phase before"
        for at, one in enumerate(new[begun:])
        if one.start <= now_ms
    ]
    return lines


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else text[:197] + "..."
