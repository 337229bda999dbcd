"""Frozen dataclasses as JSON and back, and single fields set by name from text.

A field `Annotated[Contract, Parts(…)]` may hold one of several dataclasses, ours or a user's, identified by `kind`.
When fields are set by name, the kind applies before its fields, in any order.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import numbers
import types
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from aasp.errors import AaspError, shown
from aasp.fields import hints_of, unknown_field
from aasp.parts import Parts, nearest

T = TypeVar("T")
ADDED_LATER = {"added_later": True}


def to_dict(config: Any, *, first_names: bool = False) -> dict[str, Any]:
    """A dataclass as plain JSON values (tuples become lists).

    A field that was added later (see `Parts`, `ADDED_LATER`) is omitted if it has its default: documents and hashes
    do not change. For hashes `first_names` uses the original names of renamed fields.
    """
    hints, values = hints_of(type(config)), dict[str, Any]()
    for one in dataclasses.fields(config):
        name, value = one.name, getattr(config, one.name)
        if one.metadata == ADDED_LATER and value == one.default:
            continue
        called = one.metadata.get("formerly", name) if first_names else name
        if dataclasses.is_dataclass(value):
            parts = _parts(hints[name])
            kind = {} if parts is None or (named := parts.name_of(value)) == parts.unnamed else {"kind": named}
            # An own class that derives from one of ours has its own name, not the inherited kind.
            if (document := kind | to_dict(value, first_names=first_names) | kind) or parts is None:
                values[called] = document
        else:
            values[called] = _plain(value, f"{type(config).__name__}.{name}")
    return values


def _plain(value: Any, where: str) -> Any:
    """A field's value as JSON."""
    if isinstance(value, (tuple, list)):
        return [_plain(one, where) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one, where) for key, one in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    allowed = "numbers, text, true or false, None, tuples of these and dataclasses"
    raise AaspError(f"{where} is of type {type(value).__name__}, which can't be saved; a configuration holds {allowed}")


def fingerprint(config: Any, without: Collection[str] = ()) -> str:
    """Hash of all fields of a dataclass or of JSON, except those in `without`: 16 hexadecimal digits."""
    fields = {k: v for k, v in (config if isinstance(config, Mapping) else to_dict(config)).items() if k not in without}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def from_dict(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from JSON values; nothing is imported, and omitted fields keep their defaults.

    Args:
        kind: the dataclass.
        values: its fields.
        where: the file or option that the values came from, for messages.

    Raises:
        AaspError: a field is unknown, missing, or has a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise AaspError(f"{where}: not a JSON object; write it again")
    try:
        return _object(kind, values, where)
    except AaspError as error:  # a dataclass's own checks do not know the file
        raise error if str(error).startswith(where) else AaspError(f"{where}: {error}") from None


def _object(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """`from_dict`, also for a part of a document."""
    hints = hints_of(kind)
    if (name := next((name for name in values if name not in hints), None)) is not None:
        raise AaspError(f"{where}: unknown field {shown(name)}; {nearest(name, hints)}")
    fields = {name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    try:
        return _made(lambda: kind(**fields), fields, f"{where}: ")
    except TypeError:
        required = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING]  # type: ignore[arg-type]
        missing = ", ".join(name for name in required if name not in values)
        raise AaspError(f"{where}: has no {missing}; the file is incomplete, write it again") from None


def with_fields(config: T, settings: Mapping[str, Any], where: str = "--set") -> T:
    """A copy of a dataclass with some fields changed.

    A field that holds one of several kinds can be set as a whole, by the name of a kind (with its defaults) or with
    a dataclass; settings of its fields then apply to the new one, in any order.

    Args:
        config: a (nested) frozen dataclass; its `full_name`, if it has one, completes names.
        settings: dotted field names to values, or to text as typed on a command line.
        where: the source of the settings, for messages.

    Raises:
        AaspError: a field is unknown, or a value has the wrong type or is invalid.
    """
    tree, full_name = _Node(), getattr(config, "full_name", lambda name, *_: name)
    for name, value in settings.items():
        node = tree
        for part in full_name(name, settings, where).split("."):
            node = node.fields.setdefault(part, _Node())
        node.value = value
    return _with_tree(config, tree, where + " ", "")


def check_range(
    config: Any, what: str, names: str, *, least: float | None = None, most: float = math.inf, below: float = math.inf
) -> None:
    """Check that numbers are in their range.

    Args:
        config: a dataclass.
        what: the name of this part of the recipe, for the message.
        names: the fields, separated by spaces; None is skipped, and every number of a tuple is checked.
        least: the smallest number allowed; if omitted, numbers must be positive.
        most: the largest number allowed.
        below: an exclusive upper limit.

    Raises:
        AaspError: for the first number outside the range.
    """
    ends = ["a positive number" if least is None else f"a number of at least {least:g}"]
    ends += [f"at most {most:g}"] * (most < math.inf) + [f"below {below:g}"] * (below < math.inf)
    for name in names.split():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else [value] if value is not None else []:
            real = isinstance(number, numbers.Real)
            low = real and not (number > 0 if least is None else number >= least)
            if not real or low or number > most or not number < below:
                raise AaspError(f"{what}: {name} is {shown(number)}; give {' and '.join(ends)}")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested document as dotted names to values, in its own order, with the field names that `--set` uses."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        fields |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return fields


_UNSET = object()


@dataclass
class _Node:
    """The settings of one field: a value for the whole, settings of its fields, or both."""

    value: Any = _UNSET
    fields: dict[str, _Node] = field(default_factory=dict)


def _with_tree(config: Any, tree: _Node, where: str, path: str, kinds: tuple[Any, ...] = ()) -> Any:
    """Set all fields of one dataclass at once, since some are only valid together.

    Args:
        config: the dataclass.
        tree: its settings.
        where: "--set ", for messages.
        path: its own dotted name, with a dot at its end.
        kinds: the dataclasses that the field may hold.
    """
    hints, changes = hints_of(type(config)), {}
    for name, node in tree.fields.items():
        typed = f"{where}{path}{name}"
        if name == "kind" and kinds and node.value is not _UNSET:
            if node.value == getattr(config, name, None):
                continue
            text = f"names the whole part; set the part itself, as in {path.removesuffix('.')}={node.value}"
            raise AaspError(f"{typed}={node.value}: {text}")
        if name not in hints:
            raise AaspError(f"{typed}: {unknown_field(name, config, kinds, path)}")
        new, parts = getattr(config, name), _parts(hints[name])
        if node.value is not _UNSET:
            if parts is not None and isinstance(node.value, str):
                new = _named(parts.find, node.value, f"{typed}={node.value}", new)
            else:
                new = _convert(hints[name], node.value, f"{typed}={node.value}")
        if node.fields and not dataclasses.is_dataclass(new):
            raise AaspError(f"{typed}: has no field {next(iter(node.fields))!r}; set {name} itself")
        if node.fields:
            new = _with_tree(new, node, where, f"{path}{name}.", () if parts is None else tuple(parts.ours().values()))
        changes[name] = new
    return _made(lambda: dataclasses.replace(config, **changes), changes, where + path)


def _made(make: Callable[[], T], fields: Mapping[str, Any], where: str) -> T:
    """A dataclass; a division by zero in its own checks becomes an `AaspError`."""
    try:
        return make()
    except ZeroDivisionError:
        is_zero = lambda value: type(value) in (int, float) and value == 0
        zero = next(k for k, value in fields.items() if any(map(is_zero, value if type(value) is tuple else (value,))))
        raise AaspError(f"{where}{zero}={fields[zero]}: nothing can be divided by zero; give a positive one") from None


def _convert(kind: Any, value: Any, where: str) -> Any:
    """A JSON value or a text as the wanted type."""
    if (parts := _parts(kind)) is not None:
        return _convert_part(parts, value, where)
    if dataclasses.is_dataclass(kind):
        if type(value) is not kind and not isinstance(value, Mapping):
            raise AaspError(f"{where}: has fields of its own; set one of {', '.join(hints_of(kind))}")
        return value if type(value) is kind else _object(kind, value, where)  # type: ignore[arg-type]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None or value in ("none", "None"):
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise AaspError(f"{where}: {shown(value)} is not one of {', '.join(map(str, arguments))}")
    if origin is tuple:
        items, any_number = value, arguments[1:] == (...,)
        if isinstance(items, str):
            items = [] if any_number and items in ("", "none") else items.strip("()[] ").split(",")
        if isinstance(items, (list, tuple)) and (any_number or len(items) == len(arguments)):
            inner = arguments[:1] * len(items) if any_number else arguments
            return tuple(_convert(k, item, where) for k, item in zip(inner, items, strict=True))
        raise AaspError(f"{where}: needs {len(arguments)} values, as in 16,16")
    if kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind in (int, float) and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        number = _number(value)
        if number is not None and (kind is float or number == int(number)):
            return kind(number)
    elif isinstance(value, origin or kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    raise AaspError(f"{where}: {shown(value)} is not {_NAMES.get(kind, 'a ' + kind.__name__)}; give one")


def _number(value: str | int | float) -> int | float | None:
    """A finite number; whole numbers exactly, however large."""
    for kind in (int, float) if isinstance(value, str) else (lambda value: value,):
        with suppress(ValueError, OverflowError):
            return number if math.isfinite(number := kind(value)) else None
    return None


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _parts(hint: Any) -> Parts[Any] | None:
    """The registry in a field's annotation."""
    found = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((one for one in found if isinstance(one, Parts)), None)


def _convert_part(parts: Parts[Any], value: Any, where: str) -> Any:
    """A configuration that a file names by its `kind`."""
    if isinstance(value, parts.contract) and dataclasses.is_dataclass(value):
        return value
    name = value.get("kind", parts.unnamed) if isinstance(value, Mapping) else value
    if not isinstance(name, str):
        raise AaspError(f"{where}: names no kind of {parts.what}; known: {', '.join(parts)}")
    found = _named(parts.known, name, where)
    if not isinstance(value, Mapping):
        return found
    own = ":" in name or "kind" not in hints_of(type(found))
    fields = {key: one for key, one in value.items() if not (own and key == "kind")}
    return _object(type(found), fields, where)


def _named(find: Callable[[str], type[T]], name: str, where: str, old: Any = None) -> T:
    """The configuration of that name: its defaults, and the fields that its class takes over from another one."""
    try:
        kind = find(name)
        fields = {one: getattr(old, one) for one in getattr(kind, "carried", ()) if hasattr(old, one)}
        return kind(**fields)
    except AaspError as error:
        raise AaspError(f"{where}: {error}") from None
    except TypeError as error:
        raise AaspError(f"{where}: {error}; give its fields a default") from None
