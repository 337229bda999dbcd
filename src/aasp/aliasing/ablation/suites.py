"""The suites by name, read from `suites.toml`: cells, their questions and what each changes."""

from __future__ import annotations

import tomllib
from importlib.resources import files

from aasp.aliasing.ablation.suite import Cell, Suite
from aasp.parts import look_up


def get(name: str) -> Suite:
    """A suite by name.

    Raises:
        AaspError: there is none of that name.
    """
    return look_up(name, SUITES, "suite")


def _read() -> dict[str, Suite]:
    given = tomllib.loads(files("aasp.aliasing.ablation").joinpath("suites.toml").read_text(encoding="utf-8"))
    cells: dict[str, Cell] = {}
    for name, one in given["cells"].items():
        start = cells.get(one.get("from", one.get("against")))
        changes = {**(start.changes if start else {}), **one.get("set", {})}
        cells[name] = Cell(name, one["asks"], changes, one.get("against"))
    return {
        name: Suite(name, one["summary"], tuple(cells[cell] for cell in one["cells"]))
        for name, one in given["suites"].items()
    }


SUITES = _read()
