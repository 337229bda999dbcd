"""Writer of a tar shard in WebDataset's layout: the same bytes for the same samples, and the address of each."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from aasp.audio.packed import member_address

BLOCK = 512
_RECORD = 10_240  # a tar file's length is a multiple of it


class Sample(NamedTuple):
    """A sound as it is stored.

    Attributes:
        content: the bytes of its file.
        extension: of the member, with its dot.
        noted: content of its .json member.
    """

    content: bytes
    extension: str
    noted: dict[str, Any]


class _Hashed:
    """A file that counts and hashes the bytes written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.bytes, self.digest = file, 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.bytes


class ShardWriter:
    """A shard that is being written.

    Args:
        name: its final name; the addresses of its samples begin with it.
        path: where it is written.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.samples = name, 0
        self._file = path.open("wb")
        self._hashed = _Hashed(self._file)
        self._tar = tarfile.TarFile(fileobj=self._hashed, mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore[arg-type]

    def holds(self, sample: Sample, most: int) -> bool:
        """Whether a sample can be added without the shard growing beyond `most` bytes; the first one always can."""
        members = len(sample.content), len(_json(sample))
        grown = sum(BLOCK + -(-size // BLOCK) * BLOCK for size in members)
        return not self.samples or self._hashed.bytes + grown + _RECORD <= most

    def add(self, key: str, sample: Sample) -> str:
        """Write a sample's members; return the address of its sound."""
        begin = self._hashed.bytes + BLOCK
        name = f"{key}{sample.extension}"
        self._member(name, sample.content)
        self._member(f"{key}.json", _json(sample))
        self.samples += 1
        return member_address(self.name, begin, len(sample.content), name, zlib.crc32(sample.content))

    def close(self) -> dict[str, Any]:
        """Close the file; return its name, samples, bytes and SHA-256."""
        self._tar.close()
        self._file.close()
        counted = {"samples": self.samples, "bytes": self._hashed.bytes}
        return {"name": self.name, **counted, "sha256": self._hashed.digest.hexdigest()}

    def _member(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o644
        self._tar.addfile(info, io.BytesIO(content))


def _json(sample: Sample) -> bytes:
    return json.dumps(sample.noted, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
