"""What a set consists of, before any file is opened: the files of a folder, or the rows of an index."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from aasp.audio.io import EXTENSIONS
from aasp.errors import AaspError

# Sound that libsndfile or we don't read: named when found in a folder, so that a set of it does not look empty.
_UNREAD = frozenset({".m4a", ".aac", ".mp4", ".wma", ".webm", ".mka", ".ape", ".wv", ".aif", ".aiff", ".au", ".amr"})


class Skipped(NamedTuple):
    """A file that is not used, and why."""

    path: str
    reason: str


def walk(folder: str, skipped: list[Skipped]) -> Iterator[str]:
    """Audio files below a folder, sorted. Linked folders are followed, each once.

    Args:
        folder: where to look.
        skipped: takes what looks like sound and can't be used, and folders that could not be listed.
    """
    seen = set()

    def unlisted(error: OSError) -> None:
        skipped.append(Skipped(str(error.filename), f"folder could not be listed ({error.strerror})"))

    for root, folders, names in os.walk(os.path.abspath(folder), followlinks=True, onerror=unlisted):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted(names):
            extension = os.path.splitext(name)[1].lower()
            path = os.path.join(root, name)
            if extension in _UNREAD:
                skipped.append(Skipped(path, f"format not supported ({extension}); convert it to one that is"))
            elif extension in EXTENSIONS:
                if path.isascii() or _is_utf8(path):
                    yield path
                else:
                    skipped.append(Skipped(path, "its name is not valid UTF-8; rename it"))


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_index(source: str) -> pa.Table:
    """A CSV or Parquet index: `path` made absolute, first; `seconds` as float; the other columns as they are.

    Raises:
        AaspError: there is no such index, it can't be read, has no `path`, or its `seconds` are not numbers.
    """
    suffix = os.path.splitext(source)[1].lower()
    if suffix not in (".csv", ".parquet"):
        what = "not a folder, .csv or .parquet" if os.path.exists(source) else "no such folder or index"
        raise AaspError(f"{what}: {source}; name a folder of audio, or an index with a column path")
    try:
        table = pa.parquet.read_table(source) if suffix == ".parquet" else _read_csv(source)
    except FileNotFoundError:
        raise AaspError(f"no such index: {source}; check the path") from None
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise AaspError(f"not a readable {suffix} index: {source}; {' '.join(str(error).split())}") from None
    if "path" not in table.column_names:
        raise AaspError(f"{source}: no column path; it has {', '.join(table.column_names)}")
    folder = os.path.dirname(os.path.abspath(source))
    paths = table["path"].cast(pa.string()).fill_null("")
    relative = pc.invert(pc.starts_with(paths, os.sep))
    if pc.any(relative).as_py():
        paths = pc.if_else(relative, pc.binary_join_element_wise(folder, paths, os.sep), paths)
    if "seconds" in table.column_names:
        try:
            seconds = table["seconds"].cast(pa.float64())
        except pa.ArrowInvalid as error:
            raise AaspError(f"{source}: column seconds: {error}; give numbers") from None
        table = table.set_column(table.column_names.index("seconds"), "seconds", seconds)
    return table.drop_columns("path").add_column(0, "path", paths)


def _read_csv(source: str) -> pa.Table:
    with open(source, encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    if len(set(names)) < len(names):
        raise AaspError(f"{source}: two columns of one name in {', '.join(names)}; rename one")
    # Arrow guesses a column's type from the file's first block and fails on a later one: read text, then decide.
    as_text = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    table = pa.csv.read_csv(source, convert_options=as_text)
    for index, name in enumerate(table.column_names):
        text = table[name]
        if name == "seconds":
            table = table.set_column(index, name, pc.if_else(pc.equal(text, ""), None, text))
        elif name != "path":
            table = table.set_column(index, name, _integers(text))
    return table


def _integers(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers if that loses nothing ("007" would), else the text."""
    try:
        numbers = text.cast(pa.int64())
    except pa.ArrowInvalid:
        return text
    return numbers if numbers.cast(pa.string()).equals(text) else text
