"""Settings: one file, environment overrides, all mistakes at once, and no secret in any text."""

import base64
import dataclasses
import json
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from connectors.librdkafka import OWNED
from flows.configuration import fields, section
from flows.settings import Settings, SettingsError, audit_key, load_settings, read_key
from operators.audit import derive_key

NOWHERE = {}


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(text, name="tidegate.toml"):
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def complaints(text="", environ=NOWHERE, **more):
    with pytest.raises(SettingsError) as caught:
        load_settings(written(text), environ, **more)
    return list(caught.value.mistakes)


def models(model, path=()):
    yield path, model
    for name, annotation in fields(model).items():
        if (below := section(annotation)) is not None:
            yield from models(below, (*path, name))


def test_without_file_and_environment_the_defaults_hold():
    assert load_settings(None, NOWHERE) == Settings()


def test_the_file_in_the_working_directory_is_read_by_itself():
    written("[risk]\nbatch_max = 7")

    assert load_settings(None, NOWHERE).risk.batch_max == 7


def test_the_file_can_be_named_by_the_environment():
    written("[risk]\nbatch_max = 7", "other.toml")

    assert load_settings(None, {"TIDEGATE_CONFIG": "other.toml"}).risk.batch_max == 7


def test_a_named_file_must_exist():
    with pytest.raises(SettingsError, match=r"^missing\.toml: cannot be read: No such file"):
        load_settings(Path("missing.toml"), NOWHERE)


def test_a_mistake_in_the_syntax_names_file_and_line():
    with pytest.raises(SettingsError, match=r"^tidegate\.toml: expected TOML: .*line 2"):
        load_settings(written("[risk]\nbatch_max = x\n[log]"), NOWHERE)


def test_the_sample_shows_every_setting_with_its_default(repository):
    assert load_settings(repository / "tidegate.toml", NOWHERE) == Settings()


def test_the_sample_names_every_setting(repository):
    text = (repository / "tidegate.toml").read_text(encoding="utf-8")
    names = {name for path, model in models(Settings) for name in fields(model)} - {"key", "librdkafka"}

    assert {
        name for name in names if f"{name} =" not in text and f"{name}]" not in text and f"[{name}" not in text
    } == set()


def test_every_table_refuses_unknown_keys():
    lenient = [
        path
        for path, model in models(Settings)
        if (model.model_config if issubclass(model, BaseModel) else getattr(model, "__pydantic_config__", {})).get(
            "extra"
        )
        != "forbid"
    ]

    assert lenient == []


def test_every_table_is_frozen():
    assert [
        path
        for path, model in models(Settings)
        if not (
            model.model_config.get("frozen")
            if issubclass(model, BaseModel)
            else dataclasses.fields(model) and model.__dataclass_params__.frozen
        )
    ] == []


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().risk.batch_max = 3


def test_the_environment_overrides_a_key_of_an_operator():
    settings = load_settings(None, {"TIDEGATE_RISK__DECODE__MAX_CLOCK_SKEW_S": "12.5"})

    assert settings.risk.decode.max_clock_skew_s == 12.5


def test_a_mistake_says_expected_got_and_where_from():
    assert complaints(environ={"TIDEGATE_RISK__BATCH_MAX": "0"}) == [
        "risk.batch_max: expected an integer > 0 and <= 100000, got 0 (from TIDEGATE_RISK__BATCH_MAX)"
    ]


def test_all_mistakes_are_listed_at_once():
    lines = complaints(
        """
        [kafka]
        bootstrp = "a:1"
        delivery = "twice"
        librdkafka = { "group.id" = "mine", "linger.sm" = 5 }
        [risk]
        batch_max = "many"
        [risk.decode]
        max_message_bytes = 0
        """,
        {"TIDEGATE_TOPIC__PARTITIONS": "3", "TIDEGATE_TOPICS__PARTITIONS": "none", "TIDEGATE_PSEUDONYM_KEY": "short"},
    )

    assert [line.partition(":")[0] for line in lines] == [
        "TIDEGATE_TOPIC__PARTITIONS",
        "kafka.bootstrp",
        "kafka.delivery",
        "kafka.librdkafka.group.id",
        "kafka.librdkafka.linger.sm",
        "privacy.key",
        "risk.batch_max",
        "risk.decode.max_message_bytes",
        "topics.partitions",
    ]


def test_a_key_almost_right_is_guessed():
    assert complaints("[kafka]\nbootstrp = 'a:1'") == [
        "kafka.bootstrp: no such setting; did you mean bootstrap? (from tidegate.toml)"
    ]


def test_a_snapshot_directory_must_be_named_if_it_is_the_store():
    assert complaints("[risk]\nsnapshot_store = 'directory'") == [
        'risk: snapshot_store = "directory" needs snapshot_directory (from tidegate.toml)'
    ]


def test_the_rekey_flow_must_not_read_what_it_writes():
    (line,) = complaints("[kafka]\nprefix = 'a.'\n[rekey]\nsource = 'a.events'")

    assert line == "rekey.source and rekey.target are both a.events: it would read what it writes (from tidegate.toml)"


def test_the_rekey_flow_may_read_the_same_topic_of_another_prefix():
    settings = load_settings(written("[kafka]\nprefix = 'a.'\n[rekey]\nsource = 'events'"), NOWHERE)

    assert settings.rekey.source == "events"


@pytest.mark.parametrize("name", ["TIDEGATE_TEST_BOOTSTRAP", "TIDEGATE_TEST_ANYTHING"])
def test_variables_of_the_tests_are_no_mistakes(name):
    assert load_settings(None, {name: "x"}) == Settings()


# What is passed through to librdkafka


def test_dotted_keys_quoted_or_not_reach_librdkafka_as_text():
    settings = load_settings(
        written('[kafka.librdkafka]\nsasl.username = "u"\n"linger.ms" = 5\nenable.ssl.certificate.verification = true'),
        NOWHERE,
    )

    assert settings.kafka.librdkafka == {
        "sasl.username": "u",
        "linger.ms": "5",
        "enable.ssl.certificate.verification": "true",
    }


def test_a_secret_can_come_from_the_environment_and_the_rest_from_the_file():
    settings = load_settings(
        written('[kafka.librdkafka]\n"sasl.username" = "u"'),
        {"TIDEGATE_KAFKA__LIBRDKAFKA": '{"sasl.password": "p"}'},
    )

    assert settings.kafka.librdkafka == {"sasl.username": "u", "sasl.password": "p"}


@pytest.mark.parametrize("key", sorted(OWNED))
def test_what_is_the_engines_own_is_refused_with_the_reason(key):
    (line,) = complaints(f'[kafka.librdkafka]\n"{key}" = "1"')

    assert line == f"kafka.librdkafka.{key}: is the engine's own: {OWNED[key]} (from tidegate.toml)"


def test_a_name_librdkafka_does_not_know_is_a_mistake():
    assert complaints('[kafka.librdkafka]\n"sasl.mechansm" = "PLAIN"') == [
        "kafka.librdkafka.sasl.mechansm: librdkafka has no such setting (from tidegate.toml)"
    ]


def test_a_number_out_of_librdkafkas_range_is_a_mistake_with_the_range():
    assert complaints('[kafka.librdkafka]\n"fetch.wait.max.ms" = 600000') == [
        "kafka.librdkafka.fetch.wait.max.ms: expected a number in 0..300000 (from tidegate.toml)"
    ]


def test_settings_that_do_not_go_together_are_a_mistake():
    (line,) = complaints(
        '[kafka.librdkafka]\n"security.protocol" = "ssl"\n"ssl.ca.location" = "/missing"\n"sasl.password" = "hunter22"'
    )

    assert line.startswith("kafka.librdkafka.ssl.ca.location: librdkafka does not accept these settings together")


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ('[kafka.librdkafka]\n"sasl.pasword" = "hunter22"', NOWHERE),
        ('[kafka.librdkafka]\n"security.protocol" = "hunter22"', NOWHERE),
        ('[kafka.librdkafka]\n"sasl.password" = ["hunter22"]', NOWHERE),
        ('[kafka.librdkafka]\n"group.id" = "hunter22"', NOWHERE),
        ('[kafka]\nsasl.password = "hunter22"', NOWHERE),
        ('[privacy]\nkey = "hunter22"', NOWHERE),
        ('[privacy]\nkey_version = "hunter22"', NOWHERE),
        ("", {"TIDEGATE_KAFKA__LIBRDKAFKA": "sasl.password=hunter22"}),
        ("", {"TIDEGATE_KAFKA__LIBRDKAFKA": '{"sasl.password": "hunter22", "x": 1}'}),
        ("", {"TIDEGATE_PSEUDONYM_KEY": "hunter22"}),
        ("", {"TIDEGATE_PSEUDONYM_KEY": "hex:hunter22"}),
        ("", {"TIDEGATE_PSEUDONYM_KEY": "base64:hunter22!"}),
        ("", {"TIDEGATE_PRIVACY__KEY": "hunter22"}),
    ],
)
def test_no_mistake_shows_a_secret(text, environ):
    assert "hunter22" not in "\n".join(complaints(text, environ))


def test_no_secret_is_in_the_text_of_the_settings():
    settings = load_settings(
        written('[kafka.librdkafka]\n"sasl.password" = "hunter22"'), {"TIDEGATE_PSEUDONYM_KEY": "hunter22hunter22"}
    )

    assert "hunter22" not in repr(settings) + str(settings)


# The pseudonym key

BYTES = bytes(range(32))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("sixteen letters!", b"sixteen letters!"),
        ("hex:" + BYTES.hex(), BYTES),
        ("base64:" + base64.b64encode(BYTES).decode(), BYTES),
        (BYTES.hex(), BYTES.hex().encode()),  # what `openssl rand -hex 32` prints, taken as it is
    ],
)
def test_a_key_is_text_or_hex_or_base64(text, key):
    settings = load_settings(None, {"TIDEGATE_PSEUDONYM_KEY": text})

    assert settings.privacy.key.get_secret_value() == key


@pytest.mark.parametrize("text", ["x" * 15, "x" * 65, "hex:00", "hex:zz", "base64:?", ""])
def test_a_key_of_the_wrong_size_or_form_is_a_mistake(text):
    assert len(complaints(environ={"TIDEGATE_PSEUDONYM_KEY": text})) == 1


def test_a_key_can_be_in_a_file():
    Path("key").write_text("hex:" + BYTES.hex() + "\n", encoding="utf-8")
    settings = load_settings(written("[privacy]\nkey_file = 'key'"), NOWHERE, needs_key=True)

    assert settings.privacy.key.get_secret_value() == BYTES


def test_the_environments_key_wins_over_the_files():
    Path("key").write_text("from the file!!!", encoding="utf-8")

    assert read_key({"TIDEGATE_PSEUDONYM_KEY": "from the environ"}, Path("key")) == b"from the environ"


def test_without_a_key_a_command_that_needs_none_goes_on():
    assert load_settings(written("[privacy]\nkey_file = 'missing'"), NOWHERE).privacy.key is None


def test_without_a_key_a_command_that_needs_one_says_how_to_make_one_beside_the_other_mistakes():
    lines = complaints("[risk]\nbatch_max = 0", needs_key=True)

    assert len(lines) == 2
    assert "openssl rand -hex 32" in lines[0]


def test_a_key_file_that_is_missing_is_a_mistake_where_a_key_is_needed():
    assert complaints("[privacy]\nkey_file = 'missing'", needs_key=True) == [
        "privacy.key: cannot read missing: No such file or directory"
    ]


def test_a_key_in_the_settings_file_is_a_mistake():
    (line,) = complaints("[privacy]\nkey = 'sixteen letters!'")

    assert line.startswith("privacy.key: a key does not belong in tidegate.toml; make one with `openssl rand -hex 32`")


# The audit key


def test_the_audit_key_is_derived_from_the_pseudonym_key_unless_one_is_given():
    derived = load_settings(None, {"TIDEGATE_PSEUDONYM_KEY": "sixteen letters!"}, needs_key=True)
    given = load_settings(
        None, {"TIDEGATE_PSEUDONYM_KEY": "sixteen letters!", "TIDEGATE_AUDIT_KEY": "hex:" + BYTES.hex()}
    )

    assert audit_key(derived) == derive_key(b"sixteen letters!")
    assert audit_key(given) == BYTES


def test_an_auditor_needs_the_audit_key_alone_and_no_pseudonym_key_file():
    path = written('[privacy]\nkey_file = "missing"')
    settings = load_settings(path, {"TIDEGATE_AUDIT_KEY": "hex:" + BYTES.hex()}, needs_audit_key=True)

    assert (audit_key(settings), settings.privacy.key) == (BYTES, None)


def test_an_audit_key_can_be_in_a_file():
    Path("own").write_text("base64:" + base64.b64encode(BYTES).decode())
    path = written('[audit]\nkey_file = "own"')

    assert audit_key(load_settings(path, NOWHERE, needs_audit_key=True)) == BYTES


def test_an_audit_key_that_is_the_pseudonym_key_is_a_mistake():
    same = {"TIDEGATE_PSEUDONYM_KEY": "sixteen letters!", "TIDEGATE_AUDIT_KEY": "sixteen letters!"}

    assert complaints("", same) == ["audit.key: expected another secret than the pseudonym key, got the same"]


def test_without_any_key_a_command_that_needs_the_audit_key_says_so():
    (line,) = complaints(needs_audit_key=True)

    assert line.startswith("audit.key: there is none, and this command needs one")


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ('[audit]\nkey = "hunter22"', NOWHERE),
        ("", {"TIDEGATE_AUDIT_KEY": "hunter22"}),
        ("", {"TIDEGATE_AUDIT__KEY": "hunter22"}),
    ],
)
def test_no_mistake_shows_an_audit_key(text, environ):
    lines = complaints(text, environ)

    assert lines
    assert "hunter22" not in "\n".join(lines)


def test_a_drift_must_end_below_where_it_begins():
    assert "expected drift_end < drift_limit, got 0.3 and 0.25" in complaints("[audit]\ndrift_end = 0.3")[0]


@pytest.mark.parametrize("text", ["a = " + "[" * 5_000, "a = 0x" + "f" * 5_000, "a = " + "9" * 5_000])
def test_toml_that_its_parser_chokes_on_is_a_mistake_in_the_settings(tmp_path, text):
    path = tmp_path / "tidegate.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"too deeply|beyond 64 bits"):
        load_settings(path, {})


@pytest.mark.parametrize("table", [{"\udc80": "a"}, {"client.rack": "\udc80"}, {"client.rack": "a\0b"}])
def test_what_crashes_the_kafka_client_is_never_handed_to_it(table):
    environ = {"TIDEGATE_KAFKA__LIBRDKAFKA": json.dumps(table)}
    with pytest.raises(SettingsError, match="cannot be handed to librdkafka"):
        load_settings(None, environ)
