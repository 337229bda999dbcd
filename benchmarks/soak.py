"""A long training, observed from outside: are its memory, open files and speed constant?

    python benchmarks/soak.py [--minutes 120]

A small model pre-trains on crops that are decoded again each time, and saves a checkpoint every 50 steps. Speed is in
steps per second of CPU time, so that other work on the machine does not matter. The first fifth is warm-up. The results
are written to benchmarks/results/soak.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aasp.training.tracking import read_metrics

RESULT = Path(__file__).parent / "results" / "soak.json"
WARMING = 0.2
FLAT, STEADY = 0.02, 0.05
RATE, SECONDS, REPEATS = 16_000, 60, 1_500  # 25 hours of rows: too much to keep in memory, so decoded each time
WORDS = [
    *("aasp_tiny", "--steps", "200000", "--checkpoint-every", "50", "--log-every", "10", "--threads", "1", "--set"),
    *("model.encoder.width=48", "model.encoder.depth=2", "predictor.width=32", "predictor.depth=1", "data.batch=8"),
    *("data.crop_seconds=2", "predictor.heads=2", "model.encoder.heads=2", "model.vector=2:mean"),
]


@dataclass(frozen=True)
class Look:
    """One sample of a process: seconds since its start, CPU seconds, MiB resident, open files, threads, step.

    With child processes, time and memory are totals.
    """

    seconds: float
    processor: float
    memory: float
    files: int
    threads: int
    step: int

    @classmethod
    def at(cls, process: int, seconds: float, step: int) -> Look:
        place = Path("/proc") / str(process)
        children = (place / "task" / str(process) / "children").read_text().split()
        spent, resident = zip(*map(_spent, [process, *map(int, children)]), strict=True)
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        files = len(list((place / "fd").iterdir()))
        return cls(seconds, sum(spent), sum(resident), files, int(status["Threads"]), step)


def _spent(process: int) -> tuple[float, float]:
    """CPU seconds and MiB resident of a process; zero if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def sounds(folder: Path) -> Path:
    """Hums in three formats, and an index that lists each many times."""
    rng, moment = np.random.default_rng(0), np.arange(SECONDS * RATE) / RATE
    paths = []
    for number in range(18):
        pitch, rate = rng.uniform(100, 3000), rng.uniform(1, 20)
        wave = 0.3 * np.sin(2 * np.pi * pitch * moment) * (1 + np.sin(2 * np.pi * rate * moment)) / 2
        paths.append(folder / f"{number}.{('wav', 'flac', 'ogg')[number % 3]}")
        soundfile.write(paths[-1], wave + 0.01 * rng.standard_normal(len(wave)), RATE)
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "seconds"), *((path.name, SECONDS) for path in paths * (REPEATS // 18))])
    return folder / "index.csv"


def watched(minutes: float, folder: Path) -> list[Look]:
    run, looks = folder / "run", list[Look]()
    command = [sys.executable, "-m", "aasp", "pretrain", *WORDS[:1], "--data", str(sounds(folder)), "--out", str(run)]
    with subprocess.Popen([*command, *WORDS[1:]], stdout=subprocess.DEVNULL) as process:
        began = time.monotonic()
        pause = max(1.0, 60 * minutes / 200)
        while time.monotonic() - began < 60 * minutes:
            time.sleep(pause)
            if process.poll() is not None:
                raise SystemExit(
                    f"the training ended after {time.monotonic() - began:.0f} s, code {process.returncode}"
                )
            lines = read_metrics(run)
            looks.append(Look.at(process.pid, time.monotonic() - began, int(lines[-1]["step"]) if lines else 0))
        process.send_signal(signal.SIGTERM)
    return looks


def growth(looks: list[Look], name: str) -> float:
    """Relative growth of a number, from a straight line through all samples, as a share of its mean."""
    x, y = (np.array([getattr(look, of) for look in looks]) for of in ("seconds", name))
    return float(np.polyfit(x, y, 1)[0] * (x[-1] - x[0]) / y.mean())


def speeds(looks: list[Look], parts: int = 4) -> list[float]:
    """Steps per second of CPU time, in each part."""
    cuts = np.linspace(0, len(looks) - 1, parts + 1).round().astype(int)
    pairs = [(looks[a], looks[b]) for a, b in pairwise(cuts)]
    return [(end.step - start.step) / (end.processor - start.processor) for start, end in pairs]


def summarised(looks: list[Look], minutes: float, what: str) -> dict[str, Any]:
    """The results: whether memory is constant, files do not increase, and `what` per second of CPU time is steady."""
    warm = [look for look in looks if look.seconds > WARMING * looks[-1].seconds and look.step]
    memory, by_part = growth(warm, "memory"), speeds(warm)
    files = [look.files for look in warm]
    drift = max(by_part) / min(by_part) - 1
    return {
        "minutes": round(minutes, 1),
        what: looks[-1].step,
        "processor_seconds": round(looks[-1].processor),
        "memory_mib": [round(warm[0].memory, 1), round(warm[-1].memory, 1)],
        "memory_growth": round(memory, 4),
        "open_files": sorted(set(files)),
        "threads": sorted({look.threads for look in warm}),
        f"{what}_per_processor_second": [round(speed, 3) for speed in by_part],
        "speed_difference": round(drift, 4),
        "flat": memory <= FLAT,
        "no_more_files": max(files[len(files) // 2 :]) <= max(files[: len(files) // 2]),
        "steady": drift <= STEADY,
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()[2]},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0, help="how long to train")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        found = summarised(watched(minutes, Path(folder)), minutes, "steps")
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 0 if found["flat"] and found["no_more_files"] and found["steady"] else 1


if __name__ == "__main__":
    sys.exit(main())
