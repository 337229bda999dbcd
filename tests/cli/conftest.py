"""A command run in the working directory that a test's own `folder` makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aasp.cli.main import main


@pytest.fixture
def shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """`aasp predict` with some arguments: what it says, and its errors."""

    def run(*argv: str, code: int = 0) -> tuple[str, str]:
        assert main(["predict", *argv]) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run
