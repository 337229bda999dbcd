"""Predictions of classifiers: for whole clips of any length, in the given order, and for windows over time.

n sounds, K classes, w windows of a sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aasp.audio.sounds import Excerpt, Samples, Sound, channels_of, describe, duration, files
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate.features import PLAIN, Progress, Running, batches, nothing_usable
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier

CHUNK = 256  # files per chunk: their predictions are returned together
WINDOW = 1.0  # default window in seconds


class NotFinite(AaspError):
    """A classifier whose outputs are not finite: its training has diverged."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one file.

    Attributes:
        path: the file, and its channel if it is one of several.
        seconds: its duration.
        probabilities: of each class, for the whole file, (K,).
        windows: (start, end) of each window in seconds, (w, 2); w is 0 unless windows were requested.
        over_time: probabilities of each class in each window, (w, K).
    """

    path: str
    seconds: float
    probabilities: np.ndarray
    windows: np.ndarray
    over_time: np.ndarray


def class_probabilities(
    classifier: AudioClassifier, sounds: Sequence[Sound], *, skipped: list[Skipped] | None = None
) -> np.ndarray:
    """Class probabilities of each sound, float32 (n, K), in fp32 on the classifier's own device.

    Args:
        classifier: the model.
        sounds: n sounds to classify.
        skipped: collects sounds that can't be used, whose rows are then NaN; if omitted, the first of them raises.

    Raises:
        AaspError: a sound can't be used, or none can; or the outputs are not finite (`NotFinite`).
    """
    unusable: list[Skipped] = []
    out = _probabilities(classifier, sounds, unusable, strict=skipped is None)
    nowhere = ~np.isfinite(out).all(axis=1)
    if nowhere.sum() > len(unusable):
        text = f"the classifier's outputs are not finite for {nowhere.sum() - len(unusable)} of {len(sounds)} clips"
        raise NotFinite(f"{text}; train it again, with --precision fp32 or a lower learning rate")
    if nowhere.all():
        raise nothing_usable(unusable)
    if skipped is not None:
        skipped.extend(unusable)
    return out


def predictions(
    classifiers: Sequence[AudioClassifier],
    sounds: Sequence[Sound],
    *,
    window: float | None = None,
    running: Running = PLAIN,
    skipped: list[Skipped],
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Predictions of one classifier, or the average of several with the same classes, in the given order.

    Args:
        classifiers: the models.
        sounds: files, or channels of them, of any length.
        window: also classify windows of this many seconds, which overlap by half; the last ends with the file.
        running: precision, batches and threads.
        skipped: collects files, and windows, that can't be used; such files have no prediction.
        progress: called with (files done, n).
    """
    for first in range(0, len(sounds), CHUNK):
        chunk = sounds[first : first + CHUNK]
        found = _mean(classifiers, chunk, skipped, running)
        usable = np.isfinite(found).all(axis=1)
        seconds = [duration(sound) if good else 0.0 for sound, good in zip(chunk, usable, strict=True)]
        cut = [cut_in_windows(one, s, window) if window and s else [] for one, s in zip(chunk, seconds, strict=True)]
        parts = [_part(sound, one) for sound, windows in zip(chunk, cut, strict=True) for one in windows]
        each = iter(_mean(classifiers, parts, skipped, running))
        for row, sound in enumerate(chunk):
            pairs = [(one, next(each)) for one in cut[row]]
            pairs = [(one, values) for one, values in pairs if np.isfinite(values).all()]
            if usable[row]:
                windows = np.array([(one.start, one.start + one.seconds) for one, _ in pairs]).reshape(-1, 2)
                over_time = np.array([values for _, values in pairs]).reshape(-1, found.shape[1])
                yield Prediction(describe(sound), seconds[row], found[row], windows, over_time)
        if progress is not None:
            progress(first + len(chunk), len(sounds))


def cut_in_windows(sound: Sound, seconds: float, window: float) -> list[Excerpt]:
    """Windows of a file of `seconds`, each half a window after the previous one; the last may be shorter."""
    count = max(1, int(np.ceil((seconds - window / 2) / (window / 2))))
    starts = [number * window / 2 for number in range(count)]
    path = sound.name if isinstance(sound, Samples) else files(sound)[0]
    return [Excerpt(path, start, min(window, seconds - start), channels_of(sound)) for start in starts]


def window_of(config: AudioClassifierConfig, window: float | None, named: str = "window") -> float:
    """Seconds of the windows for a classifier of clips: `window`, or its default.

    Raises:
        AaspError: the window is shorter than its shortest input, or longer than the clips it was trained on.
    """
    longest, shortest = config.clip_seconds, config.encoder.frontend.shortest_ms / 1000
    window = min(WINDOW, longest) if window is None else window
    if not shortest <= window <= longest:
        raise AaspError(f"{named} is {window:g} s; give {shortest:g} s to the {longest:g} s the model was trained on")
    return window


def most_likely(probabilities: np.ndarray, config: AudioClassifierConfig, top: int) -> dict[str, float]:
    """The most likely classes and their probabilities; ties are in the model's order."""
    order = (-probabilities).argsort(kind="stable")[:top]
    return {config.classes[k]: round(float(probabilities[k]), 6) for k in order}


def as_values(one: Prediction, config: AudioClassifierConfig, top: int) -> dict[str, Any]:
    """The prediction for one file as JSON values: seconds, multilabel, classes, and frames if there are windows."""
    detail: dict[str, Any] = {"seconds": round(one.seconds, 6), "multilabel": config.multilabel}
    detail["classes"] = most_likely(one.probabilities, config, top)
    if len(one.windows):
        detail["frames"] = [
            {"start": start, "end": end, "classes": most_likely(probabilities, config, top)}
            for (start, end), probabilities in zip(one.windows.round(6).tolist(), one.over_time, strict=True)
        ]
    return detail


def load_classifiers(path: str | Path, device: str | torch.device = "cpu") -> dict[str, AudioClassifier]:
    """Classifiers by fold: for a model or a run a single one under "", for a run of folds one each.

    Args:
        path: of the model or the run.
        device: where to load them, as in `aasp.load`.

    Raises:
        AaspError: there is no model, it has no classes, a file is damaged, or the folds have different classes.
    """
    runs = (folder.parent for folder in Path(path).glob("fold-*/model"))
    folds = sorted(runs, key=lambda run: (len(run.name), run.name))  # fold-10 after fold-9
    if not folds or (Path(path) / "config.json").is_file():
        return {"": load_classifier(path, device)}
    found = {fold.name.removeprefix("fold-"): load_classifier(fold, device) for fold in folds}
    first = next(iter(found.values())).config
    for name, one in found.items():
        if (one.config.classes, one.config.multilabel) != (first.classes, first.multilabel):
            raise AaspError(f"{path}: fold-{name} has other classes than {folds[0].name}; give the folder of one fold")
    return found


def _part(sound: Sound, window: Excerpt) -> Sound:
    """A window of a file, or of samples in memory."""
    if not isinstance(sound, Samples):
        return window
    first = round(window.start * sound.rate)
    return Samples(sound.name, sound.wave[first : first + round(window.seconds * sound.rate)], sound.rate)


def _mean(
    classifiers: Sequence[AudioClassifier], sounds: Sequence[Sound], skipped: list[Skipped], running: Running
) -> np.ndarray:
    """Mean probabilities (n, K) of several classifiers; sounds that can't be used are listed once."""
    unusable: list[list[Skipped]] = [[] for _ in classifiers]
    each = [_probabilities(one, sounds, bad, running=running) for one, bad in zip(classifiers, unusable, strict=True)]
    skipped.extend(unusable[0])
    return np.mean(each, axis=0)


def _probabilities(
    classifier: AudioClassifier,
    sounds: Sequence[Sound],
    unusable: list[Skipped],
    strict: bool = False,
    running: Running = PLAIN,
) -> np.ndarray:
    """`class_probabilities` without an error if no sound can be used."""
    out = np.full((len(sounds), len(classifier.config.classes)), np.nan, dtype=np.float32)
    training = classifier.training
    classifier.eval()  # otherwise batch normalisation would use the statistics of each batch
    try:
        for rows, found in batches(
            classifier.encoder, sounds, unusable, strict=strict, layers=classifier.reads_layers, running=running
        ):
            with torch.inference_mode():
                logits = classifier.classify(found.stages, found.valid)
            out[rows] = classifier.probabilities(logits).cpu().numpy()
    finally:
        classifier.train(training)
    return out
