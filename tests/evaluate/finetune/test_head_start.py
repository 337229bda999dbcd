"""A fitted head is the probe's: the same probabilities before the first step, and a standardisation that stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.features import clip_features
from aasp.evaluate.finetune import objective
from aasp.evaluate.finetune.data import Finetuning
from aasp.evaluate.finetune.objective import STRENGTH, FinetuneObjective, fit_head
from aasp.evaluate.finetune.predict import class_probabilities
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.task import Task
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder
from aasp.training import engine

Tones = Callable[..., LabelledSet]


def fitted(encoder: AudioEncoder, recipe: FinetuneRecipe, labelled: LabelledSet) -> tuple[AudioClassifier, Task]:
    classifier = AudioClassifier(Finetuning(encoder, "model", labelled, recipe).classifier_config())
    classifier.encoder.load_state_dict(encoder.state_dict())
    task = Task.of(labelled, choose="held_out", seed=0)
    train = task.rounds[0].train
    fit_head(classifier, [labelled.sounds[row] for row in train], task.y[train], recipe.loss, engine.accelerator())
    return classifier.eval(), task


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_it_is_scikit_learns_head_on_the_same_embeddings(
    norm: Any, encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones
) -> None:
    labelled = tones()
    classifier, task = fitted(encoder, replace(recipe, norm=norm, pooling="flat", window="pretrained"), labelled)
    key = (2, "flat")
    X = clip_features(encoder, labelled.sounds, [key])[key].astype(np.float64)
    if norm == "layer":
        X = (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + 1e-6)
    train = task.rounds[0].train
    X = StandardScaler().fit(X[train]).transform(X)
    head = LogisticRegression(C=STRENGTH / X.shape[1], tol=1e-10, max_iter=10_000).fit(X[train], task.y[train])
    found = class_probabilities(classifier, labelled.sounds)
    np.testing.assert_allclose(found, head.predict_proba(X), atol=1e-4)


def test_classes_scored_on_their_own_begin_as_regressions_of_their_own(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones
) -> None:
    labelled = tones()
    classifier, task = fitted(encoder, replace(recipe, loss="sigmoid", pooling="flat", window="pretrained"), labelled)
    X = clip_features(encoder, labelled.sounds, [(2, "flat")])[2, "flat"].astype(np.float64)
    train = task.rounds[0].train
    scaler = StandardScaler().fit(X[train])
    logits = X @ (weight := (classifier.head.weight.detach().double().numpy() / scaler.scale_)).T
    logits += classifier.head.bias.detach().numpy() - weight @ scaler.mean_
    X = scaler.transform(X)
    for k in range(3):
        head = LogisticRegression(C=STRENGTH / X.shape[1], tol=1e-10, max_iter=10_000).fit(X[train], task.y[train] == k)
        np.testing.assert_allclose(logits[:, k], head.decision_function(X), atol=1e-3)
    sigmoids = 1 / (1 + np.exp(-logits))
    found = class_probabilities(classifier, labelled.sounds)
    np.testing.assert_allclose(found, sigmoids / sigmoids.sum(1, keepdims=True), atol=1e-4)


def test_training_leaves_the_standardisation_alone(encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones) -> None:
    classifier, _ = fitted(encoder, replace(recipe, head="probe"), tones())
    before = classifier.norm.running_mean.clone()
    step = FinetuneObjective(classifier, replace(recipe, head="probe", augment=type(recipe.augment)())).train()
    batch = {"wave": 0.1 * torch.randn(4, 4_000), "length": torch.full((4,), 4_000), "target": torch.eye(4, 3)}
    step(batch)["loss"].backward()
    assert torch.equal(classifier.norm.running_mean, before)
    FinetuneObjective(classifier, recipe).train()(batch)
    assert not torch.equal(classifier.norm.running_mean, before), "a random head's does move"


def test_a_class_that_no_train_clip_has_stays_trainable(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones
) -> None:
    labels = [("middle",) if label == ("high",) and clip < 9 else label for clip, label in enumerate(tones().labels)]
    classifier, _ = fitted(encoder, recipe, tones(labels=labels))
    assert torch.isfinite(classifier.head.bias).all()


def test_no_usable_clip(encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones) -> None:
    labelled = tones()
    for sound in labelled.sounds[:9]:
        Path(str(sound)).write_bytes(b"no audio")
    with pytest.raises(AaspError, match="no usable audio to embed: all 9 skipped"):
        fitted(encoder, recipe, labelled)


@pytest.mark.parametrize("broken", [(), (0, 3), tuple(range(9))])
def test_processes_share_the_embedding_and_have_one_head(
    broken: tuple[int, ...],
    encoder: AudioEncoder,
    recipe: FinetuneRecipe,
    tones: Tones,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two processes, one after the other: the first time only to learn what each gives to the others."""
    labelled = tones()
    task = Task.of(labelled, choose="held_out", seed=0)
    train = task.rounds[0].train
    sounds = [labelled.sounds[row] for row in train]
    for clip in broken:
        Path(str(sounds[clip])).write_bytes(b"no audio")
    config = Finetuning(encoder, "model", labelled, recipe).classifier_config()

    class Asked(Exception):
        pass

    def call(process: int, gather: Any, broadcast: Any) -> AudioClassifier:
        torch.manual_seed(0)
        classifier = AudioClassifier(config)
        machine = SimpleNamespace(num_processes=2, process_index=process, is_main_process=process == 0)
        with monkeypatch.context() as here:
            here.setattr(objective, "gather_object", gather)
            here.setattr(objective, "broadcast_object_list", broadcast)
            fit_head(classifier, sounds, task.y[train], recipe.loss, machine)  # type: ignore[arg-type]
        return classifier

    shares: list[Any] = []

    def note(share: list[Any]) -> None:
        shares.extend(share)
        raise Asked

    for process in (0, 1):
        with pytest.raises(Asked):
            call(process, note, None)
    assert [len(share) for share, _ in shares] == [5, 4], "each embeds its own"
    if len(broken) == 9:
        for process in (0, 1):  # no process waits for one that has stopped
            with pytest.raises(AaspError, match="no usable audio to embed: all 9 skipped"):
                call(process, lambda share: shares, None)
        return
    sent: list[Any] = []
    first = call(0, lambda share: shares, lambda head: sent.extend(head) or head)
    second = call(1, lambda share: shares, lambda head: sent if head == [None] else pytest.fail("fitted twice"))
    torch.manual_seed(0)
    alone = AudioClassifier(config)
    fit_head(alone, sounds, task.y[train], recipe.loss, engine.accelerator())
    for name, tensor in alone.state_dict().items():
        assert torch.equal(first.state_dict()[name], second.state_dict()[name])
        torch.testing.assert_close(first.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
