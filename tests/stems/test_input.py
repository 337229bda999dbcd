"""A stem's input: a log-mel of its own bins, in any floating type; else one line with what to give."""

from __future__ import annotations

import copy

import pytest
import torch

from aasp.errors import AaspError
from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.contract import Stem
from aasp.stems.conv import ConvConfig, ConvStem
from aasp.stems.lowpass import LowpassStem

WIDTH, MELS, FRAMES = 32, 64, 96
STEMS = {
    "AaPE": lambda: AaPE(WIDTH, MELS, AaPEConfig(states=4, encoder_width=16)),
    "AaPE, wide": lambda: AaPE(WIDTH, MELS, AaPEConfig(states=4, encoder_width=16, taps=48)),
    "conv": lambda: ConvStem(WIDTH, MELS),
    "overlap": lambda: ConvStem(WIDTH, MELS, ConvConfig(taps=32)),
    "lowpass": lambda: LowpassStem(WIDTH, MELS),
}


@pytest.fixture(params=STEMS)
def stem(request: pytest.FixtureRequest) -> Stem:
    torch.manual_seed(0)
    stem = STEMS[request.param]().eval()
    if isinstance(stem, AaPE):
        with torch.no_grad():
            stem.fuse.weight.add_(0.1 * torch.randn_like(stem.fuse.weight))
    return stem


def mel(*shape: int) -> torch.Tensor:
    return torch.randn(shape or (2, FRAMES, MELS), generator=torch.Generator().manual_seed(1))


REFUSED = {
    "numpy": (mel().numpy(), "log-mel of type ndarray; give a tensor"),
    "one clip": (mel(FRAMES, MELS), r"shape \(96, 64\) is not \(clips, frames, 64 mel bins\); give mel\[None\]"),
    "a channel": (mel(2, 1, FRAMES, MELS), r"shape \(2, 1, 96, 64\).*give mel.squeeze\(1\)"),
    "turned": (mel(2, MELS, FRAMES), r"shape \(2, 64, 96\).*give mel.transpose\(1, 2\)"),
    "other bins": (mel(2, FRAMES, 128), r"shape \(2, 96, 128\).*build the stem for 128 mel bins"),
    "a waveform": (mel(2, 16_000), r"shape \(2, 16000\) is not \(clips, frames, 64 mel bins\)"),
    "a number": (torch.tensor(1.0), r"shape \(\) is not"),
    "no frame": (mel(2, 0, MELS), r"shape \(2, 0, 64\) is not"),
    "integers": (mel().long(), "log-mel of torch.int64; give it normalised, as `LogMel` does, in fp32"),
    "bool": (mel() > 0, "log-mel of torch.bool"),
    "complex": (mel().to(torch.complex64), "log-mel of torch.complex64"),
    "elsewhere": (mel().to("meta"), "log-mel on meta, the stem on cpu"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_input_that_is_not_its_log_mel_is_refused_in_one_line(name: str, stem: Stem) -> None:
    given, words = REFUSED[name]
    for take in (stem, lambda x: stem.views(x, torch.zeros(2, 1, 3, dtype=torch.long))):
        with pytest.raises(AaspError, match=words) as error:
            take(given)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_every_floating_type_is_taken_in_the_stems_precision(dtype: torch.dtype, stem: Stem) -> None:
    rounded = mel().to(dtype)
    tokens = stem(rounded)
    assert tokens.dtype == torch.float32 and torch.equal(tokens, stem(rounded.float()))


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float64, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 5e-2)], ids=str
)
def test_a_cast_stem_gives_the_tokens_of_fp32(dtype: torch.dtype, rounding: float, stem: Stem) -> None:
    visible = torch.rand(2, 3, 24).argsort(-1)[..., :9]
    cast = copy.deepcopy(stem).to(dtype)
    for found, expected in ((cast(mel()), stem(mel())), (cast.views(mel(), visible), stem.views(mel(), visible))):
        assert found.dtype == dtype
        assert (found - expected).norm() / expected.norm() < rounding


def test_no_clip_is_no_token(stem: Stem) -> None:
    assert stem(mel(0, FRAMES, MELS)).shape == (0, 24, WIDTH)
