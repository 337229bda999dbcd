"""The demo's contest: what a linear probe reads from one encoder's embeddings, and how encoders compare.

n clips of a set, m of them in the test part, D width.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from aasp.arrays import read_arrays
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.baselines import statistics_40, statistics_128
from aasp.evaluate.features import OWN, clip_features, clip_keys, own_keys
from aasp.evaluate.intervals import interval
from aasp.evaluate.linear import linear_probe
from aasp.evaluate.task import Task
from aasp.files import atomic_write
from aasp.model.audio_encoder import AudioEncoder
from aasp.report.scores import TaskScores

Progress = Callable[[int, int], object]
Rows = list[dict[str, str]]
Features = dict[Hashable, np.ndarray]

POOLINGS = ("mean+std", "flat+std")
STRENGTHS = (3.0, 30.0, 300.0)
"""Fewer candidates than `linear_probe` has by default: the demo's time is short."""

SETS = {"notes": ("family", "pitch"), "signals": ("rate",)}
"""The demo's sets, and the labels that are asked for."""
LABELS = {
    "family": ("Instrument family", "families", "notes", "instruments"),
    "pitch": ("Pitch", "keys", "notes", "instruments"),
    "rate": ("Modulation rate", "rates from 1.5 to 40 Hz", "signals", "voices"),
}
"""What a label is called, its classes, its clips, and the groups that no two splits share."""


@dataclass(frozen=True)
class Reading:
    """What linear probes read from one encoder.

    Attributes:
        correct: by label, 1.0 where the probe was right, 0.0 where not, shape (m,).
        chosen: by label, the features that were chosen on the valid part.
    """

    correct: Mapping[str, np.ndarray]
    chosen: Mapping[str, str]

    def save(self, path: Path, made: str) -> None:
        """Write it for `load`; `made` says from what."""
        arrays = {f"correct_{label}": values for label, values in self.correct.items()}
        keep(path, made, arrays | {f"chosen_{label}": np.array(value) for label, value in self.chosen.items()})

    @classmethod
    def load(cls, path: Path, made: str) -> Reading | None:
        """What `save` wrote from the same, or None."""
        file = kept(path, made, [f"{part}_{label}" for part in ("correct", "chosen") for label in LABELS])
        if file is None:
            return None
        chosen = {label: str(file[f"chosen_{label}"]) for label in LABELS}
        return cls({label: file[f"correct_{label}"] for label in LABELS}, chosen)


def keep(path: Path, made: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as .npz; `made` says from what, for `kept` to ask."""
    with atomic_write(path) as beside:
        np.savez(beside, made=np.array(made), **arrays)  # type: ignore[arg-type]


def kept(path: Path, made: str, names: Iterable[str]) -> Mapping[str, np.ndarray] | None:
    """The arrays that `keep` wrote from the same, if all are there; else None."""
    try:
        file = read_arrays(path, "it is made again")
    except (OSError, AaspError):
        return None
    return file if "made" in file and str(file["made"]) == made and {*names} <= {*file} else None


def rows_of(data: Path, name: str) -> Rows:
    """The rows of one of the demo's sets, paths made whole."""
    with open(data / f"{name}.csv", newline="", encoding="utf-8") as file:
        return [row | {"path": str(data / row["path"])} for row in csv.DictReader(file)]


def fingerprint(data: Path, encoder: AudioEncoder | None) -> str:
    """A digest of all that a reading depends on: the sounds, the encoder's weights (if any), and how it is probed."""
    digest = sha256((data / "dataset.json").read_bytes())
    digest.update(repr((POOLINGS, STRENGTHS)).encode())
    for tensor in encoder.state_dict().values() if encoder is not None else ():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def note_vectors(encoder: AudioEncoder | None, data: Path, progress: Progress) -> np.ndarray:
    """An encoder's own vector of every note, shape (n, D); of none, mean and deviation of 128 log-mel bands.

    Args:
        encoder: the model, or None.
        data: the demo's sounds.
        progress: called with (notes embedded, all).
    """
    paths = [row["path"] for row in rows_of(data, "notes")]
    if encoder is None:
        parts = []
        for start in range(0, len(paths), 64):
            (_, both) = statistics_128(paths[start : start + 64]).values()
            parts.append(both)
            progress(min(start + 64, len(paths)), len(paths))
        return np.concatenate(parts)
    (vectors,) = clip_features(encoder, paths, own_keys(encoder), progress=progress).values()
    return vectors


def read_encoder(encoder: AudioEncoder, data: Path, *, embedding: Progress, probing: Progress) -> Reading:
    """Probe a frozen encoder: its own vector, and two poolings of three of its layers, are candidates.

    Args:
        encoder: the model.
        data: the demo's sounds.
        embedding: called with (clips embedded, all).
        probing: called with (candidates fitted, all).
    """
    depth = encoder.config.encoder.depth
    layers = [-(-depth * third // 3) for third in (1, 2, 3)]
    keys = list(dict.fromkeys([*own_keys(encoder), *clip_keys(encoder, layers, POOLINGS)]))
    name = lambda key: "its own vector" if key == OWN else f"layer {key[0]}, {key[1]}"

    def features(paths: list[str], progress: Progress) -> Features:
        return {name(key): X for key, X in clip_features(encoder, paths, keys, progress=progress).items()}

    return _read(features, data, embedding, probing)


def read_statistics(data: Path, *, embedding: Progress, probing: Progress) -> Reading:
    """Probe log-mel statistics: four of 40 bands, or the mean, or mean and deviation, of 128 bands.

    Args:
        data, embedding, probing: as in `read_encoder`.
    """
    return _read(_statistics, data, embedding, probing)


def compare(readings: Mapping[str, Reading], data: Path) -> list[TaskScores]:
    """Scores of every encoder and the first one's lead, with intervals over instruments or voices."""
    tasks = []
    for name, labels in SETS.items():
        rows = rows_of(data, name)
        test = [row for row in rows if row["split"] == "test"]
        groups = [row["instrument"] for row in test]
        for label in labels:
            title, classes, clips, kind = LABELS[label]
            count = len({row[label] for row in rows})
            about = f"{count} {classes} · {len(test)} {clips} of {len(set(groups))} {kind} not heard in training"
            chance = Counter(row[label] for row in test).most_common(1)[0][1] / len(test)
            correct = {encoder: reading.correct[label] for encoder, reading in readings.items()}
            first, *others = correct
            accuracy = {encoder: interval(values, clusters=groups) for encoder, values in correct.items()}
            lead = {other: interval(correct[first], minus=correct[other], clusters=groups) for other in others}
            tasks.append(TaskScores(title, about, chance, accuracy, lead))
    return tasks


def _read(
    features: Callable[[list[str], Progress], Features],
    data: Path,
    embedding: Progress,
    probing: Progress,
) -> Reading:
    """Compute the features of both sets, then probe each label with all of them."""
    rows = {name: rows_of(data, name) for name in SETS}
    clips, done = sum(map(len, rows.values())), 0
    candidates: dict[str, Features] = {}
    for name, some in rows.items():
        candidates[name] = features([row["path"] for row in some], _after(done, clips, embedding))
        done += len(some)
    fits, done = sum(len(labels) * len(candidates[name]) for name, labels in SETS.items()), 0
    correct, chosen = {}, {}
    for name, labels in SETS.items():
        for label in labels:
            task = Task.of(_labelled(rows[name], data, name, label), choose="next_fold")
            result = linear_probe(candidates[name], task, strengths=STRENGTHS, progress=_after(done, fits, probing))
            correct[label], chosen[label] = result.correct, str(result.chosen[0].key)
            done += len(candidates[name])
    return Reading(correct, chosen)


def _statistics(paths: list[str], progress: Progress) -> Features:
    parts = []
    for start in range(0, len(paths), 64):
        some = paths[start : start + 64]
        of_128 = {f"128 bands, {pooling}": X for (_, pooling), X in statistics_128(some).items()}
        parts.append({"40 bands, four statistics": statistics_40(some), **of_128})
        progress(start + len(some), len(paths))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _labelled(rows: Rows, data: Path, name: str, label: str) -> LabelledSet:
    column = lambda key: [row[key] for row in rows]
    labels = [(value,) for value in column(label)]
    classes = sorted(set(column(label)))
    return LabelledSet(name, str(data), column("path"), labels, column("split"), classes, column("instrument"))


def _after(before: int, total: int, progress: Progress) -> Progress:
    """Progress of a part as progress of the whole."""
    return lambda done, _: progress(before + done, total)
