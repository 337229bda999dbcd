"""Encoder, normalisation, linear layer: what it computes, what is saved, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aasp
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig


def build(pooling: str = "mean", **settings: Any) -> AudioClassifier:
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=2, heads=2)
    encoder = AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64, pooling=pooling)  # type: ignore[arg-type]
    model = AudioClassifier(AudioClassifierConfig(("cat", "dog", "rain"), encoder=encoder, **settings)).eval()
    with torch.no_grad():
        for parameter in (*model.head.parameters(), *([model.layer_weights] if model.reads_layers else [])):
            parameter.copy_(torch.randn_like(parameter))
        if settings.get("norm") == "batch":
            model.norm.running_mean.copy_(torch.randn_like(model.norm.running_mean))
            model.norm.running_var.copy_(torch.rand_like(model.norm.running_var) + 0.5)
    return model


def clips(*samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    wave = torch.zeros(len(samples), max(samples))
    for row, length in zip(wave, samples, strict=True):
        row[:length] = 0.1 * torch.randn(length)
    return wave, torch.tensor(samples)


KINDS = [
    {"pooling": "cls"},
    {"pooling": "flat+std", "norm": "batch"},
    {"pooling": "mean", "layers": "weighted"},
    {"pooling": "cls", "layers": "weighted", "norm": "batch", "multilabel": True},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@torch.no_grad()
def test_padding_never_changes_a_score(kind: dict[str, Any]) -> None:
    """Shorter than a patch, than a window, several windows: alone or in a batch."""
    model = build(**kind)
    wave, lengths = clips(400, 5_000, 10_240, 31_000)
    together = model(wave, lengths)
    for b, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[b : b + 1], model(wave[b : b + 1, :length]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_weighted_layers_by_hand() -> None:
    model = build("mean+std", layers="weighted", norm="batch")
    wave, _ = clips(9_000, 9_000)
    found = model.encoder(wave, layers=True)
    stages = [found.layers[0][0], found.layers[1][0], found.tokens]  # the last block's output is read normalised
    shares = np.exp(model.layer_weights.numpy())
    shares /= shares.sum()
    mixed = 0.0
    for share, tokens in zip(shares, stages, strict=True):
        x = tokens.numpy().astype(np.float64)
        mixed = mixed + share * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    columns = mixed.reshape(2, -1, model.encoder.stem.subbands, 16).mean(2)
    clip = np.concatenate([columns.mean(1), columns.std(1)], axis=1)
    clip = (clip - model.norm.running_mean.numpy()) / np.sqrt(model.norm.running_var.numpy() + 1e-5)
    expected = clip @ model.head.weight.numpy().T + model.head.bias.numpy()
    np.testing.assert_allclose(model(wave).numpy(), expected, atol=1e-4)


@torch.no_grad()
def test_batch_norm_learns_its_statistics_while_training_only() -> None:
    model = build("mean", norm="batch")
    assert not list(model.norm.parameters()), "the linear layer after it can do what a scale would"
    wave, _ = clips(9_000, 9_000, 9_000)
    before = {name: buffer.clone() for name, buffer in model.norm.named_buffers()}
    apart = model(wave)
    assert all(torch.equal(before[name], buffer) for name, buffer in model.norm.named_buffers())
    torch.testing.assert_close(apart[:1], model(wave[:1]), rtol=0, atol=1e-5)
    model.train()
    clip = model.encoder(wave).clip
    expected = model.head((clip - clip.mean(0)) / (clip.var(0, unbiased=False) + 1e-5).sqrt())
    torch.testing.assert_close(model(wave), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.norm.running_mean, 0.9 * before["running_mean"] + 0.1 * clip.mean(0))


def test_probabilities_are_of_all_classes_together_or_of_each() -> None:
    logits = torch.tensor([[0.0, 1.0, -2.0]])
    one, several = (build(multilabel=several).probabilities(logits)[0] for several in (False, True))
    separate = build(loss="sigmoid").probabilities(logits)[0]
    torch.testing.assert_close(separate, several / several.sum())
    low = build(loss="sigmoid").probabilities(torch.tensor([[-200.0, -201.0, -300.0]]))[0]
    np.testing.assert_allclose(low, np.array([1.0, np.exp(-1.0), 0.0]) / (1 + np.exp(-1.0)), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(build(loss="sigmoid", multilabel=True).probabilities(logits)[0], several)
    x = logits[0].numpy()
    np.testing.assert_allclose(one, np.exp(x) / np.exp(x).sum(), rtol=1e-6)
    np.testing.assert_allclose(several, 1 / (1 + np.exp(-x)), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@torch.no_grad()
def test_save_and_load_return_the_same_model(kind: dict[str, Any], tmp_path: Path) -> None:
    model = build(**kind)
    model.save(tmp_path / "run" / "model")
    wave, lengths = clips(9_000, 20_000)
    for place in (tmp_path / "run" / "model", tmp_path / "run"):
        loaded = load_classifier(place)
        assert loaded.config == model.config and not loaded.training
        assert torch.equal(loaded(wave, lengths), model(wave, lengths))
    encoder = aasp.load(tmp_path / "run")
    assert encoder.config == model.config.encoder and not encoder.training
    assert torch.equal(encoder(wave, lengths).clip, model.encoder(wave, lengths).clip)


def refused(path: Path, words: str) -> None:
    with pytest.raises(AaspError, match=words) as error:
        load_classifier(path)
    assert "\n" not in str(error.value)


def test_damaged_and_foreign_directories_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no such directory")
    refused(tmp_path, "holds no config.json")
    AudioEncoder(build().config.encoder).save(tmp_path / "encoder")
    refused(tmp_path / "encoder", "an encoder without classes; make a classifier of it with `aasp finetune`")
    folder = tmp_path / "model"
    build().save(folder)
    config, weights = folder / "config.json", folder / "model.safetensors"
    values, data = json.loads(config.read_text()), weights.read_bytes()

    weights.unlink()
    refused(folder, "model.safetensors: no such file")
    weights.write_bytes(data[: len(data) // 2])
    refused(folder, "not readable as safetensors")
    weights.write_bytes(data)

    config.write_text(json.dumps(values | {"classes": ["cat", "dog"]}))
    refused(folder, r"does not fit config.json beside it: head.weight is \(3, 16\), not \(2, 16\)")
    config.write_text(json.dumps(values | {"layers": "weighted"}))
    refused(folder, "has no layer_weights")
    config.write_text(json.dumps(values | {"norm": "instance"}))
    refused(folder, "'instance' is not one of layer, batch")
    config.write_text(json.dumps(values | {"clases": []}))
    refused(folder, "unknown field 'clases'; did you mean 'classes'")
    config.write_text("{")
    refused(folder, "not readable as JSON")
