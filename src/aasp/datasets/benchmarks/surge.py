"""Surge: which of 88 notes a synthesizer plays, for presets that were not in training.

EVAR's list has the part of each preset ("tone"). Without it our own split of presets is used, with a note, because such
a score is not comparable with published ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, Listing, labelled_set, read_rows
from aasp.datasets.benchmarks.own_split import part_of
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

LIST = "dataset_surge_tone_splits.csv"
CLASSES = [str(note) for note in range(21, 109)]  # the piano's keys, as MIDI notes
_SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
_NOTE = re.compile(r"(?:.*\D)?0*(\d+)")


def _read(root: Path) -> LabelledSet:
    listing, notes = Listing(), []
    if (root / LIST).exists():
        parts = _split(root / LIST)
    else:
        presets = sorted(name for name in listing.names(root) if listing.sounds(root / name))
        parts = {preset: part_of(preset, _SHARES) for preset in presets}
        notes.append(f"no {root / LIST}: our own split, presets disjoint; not comparable with published scores")
    clips = [clip for preset, part in parts.items() for clip in _played(listing, root / preset, part)]
    return labelled_set("surge", root, clips, CLASSES, notes=notes, listing=listing)


def _split(path: Path) -> dict[str, str]:
    parts = {}
    for line, row in enumerate(read_rows(path, ("tone", "split")), 2):
        if row["split"] not in _SHARES:
            raise AaspError(f"{path}, line {line}: split {row['split']!r} is not train, valid or test; fetch it again")
        parts[row["tone"]] = row["split"]
    return parts


def _played(listing: Listing, preset: Path, part: str) -> Iterator[Clip]:
    """The notes of a preset, including absent ones, so that they are counted as missing."""
    absent = set(CLASSES)
    for stem, name in listing.sounds(preset).items():
        note = _NOTE.fullmatch(stem)
        if note is None or note[1] not in CLASSES:
            raise AaspError(f"{preset / name}: its name does not end in a MIDI note from 21 to 108; move it away")
        absent.discard(note[1])
        yield Clip(str(preset / name), (note[1],), part, preset.name)
    for note_absent in sorted(absent, key=int):
        yield Clip(str(preset / f"{note_absent}.ogg"), (note_absent,), part, preset.name)


SURGE = Benchmark(
    name="surge",
    title="Surge",
    task="pitch of a synthesizer's note, by preset",
    metric="accuracy",
    clip_seconds=4.0,
    classes=88,
    counts={"train": 1_692 * 88, "valid": 195 * 88, "test": 197 * 88},
    downloads=(
        Download("the sound", "https://zenodo.org/records/4677097", "as that record says"),
        Download(LIST, "https://github.com/nttcslab/eval-audio-repr/tree/main/evar/predefined", "EVAR's own"),
    ),
    layout=(
        "dataset_surge_tone_splits.csv    tone,split; optional: without it our own split is used, not comparable",
        "PRESET/21.ogg                    a folder per preset; the file name ends in the MIDI note, 21 to 108",
    ),
    reference="J. Turian et al., One Billion Audio Sounds from GPU-enabled Modular Synthesis, DAFx 2021; "
    "split: EVAR, D. Niizumi et al.",
    read=_read,
)
