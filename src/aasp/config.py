"""Frozen dataclasses as JSON and back, and single fields set by name from text.

A field that may hold one of several dataclasses is told apart by their `kind`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from aasp.errors import AaspError

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain JSON values (tuples become lists)."""
    plain = lambda value: list(value) if isinstance(value, tuple) else value
    return {
        field.name: to_dict(value) if dataclasses.is_dataclass(value := getattr(config, field.name)) else plain(value)
        for field in dataclasses.fields(config)
    }


def fingerprint(config: Any, without: Collection[str] = ()) -> str:
    """Hash of every field of a dataclass but those named, 16 hexadecimal digits: equal for equal settings only."""
    fields = {name: value for name, value in to_dict(config).items() if name not in without}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def from_dict(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from JSON values; fields left out keep their defaults.

    Args:
        kind: the dataclass.
        values: its fields.
        where: the file or option that the values came from, for messages.

    Raises:
        AaspError: a field is unknown, lacks, or has a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise AaspError(f"{where}: not a JSON object; write it anew")
    hints = _hints(kind)
    for name in values:
        if name not in hints:
            raise AaspError(f"{where}: unknown field {name!r}; {_did_you_mean(name, hints)}")
    fields = {name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    try:
        return kind(**fields)
    except TypeError:
        required = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING]  # type: ignore[arg-type]
        lacking = ", ".join(name for name in required if name not in values)
        raise AaspError(f"{where}: lacks {lacking}; the file is incomplete, write it anew") from None


def with_fields(config: T, settings: Mapping[str, Any], where: str = "--set") -> T:
    """A copy of a dataclass with some fields changed.

    Args:
        config: a (nested) frozen dataclass.
        settings: dotted field names to values, or to text as typed on a command line.
        where: what to name in messages.

    Raises:
        AaspError: a field is unknown or a value has the wrong type.
    """
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *parents, last = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise AaspError(f"{where} {name}={value}: {parent!r} is set as a whole too; set only its fields")
        branch[last] = value
    return _with_tree(config, tree, where + " ")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested document as dotted names to values, in its own order: as `--set` names its fields."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        fields |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return fields


def _with_tree(config: Any, tree: Mapping[str, Any], where: str) -> Any:
    """All fields of one dataclass at once, since some only fit together."""
    hints, changes = _hints(type(config)), {}
    for name, value in tree.items():
        if name not in hints:
            raise AaspError(f"{where}{name}: unknown field {name!r}; {_did_you_mean(name, hints)}")
        inner = getattr(config, name)
        if isinstance(value, dict) and not dataclasses.is_dataclass(inner):
            raise AaspError(f"{where}{name}: has no field {next(iter(value))!r}; set {name} itself")
        if isinstance(value, dict):
            changes[name] = _with_tree(inner, value, f"{where}{name}.")
        else:
            if name == "kind" and value != inner:
                raise AaspError(f"{where}kind={value}: names the whole part; set the part itself, as in stem={value}")
            changes[name] = _convert(hints[name], value, f"{where}{name}={value}")
    return dataclasses.replace(config, **changes)


def _convert(kind: Any, value: Any, where: str) -> Any:
    """A JSON value or a text as the wanted type."""
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass([kind], value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if all(dataclasses.is_dataclass(a) for a in arguments):
            return _convert_dataclass(list(arguments), value, where)
        if value is None or value in ("none", "None"):
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise AaspError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
    if origin is tuple:
        items = value.strip("()[] ").split(",") if isinstance(value, str) else value
        inner = arguments[:1] * len(items) if arguments[1:] == (...,) else arguments
        if isinstance(items, (list, tuple)) and len(items) == len(inner):
            return tuple(_convert(k, item, where) for k, item in zip(inner, items, strict=True))
        raise AaspError(f"{where}: needs {len(arguments)} values, as in 16,16")
    if kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind in (int, float) and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = None
        if number is not None and (kind is float or number == int(number)):
            return kind(number)
    elif isinstance(value, origin or kind):
        return value
    raise AaspError(f"{where}: {value!r} is not {_NAMES.get(kind, 'a ' + kind.__name__)}; give one")


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _convert_dataclass(kinds: list[Any], value: Any, where: str) -> Any:
    if any(type(value) is kind for kind in kinds):
        return value
    if len(kinds) == 1 and not isinstance(value, Mapping):
        raise AaspError(f"{where}: has fields of its own; set one of {', '.join(_hints(kinds[0]))}")
    named = {getattr(kind, "kind", kind.__name__): kind for kind in kinds}
    wanted = value if isinstance(value, str) else value.get("kind") if isinstance(value, Mapping) else None
    if wanted is None and len(kinds) == 1:
        wanted = next(iter(named))
    if wanted not in named:
        raise AaspError(f"{where}: {wanted!r} is not one of {', '.join(named)}")
    return named[wanted]() if isinstance(value, str) else from_dict(named[wanted], value, where)


def _hints(kind: Any) -> dict[str, Any]:
    """Field names to resolved types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def look_up(name: str, known: Mapping[str, T], what: str) -> T:
    """The entry of a registry.

    Args:
        name: as typed.
        known: the registry.
        what: is registered there, for the message.

    Raises:
        AaspError: there is none of that name.
    """
    if name not in known:
        raise AaspError(f"{what} {name!r} is unknown; {_did_you_mean(name, known)}")
    return known[name]
