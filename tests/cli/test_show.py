"""`aasp show`: a picture of a sound, and over it where the model's class token looks; mistakes in one line."""

from __future__ import annotations

from pathlib import Path
from types import MethodType

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from aasp.cli.main import main
from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.model.attention import Attention
from aasp.model.attention_maps import attention_maps
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig


def encoder(norm: str = "pre", rate: int = 16_000) -> AudioEncoder:
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=2, heads=4, norm=norm)  # type: ignore[arg-type]
    front = LogMelConfig(mels=32) if rate == 16_000 else LogMelConfig.at(rate)
    return AudioEncoder(AudioEncoderConfig(frontend=front, stem=ConvConfig(), encoder=size, window_seconds=0.64)).eval()


def weights(model: AudioEncoder, mel: torch.Tensor) -> torch.Tensor:
    """Attention of the class token in a window, by the definition: (L, H, N)."""
    seen: list[torch.Tensor] = []

    def forward(self: Attention, x: torch.Tensor, valid: object = None, places: object = None) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        shares = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
        seen.append(shares[0, :, 0, 1:])
        return self.out((shares @ v).transpose(1, 2).flatten(-2))

    for block in model.encoder.blocks:
        block.attention.forward = MethodType(forward, block.attention)  # type: ignore[union-attr, method-assign]
    with torch.no_grad():
        model.encode(mel)
    return torch.stack(seen)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("frames", [16, 50, 64])
def test_maps_are_the_attention_of_the_class_token(norm: str, frames: int) -> None:
    mel = torch.randn(frames, 32, generator=torch.Generator().manual_seed(1))
    found = attention_maps(encoder(norm), mel)
    by_hand = weights(encoder(norm), mel[None])
    expected = by_hand / by_hand.mean(-1, keepdim=True)
    assert found.shape == (2, 4, -(-frames // 16), 2)
    assert torch.allclose(found.flatten(2), expected, atol=1e-5)
    assert found.mean((2, 3)) == pytest.approx(1.0, abs=1e-5)


def test_long_sounds_are_looked_at_in_the_windows_that_they_are_embedded_in() -> None:
    mel = torch.randn(150, 32, generator=torch.Generator().manual_seed(1))  # 10 patches in windows of 4, half over
    found = attention_maps(encoder(), mel)
    total, reads = torch.zeros(2, 4, 10, 2), torch.zeros(10, 1)
    for first in (0, 2, 4, 6):
        one = weights(encoder(), mel[None, 16 * first : 16 * (first + 4)])
        total[:, :, first : first + 4] += (one / one.mean(-1, keepdim=True)).unflatten(-1, (-1, 2))
        reads[first : first + 4] += 1
    assert torch.allclose(found, total / reads, atol=1e-5)


def test_user_defined_attention_without_weights_is_refused() -> None:
    model = encoder()
    model.encoder.blocks[1].attention = torch.nn.Identity()
    with pytest.raises(AaspError, match="attention Identity gives no weights"):
        attention_maps(model, torch.randn(32, 32))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    encoder().save("model")
    encoder(rate=48_000).save("fast")
    soundfile.write("dog.wav", 0.1 * np.random.default_rng(0).standard_normal((48_000, 2)), 24_000)
    return tmp_path


def colours(path: str) -> np.ndarray:
    """How far from grey each pixel is."""
    return np.ptp(np.asarray(Image.open(path).convert("RGB")).astype(int), axis=2)


def test_a_spectrogram_is_grey_and_attention_is_coloured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "dog.wav"]) == 0
    assert capsys.readouterr().out.split() == ["dog.wav.spectrogram.png", "sound", "dog.wav"]
    assert colours("dog.wav.spectrogram.png").max() < 8
    assert main(["show", "model", "dog.wav", "--attention", "--layer", "1", "--head", "2"]) == 0
    assert "attention  block 1 of 2, head 2 of 4" in capsys.readouterr().out
    assert (colours("dog.wav.attention.png") > 20).mean() > 0.05


def test_a_model_of_another_rate_draws_up_to_its_own_band(folder: Path) -> None:
    assert main(["show", "fast", "dog.wav", "--out", "a.svg"]) == 0
    assert "<!-- 16 -->" in Path("a.svg").read_text(), "kHz"


def test_a_part_is_drawn_and_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "model", "dog.wav", "--start", "0.5", "--seconds", "1", "--channels", "2"]) == 0
    assert "0.5 to 1.5 s of 2 s" in capsys.readouterr().out


WRONG = {
    "no sound; name a sound, or a model and a sound: aasp show MODEL FILE": [],
    "--attention needs a model; give it first: aasp show MODEL dog.wav --attention": ["dog.wav", "--attention"],
    "dog.wav is not a model; the model comes first: aasp show model dog.wav": ["dog.wav", "model"],
    "model is a folder; name a sound file": ["model", "model"],
    "--layer without --attention": ["model", "dog.wav", "--layer", "1"],
    "--layer is 3; this model has 1 to 2": ["model", "dog.wav", "--attention", "--layer", "3"],
    "--head is 0; this model has 1 to 4": ["model", "dog.wav", "--attention", "--head", "0"],
    "no such picture: dog.bmp; end it in .png, .svg, .pdf": ["dog.wav", "--out", "dog.bmp"],
    "output exists: mine.png": ["dog.wav", "--out", "mine.png"],
    "gone.wav": ["model", "gone.wav"],
    "short.wav: too short: 10 ms, under one analysis window of 25 ms": ["short.wav"],
    "window at 9 s is outside": ["dog.wav", "--start", "9"],
    "a picture is of one channel": ["dog.wav", "--channels", "each"],
    "--seconds 0: the sound has no such part": ["dog.wav", "--seconds", "0"],
    "--start is nan; give a finite number": ["dog.wav", "--start", "nan"],
    "--seconds is inf; give a finite number": ["dog.wav", "--seconds", "inf"],
}


@pytest.mark.parametrize("message", WRONG)
def test_mistakes_are_one_line_and_write_nothing(
    message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.png").write_text("mine")
    soundfile.write("short.wav", np.zeros(160), 16_000)
    before = sorted(folder.rglob("*"))
    assert main(["show", *WRONG[message]]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before and Path("mine.png").read_text() == "mine"
