"""`aasp stats`: the line it prints makes a recipe's front end fit the set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.audio.io import read
from aasp.cli.main import main
from aasp.config import with_fields
from aasp.features.logmel import LogMel, LogMelConfig
from aasp.pretrain import recipes


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder, rng = tmp_path / "sounds", np.random.default_rng(0)
    folder.mkdir()
    for i, (rate, seconds) in enumerate([(16_000, 1.0), (8_000, 2.0), (44_100, 0.5)]):
        soundfile.write(folder / f"{i}.wav", 0.1 * (i + 1) * rng.standard_normal(round(rate * seconds)), rate)
    return folder


@pytest.mark.parametrize(("preset", "spread"), [("kaldi", 0.5), ("slaney80", 1.0)])
def test_the_line_to_paste_normalises_the_set(
    preset: str, spread: float, sounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", str(sounds), "--preset", preset]) == 0
    settings = capsys.readouterr().out.partition("--set ")[2].split()
    recipe = with_fields(recipes.get("aasp_tiny"), dict(setting.split("=") for setting in settings))
    front = LogMel(recipe.model.frontend)
    mel = torch.cat([front(torch.from_numpy(read(path))[None])[0][0] for path in sorted(sounds.iterdir())])
    assert mel.mean().item() == pytest.approx(0, abs=1e-3)
    assert mel.std(correction=0).item() == pytest.approx(spread, abs=1e-3)
    expected = LogMelConfig.kaldi() if preset == "kaldi" else LogMelConfig.slaney80()
    same = {"mean": 0.0, "std": 1.0}
    assert with_fields(recipe.model.frontend, same) == with_fields(expected, same)


def test_bad_files_are_counted_and_named(sounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(sounds)]) == 0
    clean = capsys.readouterr().out
    (sounds / "empty.wav").touch()
    soundfile.write(sounds / "nan.wav", np.full(8000, np.nan, np.float32), 16_000, subtype="FLOAT")
    soundfile.write(sounds / "loud.wav", np.full(8000, 32_768.0, np.float32), 16_000, subtype="FLOAT")
    assert main(["stats", str(sounds)]) == 0
    captured = capsys.readouterr()
    assert captured.out.partition("--set")[2] == clean.partition("--set")[2]
    assert "skipped 3" in " ".join(captured.out.split())
    assert "empty.wav: empty file" in captured.err and "nan.wav: NaN" in captured.err
    assert "loud.wav: samples reach 32768, which is not a waveform in -1 to 1" in captured.err


def test_nothing_but_a_file_that_fails_when_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan, np.float32), 16_000, subtype="FLOAT")
    assert main(["stats", str(tmp_path)]) == 2
    assert "nan.wav" in capsys.readouterr().err
