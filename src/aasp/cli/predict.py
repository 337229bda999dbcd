"""`aasp predict`: sound files in, their likeliest classes out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from aasp.cli.arguments import parse
from aasp.cli.events import as_json, detection, events_of, lines, output
from aasp.cli.facts import facts
from aasp.cli.progress import bar
from aasp.errors import AaspError

if TYPE_CHECKING:
    import numpy as np

    from aasp.audio.channels import Channels
    from aasp.audio.sounds import Sound
    from aasp.datasets.events import Event
    from aasp.datasets.index import Skipped
    from aasp.evaluate.features import Progress
    from aasp.evaluate.finetune.predict import Prediction
    from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig

TOP = 5
WINDOW = 1.0


@dataclass(frozen=True)
class Predict:
    """Name the likeliest classes of sound files, whole, whatever their length, rate and channel count.

    MODEL is what `aasp finetune` made; of a run of folds, the folds' probabilities are averaged. In a pipe a file is a
    line, its fields separated by tabs. Files that can't be used are named on stderr; if one of them was named here and
    not found in a folder, the exit code is 2.
    """

    model: tyro.conf.Positional[str]
    """Folder of a classifier or of a run of `aasp finetune`, or a classifier on the hub."""
    files: tyro.conf.Positional[tuple[str, ...]]
    """Sound files, or folders of them, searched to the bottom."""
    top: int | None = None
    """How many classes to name, the likeliest first; 5 when left out, with --json all."""
    frames: bool = False
    """Also say what is there when: by windows that overlap by half, or, of a classifier that was fine-tuned on events,
    step by step. With one of the next five options events are told instead: file, start, end, label, score."""
    threshold: tuple[str, ...] = ()
    """Probability from which on a class is there, 0.5 when left out; of single classes as dog=0.3."""
    smooth: float | None = None
    """Seconds of a median filter over the probabilities."""
    min_length: float | None = None
    """Seconds of the shortest event that is told."""
    out: Path | None = None
    """Table of events to write: .csv or .parquet, .tsv (DCASE); a folder for Raven and Audacity, a file a sound."""
    format: Literal["csv", "parquet", "raven", "audacity", "dcase"] | None = None
    """Of --out, where its name does not say it."""
    overwrite: bool = False
    """Replace an existing --out file."""
    hop: float | None = None
    """Seconds from step to step: a time patch, or a half or a quarter of it, at two or four times the cost."""
    window: float | None = None
    """Seconds of a window, at most what the model was trained on; 1 when left out."""
    channels: str = "mean"
    """Of files of several: their mean, first, loudest, a channel's number from 1 on, or each by itself."""
    json: bool = False
    """JSON Lines: file, seconds, multilabel, classes (name to probability), and frames (start, end, classes)."""


def run(argv: list[str]) -> int:
    arguments = parse(Predict, argv, prog="aasp predict")
    if not arguments.files:
        raise AaspError("no files to classify; name one or more after the model")
    if arguments.top is not None and arguments.top < 1:
        raise AaspError(f"--top is {arguments.top}; give a number of at least 1")
    if arguments.window is not None and not arguments.frames:
        raise AaspError(f"--window {arguments.window:g} without --frames; add --frames")

    how, written = detection(arguments), output(arguments)

    from aasp.audio.channels import checked
    from aasp.evaluate.finetune.predict import load_classifiers

    channels = checked(arguments.channels)
    skipped: list[Skipped] = []
    sounds = [one for path in _found(arguments.files, skipped) for one in _chosen(path, channels, skipped)]
    folds = load_classifiers(arguments.model)
    models = list(folds.values())
    config = models[0].config
    if how is not None:
        how.of(config.classes)  # before the long part
    window = _window(arguments, config) if arguments.frames and not config.over_time else None
    if len(folds) > 1:
        print(f"{arguments.model}: the mean of {len(folds)} folds' probabilities: {', '.join(folds)}", file=sys.stderr)
    if config.multilabel and not arguments.json and how is None:
        print("each class has a probability of its own; from 50 % on a clip is taken to have it", file=sys.stderr)
    found: dict[str, list[Event]] = {}
    top = arguments.top or (len(config.classes) if arguments.json else TOP)
    told = 0
    with bar("classifying") as show:
        for one in _predicted(arguments, models, sounds, window, skipped, show):
            events = None if how is None else events_of(one, config.classes, how)
            if written is not None and events is not None:
                found[one.path] = events
            elif arguments.json:
                _tell_json(one, config, top, events)
            elif events is not None:
                print(*lines(events), sep="\n", end="\n" if events else "", flush=True)
            else:
                _tell(one, config, top)
            told += 1
    if written is not None and found:
        from aasp.datasets.events.writing import write_events

        write_events(*written, found, config.encoder.frontend.band)
        print(f"{written[0]}: {sum(map(len, found.values())):,} events in {len(found):,} file(s), {written[1]}")
    return _end(arguments.files, skipped, told)


def _predicted(
    arguments: Predict,
    models: Sequence[AudioClassifier],
    sounds: Sequence[Sound],
    window: float | None,
    skipped: list[Skipped],
    show: Progress,
) -> Iterator[Prediction]:
    """What the models say of files, over time by what they are for."""
    from aasp.evaluate.finetune.over_time import predictions_over_time
    from aasp.evaluate.finetune.predict import predictions

    if not arguments.frames or not models[0].config.over_time:
        if arguments.hop is not None:
            told = f"{arguments.model} was fine-tuned on clips, and is asked window by window"
            raise AaspError(f"--hop {arguments.hop:g}: {told}; give --window")
        yield from predictions(models, sounds, window=window, skipped=skipped, progress=show)
        return
    if arguments.window is not None:
        told = f"{arguments.model} was fine-tuned on events, and is asked step by step"
        raise AaspError(f"--window {arguments.window:g}: {told}; give --hop, or leave it out")
    yield from predictions_over_time(models, sounds, hop=arguments.hop, skipped=skipped, progress=show)


def _found(files: Sequence[str], skipped: list[Skipped]) -> Iterator[str]:
    """The files named, and those in the folders named."""
    from aasp.audio.io import EXTENSIONS
    from aasp.datasets.index import told_hidden, walk

    hidden: list[str] = []
    for name in files:
        if not Path(name).is_dir():
            yield name
            continue
        before, empty = len(skipped), True
        for path in walk(name, skipped, hidden):
            empty = False
            yield path
        if empty:
            seen = f" that can be read, {len(skipped) - before} that can't" if len(skipped) > before else ""
            known = ", ".join(sorted(EXTENSIONS))
            raise AaspError(f"no audio{seen}: {name}; name a folder of WAV, FLAC … files ({known})")
    for note in told_hidden(hidden):
        print(note, file=sys.stderr)


def _chosen(path: str, channels: Channels, skipped: list[Skipped]) -> list[Sound]:
    """The channels of a file that are asked for; of a file that can't be used, none."""
    from aasp.audio.io import AudioError
    from aasp.audio.sounds import chosen
    from aasp.datasets.index import Skipped

    try:
        return chosen(path, channels)
    except AudioError as error:
        skipped.append(Skipped(error.path, error.reason))
        return []


def _window(arguments: Predict, config: AudioClassifierConfig) -> float:
    longest, shortest = config.clip_seconds, config.encoder.frontend.shortest_ms / 1000
    window = min(WINDOW, longest) if arguments.window is None else arguments.window
    if not shortest <= window <= longest:
        raise AaspError(f"--window is {window:g} s; give {shortest:g} s to the {longest:g} s the model was trained on")
    return window


def _end(files: Sequence[str], skipped: Sequence[Skipped], told: int) -> int:
    """Name what could not be used, and fail if it had been named by the user, or was everything."""
    for file in skipped:
        print(f"skipped {file.path}: {file.reason}", file=sys.stderr)
    bad = [file for file in skipped if file.path in files] or (skipped if not told else [])
    if bad:
        count = f"{len(bad):,} of {told + len(skipped):,} files"
        raise AaspError(f"not usable: {count}, the first {bad[0].path}: {bad[0].reason}; mend or replace them")
    return 0


def _tell(one: Prediction, config: AudioClassifierConfig, top: int) -> None:
    """A file's likeliest classes, then those of its windows: indented in a terminal, a line each in a pipe."""
    parts = [("", one.probabilities), *_windows(one)]
    for span, probabilities in parts:
        unit = (lambda value: f"{value:.4g}") if config.numbers else (lambda value: f"{100 * value:.1f} %")
        likely = {name: unit(value) for name, value in _likeliest(probabilities, config, top).items()}
        place = f"{one.path} {span}".rstrip()
        if sys.stdout.isatty():
            facts(place, likely)
        else:
            print(place, *(f"{name} {p}" for name, p in likely.items()), sep="\t", flush=True)


def _tell_json(one: Prediction, config: AudioClassifierConfig, top: int, events: list[Event] | None) -> None:
    line: dict[str, Any] = {"file": one.path, "seconds": round(one.seconds, 6), "multilabel": config.multilabel}
    line["classes"] = _likeliest(one.probabilities, config, top)
    if events is not None:
        line["events"] = as_json(events)
    elif len(one.windows):
        line["frames"] = [
            {"start": start, "end": end, "classes": _likeliest(probabilities, config, top)}
            for (start, end), probabilities in zip(one.windows.round(6).tolist(), one.over_time, strict=True)
        ]
    print(json.dumps(line, ensure_ascii=False), flush=True)


def _windows(one: Prediction) -> Iterator[tuple[str, np.ndarray]]:
    for (start, end), probabilities in zip(one.windows, one.over_time, strict=True):
        yield f"{start:.2f}–{end:.2f} s", probabilities


def _likeliest(probabilities: np.ndarray, config: AudioClassifierConfig, top: int) -> Mapping[str, float]:
    """The likeliest classes and their probabilities, the first of the model's classes first among equals."""
    order = (-probabilities).argsort(kind="stable")[:top]
    return {config.classes[k]: round(float(probabilities[k]), 6) for k in order}
