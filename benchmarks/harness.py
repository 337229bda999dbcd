"""Measure things alternately in one run, so that their ratio is reliable on a noisy machine, and store the results.

Every benchmark is `python benchmarks/NAME.py`: it measures, prints its rows and writes them to
`benchmarks/results/NAME.json`. `python benchmarks/table.py` puts all of them into docs/performance.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from aasp.training.environment import commit

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements of one thing."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Row:
    """A measured ratio and its required value.

    Attributes:
        what: what was measured, in which case.
        ratio: ours over theirs, or a share; median and quartiles over rounds.
        reach: the required value, such as ">= 5" or "<= 0.2"; empty if there is none.
        detail: the two measurements in words and numbers with units.
    """

    what: str
    ratio: Spread
    reach: str = ""
    detail: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the median meets the required value; None if there is none."""
        if not self.reach:
            return None
        sign, bar = self.reach.split()
        return self.ratio.median >= float(bar) if sign == ">=" else self.ratio.median <= float(bar)


def alternately(
    things: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1, seconds: float = 0.0
) -> dict[str, list[float]]:
    """Wall-clock seconds of each thing in each round; within a round all are run in turn, in alternating order.

    Args:
        things: functions to time, by name.
        rounds: measured rounds.
        warmup: rounds before them.
        seconds: each turn repeats a function for at least this long and takes the mean, for very short ones.
    """
    took: dict[str, list[float]] = {name: [] for name in things}
    for number in range(-warmup, rounds):
        for name in list(things) if number % 2 else reversed(list(things)):
            synchronise()
            began, runs = time.perf_counter(), 0
            while runs == 0 or time.perf_counter() - began < seconds:
                things[name]()
                synchronise()
                runs += 1
            if number >= 0:
                took[name].append((time.perf_counter() - began) / runs)
    return took


def synchronise() -> None:
    """Wait for the accelerator, if there is one."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """The ratio of two things measured in the same rounds."""
    return Spread.of([a / b for a, b in zip(over, under, strict=True)])


def memory_growth(prepare: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    """MiB by which the peak memory of a fresh process grows while it runs the result of `prepare(*arguments)`: resident
    memory, or on a GPU allocated memory.

    The inputs made by `prepare`, and the interpreter with its libraries, are not counted.
    """
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    child = context.Process(target=_grow, args=(answer, torch.get_num_threads(), prepare, arguments))
    child.start()
    child.join()
    assert child.exitcode == 0, "the measured process died"
    return answer.get()


def _grow(answer: Any, threads: int, prepare: Callable[..., Callable[[], object]], arguments: tuple) -> None:
    torch.set_num_threads(threads)
    torch.ones(64, 64, requires_grad=True).matmul(torch.ones(64, 64)).sum().backward()  # libraries load lazily
    run = prepare(*arguments)
    before = _peak(forget=True)
    run()
    answer.put(_peak() - before)


def _peak(forget: bool = False) -> float:
    """This process's peak in MiB; `forget` resets it to the current use, to exclude the preparation.

    On Linux it is read from a file that can be reset; `getrusage` would start with the peak of the parent.
    """
    if torch.cuda.is_available():
        if forget:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    if forget:
        Path("/proc/self/clear_refs").write_text("5")
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024


def options(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"measured rounds, {rounds} by default")
    return parser


def data_folder(given: Path | None) -> Path:
    """The folder of labelled sets: as given, or $AASP_DATA; without either the process exits with a message."""
    folder = given or (Path(os.environ["AASP_DATA"]) if "AASP_DATA" in os.environ else None)
    if folder is None:
        raise SystemExit("no data: give --data FOLDER, or set AASP_DATA; the folder holds esc10/")
    return folder


def report(name: str, rows: Sequence[Row], threads: int, **notes: Any) -> None:
    """Print the rows and write them, with the machine they were measured on, to `benchmarks/results/NAME.json`."""
    for row in rows:
        verdict = {None: "", True: f"reaches {row.reach}", False: f"MISSES {row.reach}"}[row.reached]
        print(f"{name}: {row.what}: {row.ratio}  {verdict}  ({row.detail})", flush=True)
    document = {"benchmark": name, "rows": [asdict(row) for row in rows], "machine": machine(threads), **notes}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


def machine(threads: int) -> dict[str, Any]:
    """Description of the machine of a measurement."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "processor": _processor(),
        "isa": torch.backends.cpu.get_cpu_capability() + (" AMX" if torch.cpu._is_amx_tile_supported() else ""),
        "threads": threads,
        "gpu": gpu,
        "torch": torch.__version__,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()
