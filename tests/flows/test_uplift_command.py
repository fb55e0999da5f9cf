"""`tidegate experiments uplift --file`: a table of units, without a broker."""

import gzip
import json
import sys

import msgspec
import numpy as np
import pytest
from test_uplift_units import definition

from flows import cli
from flows.commands._uplift import unjoinable
from schemas.uplift import Uplift

N = 1_200


def rows(n=N, seed=3):
    """Half the units gain 1 by treatment, those of the kind `new`; noise has deviation 0.5."""
    draws = np.random.default_rng(seed)
    found = []
    for at in range(n):
        kind, treated = draws.choice(["new", "old"]), int(draws.random() < 0.5)
        outcome = draws.normal(0.0, 0.5) + treated * (kind == "new")
        found.append({"name": f"u{at}", "arm": treated, "kind": kind, "age": draws.integers(18, 80), "got": outcome})
    return found


def written(path, table):
    text = "\n".join([",".join(table[0]), *(",".join(map(str, row.values())) for row in table)]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return str(path)


@pytest.fixture
def uplift(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEGATE_CONFIG", raising=False)

    def run(*words):
        code = cli.main(["experiments", "uplift", *words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture
def table(tmp_path):
    return written(tmp_path / "shop data.csv", rows())


ASKED = ("--treatment", "arm", "--outcome", "got", "--unit", "name")


def test_who_gains_is_found_in_a_file(uplift, table):
    code, shown, _ = uplift("--file", table, *ASKED, "--json")
    records = [json.loads(line) for line in shown.splitlines()]

    assert code == 0
    assert [one["segment"] for one in records] == ["1/all", *(f"1/decile-{at}" for at in range(1, 11))]
    assert records[0]["ranking"]["importance"]["kind"] > 0.8
    # 1 for the first five deciles, 0 for the last five; a decile's error is 2 x 0.5 / sqrt(120) = 0.09.
    assert [round(one["effect"]) for one in records[1:]] == [1] * 5 + [0] * 5
    assert sum(one["treated"] + one["controls"] for one in records[1:]) == N


def test_the_records_are_those_of_the_schema(uplift, table):
    for line in uplift("--file", table, *ASKED, "--json")[1].splitlines():
        assert msgspec.json.encode(msgspec.json.decode(line, type=Uplift)) == line.replace(" ", "").encode()


def test_the_tables_say_convention_chance_and_deciles(uplift, table):
    code, shown, _ = uplift("--file", table, *ASKED)

    assert code == 0
    assert shown.startswith("1 against 0: got ")
    for word in ("qini_perfect_normalised", "auuc_causalml_normalised", "decile", "calibration: effects rise by"):
        assert word in shown
    assert "ranks better than chance: p 0.00498" in shown
    assert "doubly robust" not in shown


def test_units_that_chose_their_arm_have_doubly_robust_effects_too(uplift, table):
    shown = uplift("--file", table, *ASKED, "--observational")[1]

    assert "doubly robust, on all units with overlap (10 %): 0." in shown
    assert "doubly robust, on treated units with overlap (10 %): 0." in shown
    assert "These hold only if the attributes are all that drove both treatment and outcome." in shown


def test_a_ranking_that_is_no_better_than_chance_says_so(uplift, table):
    shown = uplift("--file", table, *ASKED, "--attributes", "age")[1]

    assert "ranks no better than chance: do not aim by it" in shown


def test_arms_may_have_names_and_each_is_compared_with_the_control(uplift, tmp_path):
    table = rows(1_500)
    for at, row in enumerate(table):
        row["arm"] = ("none", "mail", "call")[at % 3]
    path = written(tmp_path / "arms.csv.gz", table)
    code, shown, _ = uplift("--file", path, *ASKED, "--control", "none", "--json")
    records = [json.loads(line) for line in shown.splitlines()]

    assert code == 0
    assert {one["segment"] for one in records} == {
        f"{arm}/{name}" for arm in ("call", "mail") for name in ("all", *(f"decile-{at}" for at in range(1, 11)))
    }
    assert {(one["experiment"], one["control"]) for one in records} == {("arms", "none")}


def test_a_second_run_gives_the_same_bytes_and_another_seed_others(uplift, table):
    first, second = (uplift("--file", table, *ASKED, "--json")[1] for _ in range(2))

    assert first == second
    assert uplift("--file", table, *ASKED, "--json", "--seed", "2")[1] != first


def test_the_order_of_lines_changes_nothing(uplift, table, tmp_path):
    (tmp_path / "turned").mkdir()
    turned = written(tmp_path / "turned" / "shop data.csv", rows()[::-1])

    assert uplift("--file", turned, *ASKED, "--json")[1] == uplift("--file", table, *ASKED, "--json")[1]


def test_a_bound_on_units_takes_a_share_of_them_and_says_which(uplift, table):
    code, shown, said = uplift("--file", table, *ASKED, "--units", "900", "--json")
    records = [json.loads(line) for line in shown.splitlines()]
    kept = records[0]["treated"] + records[0]["controls"]

    assert code == 0
    assert f"one unit in 2 is taken, by hash: {kept}; --units takes more" in said
    assert 500 < kept < 700


def test_the_deciles_are_drawn(uplift, table, tmp_path):
    assert uplift("--file", table, *ASKED, "--figure", "deciles.svg")[0] == 0
    assert (tmp_path / "deciles.svg").read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')


def test_lines_without_an_outcome_are_counted_and_empty_attributes_are_missing(uplift, tmp_path):
    table = rows()
    for at in range(7):
        table[at]["got"] = ""
    table[8]["age"] = ""
    code, shown, said = uplift("--file", written(tmp_path / "t.csv", table), *ASKED, "--json")
    first = json.loads(shown.splitlines()[0])

    assert (code, first["treated"] + first["controls"]) == (0, N - 7)
    assert "7 lines without treatment or outcome" in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--treatment", "arm", "--outcome", "lost"], "expected a column lost, got name, arm, kind, age, got"),
        (["--treatment", "kind", "--outcome", "got"], "--control: expected one of the values of kind (new, old), got"),
        (["--treatment", "arm", "--outcome", "got", "--control", "2"], "of arm (0, 1), got 2"),
        (["--treatment", "arm", "--outcome", "kind"], "line 2: expected a number as kind, got '"),
        (["--treatment", "arm", "--outcome", "got", "--unit", "kind"], "expected each kind once, got one again"),
        (["--treatment", "arm", "--outcome", "got", "--without", "x"], "expected a column x, got"),
        (
            ["--treatment", "arm", "--outcome", "got", "--without", "kind", "age", "name"],
            "expected attributes in which",
        ),
        (["--treatment", "arm", "--outcome", "got", "--units", "150"], "expected at least 100 treated units, got "),
    ],
)
def test_what_cannot_be_is_said(uplift, table, words, complaint):
    code, _, said = uplift("--file", table, *words)

    assert code == cli.FAILED
    assert complaint in said


def test_an_outcome_that_is_the_same_for_all_is_said(uplift, tmp_path):
    table = [row | {"got": 1} for row in rows()]
    said = uplift("--file", written(tmp_path / "t.csv", table), *ASKED)[2]

    assert "1 against 0: expected outcomes that differ, got 1 for all 1,200 units" in said


def test_a_file_that_is_not_there_or_no_text_is_said(uplift, tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "y.csv").write_text('name,arm,got\n"u,1,2\n')
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"name,arm,got\n" + b"u,1,2\n" * 99)[:-9])

    assert "cannot read lost.csv: No such file" in uplift("--file", "lost.csv", *ASKED)[2]
    assert "x.csv: expected text, got something else" in uplift("--file", "x.csv", *ASKED)[2]
    assert "y.csv: expected CSV, got something else: unexpected end of data" in uplift("--file", "y.csv", *ASKED)[2]
    assert "x.csv.gz: expected text, got something else" in uplift("--file", "x.csv.gz", *ASKED[:4])[2]


@pytest.mark.parametrize(
    ("words", "complaints"),
    [
        ([], ["expected ID or --file, got neither"]),
        (["x", "--file", "t.csv"], ["expected ID or --file, got both"]),
        (["--file", "t.csv"], ["--treatment: expected a column", "--outcome: expected a column"]),
        (["x", "--control", "a", "--folds", "1"], ["--control: expected with --file", "--folds: expected at least 2"]),
    ],
)
def test_all_mistakes_are_told_at_once(uplift, words, complaints):
    code, _, said = uplift(*words)

    assert code == cli.MISUSED
    for complaint in complaints:
        assert complaint in said


@pytest.mark.parametrize("topics", [(), ("labels",), ("exposures", "events"), ("metrics",)])
def test_topics_with_users_of_one_kind_are_joined(topics):
    assert unjoinable(topics, definition(topic="events")) == ""


@pytest.mark.parametrize(
    ("topics", "place"),
    [
        (("events",), "pseudonyms on events (privacy.pseudonymised_topics) and none on exposures"),
        (("exposures", "metrics"), "pseudonyms on exposures (privacy.pseudonymised_topics) and none on events"),
    ],
)
def test_pseudonyms_and_names_are_not_joined(topics, place):
    said = unjoinable(topics, definition(topic="events"))

    assert said == f"x: expected users of one kind on exposures and events, got {place}"


def test_without_lightgbm_it_is_said_before_anything_is_read(uplift, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    code, _, said = uplift("--file", "lost.csv", *ASKED)

    assert (code, "uplift needs LightGBM: pip install 'tidegate[uplift]'" in said) == (cli.FAILED, True)


def test_a_variation_with_too_few_units_is_left_out_and_said_and_the_others_are_learnt(uplift, tmp_path):
    table = rows()
    for row in table[:40]:
        row["arm"] = 2
    code, shown, said = uplift("--file", written(tmp_path / "three.csv", table), *ASKED, "--control", "0", "--json")

    assert code == 0
    assert {json.loads(line)["segment"].split("/")[0] for line in shown.splitlines()} == {"1"}
    assert "left out: 2 against 0: expected at least 100 treated units, got 40" in said
