"""The step of fine-tuning against plain numpy: losses, mixing, patchout, what moves, and the running average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aasp.evaluate.finetune.objective import FinetuneObjective, Mix, augmented
from aasp.evaluate.finetune.recipe import AugmentConfig, FinetuneRecipe
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.encoder import EncoderConfig
from aasp.training.optim import adamw, parameter_groups, set_step

PLAIN = FinetuneRecipe(name="plain", summary="nothing is random", crop_seconds=0.64)


def build(encoder: AudioEncoder, recipe: FinetuneRecipe = PLAIN, weights: Tensor | None = None) -> FinetuneObjective:
    torch.manual_seed(1)
    config = AudioClassifierConfig(
        ("low", "middle", "high"), layers=recipe.layers, norm=recipe.norm, encoder=encoder.config
    )
    classifier = AudioClassifier(config)
    classifier.encoder.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        classifier.head.weight.normal_()
        classifier.head.bias.normal_()
    return FinetuneObjective(classifier, recipe, weights)


def batch(clips: int = 4, several: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    length = torch.tensor([8_000, 6_000, 10_240, 3_000] * clips)[:clips]
    wave = 0.1 * torch.randn(clips, 10_240, generator=generator) * (torch.arange(10_240) < length[:, None])
    target = torch.eye(3)[torch.arange(clips) % 3]
    if several:
        target[0] = torch.tensor([1.0, 1.0, 0.0])
        target[1] = 0.0
    return {"wave": wave, "length": length, "target": target}


def numpy_loss(logits: np.ndarray, target: np.ndarray, recipe: FinetuneRecipe, weights: np.ndarray) -> float:
    total = 0.0
    classes = logits.shape[1]
    for row, labels in zip(logits.astype(np.float64), target, strict=True):
        for k in range(classes):
            wanted = (1 - recipe.label_smoothing) * labels[k] + recipe.label_smoothing / classes
            if recipe.loss == "softmax":
                total -= weights[k] * wanted * (row[k] - np.log(np.exp(row).sum()))
            else:
                p = 1 / (1 + np.exp(-row[k]))
                total -= weights[k] * (wanted * np.log(p) + (1 - wanted) * np.log(1 - p))
    return total / len(logits)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0)])
def test_the_loss_by_hand(loss: Any, smoothing: float, weights: Any, encoder: AudioEncoder) -> None:
    recipe = replace(PLAIN, loss=loss, label_smoothing=smoothing)
    objective = build(encoder, recipe, None if weights is None else torch.tensor(weights, dtype=torch.float64))
    given = batch(several=loss == "sigmoid")
    output = objective(given)
    logits = objective.model(given["wave"], given["length"]).detach().numpy()
    expected = numpy_loss(logits, given["target"].numpy(), recipe, np.array(weights or (1.0, 1.0, 1.0)))
    assert output["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert output["losses"].keys() == {loss} and output["losses"][loss] is output["loss"]
    right = [given["target"][row, guess] > 0 for row, guess in enumerate(logits.argmax(1))]
    assert output["diagnostics"]["hits"].item() == pytest.approx(np.mean(right))


def test_mixing_by_hand() -> None:
    torch.manual_seed(0)
    mix = Mix.draw(500, 0.8)
    assert mix.weight_B.min() >= 0.5 and mix.weight_B.max() <= 1 and mix.weight_B.mean() < 0.9
    assert sorted(mix.partner_B.tolist()) == list(range(500))
    values = np.random.default_rng(0).random((500, 2, 3))
    mixed = mix(torch.from_numpy(values)).numpy()
    for row, (weight, partner) in enumerate(zip(mix.weight_B.tolist(), mix.partner_B.tolist(), strict=True)):
        np.testing.assert_allclose(mixed[row], weight * values[row] + (1 - weight) * values[partner], rtol=1e-6)
    lengths = torch.arange(500)
    longer = [max(row, partner) for row, partner in enumerate(mix.partner_B.tolist())]
    assert mix.longer(lengths).tolist() == longer


@pytest.mark.parametrize("where", ["waveform", "log-mel"])
def test_mixup_mixes_sounds_and_labels_alike(where: Any, encoder: AudioEncoder) -> None:
    given = batch()
    config = AugmentConfig(mixup=1.0, mixup_on=where)
    torch.manual_seed(3)
    mel, frames, target = augmented(encoder, config, given["wave"], given["length"], given["target"])
    torch.manual_seed(3)
    torch.rand(())
    mix = Mix.draw(4, config.mixup_alpha)
    assert torch.equal(target, mix(given["target"])) and target.sum(1).allclose(torch.ones(4))
    plain, plain_frames = encoder.frontend(given["wave"], given["length"])
    if where == "waveform":
        expected, _ = encoder.frontend(mix(given["wave"]), mix.longer(given["length"]))
    else:
        expected = mix(plain)
    assert torch.equal(mel, expected) and torch.equal(frames, mix.longer(plain_frames))


def test_mixup_and_its_absence_are_drawn_for_a_batch(encoder: AudioEncoder) -> None:
    given, whole = batch(), 0
    torch.manual_seed(0)
    for _ in range(60):
        target = augmented(encoder, AugmentConfig(mixup=0.5), given["wave"], given["length"], given["target"])[2]
        whole += torch.equal(target, given["target"])
    assert 15 <= whole <= 45


def state(objective: FinetuneObjective) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in objective.state_dict().items()}


def train(objective: FinetuneObjective, steps: int, momentum: float = 0.0) -> list[dict[str, Tensor]]:
    """The state before, and after each real step."""
    objective.train()
    optimizer = adamw(objective, rate_of=objective.learning_rate_share)
    states = [state(objective)]
    for _ in range(steps):
        set_step(optimizer, 1e-2, 0.05)
        objective(batch())["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        objective.update_teacher(momentum)
        states.append(state(objective))
    return states


def moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    return {name.removeprefix("model.") for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("mode", ["all", "frozen-stem", "head"])
def test_each_mode_moves_what_it_should_and_nothing_else(mode: Any, norm: Any, encoder: AudioEncoder) -> None:
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


def test_the_average_is_exactly_that(encoder: AudioEncoder) -> None:
    objective = build(encoder, replace(PLAIN, ema=0.7, norm="batch"))
    states = train(objective, 3, momentum=0.7)
    for name, parameter in objective.average.named_parameters():
        expected = states[0][f"model.{name}"]
        for later in states[1:]:
            expected = 0.7 * expected + (1 - 0.7) * later[f"model.{name}"]
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-6)
        assert not parameter.requires_grad
    for name, buffer in objective.average.norm.named_buffers():
        assert torch.equal(buffer, states[-1][f"model.norm.{name}"]), "statistics are averages already"
    names = {name for group in parameter_groups(objective) for name in group["names"]}
    assert not any(name.startswith("average.") for name in names)
    assert not any(name.startswith("average.") for name in build(encoder).state_dict())


def test_rates_fall_layer_by_layer_as_in_eat(encoder: AudioEncoder) -> None:
    """EAT: decay 0.65 over twelve blocks, its stem at the full rate; None lets the stem follow."""
    size = EncoderConfig(width=16, depth=12, heads=2)

    def shares(norm: Any, stem_rate: float | None) -> dict[str, float]:
        config = replace(encoder.config, encoder=replace(size, norm=norm))
        classifier = AudioClassifier(AudioClassifierConfig(("a", "b"), layers="weighted", encoder=config))
        objective = FinetuneObjective(classifier, replace(PLAIN, layer_decay=0.65, stem_rate=stem_rate))
        return {name: objective.learning_rate_share(name) for name, _ in objective.named_parameters()}

    found = shares("pre", 1.0)
    for name, share in found.items():
        if ".blocks." in name:
            assert share == pytest.approx(0.65 ** (12 - int(name.split(".blocks.")[1].split(".")[0]))), name
        else:
            assert share == 1.0, name
    assert found["model.encoder.encoder.blocks.0.norm1.weight"] == pytest.approx(0.65**12)
    assert found["model.encoder.encoder.blocks.11.norm1.weight"] == 0.65
    follows = shares("post", None)
    below = {name for name, share in follows.items() if share == pytest.approx(0.65**13)}
    assert below == {name for name in follows if ".stem." in name or "class_token" in name or "encoder.norm." in name}
    assert all(follows[f"model.{name}"] == 1.0 for name in ("head.weight", "norm.weight", "layer_weights"))
