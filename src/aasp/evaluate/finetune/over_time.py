"""Predictions over time, and scores of a classifier over time.

n sounds, G time steps of a sound, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor

import numpy as np

from aasp.audio.sounds import Sound, describe, duration
from aasp.datasets.events import Event
from aasp.datasets.index import Skipped
from aasp.evaluate.events.detect import Detection, detect, step_edges
from aasp.evaluate.events.scores import SEGMENT, event_counts, segment_counts
from aasp.evaluate.features import PLAIN, Progress, Running, batches, nothing_usable
from aasp.evaluate.finetune.predict import CHUNK, Prediction, class_probabilities
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.timestamps import OverTime


@dataclass(frozen=True)
class Steps:
    """Predictions for one sound over time: step g from `edges[g]` to `edges[g + 1]` seconds, probabilities (G, K)."""

    edges: np.ndarray
    probabilities: np.ndarray

    @property
    def seconds(self) -> float:
        return float(self.edges[-1])


def step_probabilities(
    classifiers: Sequence[AudioClassifier],
    sounds: Sequence[Sound],
    *,
    hop: float | None = None,
    running: Running = PLAIN,
    skipped: list[Skipped],
) -> list[Steps | None]:
    """Probabilities over time of each sound; None for a sound that can't be used.

    Args:
        classifiers: models over time with the same classes, whose probabilities are averaged.
        sounds: files, or channels of them, of any length.
        hop: seconds between steps, as in `AudioEncoder.over_time`.
        running: precision, batches and threads.
        skipped: collects sounds that can't be used, each once.

    Raises:
        AaspError: the hop is not available.
    """
    each: list[list[Steps | None]] = []
    for number, classifier in enumerate(classifiers):
        unusable: list[Skipped] = []
        each.append(_steps(classifier, sounds, hop, running, unusable))
        skipped.extend(unusable if number == 0 else ())
    found: list[Steps | None] = []
    for ones in zip(*each, strict=True):
        there = [one for one in ones if one is not None]
        mean = np.mean([one.probabilities for one in there], axis=0) if there else None
        found.append(None if mean is None else Steps(there[0].edges, mean))
    return found


def predictions_over_time(
    sounds: Sequence[Sound],
    predict: Callable[[Sequence[Sound]], list[Steps | None]],
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """`predictions` of classifiers over time: for a file the maximum over its time steps, and every step.

    Args:
        sounds: files, or channels of them, of any length.
        predict: computes `step_probabilities` of some of them.
        progress: called with (files done, n).
    """
    for first in range(0, len(sounds), CHUNK):
        chunk = sounds[first : first + CHUNK]
        for sound, one in zip(chunk, predict(chunk), strict=True):
            if one is not None:
                spans = np.stack([one.edges[:-1], one.edges[1:]], axis=1)
                whole = one.probabilities.max(axis=0)
                yield Prediction(describe(sound), one.seconds, whole, spans, one.probabilities)
        if progress is not None:
            progress(first + len(chunk), len(sounds))


def by_segment(
    steps: Sequence[Steps], events: Sequence[Sequence[Event]], classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and maximum probabilities of each one-second segment of all sounds, (m, K) each, for ranking."""
    truth, predicted = [], []
    for one, true in zip(steps, events, strict=True):
        edges = np.arange(ceil(one.seconds / SEGMENT) + 1) * SEGMENT
        there = np.zeros((len(edges) - 1, len(classes)), dtype=bool)
        for event in true:
            first, last = (round(at / SEGMENT, 5) for at in (event.start, event.end))
            there[floor(first) : ceil(last), list(classes).index(event.label)] = True
        steps_at = one.edges.round(5)  # edges from fp32: 16 s can be 16.0000005
        within = (steps_at[:-1] < edges[1:, None]) & (steps_at[1:] > edges[:-1, None])
        truth.append(there)
        predicted.append(np.where(within[..., None], one.probabilities, 0.0).max(axis=1))
    return np.concatenate(truth), np.concatenate(predicted)


def packed(steps: Sequence[Steps | None]) -> dict[str, np.ndarray]:
    """Steps of sounds as arrays for saving: all steps concatenated, and the index of each sound's first."""
    there = [one for one in steps if one is not None]
    counts = [0 if one is None else len(one.probabilities) for one in steps]
    ends = np.concatenate([one.edges[1:] for one in there])
    values = np.concatenate([one.probabilities for one in there])
    return {"steps": values, "ends": ends, "first": np.cumsum([0, *counts])}


def unpacked(file: Mapping[str, np.ndarray]) -> list[Steps | None]:
    """Undo `packed`."""
    steps, ends, first = (file[name] for name in ("steps", "ends", "first"))
    made = lambda a, b: Steps(np.concatenate([[0.0], ends[a:b]]), steps[a:b])
    return [made(a, b) if b > a else None for a, b in pairwise(first.tolist())]


def counted(
    steps: Sequence[Steps], events: Sequence[Sequence[Event]], classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Hits, false alarms and misses of each sound, (n, 3, K) each: segment-based, and event-based."""
    predicted = [detect("", one.edges, one.probabilities, classes, Detection()) for one in steps]
    pairs = list(zip(steps, events, predicted, strict=True))
    segments = [segment_counts(true, found, classes, one.seconds) for one, true, found in pairs]
    return np.array(segments), np.array([event_counts(true, found, classes) for _, true, found in pairs])


def _steps(
    classifier: AudioClassifier,
    sounds: Sequence[Sound],
    hop: float | None,
    running: Running,
    unusable: list[Skipped],
) -> list[Steps | None]:
    found: list[Steps | None] = [None] * len(sounds)
    encode = lambda wave, lengths: classifier.over_time(wave, lengths, hop=hop)
    training = classifier.training
    classifier.eval()
    try:
        for rows, output in batches(classifier.encoder, sounds, unusable, strict=False, running=running, encode=encode):
            assert isinstance(output, OverTime)
            values = classifier.probabilities(output.vectors).cpu().numpy()
            valid, centres = output.valid.cpu().numpy(), output.seconds.cpu().double().numpy()
            for i, row in enumerate(rows):
                steps = int(valid[i].sum())
                found[row] = Steps(step_edges(centres[:steps], duration(sounds[row])), values[i, :steps])
    finally:
        classifier.train(training)
    return found


def tested(
    classifier: AudioClassifier, sounds: Sequence[Sound], unusable: list[Skipped]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Probabilities (n, K) of the test part, NaN for clips that can't be decoded; and the `packed` steps over time."""
    if not classifier.config.over_time:
        return class_probabilities(classifier, sounds, skipped=unusable), {}
    found = step_probabilities([classifier], sounds, skipped=unusable)
    if not any(found):
        raise nothing_usable(unusable)
    unknown = np.full(len(classifier.config.classes), np.nan, np.float32)
    return np.stack([unknown if one is None else one.probabilities.max(axis=0) for one in found]), packed(found)
