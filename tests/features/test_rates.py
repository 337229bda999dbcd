"""Front ends and recipes of other sampling rates: their bands, and that a model receives sound at its own rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.audio.io import AudioError, read
from aasp.audio.sounds import Excerpt, Recording, Samples, read_sound
from aasp.cli.main import main
from aasp.errors import AaspError
from aasp.features.logmel import RATES, LogMel, LogMelConfig, mel_filterbank
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.encoder import EncoderConfig
from aasp.pretrain import recipes


def tone(hertz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return 0.1 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def test_the_16_khz_front_end_is_unchanged() -> None:
    assert LogMelConfig.at(16_000) == LogMelConfig.kaldi()


@pytest.mark.parametrize("rate", RATES)
def test_bins_are_as_wide_at_every_rate_and_patches_fit(rate: int) -> None:
    config = LogMelConfig.at(rate)
    assert (config.rate, config.high_hz, config.frame_rate) == (rate, rate / 2, 100.0)
    assert config.mels % 16 == 0 and config.rate / config.fft == 31.25
    mel = 1127 * np.log1p(config.centres() / 700)
    assert np.diff(mel) == pytest.approx(21.77, rel=0.04), "the width at 16 kHz"
    assert np.allclose(np.diff(mel), np.diff(mel)[0])


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_is_loudest_in_its_own_bin(rate: int) -> None:
    config = LogMelConfig.at(rate)
    bins = np.array([config.mels // 3, config.mels // 2, config.mels - 2])
    for k, hertz in zip(bins, config.centres()[bins], strict=True):
        mel, _ = LogMel(config)(torch.from_numpy(tone(hertz, rate)).float()[None])
        assert mel[0, 20].argmax().item() == k
    assert (mel_filterbank(config)[:, config.mels // 3 :].sum(0) > 0).all()


def test_another_rate_is_refused_with_those_there_are() -> None:
    with pytest.raises(AaspError, match=r"rate is 44,100 Hz; give one of 8,000, 16,000, 32,000, 48,000"):
        LogMelConfig.at(44_100)


@pytest.mark.parametrize("name", [f"aasp_{size}_{k}k" for size in ("tiny", "base") for k in (8, 32, 48)])
def test_a_recipe_differs_in_its_front_end_alone(name: str) -> None:
    recipe, like = recipes.get(name), recipes.get(name.rpartition("_")[0])
    rate = int(name.rpartition("_")[2].removesuffix("k")) * 1000
    assert recipe.name == name and recipe.model.frontend == LogMelConfig.at(rate)
    assert (recipe.method, recipe.optimizer, recipe.data) == (like.method, like.optimizer, like.data)
    whole = recipe.model.frontend.bins % like.model.stem.patch[1] == 0  # else patches are square
    assert recipe.model.stem == (like.model.stem if whole else replace(like.model.stem, patch=(16, 16)))
    assert recipe.model.encoder == like.model.encoder


@pytest.mark.parametrize("rate", [8_000, 32_000, 48_000])
def test_an_encoder_of_another_rate_takes_its_seconds_from_it(rate: int) -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(recipes.get(f"aasp_tiny_{rate // 1000}k").model).eval()
    with torch.inference_mode():
        found = encoder(torch.from_numpy(tone(500, rate, 0.98)).float()[None])
    frames, bands = (16, 16) if rate == 48_000 else (8, 32)  # its 176 bins are no whole number of 32s
    columns = 96 // frames
    of_patches = [(k + 0.5) * frames / 100 for k in range(columns)]
    assert found.seconds == pytest.approx(of_patches), "frames are 10 ms apart at any rate"
    assert found.timestamps.shape == (1, columns, encoder.stem.subbands * 192)
    assert encoder.stem.subbands == RATES[rate] // bands


@pytest.mark.parametrize("rate", RATES)
def test_files_of_any_rate_are_resampled_to_the_models(rate: int, tmp_path: Path) -> None:
    for native in (8_000, 22_050, 44_100, 96_000):
        soundfile.write(tmp_path / f"{native}.wav", tone(1_000, native), native)
        wave = read(tmp_path / f"{native}.wav", rate=rate)
        assert len(wave) == rate
        inner = slice(rate // 10, -rate // 10)
        assert np.abs(wave - tone(1_000, rate))[inner].max() < 1e-3


@pytest.mark.parametrize(("native", "hertz", "rate"), [(16_000, 6_000, 8_000), (96_000, 40_000, 48_000)])
def test_a_sound_above_the_models_band_is_refused_and_not_taken_for_silence(
    native: int, hertz: float, rate: int, tmp_path: Path
) -> None:
    file, noise = tmp_path / "high.wav", np.random.default_rng(0).standard_normal(native)
    soundfile.write(file, tone(hertz, native), native, subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"high.wav: its sound lies above {rate // 2:,} Hz.*higher rate"):
        read_sound(str(file), rate=rate)
    samples = Samples("wave 3", tone(hertz, native).astype(np.float32), native)
    for sound in (Recording(str(file), "first"), Excerpt(str(file), 0.3, 0.2), samples):
        with pytest.raises(AudioError, match=r"(high\.wav|wave 3): its sound lies above"):
            read_sound(sound, rate=rate)
    assert len(read_sound(str(file), rate=native)) == native
    soundfile.write(file, tone(hertz, native) + 3e-3 * noise, native, subtype="FLOAT")
    assert np.abs(read_sound(str(file), rate=rate)).max() > 1e-4, "a faint sound below is one"
    soundfile.write(file, np.zeros(native), native)
    assert not read_sound(str(file), rate=rate).any(), "silence stays silence"


def test_bands_outside_the_models_are_refused() -> None:
    front = LogMelConfig.at(8_000)
    assert front.band == (20.0, 4_000.0)
    front.check_covers(3_000, 12_000, "a.wav")
    for low, high in ((4_000, 8_000), (0, 20)):
        message = rf"^a.wav: at {low} to {high} Hz, outside the 20 to 4000 Hz that the model covers"
        with pytest.raises(AaspError, match=message):
            front.check_covers(low, high, "a.wav")


def test_the_statistics_of_another_rate_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(48_000), 48_000)
    assert main(["stats", str(tmp_path), "--rate", "32000"]) == 0
    output = capsys.readouterr().out
    settings = dict(word.split("=") for word in output.partition("--set ")[2].split())
    assert settings.keys() == {f"model.frontend.{name}" for name in ("rate", "mels", "fft", "high_hz", "mean", "std")}
    assert "(kaldi, 32,000 Hz)" in output
    assert main(["stats", str(tmp_path), "--preset", "slaney80", "--rate", "8000"]) == 2
    assert "--rate 8000 with --preset slaney80" in capsys.readouterr().err


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_a_model_of_another_rate_works_in_every_command(
    rate: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    size = EncoderConfig(width=8, depth=1, heads=2)
    model = replace(recipes.get(f"aasp_tiny_{rate // 1000}k").model, encoder=size, vector=())
    encoder = AudioEncoder(model).eval()
    encoder.save(tmp_path / "model")
    names = [str(tmp_path / f"{native}.wav") for native in (8_000, 44_100, 96_000)]
    for name, native in zip(names, (8_000, 44_100, 96_000), strict=True):
        soundfile.write(name, tone(700, native), native)
    out = tmp_path / "x.npz"
    assert main(["embed", str(tmp_path / "model"), *names, "--out", str(out)]) == 0
    with np.load(out) as file, torch.inference_mode():
        for name, embedding in zip(names, file["embedding"], strict=True):
            expected = encoder(torch.from_numpy(read(name, rate=rate))[None]).clip[0]
            assert np.abs(embedding - expected.numpy()).max() < 1e-4
    high = str(tmp_path / "bat.wav")
    soundfile.write(high, tone(30_000, 96_000), 96_000)
    capsys.readouterr()
    assert main(["embed", str(tmp_path / "model"), high, names[0], "--out", str(tmp_path / "y.npz")]) == 2
    message = capsys.readouterr().err
    assert f"bat.wav: its sound lies above {rate // 2:,} Hz" in message and message.count("\n") == 1
    assert not (tmp_path / "y.npz").exists()
