"""A custom labelled set as an index: path, label, part or fold, and group."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import pyarrow as pa

from aasp.audio.packed import file_of
from aasp.audio.remote import is_url
from aasp.audio.sounds import Recording, Sound, describe, files
from aasp.datasets.benchmarks.files import Listing
from aasp.datasets.channel_column import choices
from aasp.datasets.index import Skipped, read_index
from aasp.datasets.labelled import LabelledSet, ordered
from aasp.datasets.manifest import write_skipped
from aasp.datasets.parts import is_flag, is_part, parts_or_folds
from aasp.datasets.tables import is_list_of_text
from aasp.errors import AaspError

_SHOWN = 3  # missing files listed in the message


def open_index(
    source: str | Path,
    label: str,
    split: str,
    group: str | None = None,
    *,
    multilabel: bool | None = None,
    allow_missing: bool = False,
    missing_list: str | Path | None = None,
    path_column: str | None = None,
) -> LabelledSet:
    """Read a labelled index.

    Args:
        source: .csv, .tsv or .parquet with a column `path` of files, addresses (`aasp.audio.packed`) or URLs; relative
            paths are relative to the index's own folder. A column `channel` chooses the channels of each file.
        label: column of labels; several in a row are separated by `;`, or in Parquet are a list of strings.
        split: column of train, valid (optional) and test, by any name in `datasets.parts`; or of folds: numbers, one
            word with numbers, or any names if the column's name contains "fold" or the column is also `group`.
        group: column of groups: recording, speaker, instrument.
        multilabel: whether clips may have several labels, or none; by default, if a `;` occurs.
        allow_missing: put clips with missing files in the set's `missing`, instead of raising.
        missing_list: CSV file to write with all such clips.
        path_column: column of paths, if not `path`.

    Returns:
        The set, in the index's order; classes sorted, as numbers if all are; parts as train, valid and test.

    Raises:
        AaspError: no such index or column, a row without path, label or part, several labels where one is expected, a
            split that is neither parts nor folds, a column of nested values, or missing files.
    """
    table = read_index(str(source), path_column)
    return labelled_rows(
        table,
        source,
        row_sounds(table, source),
        label,
        split,
        group,
        multilabel=multilabel,
        allow_missing=allow_missing,
        missing_list=missing_list,
    )


def row_sounds(table: pa.Table, source: str | Path) -> list[Sound]:
    """The sound of each row: its path, and its choice of channels if a column has one."""
    return [
        path if choice == "mean" or not path else Recording(path, choice)
        for path, choice in zip(_column(table, source, "path"), choices(table, str(source)), strict=True)
    ]


def labelled_rows(
    table: pa.Table,
    source: str | Path,
    sounds: Sequence[Sound],
    label: str,
    split: str,
    group: str | None = None,
    *,
    multilabel: bool | None = None,
    allow_missing: bool = False,
    missing_list: str | Path | None = None,
) -> LabelledSet:
    """The set of an index's rows with the given sounds; other arguments as in `open_index`."""
    marks, parts = _column(table, source, label), _column(table, source, split)
    groups = None if group is None else _column(table, source, group)
    if not sounds:
        raise AaspError(f"index without rows: {source}; list one clip a row")
    several = [row for row, mark in enumerate(marks) if ";" in mark]
    if multilabel is None:
        if not several:
            _check_single(source, label, marks)
        multilabel = bool(several)
    if several and not multilabel:
        first = f"{marks[several[0]]!r} in row {several[0] + 1}"
        remedy = "name a column with one, or run it as multi-label"
        raise AaspError(f"{source}, column {label}: {len(several):,} clips have several labels, {first}; {remedy}")
    needed = [("path", sounds), (split, parts)] + ([] if multilabel else [(label, marks)])
    for name, values in needed + ([] if group is None or groups is None else [(group, groups)]):
        empty = [row for row, value in enumerate(values) if not value]
        if empty:
            where = f"{len(empty):,} of {len(values):,} clips have none, the first in row {empty[0] + 1}"
            raise AaspError(f"{source}, column {name}: {where}; fill it, or take them out of the index")
    labels = [_labels(mark) if multilabel else (mark,) for mark in marks]
    name = "/".join(Path(os.path.abspath(source)).parts[-2:])
    classes = ordered({one for several_ in labels for one in several_})
    parts = _divided(source, split, parts, any_name="fold" in split.casefold() or split == group)
    found = LabelledSet(name, str(source), sounds, labels, parts, classes, groups, multilabel, column=label)
    found = _present(found, allow_missing, missing_list)
    return replace(found, notes=_repeated(found))


def _column(table: pa.Table, source: str | Path, name: str) -> list[str]:
    if name not in table.column_names:
        close = get_close_matches(name, table.column_names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(table.column_names)}"
        raise AaspError(f"{source}: no column {name!r}; {hint}")
    kind = table[name].type
    values = table[name].to_pylist()
    if is_list_of_text(kind):
        values = [None if value is None else ";".join(filter(None, value)) for value in values]
    elif pa.types.is_nested(kind):
        raise AaspError(f"{source}, column {name}: its values are of {kind}; write numbers, text or lists of strings")
    # pandas writes a missing value as NaN.
    return ["" if value is None or value != value else str(value).strip() for value in values]


def _labels(marks: str) -> tuple[str, ...]:
    """The labels of a row, each once, in order."""
    return tuple(dict.fromkeys(mark for part in marks.split(";") if (mark := part.strip())))


def _check_single(source: str | Path, label: str, marks: Sequence[str]) -> None:
    """Refuse labels without `;` that look like several."""
    known = set(marks)
    for row, mark in enumerate(marks, start=1):
        pieces = [piece.strip() for piece in re.split(r"[,|]", mark)]
        if re.fullmatch(r"\[(\s*['\"].*['\"])?\s*\]", mark) or (len(pieces) > 1 and known.issuperset(pieces)):
            text = f"{mark!r} in row {row} looks like several labels"
            raise AaspError(
                f"{source}, column {label}: {text}; separate them by ;, or, if it is one, write it otherwise"
            )


def _divided(source: str | Path, split: str, values: Sequence[str], *, any_name: bool) -> list[str]:
    """The parts or folds in a split column."""
    try:
        parts = parts_or_folds(values, any_name=any_name)
    except AaspError as error:
        other = "" if any_name else "; folds of any name go into a column called fold"
        raise AaspError(f"{source}, column {split}: {error}{other}") from None
    if is_flag(split) and not any(map(is_part, parts)):
        text = ", ".join(sorted(set(values)))
        raise AaspError(f"{source}, column {split}: {text} name one part only; make a column of train and test")
    return parts


def _repeated(found: LabelledSet) -> list[str]:
    """A one-line note on rows that repeat a sound."""
    if not found.repeats:
        return []
    row, first = found.repeats[0]
    named = f"the first {describe(found.sounds[row])} in {found.parts[row]!r}, as before in {found.parts[first]!r}"
    unlike = sum(set(found.labels[one.row]) != set(found.labels[one.first]) for one in found.repeats)
    other = f"; {unlike:,} under another label" if unlike else ""
    return [f"rows that repeat a sound: {len(found.repeats):,}, {named}{other}"]


def _present(found: LabelledSet, allow_missing: bool, missing_list: str | Path | None) -> LabelledSet:
    listing = Listing()
    # Of a sound in a shard or a Parquet file, that file is looked up; stores are not queried.
    there = lambda path: is_url(file := file_of(path)) or listing.has(file)
    absent = [next((path for path in files(sound) if not there(path)), None) for sound in found.sounds]
    rows = [row for row, path in enumerate(absent) if path is not None]
    if not rows:
        return found
    missing = [Skipped(path, "no such file") for path in absent if path is not None]
    if missing_list is not None:
        write_skipped(missing, missing_list)
    if not allow_missing or len(rows) == len(found):
        raise AaspError(f"{found.source}: {_missing_files(missing, len(found), missing_list)}")
    return found.without(rows, missing)


def _missing_files(missing: Sequence[Skipped], clips: int, missing_list: str | Path | None) -> str:
    shown = ", ".join(file.path for file in missing[:_SHOWN])
    more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
    where = f", all listed in {missing_list}" if missing_list is not None else ""
    remedy = "fix the column path" + (", or continue without them (--allow-missing)" if len(missing) < clips else "")
    return f"{len(missing):,} of {clips:,} files do not exist: {shown}{more}{where}; {remedy}"
