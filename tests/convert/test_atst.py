"""ATST-Frame converted: equal to a forward pass written from its paper and the published layout; its log-mel too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from aasp.cli.main import main
from aasp.convert.layouts import convert
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, load

WIDTH, DEPTH, HEADS, HIDDEN, COLUMNS = 24, 2, 3, 48, 30
OWN = "model.teacher.encoder."


def checkpoint(columns: int = COLUMNS) -> dict[str, Tensor]:
    """Random tensors under the published names, in the published shapes, with positions of this many time patches."""
    draw = torch.Generator().manual_seed(0)
    rand = lambda *shape: 0.3 * torch.randn(*shape, generator=draw)
    shapes: dict[str, tuple[int, ...]] = {
        "mask_embed": (1, 1, WIDTH), "pos_embed": (1, columns + 1, WIDTH),
        "patch_embed.patch_embed.weight": (WIDTH, 64 * 4), "patch_embed.patch_embed.bias": (WIDTH,),
    }  # fmt: skip
    for n in range(DEPTH):
        own = f"blocks.{n}."
        shapes |= {f"{own}attn.qkv.weight": (3 * WIDTH, WIDTH), f"{own}attn.proj.weight": (WIDTH, WIDTH)}
        shapes |= {f"{own}attn.proj.bias": (WIDTH,), f"{own}mlp.fc1.weight": (HIDDEN, WIDTH)}
        shapes |= {
            f"{own}mlp.fc1.bias": (HIDDEN,),
            f"{own}mlp.fc2.weight": (WIDTH, HIDDEN),
            f"{own}mlp.fc2.bias": (WIDTH,),
        }
    held = {name: rand(*shape) for name, shape in shapes.items()}
    for name in ("norm_frame", *(f"blocks.{n}.norm{i}" for n in range(DEPTH) for i in (1, 2))):
        held |= {f"{name}.weight": 1 + rand(WIDTH), f"{name}.bias": rand(WIDTH)}
    return held


def forward(p: dict[str, Tensor], mel_TM: Tensor) -> Tensor:
    """Tokens (G, D) of one clip of 4 G frames or up to 3 more, from the paper."""
    norm = lambda name, x: functional.layer_norm(x, (WIDTH,), p[f"{name}.weight"], p[f"{name}.bias"], 1e-6)
    linear = lambda name, x: x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
    x = torch.stack([mel_TM[4 * g : 4 * g + 4].T.reshape(-1) for g in range(len(mel_TM) // 4)])  # bin by bin
    x = linear("patch_embed.patch_embed", x) + p["pos_embed"][0, 1 : len(x) + 1]
    for n in range(DEPTH):
        own, heads = f"blocks.{n}.", []
        q, k, v = (norm(f"{own}norm1", x) @ p[f"{own}attn.qkv.weight"].T).chunk(3, dim=-1)
        for h in range(HEADS):
            here = slice(h * WIDTH // HEADS, (h + 1) * WIDTH // HEADS)
            heads.append((q[:, here] @ k[:, here].T / (WIDTH / HEADS) ** 0.5).softmax(-1) @ v[:, here])
        x = x + linear(f"{own}attn.proj", torch.cat(heads, dim=-1))
        x = x + linear(f"{own}mlp.fc2", functional.gelu(linear(f"{own}mlp.fc1", norm(f"{own}norm2", x))))
    return norm("norm_frame", x)


def written(folder: Path, columns: int = COLUMNS, **changes: Tensor) -> Path:
    held = {f"{OWN}{name}": tensor for name, tensor in checkpoint(columns).items()} | changes
    held["model.student.projector.0.weight"] = torch.ones(3, 3)
    torch.save({"state_dict": held, "hyper_parameters": {"arch": "base"}}, folder / "atst.ckpt")
    return folder / "atst.ckpt"


@pytest.fixture
def model(tmp_path: Path) -> AudioEncoder:
    found = convert(written(tmp_path), "atst", HEADS)
    assert isinstance(found, AudioEncoder)
    return found


@torch.no_grad()
def test_log_mels_are_encoded_as_the_paper_does(model: AudioEncoder) -> None:
    mel = torch.randn(2, 80, 64, generator=torch.Generator().manual_seed(1))
    found, expected = model.embed(mel), torch.stack([forward(checkpoint(), one) for one in mel])
    torch.testing.assert_close(found.tokens, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.clip, expected.mean(1), rtol=0, atol=1e-4)
    assert expected.std() > 0.3 and expected.std(1).min() > 1e-3 and model.config.window_patches == COLUMNS


@torch.no_grad()
def test_waveforms_become_decibels_below_the_loudest(tmp_path: Path, model: AudioEncoder) -> None:
    """A bang in near silence: levels more than 80 dB below it are limited to -80 dB, and padding changes nothing."""
    wave = 1e-6 * np.random.default_rng(0).standard_normal(12_720)
    wave[4_000:4_400] = np.sin(np.arange(400))
    filters = mel_filter_bank(513, 64, 60.0, 7_800.0, 16_000, norm=None, mel_scale="htk")
    options = dict(frame_length=1024, hop_length=160, fft_length=1024, power=2.0, center=True, pad_mode="constant")
    power = spectrogram(wave, window_function(1024, "hann", periodic=True), mel_filters=filters, **options).T
    decibel = 10 * np.log10(np.maximum(power, 1e-10))
    limited = np.maximum(decibel, decibel.max() - 80)
    assert (limited > decibel).mean() > 0.3, "so the limit is seen"
    wanted = torch.from_numpy((limited + 79.6482) / (50.6842 + 79.6482) * 2 - 1).float()
    model.save(tmp_path / "converted")
    again, given = load(tmp_path / "converted"), torch.from_numpy(wave)[None]
    mel, frames = again.mel(given)
    assert frames.tolist() == [80] and mel.shape == (1, 80, 64)
    torch.testing.assert_close(mel[0].float(), wanted, rtol=0, atol=1e-4)
    torch.testing.assert_close(again(given.float()).tokens[0], forward(checkpoint(), wanted), rtol=0, atol=1e-4)
    # Batched with a louder and longer clip; and cut where a bang just beyond the end would be in the next frame.
    longer = torch.cat([functional.pad(given, (0, 3_000)), 0.5 * torch.randn(1, 15_720).double()])
    both, counts = again.mel(longer, torch.tensor([12_720, 15_720]))
    torch.testing.assert_close(both[0, :80], mel[0], rtol=0, atol=1e-9)
    assert counts.tolist() == [80, 99] and (both[0, 80:] == 0).all()
    with pytest.raises(AaspError, match="its frames depend on more of the sound than their own windows"):
        again.stream()


@torch.no_grad()
def test_ten_seconds_are_one_window(tmp_path: Path) -> None:
    """The published table has 250 positions; 160,000 samples have 1,001 frames, of which the last is left out."""
    model = convert(written(tmp_path, 250), "atst", HEADS)
    assert isinstance(model, AudioEncoder)
    wave = 0.1 * torch.randn(1, 160_000, generator=torch.Generator().manual_seed(2)) * torch.linspace(0.1, 1, 160_000)
    mel, frames = model.mel(wave)
    assert frames.tolist() == [1_001] and model.config.window_patches == 250
    found, expected = model(wave), forward(checkpoint(250), mel[0].float())
    assert expected.shape == (250, WIDTH)
    torch.testing.assert_close(found.tokens[0], expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.clip[0], expected.mean(0), rtol=0, atol=1e-4)
    # Also beside a longer clip of the same number of patches, whose frames it doesn't see.
    longer = torch.cat([functional.pad(wave, (0, 300)), 0.1 * torch.randn(1, 160_300)])
    both = model(longer, torch.tensor([160_000, 160_300]))
    torch.testing.assert_close(both.tokens[:1], found.tokens, rtol=0, atol=1e-4)
    assert both.valid.all()


def test_the_command_and_its_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--as", "atst", "--heads", str(HEADS), "--out", str(tmp_path / "made")]
    assert main(["convert", str(written(tmp_path)), *words]) == 0
    assert "log-mel of 64 bins, less -3.3346, over 15.0051" in capsys.readouterr().out
    clip = {f"{OWN}cls_token": torch.zeros(1, 1, WIDTH)}  # ATST-Clip has one
    with pytest.raises(AaspError, match=r"has model\.teacher\.encoder\.cls_token"):
        convert(written(tmp_path, **clip), "atst", HEADS)
    with pytest.raises(AaspError, match="takes 250 values, not 64 mel bins of some frames"):
        convert(written(tmp_path, **{f"{OWN}patch_embed.patch_embed.weight": torch.ones(WIDTH, 250)}), "atst", HEADS)
