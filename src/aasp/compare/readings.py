"""Readings of a comparison: ridge regression on a model's default vector and on its best layer, clip by clip.

"Default vector" is the output of `aasp embed`; "best layer" is chosen on the valid part among all layers, each with two
poolings. Log-mel statistics have one vector, which both readings use. n clips.
Source: ours; probes and baselines are those of `aasp.evaluate`, and sets are thinned as in benchmarks/ruler.py.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from aasp.audio.sounds import Sound
from aasp.compare.cells import Cell
from aasp.compare.folder import file_name
from aasp.compare.inputs import check_files
from aasp.compare.measures import MODULATIONS, Kept, Listener, Scores, checked, modulated, opened, scores_of
from aasp.compare.supervised import LabelledTask, SupervisedReader
from aasp.datasets import demo, modulations
from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet
from aasp.encoders.contract import EncoderAdapter
from aasp.encoders.vectors import OWN, clip_vectors
from aasp.errors import AaspError
from aasp.evaluate.baselines import BANDS_40, BANDS_128, fixed_probe, statistics
from aasp.evaluate.draws import thin_set
from aasp.evaluate.features import clip_keys, own_keys
from aasp.evaluate.finetune.data import measured
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.ridge import ridge_probe
from aasp.evaluate.task import Task
from aasp.model.audio_encoder import load

POOLINGS = ("mean+std", "flat+std")
CLIPS, HOURS = 1_000, 0.75
"""The largest subset of a set, without `--full`."""
BANDS = {"log-mel-40": 40, "log-mel-128": 128}
"""Cells of the baselines without an encoder: bands of the log-mel whose statistics are probed."""
Workload = tuple[str, float]
"""What an encoder embeds, once for all measures with the same name, and its length in seconds."""
Way = Literal["default vector", "best layer"]
WAYS: tuple[Way, ...] = ("default vector", "best layer")


class Readable(Protocol):
    """A system that is probed: an encoder, or log-mel statistics."""

    def read(self, way: Way, sounds: Sequence[Sound], task: Task) -> ProbeResult:
        """The predictions of its probe for the scored clips."""


class EncoderReader(Listener):
    """Probes of an encoder."""

    def read(self, way: Way, sounds: Sequence[Sound], task: Task) -> ProbeResult:
        own, every = own_keys(self.encoder), clip_keys(self.encoder, poolings=POOLINGS)
        features = self.vectors(sounds, list(dict.fromkeys([*own, *every])))
        return ridge_probe({key: features[key] for key in (own if way == "default vector" else every)}, task)


class AdapterReader(Kept):
    """Probes of an external encoder: its clip vector, and the best of its layers if it returns them.

    Args:
        adapter: the encoder.
    """

    def __init__(self, adapter: EncoderAdapter) -> None:
        super().__init__()
        self.adapter = adapter
        self._last: tuple[Any, dict[str, np.ndarray]] = ((), {})

    def read(self, way: Way, sounds: Sequence[Sound], task: Task) -> ProbeResult:
        if self._last[0] != (given := tuple(sounds)):
            skipped: list[Skipped] = []
            vectors = clip_vectors(self.adapter, sounds, skipped)
            if skipped:
                raise AaspError(f"can't use {skipped[0].path}: {skipped[0].reason}; replace it, or leave it out")
            self._last = given, vectors
        layers = {key: X for key, X in self._last[1].items() if key != OWN}
        return ridge_probe(layers if layers and way == "best layer" else {OWN: self._last[1][OWN]}, task)


class LogMelReader:
    """Probes of log-mel statistics.

    Args:
        bands: 40, with a fixed probe, or 128, with the encoders' probe.
        kept: cache of statistics by sounds, shared with later readers.
    """

    def __init__(self, bands: int, kept: dict[Hashable, dict]) -> None:
        self._bands, self._kept = bands, kept

    def read(self, way: Way, sounds: Sequence[Sound], task: Task) -> ProbeResult:
        key = tuple(sounds)
        if key not in self._kept:
            self._kept[key] = statistics(sounds)
        X = self._kept[key]
        if self._bands == 40:
            return fixed_probe(X[BANDS_40], task)
        return ridge_probe({key: X[key] for key in BANDS_128}, task)


class Readers:
    """Makes the reader of a cell, given the cell and the folder of its model.

    Args:
        device: where encoders run.
        frozen: by name, functions that open encoders that are not trained here.
    """

    def __init__(self, device: str, frozen: Mapping[str, Callable[[], Readable]] | None = None) -> None:
        self._device, self._frozen = device, frozen or {}
        self._kept: dict[Hashable, dict] = {}

    def __call__(self, cell: Cell, model: Path) -> Readable:
        if cell.kind == "log-mel":
            return LogMelReader(BANDS[cell.name], self._kept)
        if cell.kind == "frozen":
            return self._frozen[cell.name]()
        if cell.kind == "scratch":
            return SupervisedReader(model.parent)
        return EncoderReader(load(model, self._device))


class Reading:
    """Accuracy of a probe of one vector on one set, clip by clip.

    Args:
        way: which vector.
        name: of the set.
        labelled: the set, thinned.
        known: description of the set.
        task: its labels and parts.

    Attributes:
        name: of the measure.
    """

    def __init__(self, way: Way, name: str, labelled: LabelledSet, known: LabelledTask, task: Task) -> None:
        self.name, self.set, self.way = f"{name}, {way}", name, way
        self.labelled, self.known, self.task = labelled, known, task

    @cached_property
    def tested(self) -> tuple[Sound, ...]:
        """The scored clips."""
        return tuple(self.labelled.sounds[row] for row in self.task.test)

    @property
    def notes(self) -> list[str]:
        """What readers of its scores should know of the set."""
        missing = len(self.labelled.missing)
        return [*self.task.notes, *([f"{missing:,} clips are missing"] if missing else [])]

    @property
    def workload(self) -> Workload:
        """What an encoder embeds, once for all readings of the set, and its seconds."""
        return self.set, self.known.seconds

    @property
    def averaged(self) -> bool:
        """Whether it is part of the average over sets: generated modulations are not."""
        return self.set != MODULATIONS

    def __call__(self, reader: Readable) -> Scores:
        result = reader.read(self.way, self.labelled.sounds, self.task)
        chosen = [str(chosen.key) for chosen in result.chosen]
        return scores_of(result, len(self.task.classes), {"chosen": chosen})


def open_readings(words: Iterable[str], folder: Path, full: bool) -> dict[str, list[Reading]]:
    """The readings of each set, by its word: NAME=ROOT, INDEX:LABEL:SPLIT[:GROUP], or `modulations`.

    Args:
        words: as typed.
        folder: where the sounds of `modulations` are made, if requested.
        full: do not thin the sets.

    Raises:
        AaspError: a word is not a set, two sets have one name or would share a file, or data are invalid.
    """
    found: dict[str, list[Reading]] = {}
    for word in dict.fromkeys(words):
        name, labelled = modulated(folder) if word == MODULATIONS else opened(word)
        known = next((other for other, readings in found.items() if readings[0].set == name), None)
        if known:
            raise AaspError(f"--benchmarks {word}: called {name}, as {known} is; name one of them")
        if word != MODULATIONS and file_name(name) == MODULATIONS:
            raise AaspError(f"--benchmarks {word}: called {name}, as the generated set is; rename its folder")
        check_files(name, word, {readings[0].set: other for other, readings in found.items()})
        found[word] = list(_readings(name, labelled, full))
    return found


@dataclass(frozen=True)
class Announced:
    """A reading of `modulations` before its sounds are made: as much as a plan needs."""

    name: str
    set: str
    workload: Workload


def announced() -> list[Announced]:
    """The readings of `modulations` before its sounds are made."""
    return [Announced(f"{MODULATIONS}, {way}", MODULATIONS, (MODULATIONS, generated().seconds)) for way in WAYS]


def generated() -> LabelledTask:
    """The description of `modulations` before its sounds are made."""
    clips = demo.Size(notes=0).clips
    facts = (len(modulations.RATES), 1, modulations.SECONDS, clips * modulations.SECONDS)
    return LabelledTask(MODULATIONS, MODULATIONS, *facts)


def _readings(name: str, labelled: LabelledSet, full: bool) -> Iterator[Reading]:
    checked(name, labelled)
    labelled, seconds = measured(labelled)
    if not full:
        labelled, seconds = thin_set(labelled, seconds, clips=CLIPS, hours=HOURS)
    task = Task.of(labelled, choose="next_fold")
    facts = (len(task.classes), len(task.rounds), float(np.max(seconds)), float(np.sum(seconds)))
    for way in WAYS:
        yield Reading(way, name, labelled, LabelledTask(name, labelled.name, *facts), task)
