"""Version 1 of the records of uplift, written down once: lines may be added at the end, none may be changed."""

from typing import Any

from shapes import COUNT, FILLED, NATURAL, NUMBER, SHARE, SLUG, TEXT, TEXTS, VERSION, optional

from schemas.uplift import Ranking, Uplift

FROZEN: dict[type, dict[str, dict[str, Any]]] = {
    Ranking: {
        "folds": {"type": "integer", "minimum": 2},
        "trees": COUNT,
        "seed": NATURAL,
        "qini_perfect_normalised": optional(NUMBER),
        "auuc_perfect_normalised": optional(NUMBER),
        "qini_causalml": optional(NUMBER),
        "qini_causalml_normalised": optional(NUMBER),
        "auuc_causalml_normalised": optional(NUMBER),
        "chance_p": optional(SHARE),
        "slope": optional(NUMBER),
        "slope_lower": optional(NUMBER),
        "slope_upper": optional(NUMBER),
        "importance": {"type": "object", "additionalProperties": SHARE, "default": {}},
        "left_out": TEXTS | {"default": []},
    },
    Uplift: {
        "schema": VERSION,
        "experiment": SLUG,
        "version": COUNT,
        "timestamp": NATURAL,
        "segment": FILLED,
        "variation": SLUG,
        "control": SLUG,
        "metric": TEXT,
        "better": {"enum": ["down", "up"]},
        "treated": NATURAL,
        "controls": NATURAL,
        "control_mean": optional(NUMBER),
        "effect": optional(NUMBER),
        "lower": optional(NUMBER),
        "upper": optional(NUMBER),
        "level": SHARE,
        "predicted": optional(NUMBER),
        "ranking": optional({"$ref": "#/$defs/Ranking"}),
    },
}
REQUIRED = {
    Ranking: ["folds", "trees", "seed"],
    Uplift: [*list(FROZEN[Uplift])[1:11], "level"],
}
EXAMPLES: dict[type, dict[str, Any]] = {
    Ranking: {"folds": 5, "trees": 100, "seed": 1},
    Uplift: {
        "schema": 1,
        "experiment": "x",
        "version": 1,
        "timestamp": 0,
        "segment": "b/all",
        "variation": "b",
        "control": "a",
        "metric": "m",
        "better": "up",
        "treated": 0,
        "controls": 0,
        "level": 0.95,
    },
}
