"""NSynth: notes of instruments, labelled by instrument family, source, or pitch.

A note is named FAMILY_SOURCE_INSTRUMENT-PITCH-VELOCITY. Other notes with such names can be read without Google's lists:
from `audio/`, with their parts in `index.csv`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, labelled_set, read_rows
from aasp.datasets.labelled import LabelledSet
from aasp.datasets.parts import part_in
from aasp.errors import AaspError

# A class's index is its number in the lists.
FAMILIES = (
    "bass",
    "brass",
    "flute",
    "guitar",
    "keyboard",
    "mallet",
    "organ",
    "reed",
    "string",
    "synth_lead",
    "vocal",
)
SOURCES = ("acoustic", "electronic", "synthetic")
PITCHES = tuple(str(pitch) for pitch in range(128))  # MIDI numbers

_COUNTS = {"train": 289_205, "valid": 12_678, "test": 4_096}
_NAME = re.compile(rf"(({'|'.join(FAMILIES)})_({'|'.join(SOURCES)})_\d+)-(\d+)-\d+")


class _Note(NamedTuple):
    instrument: str
    family: str
    source: str
    pitch: str


_LABELS: dict[str, tuple[tuple[str, ...], Callable[[_Note], str]]] = {
    "nsynth_family": (FAMILIES, lambda note: note.family),
    "nsynth_pitch": (PITCHES, lambda note: note.pitch),
    "nsynth_source": (SOURCES, lambda note: note.source),
}


def _read(name: str, root: Path) -> LabelledSet:
    classes, label = _LABELS[name]
    lists = {part: root / f"nsynth-{part}" / "examples.json" for part in _COUNTS}
    notes = []
    if any(path.exists() for path in lists.values()):
        found = [note for part, path in lists.items() if path.parent.is_dir() for note in _published(part, path)]
    elif (root / "index.csv").exists():
        found = list(_named(root))
        notes.append("not Google's release: labels are read from the file names, parts from index.csv")
    else:
        absent = f"no nsynth-train/, -valid/ or -test/examples.json in {root}"
        raise AaspError(f"{name}: {absent}; `aasp benchmarks {name}` shows the layout")
    clips = [Clip(path, (label(note),), part, note.instrument) for path, part, note in found]
    known = set(classes)
    for clip in clips:
        if clip.labels[0] not in known:
            raise AaspError(f"{clip.path}: {clip.labels[0]!r} is not a class of {name}; fetch its list again")
    if name == "nsynth_pitch":
        notes.append(f"pitches that occur: {len({clip.labels for clip in clips})} of the 128 numbers")
    return labelled_set(name, root, clips, classes, notes=notes)


def _published(part: str, path: Path) -> Iterator[tuple[str, str, _Note]]:
    """Path, part and note of each entry of an examples.json."""
    try:
        with path.open(encoding="utf-8") as file:
            # Keep only the needed fields of the training part's 289,205 entries.
            entries = json.load(file, object_hook=_trimmed)
    except FileNotFoundError:
        raise AaspError(f"no such file: {path}; fetch the archive of nsynth-{part} again") from None
    except ValueError as error:
        raise AaspError(f"{path}: not JSON ({error}); fetch the archive of nsynth-{part} again") from None
    if not isinstance(entries, dict):
        raise AaspError(f"{path}: not a list of notes by name; fetch the archive of nsynth-{part} again")
    for name, note in entries.items():
        if not isinstance(note, _Note):
            raise AaspError(f"{path}: {name} has no instrument, family, source or pitch; fetch it again")
        yield str(path.parent / "audio" / f"{name}.wav"), part, note


def _trimmed(entry: dict[str, Any]) -> _Note | dict[str, Any]:
    try:
        return _Note(
            entry["instrument_str"],
            entry["instrument_family_str"],
            entry["instrument_source_str"],
            str(entry["pitch"]),
        )
    except KeyError:
        return entry


def _named(root: Path) -> Iterator[tuple[str, str, _Note]]:
    """Path, part and note of each row of an index of files with NSynth's naming."""
    index = root / "index.csv"
    for line, row in enumerate(read_rows(index, ("path", "split")), 2):
        path = root / row["path"]
        name = _NAME.fullmatch(path.stem)
        if name is None:
            expected = f"{path.name} is not named FAMILY_SOURCE_INSTRUMENT-PITCH-VELOCITY as NSynth's notes are"
            raise AaspError(f"{index}, line {line}: {expected}; rename it or take it out")
        part = part_in(row["split"], f"{index}, line {line}")
        instrument, family, source, pitch = name.groups()
        yield str(path), part, _Note(instrument, family, source, str(int(pitch)))


def _benchmark(name: str, requested: str, task: str, classes: int, **more: Any) -> Benchmark:
    return Benchmark(
        name=name,
        title=f"NSynth ({requested})",
        task=task,
        metric="accuracy",
        clip_seconds=4.0,
        classes=classes,
        counts=_COUNTS,
        downloads=(
            Download(
                "nsynth-train, -valid and -test .jsonwav.tar.gz",
                "https://magenta.tensorflow.org/datasets/nsynth",
                "CC BY 4.0",
            ),
        ),
        layout=(
            "nsynth-train/examples.json",
            "nsynth-train/audio/bass_synthetic_068-049-025.wav    family_source_instrument-pitch-velocity",
            "nsynth-valid/, nsynth-test/                          likewise",
            "or your own: audio/ with files named the same way, and index.csv with columns path and split",
        ),
        reference="J. Engel et al., Neural Audio Synthesis of Musical Notes with WaveNet Autoencoders, ICML 2017; "
        "no instrument of train is in valid or test; synth_lead occurs in train only",
        read=partial(_read, name),
        **more,
    )


NSYNTH_FAMILY = _benchmark("nsynth_family", "family", "families of instruments", 11)
NSYNTH_PITCH = _benchmark("nsynth_pitch", "pitch", "MIDI pitch, 0 to 127", 128, all_occur=False)
NSYNTH_SOURCE = _benchmark("nsynth_source", "source", "acoustic, electronic or synthetic", 3)
