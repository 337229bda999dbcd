"""From class probabilities over time to events: smoothing, thresholding, removal of short events.

Legend: G time steps, K classes.
Source: the usual post-processing of DCASE's task 4: a median filter, a threshold for each class, a minimum duration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import median_filter

from aasp.datasets.events import Event
from aasp.errors import AaspError

THRESHOLD = 0.5


@dataclass(frozen=True)
class Detection:
    """How events are reported.

    Attributes:
        threshold: probability at or above which a class is active.
        thresholds: of single classes, by name, instead of `threshold`.
        smooth: length in seconds of the median filter over each class's probabilities; 0 for none.
        min_length: seconds of the shortest event that is kept.
    """

    threshold: float = THRESHOLD
    thresholds: Mapping[str, float] = field(default_factory=dict)
    smooth: float = 0.0
    min_length: float = 0.0

    def __post_init__(self) -> None:
        for name, value in {"": self.threshold, **self.thresholds}.items():
            if not 0 < value < 1:
                text = f"{name}={value:g}" if name else f"{value:g}"
                raise AaspError(f"threshold {text}: a probability lies between 0 and 1; give one")
        for name in ("smooth", "min_length"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise AaspError(f"{name} is {getattr(self, name):g} s; give seconds, 0 for none")

    def of(self, classes: Sequence[str]) -> np.ndarray:
        """Thresholds of some classes, (K,).

        Raises:
            AaspError: a threshold is given for another class.
        """
        unknown = next((name for name in self.thresholds if name not in classes), None)
        if unknown is not None:
            some = ", ".join(classes[:5]) + (", …" if len(classes) > 5 else "")
            raise AaspError(f"threshold {unknown}={self.thresholds[unknown]:g}: no such class; the model has {some}")
        return np.array([self.thresholds.get(name, self.threshold) for name in classes])


def step_edges(centres_G: np.ndarray, seconds: float) -> np.ndarray:
    """Edges of time steps in seconds, (G + 1,): half way between their centres; the outer ones are the ends of the
    sound."""
    inner = (centres_G[1:] + centres_G[:-1]) / 2
    return np.concatenate([[0.0], np.minimum(inner, seconds), [seconds]])


def pieces(windows_w2: np.ndarray, values_wK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping windows as adjacent steps, each the mean of the windows that cover it.

    Args:
        windows_w2: start and end of each window, in seconds.
        values_wK: the probabilities of each window.

    Returns:
        The steps' edges (G + 1,), and the values (G, K); 0 where there is no window.
    """
    edges = np.unique(windows_w2.round(9))
    middles = (edges[1:] + edges[:-1]) / 2
    cover_Gw = (windows_w2[:, 0] < middles[:, None]) & (middles[:, None] < windows_w2[:, 1])
    return edges, cover_Gw @ values_wK / np.maximum(cover_Gw.sum(1, keepdims=True), 1)


def detect(
    file: str, edges_G1: np.ndarray, probabilities_GK: np.ndarray, classes: Sequence[str], how: Detection
) -> list[Event]:
    """The events of one sound, by their start.

    Args:
        file: the sound.
        edges_G1: where the steps begin and end, in seconds, shape (G + 1,).
        probabilities_GK: of each class in each step.
        classes: their names.
        how: threshold, smoothing and minimum duration.

    Returns:
        Events, one for each run of steps at or above its class's threshold; its score is the mean of its steps'
        smoothed probabilities.

    Raises:
        AaspError: a threshold is given for a class that is not in `classes`.
    """
    thresholds = how.of(classes)
    if len(edges_G1) < 2:
        return []
    smoothed = probabilities_GK
    steps = round(how.smooth / float(np.median(np.diff(edges_G1)))) if how.smooth else 0
    if steps > 1:
        smoothed = median_filter(probabilities_GK, size=(steps + 1 - steps % 2, 1), mode="nearest")
    found = []
    for k, name in enumerate(classes):
        active = np.concatenate([[False], smoothed[:, k] >= thresholds[k], [False]])
        turns = np.flatnonzero(active[1:] != active[:-1])
        for first, last in zip(turns[::2], turns[1::2], strict=True):
            start, end = float(edges_G1[first]), float(edges_G1[last])
            if end > start and end - start >= how.min_length - 1e-9:
                found.append(Event(file, start, end, name, float(smoothed[first:last, k].mean())))
    return sorted(found, key=lambda one: (one.start, one.end, one.label))
