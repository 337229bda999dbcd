"""ESC-50, and ESC-10, its ten classes with a permissive licence.

Files are named FOLD-CLIP-TAKE-TARGET, where CLIP is the Freesound recording that a clip was cut from, so that a copy
without its list can still be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, Listing, labelled_set, read_rows
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

# A class's index is its target; ten classes each of animals, nature, people, the house, the street.
CLASSES = (
    "dog",
    "rooster",
    "pig",
    "cow",
    "frog",
    "cat",
    "hen",
    "insects",
    "sheep",
    "crow",
    "rain",
    "sea_waves",
    "crackling_fire",
    "crickets",
    "chirping_birds",
    "water_drops",
    "wind",
    "pouring_water",
    "toilet_flush",
    "thunderstorm",
    "crying_baby",
    "sneezing",
    "clapping",
    "breathing",
    "coughing",
    "footsteps",
    "laughing",
    "brushing_teeth",
    "snoring",
    "drinking_sipping",
    "door_wood_knock",
    "mouse_click",
    "keyboard_typing",
    "door_wood_creaks",
    "can_opening",
    "washing_machine",
    "vacuum_cleaner",
    "clock_alarm",
    "clock_tick",
    "glass_breaking",
    "helicopter",
    "chainsaw",
    "siren",
    "car_horn",
    "engine",
    "train",
    "church_bells",
    "airplane",
    "fireworks",
    "hand_saw",
)
ESC10_TARGETS = (0, 1, 10, 11, 12, 20, 21, 38, 40, 41)
ESC10_CLASSES = tuple(CLASSES[target] for target in ESC10_TARGETS)

_NAME = re.compile(r"([1-5])-(\d+)-([A-Z])-(\d+)")


def _read(name: str, root: Path, classes: tuple[str, ...]) -> LabelledSet:
    listing, notes = Listing(), []
    table = root / "meta" / "esc50.csv"
    if table.exists():
        clips = list(_listed(table, root / "audio"))
    else:
        clips = list(_named(listing, root / "audio"))
        if not clips:
            absent = f"neither {table} nor clips in {root / 'audio'}"
            raise AaspError(f"{name}: {absent}; `aasp benchmarks {name}` shows the layout")
        notes.append(f"no {table}: folds, recordings and classes are read from the file names")
    wanted = set(classes)
    clips = [clip for clip in clips if clip.labels[0] in wanted]
    return labelled_set(name, root, clips, classes, notes=notes, listing=listing)


def _listed(table: Path, audio: Path) -> Iterator[Clip]:
    for line, row in enumerate(read_rows(table, ("filename", "fold", "target", "category", "src_file")), 2):
        target = row["target"]
        if not target.isdecimal() or int(target) >= len(CLASSES) or CLASSES[int(target)] != row["category"]:
            wrong = f"target {target} is not {row['category']!r} in ESC-50"
            raise AaspError(f"{table}, line {line}: {wrong}; fetch it again")
        yield Clip(str(audio / row["filename"]), (row["category"],), row["fold"], row["src_file"])


def _named(listing: Listing, audio: Path) -> Iterator[Clip]:
    for stem, name in listing.sounds(audio).items():
        parts = _NAME.fullmatch(stem)
        if parts is None or int(parts[4]) >= len(CLASSES):
            expected = "not named FOLD-CLIP-TAKE-TARGET as ESC-50's clips are"
            raise AaspError(f"{audio / name}: {expected}; move it away, or put meta/esc50.csv beside the folder")
        fold, recording, _, target = parts.groups()
        yield Clip(str(audio / name), (CLASSES[int(target)],), fold, recording)


_LAYOUT = (
    "meta/esc50.csv              optional: the file names contain fold, recording and class",
    "audio/1-100032-A-0.wav      or .flac; fold-clip-take-target",
)
_REFERENCE = "K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM MM 2015; the five published folds"
_URL = "https://github.com/karolpiczak/ESC-50"

ESC50 = Benchmark(
    name="esc50",
    title="ESC-50",
    task="environmental sounds",
    metric="accuracy",
    clip_seconds=5.0,
    classes=50,
    counts={str(fold): 400 for fold in range(1, 6)},
    downloads=(Download("the repository's archive, 600 MB", _URL, "CC BY-NC 3.0"),),
    layout=_LAYOUT,
    reference=_REFERENCE,
    read=lambda root: _read("esc50", root, CLASSES),
    normalisation=(-6.627, 5.359),
)
ESC10 = replace(
    ESC50,
    name="esc10",
    title="ESC-10",
    task="environmental sounds, ten classes of ESC-50",
    classes=10,
    counts={str(fold): 80 for fold in range(1, 6)},
    downloads=(Download("the archive of ESC-50, of which it is a part", _URL, "CC BY 3.0 for this part"),),
    read=lambda root: _read("esc10", root, ESC10_CLASSES),
)
