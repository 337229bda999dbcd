"""A whole AudioEncoder as one graph: from waveform to embedding, with a fixed length and any number of clips."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems import StemConfig
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig
from aasp.stems.lowpass import LowpassConfig

STEMS: dict[str, StemConfig] = {
    "local": AaPEConfig(patch=(8, 32), taps=8, states=4, encoder_width=16),
    "wide": AaPEConfig(states=4, encoder_width=16, taps=48),
    "conv": ConvConfig(),
    "lowpass": LowpassConfig(),
}
ONE, SEVERAL = 9_000, 20_000
"""Samples of clips of one window, and of several."""


class Clip(nn.Module):
    """An encoder's clip vectors and timestamps alone: what is exported returns tensors."""

    def __init__(self, model: AudioEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, wave_BS: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(wave_BS)
        return found.clip, found.timestamps


def build(stem: str, **frontend: object) -> Clip:
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=1, heads=2)
    config = AudioEncoderConfig(LogMelConfig(**frontend), STEMS[stem], size, 0.64, "mean+std")  # type: ignore[arg-type]
    model = AudioEncoder(config).eval()
    if hasattr(model.stem, "fuse"):
        with torch.no_grad():
            model.stem.fuse.weight.add_(0.1 * torch.randn_like(model.stem.fuse.weight))
    return Clip(model)


def noise(clips: int, samples: int) -> Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(clips))


def same(program: torch.export.ExportedProgram, model: Clip, wave: Tensor) -> None:
    """To fp32's rounding; measured differences are 0 without `strict`, and up to 5e-7 with it."""
    with torch.no_grad():
        for found, expected in zip(program.module()(wave), model(wave), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def cases(slow: set[tuple[str, bool]]) -> list:
    """Every stem, strict or not; which take longer than a fast test may."""
    every = [(stem, strict) for stem in STEMS for strict in (False, True)]
    name = lambda stem, strict: f"{stem}-{'strict' if strict else 'traced'}"
    return [pytest.param(*case, marks=[pytest.mark.slow] if case in slow else [], id=name(*case)) for case in every]


STRICT = {(stem, True) for stem in STEMS}
AAPE = {(stem, strict) for stem in ("local", "wide") for strict in (False, True)}


@pytest.mark.parametrize("samples", [ONE, pytest.param(SEVERAL, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("stem", "strict"), cases(slow=STRICT - {("conv", True), ("local", True)}))
def test_a_fixed_length_is_exported(stem: str, strict: bool, samples: int) -> None:
    model = build(stem)
    program = torch.export.export(model, (noise(1, samples),), strict=strict)
    wave = noise(1, samples).flip(1)
    same(program, model, wave)
    if not strict:
        assert all(torch.equal(found, own) for found, own in zip(program.module()(wave), model(wave), strict=True))


@pytest.mark.parametrize(("stem", "strict"), cases(slow=STRICT | AAPE - {("local", False)}))
def test_any_number_of_clips_is_exported(stem: str, strict: bool) -> None:
    model = build(stem)
    shapes = ({0: torch.export.Dim("clips", max=64)},)
    program = torch.export.export(model, (noise(2, ONE),), dynamic_shapes=shapes, strict=strict)
    for clips in (1, 2, 5):
        same(program, model, noise(clips, ONE))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_cast_models_are_exported(dtype: torch.dtype) -> None:
    model = build("lowpass").to(dtype)
    with torch.no_grad():
        program = torch.export.export(model, (noise(1, ONE),), strict=False)
    same(program, model, noise(1, ONE))


def test_a_centred_front_end_is_exported() -> None:
    model = build("conv", mels=80, centered=True)
    same(torch.export.export(model, (noise(1, ONE),), strict=False), model, noise(1, ONE))


def test_a_compiler_sees_one_graph() -> None:
    model = build("local").model
    with torch.no_grad():
        found = torch.compile(model, backend="eager", fullgraph=True)(noise(1, ONE))
        torch.testing.assert_close(found.clip, model(noise(1, ONE)).clip, rtol=0, atol=2e-6)


def test_what_is_exported_does_not_look_at_samples_but_the_model_does() -> None:
    model = build("conv")
    program = torch.export.export(model, (noise(1, ONE),), strict=False)
    loud = 1e4 * noise(1, ONE)
    assert program.module()(loud)[0].isfinite().all()
    with pytest.raises(AaspError, match="no waveform in -1 to 1"):
        model(loud)
