"""`tidegate power`: published numbers, users counted in files, and every mistake at once."""

import gzip
import json
import math

import pytest

from flows import cli
from flows.traffic import DAY_MS

MEAN = ("mean", "--mean", "10", "--sd", "30")
RATE = ("proportion", "--rate", "0.1")
RATIO = ("ratio", "--numerator", "2", "3", "--denominator", "4", "5", "--covariance", "6")


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def power(capsys):
    def run(*words):
        code = cli.main(["power", *words])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return shown.out

    return run


@pytest.fixture
def answer(power):
    return lambda *words: json.loads(power(*words, "--json"))


@pytest.fixture
def mistakes(capsys):
    def run(*words):
        code = cli.main(["power", *words])
        return code, [line.strip() for line in capsys.readouterr().err.splitlines()]

    return run


def events(tmp_path, seen, name="events.json"):
    """Write a file of events, (user, day) each; return its name."""
    lines = [
        json.dumps({"id": f"e{at}", "user": user, "type": "edit", "timestamp": day * DAY_MS + 5})
        for at, (user, day) in enumerate(seen)
    ]
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "wt") as file:
        file.write("\n".join(lines))
    return str(tmp_path / name)


# Published numbers


@pytest.mark.parametrize(("test", "more"), [(0, 25.45703125), (1, 55.66796875)])
def test_growthbook_mid_experiment(answer, test, more):
    """GrowthBook, gbstats test_gbstats: `more` times the 1,000 users there are, for a lift of .05, N* 5000."""
    sd = math.sqrt(1000 / 499)  # A(500, 1500, 500): (1500 - 500) / 499; B(525, 1551.25, 500): the same
    found = answer("mean", "--mean", "1", "--sd", str(sd), "--lift", "0.05", "--tuning", "5000")

    assert found["tests"][test]["units"] == pytest.approx(1000 * (1 + more), rel=1e-4)


def test_spotify_proportions_of_unequal_arms(answer):
    """Spotify, confidence: MDE .01 of .34 at alpha .03 with 225,725 and 22,572: power .80, to .005."""
    words = ("proportion", "--rate", "0.34", "--alpha", "0.03", "--weights", "225725", "22572")
    found = answer(*words, "--effect", "0.01")["tests"][0]

    assert found["arms"] == pytest.approx([225_725, 22_572], rel=0.015)  # .005 of power are 1.5 % of the units here
    assert answer(*words, "--units", "248297")["tests"][0]["effect"] == pytest.approx(0.01, rel=0.0075)


def test_spotify_means(answer):
    """Spotify, confidence: MDE .03, variance 45, power .8345828: 859,896 in each arm; 6e-7 of power are 2 units."""
    found = answer("mean", "--mean", "1", "--sd", str(45**0.5), "--effect", "0.03", "--power", "0.8345828")

    assert found["tests"][0]["arms"] == pytest.approx([859_896, 859_896], abs=2)


def test_the_textbook_on_means(answer):
    """Chow, Shao, Wang, Sample Size Calculations, 3.2: means 5 and 10 of deviation 10: 63 in each arm."""
    assert answer("mean", "--mean", "5", "--sd", "10", "--effect", "5")["tests"][0]["arms"] == [63, 63]


def test_the_textbook_on_proportions(answer):
    """Chow, Shao, Wang, 4.2: .65 against .85: 70 in each arm."""
    assert answer("proportion", "--rate", "0.65", "--effect", "0.2")["tests"][0]["arms"] == [70, 70]


# Metrics, arms, error rates


def test_a_ratio_has_the_variance_of_the_delta_method(answer):
    """By hand: R = 2 / 4; (9 - 2 R 6 + R^2 25) / 16 = 9.25 / 16."""
    found = answer(*RATIO, "--effect", "0.1")

    assert (found["mean"], found["variance"]) == (0.5, pytest.approx(9.25 / 16))


def test_a_ratio_that_is_a_mean_needs_as_many_units(answer):
    ratio = answer("ratio", "--numerator", "10", "30", "--denominator", "1", "0", "--covariance", "0", "--lift", "0.1")

    assert ratio["tests"] == answer(*MEAN, "--lift", "0.1")["tests"]


def test_an_effect_is_said_as_a_lift_too_and_the_other_way_round(answer):
    assert answer(*MEAN, "--effect", "0.5")["tests"][0]["lift"] == pytest.approx(0.05)
    assert answer(*MEAN, "--lift", "0.05")["tests"][0]["effect"] == pytest.approx(0.5)
    assert answer("mean", "--mean", "-10", "--sd", "30", "--effect", "0.5")["tests"][0]["lift"] is None
    assert answer("mean", "--mean", "-10", "--sd", "30", "--units", "500")["tests"][0]["lift"] is None


def test_a_covariate_saves_the_square_of_its_correlation(answer):
    found = answer(*MEAN, "--effect", "0.5", "--correlation", "-0.6")
    fixed, adjusted, sequential, sequential_adjusted = (one["units"] for one in found["tests"])

    assert [one["covariate"] for one in found["tests"]] == [False, True, False, True]
    assert found["variance_saved"] == pytest.approx(0.36)
    assert adjusted == pytest.approx(0.64 * fixed, abs=2)
    assert sequential_adjusted == pytest.approx(0.64 * sequential, rel=0.001)
    assert "saves 36.0% of the variance" in " ".join(found["notes"])


def test_arms_share_alpha_and_the_family_can_be_larger(answer):
    three = answer(*MEAN, "--effect", "0.5", "--arms", "3")
    two = answer(*MEAN, "--effect", "0.5", "--alpha", "0.025")
    ten = answer(*MEAN, "--effect", "0.5", "--alpha", "0.25", "--family", "10")

    assert (three["family"], len(three["tests"][0]["arms"])) == (2, 3)
    assert three["tests"][0]["arms"][0] == two["tests"][0]["arms"][0] == ten["tests"][0]["arms"][0]
    assert "alpha 0.05 is shared by 2 comparisons: 0.025 each." in three["notes"]


def test_the_tuning_is_chosen_near_the_units_and_said(answer):
    """N* is of a pair: two thirds of the units of three equal arms. To two digits: within 5 %."""
    found = answer(*MEAN, "--effect", "0.5", "--arms", "3")

    assert found["tests"][0]["tuning"] is None
    assert found["tests"][1]["tuning"] == pytest.approx(found["tests"][1]["units"] * 2 / 3, rel=0.05)
    assert "chosen near the units at which this test ends" in found["notes"][0]


def test_a_tuning_that_is_given_is_kept(answer):
    for asked in (("--effect", "0.5"), ("--units", "50000")):
        found = answer(*MEAN, *asked, "--tuning", "7000")
        assert found["tests"][1]["tuning"] == 7000
        assert "as --tuning says" in found["notes"][0]


# Units, days, effects


@pytest.mark.parametrize("metric", [MEAN, RATE, RATIO])
@pytest.mark.parametrize("asked", ["effect", "lift"])
@pytest.mark.parametrize("test", [0, 1])
def test_the_effect_of_so_many_units_needs_so_many_units(answer, metric, asked, test):
    words = (*metric, "--weights", "3", "1", "--tuning", "5000")
    size = answer(*words, "--units", "40000")["tests"][test][asked]

    assert answer(*words, f"--{asked}", str(size))["tests"][test]["units"] == pytest.approx(40_000, rel=1e-4)


def test_days_are_until_the_last_unit_has_come(answer):
    """Chow, Shao, Wang: 126 in all, at 21 a day 6 days; of half the users 12."""
    words = ("mean", "--mean", "5", "--sd", "10", "--effect", "5", "--units-per-day", "21")

    assert answer(*words)["tests"][0]["days"] == 6
    assert answer(*words, "--coverage", "0.5")["tests"][0]["days"] == 12
    assert answer(*words[:-1], "20.9")["tests"][0]["days"] == 7
    assert answer(*words[:-2])["tests"][0]["days"] is None


def test_the_effect_after_days_is_that_of_their_units(answer):
    after = answer(*RATE, "--days", "8", "--units-per-day", "10000", "--coverage", "0.5")["tests"]
    found = answer(*RATE, "--units", "40000")["tests"]

    assert [one["effect"] for one in after] == [one["effect"] for one in found]
    assert (after[0]["days"], found[0]["days"], after[0]["arms"]) == (8, None, [20_000, 20_000])


def test_users_of_a_file_are_counted_and_those_who_come_back_are_no_new_units(answer, tmp_path):
    """Whole days 1 to 4: 40, 40, 30 + 10, 10 users, of whom 40, 0, 30, 10 are new; 20 a day from then on."""
    seen = [("u0", 0), ("u0", 5)]
    seen += [(f"u{user}", day) for day in (1, 2) for user in range(40)]
    seen += [(f"u{user}", 3) for user in range(30, 70)] + [(f"u{user}", 4) for user in range(70, 80)]
    words = ("mean", "--mean", "5", "--sd", "10", "--effect", "5", "--events")
    found = answer(*words, events(tmp_path, seen))

    assert found["users"] == {
        "source": "events.json",
        "events": len(seen),
        "refused": 0,
        "first_day": "1970-01-02",
        "whole_days": True,
        "daily": [40, 40, 40, 10],
        "new": [40, 0, 30, 10],
        "error": 0,
    }
    assert found["tests"][0]["days"] == 4 + 3  # 126 units: 80, then 46 at 20 a day
    assert found["tests"][0]["extrapolated"]
    assert "beyond 4 days 20 new units a day are assumed" in found["notes"][-1]
    after = answer("mean", "--mean", "5", "--sd", "10", "--days", "3", "--events", events(tmp_path, seen, "e.json.gz"))
    assert (after["tests"][0]["units"], after["tests"][0]["extrapolated"]) == (70, False)


def test_days_beyond_those_counted_are_the_least(power, tmp_path):
    """126 units at 60 users, 20 new ones a day: 60, 80, 100, 120, 140."""
    seen = [("ann", 0), ("ann", 4), *((f"u{user}", 1 + user // 40) for user in range(60)), ("u0", 3)]
    shown = power("mean", "--mean", "5", "--sd", "10", "--effect", "5", "--events", events(tmp_path, seen))

    assert "at least 10" in next(line for line in shown.splitlines() if line.startswith(" fixed"))


def test_too_few_users_for_ever_is_said(power, tmp_path):
    shown = power(*MEAN, "--effect", "0.5", "--events", events(tmp_path, [("ann", day) for day in range(5)]))

    assert shown.count("never") == 2


def test_a_file_with_a_mapping_and_lines_that_are_no_events(answer, tmp_path):
    (tmp_path / "m.toml").write_text(
        '[event]\nid = "n"\ntimestamp = "at"\nuser = "who"\ntype = { constant = "edit" }\n', encoding="utf-8"
    )
    (tmp_path / "odd").write_text(f"n,at,who\n1,{DAY_MS},ann\n2,{DAY_MS},bob\n3,never,cid\n", encoding="utf-8")
    words = ("--events", str(tmp_path / "odd"), "--mapping", str(tmp_path / "m.toml"), "--format", "csv")
    found = answer(*RATE, "--effect", "0.01", *words)

    assert (found["users"]["daily"], found["users"]["refused"], found["users"]["whole_days"]) == ([2], 1, False)
    assert "1 records were left out" in " ".join(found["notes"])
    assert "no whole day among them" in found["notes"][-1]


def test_events_before_a_time_are_left_out(answer, tmp_path):
    file = events(tmp_path, [("ann", 0), *((f"u{day}", day) for day in range(1000, 1005))])
    found = answer(*RATE, "--effect", "0.01", "--events", file, "--since", "1972-09-27T00:00:00Z")

    assert (found["users"]["events"], found["users"]["first_day"]) == (5, "1972-09-28")


def test_the_table_says_what_was_asked_found_and_assumed(power):
    shown = power(*RATE, "--lift", "0.05", "--correlation", "0.5", "--units-per-day", "5000")
    lines = shown.splitlines()

    assert lines[0] == "proportion 0.1, deviation 0.3; arms 50 % / 50 %; alpha 0.05, power 0.8"
    assert lines[1] == "to find: effect 0.005, lift 5 %"
    assert any(line.split() == ["fixed", "60,656", "each", "121,312", "25"] for line in lines)
    assert any(line.split()[:4] == ["sequential,", "with", "covariate", "170,000"] for line in lines)
    assert "The power is that at the last look" in shown
    assert "traffic: 5,000 new units a day; those who come back are no new ones." in shown


def test_the_example_in_the_docs_is_what_is_said(power, repository):
    page = (repository / "docs" / "experiments.md").read_text(encoding="utf-8")
    shown = power("proportion", "--rate", "0.06", "--lift", "0.15", "--correlation", "0.5")
    rows, said = (
        [line.split() for line in text.splitlines() if line.startswith((" fixed", " sequential"))]
        for text in (shown, page)
    )

    assert len(rows) == 4
    assert [line[: len(row)] for line, row in zip(said, rows, strict=True)] == rows


def test_the_table_of_effects(power):
    shown = power(*MEAN, "--days", "14", "--units-per-day", "5000", "--weights", "9", "1")
    row = next(line.split() for line in shown.splitlines() if line.startswith(" fixed"))

    assert row[:6] == ["fixed", "63,000", "/", "7,000", "70,000", "14"]
    # By hand: 30 (1.959964 + .841621) sqrt(1 / 63,000 + 1 / 7,000) = 1.0589
    assert row[6] == "1.059"


@pytest.mark.parametrize("mean", ["1e-30", "1e30"])
@pytest.mark.parametrize("sd", ["1e-30", "1e30"])
@pytest.mark.parametrize("lift", ["1e-30", "1e30"])
def test_extreme_figures_end_with_an_answer_or_a_refusal(mistakes, mean, sd, lift):
    words = ("mean", "--mean", mean, "--sd", sd)

    assert mistakes(*words, "--lift", lift)[0] in (0, 1)
    assert mistakes(*words, "--units", "100")[0] == 0


def test_few_units_and_rare_outcomes_are_said(answer):
    few = answer("mean", "--mean", "5", "--sd", "10", "--effect", "5")["notes"]
    rare = answer("proportion", "--rate", "0.001", "--units", "2000")["notes"]

    assert "63 units in an arm: the estimate need not be normal, and readouts begin at 100." in few
    assert "1.0 of the rarer outcome in an arm: readouts begin at 5." in rare
    assert not any("readouts begin" in note for note in answer(*RATE, "--lift", "0.05")["notes"])


def test_no_effect_that_is_found_is_none(power):
    shown = power("proportion", "--rate", "0.9", "--units", "10")

    assert "none: with so few units it is not found however large it is." in shown
    assert all(line.split()[-1] == "none" for line in shown.splitlines() if line.startswith((" fixed", " sequential")))


# Mistakes


def test_all_mistakes_are_told_at_once(mistakes):
    code, told = mistakes(
        *("proportion", "--rate", "2", "--effect", "0", "--lift", "-2", "--arms", "x", "--weights", "1", "-2", "3"),
        *("--alpha", "1", "--power", "high", "--correlation", "1", "--tuning", "0", "--family", "0.5"),
        *(
            "--units-per-day",
            "0",
            "--topic",
            "--coverage",
            "1.5",
            "--format",
            "xml",
            "--mapping",
            "m",
            "--since",
            "now",
        ),
    )

    assert code == 2
    assert told == [
        "tidegate: the arguments cannot be used:",
        "--rate: expected a number between 0 and 1, got 2",
        "--alpha: expected a number between 0 and 1, got 1",
        "--power: expected a number between 0 and 1, got high",
        "--arms: expected an integer from 2 to 50, got x",
        "--weights: expected a number > 0, got -2",
        "--family: expected an integer from 1 to 1,000,000, got 0.5",
        "--correlation: expected a number between -1 and 1, got 1",
        "expected one of --effect, --lift, --days or --units, got --effect and --lift",
        "--effect: expected a number other than 0, got 0",
        "--lift: expected a number > -1 other than 0, got -2",
        "--tuning: expected a number > 0, got 0",
        "expected at most one of --units-per-day, --events or --topic, got --units-per-day and --topic",
        "--units-per-day: expected a number > 0, got 0",
        "--coverage: expected a number > 0 and <= 1, got 1.5",
        "--mapping: expected with --events, got it without",
        "--format: expected with --events, got it without",
        "--format: expected ndjson or csv, got xml",
        "--since: expected RFC 3339, as 2026-01-31T08:00:00Z, or milliseconds, got now",
    ]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("mean", "--effect", "1"), "--sd: expected a number > 0, got nothing"),
        (("proportion", "--effect", "1"), "--rate: expected a number between 0 and 1, got nothing"),
        (("ratio", "--effect", "1"), "--denominator: expected its mean and deviation, got nothing"),
        (
            (*RATIO[:-1], "16", "--effect", "1"),
            "--covariance: expected from -15 to 15, the deviations' product, got 16",
        ),
        ((*RATIO[:5], "0", "5", "--covariance", "1", "--lift", "1"), "--denominator: expected a number > 0, got 0"),
        (
            ("ratio", "--numerator", "1", "0", "--denominator", "1", "0", "--covariance", "0", "--lift", "1"),
            "--numerator, --denominator: expected a ratio that differs between units, got no spread",
        ),
        (MEAN, "expected one of --effect, --lift, --days or --units, got none"),
        ((*MEAN, "--days", "3"), "expected one of --units-per-day, --events or --topic, got none"),
        ((*MEAN, "--effect", "1e31"), "--effect: expected a size from 1e-30 to 1e+30, got 1e31"),
        ((*MEAN, "--effect", "1e-31"), "--effect: expected a size from 1e-30 to 1e+30, got 1e-31"),
        ((*MEAN, "--effect", "nan"), "--effect: expected a number other than 0, got nan"),
        ((*MEAN, "--effect", "1", "--arms", "3", "--weights", "1", "1"), "expected 3 numbers, one for each of --arms"),
        ((*MEAN, "--effect", "1", "--weights", "1"), "--weights: expected 2 to 50 numbers, got 1"),
        ((*MEAN, "--effect", "1", "--power", "0.04"), "--power: expected more than alpha, 0.05, got 0.04"),
        ((*MEAN, "--effect", "1", "--since", "5"), "--since: expected with --events or --topic, got it without"),
        (("mean", "--mean", "0", "--sd", "1", "--lift", "1"), "--lift: expected a mean > 0 to be a share of, got 0"),
        ((*RATE, "--effect", "0.9"), "--effect: expected a rate between 0 and 1 in the other arm, got 0.1 + 0.9"),
        ((*RATE, "--lift", "-0.99", "--effect", "-0.2"), "in the other arm, got 0.1 - 0.2"),
    ],
)
def test_what_cannot_be_asked_is_refused(mistakes, words, complaint):
    code, told = mistakes(*words)

    assert code == 2
    assert any(complaint in line for line in told), told


def test_what_cannot_be_answered_is_refused(mistakes, tmp_path):
    (tmp_path / "empty.json").write_text("", encoding="utf-8")
    old = events(tmp_path, [("ann", 0), ("bob", 900)])
    for words, complaint in (
        ((*MEAN, "--effect", "1e-9"), "more than 1000000000000 units needed: expected an effect that can be found"),
        ((*MEAN, "--effect", "1", "--events", "nowhere"), "cannot read nowhere: No such file"),
        ((*MEAN, "--effect", "1", "--events", "empty.json"), "empty.json: expected events to count users in, got none"),
        ((*MEAN, "--effect", "1", "--events", old), "got them 901 days apart; --since leaves out what is old"),
        ((*MEAN, "--days", "1", "--units-per-day", "1"), "expected units in every arm, got 1 in all"),
    ):
        code, told = mistakes(*words)
        assert (code, complaint in told[0]) == (1, True), told
