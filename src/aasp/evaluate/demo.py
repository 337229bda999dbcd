"""Measurements of `aasp demo`: embeddings without any training, and linear probes of several encoders.

n clips of a set, m of them in the test part, D dimensions.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from aasp.datasets.labelled import LabelledSet
from aasp.documents import read_object
from aasp.errors import AaspError
from aasp.evaluate.baselines import BANDS_40, BANDS_128
from aasp.evaluate.cache import kept_features, kept_statistics
from aasp.evaluate.features import OWN, clip_features, clip_keys, own_keys
from aasp.evaluate.intervals import Interval, interval, span
from aasp.evaluate.linear import linear_probe
from aasp.evaluate.similarity import LABELS as FEW
from aasp.evaluate.similarity import few_labels, neighbours, plane
from aasp.evaluate.task import Task
from aasp.files import atomic_write
from aasp.formats import percent_text
from aasp.model.audio_encoder import AudioEncoder
from aasp.weights import model_hash

Progress = Callable[[int, int], object]
Shows = Callable[[str], Progress]
Rows = list[dict[str, str]]
Features = dict[Hashable, np.ndarray]

POOLINGS = ("mean+std", "flat+std")
STRENGTHS = (3.0, 30.0, 300.0)
"""Fewer candidates than the default of `linear_probe`, to keep the demo short."""
STATISTICS = {BANDS_40: "40 bands, four statistics", **{key: f"128 bands, {key[1]}" for key in BANDS_128}}
LOOKED_AT = 8
"""Notes of each instrument in the first look."""
EVERY = 3
"""The first look has every third of the voices that are not tested: more than 20 signals of each rate."""
QUERIES = ("trumpet", "cello", "flute", "glockenspiel")
"""Instruments whose middle note is a query for neighbours, where the demo has them."""

SETS = {"notes": ("family", "pitch"), "signals": ("rate",)}
"""The demo's sets and the labels that are predicted."""
LABELS = {
    "family": ("Instrument family", "families", "notes", "instruments"),
    "pitch": ("Pitch", "keys", "notes", "instruments"),
    "rate": ("Modulation rate", "rates from 1.5 to 40 Hz", "signals", "voices"),
}
"""For each label: its title, and the words for its classes, its clips, and the groups that splits do not share."""


@dataclass(frozen=True)
class FewLabels:
    """Accuracy on clips of new voices or instruments from a few labelled clips of others.

    Attributes:
        name: title of the label.
        clips: number of clips, the word for them, and how many of them are tested.
        chance: accuracy of always predicting the most common class.
        accuracy: by number of labelled clips per class and by encoder.
    """

    name: str
    clips: tuple[int, str, int]
    chance: float
    accuracy: Mapping[int, Mapping[str, Interval]]


@dataclass(frozen=True)
class FirstLook:
    """Results of a model's default vectors of some signals and notes, with a few labels or none.

    Attributes:
        rows: of the notes, n.
        few: accuracy from a few labels, for modulation rates and for instrument families.
        queries: rows of some notes.
        neighbours: rows of the notes most similar to each query according to the first encoder.
        maps: by encoder, the notes on a plane (n, 2).
    """

    rows: Rows
    few: Sequence[FewLabels]
    queries: Rows
    neighbours: Sequence[Rows]
    maps: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Reading:
    """Results of the linear probes of one encoder.

    Attributes:
        correct: by label, for each of m clips 1.0 if the probe was right, else 0.0.
        chosen: by label, the features chosen on the valid part.
    """

    correct: Mapping[str, list[float]]
    chosen: Mapping[str, str]


@dataclass(frozen=True)
class TaskScores:
    """Scores of every encoder on one task.

    Attributes:
        name: the task, in a few words.
        about: the task in one line.
        chance: accuracy of always predicting the most common class of the test part.
        accuracy: by encoder; the encoder that the report is about comes first.
        difference: the first encoder minus each other one, paired clip by clip, by the other's name.
    """

    name: str
    about: str
    chance: float
    accuracy: dict[str, Interval]
    difference: dict[str, Interval]


def rows_of(data: Path, name: str) -> Rows:
    """The rows of one of the demo's sets, with full paths."""
    with open(data / f"{name}.csv", newline="", encoding="utf-8") as file:
        return [row | {"path": str(data / row["path"])} for row in csv.DictReader(file)]


def middle_note(rows: Rows, instrument: str) -> dict[str, str]:
    """An instrument's middle note by pitch."""
    own = sorted((row for row in rows if row["instrument"] == instrument), key=lambda row: int(row["pitch"]))
    return own[len(own) // 2]


def first_look(data: Path, encoders: Mapping[str, AudioEncoder | None], folder: Path, progress: Shows) -> FirstLook:
    """Evaluate the vectors of some signals and notes without probes.

    Args:
        data: the demo's sounds.
        encoders: by name, a model, or None for log-mel statistics.
        folder: cache of vectors.
        progress: called with an encoder's name, returns a callback for (clips embedded, all).
    """
    signals, notes = rows_of(data, "signals"), rows_of(data, "notes")
    others = sorted({row["instrument"] for row in signals if row["split"] != "test"})[::EVERY]
    signals = [row for row in signals if row["split"] == "test" or row["instrument"] in others]
    number: Counter[str] = Counter()
    rows = []
    for row in notes:  # an instrument's keys come in random order
        number[row["instrument"]] += 1
        rows += [row] if number[row["instrument"]] <= LOOKED_AT else []
    paths = [row["path"] for row in [*signals, *rows]]
    vectors = {name: _vectors(encoder, paths, folder, progress(name)) for name, encoder in encoders.items()}
    of_notes = {name: X[len(signals) :] for name, X in vectors.items()}
    instrument = np.array([row["instrument"] for row in rows])
    shown = [one for one in QUERIES if one in instrument] or sorted(set(instrument.tolist()))[:1]
    queries = [rows.index(middle_note(rows, name)) for name in shown]
    found = neighbours(next(iter(of_notes.values())), instrument, queries)
    return FirstLook(
        rows=rows,
        few=[
            _few_labels("rate", signals, {name: X[: len(signals)] for name, X in vectors.items()}),
            _few_labels("family", rows, of_notes),
        ],
        queries=[rows[row] for row in queries],
        neighbours=[[rows[row] for row in some] for some in found],
        maps={name: plane(X) for name, X in of_notes.items()},
    )


def _few_labels(label: str, rows: Rows, vectors: Mapping[str, np.ndarray]) -> FewLabels:
    """Accuracy on the test rows from a few labels of the other rows."""
    classes, groups, split = (np.array([row[name] for row in rows]) for name in (label, "instrument", "split"))
    known, test = np.flatnonzero(split != "test"), np.flatnonzero(split == "test")
    title, _, clips, _ = LABELS[label]
    chance = Counter(classes[test].tolist()).most_common(1)[0][1] / len(test)
    found = {name: few_labels(X, classes, groups, known, test) for name, X in vectors.items()}
    accuracy = {count: {name: of[count] for name, of in found.items()} for count in FEW}
    return FewLabels(title, (len(rows), clips, len(test)), chance, accuracy)


def read(encoder: AudioEncoder | None, data: Path, folder: Path, progress: Shows) -> Reading:
    """Probe frozen features of the demo's sounds; the best are chosen on the valid part.

    The candidates of an encoder are its default vector, and two poolings of three of its layers. Without an encoder
    they are four statistics of 40 log-mel bands, and the mean, or mean and deviation, of 128 bands.

    Args:
        encoder: the model, or None.
        data: the demo's sounds.
        folder: cache of readings by encoder and sounds.
        progress: called with the name of a stage, returns a callback for (clips or candidates done, all).
    """
    made = fingerprint(data, encoder)
    file = folder / f"{made[:16]}.json"
    try:
        found = read_object(file, "it is made again")
    except (OSError, AaspError):
        found = {}
    if found.get("made") == made and {"correct", "chosen"} <= found.keys():
        return Reading(found["correct"], found["chosen"])
    shows = progress("embedding clips"), progress("probing")
    reading = _probed(partial(_features, encoder, folder), data, *shows)
    with atomic_write(file) as beside:
        beside.write_text(json.dumps({"made": made, **asdict(reading)}), encoding="utf-8")
    return reading


def fingerprint(data: Path, encoder: AudioEncoder | None) -> str:
    """A digest of everything a reading depends on: the sounds, the encoder (if any), and how it is probed."""
    digest = sha256((data / "dataset.json").read_bytes())
    digest.update(repr((POOLINGS, STRENGTHS, encoder and model_hash(encoder))).encode())
    return digest.hexdigest()


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
            about = f"{count} {classes} · {len(test)} {clips} of {len(set(groups))} {kind} kept out of training"
            chance = Counter(row[label] for row in test).most_common(1)[0][1] / len(test)
            correct = {encoder: reading.correct[label] for encoder, reading in readings.items()}
            first, *others = correct
            accuracy = {encoder: interval(values, clusters=groups) for encoder, values in correct.items()}
            lead = {other: interval(correct[first], minus=correct[other], clusters=groups) for other in others}
            tasks.append(TaskScores(title, about, chance, accuracy, lead))
    return tasks


def verdict(difference: Interval) -> str:
    """A paired difference in points, and whether it is clear."""
    points = lambda value: percent_text(value, sign="+").replace("-", "−")
    ends = span(difference.low, difference.high, points, " to ")
    clear = "" if difference.excludes_zero() else ", no clear difference"
    return f"{points(difference.estimate)} points ({ends}){clear}"


def _vectors(encoder: AudioEncoder | None, paths: list[str], folder: Path, progress: Progress) -> np.ndarray:
    """An encoder's default vectors, shape (n, D); without one, mean and deviation of 128 log-mel bands."""
    if encoder is None:
        return kept_statistics(paths, folder, progress).features[BANDS_128[1]]
    (vectors,) = kept_features(encoder, paths, own_keys(encoder), folder, progress=progress).features.values()
    return vectors


def _features(encoder: AudioEncoder | None, folder: Path, paths: list[str], progress: Progress) -> Features:
    """The candidates of `read`, by name."""
    if encoder is None:
        return {STATISTICS[key]: X for key, X in kept_statistics(paths, folder, progress).features.items()}
    depth = encoder.config.encoder.depth
    layers = [-(-depth * third // 3) for third in (1, 2, 3)]
    keys = list(dict.fromkeys([*own_keys(encoder), *clip_keys(encoder, layers, POOLINGS)]))
    found = clip_features(encoder, paths, keys, progress=progress)
    return {"its own vector" if key == OWN else f"layer {key[0]}, {key[1]}": X for key, X in found.items()}


def _probed(
    features: Callable[[list[str], Progress], Features], data: Path, embedding: Progress, probing: Progress
) -> Reading:
    """Compute the features of both sets, then probe each label with all features of its set."""
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
            correct[label], chosen[label] = result.correct.tolist(), str(result.chosen[0].key)
            done += len(candidates[name])
    return Reading(correct, chosen)


def _labelled(rows: Rows, data: Path, name: str, label: str) -> LabelledSet:
    column = lambda key: [row[key] for row in rows]
    labels = [(value,) for value in column(label)]
    classes = sorted(set(column(label)))
    return LabelledSet(name, str(data), column("path"), labels, column("split"), classes, column("instrument"))


def _after(before: int, total: int, progress: Progress) -> Progress:
    """Progress of a part as progress of the whole."""
    return lambda done, _: progress(before + done, total)
