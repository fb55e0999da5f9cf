"""What the tests' own Kafka shares with tests that run beside them: the jars, and the machine's ports."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import server

SLOW_MAVEN = """#!/bin/sh
echo one >> "$HOME/fetches"
sleep 0.5
mkdir -p lib && echo whole > lib/kafka.jar
"""


def test_processes_that_need_the_jars_at_once_fetch_them_once_and_wait_for_them(tmp_path):
    (tmp_path / "mvn").write_text(SLOW_MAVEN)
    (tmp_path / "java").write_text("#!/bin/sh\n")
    for name in ("mvn", "java"):
        (tmp_path / name).chmod(0o755)
    code = f"import sys; sys.path.insert(0, {str(Path(server.__file__).parent)!r}); import server; print((server.jars() / 'kafka.jar').read_text())"  # noqa: E501
    environ = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [each.communicate(timeout=60)[0].strip() for each in started]

    assert said == ["whole"] * 3
    assert (tmp_path / "fetches").read_text().split() == ["one"]


def test_a_fetch_that_fails_is_told_and_tried_again_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "CACHE", tmp_path / "kafka")
    monkeypatch.setattr(server.shutil, "which", lambda _: "there")
    tried = []

    def fail(lib):
        tried.append(lib)
        raise server.UnavailableError("no network")

    monkeypatch.setattr(server, "_fetch", fail)
    for _ in range(2):
        with pytest.raises(server.UnavailableError, match="no network"):
            server.jars()

    assert tried == [tmp_path / "kafka" / "lib"] * 2


def test_processes_side_by_side_have_ports_of_their_own_below_those_that_clients_get():
    stretches = [set(itertools.islice(server.own_ports(f"gw{number}"), 2_000)) for number in range(4)]

    assert all(len(stretch) == 1_024 for stretch in stretches)
    assert len(set().union(*stretches)) == 4 * 1_024
    assert all(1_024 < port < 32_768 for stretch in stretches for port in stretch)


def test_a_port_in_use_is_passed_over(monkeypatch):
    with server.socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        free = server.free_ports(1)[0]
        monkeypatch.setattr(server, "_ports", iter([port, free]))

        assert server.free_ports(1) == [free]
