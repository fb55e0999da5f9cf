"""`tidegate audit` on files: what it prints, how it ends, whose key it wants."""

import json

import pytest

from flows import cli
from flows.commands import audit
from operators.audit import Chain, derive_key

KEY = b"a pseudonym key of this test"
AUDIT_KEY = "hex:" + derive_key(KEY).hex()


@pytest.fixture(autouse=True)
def _no_other_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("TIDEGATE_CONFIG", "TIDEGATE_PSEUDONYM_KEY", "TIDEGATE_AUDIT_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def verify(tmp_path, monkeypatch, capsys):
    """Verify lines with the audit key that belongs to KEY; return the exit code and what is said."""

    def run(lines, *words, key=AUDIT_KEY):
        file = tmp_path / "trail.ndjson"
        file.write_bytes(b"".join(line + b"\n" for line in lines))
        monkeypatch.setenv("TIDEGATE_AUDIT_KEY", key)
        code = cli.main(["audit", "verify", "--file", str(file), *words])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return run


def chain(partition=0, key=None, length=5):
    one = Chain(key or derive_key(KEY), "risk", partition, {"score": "aaaa"})
    return [one.tell(1_767_225_600_000), *(one.append("drift", 1_767_225_600_000 + at, {}) for at in range(1, length))]


def test_whole_chains_end_with_0(verify):
    code, said = verify([*chain(0), *chain(1)])

    assert code == 0
    assert "2 chains, 0 faults" in said
    assert "2026-01-01" in said


def test_chains_that_lie_mixed_are_told_apart(verify):
    assert verify([line for pair in zip(chain(0), chain(1), strict=True) for line in pair])[0] == 0


def test_an_altered_record_ends_with_1_and_its_line(verify):
    lines = chain()
    lines[2] = lines[2].replace(b'"drift"', b'"calm"')
    code, said = verify(lines)

    assert code == 1
    assert (
        "risk-0: changed: expected record 2 with the mac of its content, got content and mac that differ - at line 3"
        in said
    )


def test_a_long_finding_is_not_cut(verify):
    code, said = verify(chain(key=bytes(32)))

    assert code == 1
    assert said.rstrip().endswith("1 chain, 1 fault")
    assert "- at line 1\n" in said


def test_a_chain_that_begins_late_is_told_and_refused_only_with_from_start(verify):
    late = chain()[2:]
    code, said = verify(late)
    assert code == 0
    assert "risk-0: begins at record 2; retention has removed older ones" in said

    code, said = verify(late, "--from-start")
    assert code == 1
    assert "risk-0: missing: expected records 0 to 1" in said


def test_an_older_key_is_given_as_a_file(verify, tmp_path):
    old, new = bytes(32), derive_key(KEY)
    first = Chain(old, "risk", 0, {})
    lines = [first.tell(1)]
    second = Chain(new, "risk", 0, {})
    second.recall(first.beside)
    lines.append(second.tell(2))
    file = tmp_path / "old"
    file.write_text("hex:" + old.hex())

    assert verify(lines)[0] == 1
    assert verify(lines, "--old-key-file", str(file))[0] == 0


def test_without_transactions_a_stretch_written_twice_is_told_and_no_fault(verify, monkeypatch):
    lines = chain()
    assert verify([*lines[:4], *lines[2:]])[0] == 1
    monkeypatch.setenv("TIDEGATE_KAFKA__DELIVERY", "at_least_once")
    code, said = verify([*lines[:4], *lines[2:]])

    assert code == 0
    assert "risk-0: repeated: " in said


def test_the_pseudonym_key_will_do_where_there_is_no_audit_key(tmp_path, monkeypatch):
    (tmp_path / "trail").write_bytes(b"\n".join(chain()))
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", KEY.decode())

    assert cli.main(["audit", "verify", "--file", "trail"]) == 0


def test_without_any_key_it_says_how_to_get_one(capsys):
    assert cli.main(["audit", "verify", "--file", "trail"]) == 2
    assert "`tidegate audit key` shows the one that belongs to a pseudonym key" in capsys.readouterr().err


def test_the_key_shown_is_the_one_that_verifies(monkeypatch, capsys, verify):
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", KEY.decode())
    assert cli.main(["audit", "key"]) == 0
    shown = capsys.readouterr().out.strip()
    monkeypatch.delenv("TIDEGATE_PSEUDONYM_KEY")

    assert verify(chain(), key=shown)[0] == 0


def test_a_file_that_is_missing_is_an_answer(monkeypatch, capsys):
    monkeypatch.setenv("TIDEGATE_AUDIT_KEY", "sixteen letters!")

    assert cli.main(["audit", "verify", "--file", "nowhere"]) == 1
    assert "tidegate: cannot read nowhere: No such file or directory" in capsys.readouterr().err


def test_control_characters_of_a_forger_do_not_reach_the_terminal(verify):
    forged = json.dumps({**json.loads(chain()[0]), "flow": "\x1b[31mrisk"}).encode()
    code, said = verify([*chain(), forged])

    assert code == 1
    assert "\x1b" not in said


def test_a_flood_of_invented_flows_makes_no_more_chains_than_stated(monkeypatch):
    monkeypatch.setattr(audit, "CHAINS_MOST", 3)
    chains = audit.Chains([bytes(32)], {})
    for number in range(9):
        chains.feed(Chain(bytes(32), f"flow{number}", 0, {}).tell(1), "line")

    assert len(chains.verifiers) <= 4


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2026-01-01", 1_767_225_600_000),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01T01:00:00.5+01:00", 1_767_225_600_500),
    ],
)
def test_a_time_is_read_as_utc_unless_it_says_otherwise(text, time_ms):
    assert audit._time(text) == time_ms
