"""A set with labels over time (strong labels): sounds, their parts, and a table of their events."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from aasp.audio.sounds import files
from aasp.datasets.benchmarks.files import draw
from aasp.datasets.benchmarks.index import labelled_rows, row_sounds
from aasp.datasets.events import Event, EventTable
from aasp.datasets.events.reading import read_events
from aasp.datasets.index import Skipped, hidden_note, read_index, walk
from aasp.datasets.labelled import LabelledSet
from aasp.datasets.parts import TEST, TRAIN, VALID, parts_of
from aasp.errors import AaspError

_VALID, _TEST = 0.1, 0.2  # shares of the sounds, in a folder without parts


def open_strong(
    events: str | Path,
    root: str | Path | None = None,
    index: str | Path | None = None,
    label: str | None = None,
    split: str | None = None,
    group: str | None = None,
    path_column: str | None = None,
    **missing: Any,
) -> LabelledSet:
    """Read sounds with events.

    A sound without an event in the table has no events: it is trained on and scored as such.

    Args:
        events: table of events, or a folder of them (`aasp.datasets.events.reading`).
        root: folder of the sounds, searched recursively. Folders `train`, `valid` (optional) and `test` in it are the
            parts; else a fifth is test and a tenth valid, at random by name, the same on every machine.
        index: instead of `root`, .csv, .tsv or .parquet with the sounds' `path`.
        label: the events' column of labels, if it has an unusual name.
        split, group, path_column: columns of the index, as in `open_index`.
        missing: `allow_missing` and `missing_list`, as in `open_index`.

    Returns:
        The set; a clip's labels are those of its events, classes are sorted, and `events` has the events of each clip.

    Raises:
        AaspError: a table, folder or index is invalid; an event's sound is not in the set, or ambiguous; the names of
            two files match one sound; an event does not end after its start; or there is no event.
    """
    table = read_events(events, label)
    if not table.events:
        raise AaspError(f"{table.source}: no event in it; give a table that has some")
    if index is None:
        assert root is not None
        found = _folder(Path(os.path.abspath(root)))
    else:
        if split is None:
            raise AaspError(f"--index {index} without --split; name the column")
        rows = read_index(str(index), path_column)
        column = "\0labels"  # no index has it
        sounds = row_sounds(rows, index)
        rows = rows.append_column(column, pa.array(["event"] * len(rows)))
        found = labelled_rows(rows, index, sounds, column, split, group, multilabel=True, **missing)
        found = replace(found, column="label")
    return with_events(found, table)


def with_events(found: LabelledSet, table: EventTable) -> LabelledSet:
    """The set labelled by a table's events.

    Raises:
        AaspError: an event's sound is not in the set, or ambiguous; or the names of two files match one sound.
    """
    rows = _rows(found, table)
    each: list[list[Event]] = [[] for _ in range(len(found))]
    known: set[tuple[int, float, float, str]] = set()
    twice = 0
    for one in table.events:
        for row in rows[one.file]:
            place = (row, one.start, one.end, one.label)
            twice += place in known
            if place not in known:
                each[row].append(one)
            known.add(place)
    classes = sorted({one.label for one in table.events})
    labels = [tuple(dict.fromkeys(one.label for one in sorted(ones, key=lambda one: one.label))) for ones in each]
    notes = list(found.notes)
    if twice:
        notes.append(f"listed twice, counted once: {twice:,} of {len(table.events):,} events")
    if empty := sum(not ones for ones in each):
        notes.append(f"without an event: {empty:,} of {len(each):,} sounds")
    return replace(found, labels=labels, classes=classes, multilabel=True, events=each, notes=notes)


def _rows(found: LabelledSet, table: EventTable) -> dict[str, list[int]]:
    """The clips of each name in the table, which is a path or the end of one, with or without its extension."""
    ends: dict[str, set[str]] = defaultdict(set)  # paths by file name, with and without extension
    clips: dict[str, list[int]] = defaultdict(list)
    for row, sound in enumerate(found.sounds):
        for path in files(sound):
            clips[os.path.abspath(path)].append(row)
    gone = {os.path.abspath(one.path) for one in found.missing}
    for path in [*clips, *gone]:
        ends[os.path.basename(path)].add(path)
        ends[os.path.splitext(os.path.basename(path))[0]].add(path)
    folder = table.source if os.path.isdir(table.source) else os.path.dirname(os.path.abspath(table.source))
    meant: dict[str, list[int]] = {}
    called: dict[str, list[str]] = defaultdict(list)  # names in the table of each path
    for name in dict.fromkeys([*table.files, *(one.file for one in table.events)]):
        text = name.replace("\\", "/")
        whole = os.path.abspath(os.path.join(folder, text))
        among = {whole} if whole in clips or whole in gone else _ending(ends, text)
        if not among:
            where = f"none of the {len(clips):,} sounds of {found.source}"
            raise AaspError(f"{table.source}: {name} is {where}; give the sounds' folder or index, or fix its names")
        if len(among) > 1:
            first, second = sorted(among)[:2]
            raise AaspError(f"{table.source}: {name} can be {first} or {second}; write its path in the table")
        (path,) = among
        other = next((one for one in called[path] if not _one_file(one, name, path)), None)
        called[path].append(name)
        if other is not None:
            text = f"{other} and {name} are two files, but both match {path}"
            raise AaspError(f"{table.source}: {text}; take out the events of the one that is not in the set")
        meant[name] = clips.get(path, [])
    return meant


def _one_file(one: str, other: str, path: str) -> bool:
    """Whether two names that match a path can be names of one file: one is the end of the other, or both of the path.

    Only the folders are compared: the file names match already, with or without an extension.
    """
    first, second, whole = _folders(one), _folders(other), _folders(path)
    return _ends(first, second) or _ends(second, first) or (_ends(whole, first) and _ends(whole, second))


def _folders(name: str) -> list[str]:
    parts = os.path.normpath(name.replace("\\", "/")).split("/")
    return [part for part in parts[:-1] if part not in ("", ".", "..")]


def _ends(folders: list[str], end: list[str]) -> bool:
    return len(end) <= len(folders) and folders[len(folders) - len(end) :] == end


def _ending(ends: dict[str, set[str]], name: str) -> set[str]:
    """Paths that end with a name, including as many of its folders as are needed to make it unique."""
    among = ends.get(os.path.basename(name), set())
    parts = [part for part in name.split("/") if part]
    for count in range(2, len(parts) + 1):
        if len(among) < 2:
            break
        end = os.path.splitext("/".join(parts[-count:]))[0]
        among = {path for path in among if os.path.splitext(path)[0].endswith(f"/{end}")} or among
    return among


def _folder(root: Path) -> LabelledSet:
    """The sounds of a folder with their parts, still without labels."""
    if not root.is_dir():
        raise AaspError(f"no such folder: {root}; name the folder of the sounds")
    skipped: list[Skipped] = []
    hidden: list[str] = []
    paths = list(walk(str(root), skipped, hidden))
    if not paths:
        raise AaspError(f"no audio in folder: {root}; give the folder of the sounds that the events belong to")
    below = [Path(path).relative_to(root).parts for path in paths]
    try:
        named = parts_of({names[0] for names in below}) if all(len(names) > 1 for names in below) else None
    except AaspError as error:
        raise AaspError(f"{root}: {error}") from None
    notes = hidden_note(hidden)
    if named is not None:
        parts = [named[names[0]] for names in below]
    else:
        names = ["/".join(one) for one in below]
        order = sorted(range(len(names)), key=lambda row: draw(names[row]))
        test, valid = max(1, round(_TEST * len(names))), round(_VALID * len(names))
        parts = [TRAIN] * len(names)
        for place, row in enumerate(order[: test + valid]):
            parts[row] = TEST if place < test else VALID
        notes.append("our own split: 20 % test and 10 % valid, at random by file name")
    return LabelledSet(f"{root.name}/", str(root), paths, [()] * len(paths), parts, (), missing=skipped, notes=notes)
