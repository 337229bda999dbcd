"""Files in object stores, through fsspec: size, version and byte ranges, with retries where they may help.

The installed packages determine which stores are available: s3fs for s3://, gcsfs for gs://. Credentials, endpoints
and time limits are those of these packages and of fsspec's configuration (FSSPEC_S3_ENDPOINT_URL …).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from aasp.audio.error import AudioError
from aasp.errors import AaspError

WAITS = (0.5, 2.0, 8.0)
"""Seconds before each retry."""
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_PACKAGES |= {"hf": "huggingface_hub", "memory": "fsspec"}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LOST_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")  # pathlib's form of a URL
_VERSIONED = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "updated", "mtime", "created")
_HASHES = ("md5Hash", "ETag", "etag")
_NO_ACCESS = re.compile(r"Credential|Token|Forbidden|AccessDenied|Unauthorized|AuthenticationFailed")

Got = TypeVar("Got")


class Facts(NamedTuple):
    """An object as its store describes it.

    Attributes:
        size: bytes.
        version: changes with its content, and in most stores when it is written again.
        hash: the store's hash of its content; "" if it gives none.
    """

    size: int
    version: str
    hash: str = ""


def is_url(path: str) -> bool:
    return "://" in path and _URL.match(path) is not None


def located(path: str | os.PathLike[str]) -> str:
    """A path or URL as typed: a file:// URL becomes a path, and a URL that passed through `pathlib` is restored."""
    text = os.fspath(path)
    if not os.path.exists(text):
        text = _LOST_SLASH.sub(r"\1://", text, count=1) if _LOST_SLASH.match(text) else text
    return unquote(urlsplit(text).path) if text.lower().startswith("file://") else text


@lru_cache(maxsize=65_536)
def facts(url: str) -> Facts:
    """Size, version and hash of an object, requested once per process.

    Raises:
        AudioError: there is no such object.
        AaspError: its store can't be reached.
    """
    fs, inside = _store(url)
    info = _tried(url, lambda: fs.info(inside))
    if info.get("type") == "directory" or not isinstance(info.get("size"), int):
        raise AudioError(url, "is not a file", "name one in it")
    note = "\0".join(f"{name} {info[name]}" for name in _VERSIONED if name in info)
    version = hashlib.sha256(f"{info['size']}\0{note}".encode()).hexdigest()
    return Facts(info["size"], version, next((str(info[name]) for name in _HASHES if info.get(name)), ""))


def fetched(url: str, begin: int, end: int) -> bytes:
    """Bytes [begin, end) of an object.

    Raises:
        AudioError: there is no such object, or it is shorter.
        AaspError: its store can't be reached.
    """
    fs, inside = _store(url)

    def whole() -> bytes:
        found = fs.cat_file(inside, start=begin, end=end) if end > begin else b""
        if len(found) != end - begin:
            raise EOFError(f"truncated read: {len(found):,} of {end - begin:,} bytes")
        return found

    return _tried(url, whole)


def listed(url: str) -> list[str]:
    """The URLs of all objects below a URL, sorted.

    Raises:
        AaspError: there is none, or the store can't be reached.
    """
    fs, inside = _store(url)
    found = _tried(url, lambda: fs.glob(inside) if any(letter in inside for letter in "*?[") else fs.find(inside))
    protocol = url.partition("://")[0]
    return sorted(f"{protocol}://{name.lstrip('/')}" for name in found)


def exists(url: str) -> bool:
    """Whether there is an object at that URL."""
    try:
        facts(url)
    except AudioError:
        return False
    return True


@lru_cache(maxsize=64)
def _filesystem(protocol: str) -> Any:
    import fsspec
    from fsspec.registry import known_implementations

    # fsspec also opens web servers, archives and other machines' disks. What a program registered itself is read.
    if protocol not in _PACKAGES and protocol in known_implementations:
        raise AaspError(f"{protocol}:// is not read; fetch the files, and give their path here")
    try:
        return fsspec.filesystem(protocol)
    except (ImportError, ValueError):
        package = _PACKAGES.get(protocol)
        if package is None:
            raise AaspError(f"{protocol}:// is not read; fetch the files, and give their path here") from None
        raise AaspError(f"no package for {protocol}:// is installed; install it with `pip install {package}`") from None


def _store(url: str) -> tuple[Any, str]:
    protocol, _, inside = url.partition("://")
    fs = _filesystem(protocol.lower())
    return fs, fs._strip_protocol(url) if inside else inside


def _tried(url: str, request: Callable[[], Got]) -> Got:
    """The result of a request to a store, retried after each of WAITS if the failure may be transient."""
    for wait in (*WAITS, None):
        try:
            return request()
        except FileNotFoundError:
            raise AudioError(url, "no such object in its store", "check its name") from None
        except AaspError:
            raise
        except Exception as error:  # each store has its own exceptions
            note = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
            if isinstance(error, PermissionError) or _NO_ACCESS.search(note):
                raise AaspError(f"{url}: no access ({note}); check the store's credentials") from None
            if wait is None:
                tries = f"after {len(WAITS) + 1} tries"
                raise AaspError(
                    f"{url}: can't be read {tries} ({note}); check the network, then run the command again"
                ) from None
            time.sleep(wait)
    raise AssertionError
