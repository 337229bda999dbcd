"""The hash of a set's content: it changes with the sounds, wherever they are, and is that of earlier runs for files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile

from aasp.audio import remote
from aasp.audio.packed import member_address, place
from aasp.datasets.fingerprint import BYTES, contents
from aasp.datasets.manifest import Manifest
from aasp.datasets.sharding import Settings, shard
from packed import flac, parquet, tar


def of(paths: Sequence[str]) -> str:
    return contents(len(paths), list(paths).__getitem__)


def opened(source: Path | str) -> str:
    manifest, _ = Manifest.open(source)
    return contents(len(manifest), manifest.sound)


@pytest.mark.parametrize("size", [0, 5, BYTES - 1, BYTES, BYTES + 1, 2 * BYTES + 7])
def test_the_hash_of_files_and_of_the_same_bytes_in_a_shard(size: int, tmp_path: Path) -> None:
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "a.wav").write_bytes(content)
    expected = sha256(f"2;{size};".encode() + content[:BYTES] + content[max(0, size - BYTES) :] + b"gone;")
    assert of([str(tmp_path / "a.wav"), str(tmp_path / "none.wav")]) == expected.hexdigest()[:16]
    around = tar(tmp_path / "s.tar", ("0.txt", b"before"), ("1.wav", content), ("2.txt", b"x" * 3 * BYTES))
    address = member_address(str(around), 1536, size, "1.wav")  # after a header, a block, and the next header
    assert of([address, f"{tmp_path}/none.tar#512+5/a.wav"]) == expected.hexdigest()[:16]


def test_files_have_the_hash_of_earlier_versions(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(bytes(range(256)) * (number * 300))
    assert of([f"{tmp_path}/{number}.wav" for number in (0, 1, 2, 7)]) == "be26d74e096b6fa4"


def as_shards(folder: Path, numbers: list[int]) -> Path:
    (folder / "in").mkdir(parents=True)
    for row, number in enumerate(numbers):
        soundfile.write(folder / "in" / f"{row}.wav", np.random.default_rng(number).normal(0, 0.1, 9_000), 16_000)
    manifest, _ = Manifest.open(folder / "in")
    shard(manifest, [], folder / "out", Settings(), workers=1)
    assert opened(folder / "out") == opened(folder / "in")
    return folder / "out"


def as_tar(folder: Path, numbers: list[int]) -> Path:
    folder.mkdir()
    return tar(folder / "s.tar", *((f"{row}.flac", flac(number)) for row, number in enumerate(numbers)))


def as_parquet(folder: Path, numbers: list[int]) -> Path:
    folder.mkdir()
    return parquet(folder / "p.parquet", list(numbers), group=2)


@pytest.mark.parametrize("made", [as_shards, as_tar, as_parquet])
def test_other_sounds_have_another_hash(made: Callable[[Path, list[int]], Path], tmp_path: Path) -> None:
    one, again, other, fewer = (
        opened(made(tmp_path / str(case), numbers))
        for case, numbers in enumerate(([0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 5, 3], [0, 1, 2]))
    )
    assert one == again and len({one, other, fewer}) == 3


def test_a_row_of_a_parquet_file_has_the_hash_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for number in range(5):
        (tmp_path / "files" / f"{number}.flac").write_bytes(flac(number))
    assert opened(parquet(tmp_path / "p.parquet", list(range(5)), group=2)) == opened(tmp_path / "files")
    gone = [f"{tmp_path}/p.parquet#9/x.flac", f"{tmp_path}/q.parquet#0/x.flac"]
    assert of(gone) == sha256(b"2;gone;gone;").hexdigest()[:16]


def test_sounds_in_a_store_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AASP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "fetched", lambda *given: pytest.fail("fetched"))
    store = fsspec.filesystem("memory")
    store.store.clear()
    put: dict[str, dict[str, Any]] = {}
    info = type(store).info
    monkeypatch.setattr(type(store), "info", lambda self, path, **named: info(self, path, **named) | put.get(path, {}))

    def seen(*paths: str) -> str:
        remote.facts.cache_clear()
        return of([f"memory://set/{path}" for path in paths])

    for name in ("a.wav", "s.tar", "p.parquet"):
        store.pipe(f"/set/{name}", b"x" * 5_000)
    every = ("a.wav", "s.tar#512+99/k.wav", "p.parquet#3/k.wav")
    before = [seen(name) for name in every]
    assert before == [seen(name) for name in every] and len(set(before)) == 3
    assert seen("s.tar#512+99/k.wav") != seen("s.tar#1024+99/k.wav")
    for name in ("a.wav", "s.tar", "p.parquet"):
        store.pipe(f"/set/{name}", b"x" * 5_001)
    assert all(seen(name) != was for name, was in zip(every, before, strict=True))
    assert seen("none.wav") == sha256(b"1;gone;").hexdigest()[:16]
    # The hash of a store counts, if it has one, and not the time of writing.
    put["/set/a.wav"] = {"ETag": "1", "LastModified": "yesterday"}
    one = seen("a.wav")
    put["/set/a.wav"] = {"ETag": "1", "LastModified": "today"}
    assert seen("a.wav") == one
    put["/set/a.wav"] = {"ETag": "2", "LastModified": "today"}
    assert seen("a.wav") != one
    # An address with a checksum says what its bytes are.
    assert seen("gone.tar#512+99+0000000a/k.wav") != seen("gone.tar#512+99+0000000b/k.wav")


def test_a_shard_that_was_written_again_has_another_hash(tmp_path: Path) -> None:
    folder = as_shards(tmp_path, [0, 1, 2])
    before = opened(folder)
    found = place(Manifest.open(folder)[0].paths[1])
    assert found is not None and found.size is not None
    with open(found.archive, "r+b") as file:
        file.seek(found.begin + found.size - 2)
        last = file.read(2)
        file.seek(found.begin + found.size - 2)
        file.write(last[::-1] if last[0] != last[1] else b"ab")
    assert opened(folder) != before
