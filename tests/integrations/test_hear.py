"""HEAR: the rules of its validator, that validator where it is installed, and a miniature of its two kinds of task."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from sklearn.linear_model import LogisticRegression

from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.integrations import hear
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig
from tones import RATE, tone


@pytest.fixture(scope="module")
def model(folder: Path) -> hear.HearModel:
    return hear.load_model(str(folder))


def noise(clips: int, seconds: float, rate: int = RATE) -> torch.Tensor:
    return torch.rand(clips, int(seconds * rate), generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_attributes_that_the_validator_requires(model: hear.HearModel) -> None:
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate == 16_000
    for size in (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size):
        assert type(size) is int
    assert (model.scene_embedding_size, model.timestamp_embedding_size) == (24, 8 * 24)


@pytest.mark.parametrize("seconds", [0.03, 0.1, 0.16, 0.3, 1.0, 2.0, 3.74, 10.24, 25.0])
def test_timestamps_are_evenly_spaced_and_inside_the_clip(model: hear.HearModel, seconds: float) -> None:
    audio = noise(3, seconds)
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == timestamps.dtype == torch.float32
    assert embeddings.shape[:2] == timestamps.shape
    assert embeddings.shape[0] == 3 and embeddings.shape[2] == model.timestamp_embedding_size
    assert (timestamps >= 0).all() and (timestamps <= 1000 * audio.shape[1] / RATE).all()
    steps = timestamps.diff()
    assert ((steps - 160).abs() < 1e-3).all()
    assert (timestamps == timestamps[:1]).all()


def test_a_last_centre_beyond_the_end_is_left_out(model: hear.HearModel) -> None:
    audio = noise(1, 3.74)
    with torch.no_grad():
        whole = model.encoder(audio)
    assert whole.seconds[-1] > 3.74  # what a time patch that is not full has for a centre
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    torch.testing.assert_close(timestamps[0], 1000 * whole.seconds[:-1])
    torch.testing.assert_close(embeddings, whole.timestamps[:, :-1], rtol=0, atol=0)


def test_the_only_centre_is_put_at_the_end(model: hear.HearModel) -> None:
    _, timestamps = hear.get_timestamp_embeddings(noise(2, 0.05), model)
    assert timestamps.tolist() == [[50.0], [50.0]]


def test_spacing_stays_exact_over_ten_minutes(model: hear.HearModel) -> None:
    centres = (torch.arange(3750, dtype=torch.float64) + 0.5) * model.hop_ms  # as they are made
    assert (centres.float().diff() == 160).all()


def test_a_scene_is_the_models_own_clip_vector(model: hear.HearModel, encoder: AudioEncoder) -> None:
    audio = noise(8, 3.74)
    found = hear.get_scene_embeddings(audio, model)
    assert found.dtype == torch.float32 and found.shape == (8, model.scene_embedding_size)
    assert not found.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(found, encoder(audio).clip, rtol=0, atol=0)


def test_a_model_cast_to_half_precision_still_answers_in_float32(folder: Path) -> None:
    model = hear.load_model(folder).bfloat16()
    assert hear.get_scene_embeddings(noise(2, 1.0), model).dtype == torch.float32
    embeddings, timestamps = hear.get_timestamp_embeddings(noise(2, 1.0), model)
    assert embeddings.dtype == timestamps.dtype == torch.float32


@pytest.mark.parametrize(("rate", "given"), [(8_000, 16_000), (22_050, 22_050), (32_000, 44_100), (48_000, 48_000)])
def test_a_model_of_another_rate_takes_one_of_hears_rates(rate: int, given: int) -> None:
    front = LogMelConfig(rate=rate, high_hz=3_900.0, fft=4096)
    model = hear.HearModel(AudioEncoder(AudioEncoderConfig(front, ConvConfig(), EncoderConfig(24, 1, 3))).eval())
    assert model.sample_rate == given
    wave = torch.from_numpy(tone(500, 1.0, given))[None]
    at_own_rate = torch.from_numpy(soxr.resample(wave[0].numpy(), given, rate))[None]
    assert at_own_rate.shape[1] == rate
    with torch.no_grad():
        own = model.encoder(at_own_rate).clip
    torch.testing.assert_close(hear.get_scene_embeddings(wave, model), own, rtol=0, atol=0)
    _, timestamps = hear.get_timestamp_embeddings(wave, model)
    assert timestamps.max() <= 1000
    if given > rate:
        high = torch.cat([wave, 0.5 * torch.sin(torch.pi * 0.98 * torch.arange(given))[None]])  # a bat's
        with pytest.raises(AaspError, match=rf"clip 1: its sound lies above {rate // 2:,} Hz"):
            hear.get_scene_embeddings(high, model)
        with pytest.raises(AaspError, match="holds no clip"):
            hear.get_scene_embeddings(wave[:0], model)


def test_a_rate_above_all_of_hears_is_refused() -> None:
    front = LogMelConfig(rate=96_000, fft=4096)
    encoder = AudioEncoder(AudioEncoderConfig(front, ConvConfig(), EncoderConfig(24, 1, 3)))
    with pytest.raises(AaspError, match="96000 Hz, and HEAR has them up to 48000; evaluate"):
        hear.HearModel(encoder)


def test_the_model_may_be_named_by_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AASP_MODEL", raising=False)
    with pytest.raises(AaspError, match=r"no model is named; give .* or set AASP_MODEL to it"):
        hear.load_model()
    monkeypatch.setenv("AASP_MODEL", str(folder))
    assert hear.load_model().scene_embedding_size == 24


def test_bad_input_is_one_line(model: hear.HearModel, tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no such directory"):
        hear.load_model(tmp_path / "nowhere")
    with pytest.raises(AaspError, match=r"give wave\[None\]"):
        hear.get_scene_embeddings(torch.zeros(16_000), model)
    with pytest.raises(AaspError, match="shorter than one analysis window"):
        hear.get_timestamp_embeddings(torch.zeros(1, 100), model)
    with pytest.raises(AaspError, match="NaN or infinite"):
        hear.get_scene_embeddings(torch.full((1, 16_000), torch.nan), model)


def test_its_own_validator_passes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package imports TensorFlow only to check whether a model is one of its modules."""
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.Module = type("Module", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    validate = pytest.importorskip("hearvalidator.validate", reason="needs hearvalidator")
    validate.ValidateModel("aasp.integrations.hear", str(folder), "cpu")()


def test_a_miniature_scene_task(model: hear.HearModel, two_tones: tuple[list[np.ndarray], list[int]]) -> None:
    """As HEAR's predictions do: a shallow head on scene embeddings of clips of one length."""
    waves, labels = two_tones
    shortest = min(map(len, waves))
    audio = torch.from_numpy(np.stack([wave[:shortest] for wave in waves]))
    X = hear.get_scene_embeddings(audio, model).numpy()
    head = LogisticRegression(max_iter=1000).fit(X[:16], labels[:16])
    assert head.score(X[16:], labels[16:]) == 1.0


def test_a_miniature_event_task(model: hear.HearModel) -> None:
    """A head on timestamp embeddings finds when a tone sounds, by the milliseconds it is given."""

    def clip(onset: float, seed: int) -> np.ndarray:
        wave = tone(1000, 3.2, seed=seed)
        wave[: round(onset * RATE)] = np.random.default_rng(seed).normal(0, 0.01, round(onset * RATE))
        return wave

    onsets = [0.4, 1.12, 1.6, 2.4]
    audio = torch.from_numpy(np.stack([clip(onset, i) for i, onset in enumerate(onsets)]))
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    active = timestamps.numpy() >= 1000 * np.array(onsets)[:, None]
    head = LogisticRegression(max_iter=1000).fit(embeddings[:3].flatten(0, 1).numpy(), active[:3].ravel())
    found = head.predict(embeddings[3].numpy())
    first = timestamps[3, int(found.argmax())].item()
    assert abs(first - 2400) <= 160 and found[int(found.argmax()) :].all()
