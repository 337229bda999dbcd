"""`aasp.embed`: files and waveforms of any rate give the model's own numbers; mistakes are one line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import aasp
from aasp.audio.io import read
from aasp.errors import AaspError
from aasp.evaluate import embedding
from aasp.evaluate.embedding import encoder_of
from aasp.model import folder
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

RATES = {"a.wav": 44_100, "b.flac": 16_000, "c.wav": 8_000}
CONFIG = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=2, heads=2))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("models") / "m"
    AudioEncoder(CONFIG).save(place)
    return str(place)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for number, (name, rate) in enumerate(RATES.items()):
        wave = 0.1 * random.standard_normal(rate * (number + 1) // 2)
        soundfile.write(place / name, wave, rate, subtype="FLOAT" if name.endswith("wav") else None)
    return [str(place / name) for name in RATES]


def expected(model: str, path: str) -> np.ndarray:
    with torch.no_grad():
        return aasp.load(model)(torch.from_numpy(read(path))[None]).clip[0].numpy()


def test_files_give_the_models_vectors(model: str, paths: list[str]) -> None:
    found = aasp.embed(paths, model=model)
    assert isinstance(found, np.ndarray) and found.shape == (3, 8) and found.dtype == np.float32
    for row, path in enumerate(paths):
        np.testing.assert_allclose(found[row], expected(model, path), atol=1e-5)
    one = aasp.embed(Path(paths[0]), model=model)
    assert one.shape == (8,)  # type: ignore[union-attr]
    np.testing.assert_allclose(one, found[0], atol=1e-6)


@pytest.mark.parametrize(
    ("on", "asked", "fits"),
    [("cuda:0", "cuda", True), ("cuda:1", "cuda", True), ("cuda:1", "cuda:0", False), ("mps:0", "mps", True)],
)
def test_a_loaded_model_is_on_the_device_that_is_named(
    on: str, asked: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = aasp.load("aasp-tiny")
    monkeypatch.setattr(type(encoder), "device", torch.device(on))
    monkeypatch.setattr("aasp.evaluate.embedding.device_of", torch.device)
    if fits:
        assert encoder_of(encoder, asked) is encoder
    else:
        with pytest.raises(AaspError, match=f"device {asked}, and the model is on {on}"):
            encoder_of(encoder, asked)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, ">f4", "tensor", "pcm"])
def test_a_waveform_gives_the_same_vector_as_its_file(kind: object, model: str, paths: list[str]) -> None:
    wave, rate = soundfile.read(paths[0], dtype="float32")
    given = {"tensor": lambda: torch.from_numpy(wave), "pcm": lambda: np.round(wave * 32768).astype(np.int16)}
    made = given[kind]() if kind in given else wave.astype(kind)  # type: ignore[index,operator]
    close = 2e-2 if kind in (np.float16, "pcm") else 1e-6
    np.testing.assert_allclose(aasp.embed(made, rate, model), expected(model, paths[0]), atol=close)


def test_lists_arrays_and_both(model: str, paths: list[str]) -> None:
    wave, rate = soundfile.read(paths[0], dtype="float32")
    both = aasp.embed([wave, paths[1], wave[:9_000]], rate, model)
    assert both.shape == (3, 8)  # type: ignore[union-attr]
    np.testing.assert_allclose(both[1], expected(model, paths[1]), atol=1e-5)  # type: ignore[index]
    stacked = aasp.embed(np.stack([wave, wave]), rate, model)
    assert stacked.shape == (2, 8)  # type: ignore[union-attr]
    np.testing.assert_allclose(stacked[1], both[0], atol=1e-5)  # type: ignore[index]
    assert aasp.embed([wave], rate, model).shape == (1, 8)  # type: ignore[union-attr]


def test_frames_come_with_their_times(model: str, paths: list[str]) -> None:
    vectors, seconds = aasp.embed(paths[1], model=model, frames=True)  # type: ignore[misc]
    with torch.no_grad():
        alone = aasp.load(model)(torch.from_numpy(read(paths[1]))[None], layers=True)
    np.testing.assert_allclose(vectors, alone.timestamps[0], atol=1e-5)
    np.testing.assert_allclose(seconds, alone.seconds.clamp(max=1.0))
    several = aasp.embed(paths, model=model, frames=True)
    assert [len(one.seconds) for one in several] == [3, 7, 10]  # type: ignore[union-attr]
    of_layers, _ = aasp.embed(paths[1], model=model, frames=True, layer=[0, 2])  # type: ignore[misc]
    assert of_layers.shape == (7, 128)
    np.testing.assert_allclose(of_layers[:, 64:], vectors, atol=1e-5)


def test_layers_and_poolings_stand_side_by_side(model: str, paths: list[str]) -> None:
    found = aasp.embed(paths[1], model=model, layer=[1, 2], pooling=["mean", "std"])
    with torch.no_grad():
        keys = [(1, "mean"), (1, "std"), (2, "mean"), (2, "std")]
        clip = aasp.load(model)(torch.from_numpy(read(paths[1]))[None], pooling=keys).clip[0]
    np.testing.assert_allclose(found, clip, atol=1e-5)
    np.testing.assert_allclose(aasp.embed(paths[1], model=model, layer=2), expected(model, paths[1]), atol=1e-5)


def test_a_loaded_model_a_classifier_and_a_changed_file(model: str, paths: list[str], tmp_path: Path) -> None:
    loaded = aasp.load(model).train()
    np.testing.assert_allclose(aasp.embed(paths[0], model=loaded), expected(model, paths[0]), atol=1e-5)
    assert loaded.training
    classifier = AudioClassifier(AudioClassifierConfig(("a", "b"), encoder=CONFIG))
    classifier.encoder.load_state_dict(loaded.state_dict())
    np.testing.assert_allclose(aasp.embed(paths[0], model=classifier), expected(model, paths[0]), atol=1e-5)
    loaded.save(tmp_path / "m")
    before = aasp.embed(paths[0], model=tmp_path / "m")
    AudioEncoder(CONFIG).save(tmp_path / "m")  # other weights in the same place
    assert not np.allclose(before, aasp.embed(paths[0], model=tmp_path / "m"))  # type: ignore[arg-type]


def test_a_model_is_loaded_once(model: str, paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    embedding._loaded.cache_clear()
    loads = []
    monkeypatch.setattr(embedding, "load", lambda *given: loads.append(given) or aasp.load(*given))
    for path in paths:
        aasp.embed(path, model=model)
    assert len(loads) == 1


def test_without_a_model_name_the_packaged_model_is_used(
    model: str, paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "PACKAGED", tmp_path)
    with pytest.raises(AaspError, match="no model named, and none comes with this version of aasp; name the folder"):
        aasp.embed(paths[0])
    aasp.load(model).save(tmp_path / "aasp-tiny")
    np.testing.assert_allclose(aasp.embed(paths[0]), expected(model, paths[0]), atol=1e-5)
    assert torch.equal(aasp.load("aasp-tiny").encoder.class_token, aasp.load(model).encoder.class_token)
    with pytest.raises(AaspError, match=r"no such directory; .* or one of the package's: aasp-tiny"):
        aasp.load("aasp-tinny")


def test_a_data_frame(model: str, paths: list[str]) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas: pip install 'aasp-audio[pandas]'")
    table = aasp.embed([*paths, np.zeros(16_000, np.float32)], 16_000, model, as_frame=True)
    assert isinstance(table, pandas.DataFrame) and list(table.columns) == [f"e{place}" for place in range(8)]
    assert list(table.index) == [*paths, "array 3"] and table.index.name == "path"
    np.testing.assert_allclose(table.to_numpy()[:3], aasp.embed(paths, model=model), atol=1e-5)
    over_time = aasp.embed(paths, model=model, frames=True, as_frame=True)
    assert over_time.index.names == ["path", "seconds"] and over_time.shape == (20, 64)  # type: ignore[union-attr]
    np.testing.assert_allclose(over_time.loc[paths[1]].index, [*(0.08 + 0.16 * np.arange(6)), 1.0])  # type: ignore[union-attr]


def test_missing_pandas_is_reported_before_the_work(
    model: str, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(AaspError, match=r"as_frame needs pandas; pip install 'aasp-audio\[pandas\]'"):
        aasp.embed(paths, model=model, as_frame=True)


WAVE = np.zeros(16_000, np.float32)


@pytest.mark.parametrize(
    ("given", "rate", "more", "message"),
    [
        (WAVE, None, {}, "array has no rate; give that of the samples, as in aasp.embed(wave, rate=44100)"),
        ([WAVE, WAVE], None, {}, "array 0 has no rate"),
        (WAVE, 0, {}, "rate 0 is not a whole number from 100 to 10,000,000 Hz"),
        (WAVE, -16_000, {}, "rate -16000 is not"),
        (WAVE, 16.0001, {}, "rate 16.0001 is not"),
        (WAVE, 44, {}, "rate 44 is not"),
        (WAVE, float("nan"), {}, "rate nan is not"),
        (WAVE, "16k", {}, "rate '16k' is not"),
        (WAVE, True, {}, "rate True is not"),
        ([], None, {}, "nothing to embed: the list is empty"),
        (3.5, 16_000, {}, "thing is of type float; give a path or a numpy array"),
        ([0.1, 0.2], 16_000, {}, "thing 0 is of type float"),
        (None, None, {}, "thing is of type NoneType"),
        (np.array(["a.wav"]), 16_000, {}, "array holds <U5, not samples; give floats in -1 to 1, or a list of paths"),
        (np.zeros((16_000, 2)), 16_000, {}, "an array of shape (16000, 2) is not (clips, samples); give x.mean(1)"),
        (np.zeros((2, 2, 9)), 16_000, {}, "an array of shape (2, 2, 9) is not (clips, samples)"),
        ([np.zeros((2, 16_000))], 16_000, {}, "array 0 of shape (2, 16000) has several channels; give one"),
        ([np.zeros((16_000, 2))], 16_000, {}, "say its mean, x.mean(1)"),
        (np.array(0.5), 16_000, {}, "array of shape () is no waveform"),
        ([WAVE, WAVE + np.nan], 16_000, {}, "array 1 holds NaN or infinite samples"),
        (WAVE + 3e4, 16_000, {}, "array reaches 30000, which is not a waveform in -1 to 1"),
        (WAVE.astype(np.int32), 16_000, {}, "array: wave of torch.int32: its scale is unknown; give wave / 2**31"),
        (WAVE.astype(bool), 16_000, {}, "array: wave of torch.bool: its scale is unknown"),
        (WAVE.astype(complex), 16_000, {}, "array holds complex128, not samples"),
        (WAVE[:0], 16_000, {}, "array holds no samples"),
        ([WAVE, WAVE[:200]], 16_000, {}, "array 1: too short: 12.5 ms, under one analysis window of 25 ms"),
        (WAVE, 16_000, {"layer": 3}, "no such layer: 3; this encoder has 0 to 2"),
        (WAVE, 16_000, {"pooling": "max"}, "no such pooling: max; choose from cls"),
        (WAVE, 16_000, {"device": "tpu"}, "no such device: tpu"),
        (WAVE, 16_000, {"precision": "int8"}, "no such precision: int8; choose from auto, bf16, fp16, fp32"),
        (WAVE, 16_000, {"batch": 0}, "batch is 0; give a number of at least 1"),
        (WAVE, 16_000, {"batch": "16"}, "batch is '16'; give a number of at least 1"),
        (WAVE, 16_000, {"layer": "last"}, "no such layer: 'last'; give a whole number, or a list of some"),
        (WAVE, 16_000, {"layer": 1.5}, "no such layer: 1.5"),
        (WAVE, 16_000, {"device": 0}, "no such device: 0; give auto, cpu, cuda, mps"),
        (WAVE, 16_000, {"device": torch.device("mps:7")}, "no device mps:7: this machine has"),
        (WAVE, 16_000, {"model": 3}, "model is of type int; give a model's folder"),
        (WAVE, 16_000, {"model": torch.nn.Linear(1, 1)}, "model is of type Linear"),
        (WAVE, 16_000, {"model": ""}, "an empty name of a model"),
        ("", None, {}, "an empty file name; give its path"),
        (WAVE, 16_000, {"model": "nowhere"}, "nowhere: no such directory"),
        (WAVE, 16_000, {"channels": "each"}, "channels each: a file would have several vectors"),
        (WAVE, 16_000, {"channels": "left"}, "no such channels: left"),
    ],
)
def test_mistakes_are_one_line(given: object, rate: object, more: dict, message: str, model: str) -> None:
    with pytest.raises(AaspError) as error:
        aasp.embed(given, rate, **{"model": model} | more)  # type: ignore[arg-type]
    assert message in str(error.value) and "\n" not in str(error.value)


def test_bad_paths_are_one_line(model: str, paths: list[str]) -> None:
    home = os.path.dirname(paths[0])
    for given, rate, message in (
        (paths, 16_000, "rate 16000 with files only, which state their own rate; leave it out"),
        (home, None, f"a folder where a file is expected: {home}; give sorted("),
        ([paths[0], f"{home}/no.wav"], None, "no.wav: no such file"),
    ):
        with pytest.raises(AaspError) as error:
            aasp.embed(given, rate, model)  # type: ignore[arg-type]
        assert message in str(error.value)
