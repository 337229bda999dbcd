"""The dispatcher: instant help, failures in one line, exit codes."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import pytest
import tyro

from aasp.cli import main as cli
from aasp.cli.arguments import parse
from aasp.errors import AaspError


@dataclass(frozen=True)
class Bark:
    """Bark at something."""

    model: tyro.conf.Positional[str]
    """Who barks."""
    at: str
    """Whom."""
    times: int = 1
    """How often."""
    loud: bool = False
    """Whether it wakes the neighbours."""


Does = Callable[[list[str]], int]


@pytest.fixture
def bark(monkeypatch: pytest.MonkeyPatch) -> Callable[[Does], None]:
    """Makes `aasp bark` a command that does what it is given."""

    def install(does: Does) -> None:
        module = ModuleType("aasp.cli.bark")
        module.run = does  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "aasp.cli.bark", module)
        monkeypatch.setitem(cli.COMMANDS, "bark", "bark at something")

    monkeypatch.delenv("AASP_DEBUG", raising=False)
    return install


def raising(error: BaseException) -> Does:
    def run(argv: list[str]) -> int:
        raise error

    return run


def test_help_imports_nothing_but_the_standard_library() -> None:
    script = (
        "import sys; from aasp.cli.main import main; code = main(['--help']);"
        "ours = {name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names) - {'__main__'};"
        "print(sorted(name for name in ours if not name.startswith(('_', 'sitecustomize'))), file=sys.stderr);"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "['aasp']"


def test_help_lists_every_command_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, line in cli.COMMANDS.items():
        assert f"  {name} " in shown and line in shown
    assert shown.count("\n  aasp ") >= 5
    assert max(map(len, shown.splitlines())) <= 120


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "commands:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from aasp import __version__

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"aasp {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "remedy"), [("embde", "did you mean `aasp embed`?"), ("xyzzy", "`aasp --help` lists the commands")]
)
def test_an_unknown_command(typed: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([typed]) == 2
    assert capsys.readouterr().err == f"aasp: error: no such command: {typed}; {remedy}\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (AaspError("no such file: dog.wav; check the\npath"), 2, "no such file: dog.wav; check the path"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.npz"),
            1,
            "disk full: x.npz; free some space or write elsewhere, nothing was overwritten",
        ),
        (
            OSError(errno.EFBIG, "File too large", "x.npz"),
            1,
            "file too large: x.npz; raise the file size limit (`ulimit -f`) or write elsewhere; nothing was "
            "overwritten",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "x.npz"),
            1,
            "read-only file system: x.npz; choose a writable place",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "x.npz"),
            1,
            "permission denied: x.npz; choose another place, or change its permissions",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_failures_are_one_line(
    bark: Callable[[Does], None], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    bark(raising(error))
    assert cli.main(["bark"]) == code
    shown = capsys.readouterr()
    assert shown.err == f"aasp: error: {message}\n"
    assert shown.out == ""


def test_debug_shows_the_traceback(bark: Callable[[Does], None], monkeypatch: pytest.MonkeyPatch) -> None:
    bark(raising(AaspError("no")))
    monkeypatch.setenv("AASP_DEBUG", "1")
    with pytest.raises(AaspError):
        cli.main(["bark"])


def test_internal_errors_keep_their_traceback(bark: Callable[[Does], None]) -> None:
    bark(raising(AssertionError("ours")))
    with pytest.raises(AssertionError):
        cli.main(["bark"])


def test_the_command_sees_its_words_and_gives_the_exit_code(bark: Callable[[Does], None]) -> None:
    seen: list[str] = []

    def run(argv: list[str]) -> int:
        seen.extend(argv)
        return 75

    bark(run)
    assert cli.main(["bark", "at", "--loud"]) == 75
    assert seen == ["at", "--loud"]


def test_a_closed_pipe_is_no_error() -> None:
    script = "import sys; from aasp.cli.main import main; sys.exit(main(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["rex", "--at", "me", "--tmies", "3"], ["--tmies", "perhaps --times"]),
        (["rex", "--at", "me", "rover"], ["rover"]),
        (["rex", "--at", "me", "--times", "often"], ["--times", "often"]),
        (["rex", "--at", "me", "--times"], ["--times"]),
        ([], ["model"]),
        (["rex"], ["--at"]),
        (["rex", "--tmies", "3"], ["--at", "--tmies"]),
    ],
)
@pytest.mark.parametrize("boxes", ["unicode", "ascii"])
def test_bad_arguments_are_one_line(
    argv: list[str], named: list[str], boxes: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tyro._fmtlib._should_use_utf8_drawing_chars", lambda: boxes == "unicode")
    with pytest.raises(AaspError) as caught:
        parse(Bark, argv, prog="aasp bark")
    message = str(caught.value)
    assert not set(message) & set("\n│─╭╰") and "---" not in message
    assert "For full help" not in message
    assert message.endswith("; see `aasp bark --help`")
    for part in named:
        assert part in message.lower()
    shown = capsys.readouterr()
    assert shown.err == shown.out == ""


def test_good_arguments_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(Bark, ["rex", "--at", "me", "--loud"], prog="aasp bark") == Bark("rex", "me", 1, True)
    with pytest.raises(SystemExit) as stop:
        parse(Bark, ["--help"], prog="aasp bark")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "aasp bark" in shown and "Who barks." in shown


def test_missing_arguments_are_named_without_their_help() -> None:
    with pytest.raises(AaspError, match=r"^missing MODEL, --at; see `aasp bark --help`$"):
        parse(Bark, [], prog="aasp bark")


@dataclass(frozen=True, kw_only=True)
class Howl(Bark):
    """Howl.

    A dog howls at length, at night and where no neighbour is near enough to hear it, which is seldom, and stops
    only for food.
    """

    dogs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Further dogs that howl, one
    after the other."""


def test_help_has_whole_paragraphs_and_the_defaults_that_say_something(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        parse(Howl, ["--help"], prog="aasp howl")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert (
        "A dog howls at length, at night and where no neighbour is" in lines
    )  # wrapped at 60, not where the source is
    page = " ".join(" ".join(line.strip("│ ") for line in lines).split())
    assert "Further dogs that howl, one after the other." in page and "Who barks. (required)" in page
    assert "How often. (default: 1)" in page and "(default: )" not in page and "(default: False)" not in page
