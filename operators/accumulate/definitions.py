"""The definitions that are in force, by slot, and which changes fit what has been counted."""

from collections.abc import Mapping, Sequence

import msgspec

from operators.accumulate.plan import measures_of, metrics_of
from operators.accumulate.pool import WIDEST
from schemas.definition import Definition

Slots = tuple[Definition | None, ...]


def fits(old: Definition, new: Definition, phases: int) -> bool:
    """Return whether what was counted by one definition stands under another.

    Args:
        old: by which it was counted.
        new: which shall hold from now on.
        phases: how many phases, from the first on, have units.
    """
    same = ("variations", "attribution_window_s", "pre_period_s")
    return (
        all(getattr(old, name) == getattr(new, name) for name in same)
        and metrics_of(old) == metrics_of(new)
        and old.phases[:phases] == new.phases[:phases]
    )


def too_wide(definition: Definition) -> bool:
    """Return whether a definition adds up more numbers of a unit than there is room for."""
    return sum(len(measures_of(metric)) for metric in metrics_of(definition)) >= WIDEST


class Change:
    """What a set of new definitions comes to.

    Args:
        slots: definitions in force.
        phases: of each slot, how many phases, from the first on, have units; 0: nothing was counted.
        told: newest definition by experiment, None where one was taken back.

    Attributes:
        slots: definitions from now on.
        kept: by slot, whether what was counted stands.
        dropped: slots whose experiment goes, with what was counted.
        misfits: slots whose definition stays as it was, since the new one does not fit.
        unplaced: ids of experiments that have more metrics than can be counted.
    """

    def __init__(
        self, slots: Sequence[Definition | None], phases: Sequence[int], told: Mapping[str, Definition | None]
    ) -> None:
        found = list(slots)
        self.kept = [True] * len(found)
        self.dropped: list[int] = []
        self.misfits: list[int] = []
        self.unplaced: list[str] = []
        by_id = {each.id: slot for slot, each in enumerate(found) if each is not None}
        for name, new in told.items():
            slot = by_id.get(name)
            old = None if slot is None else found[slot]
            if new is None:
                if slot is not None:
                    found[slot], self.kept[slot] = None, False
                    self.dropped.append(slot)
            elif too_wide(new):
                self.unplaced.append(name)
            elif slot is None or old is None:
                slot = next((at for at, each in enumerate(found) if each is None), len(found))
                found[slot : slot + 1] = [new]
                self.kept[slot : slot + 1] = [False]
            elif phases[slot] and not fits(old, new, phases[slot]):
                self.misfits.append(slot)
            elif new != old:
                found[slot], self.kept[slot] = new, bool(phases[slot])
        self.slots: Slots = tuple(found)


def written(slots: Sequence[Definition | None]) -> str:
    """Return definitions by slot as text."""
    return msgspec.json.encode(list(slots)).decode()


def read(text: str) -> Slots:
    """Return what `written` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        return msgspec.json.decode(text, type=Slots)
    except msgspec.MsgspecError as error:
        raise ValueError(f"expected definitions, got something else: {error}") from error
