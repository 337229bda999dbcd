"""Sampling by hand; what can't be opened is named and left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasp.audio.sounds import Recording
from aasp.config import from_dict, to_dict
from aasp.errors import AaspError
from aasp.evaluate.finetune.data import Finetuning, TrainPart, clip_weights, measured
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.model.audio_classifier import AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder


def test_a_clip_weighs_as_much_as_its_labels_are_rare() -> None:
    y = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    np.testing.assert_allclose(clip_weights(y, 3), [1 / 3, 1 / 3 + 1, 1 / 3, 1e-3 / 3])
    np.testing.assert_allclose(clip_weights(np.array([0, 0, 0, 2]), 3), [1 / 3, 1 / 3, 1 / 3, 1.0])


def test_files_that_cannot_be_opened_are_named_and_left_out(tones: Any) -> None:
    labelled = tones()
    Path(labelled.sounds[1]).write_bytes(b"no sound")
    Path(labelled.sounds[20]).unlink()
    kept, seconds = measured(labelled)
    assert len(kept) == len(seconds) == 19 and seconds.min() >= 0.2 and seconds.max() <= 0.3
    assert [Path(clip.path).name for clip in kept.missing] == ["01.wav", "20.wav"]
    assert "not audio" in kept.missing[0].reason and kept.missing[1].reason == "no such file"
    assert kept.labels[:2] == [("low",), ("high",)], "labels stay with their clips"
    part = TrainPart(kept, seconds, np.array([3, 0]))
    assert len(part) == 2 and part.sound(1) == kept.sounds[0] and part.seconds.tolist() == [seconds[3], seconds[0]]


def test_a_classifier_keeps_the_channel_that_all_its_clips_had(
    tones: Any, encoder: AudioEncoder, recipe: FinetuneRecipe
) -> None:
    labelled = tones()
    second = [Recording(sound, 2) for sound in labelled.sounds]
    for sounds, channels in ((labelled.sounds, "mean"), (second, "2"), ([*second[1:], labelled.sounds[0]], "mean")):
        config = Finetuning(encoder, "m", replace(labelled, sounds=sounds), recipe).classifier_config()
        assert from_dict(AudioClassifierConfig, to_dict(config), "config.json").channels == channels


def test_nothing_that_can_be_opened(tones: Any) -> None:
    labelled = tones()
    for sound in labelled.sounds:
        Path(sound).unlink()
    with pytest.raises(AaspError, match=r"tones/: no usable clip, the first .*00.wav: no such file"):
        measured(labelled)
