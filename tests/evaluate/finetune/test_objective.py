"""The step of fine-tuning against plain numpy: losses, what moves, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aasp.evaluate.finetune.augment import AugmentConfig
from aasp.evaluate.finetune.objective import FinetuneObjective
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.features.pcen import PCENConfig
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.encoder import EncoderConfig
from aasp.training.optim import adamw, set_step

PLAIN = FinetuneRecipe(name="plain", summary="nothing is random", crop_seconds=0.64)


def build(encoder: AudioEncoder, recipe: FinetuneRecipe = PLAIN) -> FinetuneObjective:
    torch.manual_seed(1)
    config = AudioClassifierConfig(
        ("low", "middle", "high"), layers=recipe.layers, norm=recipe.norm, encoder=encoder.config
    )
    classifier = AudioClassifier(config)
    classifier.encoder.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        classifier.head.weight.normal_()
        classifier.head.bias.normal_()
    return FinetuneObjective(classifier, recipe)


def batch(clips: int = 4, several: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    length = torch.tensor([8_000, 6_000, 10_240, 3_000] * clips)[:clips]
    wave = 0.1 * torch.randn(clips, 10_240, generator=generator) * (torch.arange(10_240) < length[:, None])
    target = torch.eye(3)[torch.arange(clips) % 3]
    if several:
        target[0] = torch.tensor([1.0, 1.0, 0.0])
        target[1] = 0.0
    return {"wave": wave, "length": length, "target": target}


def numpy_loss(logits: np.ndarray, target: np.ndarray, recipe: FinetuneRecipe) -> float:
    total = 0.0
    classes = logits.shape[1]
    for row, labels in zip(logits.astype(np.float64), target, strict=True):
        for k in range(classes):
            wanted = (1 - recipe.label_smoothing) * labels[k] + recipe.label_smoothing / classes
            if recipe.loss == "softmax":
                total -= wanted * (row[k] - np.log(np.exp(row).sum()))
            else:
                p = 1 / (1 + np.exp(-row[k]))
                total -= wanted * np.log(p) + (1 - wanted) * np.log(1 - p)
    return total / len(logits)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_by_hand(loss: Any, smoothing: float, encoder: AudioEncoder) -> None:
    recipe = replace(PLAIN, loss=loss, label_smoothing=smoothing)
    objective = build(encoder, recipe)
    given = batch(several=loss == "sigmoid")
    output = objective(given)
    logits = objective.model(given["wave"], given["length"]).detach().numpy()
    expected = numpy_loss(logits, given["target"].numpy(), recipe)
    assert output["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert output["losses"].keys() == {loss} and output["losses"][loss] is output["loss"]
    right = [given["target"][row, guess] > 0 for row, guess in enumerate(logits.argmax(1))]
    assert output["diagnostics"]["hits"].item() == pytest.approx(np.mean(right))


def state(objective: FinetuneObjective) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in objective.state_dict().items()}


def train(objective: FinetuneObjective, steps: int) -> list[dict[str, Tensor]]:
    """The state before, and after each real step."""
    objective.train()
    optimizer = adamw(objective, rate_of=objective.learning_rate_share)
    states = [state(objective)]
    for _ in range(steps):
        set_step(optimizer, 1e-2, 0.05)
        objective(batch())["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        states.append(state(objective))
    return states


def moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    return {name.removeprefix("model.") for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("mode", ["all", "frozen-stem", "head"])
def test_each_mode_trains_its_own_parameters_only(mode: Any, norm: Any, encoder: AudioEncoder) -> None:
    objective = build(encoder, replace(PLAIN, train=mode, norm=norm, layers="weighted"))
    states = train(objective, 2)
    trainable = {name for name, _ in objective.model.named_parameters()}
    stem = {name for name in trainable if name.startswith("encoder.stem.")}
    inner = {name for name in trainable if name.startswith("encoder.")}
    expected = {"all": trainable, "frozen-stem": trainable - stem, "head": trainable - inner}[mode]
    assert stem and inner > stem
    statistics = {f"norm.{name}" for name, _ in objective.model.norm.named_buffers()}
    assert moved(states[0], states[2]) == expected | statistics
    assert len(statistics) == (3 if norm == "batch" else 0)


def test_a_front_end_that_is_trained_gets_gradients(encoder: AudioEncoder) -> None:
    config = replace(encoder.config, frontend=PCENConfig(trained=True))
    recipe = replace(PLAIN, augment=AugmentConfig(gain_db=3.0, roll_seconds=0.1, mixup=1.0, mask=0.2))
    objective = build(AudioEncoder(config), recipe)
    objective(batch())["loss"].backward()
    learned = dict(objective.model.encoder.frontend.named_parameters())
    assert learned and all(one.grad is not None and bool(one.grad.abs().sum() > 0) for one in learned.values())


def test_rates_fall_layer_by_layer_as_in_eat(encoder: AudioEncoder) -> None:
    """EAT: decay 0.65 over twelve blocks, its stem at the full rate."""
    size = EncoderConfig(width=16, depth=12, heads=2, norm="post")
    config = replace(encoder.config, encoder=size)
    classifier = AudioClassifier(AudioClassifierConfig(("a", "b"), layers="weighted", encoder=config))
    objective = FinetuneObjective(classifier, replace(PLAIN, layer_decay=0.65))
    found = {name: objective.learning_rate_share(name) for name, _ in objective.named_parameters()}
    for name, share in found.items():
        if ".blocks." in name:
            assert share == pytest.approx(0.65 ** (12 - int(name.split(".blocks.")[1].split(".")[0]))), name
        else:
            assert share == 1.0, name
    assert found["model.encoder.encoder.blocks.0.norm1.weight"] == pytest.approx(0.65**12)
    assert found["model.encoder.encoder.blocks.11.norm1.weight"] == 0.65
