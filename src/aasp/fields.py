"""Fields of dataclasses: their types, and suggestions for unknown fields."""

from __future__ import annotations

import dataclasses
from difflib import get_close_matches
from typing import Any, get_type_hints

from aasp.errors import AaspError
from aasp.parts import nearest


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


def formerly(name: str, default: Any) -> Any:
    """A field of a dataclass whose name in hashes is `name`, from before it was renamed."""
    return dataclasses.field(default=default, metadata={"formerly": name})
