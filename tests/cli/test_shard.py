"""Shards and Parquet files of sounds are sets like any other, for each command that reads sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from aasp.cli.main import main
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from packed import flac, parquet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sounds as files, as shards and as Parquet, and a small model."""
    folder = tmp_path_factory.mktemp("sets")
    (folder / "files").mkdir()
    for number in range(6):
        (folder / "files" / f"{number}.flac").write_bytes(flac(number))
    assert main(["shard", str(folder / "files"), "--out", str(folder / "shards"), "--size-mb", "1"]) == 0
    parquet(folder / "rows.parquet", list(range(6)))
    AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(width=8, depth=1, heads=2))).save(folder / "model")
    return folder


def vectors(folder: Path, source: Path, out: Path) -> np.ndarray:
    assert main(["embed", str(folder / "model"), str(source), "--out", str(out), "--precision", "fp32"]) == 0
    return np.stack(pq.read_table(out)["embedding"].to_numpy())


def test_embed(folder: Path, tmp_path: Path) -> None:
    expected = vectors(folder, folder / "files", tmp_path / "files.parquet")
    for name in ("shards", "rows.parquet", "shards/*.tar"):
        found = vectors(folder, folder / name, tmp_path / f"{name.replace('/', '-').replace('*', 'x')}.parquet")
        np.testing.assert_array_equal(found, expected)
    one = pq.read_table(tmp_path / "shards.parquet")["path"][0].as_py()
    np.testing.assert_array_equal(vectors(folder, one, tmp_path / "one.parquet"), expected[:1])


def test_stats_and_scan(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = set()
    for name in ("files", "shards", "rows.parquet"):
        assert main(["stats", str(folder / name)]) == 0
        outputs.add(capsys.readouterr().out.partition("\n")[2])
    assert len(outputs) == 1 and "files" in outputs.pop()
    assert main(["scan", str(folder / "rows.parquet"), "--out", str(tmp_path / "m.parquet")]) == 0
    assert main(["stats", str(tmp_path / "m.parquet")]) == 0
    assert main(["info", str(folder / "shards" / "index.parquet")]) == 0


@pytest.mark.slow
def test_pretrain_learns_the_same_from_all(folder: Path, tmp_path: Path) -> None:
    small = [
        "model.encoder.width=24",
        "model.encoder.heads=2",
        "model.encoder.depth=2",
        "model.vector=none",
        "data.batch=4",
    ]
    losses = []
    for name in ("files", "shards", "rows.parquet"):
        out = tmp_path / name
        argv = [
            "pretrain",
            "aasp_tiny",
            "--data",
            str(folder / name),
            "--out",
            str(out),
            "--steps",
            "3",
            "--log-every",
            "1",
        ]
        assert main([*argv, "--precision", "fp32", "--set", *small, "data.crop_seconds=0.2"]) == 0
        lines = (out / "metrics.jsonl").read_text().splitlines()
        losses.append([line.partition('"loss"')[2].partition(",")[0] for line in lines if '"loss"' in line])
    assert losses[0] == losses[1] == losses[2] and len(losses[0]) == 3
