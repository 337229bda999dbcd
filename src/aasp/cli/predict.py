"""`aasp predict`: sound files in, their likeliest classes out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tyro

from aasp.cli.arguments import parse
from aasp.cli.inputs import find_sounds, model_and_files
from aasp.cli.progress import bar
from aasp.cli.running import RunningOptions
from aasp.cli.show import facts
from aasp.errors import AaspError

if TYPE_CHECKING:
    import numpy as np

    from aasp.datasets.index import Skipped
    from aasp.evaluate.finetune.predict import Prediction
    from aasp.model.audio_classifier import AudioClassifierConfig

TOP = 5
WINDOW = 1.0


@dataclass(frozen=True, kw_only=True)
class Predict(RunningOptions):
    """Name the likeliest classes of sound files, whole, whatever their length, rate and channel count.

    MODEL is what `aasp finetune` made; of a run of folds, the folds' probabilities are averaged. In a pipe a file is a
    line, its fields separated by tabs. Files that can't be used are named on stderr; if one of them was named here and
    not found in a folder, the exit code is 2.
    """

    words: tyro.conf.Positional[tuple[str, ...]]
    """The folder of a classifier or of a run of `aasp finetune`, or a classifier on the hub; then sound files, folders
    of them, searched to the bottom, and .csv, .tsv or .parquet manifests."""
    top: int | None = None
    """How many classes to name, the likeliest first; 5 when left out, with --json all."""
    frames: bool = False
    """Also classify windows that overlap by half."""
    window: float | None = None
    """Seconds of a window, at most what the model was trained on; 1 when left out."""
    channels: str = "mean"
    """Of files of several: their mean, first, loudest, a channel's number from 1 on, or each by itself."""
    path_column: str | None = None
    """Column of a manifest to take for path."""
    json: bool = False
    """JSON Lines: file, seconds, multilabel, classes (name to probability), and frames (start, end, classes)."""


def run(argv: list[str]) -> int:
    arguments = parse(Predict, argv, prog="aasp predict")
    model, files = model_and_files(arguments.words, "predict", argv, packaged=False)
    if arguments.top is not None and arguments.top < 1:
        raise AaspError(f"--top is {arguments.top}; give a number of at least 1")
    if arguments.window is not None and not arguments.frames:
        raise AaspError(f"--window {arguments.window:g} without --frames; add --frames")

    from aasp.audio.channels import checked
    from aasp.evaluate.finetune.predict import load_classifiers, predictions

    channels = checked(arguments.channels)
    running = arguments.running()
    found = find_sounds(files, channels, arguments.path_column, ending=False)
    skipped = found.skipped
    folds = load_classifiers(model, arguments.place())
    models = list(folds.values())
    config = models[0].config
    window = _window(arguments, config) if arguments.frames else None
    if len(folds) > 1:
        print(f"{model}: the mean of {len(folds)} folds' probabilities: {', '.join(folds)}", file=sys.stderr)
    if config.multilabel and not arguments.json:
        print("each class has a probability of its own; from 50 % on a clip is taken to have it", file=sys.stderr)
    tell = _tell_json if arguments.json else _tell
    top = arguments.top or (len(config.classes) if arguments.json else TOP)
    told = 0
    with bar("classifying") as show:
        for one in predictions(
            models, found.sounds, window=window, running=running, skipped=skipped, progress=show
        ):
            tell(one, config, top)
            told += 1
    return _end(files, skipped, told)


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
        likely = {name: f"{100 * p:.1f} %" for name, p in _likeliest(probabilities, config, top).items()}
        place = f"{one.path} {span}".rstrip()
        if sys.stdout.isatty():
            facts(place, likely)
        else:
            print(place, *(f"{name} {p}" for name, p in likely.items()), sep="\t", flush=True)


def _tell_json(one: Prediction, config: AudioClassifierConfig, top: int) -> None:
    line: dict[str, Any] = {"file": one.path, "seconds": round(one.seconds, 6), "multilabel": config.multilabel}
    line["classes"] = _likeliest(one.probabilities, config, top)
    if len(one.windows):
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
