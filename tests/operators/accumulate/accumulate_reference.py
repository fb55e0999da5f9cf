"""Accumulation by brute force: every row is remembered for ever, and every unit is worked out anew from all of them.

It follows the rules as they are written in docs/experiments.md and shares no code with the stage but the names of
topics: plain dictionaries, `math.fsum`, and a search through the whole past for each unit.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from operators.accumulate.observed import (
    EXPOSED,
    MEASURED,
    TICKED,
    TIERED,
    Observations,
    Observed,
    experiment_key,
    measure_key,
)
from operators.batches import Span
from schemas.definition import Definition, Metric, Phase

NOTHING = math.nan
STRATA, RISKY = 5, 3
GREATEST = 1e75


class Row(NamedTuple):
    kind: int
    unit: int
    time_ms: int
    id_hash: int = 0
    what: int = 0
    arm: int = 0
    phase: int = -1
    value: float = 0.0
    pre: float = NOTHING


def rows(listed):
    """Return rows as the stage takes them."""
    columns = list(zip(*listed, strict=True)) if listed else [()] * 9
    kinds = (np.int64, np.uint64, np.int64, np.uint64, np.uint64, np.int64, np.int64, np.float64, np.float64)
    return Observed(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))


def batch(listed, first=0):
    """Return rows as a batch in which each record made one row."""
    return Observations(Span(0, first, first + len(listed)), "exposures", rows(listed), [], len(listed))


def metric(name, kind="mean", event=None, value="value", **more):
    return Metric(name=name, kind=kind, event=event or name, topic="metrics", value=value, **more)


def experiment(name="e", primary=None, window_s=300, **more):
    primary = primary or metric("spend")
    defaults = {
        "version": 1,
        "timestamp": 0,
        "seed": name,
        "variations": ("control", "new"),
        "phases": (Phase(start=0, coverage=1.0, weights=(0.5, 0.5)),),
        "alpha": 0.05,
        "tuning_n": 5_000,
        "minimum_run_s": 0,
        "mde": 0.1,
        "cuped": True,
    }
    return Definition(id=name, primary=primary, attribution_window_s=window_s, **{**defaults, **more})


def listed_metrics(definition):
    return (definition.primary, *definition.secondary, *(each.metric for each in definition.guardrails))


def measures(of):
    """Return the keys of what a metric adds up: one, or two of a ratio."""
    above = measure_key(of.topic, of.event, of.value, of.where)
    if of.kind != "ratio":
        return [above]
    return [above, measure_key(of.topic, of.denominator_event or of.event, of.denominator, of.where)]


def shown(unit, time_ms, name="e", arm=0, arms=("control", "new"), **more):
    return Row(EXPOSED, unit, time_ms, what=experiment_key(name, arms), arm=arm, **more)


def measured(unit, time_ms, value=1.0, of="spend", **more):
    key = of if isinstance(of, int) else measures(metric(of))[0]
    return Row(MEASURED, unit, time_ms, what=key, value=value, **more)


def decided(unit, time_ms, stratum, **more):
    return Row(TIERED, unit, time_ms, arm=stratum, **more)


def tick(time_ms):
    return Row(TICKED, 0, time_ms)


@dataclass
class Unit:
    """A unit in an experiment."""

    created: int
    shown: list = field(default_factory=list)  # (time, arrival, arm, phase, pre)
    settled: tuple | None = None

    @property
    def first(self):
        return min(self.shown, key=lambda each: each[:2])


class Reference:
    """The stage, by brute force; bounds are out of reach."""

    def __init__(self, config, definitions):
        self.config, self.definitions = config, {each.id: each for each in definitions}
        self.stream = None
        self.proposals, self.objectors = {}, set()
        self.waiting = []
        self.seen = {}
        self.past = []  # (row, late)
        self.units = {name: {} for name in self.definitions}
        self.refused = {name: Counter() for name in (None, *self.definitions)}

    @property
    def lateness(self):
        return self.config.allowed_lateness_s * 1_000

    def is_ahead(self, row):
        """A jump of stream time, as the risk flow has it: three units must confirm it."""
        gap, before = self.config.max_gap_s * 1_000, self.stream
        ahead = False
        while not ahead and self.stream is not None and row.time_ms > self.stream + gap:
            ahead = row.kind == TIERED
            if not ahead:
                self.drop_reached(gap)
                self.proposals[row.unit] = row.time_ms
                ahead = len(self.proposals) < 3
            if not ahead:
                self.stream = min(self.proposals.values())
                self.drop_reached(gap)
        if self.stream != before:
            reached, self.stream = self.stream, before
            self.take_due(reached, told=True)
            self.stream = reached
        return ahead

    def advance(self, row):
        """Stream time goes on; three units who do not see a jump contradict it."""
        self.stream = max(self.stream, row.time_ms)
        if self.proposals:
            self.objectors.add(row.unit)
            if len(self.objectors) == 3:
                self.proposals, self.objectors = {}, set()

    def take_due(self, until_ms, told):
        """What waits for a time up to this one, in the order of time."""
        for row in sorted((row for row in self.waiting if row.time_ms <= until_ms), key=lambda row: row.time_ms):
            self.waiting.remove(row)
            self.stream = max(self.stream, row.time_ms) if told else self.stream
            self.count(row)

    def drop_reached(self, gap):
        self.proposals = {unit: time for unit, time in self.proposals.items() if time - self.stream > gap}
        if not self.proposals:
            self.objectors = set()

    def process(self, listed):
        for row in listed:
            self.take(row)

    def take(self, row):
        if row.kind == TICKED:
            if self.stream is None or row.time_ms > self.stream:
                self.take_due(row.time_ms, told=True)
                self.stream = row.time_ms
            self.settle()
        elif row.kind == TIERED and not self.config.tiers:
            pass
        elif self.is_ahead(row):
            self.waiting.append(row)
        else:
            self.take_due(row.time_ms, told=False)
            self.count(row)

    def count(self, row):
        window = self.config.dedup_window_s * 1_000
        if row.id_hash in self.seen and (self.stream or 0) - self.seen[row.id_hash] <= window:
            self.refused[None]["duplicate"] += 1
            return
        late = self.stream is not None and row.time_ms < self.stream - self.lateness
        if row.kind != TIERED and not late:
            self.stream = row.time_ms if self.stream is None else self.stream
            self.advance(row)
        self.settle()
        if row.id_hash:
            self.seen[row.id_hash] = self.stream or 0
        if row.kind == EXPOSED:
            self.expose(row, late)
        elif (row.kind == MEASURED and self.usable(row, late)) or row.kind == TIERED:
            self.past.append((row, late))

    def named(self, key):
        return next(
            (name for name in self.definitions if experiment_key(name, self.definitions[name].variations) == key), None
        )

    def expose(self, row, late):
        name = self.named(row.what)
        reason = self.why_not(row, late, self.definitions.get(name))
        if reason:
            self.refused[name][reason] += 1
            return
        starts = [phase.start for phase in self.definitions[name].phases]
        phase = row.phase if row.phase >= 0 else max(i for i, start in enumerate(starts) if start <= row.time_ms)
        unit = self.units[name].setdefault(row.unit, Unit(len(self.past)))
        pre = row.pre if abs(row.pre) <= GREATEST else NOTHING
        if unit.settled:
            unit.shown.append((math.inf, len(self.past), row.arm, phase, pre))  # too late to be the first
        else:
            unit.shown.append((row.time_ms, len(self.past), row.arm, phase, pre))

    def why_not(self, row, late, definition):
        if late:
            return "late"
        if definition is None:
            return "no_experiment"
        if not 0 <= row.arm < len(definition.variations):
            return "no_variation"
        if row.time_ms < definition.phases[0].start:
            return "before_start"
        if definition.end is not None and row.time_ms >= definition.end:
            return "after_end"
        begins = [phase.start for phase in definition.phases] + [math.inf]
        begun = begins[min(max(row.phase, 0), len(definition.phases))] <= row.time_ms + self.lateness
        return None if row.phase < 0 or begun else "no_phase"

    def usable(self, row, late):
        """Count what does not count of a record, and say whether anything can be made of it."""
        users = [
            (name, of)
            for name, definition in self.definitions.items()
            for of in listed_metrics(definition)
            for key in measures(of)
            if key == row.what
        ]
        for name, of in users:
            if abs(row.value) > GREATEST:
                self.refused[name]["too_large"] += 1
                continue
            if math.isnan(row.value) and of.kind != "proportion":
                self.refused[name]["no_value"] += 1
            unit = self.units[name].get(row.unit)
            if late and unit and unit.settled:
                since = row.time_ms - unit.settled[0]
                if 0 <= since < self.definitions[name].attribution_window_s * 1_000:
                    self.refused[name]["late"] += 1
        return not abs(row.value) > GREATEST

    def settle(self):
        for name, units in self.units.items():
            window = self.definitions[name].attribution_window_s * 1_000
            for number, unit in units.items():
                if unit.settled is None and unit.first[0] + window + self.lateness <= self.stream:
                    unit.settled = (unit.first[0], *self.worth(name, number, unit))

    def worth(self, name, number, unit):
        """Return a unit's cell, and of each metric y, d, x, w, by all that was ever seen."""
        definition = self.definitions[name]
        first, arrival, arm, phase, pre = unit.first
        window, before = definition.attribution_window_s * 1_000, definition.pre_period_s * 1_000
        mine = [(at, row, late) for at, (row, late) in enumerate(self.past) if row.unit == number]
        within = [
            row for at, row, late in mine if first <= row.time_ms < first + window and (not late or at >= unit.created)
        ]
        earlier = [row for _, row, late in mine if not late and first - before <= row.time_ms < first]
        stratum = 0
        if self.config.tiers:
            known = [
                (row.time_ms, row.arm)
                for at, row, late in mine
                if row.kind == TIERED and row.time_ms < first and (not late or at < arrival)
            ]
            stratum = max(known, default=(0, 0))[1]
        found = []
        for index, of in enumerate(listed_metrics(definition)):
            keys = measures(of)
            told = pre if index == 0 else NOTHING
            y, x = self.part(of, keys[0], within, earlier, told)
            cap = of.cap or math.inf
            d, w = 1.0, 1.0
            if len(keys) > 1:
                d, w = self.part(of, keys[1], within, earlier, NOTHING if math.isnan(told) else 1.0)
            found.append((min(y, cap), d, min(x, cap), w))
        if self.config.tiers:
            risky = any(row.kind == TIERED and row.arm >= RISKY for row in within)
            found.append((float(risky), 1.0, 0.0, 1.0))
        return (phase, stratum, arm), found

    def part(self, of, key, within, earlier, told):
        def total(listed):
            listed = [row for row in listed if row.kind == MEASURED and row.what == key]
            if of.kind == "proportion":
                return float(bool(listed))
            return math.fsum(row.value for row in listed if not math.isnan(row.value))

        if math.isnan(told):
            tellers = [row.pre for row in within if row.kind == MEASURED and row.what == key]
            told = next((pre for pre in tellers if abs(pre) <= GREATEST), NOTHING)
        return total(within), total(earlier) if math.isnan(told) else told

    def totals(self, name):
        """Return matured (metrics, phases, strata, arms, 15), open (..., 3), exposed, several, and refusals."""
        definition = self.definitions[name]
        metrics = len(listed_metrics(definition)) + self.config.tiers
        shape = (len(definition.phases), STRATA, len(definition.variations))
        settled, open_ = {}, np.zeros((metrics, *shape, 3))
        exposed, several = np.zeros(shape), np.zeros(shape)
        for number, unit in self.units[name].items():
            cell, worth = unit.settled[1:] if unit.settled else self.worth(name, number, unit)
            exposed[cell] += 1
            several[cell] += len({each[2] for each in unit.shown}) > 1
            for index, values in enumerate(worth):
                if unit.settled:
                    settled.setdefault((index, *cell), []).append(values)
                else:
                    of = [*listed_metrics(definition), None][index]
                    y = self.uncapped(name, number, unit, index) if of else values[0]
                    open_[(index, *cell)] += (1, y, values[1])
        matured = np.zeros((metrics, *shape, 15))
        for cell, units in settled.items():
            pairs = combinations_with_replacement(range(4), 2)
            matured[cell] = [
                len(units),
                *(math.fsum(unit[i] for unit in units) for i in range(4)),
                *(math.fsum(unit[i] * unit[j] for unit in units) for i, j in pairs),
            ]
        return matured, open_, exposed, several, {key: n for key, n in self.refused[name].items() if n}

    def uncapped(self, name, number, unit, index):
        """Return a unit's y so far; the cap is put on when its window closes."""
        first, window = unit.first[0], self.definitions[name].attribution_window_s * 1_000
        of = listed_metrics(self.definitions[name])[index]
        within = [
            row
            for at, (row, late) in enumerate(self.past)
            if row.unit == number and first <= row.time_ms < first + window and (not late or at >= unit.created)
        ]
        return self.part(of, measures(of)[0], within, [], NOTHING)[0]
