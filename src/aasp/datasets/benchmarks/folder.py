"""A labelled set of one's own as a directory for each class, with or without folders of parts above them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from aasp.datasets.benchmarks.files import PARTS, Clip, Listing, draw
from aasp.datasets.index import Skipped, walk
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

_VALID, _TEST = 0.1, 0.2  # what is held out where there are no parts


def open_folder(root: str | Path) -> LabelledSet:
    """Read a directory for each class: `dog/`, `cat/` …, or `train/dog/`, `valid/dog/` (optional), `test/dog/` ….

    Sound is looked for to the bottom of each. Without parts, a fifth of each class is held out for test and a tenth for
    validation, at random by name, the same on every machine; if clips of one recording are among them, list them in an
    index instead, with a column that says so.

    Raises:
        AaspError: no such folder, fewer than two classes, train without test or the reverse, or a class with a single
            clip where parts have to be made.
    """
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        raise AaspError(f"no such folder: {root}; name one with a folder for each class")
    skipped: list[Skipped] = []
    parts = {folder: PARTS[folder.name] for folder in _folders(root) if folder.name in PARTS}
    notes = []
    if parts:
        for part in ("train", "test"):
            if part not in parts.values():
                raise AaspError(f"{root}: has {', '.join(sorted(parts.values()))} but no {part}; add {root / part}")
        others = [folder.name for folder in _folders(root) if folder.name not in PARTS]
        if others:
            notes.append(f"not in a part, not used: folder {', '.join(others)}")
        clips = [clip for folder, part in parts.items() for clip in _classes(folder, part, skipped)]
    else:
        clips = _held_out(root, list(_classes(root, "train", skipped)))
        notes.append("parts are ours: of each class 20 % test and 10 % valid, at random by file name")
    classes = sorted({clip.labels[0] for clip in clips})
    if len(classes) < 2:
        found = f"{len(clips)} clips in {len(classes)} class folders"
        raise AaspError(f"{root}: {found}; lay out two classes or more, one folder each")
    return LabelledSet(
        name=f"{root.name}/",
        source=str(root),
        sounds=[clip.path for clip in clips],
        labels=[clip.labels for clip in clips],
        parts=[clip.part for clip in clips],
        classes=classes,
        missing=skipped,
        notes=notes,
    )


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _classes(root: Path, part: str, skipped: list[Skipped]) -> Iterator[Clip]:
    for folder in _folders(root):
        for path in walk(str(folder), skipped):
            yield Clip(path, (folder.name,), part)
    loose = Listing().sounds(root).values()
    skipped.extend(Skipped(str(root / name), "is in no folder of a class") for name in loose)


def _held_out(root: Path, clips: list[Clip]) -> list[Clip]:
    """The clips with their parts, in their order."""
    counts = Counter(clip.labels[0] for clip in clips)
    single = [clip for clip in clips if counts[clip.labels[0]] == 1]
    if single:
        (label,), path = single[0].labels, single[0].path
        more = f" ({len(single)} such classes)" if len(single) > 1 else ""
        remedy = "it can't be both trained and tested: add clips, take it out, or make train/ and test/"
        raise AaspError(f"class {label!r} has one clip, {path}{more}; {remedy}")
    names = [Path(clip.path).relative_to(root).as_posix() for clip in clips]
    order = sorted(range(len(clips)), key=lambda row: draw(names[row]))
    seen: Counter[str] = Counter()
    parts = ["train"] * len(clips)
    for row in order:
        label = clips[row].labels[0]
        test = max(1, round(_TEST * counts[label]))
        valid = round(_VALID * counts[label])
        parts[row] = "test" if seen[label] < test else "valid" if seen[label] < test + valid else "train"
        seen[label] += 1
    return [clip._replace(part=part) for clip, part in zip(clips, parts, strict=True)]
