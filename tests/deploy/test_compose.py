"""The compose file, checked without an engine; by `docker compose config` too where that is installed."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from flows.cli import COMMANDS
from flows.settings import load_settings

FLOWS = ("risk", "explanations", "experiments", "readouts", "interactions", "signals", "ranking")
OURS = ("topics", *FLOWS, "demo")
KEY = "0123456789abcdef"
TOP = {"name", "services", "volumes", "networks", "secrets", "configs"}
SERVICE = {
    "image", "build", "command", "entrypoint", "environment", "depends_on", "healthcheck", "ports", "expose", "volumes",
    "tmpfs", "read_only", "cap_drop", "security_opt", "restart", "deploy", "profiles", "stop_grace_period", "init",
}  # fmt: skip
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def services(compose):
    return compose["services"].items()


def interpolated(text, environ):
    return re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", lambda match: environ.get(match[1], ""), str(text))


def test_only_known_keys_are_used(compose):
    assert {key for key in compose if not key.startswith("x-")} <= TOP
    for name, service in services(compose):
        assert service.keys() <= SERVICE, name


def test_every_image_is_pinned_to_an_exact_version(compose):
    for name, service in services(compose):
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), name


def test_every_dependency_exists_and_can_meet_its_condition(compose):
    for name, service in services(compose):
        for other, how in service.get("depends_on", {}).items():
            target = compose["services"][other]
            assert how["condition"] in CONDITIONS, name
            if how["condition"] == "service_healthy":
                assert "test" in target["healthcheck"], f"{name} waits for {other}"
            if how["condition"] == "service_completed_successfully":
                assert target["restart"] == "no", f"{name} waits for {other}"


def test_every_file_that_is_mounted_or_built_exists(compose, root):
    for name, service in services(compose):
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (root / source).exists() if source.startswith(".") else source in compose["volumes"], name
        if "build" in service:
            assert (root / service["build"]["dockerfile"]).is_file()


def test_mounted_files_of_the_repository_cannot_be_changed_from_inside(compose):
    for name, service in services(compose):
        for volume in service.get("volumes", []):
            assert volume.endswith(":ro") or not volume.startswith("."), name


def test_every_long_running_service_restarts_and_is_checked(compose):
    for name, service in services(compose):
        if name == "topics":
            continue
        assert service["restart"] == "unless-stopped"
        # flows are checked by the image's own HEALTHCHECK, demo serves nothing
        assert "test" in service.get("healthcheck", {}) or name in (*FLOWS, "demo"), name


def test_every_service_has_no_privileges_and_a_limit(compose):
    for name, service in services(compose):
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name


def test_every_root_file_system_but_kafkas_is_read_only(compose):
    writable = [name for name, service in services(compose) if not service.get("read_only")]

    assert writable == ["kafka"]


def test_ports_are_published_to_this_machine_alone(compose):
    for name, service in services(compose):
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_can_be_scaled(compose, flow):
    service = compose["services"][flow]

    assert service.keys().isdisjoint({"container_name", "ports", "hostname"})
    assert "volumes" not in service  # replicas would share it


def test_prometheus_finds_every_replica_where_it_listens(compose, root):
    jobs = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    (found,) = next(job for job in jobs if job["job_name"] == "tidegate")["dns_sd_configs"]

    assert (found["names"], found["type"]) == (list(FLOWS), "A")
    assert all([str(found["port"])] == compose["services"][flow]["expose"] for flow in FLOWS)
    assert f"TIDEGATE_METRICS__PORT={found['port']}" in (root / "deploy/Dockerfile").read_text()


@pytest.mark.parametrize("name", OURS)
def test_the_environment_is_made_of_settings_that_exist(compose, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = {key: interpolated(value, {"TIDEGATE_PSEUDONYM_KEY": KEY, "TIDEGATE_LOG__LEVEL": "info"})
               for key, value in compose["services"][name]["environment"].items()}  # fmt: skip

    settings = load_settings(None, environ, needs_key=True)

    assert settings.kafka.bootstrap == "kafka:19092"
    assert settings.privacy.key.get_secret_value() == KEY.encode()


def test_the_image_sets_settings_that_exist(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = dict(re.findall(r"(TIDEGATE_\w+)=(\S+)", (root / "deploy/Dockerfile").read_text()))

    settings = load_settings(None, environ)

    assert (settings.metrics.host, settings.metrics.port) == ("0.0.0.0", 9464)


def test_the_flow_reaches_kafka_by_a_listener_that_is_advertised(compose):
    environment = compose["services"]["kafka"]["environment"]
    bootstrap = compose["services"]["risk"]["environment"]["TIDEGATE_KAFKA__BOOTSTRAP"]
    advertised = dict(one.split("://") for one in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = dict(one.split("://:") for one in environment["KAFKA_LISTENERS"].split(","))
    protocols = dict(one.split(":") for one in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))

    assert bootstrap in advertised.values()
    assert all(address.endswith(f":{listening[name]}") for name, address in advertised.items())
    assert protocols.keys() == listening.keys()


def test_one_broker_keeps_its_internal_topics_once(compose):
    environment = compose["services"]["kafka"]["environment"]

    once = [key for key in environment if key.endswith(("REPLICATION_FACTOR", "MIN_ISR"))]
    assert {"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"} <= set(once)  # fmt: skip
    assert {environment[key] for key in once} == {"1"}


def test_the_key_has_no_default_and_its_absence_says_what_to_do(compose):
    text = compose["services"]["risk"]["environment"]["TIDEGATE_PSEUDONYM_KEY"]

    assert text.startswith("${TIDEGATE_PSEUDONYM_KEY:?")
    assert "openssl rand -hex 32" in text


def test_environment_values_are_text_so_that_yaml_cannot_change_them(compose):
    for name, service in services(compose):
        for key, value in service.get("environment", {}).items():
            assert isinstance(value, str), f"{name}: {key}"


def test_the_demo_and_the_modules_of_experiments_and_ranking_need_a_profile(compose):
    assert {name: service["profiles"] for name, service in services(compose) if "profiles" in service} == {
        "demo": ["demo"],
        "experiments": ["experiments"],
        "readouts": ["experiments"],
        "interactions": ["ranking"],
        "signals": ["ranking"],
        "ranking": ["ranking"],
    }


def test_commands_of_our_services_exist(compose):
    demo = re.findall(r"(?:tidegate|entrypoint\.sh) (\S+)", " ".join(compose["services"]["demo"]["command"]))
    assert {compose["services"]["topics"]["command"][0], compose["services"]["risk"]["command"][0], *demo} <= set(
        COMMANDS
    )


def run_config(root, environ):
    command = ["docker", "compose", "--project-directory", str(root), "--profile", "demo", "config", "--quiet"]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def docker_compose():
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=60, check=False).returncode
    ):
        pytest.skip("docker compose is not installed; it needs no running engine for this")


@pytest.mark.usefixtures("docker_compose")
def test_docker_compose_accepts_the_file(root):
    result = run_config(root, {**os.environ, "TIDEGATE_PSEUDONYM_KEY": KEY})

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.usefixtures("docker_compose")
def test_docker_compose_refuses_to_start_without_a_key(root):
    result = run_config(root, {**os.environ, "TIDEGATE_PSEUDONYM_KEY": ""})

    assert result.returncode != 0
    assert "openssl rand -hex 32" in result.stderr
