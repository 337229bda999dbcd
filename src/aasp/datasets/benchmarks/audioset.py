"""AudioSet: ten seconds of each of two million YouTube videos, 527 classes, several per clip.

Google publishes lists, not sound, and videos disappear: every copy is missing some clips, which changes mAP. They are
counted and listed. Copies differ in file names and folders; but no video is listed twice, so a file whose name is a
listed id is that clip, in any folder below the root.

A label is a class's display name, because predictions and reports show it; the lists' machine ids ("mids") stay in
class_labels_indices.csv. No validation part is published. No two clips share a video, so there are no groups.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aasp.audio.sounds import Sound
from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import read_rows
from aasp.datasets.benchmarks.lists import read_list
from aasp.datasets.index import Skipped, hidden_note, walk
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

CLASSES = "class_labels_indices.csv"
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
# ID, YID, ID_START or ID_START_END. Unambiguous: an id has eleven characters, and START begins with a digit.
_NAME = re.compile(rf"Y?({_ID.pattern})(?:_(\d+(?:\.\d+)?)(?:[_-]\d+(?:\.\d+)?)?)?")


@dataclass
class _Clips:
    """Two million listed clips as columns; equal labels are stored once."""

    row: dict[str, int] = field(default_factory=dict)  # by video
    starts: array[float] = field(default_factory=lambda: array("d"))
    labels: list[tuple[str, ...]] = field(default_factory=list)
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by mids, as listed
    parts: list[str] = field(default_factory=list)

    def read(self, path: Path, part: str, names: Mapping[str, str]) -> None:
        """Append a segments list; `names` gives the display name of each mid."""
        for line, (video, start, _, mids) in read_list(path, 4):
            if not _ID.fullmatch(video):
                raise AaspError(f"{path}, line {line}: {video!r} is not a YouTube id; fetch it again")
            if video in self.row:
                raise AaspError(f"{path}, line {line}: {video} is listed twice; fetch the lists again")
            if mids not in self.known:
                unknown = [mid for mid in mids.split(",") if mid not in names]
                if unknown:
                    raise AaspError(f"{path}, line {line}: {unknown[0]!r} is not in {CLASSES}; fetch both again")
                self.known[mids] = tuple(names[mid] for mid in mids.split(","))
            try:
                self.starts.append(float(start))
            except ValueError:
                raise AaspError(f"{path}, line {line}: start {start!r} is not a number; fetch it again") from None
            self.row[video] = len(self.row)
            self.labels.append(self.known[mids])
            self.parts.append(part)

    def find(self, path: str) -> int | None:
        """The row of a file, by its name; None if it is not listed, or is another excerpt of a listed video."""
        name = _NAME.fullmatch(os.path.splitext(os.path.basename(path))[0])
        row = self.row.get(name[1]) if name else None
        if name is None or row is None or (name[2] and not _is_start(float(name[2]), self.starts[row])):
            return None
        return row


def _is_start(written: float, start: float) -> bool:
    """Whether the start time in a file's name matches the list: in seconds or milliseconds, rounded or not."""
    return abs(written - start) < 1 or (written >= 1000 and abs(written / 1000 - start) < 1)


def _read(name: str, root: Path, lists: Mapping[str, str]) -> LabelledSet:
    names = _classes(root / CLASSES)
    clips = _Clips()
    for file, part in lists.items():
        clips.read(root / file, part, names)
    sounds: list[Sound | None] = [None] * len(clips.row)
    passed: list[Skipped] = []
    hidden: list[str] = []
    doubles = 0
    for path in walk(str(root), passed, hidden):
        row = clips.find(path)
        if row is not None:
            doubles += sounds[row] is not None
            sounds[row] = sounds[row] or path
    if not any(sounds):
        wanted = f"none of the {len(sounds):,} listed clips is under {root}"
        raise AaspError(f"{name}: {wanted}; name files by their YouTube ids, as `aasp benchmarks {name}` shows")
    unread = {row: file.reason for file in passed if (row := clips.find(file.path)) is not None}
    absent = {part: f"no file of this YouTube id ({part})" for part in clips.parts}
    missing = [
        Skipped(video, unread.get(row, absent[clips.parts[row]])) for video, row in clips.row.items() if not sounds[row]
    ]
    notes = [f"{file.path}: {file.reason}" for file in passed if os.path.isdir(file.path)] + hidden_note(hidden)
    if doubles:
        notes.append(f"files not used because another one holds the same clip: {doubles:,}")
    kept = [row for row, sound in enumerate(sounds) if sound]
    return LabelledSet(
        name=name,
        source=str(root),
        sounds=[sound for sound in sounds if sound],
        labels=[clips.labels[row] for row in kept],
        parts=[clips.parts[row] for row in kept],
        classes=list(names.values()),
        multilabel=True,
        missing=missing,
        notes=notes,
    )


def _classes(path: Path) -> dict[str, str]:
    """The display name of each mid, in the official order."""
    names: dict[str, str] = {}
    for place, row in enumerate(read_rows(path, ("index", "mid", "display_name"))):
        if row["index"] != str(place) or row["mid"] in names or row["display_name"] in names.values():
            raise AaspError(f"{path}, line {place + 2}: class out of order or repeated; fetch it again")
        names[row["mid"]] = row["display_name"]
    return names


_EVAL, _BALANCED, _UNBALANCED = "eval_segments.csv", "balanced_train_segments.csv", "unbalanced_train_segments.csv"
_URL = "http://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/"
_SOUND = Download(
    "the sound: from YouTube, by the ids and times of the lists",
    "https://research.google.com/audioset/download.html",
    "its uploaders'; the lists grant no rights to it",
)
_LAYOUT = (
    "class_labels_indices.csv, eval_segments.csv, balanced_train_segments.csv",
    "any/folder/-0RWZT-miFs.wav  also Y-0RWZT-miFs, -0RWZT-miFs_420, -0RWZT-miFs_420000_430000 (s or ms);",
    "                            any supported format (m4a, webm, mp4, wav, …); each folder is listed once",
)
_REFERENCE = "J. F. Gemmeke et al., Audio Set: An ontology and human-labeled dataset for audio events, ICASSP 2017"


def _download(file: str) -> Download:
    return Download(file, _URL + file, "CC BY 4.0")


AUDIOSET_20K = Benchmark(
    name="audioset_20k",
    title="AudioSet-20K",
    task="sound events, several a clip; balanced train part",
    metric="mAP",
    clip_seconds=10.0,
    classes=527,
    counts={"train": 22_160, "test": 20_371},
    downloads=(_download(CLASSES), _download(_BALANCED), _download(_EVAL), _SOUND),
    layout=_LAYOUT,
    reference=_REFERENCE,
    read=lambda root: _read("audioset_20k", root, {_BALANCED: "train", _EVAL: "test"}),
)
AUDIOSET_2M = Benchmark(
    name="audioset_2m",
    title="AudioSet-2M",
    task="sound events, several a clip",
    metric="mAP",
    clip_seconds=10.0,
    classes=527,
    counts={"train": 2_041_789 + 22_160, "test": 20_371},  # unbalanced and balanced train lists; eval
    downloads=(_download(CLASSES), _download(_UNBALANCED), _download(_BALANCED), _download(_EVAL), _SOUND),
    layout=(f"{_LAYOUT[0]}, unbalanced_train_segments.csv", *_LAYOUT[1:]),
    reference=_REFERENCE,
    read=lambda root: _read("audioset_2m", root, {_UNBALANCED: "train", _BALANCED: "train", _EVAL: "test"}),
)
