"""Fine-tuning with few labels: it begins as a probe, learns from the drawn clips alone, and repeats itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from aasp.errors import AaspError
from aasp.evaluate.draws import few_label_rounds
from aasp.evaluate.finetune.data import Finetuning, measured
from aasp.evaluate.finetune.few_labels import cut, few_label_result
from aasp.evaluate.finetune.objective import embeddings
from aasp.evaluate.finetune.recipes import lp_ft
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.task import Task
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder


def request_for(encoder: AudioEncoder, tones: Callable, steps: int, lr: float = 1e-3) -> tuple[Finetuning, np.ndarray]:
    labelled, seconds = measured(tones())
    recipe = cut(seconds, steps, 8, 2.0)
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, lr=lr))
    return Finetuning(encoder, "m", labelled, recipe), seconds


def head_inputs(request: Finetuning) -> np.ndarray:
    """What the head reads before the first step, as a fine-tuning with a run computes it."""
    classifier = AudioClassifier(request.classifier_config())
    classifier.encoder.load_state_dict(request.encoder.state_dict())
    return embeddings(classifier, request.labelled.sounds)[0]


def trained(request: Finetuning, seconds: np.ndarray, per_class: int = 3) -> tuple[ProbeResult, Task]:
    task = Task.of(request.labelled, choose="held_out")
    rounds = few_label_rounds(task, per_class, 1000)
    return few_label_result(request, task, rounds, seconds, head_inputs(request)), task


def test_a_few_labels_separate_tones_and_a_repeated_call_agrees(encoder: AudioEncoder, tones: Callable) -> None:
    request, seconds = request_for(encoder, tones, steps=4)
    one, task = trained(request, seconds)
    two, _ = trained(request, seconds)
    assert one.score > 0.8
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    np.testing.assert_array_equal(one.test, task.test)
    np.testing.assert_array_equal(one.truth, task.y[task.test])


def test_the_encoder_that_is_given_stays_as_it_is(encoder: AudioEncoder, tones: Callable) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    request, seconds = request_for(encoder, tones, steps=2)
    trained(request, seconds)
    assert all((tensor == before[name]).all() for name, tensor in encoder.state_dict().items())


def test_a_whitening_of_the_encoder_is_not_used(encoder: AudioEncoder, tones: Callable) -> None:
    whitened = AudioEncoder(replace(encoder.config, whitened=4))
    whitened.load_state_dict(encoder.state_dict(), strict=False)
    request, seconds = request_for(encoder, tones, steps=2)
    task = Task.of(request.labelled, choose="held_out")
    rounds, X = few_label_rounds(task, 3, 1000), head_inputs(request)
    one, two = (
        few_label_result(replace(request, encoder=given), task, rounds, seconds, X) for given in (encoder, whitened)
    )
    np.testing.assert_array_equal(one.probabilities, two.probabilities)


def test_more_steps_change_the_predictions(encoder: AudioEncoder, tones: Callable) -> None:
    """A learning rate close to zero leaves the initial probe unchanged; a higher one does not."""
    still, moved = (trained(*request_for(encoder, tones, steps=3, lr=lr))[0].probabilities for lr in (1e-12, 1e-2))
    assert np.abs(still - moved).max() > 0.01
    once = trained(*request_for(encoder, tones, steps=1, lr=1e-12))[0].probabilities
    np.testing.assert_allclose(still, once, atol=1e-4)


def test_the_test_part_is_not_trained_on(encoder: AudioEncoder, tones: Callable) -> None:
    """Other labels there, and other vectors, leave every prediction as it was."""
    request, seconds = request_for(encoder, tones, steps=2)
    clean, task = trained(request, seconds)
    (r,) = few_label_rounds(task, 3, 1000)
    X, y = head_inputs(request), task.y.copy()
    X[task.test], y[task.test] = 1e3, (y[task.test] + 1) % 3
    other = few_label_result(request, replace(task, y=y), [r], seconds, X)
    np.testing.assert_array_equal(other.probabilities, clean.probabilities)


def test_the_recipe_is_cut_to_the_clips() -> None:
    long, short = cut(np.full(9, 5.0), 10, 16, 2.0), cut(np.array([0.3] * 9 + [4.0]), 10, 16, 2.0)
    assert (long.steps, long.batch, long.crop_seconds) == (10, 16, 2.0)
    assert long.augment == lp_ft().augment and long.head == "probe"
    assert short.crop_seconds < 1.0 and short.augment.patchout == 0


def test_several_labels_a_clip_are_refused(encoder: AudioEncoder, tones: Callable) -> None:
    request, seconds = request_for(encoder, tones, steps=1)
    several = replace(request.labelled, multilabel=True)
    task = Task.of(several, choose="held_out")
    request = replace(request, labelled=several, recipe=replace(request.recipe, loss="sigmoid"))
    with pytest.raises(AaspError, match="several labels per clip; few labels per class"):
        few_label_result(request, task, [], seconds, np.zeros((21, 4)))
