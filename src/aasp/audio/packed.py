"""Sounds inside larger files (members of tar shards, rows of Parquet files) and sounds in object stores.

An address gives the position of the bytes, so that any of millions can be read directly. It can replace any path:

    data/shard-000012.tar#1024+20480/k17.flac            the 20,480 bytes of a shard from byte 1,024 on
    data/shard-000012.tar#1024+20480+0a1b2c3d/k17.flac   the same, with a known CRC-32
    data/train-00000.parquet#17/dog.wav                  row 17 of a Parquet file
    s3://bucket/dog.wav                                  an object; shards and Parquet files may be objects, too

The part after the last slash is a name for people, and its ending gives the sound's encoding; no file of that name is
ever created.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from aasp.audio import parquet_rows, remote, remote_cache
from aasp.audio.error import AudioError

_ADDRESS = re.compile(
    r"(?P<tar>.+?\.tar)#(?P<begin>\d{1,18})\+(?P<size>\d{1,18})(?:\+(?P<crc>[0-9a-f]{8}))?/(?P<member>.+)"
    r"|(?P<parquet>.+?\.parquet)#(?P<row>\d{1,12})/(?P<name>.+)",
    re.DOTALL | re.IGNORECASE,
)
_MAX_NAME = 200
_CHUNK = 1 << 20


class Place(NamedTuple):
    """The position of a sound's bytes.

    Attributes:
        archive: the tar or Parquet file.
        begin, size: byte range in a tar file; 0 and None for a Parquet file.
        crc: CRC-32 of the bytes, if known.
        row: row of a Parquet file.
        name: a name for people.
    """

    archive: str
    begin: int
    size: int | None
    crc: int | None
    row: int | None
    name: str


def place(path: str) -> Place | None:
    """A parsed address; None if it is the path of a file, or an object's URL."""
    match = _ADDRESS.fullmatch(path) if "#" in path else None
    if match is None:
        return None
    if match["tar"]:
        crc = int(match["crc"], 16) if match["crc"] else None
        return Place(match["tar"], int(match["begin"]), int(match["size"]), crc, None, match["member"])
    return Place(match["parquet"], 0, None, None, int(match["row"]), match["name"])


def file_of(path: str) -> str:
    """The file that contains a sound, or the sound's own file."""
    found = place(path)
    return path if found is None else found.archive


def is_file(path: str) -> bool:
    """Whether a sound is a local file of its own."""
    return not remote.is_url(path) and place(path) is None


def member_address(archive: str, begin: int, size: int, name: str, crc: int | None = None) -> str:
    """The address of a part of a tar file."""
    checked = "" if crc is None else f"+{crc:08x}"
    return f"{archive}#{begin}+{size}{checked}/{_shown(name)}"


def row_address(archive: str, row: int, name: str) -> str:
    """The address of a row of a Parquet file."""
    return f"{archive}#{row}/{_shown(name)}"


@contextmanager
def on_disk(path: str) -> Iterator[str]:
    """A local file with the sound's bytes, valid while the context lasts: the path itself if it is a file.

    Raises:
        AudioError: the sound is not at its address, or is damaged; the error names the address, not our file.
        AaspError: the store can't be reached.
    """
    found = place(path)
    if found is None and not remote.is_url(path):
        yield path
        return
    try:
        with _file(path, found) as file:
            yield file
    except AudioError as error:
        if error.path == path:
            raise
        text = error.reason.replace(error.path, path)  # messages must not name our temporary file
        raise AudioError(path, text, "repair or replace it there, or leave it out") from None


@contextmanager
def _file(path: str, found: Place | None) -> Iterator[str]:
    ending = _ending(path if found is None else found.name)
    if found is None:
        with remote_cache.kept(path, ending=ending) as file:
            yield file
    elif found.row is None and remote.is_url(found.archive):
        assert found.size is not None
        with remote_cache.kept(found.archive, found.begin, found.size, found.crc, ending) as file:
            yield file
    else:
        with tempfile.NamedTemporaryFile(prefix="aasp-", suffix=ending) as beside:
            if found.row is None:
                _copy_member(path, found, beside)  # type: ignore[arg-type]
            else:
                beside.write(parquet_rows.read(found.archive, found.row, path))
            beside.flush()
            yield beside.name


def _copy_member(path: str, found: Place, out: BinaryIO) -> None:
    """Copy a member's bytes; its declared size is checked against the shard's before any is read."""
    assert found.size is not None
    try:
        if not stat.S_ISREG(os.stat(found.archive).st_mode):
            raise AudioError(path, "its shard is not a file", "check the path")
        with open(found.archive, "rb") as tar:
            held = os.fstat(tar.fileno()).st_size
            if found.begin + found.size > held:
                raise AudioError(path, f"truncated: its shard ends after {held:,} bytes", "fetch the shard again")
            tar.seek(found.begin)
            left, crc = found.size, 0
            while left and (chunk := tar.read(min(left, _CHUNK))):
                crc = zlib.crc32(chunk, crc)
                left -= len(chunk)
                out.write(chunk)
    except FileNotFoundError:
        raise AudioError(path, "no such file as its shard", "check the path") from None
    except OSError as error:
        raise AudioError(path, f"its shard is unreadable ({error.strerror})", "check its permissions") from None
    if found.crc is not None and crc != found.crc:
        raise AudioError(path, "damaged: its bytes are not those that the index counts", "fetch the shard again")


def _ending(name: str) -> str:
    """A name's ending, if it is a valid file extension."""
    ending = os.path.splitext(name)[1]
    return ending if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", ending) else ""


def _shown(name: str) -> str:
    """A name from an untrusted file, made safe for a line of text."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else "_" for letter in name)
    return plain[-_MAX_NAME:].lstrip("/") or "_"
