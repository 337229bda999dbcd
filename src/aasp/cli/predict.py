"""`aasp predict`: the most likely classes of sound files."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from aasp.cli.arguments import parse
from aasp.cli.events import as_json, detection, events_of, lines, output
from aasp.cli.facts import facts
from aasp.cli.inputs import find_sounds, model_and_files
from aasp.cli.progress import bar
from aasp.cli.running import RunningOptions
from aasp.errors import AaspError
from aasp.formats import percent_text

if TYPE_CHECKING:
    import numpy as np

    from aasp.audio.sounds import Sound
    from aasp.datasets.events import Event
    from aasp.datasets.index import Skipped
    from aasp.evaluate.features import Progress, Running
    from aasp.evaluate.finetune.predict import Prediction
    from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig

TOP = 5


@dataclass(frozen=True, kw_only=True)
class Predict(RunningOptions):
    """Classify whole sound files of any length, rate and channel count.

    CLASSIFIER is made by `aasp finetune`; for a run with folds, the predictions of all folds are averaged. In a pipe,
    each file is one line with fields separated by tabs. Files that cannot be used are named on stderr; the exit code is
    2 if you named one of them yourself.
    """

    words: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="CLASSIFIER FILES")]
    """The folder of a classifier or of a run of `aasp finetune`, or a classifier on the hub; then sound files, folders
    of them, searched recursively, and .csv, .tsv or .parquet manifests."""
    top: int | None = None
    """Number of classes to print, most likely first; 5 by default, all with --json."""
    frames: bool = False
    """Also predict over time: in windows that overlap by half, or in time steps for a classifier fine-tuned on events.
    With one of the next five options it prints events instead: file, start, end, label, score."""
    threshold: tuple[str, ...] = ()
    """Probability from which a class is present, 0.5 by default; for single classes as dog=0.3."""
    smooth: float | None = None
    """Length in seconds of a median filter over the probabilities."""
    min_length: float | None = None
    """Minimum length of an event in seconds."""
    out: Path | None = None
    """Table of events to write: .csv or .parquet, .tsv (DCASE); a folder for Raven and Audacity, with one file per
    sound."""
    format: Literal["csv", "parquet", "raven", "audacity", "dcase"] | None = None
    """Format of --out, if its name does not determine it."""
    overwrite: bool = False
    """Replace an existing --out file."""
    hop: float | None = None
    """Seconds between time steps: a time patch, or a half or a quarter of it, at two or four times the cost."""
    window: float | None = None
    """Length of a window in seconds, at most the length that the model was trained on; 1 by default."""
    channels: str | None = None
    """Channel of multi-channel files: mean, first, loudest, a number (1, 2, …), or each; by default what the classifier
    was trained on."""
    path_column: str | None = None
    """Column of a manifest that holds the paths."""
    json: bool = False
    """JSON Lines: file, seconds, multilabel, classes (name to probability), and frames (start, end, classes)."""


def run(argv: list[str]) -> int:
    arguments = parse(Predict, argv, prog="aasp predict")
    model, files = model_and_files(arguments.words, "predict", argv, packaged=False)
    if arguments.top is not None and arguments.top < 1:
        raise AaspError(f"--top is {arguments.top}; give a number of at least 1")
    if arguments.window is not None and not arguments.frames:
        raise AaspError(f"--window {arguments.window:g} without --frames; add --frames")

    how, written = detection(arguments), output(arguments)

    from aasp.audio.channels import checked
    from aasp.evaluate.finetune.predict import load_classifiers, window_of

    channels = None if arguments.channels is None else checked(arguments.channels)
    running = arguments.running()
    folds = load_classifiers(model, arguments.place())
    models = list(folds.values())
    config = models[0].config
    found = find_sounds(files, channels or checked(config.channels), arguments.path_column, ending=False)
    skipped, sounds = found.skipped, _each_once(found.sounds)
    if len(sounds) < len(found.sounds):
        print(f"named more than once, and classified once: {len(found.sounds) - len(sounds):,}", file=sys.stderr)
    paths = _paths(sounds)
    if how is not None:  # before the slow part
        if config.numbers is not None:
            number = f"{model} predicts a number, {config.classes[0]}, not classes, so it has no events"
            raise AaspError(f"{number}; leave out --threshold, --smooth, --min-length, --out and --format")
        how.of(config.classes)
    windowed = arguments.frames and not config.over_time
    window = window_of(config, arguments.window, "--window") if windowed else None
    if channels is None and config.channels != "mean":
        text = f"reads channel {config.channels}, on which it was trained; choose another with --channels"
        print(f"{model}: {text}", file=sys.stderr)
    if len(folds) > 1:
        averaged = "probabilities" if config.numbers is None else "numbers"
        print(f"{model}: the mean of {len(folds)} folds' {averaged}: {', '.join(folds)}", file=sys.stderr)
    if config.multilabel and not arguments.json and how is None:
        print("each class has its own probability; a clip has a class from 50 % on", file=sys.stderr)
    events_by_file: dict[str, list[Event]] = {}
    top = arguments.top or (len(config.classes) if arguments.json else TOP)
    printed = 0
    with bar("classifying") as show:
        for prediction in _predicted(arguments, models, sounds, window, running, skipped, show):
            one = replace(prediction, path=paths.get(prediction.path, prediction.path))
            events = None if how is None else events_of(one, config.classes, how)
            if written is not None and events is not None:
                events_by_file.setdefault(one.path, []).extend(events)
            elif arguments.json:
                _print_json(one, config, top, events)
            elif events is not None:
                print(*lines(events), sep="\n", end="\n" if events else "", flush=True)
            else:
                _print_classes(one, config, top)
            printed += 1
    if written is not None and events_by_file:
        from aasp.datasets.events.writing import write_events

        write_events(*written, events_by_file, config.encoder.frontend.band)
        count = sum(map(len, events_by_file.values()))
        print(f"{written[0]}: {count:,} events in {len(events_by_file):,} file(s), {written[1]}")
    return _end(files, [file._replace(path=paths.get(file.path, file.path)) for file in skipped], printed)


def _each_once(sounds: Sequence[Sound]) -> list[Sound]:
    """Sounds without repeats: their events would count twice."""
    from aasp.audio.sounds import channels_of, files

    first: dict[tuple, Sound] = {}
    for sound in sounds:
        first.setdefault((*map(os.path.abspath, files(sound)), channels_of(sound)), sound)
    return list(first.values())


def _paths(sounds: Sequence[Sound]) -> dict[str, str]:
    """Files by the names of their sounds; a file with several channels keeps the names that tell them apart."""
    from aasp.audio.sounds import describe, files

    several = Counter(files(sound)[0] for sound in sounds)
    return {describe(sound): files(sound)[0] for sound in sounds if several[files(sound)[0]] == 1}


def _predicted(
    arguments: Predict,
    models: Sequence[AudioClassifier],
    sounds: Sequence[Sound],
    window: float | None,
    running: Running,
    skipped: list[Skipped],
    show: Progress,
) -> Iterator[Prediction]:
    """The models' predictions for files, over time according to their task."""
    from aasp.evaluate.finetune.over_time import predictions_over_time, step_probabilities
    from aasp.evaluate.finetune.predict import predictions

    if not arguments.frames or not models[0].config.over_time:
        if arguments.hop is not None:
            text = f"{arguments.words[0]} was fine-tuned on clips, and is evaluated window by window"
            raise AaspError(f"--hop {arguments.hop:g}: {text}; give --window")
        yield from predictions(models, sounds, window=window, running=running, skipped=skipped, progress=show)
        return
    if arguments.window is not None:
        text = f"{arguments.words[0]} was fine-tuned on events, and is evaluated step by step"
        raise AaspError(f"--window {arguments.window:g}: {text}; give --hop, or leave it out")
    predict = lambda some: step_probabilities(models, some, hop=arguments.hop, running=running, skipped=skipped)
    yield from predictions_over_time(sounds, predict, show)


def _end(files: Sequence[str], skipped: Sequence[Skipped], printed: int) -> int:
    """Print the unusable files, and fail if the user named one of them, or if all were unusable."""
    bad = [file for file in skipped if file.path in files] or (skipped if not printed else [])
    if not bad or len(skipped) > 1:
        for file in skipped:
            print(f"skipped {file.path}: {file.reason}", file=sys.stderr)
    if bad:
        count = f"{len(bad):,} of {printed + len(skipped):,} files"
        raise AaspError(f"not usable: {count}, the first {bad[0].path}: {bad[0].reason}; repair or replace them")
    return 0


def _print_classes(one: Prediction, config: AudioClassifierConfig, top: int) -> None:
    """A file's most likely classes, then those of its windows: indented in a terminal, one line each in a pipe."""
    from aasp.evaluate.finetune.predict import most_likely

    parts = [("", one.probabilities), *_windows(one)]
    for span, probabilities in parts:
        unit = (lambda value: f"{value:.6g}") if config.numbers else (lambda value: f"{percent_text(value)} %")
        likely = {name: unit(value) for name, value in most_likely(probabilities, config, top).items()}
        place = f"{one.path} {span}".rstrip()
        if sys.stdout.isatty():
            facts(place, likely)
        else:
            print(place, *(f"{name} {p}" for name, p in likely.items()), sep="\t", flush=True)


def _print_json(one: Prediction, config: AudioClassifierConfig, top: int, events: list[Event] | None) -> None:
    from aasp.evaluate.finetune.predict import as_values

    line = {"file": one.path, **as_values(one, config, top)}
    if events is not None:
        line.pop("frames", None)
        line["events"] = as_json(events)
    print(json.dumps(line, ensure_ascii=False), flush=True)


def _windows(one: Prediction) -> Iterator[tuple[str, np.ndarray]]:
    for (start, end), probabilities in zip(one.windows, one.over_time, strict=True):
        yield f"{start:.2f}–{end:.2f} s", probabilities
