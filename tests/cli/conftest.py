"""Sounds that several commands are tried on, and `aasp predict` in the working directory of a test's own `folder`."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli.main import main


@pytest.fixture(scope="session")
def hums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hums of two kinds by six speakers."""
    folder = tmp_path_factory.mktemp("hums")
    random = np.random.default_rng(0)
    with (folder / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split", "speaker"])
        for n in range(24):
            label, speaker = "low" if n % 2 else "high", n // 4
            pitch = (200 if n % 2 else 1500) * (1 + 0.02 * speaker)
            wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(16_000) / 16_000) + 0.01 * random.standard_normal(16_000)
            soundfile.write(folder / f"{n}.wav", wave, 16_000)
            rows.writerow([f"{n}.wav", label, ("train", "train", "train", "valid", "test", "test")[speaker], speaker])
    return folder


@pytest.fixture
def shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """`aasp predict` with some arguments: its output and its errors."""

    def run(*argv: str, code: int = 0) -> tuple[str, str]:
        assert main(["predict", *argv]) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run
