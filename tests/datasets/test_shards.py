"""Tar shards: what is written, how it continues after a kill, and shards of other tools, valid and hostile."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from aasp.audio.io import AudioError, read
from aasp.audio.packed import member_address, place
from aasp.cli.main import main
from aasp.datasets import shard_folder, sharding
from aasp.datasets.manifest import Manifest, NothingUsable, scan
from aasp.errors import AaspError
from packed import RATE, flac, tar, wave_of

COUNT = 12
SHARDS = 3


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of twelve sounds with labels, one file of which is damaged, and one gone."""
    folder = tmp_path_factory.mktemp("source")
    rows = []
    for number in range(COUNT):
        path = folder / "sounds" / f"{number % 3}" / f"{number:02}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(flac(number))
        rows.append({"path": f"sounds/{number % 3}/{number:02}.flac", "label": f"l{number}", "fold": number % 5})
    (folder / "sounds" / "0" / "03.flac").write_bytes(b"nothing of the kind")
    rows.insert(5, {"path": "gone.flac", "label": "none", "fold": 9})
    pq.write_table(pa.Table.from_pylist(rows), folder / "m.parquet")
    return folder / "m.parquet"


@pytest.fixture(scope="module")
def shards(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "shards"
    written(source, out)
    return out


def written(source: Path, out: Path, **settings: Any) -> shard_folder.Written:
    manifest, unusable = Manifest.open(source)
    return sharding.shard(manifest, unusable, out, sharding.Settings(**settings), workers=1)


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def refused(source: Path, out: Path, **settings: Any) -> str:
    with pytest.raises(AaspError) as caught:
        written(source, out, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Shards of a few sounds each: a megabyte is 20 kB."""
    before = sharding.ShardWriter.holds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding.ShardWriter, "holds", lambda self, sample, most: before(self, sample, most // 50))
        yield


@pytest.fixture(scope="module")
def several(source: Path, small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("several")
    summary = written(source, out, size_mb=1)
    assert (summary.samples, summary.skipped, summary.shards) == (11, 2, SHARDS) and summary.seconds == 11 * 0.25
    return out


def test_shards_and_index(several: Path) -> None:
    out = several
    document = json.loads(pq.read_schema(out / "index.parquet").metadata[b"aasp.shards"])
    assert sum(one["samples"] for one in document["shards"]) == 11
    for one in document["shards"]:
        content = (out / one["name"]).read_bytes()
        assert len(content) == one["bytes"] <= 20_000 and hashlib.sha256(content).hexdigest() == one["sha256"]
    table = pq.read_table(out / "index.parquet")
    assert table["source"].to_pylist() == [f"{n % 3}/{n:02}.flac" for n in range(COUNT) if n != 3]
    assert table["fold"].to_pylist() == [n % 5 for n in range(COUNT) if n != 3]
    for row in table.to_pylist():
        found = place(row["path"])
        assert found is not None
        with tarfile.open(out / found.archive) as tar:
            member = tar.getmember(found.name)
            assert (member.offset_data, member.size) == (found.begin, found.size)
            content = tar.extractfile(member).read()  # type: ignore[union-attr]
            noted = json.load(tar.extractfile(found.name.replace(".flac", ".json")))  # type: ignore[arg-type]
        number = int(row["label"][1:])
        assert content == flac(number) and zlib.crc32(content) == found.crc
        assert noted == {"source": row["source"], "label": f"l{number}", "fold": number % 5}
    with open(out / "skipped.csv", newline="") as file:
        reasons = {Path(path).name: reason for path, reason in list(csv.reader(file))[1:]}
    assert reasons.keys() == {"gone.flac", "03.flac"} and reasons["gone.flac"] == "no such file"


def test_a_folder_of_shards_is_a_set(shards: Path) -> None:
    manifest, skipped = Manifest.open(shards)
    assert skipped == [] and len(manifest) == 11 and manifest.column("rate").tolist() == [RATE] * 11
    order = [n for n in range(COUNT) if n != 3]
    for row, number in enumerate(order):
        wave = read(manifest.paths[row], rate=RATE)
        np.testing.assert_array_equal(np.round(wave * 32768), wave_of(number))
        part = read(manifest.paths[row], rate=RATE, start=0.1, seconds=0.05)
        np.testing.assert_array_equal(part, wave[800:1200])
    again, _ = scan(shards)
    assert again.paths == manifest.paths and again.column("label").tolist() == [f"l{n}" for n in order]


def test_without_its_index_a_folder_is_listed_by_its_members(shards: Path, tmp_path: Path) -> None:
    for shard in shards.glob("*.tar"):
        os.link(shard, tmp_path / shard.name)
    manifest, _ = Manifest.open(shards)
    for named in (tmp_path, tmp_path / "*.tar", tmp_path / "shard-000000.tar"):
        found, skipped = Manifest.open(named)
        assert skipped == []
        np.testing.assert_array_equal(found.seconds, manifest.seconds)
        for name in ("label", "fold", "source"):
            assert found.column(name).tolist() == manifest.column(name).tolist()
        assert [place(path)[1:3] for path in found.paths] == [place(path)[1:3] for path in manifest.paths]  # type: ignore[index]


def test_encoded_again(source: Path, tmp_path: Path) -> None:
    summary = written(source, tmp_path / "out", flac=True, columns=("label",))
    manifest, _ = Manifest.open(tmp_path / "out")
    assert manifest.column("rate").tolist() == [16_000] * 11 and summary.seconds == 11 * 0.25
    assert manifest.table.column_names == ["path", "seconds", "rate", "channels", "source", "label"]
    ours = read(manifest.paths[4], rate=16_000)
    theirs = read(source.parent / "sounds" / "2" / "05.flac", rate=16_000)
    np.testing.assert_allclose(ours, theirs, atol=0.51 / 32768)


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 2 * SHARDS, 2 * SHARDS + 1, 2 * SHARDS + 2])
def test_killed_at_any_write_it_resumes_to_the_same_bytes(
    source: Path, several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    torn = tmp_path / "torn"
    replace, left = os.replace, iter(range(stop))

    def die(*names: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt  # nothing catches it, as nothing catches a kill
        replace(*names)

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        written(source, torn, size_mb=1)
    monkeypatch.setattr(os, "replace", replace)
    (torn / ".shard-000001.123.tmp.tar").write_bytes(b"what a kill leaves behind")
    (torn / ".shard-000001.0badcafe.123.tmp.tar").write_bytes(b"what a kill on another machine leaves behind")
    with pytest.raises(AaspError, match="not complete; run the same `aasp shard` command again"):
        Manifest.open(torn)
    if stop:  # it is known what was begun
        assert "unfinished shards with other --columns, sounds or labels" in refused(
            source, torn, size_mb=1, columns=("fold",)
        )
    written(source, torn, size_mb=1)
    assert contents(torn) == contents(several)


@pytest.mark.slow
def test_kill_9(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / "sounds").mkdir(exist_ok=True)
        (tmp_path / "sounds" / f"{number:03}.flac").write_bytes(flac(number % 30))
    command = [sys.executable, "-m", "aasp", "shard", str(tmp_path / "sounds"), "--size-mb", "1", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    kills = 0
    for wait in range(40):
        process = subprocess.Popen([*command, str(tmp_path / "torn")])
        deadline = time.monotonic() + 60
        while process.poll() is None and not (tmp_path / "torn").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.02 * wait)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills > 3
    subprocess.run([*command, str(tmp_path / "torn")], check=True)
    assert contents(tmp_path / "torn") == contents(tmp_path / "whole")


def test_done_is_done(source: Path, shards: Path) -> None:
    before = contents(shards)
    assert written(source, shards).samples == 11
    assert contents(shards) == before
    assert "shards of another set, of sounds that have changed since, or made with other settings" in refused(
        source, shards, flac=True
    )


def test_another_channel_is_another_set(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        both = np.stack([wave_of(number), wave_of(number + 10)], axis=1)
        soundfile.write(tmp_path / "in" / f"{number}.wav", both, 16_000, subtype="PCM_16")

    def made(channels: str, out: str, stop: bool = False) -> shard_folder.Written:
        def progress(done: int, total: int) -> None:
            if stop:
                raise KeyboardInterrupt

        manifest, _ = Manifest.open(tmp_path / "in", channels=channels)
        return sharding.shard(manifest, [], tmp_path / out, sharding.Settings(flac=True), workers=1, progress=progress)

    made("first", "done")
    before = contents(tmp_path / "done")
    with pytest.raises(AaspError, match="that have changed since, or made with other settings"):
        made("2", "done")
    with pytest.raises(KeyboardInterrupt):
        made("first", "torn", stop=True)
    for other in ("2", "mean"):
        with pytest.raises(AaspError, match="unfinished shards with other --channels; run that command again"):
            made(other, "torn")
    made("first", "torn")
    assert made("first", "done").samples == 3 and contents(tmp_path / "torn") == contents(tmp_path / "done") == before


def test_sounds_that_have_changed_are_not_mixed_with_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()

    def write(first: int) -> None:
        for number in range(3):
            soundfile.write(tmp_path / "in" / f"{number}.wav", wave_of(first + number), 16_000, subtype="PCM_16")

    def made(out: str, stop: bool = False) -> shard_folder.Written:
        def progress(done: int, total: int) -> None:
            if stop:
                raise KeyboardInterrupt

        settings = sharding.Settings(size_mb=0)
        return sharding.shard(Manifest.open(tmp_path / "in")[0], [], tmp_path / out, settings, progress=progress)

    write(0)
    made("done")
    with pytest.raises(KeyboardInterrupt):
        made("torn", stop=True)
    write(10)
    with pytest.raises(AaspError, match="of sounds that have changed since"):
        made("done")
    with pytest.raises(AaspError, match="unfinished shards with other sounds or labels"):
        made("torn")
    write(0)
    os.utime(tmp_path / "in" / "0.wav", ns=(1, 1))  # another time alone, which may be another content in a large set
    with pytest.raises(AaspError, match="sounds of shard 0 have changed since it was written; choose another --out"):
        made("torn")
    assert made("done").samples == 3


def test_what_16_bits_cannot_hold_is_skipped_and_listed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, gain in (("loud", 4.0), ("faint", 1e-5), ("fine", 0.5), ("silent", 0.0)):
        wave = gain * np.sin(np.arange(4_000) / 10)
        soundfile.write(tmp_path / "in" / f"{name}.wav", wave.astype(np.float32), 16_000, subtype="FLOAT")
    assert written(tmp_path / "in", tmp_path / "out", flac=True).samples == 2
    listed = (tmp_path / "out" / "skipped.csv").read_text()
    assert 'loud.wav,"it reaches 4, and 16-bit FLAC holds 1' in listed and "faint.wav,it is too faint" in listed


def test_what_is_refused(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    assert "not empty, it holds thesis.txt; choose another --out" in refused(source, tmp_path)
    assert "output is a file" in refused(source, tmp_path / "thesis.txt")
    message = refused(source, tmp_path / "new", columns=("labels",))
    assert "no column 'labels' to keep; it has label, fold" in message
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr(shard_folder.shutil, "disk_usage", lambda path: usage)
    assert "GB are needed, 0.00 GB are free; free some space" in refused(source, tmp_path / "new")
    table = pq.read_table(source).append_column("raw", pa.array([b"x"] * 13))
    pq.write_table(table, source.with_name("raw.parquet"))
    message = refused(source.with_name("raw.parquet"), tmp_path / "new2")
    assert "column raw is of binary, which JSON does not have; give those to keep with --columns" in message


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "shards"
    for _ in range(2):
        assert main(["shard", str(source), "--out", str(out)]) == 0
        output, summary = capsys.readouterr().out, "1 shard(s), 11 sound(s), 2.75 s, 0.0 MB; 2 skipped, listed in"
        assert output.startswith(f"{out}: {summary} {out}/skipped.csv")
        assert output.count("\n") == 1
    assert main(["shard", str(source), "--out", str(tmp_path / "x"), "--channels", "first"]) == 2
    assert "files are copied whole; add --flac" in capsys.readouterr().err


@pytest.mark.parametrize(
    "metadata",
    [
        "[]",
        '"x"',
        "{}",
        '{"shards": 5}',
        '{"job": {}, "skipped": 0, "shards": [{}]}',
        '{"job": {}, "skipped": 0, "shards": [{"name": "a\\u0000", "samples": 1, "bytes": 1, "sha256": ""}]}',
        "[" * 9_999,
    ],
)
def test_metadata_of_strangers_is_not_ours(shards: Path, source: Path, tmp_path: Path, metadata: str) -> None:
    shutil.copytree(shards, tmp_path / "s")
    index = tmp_path / "s" / shard_folder.INDEX
    table = pq.read_table(index)
    pq.write_table(table.replace_schema_metadata({shard_folder.SHARDS: metadata}), index)
    assert shard_folder.written(tmp_path / "s") is None and shard_folder.changed(tmp_path / "s") == []
    assert len(Manifest.open(tmp_path / "s")[0]) == len(table)
    assert main(["shard", str(source), "--out", str(tmp_path / "s")]) == 2


def test_a_lone_surrogate_in_a_note_skips_one_sample(tmp_path: Path) -> None:
    notes = [b'{"label": "\\ud800"}', b'{"\\ud800": 1}', b'{"tags": ["\\ud800"]}', b'{"label": "a"}']
    pairs = [[(f"{number}.flac", flac(number)), (f"{number}.json", note)] for number, note in enumerate(notes)]
    tar(tmp_path / "s.tar", *(member for pair in pairs for member in pair))
    manifest, skipped = Manifest.open(tmp_path / "s.tar")
    assert len(manifest) == 1 and len(skipped) == 3 and all("surrogates" in one.reason for one in skipped)


def test_shards_of_others(tmp_path: Path) -> None:
    tar(
        tmp_path / "b.tar",
        ("./", b""),
        ("d/k1.flac", flac(1)),
        ("d/k1.json", b'{"labels": ["a", "b"], "n": 3, "path": "x", "deep": {"no": 1}}'),
        ("d/k2.txt", "grüße\n".encode()),
        ("d/k2.cls", b"7\n"),
        ("d/k2.left.flac", flac(2)),
        ("d/k3.txt", b"no sound here"),
    )
    tar(tmp_path / "a.tar", ("../../k9.flac", flac(9)), ("k\n8.flac", flac(8)), format=tarfile.PAX_FORMAT)
    manifest, skipped = Manifest.open(tmp_path)
    assert skipped == [] and manifest.notes == ("samples without a usable sound: 1",)
    assert [place(path).name for path in manifest.paths] == [  # type: ignore[union-attr]
        "../../k9.flac", "k_8.flac", "d/k1.flac", "d/k2.left.flac",
    ]  # fmt: skip
    got = [round(32768 * float(read(path, rate=RATE)[0])) // 1000 for path in manifest.paths]
    assert got == [9, 8, 1, 2]
    rows = manifest.table.select(["labels", "n", "own_path", "txt", "cls"]).to_pylist()
    assert rows[2] == {"labels": "a;b", "n": 3, "own_path": "x", "txt": None, "cls": None}
    assert rows[3] == {"labels": None, "n": None, "own_path": None, "txt": "grüße", "cls": 7}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "b.tar"]


def test_webdataset_reads_ours_and_we_read_webdatasets(shards: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    read_by_it = list(webdataset.WebDataset(str(shards / "shard-000000.tar"), shardshuffle=False))
    numbers = [n for n in range(COUNT) if n != 3]
    assert [sample["flac"] for sample in read_by_it] == [flac(n) for n in numbers]
    assert [json.loads(sample["json"])["label"] for sample in read_by_it] == [f"l{n}" for n in numbers]
    with webdataset.TarWriter(str(tmp_path / "t.tar")) as writer:
        for n in range(5):
            writer.write(
                {"__key__": f"x/{n:03}", "flac": flac(n), "json": {"label": f"l{n}"}, "cls": n, "txt": f"hello {n}"}
            )
    manifest, skipped = Manifest.open(tmp_path / "t.tar")
    assert skipped == [] and manifest.notes == ()
    expected = [{"label": f"l{n}", "cls": n, "txt": f"hello {n}"} for n in range(5)]
    assert manifest.table.select(["label", "cls", "txt"]).to_pylist() == expected
    got = [round(32768 * float(read(path, rate=RATE)[0])) // 1000 for path in manifest.paths]
    assert got == list(range(5))


def test_files_skipped_in_a_shard_are_listed(tmp_path: Path) -> None:
    tar(
        tmp_path / "a.tar",
        ("a.flac", flac(1)), ("a.wav", flac(1)),
        ("b.flac", flac(2)), ("b.json", b"[1"),
        ("c.mpc", b"anything"),
        ("d.flac", b""),
        ("e.wav", flac(5)),
        ("f.flac", flac(6)), ("f.json", b"[" * 100_000),
        ("g.flac", flac(7)),
    )  # fmt: skip
    with tarfile.open(tmp_path / "a.tar", "a") as file:
        link = tarfile.TarInfo("h.flac")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    manifest, skipped = Manifest.open(tmp_path / "a.tar")
    assert [Path(path).name for path in manifest.paths] == ["g.flac"]
    reasons = {Path(file.path).name: file.reason for file in skipped}
    expected = {
        "a.flac": "a sample of several sounds (a.flac, a.wav)",
        "b.json": "not readable as JSON (Expecting",
        "c.mpc": "format not supported (.mpc)",
        "d.flac": "empty file",
        "e.wav": "mislabelled: named .wav but holds FLAC",
        "f.json": "not readable as JSON (",
        "h.flac": "a link or a sparse file, which is not followed",
    }
    assert reasons.keys() == expected.keys()
    assert all(reasons[name].startswith(expected[name]) for name in expected), reasons


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda good: good[:560], "truncated, or a wrong size"),
        (lambda good: good.replace(b"k2.flac", b"kX.flac"), "no header at byte"),
        (lambda good: header("a.flac", 2**40) + b"x" * 1024, "truncated, or a wrong size of 'a.flac'"),
        (lambda good: header("a.flac", -512) + b"x" * 1024, "truncated, or a wrong size of 'a.flac'"),
        (lambda good: good + b"\0" * 20_480 + good, "bytes follow its end"),
        (lambda good: b"no tar at all" * 100, "damaged tar"),
        (lambda good: header("pax", 2**33, tarfile.XHDTYPE) + good, "a header of 8,589,934,592 bytes"),
    ],
)
def test_a_damaged_shard_is_named_and_read_as_far_as_it_goes(tmp_path: Path, content: Any, message: str) -> None:
    good = tar(tmp_path / "a.tar", ("k1.flac", flac(1)), ("k2.flac", flac(2))).read_bytes()
    (tmp_path / "a.tar").write_bytes(content(good))
    try:
        _, skipped = Manifest.open(tmp_path / "a.tar")
    except NothingUsable as error:
        skipped = error.skipped
    assert len(skipped) == 1 and skipped[0].path == str(tmp_path / "a.tar") and message in skipped[0].reason


def test_a_shard_that_changes_behind_its_index(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written(source, out)
    shard = out / "shard-000000.tar"
    manifest, _ = Manifest.open(out)
    found = place(manifest.paths[2])
    assert found is not None and found.size is not None
    content = bytearray(shard.read_bytes())
    content[found.begin + found.size // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(AudioError, match="damaged: its bytes are not those that the index counts") as caught:
        read(manifest.paths[2])
    assert caught.value.path == manifest.paths[2]
    found_bad, skipped = scan(out)
    assert [one.path for one in skipped] == [manifest.paths[2]]
    assert found_bad.notes == (f"{shard}: its SHA-256 is not the one in index.parquet; fetch it again",)
    shard.write_bytes(content[: found.begin + 10])
    kept, skipped = Manifest.open(out)
    assert len(kept) == 2 and all(one.reason.startswith("truncated: the file that contains it") for one in skipped)
    shard.unlink()
    with pytest.raises(NothingUsable, match="no such file that contains it"):
        Manifest.open(out)


@pytest.mark.parametrize(
    "strange", ["../x.tar#0+5/a.flac", "/etc/x.tar#0+5/a.flac", "a/x.tar#0+5/a.flac", "/etc/passwd"]
)
def test_an_index_of_shards_stays_in_its_folder(several: Path, tmp_path: Path, strange: str) -> None:
    table = pq.read_table(several / "index.parquet")
    paths = [strange, *table["path"].to_pylist()[1:]]
    pq.write_table(table.set_column(0, "path", pa.array(paths)), tmp_path / "index.parquet")
    with pytest.raises(
        AaspError, match=r"index\.parquet names something that is not a shard in its folder: .*; get another copy"
    ):
        Manifest.open(tmp_path)


@pytest.mark.parametrize(
    "address",
    ["x.tar#1+2/y.tar#3+4/z.flac", "x.tar#1+2+0000000a/../../z.flac", "x.tar#1+2/\n"],
)
def test_an_address_names_one_file_whatever_is_in_the_name(address: str) -> None:
    found = place(address)
    assert found is not None and (found.archive, found.begin, found.size) == ("x.tar", 1, 2)
    assert place(member_address("a.tar", 5, 6, "k\\\n#.flac", 255)) == ("a.tar", 5, 6, 255, None, "k__#.flac")
