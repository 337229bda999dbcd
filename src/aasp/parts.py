"""Parts that anyone can add: a stem, a front end, a method is named, built and saved alike, whoever wrote it.

A part's configuration is a frozen dataclass whose `build` makes the module. Ours have short names (`kind`); anyone
else's is named by where it is: `package.module:Name`, or `path/to/file.py:Name`. What a user types is imported. What a
file names never is: a model's configuration could else run code of its choice; its reader imports the part first
(`--plugin`, or an `import`).
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from aasp.errors import AaspError

T = TypeVar("T")
MOST_SHOWN = 30  # names in a message
MOST_LETTERS = 80  # of a name in one


class Parts(Generic[T]):
    """The configurations that can stand in one place.

    Args:
        what: is configured there ("stem"), for messages.
        contract: the class that every such configuration derives from.
        ours: short names, and where each is: `package.module:Name`.
        unnamed: the one that a document means which names none, for parts that were once the only ones of their kind.
            It is written without its name, and not at all where it has no fields.
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
        """The configuration that a user names, imported if need be.

        Raises:
            AaspError: there is none of that name, or what is there is no such configuration.
        """
        if name in self._ours:
            return self._checked(_attribute(self._ours[name]), name)
        if ":" not in name:
            raise AaspError(self._unknown(name))
        return self._checked(imported(name, self.what), name)

    def known(self, name: str) -> type[T]:
        """The configuration that a file names; nothing is imported for it but what is ours.

        Raises:
            AaspError: there is none of that name, it was not imported, or it is no such configuration.
        """
        if name in self._ours:
            return self.find(name)
        module, _, attribute = name.partition(":")
        if not attribute or len(name) > MOST_LETTERS:
            raise AaspError(self._unknown(name))
        if module not in sys.modules:
            text = f"{self.what} {name!r} is somebody's own, and nothing is imported because a file names it"
            raise AaspError(f"{text}; if you trust it, import {module} first, or add --plugin {module}")
        return self._checked(vars(sys.modules[module]).get(attribute), name)  # what is there: a lazy one would import

    def name_of(self, config: object) -> str:
        """The name under which a configuration is saved."""
        kind = getattr(config, "kind", None)
        own = type(config)
        if isinstance(kind, str) and kind in self._ours and _attribute(self._ours[kind]) is own:
            return kind
        return f"{own.__module__}:{own.__qualname__}"

    def _checked(self, found: Any, name: str) -> type[T]:
        if isinstance(found, type) and dataclasses.is_dataclass(found) and issubclass(found, self.contract):
            return cast("type[T]", found)
        contract = f"{self.contract.__module__}.{self.contract.__qualname__}"
        raise AaspError(f"{self.what} {name!r} is not a dataclass that derives from {contract}; name one that does")

    def _unknown(self, name: str) -> str:
        close = get_close_matches(name[:MOST_LETTERS], self._ours, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        own = f"{meant}A {self.what} of your own is package.module:Name"
        return f"{name[:MOST_LETTERS]!r} is not one of {', '.join(self._ours)}; {own}"


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """What may have been meant by a name that is not known."""
    close = get_close_matches(name[:MOST_LETTERS], known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    if len(known) > MOST_SHOWN:
        near = get_close_matches(name[:MOST_LETTERS], known, n=5, cutoff=0)
        return f"the nearest of {len(known)} are {', '.join(near)}"
    return f"known: {', '.join(known)}"


def look_up(name: str, known: Mapping[str, T], what: str) -> T:
    """The entry of a registry, or what a user's `package.module:name` or `file.py:name` stands for.

    Args:
        name: as typed.
        known: the registry.
        what: is registered there, for the message.

    Raises:
        AaspError: there is none of that name.
    """
    if name in known:
        return known[name]
    if ":" in name:
        return imported(name, what)
    raise AaspError(f"{what} {name!r} is unknown; {nearest(name, known)}")


def made(name: str, known: Mapping[str, Callable[[], T]], what: str, kind: type[T]) -> T:
    """What an entry of a registry of functions makes, or a user's own, which may be the thing itself.

    Args:
        name, known, what: as in `look_up`.
        kind: of what is made.

    Raises:
        AaspError: there is none of that name, it fails, or it makes something else.
    """
    found: Any = look_up(name, known, what)
    if callable(found):
        try:
            found = found()
        except AaspError:
            raise
        except Exception as error:  # whatever a user's function does
            raise AaspError(f"{what} {name!r} can't be made: {type(error).__name__}: {error}; fix it") from error
    if not isinstance(found, kind):
        text = f"{what} {name!r} is no {kind.__name__} but {type(found).__name__}"
        raise AaspError(f"{text}; name a {kind.__name__}, or a function without arguments that makes one")
    return found


def imported(reference: str, what: str) -> Any:
    """What a user's `package.module:name` or `path/to/file.py:name` stands for.

    Raises:
        AaspError: the module can't be imported, or has nothing of that name.
    """
    place, _, name = reference.rpartition(":")
    module = load_plugin(place)
    if not hasattr(module, name):
        public = {key: None for key in vars(module) if not key.startswith("_")}
        raise AaspError(f"{what} {reference!r}: {place} has no {name}; {nearest(name, public)}")
    return getattr(module, name)


def load_plugin(place: str) -> ModuleType:
    """Import a module by its name, or a .py file under the name of the file; modules of the working folder are found.

    Raises:
        AaspError: it is not there, or fails.
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
    except Exception as error:  # whatever a user's module does when it is run
        raise AaspError(f"can't import {place}: {type(error).__name__}: {error}; fix it") from error


def _attribute(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
