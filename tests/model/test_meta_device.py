"""Constructors on the meta device: no memory, no value is read, and the same module once it is filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import accelerate
import pytest
import torch
from torch import Tensor, nn

from aasp.casting import WithConstants
from aasp.config import with_fields
from aasp.features.logmel import LogMel, LogMelConfig
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import Encoder, EncoderConfig
from aasp.pretrain import recipes
from aasp.pretrain.objective import build_objective
from aasp.stems import StemConfig
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig
from aasp.stems.lowpass import LowpassConfig
from aasp.stems.polyphase import PolyphaseConfig
from aasp.stems.state_space import MambaConfig, S4DConfig

SMALL = EncoderConfig(width=16, depth=2, heads=2)
STEMS: dict[str, StemConfig] = {
    "estimated": AaPEConfig(states=4, encoder_width=16, encoder_depth=2),
    "learned": AaPEConfig(states=4, parameters="learned", taps=48),
    "fixed": AaPEConfig(states=4, parameters="fixed", conv=False),
    "conv": ConvConfig(),
    "overlapping": ConvConfig(taps=32),
    "lowpass": LowpassConfig(),
    "polyphase": PolyphaseConfig(taps=48, trained=True),
    "s4d": S4DConfig(),
    "mamba": MambaConfig(),
}


def audio_encoder(stem: str, **fields: object) -> AudioEncoder:
    return AudioEncoder(AudioEncoderConfig(stem=STEMS[stem], encoder=replace(SMALL, **fields)))  # type: ignore[arg-type]


def objective(name: str) -> nn.Module:
    recipe = recipes.get(name)
    small = {"model.encoder.depth": 1, "model.vector": "none", "model.encoder.width": 48}
    return build_objective(with_fields(recipe, small))


METHODS = ("aasp_tiny", "eat_tiny", "m2d_tiny", "matpac_tiny", "beats_tiny")
MODULES: dict[str, Callable[[], nn.Module]] = {
    **{f"stem {name}": lambda config=config: config.build(16, 128) for name, config in STEMS.items()},  # type: ignore[misc]
    "kaldi": lambda: LogMel(),
    "slaney80": lambda: LogMel(LogMelConfig.slaney80()),
    "encoder": lambda: Encoder(replace(SMALL, norm="post", drop_path=0.2)),
    **{f"audio encoder {name}": lambda name=name: audio_encoder(name) for name in STEMS},  # type: ignore[misc]
    "classifier": lambda: AudioClassifier(
        AudioClassifierConfig(("a", "b"), layers="weighted", norm="batch", encoder=audio_encoder("conv").config)
    ),
    **{f"recipe {name}": lambda name=name: objective(name) for name in METHODS},  # type: ignore[misc]
}


def tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


@pytest.mark.parametrize("name", MODULES)
def test_constructors_run_on_the_meta_device(name: str) -> None:
    build = MODULES[name]
    expected = {key: (tensor.shape, tensor.dtype) for key, tensor in tensors(build()).items()}
    ways = {
        "torch": lambda: torch.device("meta"),
        "accelerate": lambda: accelerate.init_empty_weights(include_buffers=True),
    }
    for way, context in ways.items():
        with context():
            module = build()
        found = tensors(module)
        assert all(tensor.is_meta for tensor in found.values()), way
        assert {key: (tensor.shape, tensor.dtype) for key, tensor in found.items()} == expected, way


@torch.no_grad()
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("way", ["to_empty", "assign"])
def test_a_model_built_on_meta_is_the_same_once_filled(stem: str, way: str) -> None:
    torch.manual_seed(0)
    model = audio_encoder(stem, drop_path=0.1).eval()
    with torch.device("meta"):
        empty = audio_encoder(stem, drop_path=0.1).eval()
    if way == "to_empty":
        empty.to_empty(device="cpu").load_state_dict(model.state_dict())
    else:  # as libraries do that fill a model tensor by tensor
        empty.load_state_dict(model.state_dict(), assign=True)
        for module in empty.modules():
            if isinstance(module, WithConstants):
                module.set_constants()
    wave = 0.1 * torch.randn(2, 24_000)
    assert torch.equal(empty(wave).timestamps, model(wave).timestamps)


def test_recomputed_constants_stay_on_their_device() -> None:
    front = LogMel()
    kept = front.filterbank.clone()
    front.filterbank.zero_()
    with torch.device("meta"):
        front.set_constants()
    assert torch.equal(front.filterbank, kept)


def test_stochastic_depth_rises_linearly_to_its_largest_rate() -> None:
    rates = [block.drop_path.rate for block in Encoder(replace(SMALL, depth=5, drop_path=0.2)).blocks]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert [block.drop_path.rate for block in Encoder(replace(SMALL, depth=1, drop_path=0.2)).blocks] == [0]
