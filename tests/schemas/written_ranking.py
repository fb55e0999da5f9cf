"""Version 1 of the records of ranking, written down once: lines may be added at the end, none may be changed."""

from typing import Any

from shapes import COUNT, FILLED, NAME, NATURAL, NUMBER, POSITIVE, SHARE, TEXT, VERSION, optional

from schemas.interaction import Interaction
from schemas.item import Field, Item
from schemas.quality import Bin, FairnessTest, GroupExposure, Minimum, Quality, StepCost, UserGroup
from schemas.ranked import Move, Ranked, RankedList, Step
from schemas.ranking_request import Candidate, RankingRequest
from schemas.signals import Fading, Signals, Window

SCALARS = [{"type": kind} for kind in ("boolean", "number", "string")]
STAMP = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 253402300799999},
        {"type": "string", "minLength": 1, "maxLength": 64},
    ]
}
USER = {"type": "string", "minLength": 1, "maxLength": 1024}
FIELDS = optional({"type": "array", "items": {"$ref": "#/$defs/Field"}})
STEPS = {"enum": ["fairness", "risk", "uplift"]}
OFFSETS = {"type": "object", "additionalProperties": NATURAL}


def several(of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, **more}


FROZEN: dict[type, dict[str, dict[str, Any]]] = {
    Field: {
        "name": FILLED,
        "value": {"anyOf": [*SCALARS, several({"anyOf": SCALARS}), {"type": "null"}]},
    },
    Item: {
        "event": {"enum": ["item", "metadata"]},
        "id": NAME,
        "item": NAME,
        "timestamp": STAMP,
        "fields": FIELDS,
    },
    Interaction: {
        "event": {"enum": ["interaction"]},
        "id": NAME,
        "ranking": optional({"type": "string", "maxLength": 256}),
        "timestamp": STAMP,
        "user": optional(USER),
        "session": optional(USER),
        "type": FILLED,
        "item": NAME,
        "fields": FIELDS,
    },
    Candidate: {
        "id": NAME,
        "fields": FIELDS,
        "relevancy": optional(NUMBER),
        "label": optional(NUMBER),
    },
    RankingRequest: {
        "event": {"enum": ["ranking"]},
        "id": NAME,
        "timestamp": STAMP,
        "user": optional(USER),
        "session": optional(USER),
        "fields": FIELDS,
        "items": optional(several({"$ref": "#/$defs/Candidate"}, maxItems=1000)),
        "count": optional({"type": "integer", "minimum": 1, "maximum": 1000}),
    },
    Window: {
        "window_s": COUNT,
        "impressions": NATURAL,
        "clicks": NATURAL,
        "purchases": NATURAL,
        "weighted_impressions": POSITIVE,
        "weighted_clicks": POSITIVE,
        "weighted_purchases": POSITIVE,
        "click_rate": optional(POSITIVE),
        "purchase_rate": optional(POSITIVE),
        "debiased_rate": optional(POSITIVE),
        "weighted_click_rate": optional(POSITIVE),
        "weighted_purchase_rate": optional(POSITIVE),
        "weighted_debiased_rate": optional(POSITIVE),
        "risky_share": optional(SHARE),
        "risky_impression_share": optional(SHARE),
        "exposure_share": optional(SHARE),
    },
    Fading: {
        "half_life_s": {"type": "number", "exclusiveMinimum": 0},
        "impressions": POSITIVE,
        "clicks": POSITIVE,
        "purchases": POSITIVE,
        "trending": POSITIVE,
        "weighted_impressions": POSITIVE,
        "weighted_clicks": POSITIVE,
        "weighted_purchases": POSITIVE,
        "weighted_trending": POSITIVE,
        "click_rate": optional(POSITIVE),
        "weighted_click_rate": optional(POSITIVE),
    },
    Signals: {
        "schema": VERSION,
        "item": NAME,
        "timestamp": NATURAL,
        "windows": several({"$ref": "#/$defs/Window"}),
        "fading": optional({"$ref": "#/$defs/Fading"}),
        "velocity_per_h": optional(POSITIVE),
        "weighted_velocity_per_h": optional(POSITIVE),
        "audience": optional(NATURAL),
        "weighted_audience": optional(POSITIVE),
        "audience_entropy_nats": optional(POSITIVE),
        "weighted_audience_entropy_nats": optional(POSITIVE),
        "offsets": OFFSETS | {"default": {}},
        "since": optional(NATURAL),
        "fields": several({"$ref": "#/$defs/Field"}, default=[]),
    },
    Move: {
        "step": STEPS,
        "before": COUNT,
        "after": COUNT,
        "reason": {
            "enum": [
                "closed_up",
                "group_due",
                "less_incremental",
                "made_way",
                "more_incremental",
                "protected_due",
                "risky_discount",
                "risky_seller",
            ]
        },
    },
    Ranked: {
        "item": NAME,
        "before": COUNT,
        "score": NUMBER,
        "probability": optional(SHARE),
        "sources": several({"enum": ["co_visited", "given", "new", "popular", "recent", "trending"]}, default=[]),
        "signals": optional(NATURAL),
        "moves": several({"$ref": "#/$defs/Move"}, default=[]),
    },
    Step: {"name": STEPS, "cost": NUMBER},
    RankedList: {
        "schema": VERSION,
        "id": NAME,
        "timestamp": NATURAL,
        "user": optional(FILLED),
        "partition": NATURAL,
        "offset": NATURAL,
        "items": several({"$ref": "#/$defs/Ranked"}),
        "before": several(NAME, default=[]),
        "steps": several({"$ref": "#/$defs/Step"}, default=[]),
        "candidates": NATURAL,
        "model": FILLED,
        "signals": OFFSETS | {"default": {}},
        "flags": several({"enum": ["ahead", "duplicate", "late"]}, default=[]),
    },
    StepCost: {"name": STEPS, "cost": NUMBER, "moved": SHARE},
    GroupExposure: {
        "group": TEXT,
        "items": NATURAL,
        "shown": NATURAL,
        "exposure": SHARE,
        "merit": optional(SHARE),
        "per_merit": optional(POSITIVE),
        "clicks": NATURAL,
    },
    UserGroup: {"group": TEXT, "lists": NATURAL, "ndcg": optional(SHARE)},
    FairnessTest: {
        "group": TEXT,
        "log_e": NUMBER,
        "log_largest": NUMBER,
        "lists": NATURAL,
        "difference": optional(NUMBER),
        "alarm": {"type": "boolean", "default": False},
    },
    Minimum: {"group": TEXT, "lists": NATURAL, "failed": NATURAL, "expected": SHARE},
    Bin: {"n": NATURAL, "predicted": SHARE, "clicked": SHARE},
    Quality: {
        "schema": VERSION,
        "partition": NATURAL,
        "timestamp": NATURAL,
        "since": NATURAL,
        "model": TEXT,
        "k": COUNT,
        "lists": NATURAL,
        "clicked": NATURAL,
        "ndcg": optional(SHARE),
        "ndcg_popularity": optional(SHARE),
        "mrr": optional(SHARE),
        "recall": optional(SHARE),
        "recall_of": {"type": "object", "additionalProperties": SHARE, "default": {}},
        "ece": optional(SHARE),
        "brier": optional(SHARE),
        "reliability": several({"$ref": "#/$defs/Bin"}, default=[]),
        "steps": several({"$ref": "#/$defs/StepCost"}, default=[]),
        "groups": several({"$ref": "#/$defs/GroupExposure"}, default=[]),
        "user_groups": several({"$ref": "#/$defs/UserGroup"}, default=[]),
        "tests": several({"$ref": "#/$defs/FairnessTest"}, default=[]),
        "minimum": several({"$ref": "#/$defs/Minimum"}, default=[]),
        "evicted": NATURAL | {"default": 0},
    },
}
REQUIRED = {
    Field: ["name", "value"],
    Item: ["event", "id", "item", "timestamp"],
    Interaction: ["event", "id", "timestamp", "type", "item"],
    Candidate: ["id"],
    RankingRequest: ["event", "id", "timestamp"],
    Window: list(FROZEN[Window])[:7],
    Fading: list(FROZEN[Fading])[:9],
    Signals: ["item", "timestamp", "windows"],
    Move: list(FROZEN[Move]),
    Ranked: ["item", "before", "score"],
    Step: ["name", "cost"],
    RankedList: ["id", "timestamp", "partition", "offset", "items", "candidates", "model"],
    StepCost: list(FROZEN[StepCost]),
    GroupExposure: ["group", "items", "shown", "exposure", "clicks"],
    UserGroup: ["group", "lists"],
    FairnessTest: ["group", "log_e", "log_largest", "lists"],
    Minimum: list(FROZEN[Minimum]),
    Bin: list(FROZEN[Bin]),
    Quality: list(FROZEN[Quality])[1:8],
}
WINDOW = {"window_s": 60, "impressions": 2, "clicks": 1, "purchases": 0} | {
    f"weighted_{name}": 0.5 for name in ("impressions", "clicks", "purchases")
}
SUMS = {"impressions": 2.0, "clicks": 1.0, "purchases": 0.0, "trending": 1.0}
EXAMPLES: dict[type, dict[str, Any]] = {
    Field: {"name": "price", "value": 25.0},
    Item: {"event": "item", "id": "i-1", "item": "a", "timestamp": "0"},
    Interaction: {"event": "interaction", "id": "c-1", "timestamp": 0, "type": "click", "item": "a"},
    Candidate: {"id": "a", "relevancy": 0.5},
    RankingRequest: {"event": "ranking", "id": "r-1", "timestamp": 0, "items": [{"id": "a"}]},
    Window: WINDOW,
    Fading: {"half_life_s": 60.0, **SUMS, **{f"weighted_{name}": value for name, value in SUMS.items()}},
    Signals: {"schema": 1, "item": "a", "timestamp": 0, "windows": [WINDOW]},
    Move: {"step": "risk", "before": 1, "after": 2, "reason": "risky_seller"},
    Ranked: {"item": "a", "before": 1, "score": 0.5},
    Step: {"name": "risk", "cost": 0.25},
    RankedList: {
        "schema": 1,
        "id": "r-1",
        "timestamp": 0,
        "partition": 0,
        "offset": 0,
        "items": [{"item": "a", "before": 1, "score": 0.5}],
        "candidates": 1,
        "model": "fallback",
    },
    StepCost: {"name": "risk", "cost": 0.25, "moved": 0.5},
    GroupExposure: {"group": "new", "items": 4, "shown": 2, "exposure": 0.25, "clicks": 1},
    UserGroup: {"group": "new", "lists": 2},
    FairnessTest: {"group": "new", "log_e": -0.5, "log_largest": 0.25, "lists": 2},
    Minimum: {"group": "new", "lists": 2, "failed": 1, "expected": 0.125},
    Bin: {"n": 2, "predicted": 0.25, "clicked": 0.5},
    Quality: {
        "schema": 1,
        "partition": 0,
        "timestamp": 1,
        "since": 0,
        "model": "fallback",
        "k": 10,
        "lists": 1,
        "clicked": 0,
    },
}
