"""Transformers' Trainer: a classifier, a pre-training with its teacher, and what they save."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

import aasp
from aasp.errors import AaspError
from aasp.hf import (
    AaspConfig,
    AaspFeatureExtractor,
    AaspForAudioClassification,
    AaspForPreTraining,
    AaspModel,
)
from aasp.model.audio_classifier import load_classifier
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.pretrain.methods.m2d import M2DConfig
from aasp.pretrain.predictors import PredictorConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.targets import TeacherConfig
from aasp.weights import model_hash
from tones import tone


def arguments(place: Path, **changes: Any) -> TrainingArguments:
    settings = dict(
        output_dir=str(place), max_steps=3, per_device_train_batch_size=4, learning_rate=1e-2, logging_steps=1,
        save_steps=3, report_to=[], use_cpu=True, disable_tqdm=True, dataloader_num_workers=0, seed=0,
    )  # fmt: skip
    return TrainingArguments(**(settings | changes))


def clips(count: int = 12) -> list[dict[str, Any]]:
    """Tones of half a second and more, and which of two they are."""
    made = [(tone((300, 3000)[i % 2], 0.5 + 0.03 * i, seed=i), i % 2) for i in range(count)]
    return [{"input_values": wave, "labels": label} for wave, label in made]


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    batch = AaspFeatureExtractor()([item["input_values"] for item in items], return_tensors="pt")
    if "labels" in items[0]:
        batch["labels"] = torch.tensor([item["labels"] for item in items])
    return dict(batch)


def losses(trainer: Trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_three_steps_of_a_classifier(
    encoder_folder: Path, encoder: AudioEncoder, tmp_path: Path, checkpointing: bool
) -> None:
    names = {0: "low", 1: "high"}
    model = AaspForAudioClassification.from_pretrained(
        encoder_folder, num_labels=2, id2label=names, label2id={name: i for i, name in names.items()}
    )
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path, activation_checkpointing=checkpointing, max_steps=6),
        train_dataset=clips(),
        eval_dataset=clips(4),
        data_collator=collate,
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    )
    trainer.train()
    found = losses(trainer)
    assert len(found) == 6 and all(np.isfinite(found)) and found[-1] < found[0]
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1
    assert not torch.equal(model.model.encoder.encoder.class_token, encoder.encoder.class_token)
    again = AaspForAudioClassification.from_pretrained(tmp_path / "checkpoint-6")
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert aasp.load(tmp_path / "checkpoint-6").config == encoder.config


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_numbers_and_several_labels_are_trained_on(kind: Any, encoder_folder: Path, tmp_path: Path) -> None:
    count, label = (1, lambda i: 0.5 - i % 2) if kind == "regression" else (2, lambda i: [i % 2, 1 - i % 2])
    model = AaspForAudioClassification.from_pretrained(encoder_folder, num_labels=count, problem_type=kind)
    data = [{**item, "labels": label(i)} for i, item in enumerate(clips(4))]
    before = model.model.head.weight.detach().clone()
    trainer = Trainer(model=model, args=arguments(tmp_path), train_dataset=data, data_collator=collate)
    trainer.train()
    assert len(losses(trainer)) == 3 and all(np.isfinite(losses(trainer)))
    assert not torch.equal(model.model.head.weight, before)
    saved = load_classifier(tmp_path / "checkpoint-3")
    assert saved.config.numbers == ((0.0, 1.0) if count == 1 else None) and saved.config.multilabel is (count == 2)


def test_accumulated_batches_are_one_batch(encoder_folder: Path, tmp_path: Path) -> None:
    """Trainer divides a loss by the number of batches only for models that do not declare that they already do so."""
    found = []
    for batch, accumulated in ((4, 1), (1, 4)):
        torch.manual_seed(0)
        model = AaspForAudioClassification.from_pretrained(encoder_folder, num_labels=2)
        settings = arguments(
            tmp_path, max_steps=1, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulated,
            optim="sgd", learning_rate=1.0, max_grad_norm=0.0, save_strategy="no",
        )  # fmt: skip
        trainer = Trainer(model=model, args=settings, train_dataset=clips(4), data_collator=collate)
        trainer.train()
        found.append((losses(trainer)[0], model.model.head.weight.detach()))
    (loss, weight), (accumulated_loss, accumulated_weight) = found
    assert accumulated_loss == pytest.approx(loss, rel=1e-3)
    torch.testing.assert_close(accumulated_weight, weight, rtol=0, atol=1e-4)


def recipe(encoder: AudioEncoder, **changes: Any) -> Recipe:
    method = AaSPConfig(
        masking=MaskingConfig(views=2, keep_ratio=0.3, block=2),
        teacher=TeacherConfig(momentum=0.5, final_momentum=0.9, ramp=1.0),
        predictor=PredictorConfig(depth=1, width=24, heads=3),
    )
    return replace(Recipe("small", "", model=encoder.config, method=method, steps=5), **changes)


def test_three_steps_of_a_pre_training(encoder: AudioEncoder, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AaspForPreTraining(AaspConfig.of(recipe(encoder)))
    before = copy.deepcopy(model.model.teacher.model.state_dict())
    waves = [{"input_values": item["input_values"]} for item in clips()]
    trainer = Trainer(
        model=model, args=arguments(tmp_path, learning_rate=1e-3), train_dataset=waves, eval_dataset=waves[:4],
        data_collator=collate,
    )  # fmt: skip
    trainer.train()
    assert len(losses(trainer)) == 3 and all(np.isfinite(losses(trainer)))
    assert np.isfinite(trainer.evaluate()["eval_loss"])
    assert int(model.step) == 3
    after = model.model.teacher.model.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)

    saved = AaspForPreTraining.from_pretrained(tmp_path / "checkpoint-3")
    assert int(saved.step) == 3
    assert all(torch.equal(saved.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    exported = model.encoder()
    for taken in (AaspModel.from_pretrained(tmp_path / "checkpoint-3").model, aasp.load(tmp_path / "checkpoint-3")):
        assert model_hash(taken) == model_hash(exported)
    grown = AaspForAudioClassification.from_pretrained(tmp_path / "checkpoint-3", num_labels=2)
    assert model_hash(grown.model.encoder) == model_hash(exported)


def stepped(model: AaspForPreTraining, optimizer: torch.optim.Optimizer, wave: torch.Tensor, accumulate: int) -> None:
    optimizer.zero_grad()
    for _ in range(accumulate):
        model(wave).loss.backward()
    optimizer.step()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_teacher_follows_each_step_once_by_the_recipes_momentum(
    encoder: AudioEncoder, short: torch.Tensor, accumulate: int, fused: bool
) -> None:
    torch.manual_seed(0)
    settings = recipe(encoder)
    model = AaspForPreTraining(AaspConfig.of(settings)).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizers = [torch.optim.AdamW(part, lr=1e-3, fused=fused) for part in (parameters[:20], parameters[20:])]
    momentum = settings.method.schedules(settings.steps)["momentum"]
    name = "encoder.blocks.0.mlp.0.weight"
    teacher = lambda: model.model.teacher.model.get_parameter(name)
    expected = teacher().clone()
    for step in range(7):  # beyond the recipe's five: its last momentum holds
        for _ in range(accumulate):
            model(short).loss.backward()
        for optimizer in reversed(optimizers):
            optimizer.step()
            optimizer.zero_grad()
        student = model.model.student.get_parameter(name).detach()
        assert not torch.equal(student, expected)
        expected = expected + (1 - momentum[min(step, 4)]) * (student - expected)
        torch.testing.assert_close(teacher(), expected)
        assert int(model.step) == step + 1
    model.load_state_dict(model.state_dict())
    model(short)
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0).step()
    assert int(model.step) == 7  # weights that are loaded are no step, and another's step is none of ours


def test_a_copy_has_a_teacher_of_its_own(encoder: AudioEncoder, short: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = AaspForPreTraining(AaspConfig.of(recipe(encoder)))
    other = copy.deepcopy(model)
    optimizer = torch.optim.AdamW([p for p in other.parameters() if p.requires_grad], lr=1e-3)
    other(short).loss.backward()
    optimizer.step()
    assert (int(model.step), int(other.step)) == (0, 1)


def test_a_pre_training_starts_from_a_model(encoder: AudioEncoder, encoder_folder: Path) -> None:
    config = AaspConfig.of(recipe(encoder))
    model = AaspForPreTraining.from_pretrained(encoder_folder, config=config)
    for own in (model.model.student, model.model.teacher.model, model.encoder()):
        assert model_hash(own) == model_hash(encoder)
    assert model.recipe == recipe(encoder) and not model.training
    ours = AaspForPreTraining.from_pretrained("aasp-tiny", config=AaspConfig.of(aasp.load("aasp-tiny").config))
    assert ours.recipe.model.whitened == 0 and aasp.load("aasp-tiny").config.whitened  # pre-training learns none
    defaults = AaspForPreTraining.from_pretrained(encoder_folder)
    assert defaults.recipe.method == AaSPConfig() and model_hash(defaults.encoder()) == model_hash(encoder)


def test_another_method_exports_another_part(encoder: AudioEncoder, tmp_path: Path, short: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = AaspForPreTraining(AaspConfig.of(recipe(encoder, method=M2DConfig())))
    assert torch.isfinite(model(short).loss)
    model.save_pretrained(tmp_path)
    assert model_hash(aasp.load(tmp_path)) == model_hash(model.encoder())
    assert model_hash(AaspModel.from_pretrained(tmp_path).model) == model_hash(model.encoder())


def test_gradients_of_a_pre_training_are_the_same_under_checkpointing(
    encoder: AudioEncoder, short: torch.Tensor
) -> None:
    torch.manual_seed(0)
    model = AaspForPreTraining(AaspConfig.of(recipe(encoder))).train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable()
        model.zero_grad()
        torch.manual_seed(1)
        model(short).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) > 20
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_recipe_that_makes_no_sense_is_refused(encoder: AudioEncoder) -> None:
    with pytest.raises(AaspError, match="AaspConfig: pretraining: unknown field 'stepz'"):
        AaspConfig(encoder={"encoder": {"width": 24, "depth": 1, "heads": 3}}, pretraining={"stepz": 3})
