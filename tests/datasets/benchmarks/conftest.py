"""Lets the tests here share `trees`, and writes files that only need to exist."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def plant(tmp_path: Path) -> Callable[..., Path]:
    """Writes sound files below a root, by their relative names, and returns the root."""
    import trees

    contents: dict[str, bytes] = {}  # encoded once for each format: the rest are copies

    def write(*names: str) -> Path:
        for path in (tmp_path / name for name in names):
            if path.suffix in contents:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(contents[path.suffix])
            else:
                contents[path.suffix] = trees.sound(path).read_bytes()
        return tmp_path

    return write


@pytest.fixture
def list_of(tmp_path: Path) -> Callable[[str, str], None]:
    """Writes a published list below the same root."""

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return write
