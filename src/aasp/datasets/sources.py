"""Sources of a set (a folder, an index, tar shards or Parquet files, local or in an object store) and their rows."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from aasp.audio import remote, remote_cache
from aasp.audio.io import EXTENSIONS
from aasp.audio.packed import place
from aasp.datasets import audio_parquet, tar_members
from aasp.datasets.index import Skipped, hidden_note, read_index, walk
from aasp.datasets.shard_folder import INDEX, SHARDS, UNFINISHED
from aasp.errors import AaspError

_PACKED = (".tar", ".parquet")


class Listing(NamedTuple):
    """Rows of a set, and notes on it.

    Attributes:
        table: `path` first: files, or addresses (`aasp.audio.packed`); then other columns.
        notes: one line each.
        indexed: the rows come from an index, and may repeat a file.
    """

    table: pa.Table
    notes: list[str]
    indexed: bool


def is_packed(source: str) -> bool:
    """Whether a source is shards, Parquet files of sounds, a pattern or a store's folder, rather than sound files."""
    source = remote.located(source)
    if place(source) is not None or _ending(source) in EXTENSIONS:
        return _is_pattern(source)
    if remote.is_url(source) or _is_pattern(source) or _ending(source) == ".tar":
        return True
    return os.path.isdir(source) and (_has_index(source) or (not _has_sounds(source) and bool(_packed_in(source))))


def listed(source: str, skipped: list[Skipped], path_column: str | None = None) -> Listing:
    """The rows of a set, before any sound is opened.

    Args:
        source: a folder, an index, a tar or Parquet file, a pattern of such files, or a URL of one of these.
        skipped: collects files that can't be used.
        path_column: an index's column of paths, if not `path`.

    Raises:
        AaspError: the source does not exist, or has no sound.
    """
    files = _files(source)
    kind = _kind(files, source) if files is not None else None
    if kind == ".tar" or (kind == ".parquet" and files and audio_parquet.holds_sounds(files[0])):
        _no_path_column(path_column, source)
        return _rows(files or [], kind, skipped)
    if files is not None and len(files) > 1:
        raise AaspError(f"{source}: {len(files)} files of which {files[0]} has no column of sounds; name one manifest")
    if files is None:
        return _folder(source, skipped, path_column)
    return Listing(read_index(files[0], path_column), [], True)


def _files(source: str) -> list[str] | None:
    """The files of a source; None for a folder."""
    if _is_pattern(source):
        found = remote.listed(source) if remote.is_url(source) else sorted(glob.glob(source, recursive=True))
        if not found:
            raise AaspError(f"nothing matches: {source}; check the pattern")
        return found
    if remote.is_url(source):
        return [source] if _ending(source) else None
    return None if os.path.isdir(source) else [source]


def _kind(files: Sequence[str], source: str) -> str:
    endings = {_ending(file) for file in files}
    if len(endings) > 1:
        raise AaspError(f"{source}: files of several kinds ({', '.join(sorted(endings))}); name one kind")
    if len(files) > 1 and not endings <= set(_PACKED):
        raise AaspError(f"{source}: a pattern of {endings.pop()} files; name tar or Parquet files, or their folder")
    return endings.pop()


def _folder(source: str, skipped: list[Skipped], path_column: str | None) -> Listing:
    far = remote.is_url(source)
    join = (lambda name: f"{source.rstrip('/')}/{name}") if far else lambda name: os.path.join(source, name)
    if _has_index(source):
        table = read_index(join(INDEX), path_column)
        _check_inside(table["path"], join(""))
        return Listing(table, [], True)
    if far or os.path.exists(join(UNFINISHED)):
        names = remote.listed(source) if far else os.listdir(source)
        if any(name == UNFINISHED or f"/{UNFINISHED}/" in name for name in names):
            raise AaspError(f"{source}: its shards are not complete; run the same `aasp shard` command again")
    _no_path_column(path_column, source)
    hidden: list[str] = []
    found = _objects(source) if far else list(walk(source, skipped, hidden))
    notes = hidden_note(hidden)
    packed = _packed_in(source)
    if found or skipped or not packed:
        if not found and not skipped:
            known = ", ".join(sorted(EXTENSIONS))
            passed = "".join(f" ({note})" for note in notes)
            raise AaspError(f"no audio in folder: {source}; looked for {known} in it and below{passed}")
        tars = [file for file in packed if _ending(file) == ".tar"]
        if tars:
            notes.append(f"tar files next to sound files, left out: {len(tars):,}, the first {tars[0]}")
        return Listing(pa.table({"path": pa.array(found, pa.string())}), notes, False)
    tars = [file for file in packed if _ending(file) == ".tar"]
    parquets = [file for file in packed if _ending(file) == ".parquet" and audio_parquet.holds_sounds(file)]
    if tars and parquets:
        raise AaspError(f"{source}: tar shards and Parquet files of sounds in one folder; name one kind by a pattern")
    if not tars and not parquets:
        raise AaspError(f"no audio in folder: {source}; there are tables in it: name one of them, {packed[0]}")
    return _rows(tars or parquets, ".tar" if tars else ".parquet", skipped)


def _rows(files: Sequence[str], kind: str, skipped: list[Skipped]) -> Listing:
    files = [file if remote.is_url(file) else os.path.abspath(file) for file in files]
    table, notes = (tar_members.samples if kind == ".tar" else audio_parquet.rows)(files, skipped)
    if table.num_rows == 0 and not skipped:
        more = " and others" * (len(files) > 1)
        raise AaspError(f"no sound in {files[0]}{more}; looked for names in {', '.join(sorted(EXTENSIONS))}")
    return Listing(table, notes, False)


def _has_index(source: str) -> bool:
    """Whether a folder has an index written by `aasp shard`."""
    try:
        if remote.is_url(source):
            url = f"{source.rstrip('/')}/{INDEX}"
            if _ending(source) or not remote.exists(url):
                return False
            with remote_cache.kept(url, ending=".parquet") as file:
                schema = pa.parquet.read_schema(file)
        else:
            schema = pa.parquet.read_schema(os.path.join(source, INDEX))
    except (OSError, ValueError, pa.ArrowException):
        return False
    return SHARDS in (schema.metadata or {})


def _check_inside(paths: pa.ChunkedArray, folder: str) -> None:
    """Check that an index of shards only names tar files in its own folder: it may be from an untrusted source."""
    folder = folder if remote.is_url(folder) else os.path.join(os.path.abspath(folder), "")
    inside = pc.match_substring_regex(paths, rf"^{re.escape(folder)}[^/]+\.tar#\d+\+\d+")
    if not pc.all(inside).as_py():
        strange = paths.filter(pc.invert(inside))[0].as_py()
        raise AaspError(
            f"{folder}{INDEX} names something that is not a shard in its folder: {strange}; get another copy of the set"
        )


def _has_sounds(source: str) -> bool:
    return next(walk(source, []), None) is not None


def _packed_in(source: str) -> list[str]:
    """Tar and Parquet files in a folder and its subfolders, sorted."""
    if remote.is_url(source):
        return [name for name in remote.listed(source) if _ending(name) in _PACKED]
    found = []
    for root, folders, names in os.walk(source, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(root, name) for name in names if _ending(name) in _PACKED and not name.startswith(".")]
    return sorted(found)


def _objects(source: str) -> list[str]:
    return [name for name in remote.listed(source) if _ending(name) in EXTENSIONS and "/." not in name]


def _is_pattern(source: str) -> bool:
    """Whether a source is a pattern; an existing file of that name is not."""
    return any(letter in source for letter in "*?[") and not os.path.exists(source)


def _no_path_column(requested: str | None, source: str) -> None:
    if requested is not None:
        raise AaspError(f"--path-column {requested} with a folder or file of sounds, {source}; leave it out")


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()
