"""What the README, the docs and `aasp --help` show to type works, and their links lead somewhere."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli import alias
from aasp.cli import main as cli
from aasp.cli.arguments import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "generated" not in page.parts]  # by `make docs`, of these and of the recipes


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def typed(text: str) -> list[str]:
    """The lines that run `aasp`, without their comments; a backslash joins a line with the next."""
    lines = (line.partition(" #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line.startswith("aasp ") and "[ARGUMENTS]" not in line and "COMMAND" not in line]


TYPED = sorted({line for page in PAGES for block in blocks(page, "(?:sh|bash|console)") for line in typed(block)})
TYPED += [line for line in typed(cli.HELP) if line not in TYPED]


class Parsed(Exception):
    """Stops a command once its arguments have been read."""


@pytest.mark.parametrize("line", TYPED)
def test_every_command_shown_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, name, *argv = shlex.split(line)
    assert name in cli.COMMANDS
    if name == "alias":
        what, *argv = argv
        assert what in alias.COMMANDS
        name = f"alias_{what}"
    command = importlib.import_module(f"aasp.cli.{name}")

    def parse_only(*args: object, **options: object) -> None:
        parse(*args, **options)  # type: ignore[arg-type]
        raise Parsed

    monkeypatch.setattr(command, "parse", parse_only)
    with pytest.raises(Parsed):
        command.run(argv)


def test_enough_is_shown() -> None:
    shown = {line.split()[1] for line in TYPED}
    assert {"pretrain", "embed", "linear", "stats", "scan", "info", "recipes"} <= shown


# The blocks of deploy.md, in several languages, are run by tests/deploy/test_page.py; those of
# the tutorial, between its commands, by tests/test_package.py.
ELSEWHERE = {"deploy.md", "tutorial.md"}
PYTHON = [page for page in PAGES if blocks(page, "python") and page.name not in ELSEWHERE]


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.name)
def test_every_python_example_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
    from aasp.model.encoder import EncoderConfig

    AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(width=8, depth=1, heads=2))).save(
        tmp_path / "runs/tiny/model"
    )
    soundfile.write(tmp_path / "dog.wav", np.zeros(16_000, np.float32), 16_000)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["embed", "runs/tiny", "dog.wav", "--frames", "--out", "frames.npz"]) == 0
    namespace: dict[str, object] = {"repository": str(ROOT)}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


def test_make_knows_its_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {
        target for page in PAGES for target in re.findall(r"(?<=`)make ([a-z-]+)", page.read_text(encoding="utf-8"))
    }
    targets |= {
        line.split()[1]
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if line.startswith("make ")
    }
    assert {"demo", "test", "docs"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
