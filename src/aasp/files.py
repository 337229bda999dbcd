"""Output files that are complete or absent: written to a temporary file, synced, renamed; no silent overwriting."""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from aasp.errors import AaspError

_TRIES, _PAUSE = 25, 0.02  # for a lock that may be held by a short `is_locked`; the pause in seconds
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_LEFT = re.compile(r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})\.(?P<process>\d+)\.(?P<end>tmp|old)(?:\.[^.]+)?")


def cache_folder() -> Path:
    """$AASP_CACHE, or aasp in the user's cache folder ($XDG_CACHE_HOME, ~/.cache)."""
    named = os.environ.get("AASP_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aasp"


def check_output(path: str | Path, *, overwrite: bool = False) -> Path:
    """Check, before the work starts, that its result can be written.

    Args:
        path: the file to write; missing parent folders are allowed, `atomic_write` creates them.
        overwrite: whether an existing file may be replaced.

    Returns:
        `path` as a `Path`.

    Raises:
        AaspError: the file exists and may not be replaced, is a folder, or its location is not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise AaspError(f"output is a folder: {path}; name a file in it")
    if path.exists() and not overwrite:
        raise AaspError(f"output exists: {path}; choose another name or add --overwrite")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise AaspError(f"output lies below a file: {path}; {parent} is not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise AaspError(f"output folder is read-only: {parent}; choose another or change its permissions")
    return path


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it is renamed to `path`, on failure it is removed.

    The yielded path has the suffix of `path`, for writers that choose a format by it. A reader sees the old file or the
    new one, never a partial one, also after a crash: the content is synced before the rename and the folder after it.

    Raises:
        OSError: the disk is full or the folder can't be written; `path` is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = hidden(path.with_suffix(""), "tmp", path.suffix)
    try:
        yield beside
        sync(beside)
        os.replace(beside, path)
        sync(path.parent)
    except Exception as error:
        text = system_error(error, path, beside)
        if text is None:
            raise
        raise text from error
    finally:
        beside.unlink(missing_ok=True)


def hidden(path: Path, end: str, suffix: str = "") -> Path:
    """A hidden name beside `path`, unique to this process, for its replacement ("tmp") or its predecessor ("old").

    Files that killed processes left in that folder under such names are removed first, once per process.
    """
    _clear_once(path.parent.absolute())
    return path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.{end}{suffix}")


def clear_left(folder: Path, *, held: bool = False) -> None:
    """Remove what killed processes left in `folder` under names of `hidden`; a missing original is moved back.

    Args:
        folder: it may not exist.
        held: whether no other process writes there. If not, only files of this machine's dead processes are removed.
    """
    with suppress(OSError):  # cleaning up is optional, and a folder may be gone or read-only
        for path in sorted(folder.iterdir()):
            found = _LEFT.fullmatch(path.name)
            if found and (held or (found["host"] == _HOST and not _alive(int(found["process"])))):
                whole = path.with_name(found["name"])
                if found["end"] == "old" and not whole.exists():
                    path.rename(whole)
                elif path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


@functools.cache
def _clear_once(folder: Path) -> None:
    clear_left(folder)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file; yields whether we got it. The system releases the lock when this process ends.

    Args:
        path: the file, in a folder that exists.
        wait: wait until the current holder releases it; without, half a second, for `is_locked` in other processes.

    Raises:
        OSError: the folder can't be written, or its file system has no locks.
    """
    with path.open("w") as file:
        try:
            ours = _take(file, wait)
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None
        yield ours


def _take(file: IO[str], wait: bool) -> bool:
    if wait:
        fcntl.flock(file, fcntl.LOCK_EX)
        return True
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_PAUSE)
    return False


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock file; False if the file does not exist or can't be read."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def system_error(error: Exception, path: Path, beside: Path | None = None) -> OSError | None:
    """A failure to write `path` as the system reported it; None if it is another kind of error.

    Writers in other languages (safetensors, pyarrow) wrap it in exceptions of their own: "... (os error 28)".

    Args:
        error: what was raised.
        path: the intended file.
        beside: the temporary file, or its folder, that was written to instead.
    """
    if isinstance(error, OSError) and error.errno:
        there = error.filename is None or (beside is not None and Path(error.filename).is_relative_to(beside))
        number = error.errno if there else None
    else:
        found = re.search(r"(?:os error|errno) (\d+)", str(error))
        number = int(found[1]) if found else None
    return OSError(number, os.strerror(number), str(path)) if number else None


def sync(path: Path) -> None:
    """Make a file's content, or a folder's list of names, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
