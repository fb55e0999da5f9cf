"""`tidegate train ranker` and `tidegate models`, from files and on the embedded broker."""

import json
import re
from pathlib import Path

import msgspec
import pytest
import served_worlds
from confluent_kafka import Producer
from served_worlds import NAMES, interactions, served, world

from connectors.embedded import PARTITIONS, EmbeddedBroker
from flows import cli
from flows.commands import _models, train
from flows.settings import KEY_VARIABLE, load_settings
from operators.rank.model import KEY
from schemas.ranker import Ranker
from training.ranker.measures import Difference
from training.uplift import learner

N = 1_000
FEATURES = tuple(f"candidate_number_{name}" for name in NAMES)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the paths of served lists and of interactions."""
    folder, lists = tmp_path_factory.mktemp("world"), world(1, N).lists
    (folder / "served").write_bytes(b"\n".join(served(lists, names=FEATURES)) + b"\n\n")
    (folder / "interactions").write_bytes(b"\n".join(interactions(lists)))
    return ["--served", str(folder / "served"), "--interactions", str(folder / "interactions")]


@pytest.fixture
def tidegate(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(KEY_VARIABLE, f"hex:{served_worlds.KEY.hex()}")
    monkeypatch.setenv("TIDEGATE_RANKING__RECALL__FEATURES__CANDIDATE_NUMBERS", json.dumps(NAMES))

    def run(*arguments):
        code = cli.main(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker() as broker:
        broker.create(["ranking.served", "interactions", "ranking.models", "risk.tiers"])
        yield broker


@pytest.fixture
def connected(broker, monkeypatch):
    monkeypatch.setenv("TIDEGATE_KAFKA__BOOTSTRAP", broker.bootstrap)
    monkeypatch.setenv("TIDEGATE_KAFKA__DELIVERY", "at_least_once")  # what the embedded broker can do
    return load_settings(
        None, {"TIDEGATE_KAFKA__BOOTSTRAP": broker.bootstrap, "TIDEGATE_KAFKA__DELIVERY": "at_least_once"}
    )


def test_a_ranker_is_trained_from_files_shown_and_written(tidegate, files, tmp_path):
    code, said, _ = tidegate("train", "ranker", *files, "--out", "one.json")
    record = msgspec.json.decode((tmp_path / "one.json").read_bytes(), type=Ranker)

    assert code == 0
    assert _models.load(tmp_path / "one.json") == record
    assert re.search(
        rf"^{record.version}: \d+ trees, 5 features, gain of a grade: linear, places taken out$", said, re.MULTILINE
    )
    for name in ("training", "validation", "test", "ranker", "popularity", "as served"):
        assert f" {name} " in said
    assert re.search(r"^against popularity, pooled: \+0\.\d{4} \(95 %: ", said, re.MULTILINE)
    assert re.search(r"^what splits gained: candidate_number_\w+ \d+%, candidate_number_", said, re.MULTILINE)
    assert "left out: 58 lists whose attribution time goes beyond the end of their part" in said


def test_the_same_arguments_give_the_same_file(tidegate, files, tmp_path):
    for name in ("one", "two"):
        tidegate("train", "ranker", *files, "--trees", "10", "--out", name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_figures_come_as_json(tidegate, files):
    found = json.loads(tidegate("train", "ranker", *files, "--json", "--at", "5", "--version", "mine")[1])

    assert (found["version"], found["at"], found["debias"]) == ("mine", 5, True)
    assert {"test_ndcg@5", "test_mrr@5_popularity", "test_map@5_served", "test_gain_low"} <= found["figures"].keys()
    assert [part["lists"] for part in found["parts"].values()] == [571, 171, 200]
    assert found["crossing"] == 58  # half an hour at each cut, of a list a minute
    assert "trees" in found
    assert isinstance(found["trees"], int)
    assert sum(found["importance"].values()) == pytest.approx(1.0)


def test_grades_can_be_others(tidegate, files):
    arguments = ("train", "ranker", *files, "--json", "--trees", "10")
    usual = json.loads(tidegate(*arguments)[1])
    clicks = json.loads(tidegate(*arguments, "--grades", "click=1")[1])
    said = tidegate(*arguments, "--grades", "purchase=1")[2]

    assert clicks["figures"]["test_ndcg@10_served"] == clicks["figures"]["test_ndcg_exponential@10_served"]
    assert usual["figures"]["test_ndcg@10_served"] != usual["figures"]["test_ndcg_exponential@10_served"]
    assert "expected at least 20 lists for validation" in said  # purchases are rare


def test_clicks_count_as_long_as_the_judge_waits_for_them_unless_told_otherwise(tidegate, files, monkeypatch):
    monkeypatch.setenv("TIDEGATE_RANKING__JUDGE__WITHIN_S", "20")
    arguments = ("train", "ranker", *files, "--trees", "5")

    assert "expected clicks on what was shown, got none" in tidegate(*arguments)[2]  # they come after 30 seconds
    assert tidegate(*arguments, "--within", "40")[0] == 0


def test_probabilities_are_of_clicks_and_purchases_whatever_is_graded(tidegate, files):
    arguments = ("train", "ranker", *files, "--json", "--trees", "10")
    usual = json.loads(tidegate(*arguments)[1])["constant"]
    others = json.loads(tidegate(*arguments, "--grades", "click=1", "impression=1")[1])["constant"]

    assert others == usual
    assert usual["brier"] > 0.0


def test_without_a_pseudonym_key_interactions_cannot_be_told_from_those_of_others(tidegate, files, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE)
    arguments = ("train", "ranker", *files, "--trees", "5")
    code, _, said = tidegate(*arguments)
    monkeypatch.setenv("TIDEGATE_PRIVACY__PSEUDONYMISED_TOPICS", '["interactions"]')

    assert code == 2
    assert "privacy.key: there is none, and this command needs one" in said
    assert "other users than the list's" in tidegate(*arguments)[2]  # here they are no pseudonyms


MISTAKES = {
    "expected --served and --interactions, or neither, got one": ["--served", "f"],
    "--tiers: expected with --without-risky, got it without": ["--served", "f", "--interactions", "f", "--tiers", "f"],
    "--train and --validation: expected a sum below 1, got 1.1": ["--train", "0.9"],
    "--leaves: expected at least 2, got 1": ["--leaves", "1"],
    "--rate: expected at most 1, got 2": ["--rate", "2"],
    "--version: expected 1 to 64 letters": ["--version", "fallback"],
    "--anyway: expected with --publish, got it without": ["--anyway"],
    "--grades: expected TYPE=GRADE": ["--grades", "click"],
    "--grades: expected a type with a grade above 0": ["--grades", "click=0"],
}


@pytest.mark.parametrize(("text", "arguments"), MISTAKES.items())
def test_arguments_that_do_not_fit_are_named(tidegate, text, arguments):
    code, _, said = tidegate("train", "ranker", *arguments)

    assert code == 2
    assert text in said


def test_all_mistakes_are_named_at_once(tidegate):
    said = tidegate("train", "ranker", "--leaves", "1", "--rate", "3", "--anyway")[2]

    assert said.count("expected") == 3


def test_too_few_clicks_are_said_with_numbers(tidegate, files):
    code, _, said = tidegate("train", "ranker", *files, "--lists", "100")

    assert code == 1
    assert "expected at least 50 lists for training of which some items were clicked and others not, got " in said
    assert "expected at least 20 lists for test" in said


def test_a_file_that_is_not_there_is_said(tidegate):
    code, _, said = tidegate("train", "ranker", "--served", "no", "--interactions", "no")

    assert (code, said) == (1, "tidegate: cannot read no: No such file or directory\n")


def test_a_file_without_lists_is_said(tidegate, tmp_path):
    (tmp_path / "empty").write_text("{}\n")
    code, _, said = tidegate("train", "ranker", "--served", "empty", "--interactions", "empty")

    assert code == 1
    assert "left out: served lists that cannot be read: 1" in said
    assert "expected served lists in empty, got none" in said


def test_without_lightgbm_the_extra_is_named(tidegate, monkeypatch):
    def missing():
        raise learner.MissingExtra(learner.INSTALL)

    monkeypatch.setattr("training.ranker.learner.load_lightgbm", missing)

    assert tidegate("train", "ranker")[2] == "tidegate: train needs LightGBM: pip install 'tidegate[uplift]'\n"


def test_topics_are_read_and_the_ranker_is_put_on_every_partition(tidegate, files, broker, connected):
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for topic, path in (("ranking.served", files[1]), ("interactions", files[3])):
        for at, line in enumerate(filter(None, Path(path).read_bytes().split(b"\n"))):
            producer.produce(topic, line, b"u", at % PARTITIONS)
        producer.flush(30)
    code, _, said = tidegate("train", "ranker", "--publish", "--json", "--version", "first")

    assert code == 0, said
    assert f"published first on {PARTITIONS} partitions of ranking.models" in said
    held = _models.held(connected)
    assert [each.version for each in held.each] == ["first"] * PARTITIONS
    assert (held.missing, held.unreadable) == ([], [])
    assert tidegate("models", "show")[1].startswith("first, trained on 742 lists up to 2026-01-01 ")
    assert json.loads(tidegate("models", "show", "--json")[1])["version"] == "first"


def test_an_old_ranker_is_published_again_and_one_is_taken_back(tidegate, files, connected, tmp_path):
    tidegate("train", "ranker", *files, "--trees", "5", "--version", "old", "--out", "old.json")

    assert tidegate("models", "publish", "old.json")[0] == 0
    assert _models.held(connected).newest.version == "old"
    assert tidegate("models", "retire")[2] == f"took back the ranker on {PARTITIONS} partitions of ranking.models\n"
    assert tidegate("models", "show")[1] == "there is no ranker: lists go by the fallback\n"


def test_partitions_without_the_ranker_are_named(tidegate, files, broker, connected, tmp_path):
    tidegate("train", "ranker", *files, "--trees", "5", "--version", "most", "--out", "one.json")
    tidegate("models", "publish", "one.json")
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce("ranking.models", None, KEY, 1)
    producer.produce("ranking.models", b"[]", KEY, 3)
    producer.flush(10)
    _, said, remarks = tidegate("models", "show")

    assert said.startswith("most, ")
    assert "not on partitions 1, 3: " in remarks
    assert "not rankers that can be read: on 1 partition\n" in remarks


def test_a_ranker_that_was_changed_is_not_published(tidegate, files, tmp_path):
    tidegate("train", "ranker", *files, "--trees", "5", "--version", "old", "--out", "old.json")
    path = tmp_path / "old.json"
    path.write_bytes(path.read_bytes().replace(b'"old"', b'"new"'))
    code, _, said = tidegate("models", "publish", "old.json")

    assert (code, said) == (1, "tidegate: old.json: expected the checksum of the record, got another - at $.checksum\n")


def test_one_that_is_too_large_for_a_broker_is_not_published(tidegate, files, monkeypatch):
    monkeypatch.setattr(_models, "MOST_BYTES", 1_000)
    code, _, said = tidegate("train", "ranker", *files, "--trees", "5", "--publish")

    assert code == 1
    assert re.search(r"expected a ranker of at most 1,000 bytes, got [\d,]+: use fewer --trees or --leaves", said)


def test_one_that_is_too_large_for_the_flow_is_not_published(tidegate, files, connected, monkeypatch):
    tidegate("train", "ranker", *files, "--trees", "5", "--out", "large.json")
    tidegate("models", "retire")
    monkeypatch.setenv("TIDEGATE_RANKING__RANK__MAX_MODEL_BYTES", "2000")
    code, _, said = tidegate("models", "publish", "large.json")

    assert code == 1
    assert "expected a ranker of at most 2,000 bytes, got " in said
    assert "or raise ranking.rank.max_model_bytes" in said
    assert _models.held(connected).newest is None


def test_one_with_features_that_are_not_configured_is_not_published(tidegate, files, connected, monkeypatch):
    tidegate("train", "ranker", *files, "--trees", "5", "--out", "other.json")
    tidegate("models", "retire")
    monkeypatch.setenv("TIDEGATE_RANKING__RECALL__FEATURES__CANDIDATE_NUMBERS", json.dumps(NAMES[1:]))
    code, _, said = tidegate("models", "publish", "other.json")

    assert code == 1
    assert "features of the ranking flow under these settings, got candidate_number_taste: see ranking.recall" in said
    assert _models.held(connected).newest is None


def test_one_that_is_worse_than_popularity_is_published_on_demand_only(tidegate, files, connected, monkeypatch):
    whole = train.train
    monkeypatch.setattr(train, "train", lambda *given: whole(*given)._replace(gain=Difference(-0.01, -0.02, 0.0)))
    arguments = ("train", "ranker", *files, "--trees", "5", "--version", "worse", "--publish")
    tidegate("models", "retire")
    code, _, said = tidegate(*arguments)

    assert code == 1
    assert "the ranker's pooled NDCG is 0.0100 below that of popularity (95 %: -0.0200 to +0.0000). Nothing" in said
    assert _models.held(connected).newest is None
    assert tidegate(*arguments, "--anyway")[0] == 0
    assert _models.held(connected).newest.version == "worse"
