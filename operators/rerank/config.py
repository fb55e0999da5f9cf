"""Configuration of the rerank stage: a step that is not named is off."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen


@dataclass(frozen=True, slots=True)
class UpliftConfig:
    """The step by incremental value (`ranking.rerank.ByUplift`).

    Attributes:
        experiment: whose effects count, from the topic `uplift`.
        weight: of incremental value against the ranker's score, 0 to 1.
        use: an effect as estimated, or the end of its interval that is the worse one: what is not sure counts less.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    experiment: Annotated[str, MinLen(1)]
    weight: Annotated[float, Ge(0), Le(1)] = 0.5
    use: Literal["effect", "lower"] = "effect"


@dataclass(frozen=True, slots=True)
class RiskConfig:
    """The step by risk (`ranking.rerank.ByRisk`).

    Attributes:
        strength: at 1 a certain risk costs as much as the whole range of a list's scores; above 0.
        unknown: risk of an item of which none is known, 0 to 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    strength: Annotated[float, Gt(0), Le(1_000)] = 0.5
    unknown: Annotated[float, Ge(0), Le(1)] = 0.0


@dataclass(frozen=True, slots=True)
class FairnessConfig:
    """The step for fairness, one of two kinds.

    Attributes:
        kind: `top_k`: enough items of one group in every prefix (FA*IR); `exposure`: no group above its share.
        group: name of the protected group; `top_k` alone, which needs it.
        p: share of the group that is due, above 0 and below 1; `top_k` alone, which needs it.
        alpha: how often a fair list may be taken for an unfair one, over all its prefixes, at most; `top_k` alone.
        tolerance: exposure above a group's share that is let be, the first place 1; `exposure` alone.
        by_merit: shares by probability of a click, while it is known, not by number of items; `exposure` alone.

    Raises:
        ValueError: `top_k` without group or p.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["top_k", "exposure"]
    group: str = ""
    p: Annotated[float, Gt(0), Lt(1)] | None = None
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.1
    tolerance: Annotated[float, Ge(0), Le(1_000)] = 1.0
    by_merit: bool = False

    def __post_init__(self) -> None:
        """Check that the kind has what it needs."""
        missing = [name for name, given in (("group", self.group), ("p", self.p)) if not given]
        if self.kind == "top_k" and missing:
            raise ValueError(f'kind = "top_k" needs {" and ".join(missing)}')
        if self.kind == "exposure" and (self.group or self.p is not None):
            raise ValueError('group and p belong to kind = "top_k"')


@dataclass(frozen=True, slots=True)
class RerankConfig:
    """What follows the ranker, in this order.

    Attributes:
        uplift: by incremental value. Absent: off.
        risk: by risk. Absent: off.
        fairness: for fairness. Absent: off.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    uplift: UpliftConfig | None = None
    risk: RiskConfig | None = None
    fairness: FairnessConfig | None = None

    def mistakes(self, groups: Sequence[str], *, uplift: bool, offers: bool, risks: bool) -> Iterable[str]:
        """Yield what does not fit the rest of the configuration; a line each.

        Args:
            groups: names of the groups of items.
            uplift: whether the topic `uplift` is read.
            offers: whether it is known which variation an item stands for.
            risks: whether it is known how risky an item's seller is.
        """
        if self.uplift is not None and not uplift:
            yield "rerank.uplift needs effects: set uplift = true"
        if self.uplift is not None and not offers:
            yield "rerank.uplift needs to know what an item offers: set recall.catalogue.offer_field"
        if self.risk is not None and not risks:
            yield "rerank.risk needs to know a risk: set recall.catalogue.risk_field"
        if self.fairness is not None and not groups:
            yield "rerank.fairness needs groups: name them in [[ranking.recall.catalogue.groups]]"
        elif self.fairness is not None and self.fairness.group and self.fairness.group not in groups:
            known = ", ".join(groups)
            yield f"expected rerank.fairness.group to be one of {known}, got {self.fairness.group}"
