"""The line that a command prints if a setting was given by its old name."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from aasp.fields import RenamedWarning


@contextlib.contextmanager
def old_names_in_one_line() -> Iterator[None]:
    """Print one line for settings given by their old names; other warnings are unchanged."""
    shown: set[type] = set()
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, *more: Any, **others: Any) -> None:
            if not isinstance(message, RenamedWarning):
                usual(message, *more, **others)
            elif message.kind not in shown and os.environ.get("RANK", "0") == "0":
                print(f"aasp: warning: {message}", file=sys.stderr)
                shown.add(message.kind)

        warnings.showwarning = show
        warnings.simplefilter("always", RenamedWarning)
        yield
