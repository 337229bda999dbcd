"""The demo's data: labelled notes and modulated signals, generated from a fixed seed. Nothing is downloaded.

    out/train, out/valid, out/test    FLAC, 16 kHz mono, 2.5 s each
    out/index.csv                     every clip; a label that does not apply to a clip is empty
    out/notes.csv, out/signals.csv    the two sets separately, with their own labels

No instrument, no voice and no recording of the SoundFont is in two splits.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from aasp.datasets import modulations, notes
from aasp.documents import read_object
from aasp.errors import AaspError
from aasp.files import sync

VERSION = 1
RATE = 16_000
SEED = 0
SPLITS = ("train", "valid", "test")
VELOCITIES = (50, 75, 100, 127)
COLUMNS = {
    "notes": ("path", "split", "set", "instrument", "family", "pitch"),
    "signals": ("path", "split", "set", "instrument", "kind", "rate", "rate_hz"),
}


@dataclass(frozen=True)
class Size:
    """Size of the data: notes per instrument (0 for none), voices of each kind of signal in (train, valid, test)."""

    notes: int = 16
    voices: tuple[int, int, int] = (10, 3, 4)

    @property
    def clips(self) -> int:
        """Number of notes and signals together."""
        signals = sum(self.voices) * len(modulations.KINDS) * len(modulations.RATES)
        return self.notes * len(notes.INSTRUMENTS) + signals


@dataclass(frozen=True)
class Clip:
    """A waveform at RATE and its row of the index."""

    wave: np.ndarray
    row: dict[str, str]


def build(out: str | Path, *, size: Size | None = None, progress: Callable[[int], object] | None = None) -> Path:
    """Make the demo's data, unless it exists.

    It is built beside `out` and renamed when complete; the same size gives the same files.

    Args:
        out: the folder to make.
        size: size of the data; the default is 1008 notes and 816 signals.
        progress: called with the number of clips written so far.

    Returns:
        `out` as a `Path`.

    Raises:
        AaspError: `out` contains something else, or the packages that render notes are missing.
    """
    out, size = Path(out), size or Size()
    made = {"version": VERSION, "seed": SEED, "notes": size.notes, "voices": list(size.voices)}
    if out.exists():
        if _made(out) != made:
            raise AaspError(f"not this demo's data: {out}; move it away or choose another folder")
        return out
    beside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)  # left by a run that was interrupted
    for split in SPLITS:
        (beside / split).mkdir(parents=True)
    rows = []
    for clip in _clips(size):
        soundfile.write(beside / clip.row["path"], clip.wave, RATE, subtype="PCM_16")
        rows.append(clip.row)
        if progress is not None:
            progress(len(rows))
    _write_index(beside, rows)
    (beside / "dataset.json").write_text(json.dumps(made, indent=2) + "\n")
    sync(beside)
    os.replace(beside, out)
    return out


def _made(out: Path) -> dict | None:
    try:
        return read_object(out / "dataset.json", "remove it")
    except (OSError, AaspError):
        return None


def _clips(size: Size) -> Iterator[Clip]:
    if size.notes:  # without notes, the packages that render them are not needed
        yield from _notes(size.notes)
    yield from _signals(size.voices)


def _notes(count: int) -> Iterator[Clip]:
    for instrument in notes.INSTRUMENTS:
        rng = np.random.default_rng([SEED, 0, instrument.program])
        keys = _spread(instrument.low, instrument.high, count, rng)
        velocities = rng.choice(VELOCITIES, count).tolist()
        name = f"{instrument.family}_{instrument.name.replace(' ', '-')}"
        for place, wave in enumerate(notes.render(instrument.program, keys, velocities)):
            assert np.abs(wave).max() > 0.01, f"{instrument.name} is silent at key {keys[place]}"
            row = {
                "path": f"{instrument.split}/{name}-{keys[place]:03d}-{velocities[place]:03d}-{place:02d}.flac",
                "split": instrument.split,
                "set": "notes",
                "instrument": instrument.name,
                "family": instrument.family,
                "pitch": str(keys[place]),
            }
            yield Clip(wave, row)


def _spread(low: int, high: int, count: int, rng: np.random.Generator) -> list[int]:
    """`count` keys of low..high in random order: each occurs once before any is repeated."""
    keys = np.arange(low, high + 1)
    rounds = [rng.permutation(keys) for _ in range(-(-count // len(keys)))]
    return np.concatenate(rounds)[:count].tolist()


def _signals(voices: tuple[int, int, int]) -> Iterator[Clip]:
    for number_of_kind, kind in enumerate(modulations.KINDS):
        splits = np.repeat(SPLITS, voices).tolist()
        for number, split in enumerate(splits):
            rng = np.random.default_rng([SEED, 1, number_of_kind, number])
            voice = modulations.Voice.draw(kind, number, rng)
            for rate in modulations.RATES:
                hertz = rate * (1 + modulations.JITTER * rng.uniform(-1, 1))
                row = {
                    "path": f"{split}/{voice.name.replace(' ', '-')}-{rate:04.1f}hz.flac",
                    "split": split,
                    "set": "signals",
                    "instrument": voice.name,
                    "kind": kind,
                    "rate": f"{rate:g}",
                    "rate_hz": f"{hertz:.3f}",
                }
                yield Clip(voice.play(hertz, rng), row)


def _write_index(folder: Path, rows: list[dict[str, str]]) -> None:
    tables = {name: [row for row in rows if row["set"] == name] for name in COLUMNS}
    everything = list(dict.fromkeys(column for columns in COLUMNS.values() for column in columns))
    for name, columns, lines in [
        *((name, COLUMNS[name], tables[name]) for name in COLUMNS),
        ("index", everything, rows),
    ]:
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
