"""The samples of tar shards in WebDataset's layout: consecutive members with the same name up to its first dot.

One member of each sample is its sound; .json, .cls and .txt members become columns. Members are addressed by their
offset in the file and never written to a path. Declared sizes are compared with the file's before anything is read.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from aasp.audio import remote_cache
from aasp.audio.error import AudioError
from aasp.audio.formats import EXTENSIONS
from aasp.audio.packed import member_address
from aasp.datasets.index import RESERVED, Skipped, is_hidden, is_sound
from aasp.errors import AaspError

MAX_NOTE_BYTES = 2**20
"""Bytes of a .json, .cls or .txt member, and of a header of the tar file itself."""
MAX_COLUMNS = 1_000

_SAMPLE = re.compile(r"(?P<key>(?:.*/)?[^./][^./]*)\.(?P<extension>[^/]*)", re.DOTALL)
_NOTES = ("json", "cls", "txt")
_PADDING = 10_240  # after the end of an archive: tar pads its last record


class Member(NamedTuple):
    """A regular file in a shard."""

    name: str
    begin: int
    size: int


class _Bounded:
    """A file that limits a single read to MAX_NOTE_BYTES bytes, whatever size a header declares."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_NOTE_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


def samples(shards: Sequence[str], skipped: list[Skipped]) -> tuple[pa.Table, list[str]]:
    """All samples of shards, in order: their addresses in the column `path`, and their metadata as columns.

    Args:
        shards: tar files, or their URLs.
        skipped: collects damaged shards, and samples that can't be used.

    Returns:
        The table, and notes, one line each.

    Raises:
        AaspError: the samples have more than MAX_COLUMNS columns, or a store can't be reached.
    """
    paths: list[str] = []
    columns: dict[str, list[Any]] = {}
    silent = 0
    for shard in shards:
        try:
            with remote_cache.local(shard) as path, open(path, "rb") as file:
                for group in _groups(_members(file, shard, skipped)):
                    address = _sound(group, shard, skipped)
                    silent += address is None
                    noted = _noted(group, file, shard, skipped) if address else None
                    if address and noted is not None:
                        for name in noted:
                            columns.setdefault(name, [None] * len(paths))
                        if len(columns) > MAX_COLUMNS:
                            raise AaspError(f"{shard}: more than {MAX_COLUMNS:,} columns in its .json; leave some out")
                        paths.append(address)
                        for name, values in columns.items():
                            values.append(noted.get(name))
        except AudioError as error:
            skipped.append(Skipped(error.path, error.reason))
        except OSError as error:
            skipped.append(Skipped(shard, f"unreadable ({error.strerror or error})"))
    arrays = {name: _column(values) for name, values in columns.items()}
    notes = [f"samples without a usable sound: {silent:,}"] if silent else []
    return pa.table({"path": pa.array(paths, pa.string())} | arrays), notes


def _members(file: BinaryIO, shard: str, skipped: list[Skipped]) -> Iterator[Member]:
    """Regular files of a shard, up to any damage."""
    size = os.fstat(file.fileno()).st_size
    end = 0
    try:
        with tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                if member.size < 0 or tar.offset <= end or member.offset_data + max(0, member.size) > size:
                    raise tarfile.ReadError(f"truncated, or a wrong size of {member.name!r}")
                end = tar.offset
                tar.members.clear()  # type: ignore[attr-defined]
                if member.isreg() and not member.issparse():
                    yield Member(member.name, member.offset_data, member.size)
                elif is_sound(member.name):
                    address = member_address(shard, member.offset_data, 0, member.name)
                    skipped.append(Skipped(address, "a link or a sparse file, which is not followed"))
        file.seek(end)
        if any(file.read(512)):
            raise tarfile.ReadError(f"no header at byte {end:,}")
        if size - end > 2 * _PADDING:
            raise tarfile.ReadError(f"{size - end:,} bytes follow its end")
    except (tarfile.TarError, RecursionError, ValueError, OverflowError) as error:
        note = " ".join(str(error).split())
        skipped.append(Skipped(shard, f"truncated or damaged tar, read up to the damage ({note})"))


def _groups(members: Iterator[Member]) -> Iterator[list[Member]]:
    """The members of each sample."""
    key: str | None = None
    group: list[Member] = []
    for member in members:
        match = _SAMPLE.fullmatch(member.name)
        if match is None or is_hidden(os.path.basename(member.name)):
            continue
        if match["key"] != key and group:
            yield group
            group = []
        key = match["key"]
        group.append(member)
    if group:
        yield group


def _extension(member: Member) -> str:
    return os.path.splitext(member.name)[1].lower()


def _sound(group: list[Member], shard: str, skipped: list[Skipped]) -> str | None:
    """The address of a sample's one sound; else None, and listed in `skipped` unless it has no sound at all."""
    sounds = [member for member in group if is_sound(member.name)]
    if not sounds:
        return None
    first = sounds[0]
    address = member_address(shard, first.begin, first.size, first.name)
    if len(sounds) > 1:
        names = ", ".join(os.path.basename(member.name) for member in sounds)
        skipped.append(Skipped(address, f"a sample of several sounds ({names}); it is unclear which is meant"))
        return None
    if _extension(first) not in EXTENSIONS:
        skipped.append(Skipped(address, f"format not supported ({_extension(first)}); convert it to a supported one"))
        return None
    return address


def _noted(group: list[Member], file: BinaryIO, shard: str, skipped: list[Skipped]) -> dict[str, Any] | None:
    """The metadata of a sample; None, and listed in `skipped`, if it can't be read."""
    found: dict[str, Any] = {}
    for member in group:
        kind = _extension(member).removeprefix(".")
        if kind not in _NOTES:
            continue
        try:
            if member.size > MAX_NOTE_BYTES:
                raise ValueError(f"{member.size:,} bytes, more than {MAX_NOTE_BYTES:,}")
            file.seek(member.begin)
            text = file.read(member.size).decode()
            found |= _of_json(json.loads(text)) if kind == "json" else {kind: _of_text(text.strip(), kind)}
        except (ValueError, RecursionError) as error:
            note = " ".join(str(error).split())
            address = member_address(shard, member.begin, member.size, member.name)
            skipped.append(Skipped(address, f"not readable as {kind.upper()} ({note})"))
            return None
    return found


def _of_json(document: Any) -> dict[str, Any]:
    """The values of a JSON object that fit in a table: numbers, strings, and lists of strings as `a;b`."""
    if not isinstance(document, dict):
        raise ValueError("not an object")
    found: dict[str, Any] = {}
    for name, value in document.items():
        name.encode()  # lone surrogates, which no table can hold, raise a ValueError
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            value = ";".join(value)
        if isinstance(value, str):
            value.encode()
        if value is None or isinstance(value, bool | int | float | str):
            found[f"own_{name}" if name in RESERVED else name] = value
    return found


def _of_text(text: str, kind: str) -> str | int:
    return int(text) if kind == "cls" and re.fullmatch(r"-?\d{1,18}", text) else text


def _column(values: list[Any]) -> pa.Array:
    """Values as a column of one type; as text if they have several types."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
