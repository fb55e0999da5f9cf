"""Why a record is not what its topic holds, in closed sentences as in `operators.decode.explain`."""

import re
from typing import Final

import msgspec

from experiments.assignment import GRID
from operators.decode.explain import (
    NOT_JSON,
    Fault,
    explained,
    fault,
    number_fault,
    optional_fault,
    optional_text_fault,
    string_fault,
    timestamp_fault,
    whole_fault,
)
from schemas.dead_letter import Reason

NO_DEFINITION: Final = fault(Reason.WRONG_TYPE, "a definition, version 1", "another record")
NO_KEY: Final = fault(Reason.MISSING_KEY, "the experiment's id as key", "no key")
OTHER_KEY: Final = fault(Reason.OUT_OF_RANGE, "the experiment's id as key", "another key")
UNSOUND: Final = fault(Reason.OUT_OF_RANGE, "a definition as `tidegate experiments apply` writes it", "another")
NO_DECISION: Final = fault(Reason.WRONG_TYPE, "a record of risk.tiers, version 1", "another")

_NAME: Final = re.compile("^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")  # as in schemas.definition.Name

_string = msgspec.json.Decoder(str).decode


def explain_exposure(value: bytes) -> Fault:
    """Return what is wrong with an exposure; fields in the order of `schemas.exposure.Exposure`."""
    return explained(value, _exposure)


def explain_metric(value: bytes) -> Fault:
    """Return the same of a record of `metrics`; fields in the order of `schemas.metric.MetricRecord`."""
    return explained(value, _metric)


def explain_decision(value: bytes) -> Fault:
    """Return the same of a record of `risk.tiers`, which only Tidegate writes."""
    return explained(value, lambda _members: NO_DECISION)


def explain_definition(value: bytes) -> Fault:
    """Return the same of a record of `experiments.definitions`, which only Tidegate writes."""
    return explained(value, lambda _members: NO_DEFINITION)


def _exposure(members: dict[str, bytes]) -> Fault:
    return (
        _name_fault(members, "experiment_id")
        or _name_fault(members, "variation_id")
        or string_fault(members, "user")
        or timestamp_fault(members)
        or whole_fault(members, "phase", 0)
        or whole_fault(members, "bucket", 0, GRID - 1)
        or optional_fault(members, "attributes", "an object")
        or number_fault(members, "pre_value")
        or NOT_JSON
    )


def _metric(members: dict[str, bytes]) -> Fault:
    return (
        string_fault(members, "user")
        or string_fault(members, "metric")
        or number_fault(members, "value")
        or timestamp_fault(members)
        or number_fault(members, "pre_value")
        or optional_text_fault(members, "id")
        or optional_fault(members, "fields", "an object")
        or NOT_JSON
    )


def _name_fault(members: dict[str, bytes], name: str) -> Fault | None:
    if found := string_fault(members, name):
        return found
    if _NAME.search(_string(members[name])):
        return None
    return fault(Reason.OUT_OF_RANGE, "1 to 128 letters, digits, ., _ and -", "another string", name)
