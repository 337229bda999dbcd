"""Object stores through fsspec: its memory file system, the cache, failures, and a real S3-compatible server."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from aasp.audio import remote, remote_cache
from aasp.audio.io import AudioError, read
from aasp.audio.packed import member_address
from aasp.cli.main import main
from aasp.datasets.manifest import Manifest, scan
from aasp.datasets.sharding import Settings, shard
from aasp.errors import AaspError
from packed import RATE, flac, parquet, tar, wave_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AASP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(remote_cache, "_written", {})
    remote.facts.cache_clear()
    remote._filesystem.cache_clear()
    return tmp_path / "cache" / "objects"


@pytest.fixture
def store() -> Iterator[MemoryFileSystem]:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


def held(cache: Path) -> int:
    return sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())


def fill(put: Any, tmp_path: Path) -> None:
    """A store of loose files, a manifest, shards with their index, and Parquet, by `put(name, bytes)`."""
    folder = tmp_path / "local"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.flac").write_bytes(flac(number))
        put(f"loose/{number}.flac", flac(number))
    put("loose.csv", b"path,label\nloose/0.flac,a\nloose/2.flac,c\n")
    shard(Manifest.open(folder)[0], [], tmp_path / "made", Settings(), workers=1)
    tar(tmp_path / "t.tar", ("k5.flac", flac(5)), ("k5.cls", b"3"))
    parquet(tmp_path / "p.parquet", [6, 7], group=1)
    put("others/t.tar", (tmp_path / "t.tar").read_bytes())
    put("rows/p.parquet", (tmp_path / "p.parquet").read_bytes())
    for file in (tmp_path / "made").iterdir():
        put(f"shards/{file.name}", file.read_bytes())


CASES = {
    "loose.csv": [0, 2],
    "loose": [0, 1, 2],
    "loose/": [0, 1, 2],
    "shards": [0, 1, 2],
    "shards/index.parquet": [0, 1, 2],
    "shards/*.tar": [0, 1, 2],
    "others/t.tar": [5],
    "rows": [6, 7],
    "rows/*.parquet": [6, 7],
}


def check_sets(base: str) -> None:
    for name, numbers in CASES.items():
        for source in (f"{base}/{name}", Path(f"{base}/{name}")):
            manifest, skipped = Manifest.open(source)
            assert skipped == [] and manifest.seconds.tolist() == [0.25] * len(numbers), name
        for path, number in zip(manifest.paths, numbers, strict=True):
            assert path.startswith(base)
            wave = read(path, rate=RATE)
            np.testing.assert_array_equal(np.round(wave * 32768), wave_of(number))
            np.testing.assert_array_equal(read(path, rate=RATE, start=0.1, seconds=0.02), wave[800:960])


def test_sets_in_memory(store: MemoryFileSystem, tmp_path: Path) -> None:
    fill(lambda name, content: store.pipe(f"/set/{name}", content), tmp_path)
    check_sets("memory://set")


def test_file_urls_are_paths(tmp_path: Path) -> None:
    tar(tmp_path / "a b.tar", ("k5.flac", flac(5)))
    manifest, _ = Manifest.open(f"file://{tmp_path}/a%20b.tar")
    assert manifest.paths[0].startswith(f"{tmp_path}/a b.tar#512+")


def test_a_cached_file_is_not_fetched_again(store: MemoryFileSystem, cache: Path, monkeypatch: Any) -> None:
    store.pipe("/s/a.flac", flac(1))
    requests: list[str] = []
    cat = MemoryFileSystem.cat_file
    monkeypatch.setattr(
        MemoryFileSystem, "cat_file", lambda self, path, **at: requests.append(path) or cat(self, path, **at)
    )
    for _ in range(3):
        read("memory://s/a.flac", rate=RATE)
    assert len(requests) == 1 and held(cache) == len(flac(1))
    remote.facts.cache_clear()
    store.pipe("/s/a.flac", flac(2))
    np.testing.assert_array_equal(np.round(read("memory://s/a.flac", rate=RATE) * 32768), wave_of(2))


def test_the_cache_is_limited_and_drops_the_least_recently_used(
    store: MemoryFileSystem, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, limit = 1000, 10_000
    monkeypatch.setenv("AASP_CACHE_GB", str(limit / 1e9))
    store.pipe("/s/often", b"o" * size)
    for number in range(40):
        store.pipe(f"/s/{number}", bytes([number]) * size)
        for name in (str(number), "often"):
            with remote_cache.kept(f"memory://s/{name}") as file:
                assert len(Path(file).read_bytes()) == size
            time.sleep(0.002)  # times of use differ
        assert held(cache) <= limit
    store.rm("/s/often")
    store.rm("/s/39")
    with remote_cache.kept("memory://s/often"), remote_cache.kept("memory://s/39"):
        pass  # both are still here
    store.rm("/s/0")
    with pytest.raises(AudioError, match="no such object"), remote_cache.kept("memory://s/0"):
        pass
    for wrong in ("much", "-1", "inf"):
        monkeypatch.setenv("AASP_CACHE_GB", wrong)
        with pytest.raises(AaspError, match=r"\$AASP_CACHE_GB is .*; give gigabytes"):
            remote_cache.limit_bytes()


def test_no_name_leaves_the_cache(store: MemoryFileSystem, cache: Path, tmp_path: Path) -> None:
    for name in ("../../../../evil.flac", "..%2f..%2fevil", "a/../../b\\c", "x" * 5000):
        store.store[f"/s/{name}"] = type(store.open("/t", "wb"))(store, f"/s/{name}", data=b"content")
        with remote_cache.kept(f"memory://s/{name}", ending="") as file:
            assert Path(file).resolve().is_relative_to(cache)
    found = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(cache)]
    assert found == []
    names = [path.name for path in cache.rglob("*") if path.is_file() and path.name != "lock"]
    assert all(len(name) == 64 and set(name) <= set("0123456789abcdef") for name in names) and names


def test_a_checksum_is_compared_and_a_damaged_piece_fetched_again(store: MemoryFileSystem, cache: Path) -> None:
    store.pipe("/s/a.tar", b"\0" * 512 + flac(1))
    good = member_address("memory://s/a.tar", 512, len(flac(1)), "a.flac", zlib.crc32(flac(1)))
    whole = read(good, rate=RATE)
    (piece,) = [path for path in cache.rglob("*") if len(path.name) == 64]
    content = bytearray(piece.read_bytes())
    content[50] ^= 255
    piece.write_bytes(content)
    np.testing.assert_array_equal(read(good, rate=RATE), whole)
    wrong = member_address("memory://s/a.tar", 512, len(flac(1)), "a.flac", 7)
    with pytest.raises(AudioError, match="damaged: its bytes are not those that the index counts") as caught:
        read(wrong)
    assert caught.value.path == wrong
    with pytest.raises(AudioError, match=r"truncated: it has [\d,]+ bytes, not"):
        read(member_address("memory://s/a.tar", 512, 10**6, "a.flac"))


def _read_all(cache: str, number: int, answer: Any) -> None:
    os.environ |= {"AASP_CACHE": cache, "AASP_CACHE_GB": str(6_000 / 1e9)}
    fs = fsspec.filesystem("memory")
    for name in range(30):
        fs.pipe(f"/s/{name}", bytes([name]) * 1000)
        fs.store[f"/s/{name}"].created = 0
    good = 0
    for name in [*range(number, 30), *range(number)] * 2:
        with remote_cache.kept(f"memory://s/{name}") as file:
            good += Path(file).read_bytes() == bytes([name]) * 1000
    answer.put(good)


@pytest.mark.slow
def test_several_processes_share_a_cache(cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    each = [context.Process(target=_read_all, args=(str(cache.parent), 7 * n, answer)) for n in range(3)]
    for process in each:
        process.start()
    assert [answer.get(timeout=120) for _ in each] == [60] * 3
    for process in each:
        process.join()
    assert held(cache) <= 6_000 + 3 * 1_000 and list((cache / "in-use").iterdir()) == []


class Failing(MemoryFileSystem):
    """A store that fails as configured."""

    protocol = "failing"
    cachable = False
    failures: ClassVar[list[Any]] = []

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": path, "size": 4, "type": "file"}

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        if self.failures and (failure := self.failures.pop(0)) is not None:
            if isinstance(failure, bytes):
                return failure
            raise failure
        return b"data"


class NoCredentialsError(Exception):
    """An error shaped like botocore's."""


@pytest.fixture
def failing() -> list[Any]:
    fsspec.register_implementation("failing", Failing, clobber=True)
    Failing.failures = []
    return Failing.failures


@pytest.mark.parametrize("transient", [TimeoutError("read"), ConnectionResetError(104, "reset"), b"da", OSError("503")])
def test_transient_errors_are_retried(failing: list[Any], transient: Any) -> None:
    failing += [transient] * 3
    with remote_cache.kept("failing://b/k") as file:
        assert Path(file).read_bytes() == b"data"
    assert failing == []
    remote.facts.cache_clear()
    failing += [transient] * 4
    with pytest.raises(AaspError) as caught, remote_cache.kept("failing://b/other"):
        pass
    message = str(caught.value)
    assert message.startswith("failing://b/other: can't be read after 4 tries (") and "\n" not in message
    assert not isinstance(caught.value, AudioError), "an epoch goes not on without what a network holds back"


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (FileNotFoundError(), "failing://b/k: no such object in its store; check its name"),
        (PermissionError("Forbidden"), "failing://b/k: no access (PermissionError: Forbidden); check the store's"),
        (NoCredentialsError("Unable to locate"), "no access (NoCredentialsError: Unable to locate); check the store's"),
    ],
)
def test_permanent_errors_are_raised_after_the_retries(failing: list[Any], failure: Exception, message: str) -> None:
    failing += [failure] * 4
    with pytest.raises(AaspError) as caught, remote_cache.kept("failing://b/k"):
        pass
    assert message in str(caught.value) and len(failing) == 3


@pytest.mark.parametrize("url", ["http://127.0.0.1/a.wav", "ftp://127.0.0.1/a.wav", "dir://a.wav", "zip://a.wav"])
def test_web_servers_and_archives_are_not_opened(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec, "filesystem", lambda *_: pytest.fail("opened"))
    with pytest.raises(AaspError, match=f"{url.partition(':')[0]}:// is not read; fetch the files"):
        Manifest.open(url.replace(".wav", ".csv"))
    with pytest.raises(AaspError, match="is not read; fetch the files"):
        read(url)


def test_a_store_without_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(AaspError, match="no package for gs:// is installed; install it with `pip install gcsfs`"):
        Manifest.open("gs://b/set.csv")
    (tmp_path / "i.csv").write_text("path\nhttps://example.org/a.wav\n")
    with pytest.raises(AaspError, match="is not on this machine; fetch it"):
        Manifest.open(tmp_path / "i.csv")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of a real server on this machine."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + 120
        while "Running on http://127.0.0.1:" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        port = log.read_text().partition("Running on http://127.0.0.1:")[2].split()[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            patch.setenv("AWS_ACCESS_KEY_ID", "key")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            fsspec.filesystem("s3").mkdir("bucket")
            yield "s3://bucket"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_sets_in_s3(s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fs = fsspec.filesystem("s3")
    fill(lambda name, content: fs.pipe(f"bucket/{name}", content), tmp_path)
    check_sets(s3)
    manifest, skipped = scan(f"{s3}/others/*.tar")
    assert skipped == [] and manifest.column("cls").tolist() == [3]
    with pytest.raises(AaspError, match=r"s3://bucket/none\.csv: no such object in its store; check its name"):
        Manifest.open(f"{s3}/none.csv")
    assert main(["shard", f"{s3}/rows", "--out", str(tmp_path / "again")]) == 0
    assert "1 shard(s), 2 sound(s)" in capsys.readouterr().out
    assert pq.read_table(tmp_path / "again" / "index.parquet")["label"].to_pylist() == ["cat", "dog"]


@pytest.mark.slow
def test_s3_without_credentials_and_without_a_server(
    s3: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fsspec.filesystem("s3").clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["stats", f"{s3}/set.csv"]) == 2
    message = capsys.readouterr().err
    assert "s3://bucket/set.csv: can't be read after 4 tries (" in message and message.count("\n") == 1
    fsspec.filesystem("s3").clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    remote._filesystem.cache_clear()
    assert main(["stats", f"{s3}/set.csv"]) == 2
    assert "no access (NoCredentialsError: Unable to locate credentials); check the store's" in capsys.readouterr().err
