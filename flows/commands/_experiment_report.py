"""`tidegate experiments report`: the records that the page is made of, from topics or from a file."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from connectors.clients import Admin, plain_consumer, read
from flows.commands import CommandError
from flows.commands._definitions import held
from flows.commands._shared import err, full_name, partitions_of
from flows.settings import Settings
from schemas.definition import Definition
from schemas.readout import Readout
from schemas.uplift import Uplift
from schemas.verdict import Verdict
from training.report.about import About

Record = Readout | Verdict | Definition | Uplift

KINDS: dict[str, type[Record]] = {
    "comparisons": Readout,
    "decision": Verdict,
    "variations": Definition,
    "segment": Uplift,
}
"""By which field a record of a file is told: each kind alone has it, and has it always."""


def from_topics(settings: Settings, name: str) -> About:
    """Read the newest readout of an experiment, its decisions and its definition.

    Raises:
        CommandError: there is no readout, or it cannot be read.
        KafkaException: the broker does not give what it has.
    """
    there = Admin(settings, "report").partitions()
    with err().status("reading readouts and decisions"):
        newest = dict(records_about(settings, there, "experiments.readouts", name)).get(name)
        decided = [value for _, value in records_about(settings, there, "experiments.decisions", name) if value]
        segments = dict(records_about(settings, there, "uplift", name))
    if not newest:
        raise CommandError(
            f"there is no readout of {name}; `tidegate run readouts` writes them, "
            "`tidegate experiments list` shows what is defined"
        )
    try:
        readout = msgspec.json.decode(newest, type=Readout)
        verdicts = [msgspec.json.decode(value, type=Verdict) for value in decided]
        uplift = [msgspec.json.decode(value, type=Uplift) for value in segments.values() if value]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"the records of {name} cannot be read by this version of Tidegate: {error}") from error
    about = _about(name, [readout, *verdicts, *uplift, *_defined(settings, name)])
    return dataclasses.replace(about, alarm=settings.readouts.merge.check_alpha)


def _defined(settings: Settings, name: str) -> Iterator[Definition]:
    one = held(settings).of(name)
    if one is not None:
        yield one


def records_about(
    settings: Settings, there: dict[str, int], topic: str, name: str
) -> Iterator[tuple[str, bytes | None]]:
    """Yield keys and values of the records about an experiment, in each partition oldest first.

    Of one key they are in one partition, or each partition has all of them: the last one is the newest either way.
    """
    full = full_name(settings, topic)
    if topic == "uplift" and full not in there:  # made by none but later versions of Tidegate
        return
    consumer, partitions = plain_consumer(settings, "report"), partitions_of(there, full)
    for message in read(consumer, full, partitions, beginning=True, to_end=True):
        key = (message.key() or b"").decode(errors="replace")
        if key == name or key.startswith(f"{name}/"):
            yield key, message.value()


def from_file(path: Path, name: str | None) -> About:
    """Read a readout from a file, and what else is there of the experiment: JSON, one record or one a line.

    What `tidegate experiments show --json` writes will do, too: a readout and the newest decision.

    Args:
        path: of the file.
        name: of the experiment; None if the file is about one alone.

    Raises:
        CommandError: the file cannot be read, holds anything else, or nothing of the experiment.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}") from error
    records = [_record(path, line, value) for line, whole in _parsed(path, content) for value in _both(whole)]
    names = {one.experiment for one in records if isinstance(one, Readout)}
    if name is None:
        if len(names) != 1:
            known = ", ".join(sorted(names)) or "none"
            raise CommandError(f"expected the readout of one experiment in {path}, got {known}; name one")
        (name,) = names
    return _about(name, records)


def _parsed(path: Path, content: bytes) -> list[tuple[int, Any]]:
    try:
        return [(1, msgspec.json.decode(content))]
    except (msgspec.DecodeError, UnicodeDecodeError):
        lines = [(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    found = []
    for number, line in lines:
        try:
            found.append((number, msgspec.json.decode(line)))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read {path}: line {number}: {error}") from error
    return found


def _both(value: Any) -> list[Any]:
    if isinstance(value, dict) and "readout" in value:
        return [value["readout"], *([value["decision"]] if value.get("decision") else [])]
    return [value]


def _record(path: Path, line: int, value: Any) -> Record:
    kind = next((one for field, one in KINDS.items() if isinstance(value, dict) and field in value), None)
    if kind is None:
        raise CommandError(
            f"cannot read {path}: line {line}: expected a readout, a decision, a definition or an uplift"
        )
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise CommandError(f"cannot read {path}: line {line}: {kind.__name__.lower()}: {error}") from error


def _about(name: str, records: Iterable[Record]) -> About:
    """Return what is about one experiment: the last readout, definition and uplift by segment, all decisions."""
    readout: Readout | None = None
    definition: Definition | None = None
    verdicts: list[Verdict] = []
    uplift: dict[str, Uplift] = {}
    for one in records:
        if isinstance(one, Definition):
            definition = one if one.id == name else definition
        elif one.experiment == name:
            if isinstance(one, Readout):
                readout = one
            elif isinstance(one, Verdict):
                verdicts.append(one)
            else:
                uplift[one.segment] = one
    if readout is None:
        raise CommandError(f"there is no readout of {name}")
    return About(readout, tuple(verdicts), definition, tuple(uplift.values()))
