"""The entries of a set before any file is opened: the files of a folder, or the rows of an index."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from aasp.audio import remote, remote_cache
from aasp.audio.io import EXTENSIONS
from aasp.datasets.channel_column import named
from aasp.datasets.tables import SUFFIXES, parquet_parts, read_csv
from aasp.errors import AaspError

# Extensions of sound files. Those we can't read are reported when found, so that a set of them does not look empty.
_SOUND = EXTENSIONS.union(
    *[(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".spx", ".mp2", ".mp3", ".mpga")],
    *[(".m4a", ".m4b", ".m4r", ".aac", ".adts", ".alac", ".wma", ".asf", ".ac3", ".eac3", ".dts", ".mka", ".weba")],
    *[(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".ape", ".wv", ".tta", ".tak", ".mpc", ".shn", ".dsf", ".dff")],
    *[(".amr", ".awb", ".3gp", ".3g2", ".gsm", ".qcp", ".voc", ".vox", ".sph", ".nist", ".pcm", ".raw", ".sd2", ".ra")],
    *[(".aa", ".aax", ".oma", ".avr", ".htk", ".ircam", ".sf", ".paf", ".pvf", ".svx", ".wve", ".xi", ".rm")],
    *[(".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi", ".wmv", ".flv", ".ogv", ".mpg", ".mpeg", ".vob")],  # video
)
_UNREAD = _SOUND - EXTENSIONS
# Files and folders created by operating systems, in lower case. Names with a leading dot are, too: .Trashes, ._dog.wav.
_SYSTEM = frozenset(
    {
        *("__macosx", "network trash folder", "temporary items"),  # macOS
        *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000"),  # Windows
        *("#recycle", "#snapshot", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "~snapshot", "@__thumb"),  # NAS
        *("lost+found", "__pycache__"),
    }
)
RESERVED = frozenset({"path", "seconds", "rate", "channels", "channel"})
"""Columns with a fixed meaning: columns of these names in shards from others are renamed."""
_FETCHED = ("http://", "https://")  # not accepted: their content may change
_NO_STEP = r"/(?:\.?/)+"  # in a path: dir//a.wav, dir/./a.wav


class Skipped(NamedTuple):
    """A file that is not used, and the reason."""

    path: str
    reason: str


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or belongs to the system: trash, snapshots, previews."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def is_sound(name: str) -> bool:
    """Whether a file's name has the extension of a sound format, supported or not."""
    return os.path.splitext(name)[1].lower() in _SOUND


def walk(folder: str, skipped: list[Skipped], hidden: list[str] | None = None) -> Iterator[str]:
    """Audio files below a folder, sorted. Linked folders are followed, each once.

    Args:
        folder: where to look.
        skipped: collects sound files that can't be used, and folders that could not be listed.
        hidden: collects hidden sound files, and hidden and system folders, which are not searched.
    """
    hidden = [] if hidden is None else hidden
    seen = set()

    def unlisted(error: OSError) -> None:
        skipped.append(Skipped(str(error.filename), f"folder could not be listed ({error.strerror})"))

    for root, folders, names in os.walk(os.path.abspath(folder), followlinks=True, onerror=unlisted):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        hidden.extend(os.path.join(root, name, "") for name in sorted(folders) if is_hidden(name))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(names):
            extension = os.path.splitext(name)[1].lower()
            path = os.path.join(root, name)
            if is_hidden(name):
                hidden.extend([path] if is_sound(name) else [])
            elif extension in _UNREAD:
                skipped.append(Skipped(path, f"format not supported ({extension}); convert it to a supported one"))
            elif extension in EXTENSIONS:
                if path.isascii() or _is_utf8(path):
                    yield path
                else:
                    skipped.append(Skipped(path, "its name is not valid UTF-8; rename it"))


def hidden_note(hidden: list[str]) -> list[str]:
    """One line about the hidden files and folders that `walk` left out, if any."""
    if not hidden:
        return []
    folders = sum(path.endswith(os.sep) for path in hidden)
    counts = [(len(hidden) - folders, "file"), (folders, "folder")]
    counted = " and ".join(f"{count:,} {what}{'s' if count > 1 else ''}" for count, what in counts if count)
    return [f"hidden or system files, left out: {counted}, the first {hidden[0]}"]


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_index(source: str, path_column: str | None = None) -> pa.Table:
    """A CSV or Parquet index: `path` made absolute, first; `seconds` as float; the other columns as they are.

    Args:
        source: .csv, .tsv or .parquet.
        path_column: the column of paths; by default the one named `path`, in upper or lower case.

    Raises:
        AaspError: there is no such index, it can't be read, has no `path`, or its `seconds` are not numbers.
    """
    suffix = os.path.splitext(source)[1].lower()
    if suffix not in SUFFIXES:
        there = "a single sound file" if is_sound(source) else "not a folder, .csv or .parquet"
        what = there if os.path.exists(source) else "no such folder or index"
        packed = "unpack it, or " if suffix in (".gz", ".zip", ".bz2", ".xz", ".zst") else ""
        raise AaspError(f"{what}: {source}; {packed}name a folder of audio, or an index with a column path")
    try:
        with remote_cache.local(source, suffix) as file, _plain_memory():
            try:
                parts = parquet_parts(file) if suffix == ".parquet" else iter([read_csv(file, path_column or "path")])
                table = pa.concat_tables([_prepared(part, source, suffix, path_column) for part in parts])
            except AaspError as error:
                raise AaspError(str(error).replace(file, source)) from None
    except FileNotFoundError:
        raise AaspError(f"no such index: {source}; check the path") from None
    except IsADirectoryError:
        raise AaspError(f"not a readable {suffix} index: {source}; it is a folder: name a file in it") from None
    except pa.ArrowInvalid as error:
        raise AaspError(
            f"not a readable {suffix} index: {source}; {' '.join(str(error).split())}; write it again"
        ) from None
    return named(table)


def _prepared(table: pa.Table, source: str, suffix: str, path_column: str | None) -> pa.Table:
    """Some rows of an index in the form that `read_index` returns."""
    column = _path_column(table, source, path_column)
    paths = _absolute(source, _as_text(source, column, table[column]).fill_null(""))
    table = table.drop_columns(list({column, "path"} & set(table.column_names)))
    for index, name in enumerate(table.column_names):
        text = table[name]
        if name == "seconds":
            table = table.set_column(index, name, _seconds(source, text))
        elif suffix != ".parquet":
            table = table.set_column(index, name, _integers(text))
    return table.add_column(0, "path", paths)


@contextmanager
def _plain_memory() -> Iterator[None]:
    """Use the system's allocator for Arrow: its own retains 80 MiB of unused memory after a million rows in pieces."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _as_text(source: str, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return values.cast(pa.string())
    except pa.ArrowException as error:
        note = f"its column {column} is of {values.type}, not text ({' '.join(str(error).split())[:80]})"
        raise AaspError(f"{source}: {note}; write paths there") from None


def _path_column(table: pa.Table, source: str, requested: str | None) -> str:
    names = table.column_names
    if not names:
        note = "the table is empty: give it a line of column names and a line for each file"
        raise AaspError(f"{source}: no column path; it has none, {note}")
    if requested is not None or "path" in names:
        if (requested or "path") not in names:
            raise AaspError(f"{source}: no column {requested!r}; it has {', '.join(names)}")
        return requested or "path"
    alike = [name for name in names if name.casefold() == "path"]
    if len(alike) == 1:
        return alike[0]
    held = ", ".join(names)
    if any(is_sound(name) for name in names):
        raise AaspError(f"{source}: no line of column names, it starts with {held}; put path, … in the first line")
    if len(names) == 1:
        delimited = "; separate columns by a comma, semicolon or tab" if re.search(r"\W", names[0]) else ""
        remedy = delimited or f"; rename it to path, or --path-column {held}"
        raise AaspError(f"{source}: no column path; it has {held}{remedy}")
    like = next((name for name in names if _names_sounds(table[name])), None)
    hint = f"--path-column {like}" if like else "give the column of paths with --path-column"
    raise AaspError(f"{source}: no column path; it has {held}: rename one to path, or {hint}")


def _names_sounds(column: pa.ChunkedArray) -> bool:
    """Whether the first value of a column is the name of a sound file."""
    first = column[0].as_py() if len(column) else None
    return isinstance(first, str) and is_sound(first.strip())


def _absolute(source: str, paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Paths of an index made absolute from its own folder; empty ones stay empty."""
    far = remote.is_url(source)
    folder = source.rpartition("/")[0] if far else os.path.dirname(os.path.abspath(source))
    paths = pc.utf8_trim_whitespace(paths)
    if _any(pc.starts_with(paths, "~/"), pc.match_substring(paths, ":"), pc.match_substring(paths, "\\")):
        foreign = pc.match_substring_regex(paths, r"^(~/|[A-Za-z][A-Za-z0-9+.-]*:)|\\")
        rows = zip(paths.to_pylist(), foreign.to_pylist(), strict=True)
        meant = [_meant(source, folder, path) if odd else path for path, odd in rows]
        paths = pa.chunked_array([pa.array(meant, pa.string())])
    urls = pc.match_substring_regex(paths, r"^[A-Za-z][A-Za-z0-9+.-]+://")
    relative = pc.invert(pc.or_(pc.or_(pc.starts_with(paths, os.sep), pc.equal(paths, "")), urls))
    if _any(relative):
        paths = pc.if_else(relative, pc.binary_join_element_wise(folder, paths, "/"), paths)
    if not far and _any(pc.match_substring(paths, "//"), pc.match_substring(paths, "/./")):
        paths = pc.if_else(urls, paths, pc.replace_substring_regex(paths, _NO_STEP, "/"))
    return paths


def _any(*tests: pa.ChunkedArray) -> bool:
    return any(pc.any(test).as_py() for test in tests)


def _meant(source: str, folder: str, path: str) -> str:
    """The path for one in another form: a file URL, `~`, or backslashes."""
    url = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", path)
    if url and url[1].lower() == "file":
        path = unquote(urlsplit(path).path)
    elif path.lower().startswith(_FETCHED):
        raise AaspError(f"{source}: {path} is not on this machine; fetch it, and give the path of the file")
    elif remote.is_url(path):
        return path
    if os.path.lexists(os.path.join(folder, os.path.expanduser(path))):
        return os.path.expanduser(path)
    if re.match(r"[A-Za-z]:[\\/]|\\\\", path):
        raise AaspError(f"{source}: {path} is a Windows path; make paths relative to the index's own folder")
    return os.path.expanduser(path).replace("\\", "/")


def shared_folder(paths: Sequence[str] | pa.ChunkedArray) -> str:
    """The common folder of one or more paths, with a trailing slash."""
    ends = pc.min_max(paths).as_py() if isinstance(paths, pa.ChunkedArray) else {"min": min(paths), "max": max(paths)}
    first, last = ends["min"], ends["max"]
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:shared].rpartition("/")[0] + "/" * ("/" in first[:shared])


def _seconds(source: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = pc.utf8_trim_whitespace(values)
        values = pc.if_else(pc.equal(values, ""), None, values)
    try:
        return values.cast(pa.float64())
    except pa.ArrowException as error:
        raise AaspError(f"{source}: column seconds: {error}; give numbers, with a decimal point") from None


def _integers(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers if the conversion is lossless ("007" is not), else the text."""
    try:
        numbers = text.cast(pa.int64())
    except pa.ArrowInvalid:
        return text
    return numbers if numbers.cast(pa.string()).equals(text) else text
