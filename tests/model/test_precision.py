"""Models cast to another precision: the fp32 embedding to rounding, front end and analysis in fp32, and back again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import aasp
from aasp.errors import AaspError
from aasp.evaluate.finetune.predict import class_probabilities
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import Encoder, EncoderConfig
from aasp.stems import StemConfig
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig
from aasp.stems.lambda_encoder import ALPHA_RANGE, beta_range
from aasp.stems.lowpass import LowpassConfig
from aasp.stems.state_space import MambaConfig, S4DConfig

STEMS: dict[str, StemConfig] = {
    "local": AaPEConfig(states=4),
    "wide": AaPEConfig(states=4, taps=48),
    "learned, no convolution": AaPEConfig(states=4, parameters="learned", conv=False),
    "conv": ConvConfig(),
    "overlap": ConvConfig(taps=32),
    "lowpass": LowpassConfig(),
    "lowpass, trained": LowpassConfig(trained=True),
    "s4d": S4DConfig(),
    "mamba": MambaConfig(),
}
ROUNDING = {torch.float16: 2e-3, torch.bfloat16: 1.5e-2, torch.float64: 1e-5}
"""Relative difference (L2) to fp32 that is allowed; measured 5e-4, 5e-3 and 5e-7."""


def build(stem: str = "local", norm: str = "pre") -> AudioEncoder:
    torch.manual_seed(0)
    encoder = EncoderConfig(width=64, depth=2, heads=4, norm=norm)  # type: ignore[arg-type]
    model = AudioEncoder(AudioEncoderConfig(stem=STEMS[stem], encoder=encoder, window_seconds=0.64)).eval()
    if hasattr(model.stem, "fuse"):
        with torch.no_grad():
            model.stem.fuse.weight.add_(0.1 * torch.randn_like(model.stem.fuse.weight))
    return model


def classifier(**settings: object) -> AudioClassifier:
    model = AudioClassifier(AudioClassifierConfig(("cat", "dog"), encoder=build().config, **settings)).eval()  # type: ignore[arg-type]
    model.encoder.load_state_dict(build().state_dict())
    with torch.no_grad():
        model.head.weight.copy_(torch.randn_like(model.head.weight))
        if settings.get("norm") == "batch":
            model.norm.running_mean.copy_(0.1 * torch.randn_like(model.norm.running_mean))
            model.norm.running_var.copy_(torch.rand_like(model.norm.running_var) + 0.5)
    return model


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Several windows, and less than one."""
    wave = 0.1 * torch.randn(2, 24_000, generator=torch.Generator().manual_seed(1))
    return wave, torch.tensor([24_000, 6_000])


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("stem", STEMS)
@torch.no_grad()
def test_a_cast_model_gives_the_embedding_of_fp32(stem: str, norm: str, dtype: torch.dtype) -> None:
    model, (wave, lengths) = build(stem, norm), clips()
    cast = copy.deepcopy(model).to(dtype)
    expected, found = model(wave, lengths, layers=True), cast(wave, lengths, layers=True)
    precision = torch.float64 if dtype == torch.float64 else torch.float32
    for name in ("clip", "timestamps", "tokens", "cls"):
        assert getattr(found, name).dtype == precision
        assert apart(getattr(found, name), getattr(expected, name)) < ROUNDING[dtype], name
    for stage, like in zip(found.stages, expected.stages, strict=True):
        assert apart(stage[0], like[0]) < ROUNDING[dtype] and apart(stage[1], like[1]) < ROUNDING[dtype]
    whole = torch.cat([cast(wave[:1]).clip, cast(wave[1:, :6_000]).clip])  # unpadded, no mask
    assert apart(whole, expected.clip) < ROUNDING[dtype]
    assert apart(cast(wave.to(dtype)).clip, model(wave.to(dtype)).clip) < ROUNDING[dtype]


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@torch.no_grad()
def test_only_the_weights_are_rounded(dtype: torch.dtype) -> None:
    """Cast and back, the model is that of the rounded weights; its constants are what they were, bit by bit."""
    for stem in ("local", "lowpass"):
        model = build(stem)
        back = copy.deepcopy(model).to(dtype).float()
        for (name, buffer), (_, other) in zip(model.named_buffers(), back.named_buffers(), strict=True):
            assert torch.equal(buffer, other), name
        rounded = build(stem)
        rounded.load_state_dict({name: tensor.to(dtype) for name, tensor in model.state_dict().items()})
        assert torch.equal(back(*clips()).clip, rounded(*clips()).clip)
        assert apart(back(*clips()).clip, model(*clips()).clip) < ROUNDING[dtype]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@torch.no_grad()
def test_front_end_and_analysis_stay_in_fp32(dtype: torch.dtype) -> None:
    model, (wave, lengths) = build(), clips()
    cast = copy.deepcopy(model).to(dtype)
    (mel, _), (expected, _) = cast.frontend(wave, lengths), model.frontend(wave, lengths)
    assert mel.dtype == torch.float32 and torch.equal(mel, expected)
    for value, like, (low, high) in zip(
        cast.stem.estimate(mel), model.stem.estimate(mel), (ALPHA_RANGE, beta_range(16)), strict=True
    ):
        assert value.dtype == torch.float32 and (value >= low).all() and (value <= high).all()
        assert (value - like).abs().max() < 1e-2 * (high - low)
    assert cast.stem.windows(cast.stem.cut(mel)).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("stem", STEMS)
def test_gradients_of_cast_models(stem: str, dtype: torch.dtype) -> None:
    """Also through attention that is written out, as bf16's is on processors."""
    directions = []
    for precision in (torch.float32, dtype):
        model, (wave, lengths) = build(stem).to(precision), clips()
        model(wave.requires_grad_(), lengths).clip.square().sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        directions.append(wave.grad.flatten())
    assert torch.cosine_similarity(*directions, dim=0) > 0.97  # measured: 0.9997 of fp16, 0.987 of bf16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("stem", STEMS)
@torch.no_grad()
def test_autocast_gives_the_embedding_of_fp32(stem: str, dtype: torch.dtype) -> None:
    model = build(stem)
    with torch.autocast("cpu", dtype):
        found = model(*clips())
    assert found.clip.dtype == torch.float32
    assert apart(found.clip, model(*clips()).clip) < ROUNDING[dtype]


@torch.no_grad()
def test_copies_and_inference_mode_give_the_same_bits() -> None:
    model = build("wide")
    expected = model(*clips()).clip
    assert torch.equal(copy.deepcopy(model)(*clips()).clip, expected)
    with torch.inference_mode():
        assert torch.equal(model(*clips()).clip, expected)


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@torch.no_grad()
def test_a_log_mel_of_another_precision_is_taken(dtype: torch.dtype) -> None:
    """Also where windows are summed: their sums are not rounded."""
    model, wave = build(), clips()[0]
    mel, frames = model.frontend(wave)
    mel = mel.to(dtype)
    assert torch.equal(model.embed(mel, frames).clip, model.embed(mel.float()).clip)


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@torch.no_grad()
def test_a_saved_cast_model_loads_in_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    model = build("lowpass")
    copy.deepcopy(model).to(dtype).save(tmp_path)
    loaded = aasp.load(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded(*clips()).clip, copy.deepcopy(model).to(dtype).float()(*clips()).clip)
    assert apart(loaded(*clips()).clip, model(*clips()).clip) < ROUNDING[dtype]


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    model = build("conv")
    model.encoder.norm.bias = torch.nn.Parameter(torch.zeros(64, dtype=torch.int8), requires_grad=False)
    model.save(tmp_path)
    with pytest.raises(AaspError, match=r"encoder.norm.bias is of torch.int8, not torch.float32") as error:
        aasp.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("layers", ["last", "weighted"])
@torch.no_grad()
def test_a_cast_classifier_gives_the_scores_of_fp32(norm: str, layers: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = classifier(norm=norm, layers=layers)
    cast = copy.deepcopy(model).to(dtype)
    expected, found = (one.probabilities(one(*clips())) for one in (model, cast))
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    assert apart(found, expected) < 3 * ROUNDING[dtype]
    cast.save(tmp_path)
    loaded = load_classifier(tmp_path)
    assert apart(loaded.probabilities(loaded(*clips())), expected) < 3 * ROUNDING[dtype]


def test_a_cast_classifier_predicts_files(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", clips()[0][0].numpy(), 16_000)
    expected = class_probabilities(classifier(), [str(tmp_path / "noise.wav")])
    for dtype in ROUNDING:
        found = class_probabilities(classifier().to(dtype), [str(tmp_path / "noise.wav")])
        np.testing.assert_allclose(found, expected, atol=3 * ROUNDING[dtype])


@torch.no_grad()
def test_a_meta_model_gives_shapes_and_can_be_filled() -> None:
    model = build("lowpass")
    with torch.device("meta"):
        empty = AudioEncoder(model.config).eval()
    assert empty(torch.empty(3, 24_000, device="meta")).clip.shape == (3, 64)
    assert model.to("meta")(torch.empty(3, 24_000, device="meta")).clip.shape == (3, 64)
    filled = empty.to_empty(device="cpu")
    filled.load_state_dict(build("lowpass").state_dict())
    assert torch.equal(filled(*clips()).clip, build("lowpass")(*clips()).clip)


def test_the_front_end_ignores_torchs_default_precision() -> None:
    expected: Callable[[], torch.Tensor] = lambda: build("lowpass").frontend.filterbank
    kept = expected(), build("lowpass").stem.smooth
    try:
        torch.set_default_dtype(torch.bfloat16)
        model = build("lowpass")
        found = model(*clips()).clip
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(model.frontend.filterbank, kept[0]) and torch.equal(model.stem.smooth, kept[1])
    assert found.isfinite().all() and {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_a_class_token_that_is_a_mean_does_not_overflow_in_fp16() -> None:
    encoder = Encoder(EncoderConfig(width=8, depth=1, heads=2, class_token=False)).half()
    x = torch.full((1, 512, 8), 150.0, dtype=torch.float16)
    for valid in (None, torch.ones(1, 512, dtype=torch.bool)):
        assert encoder._one_class_token(x, valid)[0, 0].tolist() == [150.0] * 8
