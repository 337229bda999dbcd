"""Fields of dataclasses: their types, suggestions for unknown fields, and old names of renamed ones.

Old names are still accepted, with one warning that gives the new ones.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_type_hints

from aasp.errors import AaspError
from aasp.parts import nearest

T = TypeVar("T")


def hints_of(kind: Any) -> dict[str, Any]:
    """Field names to resolved types.

    Raises:
        AaspError: an annotation can't be resolved.
    """
    try:
        hints = get_type_hints(kind, include_extras=True)
    except NameError as error:
        text = f"the type of a field can't be resolved: {error}; import it outside `if TYPE_CHECKING`"
        raise AaspError(f"{kind.__module__}:{kind.__qualname__}: {text}") from None
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)}


def unknown_field(name: str, config: Any, kinds: tuple[Any, ...], path: str) -> str:
    """The message for an unknown field: which other kind has it, or the closest name."""
    own, known = getattr(config, "kind", type(config).__name__), hints_of(type(config))
    others = {kind.kind: hints_of(kind) for kind in kinds if getattr(kind, "kind", own) != own}
    known.pop("kind", None)
    if not others:
        return f"unknown field {name!r}; {nearest(name, known)}"
    there = {field for fields in others.values() for field in fields}
    close = [name] if name in there else get_close_matches(name, known, n=1) or get_close_matches(name, there, n=1)
    having = [kind for kind, fields in others.items() if close and close[0] in fields]
    text, part, near = f"unknown field {name!r} of {own}", path.removesuffix("."), nearest(name, known)
    if not having or (close[0] != name and close[0] in known):
        return f"{text}; {near}"
    as_in = f"{part}={having[0]} {part}.{close[0]}=…"
    return f"{text}; {close[0]!r} is a field of {' and '.join(having)}, as in {as_in}; {near}"


class RenamedWarning(FutureWarning):
    """A setting was given by its old name.

    Attributes:
        kind: the dataclass that the setting belongs to.
    """

    def __init__(self, message: str, kind: type) -> None:
        super().__init__(message)
        self.kind = kind


def formerly(name: str, default: Any) -> Any:
    """A field of a dataclass that was formerly called `name`."""
    return dataclasses.field(default=default, metadata={"formerly": name})


def current_names(kind: type, values: Mapping[str, T], where: str) -> Mapping[str, T]:
    """Settings of a dataclass by their current names; if any old name is used, one warning lists all new ones.

    Args:
        kind: the dataclass.
        values: settings by name.
        where: their file, option or class, for messages.

    Raises:
        AaspError: a setting is given under both its names.
    """
    names = _names_of(kind)
    used = [name for name in names if name in values]
    for name in used:
        if names[name] in values:
            raise AaspError(f"{where}: {name} is the old name of {names[name]}; give {names[name]} alone")
    if used:
        _warn(kind, where)
    return {names.get(name, name): value for name, value in values.items()} if used else values


def reads_old_names(kind: type[T]) -> type[T]:
    """A dataclass whose renamed fields (see `formerly`) can also be given and read by their old names."""
    names, made, every = _names_of(kind), kind.__init__, hints_of(kind).keys()  # type: ignore[misc]

    @functools.wraps(made)
    def init(self: Any, *given: Any, **named: Any) -> None:
        if every <= named.keys():  # `dataclasses.replace` passes all fields, plus the changed ones by their old names
            changed = {names[was] for was in named.keys() & names.keys()}
            named = {name: value for name, value in named.items() if name not in changed}
        made(self, *given, **current_names(kind, named, kind.__name__))

    def read(self: Any, name: str) -> Any:
        _warn(kind, kind.__name__)
        return getattr(self, name)

    kind.__init__ = init  # type: ignore[method-assign]
    for was, name in names.items():
        setattr(kind, was, property(functools.partial(read, name=name)))
    return kind


def _names_of(kind: Any) -> dict[str, str]:
    """Old to current names of a dataclass's fields."""
    return {one.metadata["formerly"]: one.name for one in dataclasses.fields(kind) if "formerly" in one.metadata}


def _warn(kind: type, where: str) -> None:
    listed = ", ".join(f"{name} is now {now}" for name, now in _names_of(kind).items())
    warnings.warn(RenamedWarning(f"{where}: {listed}; old names are still read", kind), stacklevel=4)
