"""A whole AudioEncoder as one graph: from waveform to embedding, of a fixed length or any, of any number of clips."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.model.windows import encode_halves, encode_windows
from aasp.stems import StemConfig
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig
from aasp.stems.lowpass import LowpassConfig
from aasp.stems.polyphase import PolyphaseConfig
from aasp.stems.state_space import MambaConfig, S4DConfig

STEMS: dict[str, StemConfig] = {
    "local": AaPEConfig(patch=(8, 32), taps=8, states=4, encoder_width=16),
    "wide": AaPEConfig(states=4, encoder_width=16, taps=48),
    "conv": ConvConfig(),
    "whole": ConvConfig(whole=3),
    "lowpass": LowpassConfig(),
    "polyphase": PolyphaseConfig(taps=48, trained=True),
    "s4d": S4DConfig(),
    "mamba": MambaConfig(taps=32),
}
ONE, SEVERAL = 9_000, 20_000
"""Samples of clips of one window, and of several."""


class Ragged(nn.Module):
    """The same of clips of several lengths."""

    def __init__(self, model: AudioEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, wave_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(wave_BS, lengths_B)
        return found.clip, found.timestamps


class FromLogMel(nn.Module):
    """The same from log-mels on."""

    def __init__(self, model: AudioEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, mel_BTM: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model.embed(mel_BTM)
        return found.clip, found.timestamps


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


def same(program: torch.export.ExportedProgram, model: nn.Module, *given: Tensor) -> None:
    """To fp32's rounding; measured differences of fixed sizes are 0 without `strict`, and up to 1e-6 else."""
    with torch.no_grad():
        for found, expected in zip(program.module()(*given), model(*given), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def cases(slow: set[tuple[str, bool]]) -> list:
    """Every stem, strict or not; which take longer than a fast test may."""
    every = [(stem, strict) for stem in STEMS for strict in (False, True)]
    name = lambda stem, strict: f"{stem}-{'strict' if strict else 'traced'}"
    return [pytest.param(*case, marks=[pytest.mark.slow] if case in slow else [], id=name(*case)) for case in every]


STRICT = {(stem, True) for stem in STEMS}
AAPE = {(stem, strict) for stem in ("local", "wide") for strict in (False, True)}
LATER = {(stem, False) for stem in ("polyphase", "s4d", "mamba")}


@pytest.mark.parametrize("samples", [ONE, pytest.param(SEVERAL, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("stem", "strict"), cases(slow=(STRICT | LATER) - {("conv", True), ("local", True)}))
def test_a_fixed_length_is_exported(stem: str, strict: bool, samples: int) -> None:
    model = build(stem)
    program = torch.export.export(model, (noise(1, samples),), strict=strict)
    wave = noise(1, samples).flip(1)
    same(program, model, wave)
    if not strict:
        assert all(torch.equal(found, own) for found, own in zip(program.module()(wave), model(wave), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "strict"), cases(slow=(STRICT | AAPE | LATER) - {("local", False)}))
def test_any_number_of_clips_is_exported(stem: str, strict: bool) -> None:
    model = build(stem)
    shapes = ({0: torch.export.Dim("clips", max=64)},)
    program = torch.export.export(model, (noise(2, ONE),), dynamic_shapes=shapes, strict=strict)
    for clips in (1, 2, 5):
        same(program, model, noise(clips, ONE))


ANY = {0: torch.export.Dim("clips"), 1: torch.export.Dim("samples")}
LENGTHS = (400, 559, 3_000, 9_000, 10_640, 10_641, 20_000, 33_333)
"""From one analysis window to many windows of the model."""


@pytest.mark.slow
@pytest.mark.parametrize("stem", STEMS)
def test_any_length_is_exported(stem: str) -> None:
    model = build(stem)
    program = torch.export.export(model, (noise(2, SEVERAL),), dynamic_shapes=(ANY,), strict=False)
    for clips, samples in zip((1, 2, 3, 7) * 2, LENGTHS, strict=True):
        same(program, model, noise(clips, samples))


@pytest.mark.skipif(torch.__version__.startswith("2.9."), reason="torch 2.9 can't export clips of several lengths")
@pytest.mark.parametrize(
    "stem", [pytest.param(stem, marks=[pytest.mark.slow] * (stem not in ("conv", "whole"))) for stem in STEMS]
)
def test_clips_of_several_lengths_are_exported(stem: str) -> None:
    model = Ragged(build(stem).model)
    shapes = (ANY, {0: ANY[0]})
    given = noise(2, SEVERAL), torch.tensor([SEVERAL, ONE])
    program = torch.export.export(model, given, dynamic_shapes=shapes, strict=False)
    for clips, samples in zip((1, 2, 3, 7) * 2, LENGTHS, strict=True):
        lengths = torch.linspace(samples, 400, clips).long()
        same(program, model, noise(clips, samples), lengths)
    alone = program.module()(noise(2, SEVERAL), torch.tensor([SEVERAL, 399]))[0]
    assert alone[0].isfinite().all() and alone[1].isnan().all(), "what is too short has no embedding"


@pytest.mark.slow
def test_log_mels_of_any_length_are_exported() -> None:
    model = FromLogMel(build("conv").model)
    shapes = ({0: torch.export.Dim("clips"), 1: torch.export.Dim("frames")},)
    program = torch.export.export(model, (torch.randn(2, 150, 128),), dynamic_shapes=shapes, strict=False)
    for clips, frames in ((1, 2), (3, 64), (2, 65), (1, 333)):
        same(program, model, torch.randn(clips, frames, 128))


@torch.no_grad()
@pytest.mark.parametrize("stem", STEMS)
def test_windows_of_a_graph_are_those_of_the_plain_path(stem: str) -> None:
    model = build(stem).model
    lengths = torch.tensor([33_333, 20_000, 10_641, 9_000, 400])
    mel, frames = model.frontend(noise(5, 33_333), lengths)
    columns = [model.stem.grid(count)[0] for count in frames.tolist()]
    expected, _ = encode_windows(model, mel, columns, layers=True)
    found = encode_halves(model, mel, frames, layers=True)
    assert len(found) == len(expected) == 3
    for (tokens, cls), (own, own_cls) in zip(found, expected, strict=True):
        torch.testing.assert_close(tokens, own, rtol=0, atol=2e-6)
        torch.testing.assert_close(cls, own_cls, rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_cast_models_are_exported(dtype: torch.dtype) -> None:
    model = build("lowpass").to(dtype)
    with torch.no_grad():
        program = torch.export.export(model, (noise(1, ONE),), strict=False)
    same(program, model, noise(1, ONE))


def test_a_centred_front_end_is_exported() -> None:
    model = build("conv", mels=80, centered=True)
    same(torch.export.export(model, (noise(1, ONE),), strict=False), model, noise(1, ONE))


@pytest.mark.slow
def test_torch_compile_sees_one_graph() -> None:
    model = build("local").model
    with torch.no_grad():
        found = torch.compile(model, backend="eager", fullgraph=True)(noise(1, ONE))
        torch.testing.assert_close(found.clip, model(noise(1, ONE)).clip, rtol=0, atol=2e-6)


@pytest.mark.parametrize("stem", ["conv", pytest.param("local", marks=pytest.mark.slow)])
def test_torch_compile_sees_one_graph_of_a_window_with_gradients(stem: str) -> None:
    model = build(stem).model
    mel, _ = model.frontend(noise(2, ONE))
    compiled = torch.compile(lambda x: model.encode(x)[-1][0], backend="aot_eager", fullgraph=True)
    gradients = []
    for run in (compiled, lambda x: model.encode(x)[-1][0]):
        model.zero_grad()
        tokens = run(mel)
        (tokens * torch.linspace(-1, 1, tokens.numel()).view_as(tokens)).sum().backward()
        gradients.append((tokens.detach(), model.encoder.class_token.grad.clone()))  # type: ignore[union-attr]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=5e-6)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("samples", [ONE, SEVERAL])
def test_a_compiled_model_gives_the_same(samples: int) -> None:
    model = build("local").model
    found = torch.compile(model, fullgraph=True)(noise(2, samples))
    torch.testing.assert_close(found.timestamps, model(noise(2, samples)).timestamps, rtol=0, atol=5e-6)


def test_samples_are_checked_by_the_model_and_not_by_its_export() -> None:
    model = build("conv")
    program = torch.export.export(model, (noise(1, ONE),), strict=False)
    loud = 1e4 * noise(1, ONE)
    assert program.module()(loud)[0].isfinite().all()
    with pytest.raises(AaspError, match="not a waveform in -1 to 1"):
        model(loud)
