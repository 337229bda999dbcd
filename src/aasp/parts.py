"""Parts that anyone can add: stems, front ends and methods are named, built and saved alike, ours and a user's.

A part's configuration is a frozen dataclass whose `build` makes the module. Ours have short names (`kind`); others are
named by their location: `package.module:Name`, or `path/to/file.py:Name`. A name that a user types is imported. A name
in a file never is, as a model's configuration could otherwise run code of its choice; the user imports the part first
(`--plugin`, or an `import`).
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from aasp.errors import AaspError

T = TypeVar("T")
MAX_SHOWN = 30  # names in a message
MAX_LETTERS = 80  # of a name in one message


class Parts(Generic[T]):
    """The configurations that a field may hold.

    Args:
        what: what they configure ("stem"), for messages.
        contract: the class that every such configuration derives from.
        ours: short names and their locations, `package.module:Name`.
        unnamed: the kind of a document that names none, for parts that once had a single kind. It is written without
            its name, and omitted if it has no fields.
    """

    def __init__(self, what: str, contract: type[T], ours: Mapping[str, str], unnamed: str | None = None) -> None:
        self.what, self.contract, self._ours, self.unnamed = what, contract, dict(ours), unnamed

    def __iter__(self) -> Iterator[str]:
        """The short names."""
        return iter(self._ours)

    def ours(self) -> dict[str, type[T]]:
        """Our own configurations by their short names."""
        return {name: self._checked(_attribute(place), place) for name, place in self._ours.items()}

    def find(self, name: str) -> type[T]:
        """The configuration that a user names, imported if necessary.

        Raises:
            AaspError: there is none of that name, or it is not such a configuration.
        """
        if name in self._ours:
            return self._checked(_attribute(self._ours[name]), name)
        if ":" not in name:
            raise AaspError(self._unknown(name))
        return self._checked(imported(name, self.what), name)

    def known(self, name: str) -> type[T]:
        """The configuration that a file names; only our own are imported for it.

        Raises:
            AaspError: there is none of that name, it was not imported, or it is not such a configuration.
        """
        if name in self._ours:
            return self.find(name)
        module, _, attribute = name.partition(":")
        if not attribute or len(name) > MAX_LETTERS:
            raise AaspError(self._unknown(name))
        if module not in sys.modules and module == _script():
            module = "__main__"
        if module not in sys.modules:
            text = f"{self.what} {name!r} is custom code, which is never imported because a file names it"
            raise AaspError(f"{text}; if you trust it, import {module} first, or add --plugin {module}")
        if attribute not in vars(sys.modules[module]):  # getattr would import a lazy one
            raise AaspError(f"{self.what} {name!r}: {module} has no {attribute} any more; bring it back")
        return self._checked(vars(sys.modules[module])[attribute], name)

    def name_of(self, config: object) -> str:
        """The name under which a configuration is saved.

        Raises:
            AaspError: it can't be saved under one.
        """
        kind = getattr(config, "kind", None)
        own = type(config)
        if isinstance(kind, str) and kind in self._ours and _attribute(self._ours[kind]) is own:
            return kind
        module = _script() if own.__module__ == "__main__" else own.__module__
        self._checked(own, f"{own.__module__}:{own.__qualname__}")
        if not module or "." in own.__qualname__:
            text = f"{self.what} {own.__qualname__} is defined in a notebook, a function or a class"
            raise AaspError(f"{text}, from where no other process can import it; move it to the top of a .py file")
        return f"{module}:{own.__qualname__}"

    def _checked(self, found: Any, name: str) -> type[T]:
        if isinstance(found, type) and dataclasses.is_dataclass(found) and issubclass(found, self.contract):
            if found.__module__.partition(".")[0] != "aasp" and _annotates(found, "kind"):
                raise AaspError(f"{self.what} {name!r} has a field kind, which names parts in files; rename it")
            return cast("type[T]", found)
        contract = f"{self.contract.__module__}.{self.contract.__qualname__}"
        raise AaspError(f"{self.what} {name!r} is not a dataclass that derives from {contract}; name one that does")

    def _unknown(self, name: str) -> str:
        close = get_close_matches(name[:MAX_LETTERS], self._ours, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        own = f"{meant + 'A' if meant else 'a'} {self.what} of your own is package.module:Name"
        return f"{name[:MAX_LETTERS]!r} is not one of {', '.join(self._ours)}; {own}"


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """Suggestions for an unknown name."""
    close = get_close_matches(name[:MAX_LETTERS], known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    if len(known) > MAX_SHOWN:
        near = get_close_matches(name[:MAX_LETTERS], known, n=5, cutoff=0)
        return f"the nearest of {len(known)} are {', '.join(near)}"
    return f"known: {', '.join(known)}"


def look_up(name: str, known: Mapping[str, T], what: str) -> T:
    """The entry of a registry, or the object that a user's `package.module:name` or `file.py:name` refers to.

    Args:
        name: as typed.
        known: the registry.
        what: the kind of entry, for the message.

    Raises:
        AaspError: there is none of that name.
    """
    if name in known:
        return known[name]
    if ":" in name:
        return imported(name, what)
    raise AaspError(f"{what} {name!r} is unknown; {nearest(name, known)}")


def made(name: str, known: Mapping[str, Callable[[], T]], what: str, kind: type[T]) -> T:
    """The result of a function in a registry, or of a user's own, which may also be the object itself.

    Args:
        name, known, what: as in `look_up`.
        kind: the type of the result.

    Raises:
        AaspError: there is none of that name, it fails, or its result has another type.
    """
    found: Any = look_up(name, known, what)
    if callable(found):
        try:
            found = found()
        except AaspError:
            raise
        except Exception as error:  # a user's function may raise anything
            raise AaspError(f"{what} {name!r} can't be made: {type(error).__name__}: {error}; fix it") from error
    if not isinstance(found, kind):
        text = f"{what} {name!r} is of type {type(found).__name__}, not {kind.__name__}"
        raise AaspError(f"{text}; name a {kind.__name__}, or a function without arguments that returns one")
    return found


def imported(reference: str, what: str) -> Any:
    """The object that a user's `package.module:name` or `path/to/file.py:name` refers to.

    Raises:
        AaspError: the module can't be imported, or has no such name.
    """
    place, _, name = reference.rpartition(":")
    module = load_plugin(place)
    if not hasattr(module, name):
        public = {key: None for key in vars(module) if not key.startswith("_")}
        raise AaspError(f"{what} {reference!r}: {place} has no {name}; {nearest(name, public)}")
    return getattr(module, name)


def load_plugin(place: str) -> ModuleType:
    """Import a module by its name, or a .py file under its file name; modules in the working directory are found.

    Raises:
        AaspError: it does not exist, or fails.
    """
    name = os.path.splitext(os.path.basename(place))[0] if place.endswith(".py") else place
    here = os.getcwd()
    try:
        if not place.endswith(".py"):
            sys.path.insert(0, here)
            try:
                return importlib.import_module(name)
            finally:
                sys.path.remove(here)
        path = os.path.abspath(place)
        there = sys.modules.get(name)
        if there is not None:
            if os.path.abspath(getattr(there, "__file__", None) or "") != path:
                raise AaspError(f"{place}: another module is called {name}; rename the file")
            return there
        if not os.path.isfile(path):
            raise AaspError(f"no such file: {place}; check the path")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module
    except AaspError:
        raise
    except ModuleNotFoundError as error:
        hint = "check its name" if error.name and place.startswith(error.name) else f"it needs {error.name}"
        raise AaspError(f"can't import {place}: {error.msg if hasattr(error, 'msg') else error}; {hint}") from None
    except Exception as error:  # a user's module may raise anything
        raise AaspError(f"can't import {place}: {type(error).__name__}: {error}; fix it") from error


def own_code(config: object) -> str:
    """SHA-256, in hex, of the source files of those parts of a configuration that are not ours; empty if all are.

    A configuration that names functions of users has `code_modules()`, the modules of these. Files that these files
    import are not included.
    """
    found: dict[str, str] = {}
    todo = [config]
    for one in todo:
        if dataclasses.is_dataclass(one) and not isinstance(one, type):
            for module in (type(one).__module__, *(one.code_modules() if hasattr(one, "code_modules") else ())):
                if module.partition(".")[0] != "aasp" and (source := source_hash(module)):
                    found[module] = source
            todo += [getattr(one, field.name) for field in dataclasses.fields(one)]
    return sha256("".join(sorted(found.values())).encode()).hexdigest() if found else ""


def source_hash(module: str) -> str:
    """SHA-256 of an imported module's file, in hex; empty if it has none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        return "" if file is None else sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""


def _annotates(kind: type, name: str) -> bool:
    """Whether a dataclass itself, not one that it derives from, defines a field of this name."""
    return name in inspect.get_annotations(kind) and any(one.name == name for one in dataclasses.fields(kind))


def _script() -> str:
    """The name under which the running script can be imported; "" in a notebook or at a prompt."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return os.path.splitext(os.path.basename(file))[0] if file else ""


def _attribute(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
