"""Measures of a trained cell: a score for each clip, so that cells are compared clip by clip.

n clips. Source: ours; the probe is `aasp linear`'s logistic protocol with fewer candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from aasp.audio.sounds import Sound, describe, duration
from aasp.datasets import demo
from aasp.datasets.benchmarks.open import open_labelled
from aasp.datasets.labelled import LabelledSet
from aasp.datasets.measured import MIN_SECONDS
from aasp.errors import AaspError
from aasp.evaluate.features import Key, clip_features, clip_keys
from aasp.evaluate.linear import linear_probe
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.task import Task
from aasp.files import locked
from aasp.model.audio_encoder import AudioEncoder

POOLING = "flat+std"
LAYERS = 4  # candidates, evenly spaced from the stem's tokens to the output
MODULATIONS = "modulations"
T = TypeVar("T")


@dataclass(frozen=True)
class Scores:
    """The scores of one encoder.

    Attributes:
        metric: name of the metric, with its unit.
        values: score of each clip, (n,).
        clusters: cluster of each clip, (n,); None: each clip is its own.
        rounds: fold of each clip, (n,); None: one round.
        chance: chance level, or None.
        details: other results, JSON-able.
    """

    metric: str
    values: Sequence[float]
    clusters: Sequence[str] | None = None
    rounds: Sequence[int] | None = None
    chance: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def drawn(self) -> Sequence[str] | None:
        """The clusters that intervals draw; None, so that clips are drawn, if there is a single one."""
        return None if self.clusters is None or len(set(self.clusters)) < 2 else self.clusters


class Kept:
    """Values of an encoder that several measures share."""

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}

    def once(self, key: Any, compute: Callable[[], T]) -> T:
        """The result of `compute`, computed once per key."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]


class Listener(Kept):
    """An `AudioEncoder`, and cached results of it."""

    def __init__(self, encoder: AudioEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self._last: tuple[Any, dict[Key, np.ndarray]] = (None, {})

    def features(self, sounds: Sequence[Sound]) -> dict[Key, np.ndarray]:
        """Candidates for a probe: some layers, all their subbands, mean and deviation over time."""
        layers = sorted({round(layer) for layer in np.linspace(0, self.encoder.config.encoder.depth, LAYERS)})
        return self.vectors(sounds, clip_keys(self.encoder, layers, (POOLING,)))

    def vectors(self, sounds: Sequence[Sound], keys: Sequence[Key]) -> dict[Key, np.ndarray]:
        """Vectors of sounds by layer and pooling; the last result is cached for repeated calls."""
        requested = tuple(sounds), tuple(keys)
        if self._last[0] != requested:
            self._last = requested, clip_features(self.encoder, sounds, keys)
        return self._last[1]


class Measure(Protocol):
    """A measurement of an encoder.

    Attributes:
        name: of its column in tables, and of its file.
    """

    name: str

    def __call__(self, listener: Any, /) -> Scores: ...


class Probe:
    """Accuracy of a linear probe, clip by clip; layer and penalty are chosen on the valid part.

    Args:
        name: of the measure.
        labelled: one label per clip.

    Raises:
        AaspError: clips have several labels, the set is not a task, or a clip's header shows that it can't be used;
            raised before hours of training, not after.
    """

    def __init__(self, name: str, labelled: LabelledSet) -> None:
        checked(name, labelled)
        self.name, self.labelled = name, labelled
        self.task = Task.of(labelled, choose="next_fold")

    def __call__(self, listener: Listener) -> Scores:
        result = linear_probe(listener.features(self.labelled.sounds), self.task)
        layers = {
            str(layer): float(np.mean([chosen.valid_scores[layer, POOLING] for chosen in result.chosen]))
            for layer, _ in result.chosen[0].valid_scores
        }
        chosen = [int(chosen.key[0]) for chosen in result.chosen]
        return scores_of(result, len(self.task.classes), {"valid by layer": layers, "chosen layers": chosen})


def scores_of(result: ProbeResult, classes: int, details: Mapping[str, Any]) -> Scores:
    """The scores of a single-label probe, clip by clip."""
    return Scores(
        "accuracy",
        result.correct.tolist(),
        None if result.clusters is None else [str(group) for group in result.clusters],
        result.rounds.tolist(),
        1 / classes,
        details,
    )


def checked(name: str, labelled: LabelledSet) -> None:
    """Check that clips of a set can be compared one by one.

    Raises:
        AaspError: clips have several labels, or a clip's header shows that it can't be used; raised before hours of
            training, not after.
    """
    if labelled.multilabel:
        raise AaspError(f"{name}: clips have several labels; cells are compared by single labels, clip by clip")
    for sound in labelled.sounds:
        if duration(sound) < MIN_SECONDS:
            raise AaspError(f"clip too short: {describe(sound)} has less than {1000 * MIN_SECONDS:g} ms; leave it out")


def open_measure(word: str) -> Probe:
    """A probe of the set that `opened` returns."""
    return Probe(*opened(word))


def opened(word: str) -> tuple[str, LabelledSet]:
    """The name and the set of a command-line word: `NAME=ROOT` for a benchmark, or `INDEX:LABEL:SPLIT[:GROUP]`.

    Raises:
        AaspError: it is neither, or the data are invalid.
    """
    benchmark, equals, root = word.partition("=")
    if equals:
        return benchmark, open_labelled(benchmark, root)
    index, *columns = word.split(":")
    if len(columns) not in (2, 3):
        raise AaspError(f"--benchmarks {word}: write NAME=ROOT, or INDEX:LABEL:SPLIT, or INDEX:LABEL:SPLIT:GROUP")
    labelled = open_labelled(None, None, index, *columns)
    folder, label = Path(index).absolute().parent.name, columns[0]
    return (folder if label == "label" else f"{folder} {label}"), labelled


def modulation_rates(folder: Path) -> Probe:
    """A probe of the set that `modulated` returns."""
    return Probe(*modulated(folder))


def modulated(folder: Path) -> tuple[str, LabelledSet]:
    """The task of recognising which of eight modulation rates a generated voice has; no voice is in train and test.

    Args:
        folder: where the sounds are made, once, by one of the processes that need them.
    """
    with locked(folder.with_name(".modulations.lock"), wait=True):
        index = demo.build(folder, size=demo.Size(notes=0)) / "signals.csv"
    return MODULATIONS, open_labelled(None, None, index, "rate", "split", "instrument")
