"""The stage that judges lists, for one partition of `ranking.requests`.

What a list shows is known when it is answered: exposure, tests, costs of steps, the alarm. What it was worth is known
when its time is over: then it is judged by the grades it got, once. Lists that are flagged change nothing and are not
judged; nor is one whose time is over when it comes.

All that is told follows from the order of records alone: interactions change what is kept of lists, and only requests
let lists leave and end stretches.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict

import msgspec
import numpy as np

from operators.batches import F64, I64, Change
from operators.fingerprint import fingerprint
from operators.judge.config import JudgeConfig
from operators.judge.fairness import differences, due_share, exposures, least
from operators.judge.loop import Times
from operators.judge.pending import Arriving, Pending, Shown
from operators.judge.quality import Alarms, Stretch, quality, rounded
from operators.judge.sums import STEPS, Shape, Sums, size
from operators.lists import SOURCES, Judged, Ordered
from operators.noticed import Interactions
from operators.parts import EVERYTHING, Sweep
from operators.side import Side
from operators.state import Measurement, State
from ranking.betting import FairnessAlarm
from ranking.fair import satisfies
from ranking.gain import linear, ndcg, ranking, reciprocal_rank
from ranking.rerank import Step
from schemas.quality import Quality

_LAYOUT = 1  # version of what `dump` returns; raise it whenever the meaning of a state changes
_CLICK, _PURCHASE = 1.0, 2.0
GRADES: F64 = np.array([0.0, _CLICK, _PURCHASE, _PURCHASE])
"""By the bits of what happened: a click is worth 1, a purchase 2, with or without a click. The gain is linear."""

_decode = msgspec.json.Decoder(Quality).decode


class Judge:
    """State of the stage for one partition.

    Attributes:
        config: as given.
        groups: names of groups of items, from number 1 on.
        user_groups: names of groups of users, from number 1 on.
        fingerprint: of the state's layout and the configuration it depends on.
    """

    def __init__(
        self,
        config: JudgeConfig,
        groups: tuple[str, ...] = (),
        user_groups: tuple[str, ...] = (),
        upstream: str = "",
    ) -> None:
        """Set up the empty state.

        Args:
            config: settings.
            groups: names of groups of items; number g of `Lists.group` is `groups[g - 1]`.
            user_groups: names of groups of users, likewise.
            upstream: fingerprint of what the state is about, such as the pseudonym key.

        Raises:
            ValueError: a share of a group that is not there, or bins that do not ascend.
        """
        if mistakes := list(config.mistakes(groups)):
            raise ValueError("; ".join(mistakes))
        self.config = config
        self.groups, self.user_groups = groups, user_groups
        fields = asdict(config) | {"shares": tuple(sorted(config.shares.items()))}
        self.fingerprint = fingerprint(_LAYOUT, upstream, groups=groups, user_groups=user_groups, **fields)
        times = Times(config.within_s * 1_000, config.lateness_s * 1_000, config.max_gap_s * 1_000)
        self._shape = Shape(len(groups) + 1, len(user_groups) + 1, len(config.bins) + 1)
        self._edges: F64 = np.array(config.bins)
        self._pending = Pending(config.max_lists, config.max_kept, times)
        self._open: dict[int, Sums] = {}  # by number of the stretch
        self._betting = FairnessAlarm((len(groups),), config.tolerance)
        self._apart: F64 = np.zeros(len(groups))  # sum of differences that were bet on
        self._fired = np.zeros(len(groups), np.bool_)
        self._lists = self._evicted = 0
        self._newest: Quality | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the lists that are waited for."""
        return self._pending.nbytes

    def process(self, batch: Ordered) -> Judged:
        """Take in lists as they are answered; return what became known, and alarms that went off."""
        found, alarms = list[Quality](), list[Change]()
        lists = batch.scored.lists
        for at, flag in enumerate(lists.flags.tolist()):
            if flag:
                continue
            time_ms = int(lists.requests.time_ms[at])
            self._pending.advance(time_ms)
            self._leave()
            found += self._ended(batch.span.partition)
            if not self._pending.over(time_ms):  # so its stretch is not over either
                alarms += self._answered(batch, at, self._stretch(time_ms, batch.scored.model))
        return Judged(batch, found, alarms)

    def take_side(self, side: Side) -> None:
        """Take in interactions. What they change is told with requests."""
        if isinstance(side.noticed, Interactions):
            self._pending.notice(side.noticed)

    def _stretch(self, time_ms: int, model: str) -> Sums:
        number = time_ms // (self.config.window_s * 1_000)
        if number not in self._open:
            self._open[number] = Sums(self._shape)
        sums = self._open[number]
        sums.model = model if sums.model in ("", model) else "several"
        return sums

    def _sums_of(self, time_ms: int) -> Sums:
        return self._open[time_ms // (self.config.window_s * 1_000)]

    def _leave(self) -> None:
        """Judge the lists whose time is over. One that came out of order waits for those before it."""
        while (oldest := self._pending.oldest_ms) is not None and self._pending.over(oldest):
            one = self._pending.take()
            self._judge(one, self._sums_of(one.time_ms))

    def _ended(self, partition: int) -> Iterable[Quality]:
        """Return the records of stretches that are over, oldest first."""
        window = self.config.window_s * 1_000
        while self._open:
            number = min(self._open)
            until = (number + 1) * window
            if not self._pending.over(until) or self._open[number].waiting:
                break
            stretch = Stretch(partition, number * window, until, self.config.k)
            sums = self._open.pop(number)
            self._newest = quality(stretch, sums, self._alarms(), self.groups, self.user_groups)
            yield self._newest

    def _alarms(self) -> Alarms:
        betting, config = self._betting, self.config
        told = (betting.log_e, betting.log_largest, betting.lists, self._apart, self._fired)
        return Alarms(*told, config.alpha, config.tolerance)

    def _answered(self, batch: Ordered, at: int, sums: Sums) -> list[Change]:
        """Count what a list shows, and wait for what comes of it."""
        lists, config = batch.scored.lists, self.config
        here = slice(int(lists.starts[at]), int(lists.starts[at + 1]))
        after, probability = batch.after[here], batch.scored.probability[here]
        shown = min(int(lists.count[at]), len(after))
        group = np.where(lists.group[here] < self._shape.groups, lists.group[here], 0)
        sums.add("lists")
        self._lists += 1
        self._steps(batch.steps[at], shown, sums)
        exposure = exposures(len(after), after, shown)
        changes = []
        if self.groups:
            self._expose(exposure, group, after[:shown], probability, sums)
            self._minimum(group[after[:shown]], group, sums)
            apart = differences(exposure, group, len(self.groups), probability if config.by_merit else None)
            changes = self._bet(apart, int(lists.requests.offsets[at]), int(lists.requests.time_ms[at]))
        if len(self._pending) == config.max_lists:
            self._sums_of(self._pending.take().time_ms).add("evicted")
            self._evicted += 1
        kept = after[: config.max_kept]
        if shown < len(kept):
            kept = np.concatenate([after[:shown], self._by_score(batch.scored.score[here], after[shown:])])
            kept = kept[: config.max_kept]
        seen = kept[:shown]
        user = int(lists.requests.user[at])
        user_group = int(lists.user_group[at])
        self._pending.add(
            Arriving(
                int(lists.requests.time_ms[at]),
                user,
                user or int(lists.requests.session[at]),
                int(lists.requests.ranking[at]),
                user_group if user_group < self._shape.user_groups else 0,
                lists.item[here][kept],
                lists.source[here][kept],
                probability[seen],
                group[seen],
                ranking(lists.popularity[here][seen]),
            )
        )
        had = np.bitwise_or.reduce(lists.source[here][kept]) if len(kept) else 0
        sums["had"][:] += (int(had) >> np.arange(len(SOURCES))) & 1
        return changes

    @staticmethod
    def _by_score(score: F64, rest: I64) -> I64:
        return rest[ranking(score[rest])]

    def _steps(self, steps: tuple[Step, ...], shown: int, sums: Sums) -> None:
        for step in steps:
            number = STEPS.index(step.name)
            sums["step_lists"][number] += 1.0
            sums["step_cost"][number] += step.cost
            sums["step_moved"][number] += np.count_nonzero(step.before[:shown] != step.after[:shown])
            sums["step_places"][number] += shown

    def _expose(self, exposure: F64, group: I64, seen: I64, probability: F64, sums: Sums) -> None:
        groups, known = self._shape.groups, ~np.isnan(probability)
        sums["items"][:] += np.bincount(group, minlength=groups)
        sums["shown"][:] += np.bincount(group[seen], minlength=groups)
        sums["exposure"][:] += np.bincount(group, exposure, groups)
        sums["merit_items"][:] += np.bincount(group[known], minlength=groups)
        sums["merit"][:] += np.bincount(group[known], probability[known], groups)
        sums["merit_exposure"][:] += np.bincount(group[known], exposure[known], groups)

    def _minimum(self, seen: I64, group: I64, sums: Sums) -> None:
        """Test the first places for each group that stands among the candidates, beside others."""
        config = self.config
        places = min(len(seen), config.k)
        size_of = np.bincount(group, minlength=self._shape.groups)
        for at, name in enumerate(self.groups):
            mine = int(size_of[at + 1])
            share = config.shares.get(name) or due_share(mine, len(group))
            if not (0 < mine < len(group) and places and share > 0.0):
                continue
            test = least(places, share, config.minimum_alpha, adjusted=config.minimum_adjusted)
            sums["tested"][at] += 1.0
            sums["expected"][at] += test.fails
            sums["failed"][at] += not satisfies(seen == at + 1, test.table).all()

    def _bet(self, apart: F64, offset: int, time_ms: int) -> list[Change]:
        """Bet on a list; return the alarms that went off with it."""
        self._betting.bet(apart)
        self._apart += np.nan_to_num(apart)
        fired = self._betting.log_largest >= -math.log(self.config.alpha)
        news, self._fired = fired & ~self._fired, fired
        return [self._alarm(int(at), offset, time_ms) for at in np.flatnonzero(news)]

    def _alarm(self, at: int, offset: int, time_ms: int) -> Change:
        lists = int(self._betting.lists[at])
        return Change(
            offset,
            time_ms,
            "fairness",
            {
                "group": self.groups[at],
                "log_e": rounded(float(self._betting.log_e[at])),
                "lists": lists,
                "difference": rounded(float(self._apart[at]) / lists),
                "alpha": self.config.alpha,
                "tolerance": self.config.tolerance,
                "due": "merit" if self.config.by_merit else "size",
            },
        )

    def _judge(self, one: Shown, sums: Sums) -> None:
        """Judge a list whose time is over."""
        sums.add("judged")
        clicked = one.grade > 0
        if clicked.any():
            gain = linear(GRADES[one.grade])
            value = float(ndcg(gain, self.config.k))
            sums.add("clicked")
            sums.add("ndcg", value)
            sums.add("ndcg_popularity", float(ndcg(gain[one.by_popularity], self.config.k)))
            sums.add("mrr", float(reciprocal_rank(clicked, self.config.k)))
            sums["user_lists"][one.user_group] += 1.0
            sums["user_ndcg"][one.user_group] += value
            sums["clicks"][:] += np.bincount(one.group[clicked], minlength=self._shape.groups)
        if one.next_ms >= 0:
            sums.add("asked")
            sums.add("found", float(one.next_found))
            sums["found_by"][:] += (one.next_source >> np.arange(len(SOURCES))) & 1
        known = ~np.isnan(one.probability)
        if known.any():
            probability, outcome = one.probability[known], clicked[known].astype(np.float64)
            bins, n = np.searchsorted(self._edges, probability, side="right"), self._shape.bins
            sums["bin_n"][:] += np.bincount(bins, minlength=n)
            sums["bin_predicted"][:] += np.bincount(bins, probability, n)
            sums["bin_clicked"][:] += np.bincount(bins, outcome, n)
            sums.add("squares", float(((probability - outcome) ** 2).sum()))

    def dump(self) -> State:
        """Return a copy of the state."""
        return self._pending.dump() | self._rest()

    def changes(self, sweep: Sweep = EVERYTHING) -> State:
        """Return what `load` takes, of large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        return self._pending.changes(sweep) | self._rest()

    def _rest(self) -> State:
        numbers = sorted(self._open)
        values = [self._open[number].all for number in numbers]
        state: State = {
            "stretches": np.array(numbers, np.int64),
            "sums": np.stack(values) if values else np.zeros((0, size(self._shape))),
            "models": msgspec.json.encode([self._open[number].model for number in numbers]).decode(),
            "apart": self._apart.copy(),
            "fired": self._fired.copy(),
            "lists": self._lists,
            "evicted": self._evicted,
            "newest": "" if self._newest is None else msgspec.json.encode(self._newest).decode(),
        }
        return state | self._betting.dump()

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same fingerprint.

        Raises:
            ValueError: it cannot be such a state.
        """
        sums, numbers = np.asarray(state["sums"]), np.asarray(state["stretches"])
        if sums.shape != (len(numbers), size(self._shape)):
            raise ValueError(f"expected {size(self._shape)} sums of each stretch, got {sums.shape} - at sums")
        self._pending.load(state)
        models = msgspec.json.decode(str(state["models"]), type=list[str])
        self._open = {
            int(number): Sums(self._shape, values.copy(), model)
            for number, values, model in zip(numbers, sums, models, strict=True)
        }
        self._apart = np.array(state["apart"], np.float64)
        self._fired = np.array(state["fired"], np.bool_)
        self._lists, self._evicted = int(state["lists"]), int(state["evicted"])  # type: ignore[arg-type]
        newest = str(state["newest"])
        self._newest = _decode(newest) if newest else None
        self._betting.load(state)

    def measurements(self) -> Iterable[Measurement]:
        """Return the figures of the newest stretch that is over, and the alarms as they are."""
        yield Measurement("tidegate_judged_lists_total", self._lists)
        yield Measurement("tidegate_judged_lists_evicted_total", self._evicted)
        yield Measurement("tidegate_judged_lists_pending", len(self._pending))
        for at, name in enumerate(self.groups):
            yield Measurement("tidegate_ranking_fairness_log_e", float(self._betting.log_e[at]), {"group": name})
            yield Measurement("tidegate_ranking_fairness_alarm", float(self._fired[at]), {"group": name})
        newest = self._newest
        if newest is None:
            return
        yield Measurement("tidegate_ranking_quality_time_seconds", newest.timestamp / 1_000)
        for figure in ("ndcg", "ndcg_popularity", "mrr", "recall", "ece", "brier"):
            value = getattr(newest, figure)
            if value is not None:
                yield Measurement(f"tidegate_ranking_{figure}", value)
        for group in newest.groups:
            yield Measurement("tidegate_ranking_exposure", group.exposure, {"group": group.group})
            if group.per_merit is not None:
                yield Measurement("tidegate_ranking_exposure_per_merit", group.per_merit, {"group": group.group})
        for users in newest.user_groups:
            if users.ndcg is not None:
                yield Measurement("tidegate_ranking_ndcg_by_users", users.ndcg, {"group": users.group})
        for test in newest.minimum:
            share = test.failed / test.lists
            yield Measurement("tidegate_ranking_minimum_failures_ratio", share, {"group": test.group})
        for step in newest.steps:
            yield Measurement("tidegate_ranking_step_cost", step.cost, {"step": step.name})
