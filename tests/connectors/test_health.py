"""The HTTP answers, over a real socket, with a clock that moves only when told."""

import json
import re
import socket
import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from connectors.health import Health
from operators.metrics import Metrics


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry())


@pytest.fixture
def health(clock, metrics):
    with Health(metrics, stuck_after_s=10, clock=clock) as served:
        served.address = served.serve("127.0.0.1", 0)
        yield served


def get(health, path, method="GET", **headers):
    host, port = health.address
    request = urllib.request.Request(f"http://{host}:{port}{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def test_port_zero_gives_the_port_that_was_taken(health):
    assert health.address[0] == "127.0.0.1"
    assert health.address[1] > 0


def test_healthz_is_200_while_the_loop_beats(health, clock):
    for _ in range(5):
        clock.now += 9
        health.beat()

    assert get(health, "/healthz")[0] == 200


def test_healthz_is_503_and_says_why_once_the_loop_is_stuck(health, clock):
    health.beat()
    clock.now += 10

    status, _, body = get(health, "/healthz")
    assert status == 503
    assert json.loads(body) == {
        "healthy": False,
        "heartbeat_age_s": 10.0,
        "detail": "the main loop has not beaten for 10.0 s, expected every 10 s",
    }


def test_a_loop_that_comes_back_is_healthy_again(health, clock):
    clock.now += 60
    assert get(health, "/healthz")[0] == 503

    health.beat()
    assert get(health, "/healthz")[0] == 200


def test_a_start_that_never_reaches_the_loop_is_stuck(health, clock):
    clock.now += 11

    assert get(health, "/healthz")[0] == 503


def test_readyz_is_503_from_the_start(health):
    status, _, body = get(health, "/readyz")

    assert (status, json.loads(body)) == (503, {"ready": False, "detail": "starting"})


def test_readyz_shows_the_progress_of_a_restore_and_then_200(health):
    progress = {"3": 0.25}
    health.ready(False, {"restoring": progress})
    progress["3"] = 0.5  # the detail was written down before this

    status, headers, body = get(health, "/readyz")
    assert (status, headers["Content-Type"]) == (503, "application/json")
    assert json.loads(body) == {"ready": False, "detail": {"restoring": {"3": 0.25}}}

    health.ready(True, "2 partitions live")
    assert get(health, "/readyz")[0] == 200


def test_what_was_ready_when_the_loop_got_stuck_is_ready_no_more_and_says_why(health, clock, metrics):
    health.ready(True, "live")
    clock.now += 100

    status, _, body = get(health, "/readyz")
    assert (get(health, "/healthz")[0], status) == (503, 503)
    assert json.loads(body)["ready"] is False
    assert json.loads(body)["detail"]["detail"].startswith("the main loop has not beaten for 100.0 s")
    assert metrics.registry.get_sample_value("tidegate_ready") == 0

    health.beat()
    assert get(health, "/readyz")[0] == 200
    assert metrics.registry.get_sample_value("tidegate_ready") == 1


def test_a_restore_that_beats_is_healthy_and_not_ready(health, clock):
    for share in (0.1, 0.5, 0.9):
        clock.now += 9
        health.beat()
        health.ready(False, {"restoring": {"0": share}})
        assert (get(health, "/healthz")[0], get(health, "/readyz")[0]) == (200, 503)


def test_what_says_that_it_takes_long_is_healthy_that_long_and_no_longer(health, clock):
    health.busy(100, "compiling")
    clock.now += 99
    assert (get(health, "/healthz")[0], get(health, "/readyz")[0]) == (200, 503)
    assert json.loads(get(health, "/readyz")[2])["detail"] == "compiling"

    clock.now += 1
    assert get(health, "/healthz")[0] == 503


def test_after_what_took_long_a_beat_is_expected_as_often_as_ever(health, clock):
    health.busy(100, "compiling")
    health.beat()
    clock.now += 10

    assert get(health, "/healthz")[0] == 503


def test_metrics_can_be_parsed_by_prometheus_own_reader(health, metrics):
    metrics.lag_records.labels("risk", 3).set(17)

    status, headers, body = get(health, "/metrics")
    found = {family.name: family for family in text_string_to_metric_families(body)}
    assert (status, headers.get_content_type()) == (200, "text/plain")
    assert found["tidegate_lag_records"].samples[0].value == 17


def test_metrics_speak_openmetrics_to_who_asks_for_it(health):
    _, headers, body = get(health, "/metrics", Accept="application/openmetrics-text;version=1.0.0")

    assert headers.get_content_type() == "application/openmetrics-text"
    assert body.endswith("# EOF\n")


def test_ready_and_the_heartbeats_age_are_metrics_too(health, clock, metrics):
    health.ready(True, "live")
    assert metrics.registry.get_sample_value("tidegate_ready") == 1
    clock.now += 42

    assert metrics.registry.get_sample_value("tidegate_heartbeat_age_seconds") == 42


def test_an_unknown_path_is_404_and_names_the_known_ones(health):
    status, _, body = get(health, "/metrics/../etc/passwd")

    assert (status, json.loads(body)) == (404, {"error": "expected one of /metrics, /healthz, /readyz"})


def test_a_query_string_does_not_change_the_path(health):
    assert get(health, "/healthz?probe=1")[0] == 200


def test_head_has_headers_and_no_body(health):
    status, headers, body = get(health, "/healthz", method="HEAD")

    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 0


def test_nothing_can_be_changed_over_http(health):
    assert get(health, "/readyz", method="POST")[0] == 501


def test_the_answer_does_not_name_python_or_its_version(health):
    assert get(health, "/healthz")[1]["Server"].strip() == "tidegate"


def test_a_client_that_says_nothing_does_not_hold_up_the_others(health):
    with socket.create_connection(health.address):
        assert get(health, "/healthz")[0] == 200


def test_a_port_in_use_is_an_error_that_says_what_to_change(health, metrics):
    _, port = health.address
    second = Health(Metrics(CollectorRegistry()))

    expected = rf"127\.0\.0\.1:{port}, got an error: the port is in use: set port in \[metrics\]"
    with pytest.raises(OSError, match=expected):
        second.serve("127.0.0.1", port)


def test_an_address_of_another_machine_is_an_error_that_says_what_to_change():
    with pytest.raises(OSError, match=re.escape("set host in [metrics] or TIDEGATE_METRICS__HOST")):
        Health(Metrics(CollectorRegistry())).serve("192.0.2.1", 0)  # TEST-NET-1, RFC 5737: nobody's


def test_closing_frees_the_port_and_ends_the_thread(clock):
    health = Health(Metrics(CollectorRegistry()), clock=clock)
    _, port = health.serve("127.0.0.1", 0)
    health.close()

    again = Health(Metrics(CollectorRegistry()), clock=clock)
    assert again.serve("127.0.0.1", port)[1] == port
    again.close()
    again.close()  # closing twice is harmless
    assert not [thread for thread in threading.enumerate() if thread.name == "health" and thread.is_alive()]


def test_serving_twice_is_an_error(health):
    with pytest.raises(RuntimeError, match="running already"):
        health.serve("127.0.0.1", 0)


def test_a_limit_that_is_not_above_zero_is_an_error(metrics):
    with pytest.raises(ValueError, match="stuck_after_s == 0, must be > 0"):
        Health(metrics, stuck_after_s=0)
