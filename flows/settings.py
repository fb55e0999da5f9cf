"""All settings: read once from `tidegate.toml` and the environment, every mistake listed at once, then frozen."""

import base64
import binascii
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, model_validator

from connectors import librdkafka
from flows.configuration import Draft, Table, check, overlay, prune
from operators.calibrate import CalibrateConfig
from operators.decode import DecodeConfig
from operators.featurize import FeaturizeConfig
from operators.score import ScoreConfig
from operators.tier import TierConfig

DEFAULT_FILE = Path("tidegate.toml")
ENVIRONMENT_PREFIX = "TIDEGATE_"
KEY_VARIABLE = "TIDEGATE_PSEUDONYM_KEY"
FILE_VARIABLE = "TIDEGATE_CONFIG"

KEY_BYTES = (16, 64)
"""Fewest and most bytes of a pseudonym key; the most is BLAKE2b's."""

_MAKE_ONE = f"make one with `openssl rand -hex 32` and keep it in {KEY_VARIABLE} or in privacy.key_file"


class SettingsError(ValueError):
    """The settings cannot be used; the text has one line per mistake and holds no secret."""

    def __init__(self, mistakes: list[str]) -> None:
        """Keep the lines.

        Args:
            mistakes: one line each.
        """
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistakes))


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Kafka(_Section):
    """Where Kafka is and how to talk to it.

    Attributes:
        bootstrap: `host:port`, several separated by commas.
        prefix: put before every topic's name.
        delivery: what is promised; `at_least_once` is for brokers without transactions.
        librdkafka: settings handed to librdkafka as they are (TLS, SASL, ...), written as text.
    """

    bootstrap: Annotated[str, MinLen(1)] = "localhost:9092"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,128}$")] = ""
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    librdkafka: Annotated[dict[str, str], Field(repr=False)] = {}


class Privacy(_Section):
    """How identifiers become pseudonyms.

    Attributes:
        key: what the pseudonyms are keyed with; from the environment or `key_file` only.
        key_file: a file that holds the key, in any form that the environment variable may have.
        key_version: the number in `h1:`; raise it with every new key.
        pseudonymised_topics: topics whose identifiers are pseudonyms already, names without prefix.
    """

    key: SecretBytes | None = None
    key_file: Path | None = None
    key_version: Annotated[int, Ge(1)] = 1
    pseudonymised_topics: tuple[Literal["events"], ...] = ()


class Topics(_Section):
    """How `tidegate topics create` makes topics.

    Attributes:
        partitions: of every topic; a flow's topics must have equal counts.
        replication: copies of every partition; at most the number of brokers.
        retention_ms: age at which records may go, or -1 for never. Kafka takes the age from the record's timestamp,
            which is event time here: with a limit, a replay of data older than it is deleted within minutes.
        retention_bytes: size of a partition from which its oldest records go, or -1 for never.
    """

    partitions: Annotated[int, Ge(1), Le(10_000)] = 4
    replication: Annotated[int, Ge(1), Le(100)] = 1
    retention_ms: Annotated[int, Ge(-1)] = -1
    retention_bytes: Annotated[int, Ge(-1)] = 1_073_741_824


class Risk(_Section):
    """The risk flow.

    Attributes:
        group: consumer group that divides the partitions among processes.
        start: where a group that has committed nothing begins.
        batch_max: most records in one batch.
        commit_interval_ms: how long outputs wait for their transaction, milliseconds.
        snapshot_interval_s: time between snapshots of a partition's state, seconds.
        snapshot_store: an internal topic, or a directory.
        snapshot_directory: the directory, if that is the store.
        decode: see `operators.decode`.
        featurize: see `operators.featurize`.
        score: see `operators.score`.
        calibrate: see `operators.calibrate`.
        tier: see `operators.tier`.
    """

    group: Annotated[str, MinLen(1)] = "tidegate.risk"
    start: Literal["earliest", "latest"] = "earliest"
    batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000
    commit_interval_ms: Annotated[int, Gt(0), Le(5_000)] = 100
    snapshot_interval_s: Annotated[float, Gt(0), Le(3_600)] = 10.0
    snapshot_store: Literal["topic", "directory"] = "topic"
    snapshot_directory: Path | None = None
    decode: DecodeConfig = DecodeConfig()
    featurize: FeaturizeConfig = FeaturizeConfig()
    score: ScoreConfig = ScoreConfig()
    calibrate: CalibrateConfig = CalibrateConfig()
    tier: TierConfig = TierConfig()

    @model_validator(mode="after")
    def _directory_is_named(self) -> Self:
        if self.snapshot_store == "directory" and self.snapshot_directory is None:
            raise ValueError('snapshot_store = "directory" needs snapshot_directory')
        return self


class Metrics(_Section):
    """Where Prometheus finds the metrics, `/healthz` and `/readyz`.

    Attributes:
        host: address to listen on; `0.0.0.0` for every one.
        port: port to listen on, or 0 for any free one.
    """

    host: Annotated[str, MinLen(1)] = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65_535)] = 9464


class Log(_Section):
    """What is logged.

    Attributes:
        level: the least that is logged.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Section):
    """Everything that can be configured; sections and keys as in `tidegate.toml`."""

    kafka: Kafka = Kafka()
    privacy: Privacy = Privacy()
    topics: Topics = Topics()
    risk: Risk = Risk()
    metrics: Metrics = Metrics()
    log: Log = Log()


def load_settings(path: Path | None, environ: Mapping[str, str], *, needs_key: bool = False) -> Settings:
    """Read the settings: defaults, then the file, then the environment.

    Args:
        path: the file, or None for the one named by `TIDEGATE_CONFIG`, or else `./tidegate.toml` if there is one.
        environ: environment variables, such as `TIDEGATE_KAFKA__BOOTSTRAP`.
        needs_key: whether going on without a pseudonym key is a mistake; the key file is read only then.

    Raises:
        SettingsError: with every mistake, not the first alone.
    """
    draft = _read_file(path, environ)
    if "key" in (privacy := _table(draft, "privacy")):
        del privacy["key"]
        draft.mistakes.append((("privacy", "key"), f"a key does not belong in {draft.file}; {_MAKE_ONE}"))
    _write_as_text(draft)
    overlay(draft, Settings, ENVIRONMENT_PREFIX, environ, _is_extra)
    _write_as_text(draft)
    prune(draft, Settings)
    settings = check(draft, Settings)
    passed = _table(draft, "kafka").get("librdkafka")
    if isinstance(passed, dict):
        texts = {name: value for name, value in passed.items() if isinstance(value, str)}
        for name, text in librdkafka.mistakes(texts):
            draft.add(("kafka", "librdkafka", name) if name else ("kafka", "librdkafka"), text)

    key: bytes | None = None
    try:
        key_file = _table(draft, "privacy").get("key_file")
        key = read_key(environ, Path(key_file) if needs_key and isinstance(key_file, str) else None)
        if key is None and needs_key:
            draft.mistakes.append((("privacy", "key"), f"there is none, and this command needs one; {_MAKE_ONE}"))
    except ValueError as error:
        draft.mistakes.append((("privacy", "key"), str(error)))
    if draft.mistakes or settings is None:
        raise SettingsError(draft.lines())
    return with_key(settings, key) if key else settings


def with_key(settings: Settings, key: bytes) -> Settings:
    """Return the settings with this pseudonym key in place of theirs."""
    return settings.model_copy(update={"privacy": settings.privacy.model_copy(update={"key": SecretBytes(key)})})


def read_key(environ: Mapping[str, str], key_file: Path | None) -> bytes | None:
    """Return the pseudonym key: from `TIDEGATE_PSEUDONYM_KEY`, else from the file, else None.

    Either holds the key as it is (UTF-8), or `hex:` or `base64:` and its bytes so written.

    Raises:
        ValueError: the file cannot be read, or what was found is no key of 16 to 64 bytes. Never shows any of it.
    """
    if KEY_VARIABLE in environ:
        text, source = environ[KEY_VARIABLE], KEY_VARIABLE
    elif key_file is not None:
        source = str(key_file)
        try:
            text = key_file.read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"cannot read {source}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"expected text in {source}; write bytes as `hex:` or `base64:`") from None
    else:
        return None
    text = text.strip()
    form, _, rest = text.partition(":")
    try:
        if form == "hex":
            key = bytes.fromhex(rest)
        elif form == "base64":
            key = base64.b64decode(rest, validate=True)
        else:
            key = text.encode("utf-8", "strict")
    except (ValueError, binascii.Error):
        raise ValueError(f"expected a key, got something that is not {form} (from {source})") from None
    least, most = KEY_BYTES
    if not least <= len(key) <= most:
        raise ValueError(f"expected a key of {least} to {most} bytes, got {len(key)} (from {source}); {_MAKE_ONE}")
    return key


def _read_file(path: Path | None, environ: Mapping[str, str]) -> Draft:
    """Read the file into a draft; mistakes in its syntax end here, since nothing else can be judged then."""
    if path is None and FILE_VARIABLE in environ:
        path = Path(environ[FILE_VARIABLE])
    if path is None:
        if not DEFAULT_FILE.exists():
            return Draft({}, hidden=_HIDDEN)
        path = DEFAULT_FILE
    try:
        return Draft(tomllib.loads(path.read_text(encoding="utf-8")), str(path), hidden=_HIDDEN)
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{path}: expected UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{path}: expected TOML: {error}"]) from None


_HIDDEN: tuple[tuple[str, ...], ...] = (("kafka", "librdkafka"), ("privacy",))


def _is_extra(name: str) -> bool:
    return name in (KEY_VARIABLE, FILE_VARIABLE) or name.startswith("TIDEGATE_TEST_")


def _table(draft: Draft, name: str) -> Table:
    value = draft.data.get(name)
    return value if isinstance(value, dict) else {}


def _write_as_text(draft: Draft) -> None:
    """Write the pass-through as librdkafka reads it: TOML makes tables of `sasl.mechanism`, and has numbers."""

    def flat(table: Table, above: str) -> Table:
        result: Table = {}
        for name, value in table.items():
            if isinstance(value, dict):
                result |= flat(value, f"{above}{name}.")
            elif isinstance(value, str | int | float):
                result[above + name] = librdkafka.value_text(value)
            else:
                result[above + name] = value
        return result

    kafka = _table(draft, "kafka")
    if isinstance(kafka.get("librdkafka"), dict):
        kafka["librdkafka"] = flat(kafka["librdkafka"], "")
