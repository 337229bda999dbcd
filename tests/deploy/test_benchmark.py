"""`benchmarks/deploy.py`: its comparison of engines, on a small set and a small model."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.model.audio_encoder import AudioEncoder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def tones(folder: Path) -> list[str]:
    """A set as `esc10` lies on disk: five folds, of each two sounds of either of two classes."""
    random, rows = np.random.default_rng(0), []
    time = np.arange(8_000) / 16_000
    (folder / "esc10").mkdir()
    for number in range(20):
        label, fold, name = ("low", "high")[number % 2], 1 + number % 5, f"{number}.wav"
        hertz = {"low": 200, "high": 2_000}[label] * random.uniform(0.9, 1.1)
        wave = 0.3 * np.sin(2 * np.pi * hertz * time) + 0.01 * random.normal(size=8_000)
        soundfile.write(folder / "esc10" / name, wave, 16_000)
        rows.append({"path": name, "label": label, "fold": fold, "src_file": number})
    with (folder / "esc10" / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return [str(folder / "esc10" / str(row["path"])) for row in rows]


@pytest.mark.slow
def test_engines_are_compared_under_one_probe(
    trained: AudioEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="needs transformers: pip install 'aasp-audio[hf]'")
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    deploy = importlib.import_module("deploy")
    trained.save(tmp_path / "model")
    sounds = tones(tmp_path)[:4]
    sets = list(importlib.import_module("ruler_sets").chosen_sets("esc10", [], tmp_path, False))
    rows = deploy.accuracy(tmp_path / "model", sets, sounds, 1)
    lose = [f"points of esc10 that ONNX {name} loses" for name in ("fp32", "int8")]
    mean = [f"points that ONNX {name} loses, mean of 1 sets" for name in ("fp32", "int8")]
    assert [row.what for row in rows] == [*lose, *mean, "largest difference from PyTorch, ONNX fp32, × 1e-5"]
    assert rows[0].ratio.median == rows[2].ratio.median == 0.0, "two classes far apart, told alike by both"
    assert 0 < rows[4].ratio.median <= 1
