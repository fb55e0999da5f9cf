"""Version 1 of the records of experiments, written down once: lines may be added at the end, none may be changed."""

from typing import Any

from shapes import BUDGET, COUNT, FILLED, NAME, NATURAL, NUMBER, POSITIVE, SHARE, SLUG, TEXT, TIME, VERSION, optional

from schemas.definition import Definition, Guardrail, Metric, Phase
from schemas.exposure import Exposure

FROZEN: dict[type, dict[str, dict[str, Any]]] = {
    Phase: {
        "start": NATURAL,
        "coverage": SHARE,
        "weights": {"type": "array", "items": SHARE, "minItems": 2},
    },
    Metric: {
        "name": SLUG,
        "kind": {"enum": ["mean", "proportion", "ratio"]},
        "event": FILLED,
        "topic": {"enum": ["events", "metrics"], "default": "events"},
        "value": optional(FILLED),
        "denominator_event": optional(FILLED),
        "denominator": optional(FILLED),
        "where": {
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "items": {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean")]},
            },
            "default": {},
        },
        "cap": optional({"type": "number", "exclusiveMinimum": 0}),
        "better": {"enum": ["down", "up"], "default": "up"},
    },
    Guardrail: {
        "metric": {"$ref": "#/$defs/Metric"},
        "margin": POSITIVE,
        "margin_of": {"enum": ["absolute", "relative"], "default": "relative"},
    },
    Definition: {
        "schema": VERSION,
        "id": SLUG,
        "version": COUNT,
        "timestamp": NATURAL,
        "seed": NAME,
        "variations": {"type": "array", "items": SLUG, "minItems": 2},
        "phases": {"type": "array", "items": {"$ref": "#/$defs/Phase"}, "minItems": 1},
        "primary": {"$ref": "#/$defs/Metric"},
        "alpha": BUDGET,
        "tuning_n": COUNT,
        "attribution_window_s": COUNT,
        "minimum_run_s": NATURAL,
        "mde": {"type": "number", "exclusiveMinimum": 0},
        "cuped": {"type": "boolean"},
        "pre_period_s": NATURAL | {"default": 0},
        "secondary": {"type": "array", "items": {"$ref": "#/$defs/Metric"}, "default": []},
        "guardrails": {"type": "array", "items": {"$ref": "#/$defs/Guardrail"}, "default": []},
        "hash_version": {"enum": [1, 2], "default": 2},
        "namespace": optional(SLUG),
        "namespace_first": SHARE | {"default": 0.0},
        "namespace_end": SHARE | {"default": 1.0},
        "end": optional(NATURAL),
        "description": TEXT | {"default": ""},
    },
    Exposure: {
        "experiment_id": SLUG,
        "variation_id": SLUG,
        "user": {"type": "string", "minLength": 1, "maxLength": 1024},
        "timestamp": TIME,
        "phase": optional(NATURAL),
        "bucket": optional({"type": "integer", "minimum": 0, "exclusiveMaximum": 10000}),
        "attributes": optional({"type": "object"}),
        "pre_value": optional(NUMBER),
    },
}
REQUIRED = {
    Phase: ["start", "coverage", "weights"],
    Metric: ["name", "kind", "event"],
    Guardrail: ["metric", "margin"],
    Definition: list(FROZEN[Definition])[1:14],
    Exposure: ["experiment_id", "variation_id", "user", "timestamp"],
}
EXAMPLES: dict[type, dict[str, Any]] = {
    Phase: {"start": 0, "coverage": 1.0, "weights": [0.5, 0.5]},
    Metric: {"name": "m", "kind": "mean", "event": "e", "value": "amount"},
    Guardrail: {"metric": {"name": "g", "kind": "proportion", "event": "e"}, "margin": 0.01},
    Definition: {
        "schema": 1,
        "id": "x",
        "version": 1,
        "timestamp": 0,
        "seed": "x",
        "variations": ["a", "b"],
        "phases": [{"start": 0, "coverage": 1.0, "weights": [0.5, 0.5]}],
        "primary": {"name": "m", "kind": "mean", "event": "e", "value": "amount"},
        "alpha": 0.05,
        "tuning_n": 5000,
        "attribution_window_s": 3600,
        "minimum_run_s": 0,
        "mde": 0.1,
        "cuped": True,
    },
    Exposure: {"experiment_id": "x", "variation_id": "a", "user": "u", "timestamp": 0},
}
