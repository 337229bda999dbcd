"""Pipelines on arrays, batches and files: transformers' for classes, ours for vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, Pipeline, pipeline

from aasp.audio.io import read
from aasp.errors import AaspError
from aasp.hf import AaspFeatureExtractor, of
from aasp.model.audio_classifier import AudioClassifier, load_classifier
from aasp.model.audio_encoder import AudioEncoder
from tones import RATE, tone


@pytest.fixture(scope="module")
def classify(classifier: AudioClassifier, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    place = tmp_path_factory.mktemp("saved")
    of(classifier).save_pretrained(place)
    return pipeline("audio-classification", model=str(place), top_k=None)


@pytest.fixture(scope="module")
def embed(encoder: AudioEncoder, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    place = tmp_path_factory.mktemp("saved")
    of(encoder).save_pretrained(place)
    return pipeline("audio-embedding", model=str(place))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Files of several formats, rates and numbers of channels, and the 16 kHz waveform expected of each."""
    place = tmp_path_factory.mktemp("sounds")
    mono, wide = tone(500, 0.7), tone(900, 1.9, 44_100, seed=1)
    soundfile.write(place / "mono.wav", mono, RATE, subtype="FLOAT")
    soundfile.write(place / "stereo.flac", np.stack([wide, wide / 2], 1), 44_100)
    soundfile.write(place / "voice.ogg", mono, RATE)
    return {str(path): read(path) for path in sorted(place.iterdir())}


def by_label(found: list[dict[str, Any]]) -> list[float]:
    scores = {one["label"]: one["score"] for one in found}
    return [scores[name] for name in ("low", "high", "none")]


def own_scores(classifier: AudioClassifier, wave: np.ndarray) -> list[float]:
    with torch.no_grad():
        return classifier.probabilities(classifier(torch.from_numpy(wave)[None]))[0].tolist()


def own_vector(encoder: AudioEncoder, wave: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return encoder(torch.from_numpy(wave)[None]).clip[0].numpy()


def test_classes_of_an_array(classify: Pipeline, classifier: AudioClassifier) -> None:
    wave = tone(800, 2.3)
    found = classify(wave)
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    np.testing.assert_allclose(by_label(found), own_scores(classifier, wave), atol=1e-6)
    assert len(classify(wave, top_k=1)) == 1


def test_classes_trained_by_sigmoids(classifier: AudioClassifier, tmp_path: Path) -> None:
    """Transformers takes the softmax of the logits."""
    separate, wave = AudioClassifier(replace(classifier.config, loss="sigmoid")).eval(), tone(800, 2.3)
    separate.load_state_dict(classifier.state_dict())
    of(separate).save_pretrained(tmp_path)
    found = pipeline("audio-classification", model=str(tmp_path), top_k=None)(wave)
    np.testing.assert_allclose(by_label(found), own_scores(separate, wave), atol=1e-6)
    assert load_classifier(tmp_path).config == separate.config
    assert np.abs(np.array(by_label(found)) - own_scores(classifier, wave)).max() > 0.01


def test_classes_of_files(classify: Pipeline, classifier: AudioClassifier, files: dict[str, np.ndarray]) -> None:
    for batch_size in (1, 3):
        for found, wave in zip(classify(list(files), batch_size=batch_size), files.values(), strict=True):
            np.testing.assert_allclose(by_label(found), own_scores(classifier, wave), atol=1e-5)


def test_vectors_of_arrays_batches_files_and_bytes(
    embed: Pipeline, encoder: AudioEncoder, files: dict[str, np.ndarray]
) -> None:
    wave = tone(700, 0.9)
    expected = own_vector(encoder, wave)
    found = embed(wave)
    assert found.dtype == np.float32 and found.shape == (24,)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(embed(torch.from_numpy(wave)), expected, atol=1e-6)
    np.testing.assert_allclose(embed({"array": wave, "sampling_rate": RATE}), expected, atol=1e-6)
    np.testing.assert_allclose(embed({"raw": wave, "sampling_rate": RATE}), expected, atol=1e-6)
    wide = tone(700, 0.9, 48_000)
    resampled = own_vector(encoder, soxr.resample(wide, 48_000, RATE))
    np.testing.assert_allclose(embed({"array": wide, "sampling_rate": 48_000}), resampled, atol=1e-5)
    for batch_size in (1, 2, 8):
        several = embed([wave, *files, Path(next(iter(files))).read_bytes()], batch_size=batch_size)
        waves = [wave, *files.values(), next(iter(files.values()))]
        for vector, one in zip(several, waves, strict=True):
            np.testing.assert_allclose(vector, own_vector(encoder, one), atol=2e-5)


def test_a_classifier_hears_the_channel_it_was_trained_on(
    classifier: AudioClassifier, files: dict[str, np.ndarray], tmp_path: Path
) -> None:
    stereo = next(path for path in files if path.endswith("stereo.flac"))
    second = AudioClassifier(replace(classifier.config, channels="2")).eval()
    second.load_state_dict(classifier.state_dict())
    of(second).save_pretrained(tmp_path)
    classify = pipeline("audio-classification", model=str(tmp_path), top_k=None)
    wave = read(stereo, channels=2)
    expected = pytest.approx(own_scores(classifier, wave), abs=1e-4)
    assert expected != own_scores(classifier, files[stereo])
    both = np.stack([np.zeros_like(wave), wave])
    for given in (
        stereo,
        {"bytes": Path(stereo).read_bytes(), "path": "x.flac"},
        both,
        {"array": both, "sampling_rate": RATE},
    ):
        assert by_label(classify(given)) == expected
    with pytest.raises(AaspError, match="has no channel 2, only 1"):
        classify(next(path for path in files if path.endswith("mono.wav")))


def test_a_model_in_half_precision_receives_the_waveform_in_fp32(classifier: AudioClassifier) -> None:
    """Transformers' own pipeline casts inputs to the model's precision: eight bits of a waveform."""
    model, wave = of(classifier).to(torch.bfloat16), tone(800, 1.1)
    half = pipeline(
        "audio-classification", model=model, feature_extractor=AaspFeatureExtractor(), dtype="bfloat16", top_k=None
    )
    with torch.no_grad():
        expected = model(torch.from_numpy(wave)[None]).logits.float().softmax(-1)[0]
    np.testing.assert_allclose(by_label(half(wave)), expected, atol=5e-3)
    assert half.preprocess(wave)["input_values"].dtype == torch.float32


def test_models_of_others_are_served_as_before() -> None:
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, max_length=64, num_mel_bins=16
    )
    theirs = ASTForAudioClassification(config).eval()
    extractor = ASTFeatureExtractor(max_length=64, num_mel_bins=16)
    found = pipeline("audio-classification", model=theirs, feature_extractor=extractor)(tone(500, 0.5))
    assert {one["label"] for one in found} == {"LABEL_0", "LABEL_1"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.wav", "nowhere.wav: "),
        (b"no sound", "^clip: "),
        (b"", "^clip: empty file"),
        ({"array": np.zeros(100), "sampling_rate": 16_000}, r"6\.25 ms, under one analysis window"),
        ({"sampling_rate": 16_000}, "has neither array, bytes nor path"),
        (np.zeros((8_000, 2), np.float32), r"has shape \(8000, 2\)"),
        (np.zeros((0, 5), np.float32), r"has shape \(0, 5\)"),
        ({"array": np.zeros(8_000), "sampling_rate": 1e300}, r"a sampling_rate of 1e\+300; give samples per second"),
        ("https://example.com/a.wav", "is not on this machine; download it first"),
    ],
)
def test_bad_input_is_refused(embed: Pipeline, given: Any, message: str) -> None:
    with pytest.raises(AaspError, match=message) as error:
        embed(given)
    assert "\n" not in str(error.value)


def test_no_clips_are_no_vectors(embed: Pipeline, classify: Pipeline) -> None:
    assert embed([]) == [] and classify([]) == []


def test_an_unknown_option_is_refused(embed: Pipeline) -> None:
    with pytest.raises(AaspError, match="audio-embedding has no option 'top_k'"):
        embed(tone(500, 0.5), top_k=3)
