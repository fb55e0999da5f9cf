"""Version 1 of readouts and decisions, written down once: lines may be added at the end, none may be changed."""

from typing import Any

from shapes import COUNT, NATURAL, NUMBER, SHARE, SLUG, TEXT, TEXTS, VERSION, optional

from schemas.readout import Arm, Comparison, Estimate, Interval, Look, Readout, SampleRatio, Stratum
from schemas.verdict import Verdict

BOOLEAN = {"type": "boolean"}
ANSWER = {"enum": ["broken", "continue", "ship", "stop"]}
ENDS = {"$ref": "#/$defs/Interval"}
NO_ENDS = ENDS | {"default": {}}
ESTIMATE = optional({"$ref": "#/$defs/Estimate"})
OFFSETS = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": NATURAL}}
REFUSED = {"type": "object", "additionalProperties": NATURAL, "default": {}}


def several(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


FROZEN: dict[type, dict[str, dict[str, Any]]] = {
    Interval: {"lower": optional(NUMBER), "upper": optional(NUMBER)},
    Estimate: {
        "difference": optional(NUMBER),
        "lift": optional(NUMBER),
        "fixed": NO_ENDS,
        "fixed_lift": NO_ENDS,
        "always": NO_ENDS,
        "always_lift": NO_ENDS,
        "running": NO_ENDS,
        "running_lift": NO_ENDS,
        "fixed_p": optional(SHARE),
        "log_e": optional(NUMBER),
        "p": optional(SHARE),
    },
    Arm: {
        "variation": SLUG,
        "units": NATURAL,
        "mean": optional(NUMBER),
        "exposed": NATURAL,
        "preliminary_mean": optional(NUMBER),
    },
    Stratum: {
        "name": {"enum": ["low", "risky", "unknown", "without_risky"]},
        "control": NATURAL,
        "units": NATURAL,
        "estimate": ESTIMATE,
    },
    Comparison: {
        "metric": TEXT,
        "role": {"enum": ["guardrail", "primary", "risk", "secondary"]},
        "kind": {"enum": ["mean", "proportion", "ratio"]},
        "better": {"enum": ["down", "up"]},
        "control": {"$ref": "#/$defs/Arm"},
        "arm": {"$ref": "#/$defs/Arm"},
        "state": {"enum": ["changing", "ready", "warming"]},
        "missing": {"type": "object", "additionalProperties": NUMBER, "default": {}},
        "unadjusted": ESTIMATE,
        "adjusted": ESTIMATE,
        "variance_saved": optional(NUMBER),
        "bonferroni": optional(SHARE),
        "holm": optional(SHARE),
        "e_bh": BOOLEAN | {"default": False},
        "margin": optional(NUMBER),
        "margin_of": optional({"enum": ["absolute", "relative"]}),
        "bound": optional(NUMBER),
        "bound_harm": optional(NUMBER),
        "held": BOOLEAN | {"default": False},
        "strata": several({"$ref": "#/$defs/Stratum"}) | {"default": []},
        "interaction_p": optional(SHARE),
        "deciding": optional(ENDS),
    },
    SampleRatio: {
        "stratum": {"enum": ["all", "low", "risky", "unknown"]},
        "counts": several(NATURAL),
        "expected": several(NUMBER),
        "p": SHARE,
        "chi_squared_p": optional(SHARE),
        "alarm": BOOLEAN,
        "stray": NATURAL | {"default": 0},
    },
    Look: {
        "timestamp": NATURAL,
        "units": NATURAL,
        "lifts": several({"anyOf": [NUMBER, {"type": "null"}]}),
        "always": several(ENDS),
        "fixed": several(ENDS),
        "srm_p": SHARE,
    },
    Readout: {
        "schema": VERSION,
        "experiment": SLUG,
        "version": COUNT,
        "timestamp": NATURAL,
        "alpha": NUMBER,
        "cuped": BOOLEAN,
        "offsets": OFFSETS,
        "partitions": several(NATURAL),
        "first_exposure": optional(NATURAL),
        "tiers": BOOLEAN,
        "comparisons": several({"$ref": "#/$defs/Comparison"}),
        "sample_ratio": several({"$ref": "#/$defs/SampleRatio"}),
        "several": NUMBER | {"default": 0.0},
        "refused": REFUSED,
        "looks": several({"$ref": "#/$defs/Look"}) | {"default": []},
    },
    Verdict: {
        "schema": VERSION,
        "experiment": SLUG,
        "version": COUNT,
        "timestamp": NATURAL,
        "decision": ANSWER,
        "variation": optional(SLUG),
        "before": optional(ANSWER),
        "reasons": TEXTS,
        "offsets": OFFSETS,
    },
}
REQUIRED = {
    Interval: [],
    Estimate: [],
    Arm: ["variation", "units", "exposed"],
    Stratum: ["name", "control", "units"],
    Comparison: list(FROZEN[Comparison])[:7],
    SampleRatio: ["stratum", "counts", "expected", "p", "alarm"],
    Look: list(FROZEN[Look]),
    Readout: [*list(FROZEN[Readout])[1:8], "tiers", "comparisons", "sample_ratio"],
    Verdict: ["experiment", "version", "timestamp", "decision", "reasons", "offsets"],
}
EXAMPLES: dict[type, dict[str, Any]] = {
    Interval: {"lower": 0.5},
    Estimate: {"difference": 0.5, "always": {"lower": 0.25}, "p": 0.5},
    Arm: {"variation": "a", "units": 1, "exposed": 2},
    Stratum: {"name": "low", "control": 1, "units": 2},
    Comparison: {
        "metric": "m",
        "role": "primary",
        "kind": "mean",
        "better": "up",
        "control": {"variation": "a", "units": 1, "exposed": 2},
        "arm": {"variation": "b", "units": 1, "exposed": 2},
        "state": "warming",
    },
    SampleRatio: {"stratum": "all", "counts": [1, 2], "expected": [1.5, 1.5], "p": 1.0, "alarm": False},
    Look: {"timestamp": 0, "units": 1, "lifts": [0.5], "always": [{}], "fixed": [{}], "srm_p": 1.0},
    Readout: {
        "schema": 1,
        "experiment": "x",
        "version": 1,
        "timestamp": 0,
        "alpha": 0.05,
        "cuped": False,
        "offsets": {"exposures": {"0": 3}},
        "partitions": [0],
        "tiers": False,
        "comparisons": [],
        "sample_ratio": [],
    },
    Verdict: {
        "schema": 1,
        "experiment": "x",
        "version": 1,
        "timestamp": 0,
        "decision": "continue",
        "reasons": [],
        "offsets": {},
    },
}
