"""Names, order and maps of the features, and the stage's configuration."""

import math
import re

import numpy as np
import pydantic
import pytest
from featurize_reference import decoded
from featurize_streams import long_stream

from operators.featurize import Featurize, FeaturizeConfig, catalogue, unit_interval

DEFAULT = catalogue(FeaturizeConfig().windows_s)


def test_names_are_distinct_and_say_feature_and_window():
    names = [feature.name for feature in DEFAULT]

    assert len(names) == len(set(names)) == 56  # 12 over 4 windows, 3 novelties, 5 more
    assert {"event_count_1m", "amount_sum_10m", "amount_deviation_1h", "gap_deviation_24h"} <= set(names)
    assert {"ip_entropy_1m", "type_entropy_1h", "counterparty_distinct_24h", "device_novelty"} <= set(names)


@pytest.mark.parametrize(("window_s", "name"), [(90, "90s"), (120, "2m"), (5_400, "90m"), (604_800, "168h")])
def test_windows_are_named_by_their_largest_whole_unit(window_s, name):
    assert catalogue((window_s,))[0].name == f"event_count_{name}"


@pytest.mark.parametrize("windows_s", [(60,), (60, 600, 3_600, 86_400), (10, 60, 600, 3_600, 86_400, 604_800)])
def test_the_catalogue_names_every_column_for_any_number_of_windows(windows_s):
    stage = Featurize(FeaturizeConfig(windows_s=windows_s))
    featured = stage.process(decoded(long_stream(4, 200, 5)))

    assert featured.raw.shape == featured.features.shape == (200, len(stage.catalogue))


def expected_unit(feature, value):
    """Return the map as the catalogue's table states it."""
    if feature.family in ("count", "amount", "distinct", "amount_repeats"):
        unit = math.log1p(value) / math.log1p(feature.limit)
    elif feature.family in ("amount_deviation", "gap_deviation"):
        unit = (value + 8) / 16
    elif feature.family == "entropy":
        unit = value / math.log(24)
    elif feature.family in ("gap_variation", "hour_deviation"):
        unit = value / {"gap_variation": 2, "hour_deviation": 3.5}[feature.family]
    else:
        unit = value
    return min(1.0, max(0.0, unit))


def test_features_are_the_stated_map_of_the_raw_values():
    stage = Featurize(FeaturizeConfig())
    featured = stage.process(decoded(long_stream(7, 600, 4)))
    expected = [[expected_unit(f, v) for f, v in zip(stage.catalogue, row, strict=True)] for row in featured.raw]

    np.testing.assert_allclose(featured.features, expected, rtol=1e-12, atol=1e-12)
    assert np.array_equal(unit_interval(stage.catalogue, featured.raw), featured.features)


def test_the_map_saturates_at_the_limit_and_rises_below_it():
    limits = np.array([[feature.limit for feature in DEFAULT]])
    zeros = np.zeros_like(limits)
    halves = np.where([[f.family in ("count", "distinct") for f in DEFAULT]], np.floor(limits / 2), limits / 2)

    assert np.array_equal(unit_interval(DEFAULT, limits), np.ones_like(limits))
    assert np.array_equal(unit_interval(DEFAULT, limits * 1e6), np.ones_like(limits))
    assert (unit_interval(DEFAULT, zeros) < unit_interval(DEFAULT, halves)).all()
    assert (unit_interval(DEFAULT, halves) < 1).all()


def test_short_and_even_gaps_are_risky_and_amounts_both_ways():
    directions = {feature.family: feature.direction for feature in DEFAULT}

    assert directions == {
        "count": "up",
        "amount": "up",
        "amount_deviation": "both",
        "gap_deviation": "down",
        "entropy": "up",
        "distinct": "up",
        "novelty": "up",
        "gap_variation": "down",
        "gap_entropy": "down",
        "hour_deviation": "up",
        "counterparty_new_share": "up",
        "amount_repeats": "up",
    }


def rows_of_the_docs(text):
    """Return (unit, limit, risky direction) by feature of the table in docs/features.md, for windows of a minute."""
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 7 and cells[0].startswith("`"):
            for name in re.findall(r"`(\w+)(?:_<[wW]>)?`", cells[0].replace("_<", "<").replace("<", "_<")):
                rows[name.removesuffix("_")] = tuple(cells[1:4])
    return rows


def test_the_docs_tell_every_feature_with_its_unit_limit_and_direction(repository):
    told = rows_of_the_docs((repository / "docs" / "features.md").read_text(encoding="utf-8"))
    stated = {"100 sqrt(w / 60 s)": 100, "100,000 sqrt(w / 60 s)": 100_000, "ln 24": math.log(24)}
    known = {
        feature.name.removesuffix("_1m"): (feature.unit, pytest.approx(feature.limit), feature.direction)
        for feature in catalogue((60,))
    }

    assert {name: (unit, stated.get(limit) or float(limit), way) for name, (unit, limit, way) in told.items()} == known


def test_windows_must_ascend():
    with pytest.raises(ValueError, match=r"expected ascending windows_s, got \(600, 60\)"):
        FeaturizeConfig(windows_s=(600, 60))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("windows_s", []),
        ("windows_s", [0]),
        ("windows_s", [60, 60]),
        ("windows_s", [1, 2, 3, 4, 5, 6, 7]),
        ("max_users", 0),
        ("min_history", 1),
        ("dedup_max", 0),
        ("max_gap_s", 0),
        ("allowed_lateness_s", -1),
        ("windws_s", [60]),
    ],
)
def test_settings_refuse_what_the_stage_can_not_run_with(key, value):
    with pytest.raises(pydantic.ValidationError, match=key):
        pydantic.TypeAdapter(FeaturizeConfig).validate_python({key: value})


def test_settings_read_a_table_of_toml():
    read = pydantic.TypeAdapter(FeaturizeConfig).validate_python({"windows_s": [60, 600], "max_users": 7})

    assert read == FeaturizeConfig(windows_s=(60, 600), max_users=7)
