"""A classifier's predictions of files: in their order, in evaluation mode, folds averaged, windows over all of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.audio.io import AudioError, read
from aasp.audio.sounds import Excerpt
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate.finetune import predict
from aasp.evaluate.finetune.predict import class_probabilities, cut_in_windows, load_classifiers, predictions
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder

SECONDS = (0.7, 0.2, 1.5, 0.4, 0.3)


@pytest.fixture(scope="module")
def classifiers(encoder: AudioEncoder) -> list[AudioClassifier]:
    """Two, with batch normalisation, in training mode, as a run has them."""
    torch.manual_seed(0)
    config = AudioClassifierConfig(
        ("a", "b", "c"), layers="weighted", norm="batch", clip_seconds=0.5, encoder=encoder.config
    )
    made = [AudioClassifier(config).train() for _ in range(2)]
    for one in made:
        one.head.weight.data.normal_()
    return made


def alone(classifier: AudioClassifier, wave: np.ndarray) -> np.ndarray:
    training = classifier.training
    with torch.no_grad():
        logits = classifier.eval()(torch.from_numpy(wave)[None])
    classifier.train(training)
    return classifier.probabilities(logits)[0].numpy()


def test_each_file_as_alone_and_nothing_is_learned_from_it(
    classifiers: list[AudioClassifier], paths: list[str]
) -> None:
    one = classifiers[0]
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    found = class_probabilities(one, paths)
    assert one.training and one.encoder.training and one.norm.training
    assert all(torch.equal(before[name], tensor) for name, tensor in one.state_dict().items())
    assert found.dtype == np.float32
    for row, path in zip(found, paths, strict=True):
        np.testing.assert_allclose(row, alone(one, read(path)), atol=1e-5)


def test_bad_files_are_nan_and_named_or_raise(
    classifiers: list[AudioClassifier], paths: list[str], tmp_path: Path
) -> None:
    bad = str(tmp_path / "nan.wav")
    soundfile.write(bad, np.full(8000, np.nan, np.float32), 16_000, subtype="FLOAT")
    skipped: list[Skipped] = []
    found = class_probabilities(classifiers[0], [bad, *paths[:2]], skipped=skipped)
    assert np.isnan(found[0]).all() and np.isfinite(found[1:]).all()
    assert skipped == [Skipped(bad, "NaN or infinite samples")]
    with pytest.raises(AudioError, match=r"nan\.wav"):
        class_probabilities(classifiers[0], [bad, *paths[:2]])
    with pytest.raises(AaspError, match="all 1 skipped, the first"):
        class_probabilities(classifiers[0], [bad], skipped=[])


@pytest.mark.parametrize("chunk", [2, 256])
def test_folds_are_averaged_and_windows_are_excerpts(
    chunk: int, classifiers: list[AudioClassifier], paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "CHUNK", chunk)
    missing, skipped = "nowhere.wav", []
    seen: list[tuple[int, int]] = []
    files = [*paths[:2], missing, *paths[2:]]
    found = list(predictions(classifiers, files, window=0.4, skipped=skipped, progress=lambda *now: seen.append(now)))
    assert [one.path for one in found] == paths and skipped == [Skipped(missing, "no such file")]
    assert seen[-1] == (6, 6) and len(seen) == (3 if chunk == 2 else 1)
    for one, seconds in zip(found, SECONDS, strict=True):
        wave = read(one.path)
        expected = np.mean([alone(each, wave) for each in classifiers], axis=0)
        np.testing.assert_allclose(one.probabilities, expected, atol=1e-5)
        assert one.seconds == pytest.approx(seconds) and len(one.windows) == len(one.over_time) > 0
        start, end = one.windows[-1]
        part = wave[round(16_000 * start) : round(16_000 * end)]
        expected = np.mean([alone(each, part) for each in classifiers], axis=0)
        np.testing.assert_allclose(one.over_time[-1], expected, atol=1e-5)
        assert end == pytest.approx(seconds)


def test_without_a_window_option_there_are_no_windows(classifiers: list[AudioClassifier], paths: list[str]) -> None:
    (one,) = predictions(classifiers[:1], paths[:1], skipped=[])
    assert one.windows.shape == (0, 2) and one.over_time.shape == (0, 3)


@pytest.mark.parametrize("seconds", [0.03, 0.5, 0.51, 1.0, 1.01, 1.49, 1.5, 1.51, 9.7])
def test_windows_overlap_by_half_and_cover_the_file(seconds: float) -> None:
    windows = cut_in_windows("x.wav", seconds, 1.0)
    assert windows[0] == Excerpt("x.wav", 0.0, min(1.0, seconds))
    assert all(b.start - a.start == 0.5 and a.seconds == 1.0 for a, b in pairwise(windows))
    assert windows[-1].start + windows[-1].seconds == pytest.approx(seconds)
    assert len(windows) == 1 or windows[-1].seconds > 0.5, "no window is a mere scrap"


def test_a_run_of_folds_is_all_its_models(classifiers: list[AudioClassifier], tmp_path: Path, paths: list[str]) -> None:
    for fold, one in zip(("2", "10"), classifiers, strict=True):
        one.save(tmp_path / f"fold-{fold}" / "model")
    (tmp_path / "fold-11").mkdir()  # nothing is finished there yet
    found = load_classifiers(tmp_path)
    assert list(found) == ["2", "10"]
    for ours, theirs in zip(found.values(), classifiers, strict=True):
        np.testing.assert_array_equal(class_probabilities(ours, paths[:2]), class_probabilities(theirs, paths[:2]))
    assert list(load_classifiers(tmp_path / "fold-2")) == list(load_classifiers(tmp_path / "fold-2/model")) == [""]


def test_folds_of_other_classes_do_not_mix(
    classifiers: list[AudioClassifier], encoder: AudioEncoder, tmp_path: Path
) -> None:
    classifiers[0].save(tmp_path / "fold-1" / "model")
    AudioClassifier(AudioClassifierConfig(("a", "b", "d"), encoder=encoder.config)).save(tmp_path / "fold-2/model")
    with pytest.raises(AaspError, match="fold-2 has other classes than fold-1; give the folder of one fold"):
        load_classifiers(tmp_path)


def test_a_folder_without_a_classifier_is_refused(encoder: AudioEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "model")
    with pytest.raises(AaspError, match="an encoder without classes"):
        load_classifiers(tmp_path)
    with pytest.raises(AaspError, match="no such directory"):
        load_classifiers(tmp_path / "nowhere")
