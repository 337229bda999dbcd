"""Broken sound files through scan, training and embedding: none ends a run, each is counted with its reason.

`AASP_BROKEN=10000` sets how many; docs/reliability.md has the figures.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig
from bench.mutate import mutations
from bench.workshop import Workshop

COUNT = int(os.environ.get("AASP_BROKEN", "10000"))
DECODERS = Path(__file__).parent / "decoders"
LIMIT_SECONDS = 12.0
SMALL = [
    "model.encoder.width=24",
    "model.encoder.depth=1",
    "model.vector=none",
    "model.encoder.heads=2",
    "predictor.depth=1",
]
SHORT = ["data.crop_seconds=0.4", "data.batch=16", "masking.views=2"]


@dataclass(frozen=True)
class Done:
    """How a command ended: seconds, and the memory of the largest of its processes."""

    out: str
    seconds: float
    mebibytes: float


def aasp(*words: object, spoilt: bool = False) -> Done:
    """A command line in a process of its own, with decoders that fail by the file's name."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if spoilt:
        paths = [str(DECODERS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "AASP_TEST_LIMIT": str(LIMIT_SECONDS)}
    began = time.monotonic()
    command = [sys.executable, "-m", "aasp", *map(str, words)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True)
    assert child.stdout is not None
    out = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0 and "Traceback" not in out, out
    return Done(out, time.monotonic() - began, used.ru_maxrss / 1024)


def pretrain(data: Path, out: Path, steps: int, spoilt: bool = False) -> Done:
    settings = [word for one in [*SMALL, *SHORT] for word in ("--set", one)]
    how = ["--steps", steps, "--workers", 2, "--device", "cpu", "--precision", "fp32"]
    return aasp("pretrain", "aasp_tiny", "--data", data, "--out", out, *how, *settings, spoilt=spoilt)


def listed(file: Path) -> dict[str, str]:
    """Reasons by name of the file."""
    with open(file, newline="", encoding="utf-8") as lines:
        return {Path(row["path"]).name: row["reason"] for row in csv.DictReader(lines)}


def write_index(file: Path, paths: Iterable[Path]) -> None:
    """An index whose lengths are trusted: a broken file shows when it is decoded."""
    with open(file, "w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([["path", "seconds"], *([path, 0.4] for path in paths)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model") / "small"
    small = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=24, depth=1, heads=2))
    AudioEncoder(small).save(place)
    return place


def sounds(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        wave = np.random.default_rng(number).uniform(-0.5, 0.5, 12_000)
        soundfile.write(folder / name, wave, 16_000)


GOOD = [f"{number:02}.{'flac' if number % 2 else 'wav'}" for number in range(12)]


@pytest.mark.slow
def test_decoders_that_hang_or_die_take_no_run_with_them(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    sounds(folder, [*GOOD, "hang.flac", "abort.flac", "hungry.flac"])
    reasons = {
        "hang.flac": f"its decoder did not end within {LIMIT_SECONDS:.0f} s",
        "abort.flac": "its decoder crashed, twice",
        "hungry.flac": "decoding it takes more than",
    }

    def check(skipped: dict[str, str]) -> None:
        assert {name: why[: len(reasons.get(name, why))] for name, why in skipped.items()} == reasons

    aasp("scan", folder, "--out", tmp_path / "m.parquet", spoilt=True)
    check(listed(tmp_path / "m.skipped.csv"))
    assert [Path(path).name for path in pq.read_table(tmp_path / "m.parquet")["path"].to_pylist()] == GOOD
    aasp("embed", model, folder, "--out", tmp_path / "e.parquet", spoilt=True)
    assert pq.read_metadata(tmp_path / "e.parquet").num_rows == len(GOOD)
    write_index(tmp_path / "trusted.csv", sorted(folder.iterdir()))
    pretrain(tmp_path / "trusted.csv", tmp_path / "run", 3, spoilt=True)
    check(listed(tmp_path / "run" / "skipped.csv"))


@pytest.mark.slow
def test_bad_files_that_a_manifest_skips_change_no_bit_of_a_training(tmp_path: Path) -> None:
    """They leave the manifest before the order is drawn: those that a header shows when it is opened, all in a scan."""
    sounds(tmp_path / "good", GOOD)
    sounds(tmp_path / "mixed", GOOD)
    (tmp_path / "mixed" / "00 empty.wav").touch()
    (tmp_path / "mixed" / "03 text.flac").write_text("no sound")
    (tmp_path / "mixed" / "07 cut.flac").write_bytes((tmp_path / "good" / "01.flac").read_bytes()[:9_000])
    pretrain(tmp_path / "good", tmp_path / "run", 6)
    expected = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    pretrain(tmp_path / "mixed", tmp_path / "opened", 6)
    assert (tmp_path / "opened" / "model" / "model.safetensors").read_bytes() == expected
    assert listed(tmp_path / "opened" / "skipped.csv").keys() == {"00 empty.wav", "03 text.flac", "07 cut.flac"}
    holed = bytearray((tmp_path / "good" / "01.flac").read_bytes())
    holed[6_000:9_000] = bytes(3_000)
    (tmp_path / "mixed" / "05 holed.flac").write_bytes(holed)  # which only decoding it shows
    aasp("scan", tmp_path / "mixed", "--out", tmp_path / "m.parquet")
    assert "05 holed.flac" in listed(tmp_path / "m.skipped.csv")
    pretrain(tmp_path / "m.parquet", tmp_path / "scanned", 6)
    assert (tmp_path / "scanned" / "model" / "model.safetensors").read_bytes() == expected


@pytest.mark.slow
def test_thousands_of_broken_files(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    paths = mutations(Workshop(tmp_path / "workshop"), folder, COUNT)
    scanned = aasp("scan", folder, "--out", tmp_path / "m.parquet")
    usable = {Path(path).name for path in pq.read_table(tmp_path / "m.parquet")["path"].to_pylist()}
    unusable = listed(tmp_path / "m.skipped.csv")
    assert usable | unusable.keys() == {path.name for path in paths} and not usable & unusable.keys()
    assert all(unusable.values())
    embedded = aasp("embed", model, folder, "--out", tmp_path / "e.parquet")
    assert {Path(path).name for path in pq.read_table(tmp_path / "e.parquet")["path"].to_pylist()} <= usable
    write_index(tmp_path / "trusted.csv", paths)
    steps = len(usable) // 16
    trained = pretrain(tmp_path / "trusted.csv", tmp_path / "run", steps)
    skipped = listed(tmp_path / "run" / "skipped.csv")
    assert skipped and all(skipped.values()) and not skipped.keys() & usable
    for name, done in (("scan", scanned), ("embed", embedded), (f"{steps} steps of training", trained)):
        assert done.mebibytes < 2_048
        print(f"{COUNT:,} files, {len(usable):,} usable: {name}: {done.seconds:.0f} s, {done.mebibytes:.0f} MiB")
