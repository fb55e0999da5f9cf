"""From a TOML table and environment variables to one checked model, with all mistakes found in one go.

A model is a pydantic model or a standard dataclass whose fields carry `annotated_types` constraints; models nest. What
is expected of a field is worded from its annotation, so a constraint is written once, where the field is declared.
"""

import dataclasses
import difflib
import json
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import annotated_types as at
from pydantic import AwareDatetime, BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
Path = tuple[str | int, ...]
Table = dict[str, Any]

_TIME = "a time with its offset, such as 2026-01-31T12:00:00Z"
_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    FilePath: "a path",
    datetime: _TIME,
    AwareDatetime: _TIME,
}


@dataclasses.dataclass(slots=True)
class Draft:
    """Settings on their way to being checked.

    Attributes:
        data: the values, as nested tables.
        file: name of the file they were read from, or None.
        origins: which environment variable a value came from, by path.
        mistakes: found so far, by path.
        hidden: paths whose values are never shown, with everything below them.
    """

    data: Table
    file: str | None = None
    hidden: tuple[Path, ...] = ()
    origins: dict[Path, str] = dataclasses.field(default_factory=dict)
    mistakes: list[tuple[Path, str]] = dataclasses.field(default_factory=list)

    def add(self, path: Path, text: str, source: str | None = None) -> None:
        """Note a mistake, with where the value came from."""
        source = source or self.source(path)
        self.mistakes.append((path, f"{text} (from {source})" if source else text))

    def source(self, path: Path) -> str | None:
        """Return the environment variable or file that a value came from; None for a default."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        value: Any = self.data
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return self.file

    def lines(self) -> list[str]:
        """Return one line per mistake, in the order of their paths."""
        unique = dict.fromkeys(sorted(self.mistakes, key=lambda item: [str(part) for part in item[0]]))
        return [f"{dotted(path)}: {text}" if path else text for path, text in unique]


def read_toml(text: str) -> Table:
    """Read TOML; its integers have 64 bits, as the standard asks.

    Raises:
        ValueError: it is not TOML; `tomllib` itself lets some of it through as errors of other kinds.
    """
    try:
        table = tomllib.loads(text)
        _check_integers(table)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("arrays or tables within one another too deeply") from None
    except ValueError:  # more digits than Python reads
        raise ValueError("an integer beyond 64 bits") from None
    return table


def _check_integers(value: Any) -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_integers(each)


def dotted(path: Sequence[str | int]) -> str:
    """Write a path as `risk.windows_s[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def fields(model: Any) -> dict[str, Any]:
    """Return the annotations of a model's fields, constraints included, by name."""
    if issubclass(model, BaseModel):
        return {
            name: Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            for name, field in model.model_fields.items()
        }
    hints = get_type_hints(model, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(model)}


def leaves(model: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every setting that is not a table of settings."""
    for name, annotation in fields(model).items():
        below = section(annotation)
        if below is None:
            yield (*path, name)
        else:
            yield from leaves(below, (*path, name))


def section(annotation: Any) -> Any:
    """Return the model that an annotation stands for, or None if it is a plain value."""
    base, _ = _plain(annotation)
    if isinstance(base, type) and (issubclass(base, BaseModel) or dataclasses.is_dataclass(base)):
        return base
    return None


def _plain(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Strip `Annotated` and `| None`; return the base and the constraints met on the way."""
    constraints: tuple[Any, ...] = ()
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            constraints += tuple(more)
        elif origin in (Union, types.UnionType):
            rest = [one for one in get_args(annotation) if one is not type(None)]
            if len(rest) != 1:
                return annotation, constraints
            annotation = rest[0]
        else:
            return annotation, constraints


def expected(annotation: Any) -> str:
    """Say in words what an annotation asks for: `an integer > 0`."""
    base, constraints = _plain(annotation)
    origin, args = get_origin(base), get_args(base)
    if section(base) is not None or base is dict or origin in (dict, Mapping):
        text = "a table"
    elif origin is Literal:
        text = "one of " + ", ".join(json.dumps(one) for one in args)
    elif origin in (tuple, list, Sequence, frozenset, set):
        text = f"a list, each {expected(args[0])}"
    elif origin in (Union, types.UnionType):
        text = " or ".join(expected(one) for one in args if one is not type(None))
    else:
        text = _NAMES.get(base, getattr(base, "__name__", str(base)))
    limits = [limit for one in constraints for limit in _limits(one)]
    return f"{text} {' and '.join(limits)}" if limits else text


def _limits(constraint: Any) -> Iterator[str]:
    if isinstance(constraint, at.GroupedMetadata):
        for one in constraint:
            yield from _limits(one)
    for kind, sign in ((at.Gt, "gt"), (at.Ge, "ge"), (at.Lt, "lt"), (at.Le, "le")):
        if isinstance(constraint, kind):
            symbol = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}[sign]
            yield f"{symbol} {getattr(constraint, sign)}"
    if isinstance(constraint, at.MinLen):
        yield f"of length >= {constraint.min_length}"
    if isinstance(constraint, at.MaxLen):
        yield f"of length <= {constraint.max_length}"
    if isinstance(constraint, at.MultipleOf):
        yield f"a multiple of {constraint.multiple_of}"
    if getattr(constraint, "pattern", None) is not None:  # pydantic keeps a pattern in a class of its own
        yield f"matching {constraint.pattern}"


def _annotation(model: Any, path: Path) -> Any:
    """Follow a path of pydantic's into the model; parts that lead nowhere (names of union members) are left out."""
    annotation: Any = model
    for part in path:
        below = section(annotation)
        args = get_args(_plain(annotation)[0])
        if below is not None and part in fields(below):
            annotation = fields(below)[str(part)]
        elif below is None and args and (isinstance(part, int) or get_origin(_plain(annotation)[0]) in (dict, Mapping)):
            annotation = args[0] if isinstance(part, int) else args[-1]
    return annotation


def overlay(draft: Draft, model: Any, prefix: str, environ: Mapping[str, str], extras: Callable[[str], bool]) -> None:
    """Let environment variables override the draft: `PREFIX_` and the path in capitals, joined by `__`.

    Numbers and booleans are read as in TOML, lists and tables as JSON; a table is merged key by key.

    Args:
        draft: changed in place.
        model: what the draft shall become.
        prefix: with its underscore.
        environ: names and values.
        extras: whether a name with the prefix is no setting but known.
    """
    names = {prefix + "__".join(map(str, path)).upper(): path for path in _all_paths(model)}
    for name, text in sorted(environ.items()):
        if not name.startswith(prefix) or extras(name):
            continue
        if name not in names:
            draft.mistakes.append(((name,), "no such setting" + _did_you_mean(name, names)))
            continue
        path = names[name]
        try:
            _put(draft, path, _parse(text, _annotation(model, path)), name)
        except ValueError as error:
            draft.add(path, str(error), name)


def _all_paths(model: Any, path: Path = ()) -> Iterator[Path]:
    for name, annotation in fields(model).items():
        yield (*path, name)
        if (below := section(annotation)) is not None:
            yield from _all_paths(below, (*path, name))


def _parse(text: str, annotation: Any) -> Any:
    base, _ = _plain(annotation)
    origin = get_origin(base)
    if base in (str, FilePath) or origin is Literal:
        return text
    if base in (int, float):
        try:
            return base(text)
        except ValueError:
            return text  # the check says what was expected instead
    if base is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # nested too deeply, or digits without end, count as well
        # `from None`: the cause holds the text, which may be a secret.
        raise ValueError(f"expected {expected(annotation)} written as JSON") from None
    if (section(base) or origin in (dict, Mapping)) and not isinstance(value, dict):
        raise ValueError(f"expected {expected(annotation)} written as JSON")
    return value


def _put(draft: Draft, path: Path, value: Any, name: str) -> None:
    table = draft.data
    for part in path[:-1]:
        table = table.setdefault(str(part), {})
        if not isinstance(table, dict):
            return  # the file holds no table there: reported when it is checked
    last = str(path[-1])
    if isinstance(value, dict) and isinstance(table.get(last, {}), dict):
        table.setdefault(last, {})
        for key, below in value.items():
            _put(draft, (*path, key), below, name)
    else:
        table[last] = value
        draft.origins[path] = name


def prune(draft: Draft, model: Any) -> None:
    """Note the keys that the model does not have, those in lists of tables included, and take them out."""
    known = list(leaves(model))

    def walk(table: Table, here: Any, path: Path) -> None:
        names = fields(here)
        for key in list(table):
            if key not in names:
                elsewhere = [dotted(leaf) for leaf in known if leaf[-1] == key]
                hint = f"; did you mean {elsewhere[0]}?" if elsewhere else _did_you_mean(key, names)
                draft.add((*path, key), "no such setting" + hint)
                del table[key]
            elif (below := section(names[key])) is not None and isinstance(table[key], dict):
                walk(table[key], below, (*path, key))
            elif isinstance(table[key], list) and (one := _item(names[key])) is not None:
                for at_index, item in enumerate(table[key]):
                    if isinstance(item, dict):
                        walk(item, one, (*path, key, at_index))

    walk(draft.data, model, ())


def _item(annotation: Any) -> Any:
    """Return the model that each item of a list stands for, or None if they are plain values or there is no list."""
    base, _ = _plain(annotation)
    return section(get_args(base)[0]) if get_origin(base) in (tuple, list, Sequence) else None


def _did_you_mean(word: str, words: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, words, 1, 0.7)
    return f"; did you mean {close[0]}?" if close else ""


def check(draft: Draft, model: type[Model]) -> Model | None:
    """Turn the draft into the model; None, with the mistakes noted, if it does not fit."""
    try:
        # By way of JSON, because strict JSON takes a list for a tuple and a string for a path, and still no "3" for 3.
        return model.model_validate_json(json.dumps(draft.data, default=str), strict=True)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            draft.add(one["loc"], _wording(draft, model, one))
        return None


def _wording(draft: Draft, model: Any, error: Any) -> str:
    path = error["loc"]
    if error["type"] in ("value_error", "assertion_error"):
        return str(error["msg"]).partition(", ")[2]
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return "no such setting"
    wanted = f"expected {expected(_annotation(model, path))}"
    if error["type"] == "missing":
        return f"{wanted}, got nothing"
    if any(path[: len(hidden)] == hidden for hidden in draft.hidden):
        return f"{wanted}, got something else (not shown: it may be a secret)"
    return f"{wanted}, got {_shown(error['input'])}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
