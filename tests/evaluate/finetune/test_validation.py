"""The best checkpoint is the model: higher score, then lower loss, then the earlier; each is scored once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aasp.audio.sounds import Sound
from aasp.datasets.index import Skipped
from aasp.evaluate.finetune import run as module
from aasp.evaluate.finetune.results import history
from aasp.evaluate.finetune.run import Validation
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoder
from aasp.training.run import Run

TRUTH = np.array([0, 1, 0])


class Scorer:
    """Replaces the classifier: its outputs for the three clips, call by call."""

    def __init__(self, answers: list[list[float]]) -> None:
        self.answers, self.skip = answers, False

    def __call__(self, classifier: AudioClassifier, sounds: list[Sound], *, skipped: list[Skipped]) -> np.ndarray:
        right = np.array(self.answers.pop(0))
        if self.skip:
            skipped.append(Skipped("c.wav", "broken"))
            right[2] = np.nan
        return np.stack([np.where(k == TRUTH, right, 1 - right) for k in (0, 1)], axis=1)


@pytest.fixture
def classifier(encoder: AudioEncoder) -> AudioClassifier:
    return AudioClassifier(AudioClassifierConfig(("a", "b"), encoder=encoder.config))


def tensors(classifier: AudioClassifier, step: int) -> Mapping[str, Tensor]:
    """An objective's tensors, with the step as the head's bias."""
    ours = {f"model.{name}": tensor.clone() for name, tensor in classifier.state_dict().items()}
    return ours | {"model.head.bias": torch.full((2,), float(step))}


def scored(
    run: Path, classifier: AudioClassifier, scorer: Scorer, monkeypatch: Any, unusable: list[Skipped] | None = None
) -> Validation:
    monkeypatch.setattr(module, "class_probabilities", scorer)
    names = ["a.wav", "b.wav", "c.wav"]
    return Validation(Run(run), classifier, names, TRUTH, [] if unusable is None else unusable)


def chosen(run: Path) -> float:
    return load_classifier(run / "model").head.bias[0].item()


def test_the_best_is_kept_and_ties_go_to_the_lower_loss(
    tmp_path: Path, classifier: AudioClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [[0.9, 0.1, 0.1], [0.9, 0.9, 0.1], [0.8, 0.8, 0.1], [0.9, 0.9, 0.2], [0.9, 0.9, 0.2], [0.9, 0.1, 0.1]]
    validation = scored(tmp_path, classifier, Scorer(answers), monkeypatch)
    kept = []
    for step in range(1, 7):
        validation(step, tensors(classifier, step))
        kept.append(chosen(tmp_path))
    assert kept == [1, 2, 2, 4, 4, 4]
    lines = history(tmp_path)
    assert [line["best"] for line in lines] == [True, True, False, True, False, False]
    assert [line["score"] for line in lines] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 1 / 3])
    assert lines[3]["loss"] == pytest.approx(-np.log([0.9, 0.9, 0.2]).mean())
    assert lines == validation.lines


def test_a_step_is_scored_once_also_after_a_restart(
    tmp_path: Path, classifier: AudioClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scored(tmp_path, classifier, Scorer([[0.9, 0.9, 0.1]]), monkeypatch)
    first(5, tensors(classifier, 5))
    again = scored(tmp_path, classifier, Scorer([[0.9, 0.1, 0.1]]), monkeypatch)
    again(5, tensors(classifier, 5))
    again(10, tensors(classifier, 10))
    assert [line["step"] for line in history(tmp_path)] == [5, 10]
    assert chosen(tmp_path) == 5, "the score from before the restart still stands"


def test_a_crash_while_writing_leaves_the_lines_there_were(
    tmp_path: Path, classifier: AudioClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = scored(tmp_path, classifier, Scorer([[0.9, 0.9, 0.1], [0.9, 0.9, 0.9]]), monkeypatch)
    validation(1, tensors(classifier, 1))

    def torn(path: Path, text: str) -> None:
        path.write_bytes(text.encode()[:-20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken, pytest.raises(OSError):
        broken.setattr(Path, "write_text", torn)
        validation(2, tensors(classifier, 2))
    assert [line["step"] for line in history(tmp_path)] == [1]
    again = scored(tmp_path, classifier, Scorer([[0.9, 0.9, 0.9]]), monkeypatch)
    again(2, tensors(classifier, 2))
    assert [line["step"] for line in history(tmp_path)] == [1, 2] and chosen(tmp_path) == 2


def test_clips_that_cannot_be_decoded_are_named_once_and_not_scored(
    tmp_path: Path, classifier: AudioClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, unusable = Scorer([[0.9, 0.1, 0.1], [0.9, 0.9, 0.1]]), []
    scorer.skip = True
    validation = scored(tmp_path, classifier, scorer, monkeypatch, unusable)
    validation(1, tensors(classifier, 1))
    validation(2, tensors(classifier, 2))
    assert unusable == [Skipped("c.wav", "broken")]
    assert [line["score"] for line in history(tmp_path)] == [0.5, 1.0]
