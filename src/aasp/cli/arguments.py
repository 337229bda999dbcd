"""How a command reads its arguments: tyro on a frozen dataclass, its complaints as one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import TypeVar

import tyro

from aasp.errors import AaspError

Arguments = TypeVar("Arguments")

STYLE = (
    tyro.conf.FlagCreatePairsOff,  # --frames alone, without its opposite --no-frames
    tyro.conf.PositionalMetavarFromFieldName,  # MODEL rather than STR
    tyro.conf.DisallowNone,  # --steps INT rather than {None}|INT
)


def parse(kind: type[Arguments], argv: Sequence[str], *, prog: str) -> Arguments:
    """Read `argv` into the dataclass `kind`, whose docstring and field docstrings are the command's help.

    Args:
        kind: a frozen dataclass; positional arguments are annotated `tyro.conf.Positional[...]`.
        argv: what follows the command's name.
        prog: the command as typed, `"aasp embed"`.

    Raises:
        AaspError: an unknown option, a missing argument or a value of the wrong type, in one line.
        SystemExit: with code 0 after `--help`.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, args=list(argv), prog=prog, config=STYLE)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise AaspError(f"{_one_line(complaint.getvalue())}; see `{prog} --help`") from None


def _one_line(boxed: str) -> str:
    """The first paragraph of tyro's box, and its first suggestion.

    The box is ╭─ title ─╮ │ message │ ─── │ more │ ╰───╯: its drawing goes, what stands between rules becomes a paragraph.
    """
    boxed = re.sub(r"\x1b\[[0-9;]*m", "", boxed)
    lines = [line.strip("│ ").strip() for line in boxed.splitlines() if not line.startswith(("╭", "╰"))]
    text = "\n".join(line for line in lines if line)
    paragraphs = [" ".join(part.split()) for part in re.split(r"─{4,}", text)]
    message = paragraphs[0].partition(" Got errors:")[0].rstrip(".")
    for part in paragraphs[1:]:
        if part.startswith("Perhaps you meant: "):
            return f"{message}; perhaps {part.removeprefix('Perhaps you meant: ').split()[0]}"
    return message
