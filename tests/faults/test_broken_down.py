"""Trainings that fail because of data, settings or methods: one line and a page."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from commands import COMMANDS, ENCODER, METHOD

from aasp.cli.main import main
from aasp.training import checkpoint
from aasp.training.tracking import read_metrics

pytestmark = pytest.mark.slow
OPTIONS = ["--threads", "1", "--precision", "fp32", "--log-every", "1", "--checkpoint-every", "1"]


def words(recipe: str, sounds: Path, out: Path, *fields: str) -> list[str]:
    own = METHOD if recipe == "aasp_tiny" else []
    settings = [*ENCODER, *own, "data.batch=8", "data.crop_seconds=0.5", *fields]
    return ["pretrain", recipe, "--data", str(sounds), "--out", str(out), "--steps", "12", *OPTIONS, "--set", *settings]


def stopped(line: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run it; the line that it stops with, which names a page that is there."""
    assert main(line) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.endswith(f"; {out}/stopped.html shows how")
    assert re.search(r"[^;]+ stopped at step \d+: ", (out / "stopped.html").read_text())
    return message


@pytest.mark.parametrize("recipe", ["aasp_tiny", "m2d_tiny", "byol_a_tiny"])
def test_a_learning_rate_of_a_million(
    recipe: str, given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = stopped(words(recipe, given / "sounds", tmp_path, "optimizer.lr=1e6"), tmp_path, capsys)
    assert re.search(
        r"stopped at step \d+: (\S+ is not finite, 3 steps in a row|all embeddings|the teacher's)", message
    )


def test_a_fine_tuning_that_diverges(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [str(word) for word in COMMANDS["finetune"].words(given, tmp_path)]
    message = stopped([*line, "optimizer.lr=1e30", "optimizer.warmup=0"], tmp_path, capsys)
    assert "fine-tuning stopped at step 3: the classifier's outputs are not finite for 4 of 4 clips" in message


@pytest.mark.parametrize(
    ("recipe", "made_by"), [("aasp_tiny", "targets.layer_targets"), ("m2d_tiny", "methods.m2d.standardised_tokens")]
)
def test_a_target_that_is_constant(
    recipe: str,
    made_by: str,
    given: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = f"aasp.pretrain.{made_by}"
    true = pkgutil.resolve_name(place)

    def constant(*given: Any) -> Any:
        found = true(*given)
        return (torch.ones_like(found[0]), *found[1:]) if isinstance(found, tuple) else torch.ones_like(found)

    monkeypatch.setattr(place, constant)
    message = stopped(words(recipe, given / "sounds", tmp_path), tmp_path, capsys)
    assert "stopped at step 1: the teacher's targets are the same for every patch" in message


def test_a_clip_whose_spectrogram_overflows(tmp_path: Path) -> None:
    """Its samples are finite, their energy is not: it is skipped and listed, and no step is lost."""
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    random = np.random.default_rng(0)
    for i in range(48):
        soundfile.write(sounds / f"{i:02}.wav", 0.1 * random.standard_normal(12_000), 16_000)
    loud = (1e30 * random.standard_normal(12_000)).astype(np.float32)
    soundfile.write(sounds / "30.wav", loud, 16_000, subtype="FLOAT")
    out = tmp_path / "out"
    assert main(words("aasp_tiny", sounds, out)) == 0
    lines = read_metrics(out)
    assert lines[-1]["skipped_steps"] == 0 and all(line["loss"] is not None for line in lines)
    assert "30.wav" in (out / "skipped.csv").read_text() and "samples reach" in (out / "skipped.csv").read_text()
    last = checkpoint.latest(out)
    assert last is not None and all(tensor.isfinite().all() for tensor in checkpoint.load(last).model.values())
