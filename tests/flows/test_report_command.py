"""`tidegate experiments report`, as far as it needs no broker."""

import json

import msgspec
import pytest
from made_readouts import definition, readout, uplift, verdict

from flows import cli
from flows.commands import CommandError, _experiment_report
from flows.commands._experiment_report import from_file, from_topics
from flows.settings import load_settings

SETTINGS = load_settings(None, {"TIDEGATE_READOUTS__MERGE__CHECK_ALPHA": "0.003"})


def wire(*records):
    return b"\n".join(map(msgspec.json.encode, records))


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "records.json"
        path.write_bytes(content)
        return path

    return write


def test_a_page_is_written_under_the_name_of_its_experiment(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert cli.main(["experiments", "report", "--file", str(file(wire(readout())))]) == cli.OK
    assert "<h1>checkout-button</h1>" in (tmp_path / "checkout-button.html").read_text()
    assert capsys.readouterr().out == "wrote checkout-button.html\n"


def test_a_page_goes_where_it_is_told_to(file, tmp_path):
    path = tmp_path / "page.html"

    assert cli.main(["experiments", "report", "--file", str(file(wire(readout()))), "-o", str(path)]) == cli.OK
    assert path.read_text().startswith("<!doctype html>")


def test_a_page_goes_to_standard_output(file, capsys):
    assert cli.main(["experiments", "report", "--file", str(file(wire(readout()))), "-o", "-"]) == cli.OK
    assert capsys.readouterr().out.endswith("</html>\n")


def test_where_nothing_can_be_written_that_is_said(file, tmp_path, capsys):
    arguments = [
        "experiments",
        "report",
        "--file",
        str(file(wire(readout()))),
        "-o",
        str(tmp_path / "no" / "page.html"),
    ]

    assert cli.main(arguments) == cli.FAILED
    assert capsys.readouterr().err.startswith(f"tidegate: cannot write {tmp_path}/no/page.html: No such file")


def test_neither_an_experiment_nor_a_file_is_refused(capsys):
    assert cli.main(["experiments", "report"]) == cli.FAILED
    assert "expected the id of an experiment, or --file, got neither" in capsys.readouterr().err


def test_a_readout_may_be_printed_over_many_lines(file):
    path = file(msgspec.json.format(wire(readout()), indent=2))

    assert from_file(path, None).readout == readout()


def test_a_file_may_hold_decisions_the_definition_and_uplift_too(file):
    verdicts = (verdict("continue", 5), verdict())
    others = (definition(id="other"), *uplift("blue", experiment="other"))

    about = from_file(file(wire(definition(), readout(), *verdicts, *uplift(), *others)), None)
    assert (about.definition, about.verdicts, about.uplift) == (definition(), verdicts, uplift())


def test_what_show_writes_as_json_will_do(file):
    shown = json.dumps({"readout": msgspec.to_builtins(readout()), "decision": msgspec.to_builtins(verdict())})

    about = from_file(file(shown.encode()), None)
    assert (about.readout, about.verdicts) == (readout(), (verdict(),))


def test_show_may_have_found_no_decision(file):
    shown = json.dumps({"readout": msgspec.to_builtins(readout()), "decision": None})

    assert from_file(file(shown.encode()), None).verdicts == ()


def test_the_newest_readout_of_a_file_counts(file):
    assert from_file(file(wire(readout(), readout(several=0.5))), None).readout.several == 0.5


def test_of_several_experiments_the_one_that_is_named_is_taken(file):
    path = file(wire(readout(), readout(experiment="other"), verdict(experiment="other")))

    about = from_file(path, "checkout-button")
    assert (about.readout.experiment, about.verdicts) == ("checkout-button", ())


def test_of_several_experiments_one_must_be_named(file):
    with pytest.raises(CommandError, match=r"the readout of one experiment in .*, got checkout-button, other"):
        from_file(file(wire(readout(), readout(experiment="other"))), None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (wire(readout()) + b"\n{", "line 2: "),
        (b"[]", "line 1: expected a readout, a decision, a definition or an uplift"),
        (wire(readout()) + b'\n{"id":"e"}', "line 2: expected a readout, a decision, a definition or an uplift"),
        (b'{"comparisons":1}', "line 1: readout: "),
        (b"\xff", "line 1: "),
    ],
)
def test_what_is_no_record_is_refused_with_its_line(file, content, said):
    with pytest.raises(CommandError, match=f"cannot read .*: {said}"):
        from_file(file(content), None)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CommandError, match=r"cannot read .*no\.json: No such file"):
        from_file(tmp_path / "no.json", None)


class Message:
    def __init__(self, key, value):
        self._key, self._value = key, value

    def key(self):
        return self._key.encode()

    def value(self):
        return self._value


@pytest.fixture
def topics(monkeypatch):
    """What lies in Kafka, by topic; the client is left out."""
    there = {name: [] for name in ("experiments.readouts", "experiments.decisions", "uplift")}
    defined = []

    class Held:
        def of(self, name):
            return next((one for one in defined if one.id == name), None)

    class Admin:
        def __init__(self, *_):
            pass

        def partitions(self):
            return {name: 1 for name in there if name != "defined"}

    monkeypatch.setattr(_experiment_report, "Admin", Admin)
    monkeypatch.setattr(_experiment_report, "plain_consumer", lambda *_: None)
    monkeypatch.setattr(_experiment_report, "full_name", lambda _, topic: topic)
    monkeypatch.setattr(_experiment_report, "held", lambda _: Held())
    monkeypatch.setattr(_experiment_report, "read", lambda _, topic, *__, **___: iter(there[topic]))
    there["defined"] = defined
    return there


def test_of_the_topics_the_newest_readout_all_decisions_and_the_definition_count(topics):
    topics["experiments.readouts"] += [
        Message("checkout-button", wire(readout())),
        Message("checkout-button", wire(readout(several=0.5))),
        Message("other", wire(readout(experiment="other"))),
    ]
    topics["experiments.decisions"] += [
        Message("checkout-button", wire(verdict("continue", 5))),
        Message("other", b"unreadable"),
        Message("checkout-button", wire(verdict())),
    ]
    topics["defined"].append(definition())

    about = from_topics(SETTINGS, "checkout-button")
    assert about.readout.several == 0.5
    assert [one.decision for one in about.verdicts] == ["continue", "ship"]
    assert about.definition == definition()
    assert about.alarm == 0.003


def test_of_uplift_the_newest_record_of_each_segment_counts_unless_it_was_taken_away(topics):
    whole, first, second, *_ = uplift()
    topics["experiments.readouts"].append(Message("checkout-button", wire(readout())))
    topics["uplift"] += [
        Message("checkout-button/green/all", wire(msgspec.structs.replace(whole, effect=9.0))),
        Message("checkout-button/green/decile-1", wire(first)),
        Message("checkout-button/green/decile-2", wire(second)),
        Message("checkout-button/green/all", wire(whole)),
        Message("checkout-button/green/decile-2", None),
        Message("checkout-button-2/green/all", wire(msgspec.structs.replace(whole, experiment="checkout-button-2"))),
    ]

    assert from_topics(SETTINGS, "checkout-button").uplift == (whole, first)


def test_where_there_is_no_topic_of_uplift_there_is_none(topics):
    topics["experiments.readouts"].append(Message("checkout-button", wire(readout())))
    del topics["uplift"]

    assert from_topics(SETTINGS, "checkout-button").uplift == ()


def test_that_there_is_no_readout_is_said_with_what_to_do(topics):
    with pytest.raises(CommandError, match="there is no readout of x; `tidegate run readouts` writes them"):
        from_topics(SETTINGS, "x")


def test_a_readout_that_was_taken_away_is_none(topics):
    topics["experiments.readouts"] += [Message("x", wire(readout(experiment="x"))), Message("x", None)]

    with pytest.raises(CommandError, match="there is no readout of x"):
        from_topics(SETTINGS, "x")


def test_a_readout_of_another_version_of_tidegate_is_told(topics):
    topics["experiments.readouts"].append(Message("x", b'{"schema":2}'))

    with pytest.raises(CommandError, match="the records of x cannot be read by this version of Tidegate"):
        from_topics(SETTINGS, "x")
