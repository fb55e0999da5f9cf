"""`tidegate ranking report`, as far as it needs no broker."""

import json

import msgspec
import pytest
from confluent_kafka import Producer
from made_quality import quality

from connectors.embedded import EmbeddedBroker
from flows import cli


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "quality.jsonl"
    path.write_bytes(b"\n\n".join(msgspec.json.encode(quality(at)) for at in range(3)))
    return path


def test_a_page_is_written_where_it_is_told_to(file, tmp_path, capsys):
    path = tmp_path / "page.html"

    assert cli.main(["ranking", "report", "--file", str(file), "--out", str(path)]) == cli.OK
    assert path.read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out == f"wrote {path}\n"


def test_a_page_has_a_name_of_its_own(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert cli.main(["ranking", "report", "--file", str(file)]) == cli.OK
    assert (tmp_path / "ranking.html").exists()


def test_a_page_goes_to_standard_output(file, capsys):
    assert cli.main(["ranking", "report", "--file", str(file), "-o", "-"]) == cli.OK
    assert capsys.readouterr().out.endswith("</html>\n")


def test_figures_are_printed_as_json(file, capsys):
    assert cli.main(["ranking", "report", "--file", str(file), "--json"]) == cli.OK
    said = json.loads(capsys.readouterr().out)

    assert said["whole"]["lists"] == 300
    assert [one["ndcg"] for one in said["stretches"]] == [0.6, 0.6, 0.6]
    assert len(said["evidence"]["<women>"]) == 3


def test_records_of_all_partitions_are_read_from_the_topic(capsys, monkeypatch):
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for partition in (0, 1):
            producer.produce("ranking.quality", msgspec.json.encode(quality(0, partition)), partition=partition)
        assert producer.flush(30) == 0
        monkeypatch.setenv("TIDEGATE_KAFKA__BOOTSTRAP", broker.bootstrap)

        assert cli.main(["ranking", "report", "--json"]) == cli.OK
        del producer

    said = json.loads(capsys.readouterr().out)
    assert (said["partitions"], said["whole"]["lists"]) == ([0, 1], 200)


def test_alpha_of_the_settings_is_where_the_page_draws_the_line(file, capsys, monkeypatch):
    monkeypatch.setenv("TIDEGATE_RANKING__JUDGE__ALPHA", "0.002")

    assert cli.main(["ranking", "report", "--file", str(file), "-o", "-"]) == cli.OK
    assert "alarm at 500" in capsys.readouterr().out


def test_where_nothing_is_known_that_is_said(tmp_path, capsys):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"")

    assert cli.main(["ranking", "report", "--file", str(path)]) == cli.FAILED
    assert "nothing is known of the quality of lists yet" in capsys.readouterr().err


@pytest.mark.parametrize("line", [b"{}", b"[", b"\xff"])
def test_a_record_that_cannot_be_read_is_named(file, line, capsys):
    file.write_bytes(file.read_bytes() + b"\n" + line)

    assert cli.main(["ranking", "report", "--file", str(file)]) == cli.FAILED
    assert f"line 6 of {file} cannot be read" in capsys.readouterr().err


def test_where_nothing_can_be_written_or_read_that_is_said(file, tmp_path, capsys):
    assert cli.main(["ranking", "report", "--file", str(file), "-o", str(tmp_path / "no" / "page.html")]) == cli.FAILED
    assert cli.main(["ranking", "report", "--file", str(tmp_path / "none")]) == cli.FAILED

    said = capsys.readouterr().err
    assert f"cannot write {tmp_path}/no/page.html" in said
    assert f"cannot read {tmp_path}/none" in said
