"""The laboratory's dispatcher: its help, its commands, and a name that is near one of them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from aasp.cli import alias
from aasp.cli.main import main


@pytest.mark.parametrize(("argv", "code"), [(["alias", "--help"], 0), (["alias"], 2)])
def test_help_has_a_line_for_each(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == code
    shown = capsys.readouterr().out
    for name, line in alias.COMMANDS.items():
        assert f"  {name} " in shown and line in shown
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ("kernel", "did you mean `aasp alias kernels`?"),
        ("stabilty", "did you mean `aasp alias stability`?"),
        ("xyzzy", "`aasp alias --help` lists the commands"),
    ],
)
def test_an_unknown_one(typed: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alias", typed]) == 2
    assert capsys.readouterr().err == f"aasp: error: no such command: alias {typed}; {remedy}\n"


@pytest.mark.parametrize("name", alias.COMMANDS)
def test_each_is_a_module_of_its_own_that_gets_its_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    module = ModuleType(f"aasp.cli.alias_{name}")
    module.run = lambda argv: seen.extend(argv) or 7  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert main(["alias", name, "model", "--out", "x"]) == 7
    assert seen == ["model", "--out", "x"]
