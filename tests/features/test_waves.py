"""What a waveform may be, and what is refused: the same everywhere, in one line with what to give instead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from aasp.errors import AaspError
from aasp.features.logmel import LogMel, LogMelConfig
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig
from aasp.waveforms import MAX_PEAK

SAMPLES = 8_000
CONFIG = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=16, depth=1, heads=2), window_seconds=0.64)
TAKERS = {
    "LogMel": LogMel,
    "AudioEncoder": lambda: AudioEncoder(CONFIG).eval(),
    "AudioClassifier": lambda: AudioClassifier(AudioClassifierConfig(("cat", "dog"), encoder=CONFIG)).eval(),
}


@pytest.fixture(params=TAKERS)
def take(request: pytest.FixtureRequest) -> Callable[..., torch.Tensor]:
    """From waveform and lengths to one tensor."""
    torch.manual_seed(0)
    module = TAKERS[request.param]()

    def taken(*given: object) -> torch.Tensor:
        found = module(*given)
        return found[0] if isinstance(found, tuple) else getattr(found, "tokens", found)

    return taken


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(1))


def bad(place: int, value: float) -> torch.Tensor:
    wave = noise(3, SAMPLES)
    wave[1, place] = value
    return wave


REFUSED = {
    "numpy": (noise(2, SAMPLES).numpy(), r"numpy array of shape \(2, 8000\).*give torch.from_numpy\(wave\)$"),
    "numpy, one clip": (noise(SAMPLES).double().numpy(), r"give torch.from_numpy\(wave\)\[None\]$"),
    "list": ([noise(SAMPLES), noise(9_000)], "list of 2.*pad_sequence.*lengths"),
    "nothing": (None, "of type NoneType"),
    "a path": ("dog.wav", "of type str"),
    "scalar": (torch.tensor(0.1), r"shape \(\) is not \(clips, samples\)"),
    "one clip": (noise(SAMPLES), r"shape \(8000,\) is not \(clips, samples\); give wave\[None\]"),
    "a channel": (noise(2, 1, SAMPLES), r"shape \(2, 1, 8000\).*give wave.squeeze\(1\)"),
    "a last channel": (noise(2, SAMPLES, 1), r"give wave.squeeze\(2\)"),
    "stereo": (noise(2, 2, SAMPLES), r"give mono, wave.mean\(1\)"),
    "stereo, channels last": (noise(2, SAMPLES, 2), r"give mono, wave.mean\(2\)"),
    "four dimensions": (noise(1, 1, 1, SAMPLES), r"shape \(1, 1, 1, 8000\) is not"),
    "soundfile's stereo": (noise(SAMPLES, 2), r"shorter than one.*shape \(8000, 2\).*give wave.mean\(1\)\[None\]"),
    "no clip": (noise(0, SAMPLES), r"shape \(0, 8000\) holds no clip"),
    "no sample": (noise(2, 0), "0.0 ms is shorter than one analysis window of 25 ms"),
    "too short": (noise(2, 399), "24.9 ms is shorter than one analysis window of 25 ms"),
    "int32": (noise(2, SAMPLES).int(), r"torch.int32: its scale is unknown; give wave / 2\*\*31"),
    "int64": (noise(2, SAMPLES).long(), "torch.int64: its scale is unknown.*give fp32 samples in -1 to 1"),
    "int8": (noise(2, SAMPLES).to(torch.int8), "torch.int8.*give wave / 128"),
    "uint8": (noise(2, SAMPLES).to(torch.uint8), r"torch.uint8.*give \(wave.float\(\) - 128\) / 128"),
    "bool": (noise(2, SAMPLES) > 0, "torch.bool"),
    "complex": (noise(2, SAMPLES).to(torch.complex64), "torch.complex64"),
    "float8": (noise(2, SAMPLES).to(torch.float8_e4m3fn), "torch.float8_e4m3fn"),
    "sparse": (noise(2, SAMPLES).to_sparse(), "layout torch.sparse_coo"),
    "nested": (torch.nested.nested_tensor([noise(8_000), noise(9_000)], layout=torch.jagged), "layout torch.jagged"),
    "elsewhere": (noise(2, SAMPLES).to("meta"), r"wave on meta, the front end on cpu; give wave.to\('cpu'\)"),
}
SAMPLES_REFUSED = {
    "NaN": (bad(0, torch.nan), "clip 1 holds NaN or infinite samples"),
    "infinite": (bad(-1, -torch.inf), "clip 1 holds NaN or infinite samples"),
    "16-bit samples as floats": (32_768 * noise(2, SAMPLES), "clip 0 reaches .*not a waveform in -1 to 1"),
    "one sample too loud": (bad(5, -1.01 * MAX_PEAK), "clip 1 reaches 101,"),
    "16-bit samples in fp16": ((32_768 * noise(2, SAMPLES)).half(), "clip 0 reaches"),
}


@pytest.mark.parametrize("name", SAMPLES_REFUSED)
@pytest.mark.parametrize("taker", ["AudioEncoder", "AudioClassifier"])
def test_samples_that_are_no_waveform_are_not_embedded(taker: str, name: str) -> None:
    wave, words = SAMPLES_REFUSED[name]
    with pytest.raises(AaspError, match=words) as error:
        TAKERS[taker]()(wave)
    assert "\n" not in str(error.value)


def test_a_front_end_does_not_look_at_samples() -> None:
    """NaN shows in its own frames; a factor is a constant."""
    wave = noise(3, SAMPLES)
    mel, _ = LogMel()(wave)
    found, _ = LogMel()(bad(4_000, torch.nan))
    frames = found.isnan().any(2)
    assert frames[1].nonzero().flatten().tolist() == [23, 24, 25] and not frames[[0, 2]].any()
    louder = (LogMel()(32_768 * wave)[0] - mel)[..., 16:]  # of the lowest filters some hold no frequency of the FFT
    torch.testing.assert_close(louder, torch.full_like(louder, 2 * np.log(32_768) / 9.138), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", REFUSED)
def test_input_that_is_no_batch_of_waveforms_is_refused_in_one_line(name: str, take: Callable) -> None:
    wave, words = REFUSED[name]
    with pytest.raises(AaspError, match=words) as error:
        take(wave)
    assert "\n" not in str(error.value)


DTYPES = {torch.float64: 5e-5, torch.float16: 2e-2, torch.bfloat16: 0.15}
"""Largest difference of a log-mel bin of noise: fp32's rounding in the quietest, and samples of 11 and 8 bits."""


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_floating_type_is_taken(dtype: torch.dtype, take: Callable) -> None:
    wave = noise(2, SAMPLES)
    difference = (take(wave.to(dtype)) - take(wave)).abs().max()
    assert difference < DTYPES[dtype]
    assert torch.equal(take(wave.to(dtype)), take(wave.to(dtype).float())) or dtype == torch.float64


def test_sixteen_bit_samples_are_divided_by_full_scale(take: Callable) -> None:
    samples = (32_768 * noise(2, SAMPLES)).round().to(torch.int16)
    assert torch.equal(take(samples), take(samples.float() / 32_768))
    assert take(torch.full((1, SAMPLES), -32_768, dtype=torch.int16)).isfinite().all(), "full scale is -1"


def test_strided_views_are_read_correctly(take: Callable) -> None:
    stereo = noise(SAMPLES, 2)
    torch.testing.assert_close(take(stereo.T), take(stereo.T.contiguous()), rtol=0, atol=5e-5)
    every_other = noise(2, 2 * SAMPLES)[:, ::2]
    torch.testing.assert_close(take(every_other), take(every_other.clone()), rtol=0, atol=5e-5)


def test_loud_but_possible_waveforms_are_taken(take: Callable) -> None:
    assert take(50 * torch.sign(noise(1, SAMPLES))).isfinite().all()
    assert take(torch.zeros(1, SAMPLES)).isfinite().all()


def test_gradients_reach_the_waveform(take: Callable) -> None:
    for dtype in (torch.float32, torch.float16):
        wave = noise(2, SAMPLES).to(dtype).requires_grad_()
        take(wave, [SAMPLES, 5_000]).square().sum().backward()
        assert wave.grad is not None and wave.grad.dtype == dtype
        assert wave.grad.isfinite().all() and (wave.grad[:, :4_000].abs().amax(1) > 0).all()
        assert (wave.grad[1, 5_000:] == 0).all()


LENGTHS = {
    "too few": (torch.tensor([SAMPLES]), r"shape \(1,\) for 3 clips; give one of each, shape \(3,\)"),
    "too many": (torch.full((4,), SAMPLES), r"shape \(4,\) for 3 clips"),
    "a column": (torch.full((3, 1), SAMPLES), r"shape \(3, 1\) for 3 clips"),
    "a number": (SAMPLES, r"shape \(\) for 3 clips"),
    "shares": (torch.tensor([1.0, 0.5, 1.0]), "torch.float32 are not whole numbers; give 3 counts of samples"),
    "a list of floats": ([8000.0, 8000.0, 8000.0], "torch.float64 are not whole numbers"),
    "a mask": (torch.tensor([True, True, False]), "torch.bool are not whole numbers"),
    "words": (["8000", "8000", "8000"], "are not whole numbers"),
    "ragged": ([[1], [1, 2], 3], "are not whole numbers"),
    "longer than the wave": (np.array([8_000, 8_001, 500]), "length 8001 of clip 1 is not in 0 to 8000 samples"),
    "negative": ([SAMPLES, 500, -1], "length -1 of clip 2 is not in 0 to 8000 samples"),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_that_do_not_fit_are_refused_in_one_line(name: str, take: Callable) -> None:
    lengths, words = LENGTHS[name]
    with pytest.raises(AaspError, match=words) as error:
        take(noise(3, SAMPLES), lengths)
    assert "\n" not in str(error.value)


def test_lengths_are_taken_as_people_have_them(take: Callable) -> None:
    wave = noise(3, SAMPLES)
    expected = take(wave, torch.tensor([SAMPLES, 5_000, 400]))
    assert not torch.allclose(expected, take(wave))
    for lengths in (
        [SAMPLES, 5_000, 400],
        (SAMPLES, 5_000, 400),
        np.array([SAMPLES, 5_000, 400]),
        torch.tensor([SAMPLES, 5_000, 400], dtype=torch.int16),
        torch.tensor([SAMPLES, 5_000, 400], dtype=torch.int32),
    ):
        assert torch.equal(take(wave, lengths), expected)


@pytest.mark.parametrize("preset", [LogMelConfig.kaldi, LogMelConfig.slaney80])
def test_samples_beyond_a_clips_end_are_not_read(preset: Callable[[], LogMelConfig]) -> None:
    """Not even where a centred window reaches over the end."""
    front, wave, lengths = LogMel(preset()), noise(2, SAMPLES), torch.tensor([5_000, SAMPLES])
    expected, frames = front(wave.masked_fill(torch.arange(SAMPLES) >= lengths[:, None], 0.0), lengths)
    for beyond in (1.0, torch.nan, 1e9):
        wave[0, 5_000:] = beyond
        mel, counted = front(wave, lengths)
        assert torch.equal(mel, expected) and torch.equal(counted, frames)


def test_a_clip_without_a_window_is_refused_where_it_would_be_embedded() -> None:
    """A front end gives no number of frames."""
    wave = noise(3, SAMPLES)
    for short in (0, 1, 399):
        mel, frames = LogMel()(wave, [SAMPLES, short, 400])
        assert frames.tolist() == [48, 0, 1] and (mel[1] == 0).all()
        for name in ("AudioEncoder", "AudioClassifier"):
            with pytest.raises(AaspError, match="clip 1 is shorter than one analysis window of 25 ms"):
                TAKERS[name]()(wave, [SAMPLES, short, 400])
