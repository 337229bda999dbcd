"""Miniature copies of the benchmarks, laid out as published: few clips, a tenth of a second each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

RATE = 8_000


@cache
def _wav(seconds: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.full(round(seconds * RATE), 0.1, np.float32), RATE, format="WAV")
    return file.getvalue()


def sound(path: Path, seconds: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_wav(seconds))
    return path


def table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


ESC50_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")


def esc50(root: Path, classes: Sequence[str]) -> Path:
    """Of each class a clip in each fold, two of fold 1 from one recording."""
    rows: list[tuple[object, ...]] = []
    for target, name in enumerate(classes):
        for fold, take in ((1, "A"), (1, "B"), (2, "A"), (3, "A"), (4, "A"), (5, "A")):
            recording = 1000 * fold + target
            rows.append((f"{fold}-{recording}-{take}-{target}.wav", fold, target, name, target < 2, recording, take))
            sound(root / "audio" / str(rows[-1][0]))
    table(root / "meta" / "esc50.csv", ESC50_COLUMNS, rows)
    return root


def urbansound8k(root: Path, classes: Sequence[str], folds: int = 3) -> Path:
    """Of each class two slices of one recording in each fold."""
    rows: list[tuple[object, ...]] = []
    for number, name in enumerate(classes):
        for fold in range(1, folds + 1):
            recording = 100 * fold + number
            for piece in (0, 1):
                rows.append((f"{recording}-{number}-0-{piece}.wav", recording, 0, 1, 1, fold, number, name))
                sound(root / "audio" / f"fold{fold}" / str(rows[-1][0]))
    columns = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    table(root / "metadata" / "UrbanSound8K.csv", columns, rows)
    return root


def nsynth(root: Path, instruments: dict[str, Sequence[str]], pitches: Sequence[int] = (40, 60)) -> Path:
    """The notes of each part's instruments, each at every pitch."""
    for part, names in instruments.items():
        entries = {}
        for instrument in names:
            family, source, _ = instrument.rsplit("_", 2)
            for pitch in pitches:
                note = f"{instrument}-{pitch:03d}-100"
                sound(root / f"nsynth-{part}" / "audio" / f"{note}.wav")
                entries[note] = {
                    "note_str": note,
                    "instrument_str": instrument,
                    "instrument_family_str": family,
                    "instrument_source_str": source,
                    "pitch": pitch,
                    "velocity": 100,
                    "qualities": [0, 1],
                }
        (root / f"nsynth-{part}" / "examples.json").write_text(json.dumps(entries), encoding="utf-8")
    return root


def speech_commands(root: Path, words: Sequence[str], speakers: dict[str, Sequence[str]]) -> Path:
    """Every word by every speaker of each part, and two recordings of noise."""
    for part, those in speakers.items():
        names = [f"{word}/{speaker}_nohash_0.wav" for word in words for speaker in those]
        for name in names:
            sound(root / name)
        if part != "train":
            text = "".join(f"{name}\n" for name in names)
            (root / {"valid": "validation_list.txt", "test": "testing_list.txt"}[part]).write_text(text)
    for noise in ("pink_noise", "running_tap"):
        sound(root / "_background_noise_" / f"{noise}.wav", seconds=12)
    return root


def crema_d(root: Path, actors: Sequence[str], emotions: Sequence[str]) -> Path:
    for actor in actors:
        for emotion in emotions:
            sound(root / "AudioWAV" / f"{actor}_DFA_{emotion}_XX.wav")
    return root
