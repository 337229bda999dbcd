"""How a command parses its arguments: tyro on a frozen dataclass, its errors as one line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

import tyro

from aasp.cli.help import presented, wrapped
from aasp.cli.main import EXAMPLES
from aasp.errors import AaspError

Arguments = TypeVar("Arguments")

STYLE = (
    tyro.conf.FlagCreatePairsOff,  # --frames alone, without its opposite --no-frames
    tyro.conf.PositionalMetavarFromFieldName,  # MODEL rather than STR
    tyro.conf.DisallowNone,  # --steps INT rather than {None}|INT
)

Settings = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=VALUE ...")]


def parse(kind: type[Arguments], argv: Sequence[str], *, prog: str) -> Arguments:
    """Read `argv` into the dataclass `kind`, whose docstring and field docstrings are the command's help.

    Args:
        kind: a frozen dataclass; positional arguments are annotated `tyro.conf.Positional[...]`.
        argv: what follows the command's name.
        prog: the command as typed, `"aasp embed"`.

    Raises:
        AaspError: an unknown option, a missing argument, an empty one, or a value of the wrong type, in one line.
        SystemExit: with code 0 after `--help`.
    """
    if "" in argv:
        raise AaspError("an empty argument, perhaps from an unset shell variable; give a value, or leave it out")
    if {"-h", "--help"} & set(argv):
        with wrapped():
            tyro.cli(presented(kind), args=list(argv), prog=prog, config=STYLE)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            given = tyro.cli(kind, args=list(argv), prog=prog, config=STYLE)
    except SystemExit as stop:
        if not stop.code:
            raise
        text = _one_line(complaint.getvalue())
        example = EXAMPLES.get(prog.removeprefix("aasp ")) if text.startswith("missing") else None
        as_in = f"; as in `{example}`" if example else ""
        raise AaspError(f"{text}{as_in}; see `{prog} --help`") from None
    _check_values(given, argv)
    return given


def _check_values(given: Any, argv: Sequence[str]) -> None:
    """Check that no typed list is empty (it would be ignored), that numbers are finite, and seeds not negative."""
    typed = {word.partition("=")[0].replace("_", "-") for word in argv}
    for field in dataclasses.fields(given):
        option, value = f"--{field.name.replace('_', '-')}", getattr(given, field.name)
        if value in ((), ((),)) and option in typed:
            raise AaspError(f"{option} without a value; give one after it, or leave it out")
        if isinstance(value, float) and not math.isfinite(value):
            raise AaspError(f"{option} is {value:g}; give a finite number")
        if field.name == "seed" and value is not None and value < 0:
            raise AaspError(f"--seed is {value}; give 0 or a positive number")


def settings(given: Settings, **named: int | str | None) -> dict[str, str]:
    """The fields set by --set, as in `--set a=1 b.c=2 --set d=3`, and by options of their own.

    If a field is set twice, the later value applies, so that settings can be appended to those of a script.

    Raises:
        AaspError: a setting has no name or value, or contradicts the field's own option.
    """
    fields: dict[str, str] = {}
    for setting in (setting for group in given for setting in group):
        name, equals, value = setting.partition("=")
        if not equals or not value:
            raise AaspError(f"--set {setting}: no value; write it as {name}=VALUE")
        if not name:
            raise AaspError(f"--set {setting}: no field; write it as FIELD{setting}")
        fields[name] = value
    for name, value in ((name, str(value)) for name, value in named.items() if value is not None):
        if fields.get(name, value) != value:
            raise AaspError(f"--set {name}={fields[name]}: --{name} says {value}; give one of them")
        fields[name] = value
    return fields


def check_running(threads: int | None, workers: int) -> None:
    """Check the numbers of CPU threads and of threads that decode audio.

    Raises:
        AaspError: fewer than one thread, or a negative number of workers.
    """
    if threads is not None and threads < 1:
        raise AaspError(f"--threads is {threads}; give a number of at least 1")
    if workers < 0:
        raise AaspError(f"--workers is {workers}; give 1 or more, or 0 to decode between the steps")


def set_threads(threads: int | None) -> None:
    """Set torch's number of CPU threads; one per core if omitted.

    Raises:
        AaspError: fewer than one.
    """
    if threads is None:
        return
    check_running(threads, 0)
    import torch

    torch.set_num_threads(threads)


@contextlib.contextmanager
def stopping_with_75() -> Iterator[None]:
    """Exit with 75, "try again", on SIGTERM and SIGUSR1, until the training loop, which saves first, handles them."""
    requested = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(number, lambda *_: sys.exit(75)) for number in requested]
    try:
        yield
    finally:
        for number, handler in zip(requested, before, strict=True):
            signal.signal(number, handler)


def _one_line(boxed: str) -> str:
    """The message in tyro's box, without its help footer.

    A box is its title, a rule, the message, a rule, sometimes a suggestion, a rule, the footer; drawn in Unicode if the
    terminal supports it (the title inside the upper border), else in ASCII.
    """
    boxed = re.sub(r"\x1b\[[0-9;]*m", "", boxed)
    lines = [line.strip("│ ") for line in boxed.splitlines()]
    _, message, *more = [" ".join(part.split()) for part in re.split(r"(?m)^[╭─╰-]{4,}.*$|^╭.*$", "\n".join(lines))]
    message = message.partition(" Got errors:")[0].removesuffix(" Expected 1 values.")
    if message.startswith("Missing from"):  # then each argument with its help, which ends with (required)
        missing = message.partition(": ")[2].removesuffix("(required)").split("(required)")
        message = f"missing {', '.join(argument.split()[0] for argument in missing)}"
    for part in more:
        if part.startswith("Perhaps you meant:"):
            message += f"; perhaps {part.split()[3]}"
        if part.startswith("Unrecognized options:"):
            message += f"; {part}"
    return message.rstrip(".")
