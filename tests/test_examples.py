"""The examples run, and find what they look for."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_similar_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    low, high = np.eye(2, 8)
    embedding = np.stack([low, high, low + 0.1, high + 0.1]).astype(np.float32)
    np.savez(tmp_path / "x.npz", path=np.array(["a", "b", "c", "d"]), embedding=embedding)
    monkeypatch.setattr(sys, "argv", ["similar_sounds.py", str(tmp_path / "x.npz"), "a"])
    runpy.run_path(str(EXAMPLES / "similar_sounds.py"), run_name="__main__")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][1] == "c"
    assert float(lines[0][0]) == pytest.approx(0.92, abs=0.01)


@pytest.mark.slow
def test_aape_in_your_transformer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["aape_in_your_transformer.py", "2"])
    runpy.run_path(str(EXAMPLES / "aape_in_your_transformer.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert shown.startswith("convolution ") and "\nAaPE " in shown
