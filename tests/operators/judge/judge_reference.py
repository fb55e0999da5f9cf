"""What the judge stage should say, by brute force: everything is kept, and each figure is worked out by its formula."""

import itertools
import math
from typing import Any

from judge_streams import GROUPS, USER_GROUPS, Asked

from operators.lists import SOURCES
from operators.noticed import CLICK, PURCHASE

CONFIRM = 3


class Clock:
    """Stream time: of requests at once; of interactions unless they are ahead and no three users confirm it.

    By the rules that `operators.featurize.sequence` states.
    """

    def __init__(self, gap):
        self.now, self.gap, self.proposals, self.objectors = None, gap, {}, set()

    def request(self, time_ms):
        self.now = time_ms if self.now is None else max(self.now, time_ms)

    def interaction(self, user, time_ms):
        if self.now is None:
            return False
        while time_ms > self.now + self.gap:
            self._drop()
            self.proposals[user] = time_ms
            if len(self.proposals) < CONFIRM:
                return False
            self.now = min(self.proposals.values())
            self._drop()
        self.now = max(self.now, time_ms)
        if self.proposals:
            self.objectors.add(user)
            if len(self.objectors) == CONFIRM:
                self.proposals, self.objectors = {}, set()
        return True

    def _drop(self):
        self.proposals = {user: time for user, time in self.proposals.items() if time - self.now > self.gap}
        if not self.proposals:
            self.objectors = set()


class Waiting:
    """One list that was let in."""

    def __init__(self, asked: Asked, config, at: int) -> None:
        n = len(asked.item)
        defaults = {"after": list(range(n)), "score": [0.0] * n, "popularity": [0.0] * n, "source": [1] * n}
        defaults |= {"probability": [math.nan] * n, "group": [0] * n}
        asked = asked._replace(**{k: v for k, v in defaults.items() if getattr(asked, k) is None})
        self.asked = asked
        self.at = at
        shown = min(asked.count, len(asked.item))
        after = asked.after
        rest = sorted(after[shown:], key=lambda c: -asked.score[c])
        self.kept = (after[:shown] + rest)[: config.max_kept]
        self.shown = self.kept[:shown]
        self.who = asked.user or asked.session
        self.grade = dict.fromkeys(self.shown, 0)
        self.clicked: set[int] = set()
        self.nexts: list[tuple[int, int]] = []  # of the user, time and item, in the order in which they came
        self.state = "open"


def weight(place):
    return 1.0 / math.log2(2 + place)


def dcg(gains, k):
    return sum(gain * weight(place) for place, gain in enumerate(gains[:k]))


def ndcg(gains, k):
    return dcg(gains, k) / dcg(sorted(gains, reverse=True), k)


def run(stream, config) -> tuple[list[Waiting], list[tuple[int, int]]]:
    """Return all lists with what happened to each, and the stretches that ended: number, and place in the stream."""
    clock, lists, ended = Clock(config.max_gap_s * 1_000), [], []
    within, lateness = config.within_s * 1_000, config.lateness_s * 1_000
    window = config.window_s * 1_000

    def over(time_ms):
        return time_ms + within + lateness < clock.now

    for at, one in enumerate(stream):
        if isinstance(one, Asked):
            if one.flag:
                continue
            clock.request(one.time_ms)
            for each in [each for each in lists if each.state == "open"]:
                if not over(each.asked.time_ms):
                    break  # those behind wait
                each.state = "judged"
            numbers = {each.asked.time_ms // window for each in lists} - {number for number, _ in ended}
            for number in sorted(numbers):
                if not over((number + 1) * window):
                    break
                if any(each.state == "open" and each.asked.time_ms // window == number for each in lists):
                    break
                ended.append((number, at))
            if over(one.time_ms):
                continue
            waiting = [each for each in lists if each.state == "open"]
            if len(waiting) == config.max_lists:
                waiting[0].state = "evicted"
            lists.append(Waiting(one, config, at))
            continue
        who = one.user or one.session
        if not clock.interaction(who, one.time_ms) or one.kind not in (CLICK, PURCHASE):
            continue

        def counts(each, time_ms=one.time_ms):
            began = each.asked.time_ms
            return each.state == "open" and began <= time_ms <= began + within and not over(began)

        same = [each for each in lists if each.asked.ranking == one.ranking]
        if one.ranking and same and counts(same[-1]):
            found = same[-1]
            if not (found.asked.user and one.user and found.asked.user != one.user):
                mine = [c for c in found.shown if found.asked.item[c] == one.item][:1]
                for c in mine:
                    found.grade[c] = max(found.grade[c], 1 if one.kind == CLICK else 2)
        if who:
            for each in [each for each in lists if each.who == who][-16:]:
                if counts(each):
                    each.nexts.append((one.time_ms, one.item))
    return lists, ended


def figures(lists, number, config) -> dict[str, Any]:
    """Return the figures of one stretch, by name."""
    window = config.window_s * 1_000
    shown = [each for each in lists if each.asked.time_ms // window == number]
    judged = [each for each in shown if each.state == "judged"]
    clicked = [each for each in judged if any(each.grade.values())]

    def gains(each):
        return [each.grade[c] for c in each.shown]

    def by_popularity(each):
        order = sorted(range(len(each.shown)), key=lambda j: -each.asked.popularity[each.shown[j]])
        return [each.grade[each.shown[j]] for j in order]

    def reciprocal(each):
        return next((1.0 / (1 + j) for j, gain in enumerate(gains(each)[: config.k]) if gain), 0.0)

    def mean(values):
        return sum(values) / len(values) if values else None

    nexts = [(each, min(each.nexts, key=lambda one: one[0])[1]) for each in judged if each.nexts]
    source = [next((each.asked.source[c] for c in each.kept if each.asked.item[c] == item), 0) for each, item in nexts]
    had = {bit for each in shown for c in each.kept for bit in range(len(SOURCES)) if each.asked.source[c] >> bit & 1}
    pairs = [
        (each.asked.probability[c], float(each.grade[c] > 0))
        for each in judged
        for c in each.shown
        if not math.isnan(each.asked.probability[c])
    ]
    edges = (0.0, *config.bins, 2.0)
    bins = [[(p, y) for p, y in pairs if low <= p < high] for low, high in itertools.pairwise(edges)]
    models = {each.asked.model for each in shown}
    return {
        "lists": len(shown),
        "evicted": sum(each.state == "evicted" for each in shown),
        "model": models.pop() if len(models) == 1 else "several",
        "clicked": len(clicked),
        "asked": len(nexts),
        "ndcg": mean([ndcg(gains(each), config.k) for each in clicked]),
        "ndcg_popularity": mean([ndcg(by_popularity(each), config.k) for each in clicked]),
        "mrr": mean([reciprocal(each) for each in clicked]),
        "recall": mean([float(bool(bits)) for bits in source]),
        "recall_of": {SOURCES[bit]: mean([float(bits >> bit & 1) for bits in source]) for bit in sorted(had)}
        if source
        else {},
        "brier": mean([(p - y) ** 2 for p, y in pairs]),
        "ece": sum(abs(sum(p for p, _ in each) - sum(y for _, y in each)) for each in bins) / len(pairs)
        if pairs
        else None,
        "reliability": [(len(each), mean([p for p, _ in each]), mean([y for _, y in each])) for each in bins if each],
        "user_groups": [
            (name, len(mine), mean([ndcg(gains(each), config.k) for each in mine]))
            for at, name in enumerate(("other", *USER_GROUPS))
            for mine in [[each for each in clicked if each.asked.user_group == at]]
        ],
        "clicks": [
            sum(each.grade[c] > 0 and each.asked.group[c] == at for each in judged for c in each.shown)
            for at in range(len(GROUPS) + 1)
        ],
    }


def exposure(each):
    """Return the exposure of each candidate of a list, by candidate."""
    shown = min(each.asked.count, len(each.asked.item))
    after = each.asked.after
    return {c: weight(j) if j < shown else 0.0 for j, c in enumerate(after)}


def difference(each, group, *, by_merit):
    """Return what is bet on, or None."""
    mine = [c for c, of in enumerate(each.asked.group) if of == group]
    others = [c for c in range(len(each.asked.item)) if c not in mine]
    merit = each.asked.probability
    if not mine or not others or (by_merit and any(map(math.isnan, merit))):
        return None
    seen = exposure(each)

    def mean(values, of):
        return sum(values[c] for c in of) / len(of)

    if by_merit:
        return mean(seen, mine) * mean(merit, others) - mean(seen, others) * mean(merit, mine)
    return mean(seen, mine) - mean(seen, others)


def wagers(differences, tolerance):
    """Return ln E after each list, by the recursion that `ranking.betting` cites, in plain floats."""
    wealth, fraction, squares, found = [1.0, 1.0], [0.0, 0.0], [1.0, 1.0], []
    for d in differences:
        for side, sign in enumerate((1.0, -1.0)):
            x = (sign * d - tolerance) / (1.0 + tolerance)
            growth = 1.0 + fraction[side] * x
            wealth[side] *= growth
            z = -x / growth
            squares[side] += z * z
            fraction[side] = min(0.5, max(0.0, fraction[side] - 2.0 / (2.0 - math.log(3.0)) * z / squares[side]))
        found.append(math.log(sum(wealth) / 2.0))
    return found


def alarm(lists, before, group, config):
    """Return what the alarm on a group says of the lists that came before a place of the stream, and where it fired."""
    bets = [(each, difference(each, group, by_merit=config.by_merit)) for each in lists if each.at < before]
    bets = [(each, d) for each, d in bets if d is not None]
    log_e = wagers([d for _, d in bets], config.tolerance)
    fired = next((each.at for (each, _), e in zip(bets, log_e, strict=True) if e >= math.log(1 / config.alpha)), None)
    apart = sum(d for _, d in bets) / len(bets) if bets else None
    return {
        "log_e": ([0.0, *log_e])[-1],
        "largest": max([0.0, *log_e]),
        "lists": len(bets),
        "apart": apart,
        "fired": fired,
    }


def fails(protected, p, alpha):
    """Return whether any prefix has so few protected items that draws have so few with probability alpha or less."""
    for i in range(1, len(protected) + 1):
        law = [math.comb(i, m) * p**m * (1 - p) ** (i - m) for m in range(sum(protected[:i]) + 1)]
        if math.fsum(law) <= alpha:
            return True
    return False


def served(lists, number, config) -> dict[str, Any]:
    """Return the figures of one stretch that are known as soon as its lists are shown."""
    shown = [each for each in lists if each.asked.time_ms // (config.window_s * 1_000) == number]
    steps = {}
    for name in ("uplift", "risk", "fairness"):
        having = [(each, step) for each in shown for step in each.asked.steps if step.name == name]
        moved = [
            step.before[j] != step.after[j]
            for each, step in having
            for j in range(min(each.asked.count, len(each.asked.item)))
        ]
        if having:
            steps[name] = (sum(step.cost for _, step in having) / len(having), sum(moved) / max(1, len(moved)))
    groups = []
    everything = [
        (each.asked.group[c], seen, p)
        for each in shown
        for c, seen in exposure(each).items()
        for p in [each.asked.probability[c]]
    ]

    def per_merit(having):
        having = [(seen, p) for _, seen, p in having if not math.isnan(p)]
        merit = sum(p for _, p in having)
        return sum(seen for seen, _ in having) / merit if merit else None

    for at in range(len(GROUPS) + 1):
        mine = [each for each in everything if each[0] == at]
        known = [p for *_, p in mine if not math.isnan(p)]
        of, overall = per_merit(mine), per_merit(everything)
        groups.append(
            (
                len(mine),
                sum(seen > 0 for _, seen, _ in mine),
                sum(seen for _, seen, _ in mine) / len(mine) if mine else 0.0,
                sum(known) / len(known) if known else None,
                of / overall if of is not None and overall else None,
            )
        )
    tests = {}
    for at, name in enumerate(GROUPS, 1):
        results = []
        for each in shown:
            group = each.asked.group
            after = each.asked.after
            share = (
                config.shares.get(name) or math.floor(100 * group.count(at) / len(group) + 1e-9) / 100 if group else 0
            )
            top = [group[c] == at for c in after[: min(each.asked.count, config.k)]]
            if 0 < group.count(at) < len(group) and top and share:
                results.append(fails(top, share, config.minimum_alpha))
        if results:
            tests[name] = (len(results), sum(results))
    return {"steps": steps, "groups": groups, "minimum": tests}
