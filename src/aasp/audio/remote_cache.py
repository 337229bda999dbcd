"""A cache of bytes of remote objects on this machine: a folder of limited size, least recently used first out.

A piece is an object or a range of it. Its file is named by the SHA-256 of URL, version and range: no text from a store
becomes a path. Any number of processes may share a folder: pieces appear complete, and one in use has a second hard
link, which stays when another process removes the first. The folder may be deleted when nothing uses it.

$AASP_CACHE sets its location, $AASP_CACHE_GB its maximum size (20 by default).
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aasp.audio import remote
from aasp.audio.error import AudioError
from aasp.errors import AaspError
from aasp.files import cache_folder, locked, sync

DEFAULT_GB = 20.0
_CHUNK = 32 * 2**20  # fetched at once
_SWEPT = 1 / 16  # of the limit: a process checks the folder each time it has written this much

_lock = threading.Lock()
_written: dict[Path, int] = {}  # by this process since its last check; no entry: it has not checked yet


@contextmanager
def kept(url: str, begin: int = 0, size: int | None = None, crc: int | None = None, ending: str = "") -> Iterator[str]:
    """A file with the bytes of an object, or a range of them, valid while the context lasts.

    Args:
        url: the object.
        begin: the first byte.
        size: number of bytes; to the end if omitted.
        crc: their CRC-32, if known; checked each time.
        ending: the ending of the file's name.

    Raises:
        AudioError: there is no such object, it is too short, or its bytes differ.
        AaspError: its store can't be reached.
    """
    facts = remote.facts(url)
    size = facts.size - begin if size is None else size
    if begin + size > facts.size:
        raise AudioError(url, f"truncated: it has {facts.size:,} bytes, not {begin + size:,}", "upload it again")
    folder = cache_folder() / "objects"
    name = hashlib.sha256("\0".join([url, facts.version, str(begin), str(size)]).encode()).hexdigest()
    piece = folder / name[:2] / name
    use = folder / "in-use" / f"{os.getpid()}-{uuid.uuid4().hex}{ending}"
    use.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not _linked(piece, use, size) or not _right(use, crc):
            use.unlink(missing_ok=True)
            _make_room(folder, size)
            _fetch(url, begin, size, crc, use)
            piece.parent.mkdir(exist_ok=True)
            piece.unlink(missing_ok=True)  # a damaged one
            with suppress(FileExistsError):  # another process was faster
                os.link(use, piece)
        os.utime(use)
        yield str(use)
    finally:
        use.unlink(missing_ok=True)


@contextmanager
def local(path: str, ending: str = "") -> Iterator[str]:
    """A local file as it is, or an object as a local file while the context lasts.

    Raises:
        AudioError, AaspError: as `kept` does.
    """
    if not remote.is_url(path):
        yield path
        return
    with kept(path, ending=ending) as file:
        yield file


class Ranges(io.RawIOBase):
    """An object as a seekable file; each read is cached separately."""

    def __init__(self, url: str) -> None:
        self._url, self._place, self._size = url, 0, remote.facts(url).size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + {0: 0, 1: self._place, 2: self._size}[whence]
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._place)
        count = left if size is None or size < 0 else min(size, left)
        if not count:
            return b""
        with kept(self._url, self._place, count) as path, open(path, "rb") as file:
            found = file.read()
        self._place += len(found)
        return found


def limit_bytes() -> int:
    """Maximum size of the folder.

    Raises:
        AaspError: $AASP_CACHE_GB is not a positive number.
    """
    text = os.environ.get("AASP_CACHE_GB", str(DEFAULT_GB))
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return int(float(text) * 1e9)
    raise AaspError(f"$AASP_CACHE_GB is {text!r}; give gigabytes, such as 20")


def _linked(piece: Path, use: Path, size: int) -> bool:
    """Make the second link to a piece, if it is there and complete."""
    try:
        os.link(piece, use)
    except FileNotFoundError:
        return False
    return use.stat().st_size == size


def _right(path: Path, crc: int | None) -> bool:
    if crc is None:
        return True
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found = zlib.crc32(chunk, found)
    return found == crc


def _fetch(url: str, begin: int, size: int, crc: int | None, out: Path) -> None:
    """Write a piece to a name that only this process uses."""
    found = 0
    try:
        with out.open("wb") as file:
            for first in range(begin, begin + size, _CHUNK):
                chunk = remote.fetched(url, first, min(first + _CHUNK, begin + size))
                found = zlib.crc32(chunk, found)
                file.write(chunk)
        sync(out)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(out.parent)) from None
    if crc is not None and found != crc:
        raise AudioError(url, "damaged: its bytes are not those that the index counts", "upload it again")


def _make_room(folder: Path, size: int) -> None:
    """Count the bytes written; check the folder now and then, and evict the least recently used pieces."""
    limit = limit_bytes()
    with _lock:
        _written[folder] = _written.get(folder, limit) + size
        if _written[folder] < _SWEPT * limit:
            return
        _written[folder] = 0
    with locked(folder / "lock") as ours:
        if ours:  # otherwise another process is doing it
            _sweep(folder, max(0, limit - size))


def _sweep(folder: Path, limit: int) -> None:
    found = []
    for group in os.scandir(folder):
        if not group.is_dir(follow_symlinks=False):
            continue
        for entry in os.scandir(group.path):
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if group.name == "in-use":
                    if not _lives(entry.name):
                        os.unlink(entry.path)
                else:
                    found.append((status.st_mtime_ns, status.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        total -= size


def _lives(name: str) -> bool:
    """Whether the process that made a second link still runs."""
    number = name.partition("-")[0]
    try:
        os.kill(int(number), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
