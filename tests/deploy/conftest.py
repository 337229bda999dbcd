"""A small model with trained weights, and its exports, made once for all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # `hard_signals`, which the tests of this folder share

from hard_signals import signals

from aasp.config import with_fields
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.pretrain.objective import build_objective
from aasp.training import optim

STEPS = 12


@pytest.fixture(scope="session")
def trained() -> AudioEncoder:
    """`aasp_tiny` made smaller, after a few steps on noise, tones and silence."""
    small = {
        "data.batch": 7,
        "model.encoder.depth": 2,
        "model.vector": "none",
        "model.encoder.width": 72,
        "predictor.width": 48,
    }
    recipe = with_fields(recipes.get("aasp_tiny"), small | {"predictor.heads": 3, "steps": STEPS})
    torch.manual_seed(0)
    objective = build_objective(recipe).train()
    optimizer = optim.adamw(objective)
    samples = recipe.model.frontend.samples(recipe.model.window_patches * recipe.model.stem.patch[0])
    batch = {"wave": torch.stack(list(signals(samples).values())), "length": torch.full((7,), samples)}
    before = objective.teacher.model.encoder.class_token.clone()
    for _ in range(STEPS):
        optim.set_step(optimizer, 1e-3, 0.05)
        objective(batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        objective.after_step({"momentum": 0.9})
    model: AudioEncoder = objective.teacher.model.eval()
    assert not torch.equal(model.encoder.class_token, before)
    return model


@pytest.fixture(scope="session")
def classifier(trained: AudioEncoder) -> AudioClassifier:
    torch.manual_seed(1)
    model = AudioClassifier(AudioClassifierConfig(("dog", "rain", "siren"), layers="weighted", encoder=trained.config))
    model.encoder.load_state_dict(trained.state_dict())
    with torch.no_grad():
        model.head.weight.normal_(std=0.3)
    return model.eval()


@pytest.fixture(scope="session")
def whole(trained: AudioEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the whole encoder."""
    from aasp.deploy.onnx import onnx_model, write

    path = tmp_path_factory.mktemp("onnx") / "whole.onnx"
    write(onnx_model(trained), path)
    return path
