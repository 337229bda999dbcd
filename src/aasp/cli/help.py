"""How `aasp COMMAND --help` looks: tyro's page with whole paragraphs, defaults that say something, wrapped lines."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import itertools
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, get_type_hints

import tyro

SAYS_NOTHING = ("None", "", "False")
"""Defaults that are not printed: the option's text explains what happens without it."""


def presented(kind: type) -> type:
    """A dataclass with the fields of `kind`, its docstrings joined to paragraphs; tyro keeps their line breaks."""
    hints, texts = get_type_hints(kind, include_extras=True), _field_docstrings(kind)
    annotated: Any = Annotated  # its arguments are computed here
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(kind):
        text = tyro.conf.arg(help=texts.get(field.name), help_behavior_hint=_default)
        fields.append((field.name, annotated[hints[field.name], text], field))
    made = dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True, kw_only=True)
    made.__doc__ = "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(kind) or "").split("\n\n"))
    return made


def _default(shown: str) -> str:
    return "" if shown in SAYS_NOTHING else f"(default: {shown})"


def _field_docstrings(kind: type) -> dict[str, str]:
    """The string below each field of a dataclass and of those it is derived from, in one line each."""
    texts = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(parsed, ast.ClassDef)
        for field, below in itertools.pairwise(parsed.body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                texts[ast.unparse(field.target)] = " ".join(ast.literal_eval(below.value).split())
    return texts


@contextlib.contextmanager
def wrapped() -> Iterator[None]:
    """Wrap what is printed at the width of the terminal; the lines of tyro's boxes are never wider."""
    page = io.TextIOWrapper(io.BytesIO(), encoding=sys.stdout.encoding or "utf-8")
    try:
        with contextlib.redirect_stdout(page):
            yield
    finally:
        page.seek(0)
        width = shutil.get_terminal_size().columns
        for line in page.read().replace("\n\n\n", "\n\n").splitlines():
            print(textwrap.fill(line, width) if len(line) > width else line)
