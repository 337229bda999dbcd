"""Targets of a batch of crops other than classes: numbers, and events with times.

Legend: G time patches of a crop, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aasp.audio.sounds import describe
from aasp.datasets.events import Event
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifierConfig


def moments(y: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of the training labels: a model predicts numbers standardised by them."""
    return float(y.mean()), float(y.std()) or 1.0


def check_within(labelled: LabelledSet, seconds: np.ndarray) -> None:
    """Check that no event begins after the end of its sound, which would mean another sound or another unit of time.

    Raises:
        AaspError: one does.
    """
    events = labelled.events or [()] * len(labelled)
    for sound, length, ones in zip(labelled.sounds, seconds, events, strict=True):
        late = next((one for one in ones if one.start >= length), None)
        if late is not None:
            text = f"{late.label!r} begins at {late.start:g} s, and the sound is {length:.4g} s long"
            raise AaspError(f"{describe(sound)}: {text}; correct its table, whose times are seconds")


class Targets:
    """The labels of each time patch of a crop.

    Args:
        config: of the classifier: classes, and lengths of patches and crops.
        events: of each clip of the train part.
    """

    def __init__(self, config: AudioClassifierConfig, events: Sequence[Sequence[Event]]) -> None:
        front, stem = config.encoder.frontend, config.encoder.stem
        frames = front.frames(round(config.clip_seconds * front.rate))
        self._classes, self._events = config.classes, events
        self._edges = np.arange(stem.time_patches(frames) + 1) * stem.patch[0] / front.frame_rate

    def __call__(self, row: int, start: float) -> np.ndarray:
        """Labels (G, K) of a crop that starts at `start` seconds, of the clip at index `row` of the train part."""
        return step_labels(self._events[row], self._classes, start + self._edges)


def step_labels(events: Sequence[Event], classes: Sequence[str], edges: np.ndarray) -> np.ndarray:
    """Which classes are active in each step, 0 or 1, float32 (G, K).

    A class is active if one of its events fills half of the step, or if half of the event lies in it, so that a click
    of a hundredth of a second is not lost.

    Args:
        events: of the clip.
        classes: K names.
        edges: edges of the steps in seconds, (G + 1,).
    """
    place = {name: k for k, name in enumerate(classes)}
    labels = np.zeros((len(edges) - 1, len(classes)), dtype=np.float32)
    for one in events:
        shared = np.minimum(one.end, edges[1:]) - np.maximum(one.start, edges[:-1])
        wanted = 0.5 * np.minimum(np.diff(edges), one.end - one.start)
        labels[(shared > 0) & (shared >= wanted - 1e-9), place[one.label]] = 1.0
    return labels
