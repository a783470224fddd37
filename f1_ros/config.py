"""Strict loading of YAML and JSON files into dataclasses.

    config = load_yaml(Path("config/sim/belt.yaml"), BeltConfig)

The dataclass is the schema: its field types, defaults and `__post_init__` say what is allowed. Nothing is guessed:
an unknown key, a missing key, a key given twice, a string where a number belongs, NaN or infinity are refused, and
the message names the file, the key and the remedy.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from f1_ros.errors import ConfigError, F1Error

T = TypeVar("T")

# pydantic hands this down to every dataclass that has no configuration of its own.
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
_MERGE = "tag:yaml.org,2002:merge"  # "<<", which a mapping may override
_MISSING_KEY = ("missing", "missing_argument", "missing_keyword_only_argument")


class _StrictYaml(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice and reads 1e-3 as the number that it looks like."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


_StrictYaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 reads 1e-3 (no point, no sign) as a string; YAML 1.2 and every engineer read it as a number.
_StrictYaml.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load_yaml(path: Path, cls: type[T], error: type[ConfigError] = ConfigError) -> T:
    """Load a YAML file (or JSON, by its suffix `.json`) into a dataclass.

    Args:
        path: the file.
        cls: a dataclass (standard or pydantic's); nested dataclasses, tuples, dicts, Literals and unions work.
        error: the kind of ConfigError to raise, such as ProfileError.

    Raises:
        ConfigError: (as `error`) naming file, key and remedy.
    """
    return parse(read_yaml(path, error), cls, source=str(path), error=error)


def read_yaml(path: Path, error: type[ConfigError] = ConfigError) -> object:
    """What a YAML file (or JSON, by its suffix) holds, as plain data; for `parse`.

    Raises:
        ConfigError: (as `error`) if it cannot be read, is not valid, or gives a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file.", remedy="Give the path of an existing file.") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise error(f"{path}: cannot be read ({exc}).", remedy="Give a readable UTF-8 text file.") from exc
    try:
        return json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_StrictYaml)  # noqa: S506
    except (yaml.YAMLError, json.JSONDecodeError) as exc:
        detail = " ".join(str(exc).split())
        raise error(f"{path}: not valid {path.suffix.lstrip('.') or 'YAML'}: {detail}.", remedy="Mend it.") from exc


def parse(data: object, cls: type[T], *, source: str, error: type[ConfigError] = ConfigError) -> T:
    """Make a dataclass from plain data (dicts, lists, numbers, strings), as `load_yaml` does.

    Args:
        data: what a YAML or JSON file holds.
        cls: the dataclass to make.
        source: where the data comes from, for messages.
        error: the kind of ConfigError to raise.

    Raises:
        ConfigError: (as `error`) naming source, key and remedy.
    """
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise error(f"{source}: holds {found} where keys and values belong.", remedy="Write it as 'key: value' lines.")
    holder: type[BaseModel] = create_model("Holder", __config__=_STRICT, value=(cls, ...))
    try:
        # Through JSON, because there a list is a tuple's natural form even in strict mode.
        value = holder.model_validate_json(json.dumps({"value": data}))
    except ValidationError as exc:
        raise _explain(exc, cls, source, error) from None
    except F1Error as exc:
        raise error(f"{source}: {exc.problem}", remedy=exc.remedy) from exc
    except TypeError as exc:
        raise error(f"{source}: {exc}.", remedy="Use plain strings, numbers, lists and mappings.") from exc
    return typing.cast(T, value.value)  # type: ignore[attr-defined]


def yaml_value(text: str, source: str) -> Any:
    """Read one YAML value, such as the VALUE of `--set KEY=VALUE`, as `load_yaml` reads those of a file.

    Raises:
        ConfigError: naming `source`, if it is not valid YAML.
    """
    try:
        return yaml.load(text, Loader=_StrictYaml)  # noqa: S506
    except yaml.YAMLError as exc:
        raise ConfigError(f"{source}: {text!r} is not valid YAML.", remedy="Quote the value.") from exc


def _explain(exc: ValidationError, cls: type, source: str, error: type[ConfigError]) -> ConfigError:
    # A misspelt key shows up as an unknown and a missing one: the unknown one tells the user more.
    errors = sorted(exc.errors(), key=lambda e: e["type"] not in _UNKNOWN_KEY)
    problem, remedy = _describe(errors[0], cls)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    explained = error(f"{source}: {problem}{more}", remedy=remedy)
    for detail in errors[1:]:  # for who wants all of them: each is a note on the error
        problem, remedy = _describe(detail, cls)
        explained.add_note(f"{problem} Remedy: {remedy}")
    return explained


def _describe(detail: ErrorDetails, cls: type) -> tuple[str, str]:
    loc = detail["loc"][1:]  # without the holder's own field
    key = _dotted(loc)
    if detail["type"] in _UNKNOWN_KEY:
        known = _keys_at(cls, loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), known, n=1)
        if near:
            return f"unknown key '{key}'.", f"Did you mean '{near[0]}'?"
        allowed = f"Remove it; known keys here: {', '.join(known)}." if known else "Remove it."
        return f"unknown key '{key}'.", allowed
    if detail["type"] in _MISSING_KEY:
        return f"key '{key}' is missing.", f"Add '{loc[-1] if loc else key}'."
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    given = detail["input"]
    shown = f", not {given!r}" if given is None or isinstance(given, str | int | float | bool) else ""
    return f"key '{key}': {message}{shown}.", f"Correct '{key}'."


def _dotted(loc: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.lstrip(".") or "(top level)"


def _keys_at(cls: object, loc: Sequence[str | int]) -> list[str]:
    """Names of the fields of the dataclass that `loc` leads to; empty where it leads elsewhere."""
    candidates = _dataclasses_in(cls)
    for part in loc:
        deeper: list[type] = []
        for candidate in candidates:
            hints = typing.get_type_hints(candidate)
            # An index, a dict's key or a union's tag says nothing about the type: stay at this level.
            deeper += _dataclasses_in(hints[part]) if part in hints else [candidate]
        candidates = deeper
    return sorted({f.name for c in candidates for f in dataclasses.fields(c)})


def _dataclasses_in(hint: object) -> list[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    if isinstance(hint, types.GenericAlias | types.UnionType) or typing.get_origin(hint) is not None:
        return [found for arg in typing.get_args(hint) for found in _dataclasses_in(arg)]
    return []
