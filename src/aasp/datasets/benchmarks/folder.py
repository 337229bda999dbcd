"""A custom labelled set with a folder for each class, optionally inside folders of parts or folds."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from aasp.datasets.benchmarks.files import Clip, draw
from aasp.datasets.index import Skipped, hidden_note, is_hidden, walk
from aasp.datasets.labelled import LabelledSet
from aasp.datasets.parts import TEST, TRAIN, check_no_additions, is_fold, is_part, parts_of
from aasp.datasets.repeats import keep_apart, repeats
from aasp.errors import AaspError

_VALID, _TEST = 0.1, 0.2  # shares held out if there are no parts


def open_folder(root: str | Path) -> LabelledSet:
    """Read a folder for each class: `dog/`, `cat/` …, or `train/dog/`, `valid/dog/` (optional), `test/dog/` ….

    Folders are parts if all that contain sound have names of parts (`Train`, `testing`, `dev`: see `datasets.parts`),
    and folds if all are called fold1, fold2 …; else they are classes. Each is searched recursively. Without parts, a
    fifth of each class is held out for test and a tenth for validation, at random by name, the same on every machine;
    if several clips come from one recording, use an index with a group column instead.

    Raises:
        AaspError: no such folder, fewer than two classes, train without test or the reverse, parts beside other
            folders or below the classes, one file in two parts or classes, or a class with a single clip that has to
            be split.
    """
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        raise AaspError(f"no such folder: {root}; name one with a folder for each class")
    skipped: list[Skipped] = []
    hidden: list[str] = []
    paths = list(walk(str(root), skipped, hidden))
    below = {path: _below(root, path) for path in paths}
    unusable = [_below(root, file.path) for file in skipped]
    holding = {names[0] for names in [*below.values(), *unusable] if len(names) > 1}
    parts = _parts(root, holding, below.values())
    notes = hidden_note(hidden)
    empty = [name for name in _folders(root) if name not in holding]
    if empty:
        notes.append(f"without sound, not used: folder {', '.join(empty)}")
    depth = 1 if parts else 0  # of the class folder
    loose = [path for path, names in below.items() if len(names) < depth + 2]
    skipped.extend(Skipped(path, "is in no folder of a class") for path in loose)
    clips = [
        Clip(path, (names[depth],), parts.get(names[0], TRAIN))
        for path, names in below.items()
        if len(names) >= depth + 2
    ]
    clips = _once(root, clips, skipped)
    classes = sorted({clip.labels[0] for clip in clips})
    if parts and not clips:
        named = ", ".join(sorted(parts))
        raise AaspError(f"{root}: {named} hold no folders of classes; lay out train/dog/, test/dog/ …")
    if len(classes) < 2:
        found = f"{len(clips)} clips in {len(classes)} class folders"
        raise AaspError(f"{root}: {found}; lay out two classes or more, one folder each")
    if not parts:
        clips = _held_out(root, clips)
        notes.append("our own split: of each class 20 % test and 10 % valid, at random by file name")
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


def _below(root: Path, path: str) -> tuple[str, ...]:
    """The components of a path below the root."""
    return Path(path).relative_to(root).parts


def _folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def _parts(root: Path, tops: set[str], below: Iterable[Sequence[str]]) -> Mapping[str, str]:
    """The meaning of each top-level folder: a part or a fold; empty if they are classes."""
    if tops and all(map(is_fold, tops)):
        return {name: name.strip() for name in tops}
    try:
        parts = parts_of(tops)
    except AaspError as error:
        raise AaspError(f"{root}: {error}") from None
    if parts is not None:
        for part in (TRAIN, TEST):
            if part not in parts.values():
                found = ", ".join(sorted(set(parts.values())))
                raise AaspError(f"{root}: has {found} but no {part}; add {root / part}")
        return parts
    try:
        check_no_additions(tops)
    except AaspError as error:
        raise AaspError(f"{root}: {error}") from None
    inside = defaultdict(set)  # the folders inside each top-level folder, "" for a sound
    for names in below:
        inside[names[0]].add(names[1] if len(names) > 2 else "")
    _check_not_beside(root, tops, inside)
    _check_not_below(root, inside)
    return {}


def _check_not_beside(root: Path, tops: set[str], inside: Mapping[str, set[str]]) -> None:
    """Reject parts and folds beside other folders: as classes, a model would learn to tell train from test."""
    named, folds = (sorted(filter(one, tops)) for one in (is_part, is_fold))
    if {TRAIN, TEST} <= set(_meant(named).values()):
        folds = named
    if len(folds) > 1 and set.intersection(*(inside[name] for name in folds)) - {""}:
        others = ", ".join(sorted(tops.difference(folds)))
        raise AaspError(f"{root}: {', '.join(folds)} hold the same folders, as parts do, but {others} is none; move it")


def _check_not_below(root: Path, inside: Mapping[str, set[str]]) -> None:
    """Reject parts below the classes, which would be mixed."""
    folders = {name: within - {""} for name, within in inside.items() if within - {""}}
    if folders and all({TRAIN, TEST} <= set(_meant(within).values()) for within in folders.values()):
        first = min(folders)
        found = f"parts lie below {'' if len(inside) == 1 else 'the classes, '}{first}: {', '.join(folders[first])}"
        remedy = f"name {root / first}" if len(inside) == 1 else f"lay them out the other way round, train/{first}/ …"
        raise AaspError(f"{root}: {found}; {remedy}")


def _meant(names: Iterable[str]) -> Mapping[str, str]:
    try:
        return parts_of(names) or {}
    except AaspError:
        return {}


def _once(root: Path, clips: list[Clip], skipped: list[Skipped]) -> list[Clip]:
    """The clips without duplicates: files that are in the same class and part under another name."""
    sounds = [clip.path for clip in clips]
    again = repeats(sounds)
    try:
        keep_apart(sounds, [clip.part for clip in clips], again)
    except AaspError as error:
        raise AaspError(f"{root}: {error}") from None
    for row, first in again:
        if clips[row].labels != clips[first].labels:
            what = f"{clips[row].path} is in class {clips[row].labels[0]!r}, and as {clips[first].path} in another"
            raise AaspError(f"{root}: {what}; keep one")
        skipped.append(Skipped(clips[row].path, f"is the same file as {clips[first].path}"))
    rows = {repeat.row for repeat in again}
    return [clip for row, clip in enumerate(clips) if row not in rows]


def _held_out(root: Path, clips: list[Clip]) -> list[Clip]:
    """The clips with parts assigned, in their order."""
    counts = Counter(clip.labels[0] for clip in clips)
    single = [clip for clip in clips if counts[clip.labels[0]] == 1]
    if single:
        (label,), path = single[0].labels, single[0].path
        more = f" ({len(single)} such classes)" if len(single) > 1 else ""
        remedy = "it cannot be in both training and test: add clips, remove it, or make train/ and test/"
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
