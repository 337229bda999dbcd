"""The window that a fine-tuned encoder gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aasp.evaluate.finetune.data import Finetuning
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.model.audio_encoder import AudioEncoder


@pytest.mark.parametrize(
    ("window", "crop", "expected"), [("crop", 1.0, 1.28), ("crop", 0.3, 0.64), ("pretrained", 1.0, 0.64)]
)
def test_the_window_is_kept_or_holds_the_whole_crop(
    window: Any, crop: float, expected: float, encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Any
) -> None:
    request = Finetuning(encoder, "model", tones(), replace(recipe, window=window, crop_seconds=crop))
    config = request.classifier_config()
    assert config.encoder.window_seconds == pytest.approx(expected) and config.clip_seconds == crop
    frames = encoder.config.frontend.frames(round(16_000 * crop))
    assert window == "pretrained" or encoder.stem.grid(frames)[0] <= config.encoder.window_patches
