"""All settings: read once from `tidegate.toml` and the environment, every mistake listed at once, then frozen."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import BaseModel, Field, SecretBytes, model_validator

from flows.configuration import Draft, Table, check, overlay, prune, read_toml
from flows.own_features import check_names
from flows.pass_through import check_passed, write_as_text
from flows.ranking_sections import Interactions, Ranking, Signals
from flows.sections import SECTION, Experiments, Explanations, Readouts, Rekey, WithStore
from operators.audit import derive_key
from operators.calibrate import CalibrateConfig, ProbabilityConfig
from operators.decode import DecodeConfig
from operators.featurize import FeaturizeConfig
from operators.own_feature import MAX_FEATURES, OwnFeature
from operators.score import ScoreConfig
from operators.tier import CostsConfig, TierConfig
from schemas.registry import TOPICS

DEFAULT_FILE = Path("tidegate.toml")
ENVIRONMENT_PREFIX = "TIDEGATE_"
KEY_VARIABLE = "TIDEGATE_PSEUDONYM_KEY"
AUDIT_KEY_VARIABLE = "TIDEGATE_AUDIT_KEY"
FILE_VARIABLE = "TIDEGATE_CONFIG"

KEY_BYTES = (16, 64)
"""Fewest and most bytes of a key; the most is BLAKE2b's."""

Given = Literal["events", "labels", "exposures", "metrics", "interactions", "ranking.requests"]
"""Topics with identifiers of users, which may be pseudonyms already."""

_MAKE_ONE = f"make one with `openssl rand -hex 32` and keep it in {KEY_VARIABLE} or in privacy.key_file"
_MAKE_ONE_FOR_AUDIT = (
    f"`tidegate audit key` shows the one that belongs to a pseudonym key; {AUDIT_KEY_VARIABLE} takes it"
)
_HINTS = {KEY_VARIABLE: _MAKE_ONE, AUDIT_KEY_VARIABLE: _MAKE_ONE_FOR_AUDIT}


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
    model_config = SECTION


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
    pseudonymised_topics: tuple[Given, ...] = ()


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


class Labels(_Section):
    """What the risk flow makes of the topic `labels`.

    Attributes:
        enabled: whether it is read.
        interval_ms: least time between two readings, milliseconds.
        batch_max: most records of one reading.
    """

    enabled: bool = False
    interval_ms: Annotated[int, Gt(0), Le(60_000)] = 1_000
    batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000


class Risk(WithStore):
    """The risk flow.

    Attributes:
        group: consumer group that divides the partitions among processes.
        batch_max: most records in one batch.
        commit_interval_ms: how long outputs wait for their transaction, milliseconds.
        decode: see `operators.decode`.
        featurize: see `operators.featurize`.
        features: the user's own, see `operators.own_feature`; at most 32.
        score: see `operators.score`.
        calibrate: see `operators.calibrate`.
        probability: of fraud, from labels; see `operators.calibrate`.
        tier: see `operators.tier`.
        costs: of mistakes; with them, and once there are probabilities, they decide on tiers; see `operators.tier`.
        explain_from: least tier for which the flow writes down what an explanation needs.
        labels: what people said of events later.
    """

    group: Annotated[str, MinLen(1)] = "tidegate.risk"
    batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000
    commit_interval_ms: Annotated[int, Gt(0), Le(5_000)] = 100
    decode: DecodeConfig = DecodeConfig()
    featurize: FeaturizeConfig = FeaturizeConfig()
    features: Annotated[tuple[OwnFeature, ...], MaxLen(MAX_FEATURES)] = ()
    score: ScoreConfig = ScoreConfig()
    calibrate: CalibrateConfig = CalibrateConfig()
    probability: ProbabilityConfig = ProbabilityConfig()
    tier: TierConfig = TierConfig()
    costs: CostsConfig | None = None
    explain_from: Literal["medium", "high", "critical", "never"] = "medium"
    labels: Labels = Labels()

    @model_validator(mode="after")
    def _costs_have_probabilities_and_these_labels(self) -> Self:
        if self.costs is not None and not self.probability.enabled:
            raise ValueError("costs need probabilities: set probability.enabled = true")
        if self.probability.enabled and not self.labels.enabled:
            raise ValueError("probabilities need labels: set labels.enabled = true")
        return self


class Audit(_Section):
    """The audit trail.

    Attributes:
        key: what the chains are keyed with; from the environment or `key_file` only. Without it, one is derived from
            the pseudonym key.
        key_file: a file that holds the key, in any form that the environment variable may have.
        drift_limit: stability index of the scores above which a drift is recorded, above `drift_end`.
        drift_end: index below which its end is recorded.
        threshold_factor: thresholds are recorded anew when the probability that one stands for has moved by more than
            this factor, above 1.
    """

    key: SecretBytes | None = None
    key_file: Path | None = None
    drift_limit: Annotated[float, Gt(0)] = 0.25
    drift_end: Annotated[float, Gt(0)] = 0.1
    threshold_factor: Annotated[float, Gt(1)] = 2.0

    @model_validator(mode="after")
    def _drift_ends_below_its_limit(self) -> Self:
        if self.drift_end >= self.drift_limit:
            raise ValueError(f"expected drift_end < drift_limit, got {self.drift_end} and {self.drift_limit}")
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
    audit: Audit = Audit()
    rekey: Rekey = Rekey()
    explanations: Explanations = Explanations()
    experiments: Experiments = Experiments()
    readouts: Readouts = Readouts()
    interactions: Interactions = Interactions()
    signals: Signals = Signals()
    ranking: Ranking = Ranking()
    metrics: Metrics = Metrics()
    log: Log = Log()

    @model_validator(mode="after")
    def _rekey_is_no_circle(self) -> Self:
        prefix = self.kafka.prefix if self.rekey.target in TOPICS else ""
        if self.rekey.source == prefix + self.rekey.target:
            raise ValueError(
                f"rekey.source and rekey.target are both {self.rekey.source}: it would read what it writes"
            )
        return self


def load_settings(
    path: Path | None, environ: Mapping[str, str], *, needs_key: bool = False, needs_audit_key: bool = False
) -> Settings:
    """Read the settings: defaults, then the file, then the environment.

    Args:
        path: the file, or None for the one named by `TIDEGATE_CONFIG`, or else `./tidegate.toml` if there is one.
        environ: environment variables, such as `TIDEGATE_KAFKA__BOOTSTRAP`.
        needs_key: whether going on without a pseudonym key is a mistake; the key files are read only then.
        needs_audit_key: whether going on is a mistake without an audit key and without a pseudonym key to derive one
            from; the key files are read only then.

    Raises:
        SettingsError: with every mistake, not the first alone.
    """
    draft = _read_file(path, environ)
    for section, hint in (("privacy", _MAKE_ONE), ("audit", _MAKE_ONE_FOR_AUDIT)):
        if "key" in (table := _table(draft, section)):
            del table["key"]
            draft.mistakes.append(((section, "key"), f"a key does not belong in {draft.file}; {hint}"))
    write_as_text(draft)
    overlay(draft, Settings, ENVIRONMENT_PREFIX, environ, _is_extra)
    write_as_text(draft)
    prune(draft, Settings)
    settings = check(draft, Settings)
    check_names(draft, settings.risk.featurize if settings else FeaturizeConfig())
    check_passed(draft)

    files = needs_key or needs_audit_key
    own = _key(draft, environ, "audit", AUDIT_KEY_VARIABLE, files=files)
    # An auditor has no pseudonym key, and with an audit key needs none: its file is not even looked at.
    key = _key(draft, environ, "privacy", KEY_VARIABLE, files=needs_key or (needs_audit_key and own is None))
    if key is None and needs_key and not _complained(draft, "privacy"):
        draft.mistakes.append((("privacy", "key"), f"there is none, and this command needs one; {_MAKE_ONE}"))
    nothing = key is None and own is None and not (_complained(draft, "privacy") or _complained(draft, "audit"))
    if nothing and needs_audit_key and not needs_key:
        draft.mistakes.append((("audit", "key"), f"there is none, and this command needs one; {_MAKE_ONE_FOR_AUDIT}"))
    if own is not None and own == key:
        draft.mistakes.append((("audit", "key"), "expected another secret than the pseudonym key, got the same"))
    if draft.mistakes or settings is None:
        raise SettingsError(draft.lines())
    if own:
        settings = settings.model_copy(update={"audit": settings.audit.model_copy(update={"key": SecretBytes(own)})})
    return with_key(settings, key) if key else settings


def _key(draft: Draft, environ: Mapping[str, str], section: str, variable: str, *, files: bool) -> bytes | None:
    """Read one of the keys; None, with the mistake noted, if what was found is none."""
    file = _table(draft, section).get("key_file")
    try:
        return read_key(environ, Path(file) if files and isinstance(file, str) else None, variable)
    except ValueError as error:
        draft.mistakes.append(((section, "key"), str(error)))
        return None


def _complained(draft: Draft, section: str) -> bool:
    return any(path == (section, "key") for path, _ in draft.mistakes)


def audit_key(settings: Settings) -> bytes:
    """Return the audit key: the one given, else the one that belongs to the pseudonym key.

    Raises:
        ValueError: there is neither.
    """
    if settings.audit.key is not None:
        return settings.audit.key.get_secret_value()
    if settings.privacy.key is None:
        raise ValueError("expected settings with an audit key or a pseudonym key, got neither")
    return derive_key(settings.privacy.key.get_secret_value())


def with_key(settings: Settings, key: bytes) -> Settings:
    """Return the settings with this pseudonym key in place of theirs."""
    return settings.model_copy(update={"privacy": settings.privacy.model_copy(update={"key": SecretBytes(key)})})


def read_key(environ: Mapping[str, str], key_file: Path | None, variable: str = KEY_VARIABLE) -> bytes | None:
    """Return a key: from its environment variable, `TIDEGATE_PSEUDONYM_KEY` or another, else from the file, else None.

    Either holds the key as it is (UTF-8), or `hex:` or `base64:` and its bytes so written.

    Raises:
        ValueError: the file cannot be read, or what was found is no key of 16 to 64 bytes. Never shows any of it.
    """
    if variable in environ:
        text, source = environ[variable], variable
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
        raise ValueError(
            f"expected a key of {least} to {most} bytes, got {len(key)} (from {source}); {_HINTS[variable]}"
        )
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
        return Draft(read_toml(path.read_text(encoding="utf-8")), str(path), hidden=_HIDDEN)
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{path}: expected UTF-8"]) from None
    except ValueError as error:
        raise SettingsError([f"{path}: expected TOML: {error}"]) from None


_HIDDEN: tuple[tuple[str, ...], ...] = (("kafka", "librdkafka"), ("privacy",), ("audit", "key"))


def _is_extra(name: str) -> bool:
    return name in (KEY_VARIABLE, AUDIT_KEY_VARIABLE, FILE_VARIABLE) or name.startswith("TIDEGATE_TEST_")


def _table(draft: Draft, name: str) -> Table:
    value = draft.data.get(name)
    return value if isinstance(value, dict) else {}
