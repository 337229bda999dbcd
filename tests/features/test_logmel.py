"""Log-mel: parity with Kaldi and the AST extractor, gradients, padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor

from aasp.errors import AaspError
from aasp.features import logmel
from aasp.features.logmel import LogMel, LogMelConfig, mel_filterbank
from kaldi import kaldi

RAW = {"mean": 0.0, "std": 1.0}


def sounds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    time = np.arange(24_000) / 16_000
    return {
        "noise": 0.1 * rng.normal(size=24_000),
        "quiet noise": 1e-3 * rng.normal(size=24_000),
        "chirp": 0.1 * np.sin(2 * np.pi * (100 + 2000 * time) * time) + 5e-2 * rng.normal(size=24_000),
        "tremolo": (0.5 + 0.4 * np.sin(2 * np.pi * 8 * time)) * rng.normal(size=24_000) * 0.2 + 0.1,
        "silence": np.zeros(24_000),
    }


@pytest.mark.parametrize("name", sounds())
def test_kaldi_preset_is_kaldi(name: str) -> None:
    wave = sounds()[name].astype(np.float32)
    ours, _ = LogMel(LogMelConfig.kaldi(**RAW))(torch.from_numpy(wave)[None])
    theirs = kaldi(wave)
    assert ours.shape[1:] == theirs.shape
    np.testing.assert_allclose(ours[0].numpy(), theirs, atol=1e-3, rtol=0)


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize("name", sounds())
def test_kaldi_preset_is_the_ast_front_end(name: str) -> None:
    wave = sounds()[name].astype(np.float32)
    ours, frames = LogMel(LogMelConfig.kaldi(**RAW))(torch.from_numpy(wave)[None])
    extractor = ASTFeatureExtractor(do_normalize=False, max_length=int(frames[0]))
    theirs = extractor(wave, sampling_rate=16_000, return_tensors="np").input_values
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-3, rtol=0)


def test_htk_preset_against_a_plain_computation() -> None:
    """Centred periodic Hann windows of 400 samples, 80 HTK triangles from 50 Hz, natural logarithm."""
    wave = sounds()["chirp"]
    padded = np.pad(wave, 200)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.stack([padded[t * 160 : t * 160 + 400] * window for t in range(1 + len(wave) // 160)])
    power = np.abs(np.fft.rfft(frames, 400)) ** 2
    edges = 700 * (10 ** (np.linspace(*2595 * np.log10(1 + np.array([50, 8000]) / 700), 82) / 2595) - 1)
    hz = np.fft.rfftfreq(400, 1 / 16_000)
    bank = np.stack([np.interp(hz, edges[i : i + 3], [0, 1, 0]) for i in range(80)], axis=1)
    expected = (np.log(np.maximum(power @ bank, 2.0**-23)) + 7.1) / 4.2
    ours, _ = LogMel(replace(LogMelConfig.slaney80(), triangles="hertz"))(torch.from_numpy(wave)[None])
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-5)


def test_filters_are_triangles_of_height_one() -> None:
    bank = mel_filterbank(replace(LogMelConfig.slaney80(fft=4096), triangles="hertz"))
    assert bank.shape == (2049, 80)
    assert (bank.amax(0) > 0.9).all() and bank.max() <= 1


def test_gradients() -> None:
    front_end = LogMel(LogMelConfig(mels=8, fft=512)).double()
    wave = 0.1 * torch.randn(1, 700, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda x: front_end(x)[0], wave.requires_grad_(), nondet_tol=1e-9)


@pytest.mark.parametrize("preset", [LogMelConfig.kaldi, LogMelConfig.slaney80])
def test_padding_changes_nothing_and_is_zero(preset) -> None:
    front_end = LogMel(preset())
    wave = torch.randn(1, 9_000)
    alone, frames = front_end(wave)
    padded, both = front_end(
        torch.cat([torch.nn.functional.pad(wave, (0, 5_000)), torch.randn(1, 14_000)]), torch.tensor([9_000, 14_000])
    )
    valid = int(frames[0])
    assert int(both[0]) == valid == front_end.config.frames(9_000)
    torch.testing.assert_close(padded[0, :valid], alone[0], rtol=0, atol=1e-6)
    assert (padded[0, valid:] == 0).all()
    assert (padded[1] != 0).any(-1).all()


@pytest.mark.parametrize(("clips", "samples"), [(1, 60_000), (3, 25_000), (70, 900)])
def test_blocks_of_frames_change_nothing(clips: int, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    front_end, wave = LogMel(), torch.randn(clips, samples)
    in_blocks, _ = front_end(wave)
    monkeypatch.setattr(logmel, "FRAMES_IN_CACHE", 10**9)
    torch.testing.assert_close(in_blocks, front_end(wave)[0], rtol=0, atol=2e-6)


def test_fp32_under_autocast() -> None:
    wave = torch.randn(1, 8_000)
    front_end = LogMel()
    with torch.autocast("cpu", torch.bfloat16):
        mel, _ = front_end(wave)
    assert mel.dtype == torch.float32
    torch.testing.assert_close(mel, front_end(wave)[0], rtol=0, atol=0)


def test_frames_and_samples_agree() -> None:
    for config in (LogMelConfig.kaldi(), LogMelConfig.slaney80()):
        for frames in (1, 2, 100):
            samples = config.samples(frames)
            assert config.frames(samples) >= frames > config.frames(samples - 1)


def test_too_short_is_refused() -> None:
    with pytest.raises(AaspError, match=r"10\.0 ms is shorter than one analysis window of 25 ms"):
        LogMel()(torch.zeros(1, 160))


@pytest.mark.parametrize(
    ("fields", "words"), [({"high_hz": 9000.0}, "high_hz 9000"), ({"fft": 256}, "fft 256"), ({"std": 0.0}, "std 0")]
)
def test_impossible_front_ends_are_refused(fields: dict, words: str) -> None:
    with pytest.raises(AaspError, match=words):
        LogMelConfig(**fields)


class Exported(torch.nn.Module):
    def __init__(self, front: LogMel) -> None:
        super().__init__()
        self.front = front

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return self.front(wave)[0]


@pytest.mark.parametrize(
    "preset", [LogMelConfig.kaldi, LogMelConfig.slaney80, lambda: LogMelConfig(fft=1024, hop_ms=9.5, povey=True)]
)
def test_a_log_mel_for_onnx_is_one_product_and_needs_no_fourier_transform(
    preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, as an AudioEncoder needs it, the two ways agree to 1e-9; in fp32 both are rounding beside a tone."""
    front, wave = LogMel(preset()), torch.stack([noise(9_000), tone(440.0, 9_000), torch.full((9_000,), 0.5)])
    monkeypatch.setattr(logmel, "is_for_onnx", lambda: True)
    program = torch.export.export(Exported(front), (wave.double(),))
    names = {str(node.target) for node in program.graph.nodes}
    assert not any("fft" in name for name in names)
    single = torch.export.export(Exported(front), (wave,)).module()(wave)
    monkeypatch.undo()
    exact = front(wave.double())[0]
    torch.testing.assert_close(program.module()(wave.double()), exact, rtol=0, atol=1e-9)
    torch.testing.assert_close(single[0], exact[0].float(), rtol=0, atol=1e-5)
    assert (single - exact).square().mean().sqrt() < 3e-5  # measured: 1.3e-5


def noise(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))


def tone(hertz: float, samples: int) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hertz * torch.arange(samples, dtype=torch.float64) / 16_000).float()
