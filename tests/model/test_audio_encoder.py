"""AudioEncoder: any length, padding that changes nothing, files that are complete or refused."""

from __future__ import annotations

import json

import pytest
import torch

import aasp
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig

STEMS = {"conv": ConvConfig(), "local": AaPEConfig(states=4), "wide": AaPEConfig(states=4, taps=48)}


def build(stem: str = "local", norm: str = "pre", window_seconds: float = 0.64) -> AudioEncoder:
    torch.manual_seed(0)
    encoder = EncoderConfig(32, 2, 4, norm=norm)
    model = AudioEncoder(AudioEncoderConfig(stem=STEMS[stem], encoder=encoder, window_seconds=window_seconds)).eval()
    if stem != "conv":
        with torch.no_grad():
            model.stem.fuse.weight.add_(0.1 * torch.randn_like(model.stem.fuse.weight))
    return model


def clips(*samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    wave = torch.zeros(len(samples), max(samples))
    for row, length in zip(wave, samples, strict=True):
        row[:length] = 0.1 * torch.randn(length)
    return wave, torch.tensor(samples)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("pooling", ["cls", "flat+std"])
@torch.no_grad()
def test_padding_never_changes_an_embedding(stem: str, norm: str, pooling: str) -> None:
    """Shorter than a patch, than a window, one window, several: alone or in a batch, 1e-5."""
    model = build(stem, norm)
    wave, lengths = clips(400, 5_000, 10_240, 31_000, 47_123)
    together = model(wave, lengths, layers=True, pooling=pooling)
    for b, length in enumerate(lengths.tolist()):
        alone = model(wave[b : b + 1, :length], layers=True, pooling=pooling)
        patches = alone.tokens.shape[1]
        torch.testing.assert_close(together.clip[b], alone.clip[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(together.tokens[b, :patches], alone.tokens[0], rtol=0, atol=1e-5)
        assert (together.tokens[b, patches:] == 0).all()
        assert together.valid[b].sum() == alone.valid.sum() == alone.valid.numel()
        for (tokens, cls), (tokens_alone, cls_alone) in zip(together.layers, alone.layers, strict=True):
            torch.testing.assert_close(tokens[b, :patches], tokens_alone[0], rtol=0, atol=1e-5)
            torch.testing.assert_close(cls[b], cls_alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("longest", [5_000, 10_240, 31_000])
@torch.no_grad()
def test_a_batch_padded_beyond_its_longest_clip(longest: int) -> None:
    model = build()
    wave, lengths = clips(4_000, longest)
    alone, together = model(wave, lengths), model(torch.nn.functional.pad(wave, (0, 60_000)), lengths)
    assert torch.allclose(together.clip, alone.clip, atol=1e-5)
    count = alone.timestamps.shape[1]
    assert together.valid.shape == together.timestamps.shape[:2] and not together.valid[:, count:].any()
    assert torch.allclose(together.timestamps[:, :count], alone.timestamps, atol=1e-5)


@torch.no_grad()
def test_shapes_and_times() -> None:
    model = build()
    out = model(*clips(16_000, 32_000), layers=True)
    assert out.clip.shape == (2, 32)
    assert out.timestamps.shape == (2, 13, 8 * 32)
    assert out.tokens.shape == (2, 13 * 8, 32)
    assert len(out.layers) == 1 + 2
    torch.testing.assert_close(out.seconds[:2], torch.tensor([0.08, 0.24]))
    assert out.valid.sum(1).tolist() == [7, 13]


@torch.no_grad()
def test_long_audio_is_read_to_its_end_in_windows() -> None:
    model = build()
    wave, _ = clips(48_000)
    ending = wave.clone()
    ending[:, -1_600:] = 0.1 * torch.randn(1_600)
    a, b = model(wave), model(ending)
    moved = (a.timestamps - b.timestamps).abs().amax(-1)[0]
    assert moved[-1] > 1e-3 and not torch.allclose(a.clip, b.clip, atol=1e-5)
    assert (moved[: len(moved) // 2] == 0).all(), "a window must not see beyond itself"


@torch.no_grad()
def test_windows_are_averaged_where_they_overlap() -> None:
    """Three windows by hand: 0..4, 2..6, 4..8 patches of a clip of 8."""
    model = build("conv")
    wave, _ = clips(1_280 * 16 + 400 - 160)
    mel, _ = model.frontend(wave)
    windows = [model.encode(mel[:, s * 16 : (s + 4) * 16])[-1] for s in (0, 2, 4)]
    tokens = [w[0].unflatten(1, (4, 8)) for w in windows]
    expected = torch.cat(
        [tokens[0][:, :2], (tokens[0][:, 2:] + tokens[1][:, :2]) / 2, (tokens[1][:, 2:] + tokens[2][:, :2]) / 2,
         tokens[2][:, 2:]], dim=1,
    )  # fmt: skip
    out = model(wave)
    torch.testing.assert_close(out.tokens, expected.flatten(1, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.cls, torch.stack([w[1] for w in windows]).mean(0), rtol=0, atol=1e-5)


def test_one_analysis_window_is_enough_and_less_is_refused() -> None:
    model = build()
    assert model(torch.randn(1, 400)).clip.isfinite().all()
    with pytest.raises(AaspError, match="shorter than one analysis window"):
        model(torch.randn(1, 399))
    with pytest.raises(AaspError, match="clip 1 is shorter than one analysis window of 25 ms"):
        model(torch.randn(2, 800), torch.tensor([800, 160]))


def test_save_and_load_return_the_same_model(tmp_path) -> None:
    model = build("wide")
    model.save(tmp_path / "model")
    assert sorted(f.name for f in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    loaded = aasp.load(tmp_path / "model")
    assert loaded.config == model.config and not loaded.training
    wave, lengths = clips(9_000, 20_000)
    assert torch.equal(loaded(wave, lengths).clip, model(wave, lengths).clip)
    model.save(tmp_path / "model")  # in place of the old one
    assert sorted(f.name for f in tmp_path.iterdir()) == ["model"]
    assert aasp.load(tmp_path).config == model.config  # a run's folder


def refused(path, words: str) -> None:
    with pytest.raises(AaspError, match=words) as error:
        aasp.load(path)
    assert "\n" not in str(error.value)


def test_broken_model_directories_are_refused(tmp_path) -> None:
    refused(tmp_path / "nowhere", "no such directory")
    refused(tmp_path, "holds no config.json")
    folder = tmp_path / "model"
    build().save(folder)
    config, weights = folder / "config.json", folder / "model.safetensors"
    text, data = config.read_text(), weights.read_bytes()

    weights.unlink()
    refused(folder, "model.safetensors: no such file")
    weights.write_bytes(data[: len(data) // 2])
    refused(folder, "not readable as safetensors")
    weights.write_bytes(data)

    values = json.loads(text)
    values["encoder"]["depth"] = 3
    config.write_text(json.dumps(values))
    refused(folder, "does not fit config.json")
    config.write_text(text[:50])
    refused(folder, "not readable as JSON")
    config.write_text(json.dumps(json.loads(text) | {"stam": 1}))
    refused(folder, "unknown field 'stam'; did you mean 'stem'")


def test_nothing_but_a_model_is_replaced(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(AaspError, match="holds something else"):
        build().save(tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failed_save_leaves_the_old_model(tmp_path, monkeypatch) -> None:
    model = build()
    model.save(tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aasp.weights.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        build("conv").save(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["model"]


def test_unknown_pooling_is_refused() -> None:
    with pytest.raises(AaspError, match="no such pooling: max; choose from cls, mean"):
        build()(torch.randn(1, 800), pooling="max")
