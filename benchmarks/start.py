"""Time and memory until a set of 10⁶ sounds gives its first clip, and the cost of shards against files.

usage: python benchmarks/start.py [--rounds N] [--rows N]

The sets are generated, without sound: a manifest of 10⁶ files (links to twenty), an index of 10³ shards of 10³. Each is
opened in a fresh process, up to a pipeline that draws from it, and compared with pyarrow alone reading the same Parquet
file. Times are CPU time of one core; the detail also has wall-clock time, which on a shared machine includes other
work. The last row reads the same clips from shards and from files, in one shuffled order.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from aasp.datasets.manifest import Manifest
from aasp.datasets.sharding import Settings, shard
from harness import Row, Spread, options, ratio, report
from sounds import clips

FOLDERS = SHARDS = 1_000
CLIPS, SECONDS = 200, 10.0
MAX_SECONDS, MAX_MIB = 5.0, 500.0
FRESH = """
import json, sys, time
began = time.process_time()
from pathlib import Path
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
{imports}
ready, wall, before = time.process_time(), time.perf_counter(), peak()
{work}
print(json.dumps([time.process_time() - ready, ready - began, peak(), before, time.perf_counter() - wall]))
"""
OURS = (
    "from aasp.datasets.manifest import Manifest\nfrom aasp.datasets.pipeline import CropPipeline",
    "clips, skipped = Manifest.open(sys.argv[1])\nassert len(clips) == {rows} and not skipped\n"
    "crops = CropPipeline(clips, seconds=2.0, batch=32, seed=0)\nassert clips.sound(len(clips) - 1)",
)
THEIRS = "import torch, pyarrow.parquet", "table = pyarrow.parquet.read_table(sys.argv[1])"


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    rows = arguments.rows
    with tempfile.TemporaryDirectory() as folder:
        sets = {f"{rows:,} files": _files(Path(folder), rows), f"{SHARDS:,} shards of {rows // SHARDS:,}": None}
        sets[list(sets)[1]] = _shards(Path(folder), rows)
        found = [row for name, index in sets.items() for row in _opened(name, index, rows, arguments.rounds)]
        found.append(_throughput(Path(folder), arguments.rounds))
    report("start", found, arguments.threads)


def _files(folder: Path, rows: int) -> Path:
    """A manifest of `rows` files in 1,000 folders: links to twenty files, as a file's number of links is limited."""
    for number in range(20):
        (folder / f"{number}").write_bytes(b"no sound")
    paths = [f"clips/{row % FOLDERS:04d}/clip{row:07d}.flac" for row in range(rows)]
    for number in range(FOLDERS):
        (folder / f"clips/{number:04d}").mkdir(parents=True)
    for row, path in enumerate(paths):
        os.link(folder / f"{row % 20}", folder / path)
    return _index(folder / "files.parquet", paths)


def _shards(folder: Path, rows: int) -> Path:
    """An index of shards whose files are sparse."""
    (folder / "shards").mkdir()
    each, size = rows // SHARDS, 160_000
    for number in range(SHARDS):
        with (folder / f"shards/shard-{number:06d}.tar").open("wb") as file:
            file.truncate(each * (size + 2048))
    address = "shard-{:06d}.tar#{}+{}+{:08x}/{:09d}.flac"
    return _index(
        folder / "shards" / "index.parquet",
        [address.format(row // each, row % each * (size + 2048) + 512, size, row, row) for row in range(rows)],
    )


def _index(path: Path, paths: list[str]) -> Path:
    label = [f"label {row % 527}" for row in range(len(paths))]
    columns = {"path": paths, "seconds": np.full(len(paths), 10.0), "label": label}
    measured = {
        name: pa.array(np.full(len(paths), value), pa.int32()) for name, value in (("rate", 16_000), ("channels", 1))
    }
    pq.write_table(pa.table(columns | measured), path)
    return path


def _opened(name: str, index: Path | None, rows: int, rounds: int) -> list[Row]:
    def fresh(imports: str, work: str) -> list[float]:
        code = FRESH.format(imports=imports, work=work.format(rows=rows))
        done = subprocess.run([sys.executable, "-c", code, str(index)], check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(fresh(*OURS))
        theirs.append(fresh(*THEIRS))
    took, imports, peak, before, wall = (Spread.of([one[column] for one in ours]) for column in range(5))
    alone, _, held, _, _ = (Spread.of([one[column] for one in theirs]) for column in range(5))
    text = (
        f"{took.median:.2f} s of one core, {wall.median:.2f} s by the clock, after imports of {imports.median:.2f} s; "
    )
    text += f"pyarrow.parquet.read_table alone {alone.median:.2f} s"
    memory = f"{peak.median:.0f} MiB at its peak, {before.median:.0f} of it imports; pyarrow alone {held.median:.0f}"
    over = lambda spread, most: Spread(*(value / most for value in (spread.median, spread.low, spread.high)))
    return [
        Row(f"{name}, opened, over {MAX_SECONDS:g} s", over(took, MAX_SECONDS), "<= 1", text),
        Row(f"{name}, peak of the process over {MAX_MIB:g} MiB", over(peak, MAX_MIB), "<= 1", memory),
        Row(
            f"{name}, opened, over reading its Parquet file",
            ratio([one[0] for one in ours], [one[0] for one in theirs]),
        ),
    ]


def _throughput(folder: Path, rounds: int) -> Row:
    """The same clips decoded whole, in the same shuffled order."""
    from aasp.audio.io import read

    files = folder / "sounds"
    files.mkdir()
    for number, wave in enumerate(clips(8, SECONDS, 16_000)):
        soundfile.write(files / f"{number}.flac", wave, 16_000)
    listed = [files / f"{number % 8}.flac" for number in range(CLIPS)]
    for number in range(CLIPS):
        os.link(listed[number], files / f"clip{number:03d}.flac")
    manifest, _ = Manifest.open(files)
    shard(manifest, [], folder / "packed", Settings())
    packed, _ = Manifest.open(folder / "packed")
    order = np.random.default_rng(0).permutation(len(manifest))
    paths = {"files": manifest.paths, "shards": packed.paths}
    every = {name: lambda paths=paths[name]: [read(paths[row]) for row in order] for name in paths}
    took: dict[str, list[float]] = {name: [] for name in every}
    for number in range(-1, rounds):
        for name, work in every.items():
            began = time.process_time()
            work()
            took[name] += [time.process_time() - began] if number >= 0 else []
    speed = {name: len(order) / statistics.median(times) for name, times in took.items()}
    text = f"{speed['shards']:.0f} and {speed['files']:.0f} clips of {SECONDS:g} s a second and core, FLAC at 16 kHz"
    return Row(
        "clips read from shards over clips read from files", ratio(took["files"], took["shards"]), ">= 0.8", text
    )


if __name__ == "__main__":
    main()
