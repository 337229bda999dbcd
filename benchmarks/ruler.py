"""Models on all development sets, against their untrained encoders and log-mel statistics, in under five minutes.

usage: python benchmarks/ruler.py MODEL... [--data DATA] [--sets A,B] [--set NAME=INDEX,LABEL,SPLIT,CLUSTER]
           [--json FILE] [--cache FOLDER] [--full] [--jobs N]

MODEL are folders of models or runs. DATA, or $AASP_DATA, contains the development sets. --set adds a set: an index with
its columns of labels, of parts or folds, and of clusters, which intervals resample (empty: single clips are resampled);
--sets chooses among all by name. Sets are thinned to 1,000 clips and 45 minutes each, fine-tuning is cut to 6 steps and
240 seconds of test sound; --full uses everything. Every choice is made on validation parts; a test part is scored once.
FOLDER keeps the vectors of untrained encoders and log-mel statistics.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: parallel jobs have one core each

import torch

from aasp.cli.progress import bar
from aasp.config import fingerprint
from aasp.errors import AaspError
from aasp.evaluate import ruler
from aasp.evaluate.ruler import System
from aasp.files import atomic_write, cache_folder, check_output
from harness import machine
from ruler_sets import Set, chosen_sets
from ruler_tables import show_model, show_sets

LABELS = (1, 5, 20)  # per class
PART_SECONDS = 200  # of sound per embedding job

Place = Callable[[System, Set], Path]


def run_jobs(sets: Sequence[Set], systems: Sequence[System], place: Place, processes: int) -> None:
    """Embed, then probe and fine-tune, in parallel; results go into the sets. `place` is where vectors are kept."""
    longest_first = sorted(sets, key=lambda one: -one.seconds.sum())
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_one_thread) as pool:
        submit = lambda job, *arguments: pool.submit(_with_plain_errors, job, *arguments)
        futures: dict[Future, Any] = {}
        for system in systems:
            for one in {one.labelled.source: one for one in longest_first}.values():
                parts = max(1, round(one.seconds.sum() / PART_SECONDS))
                for part in range(parts):
                    futures[submit(ruler.embed, system, one.labelled.sounds[part::parts], place(system, one))] = None
        for _ in _finished(pool, futures, "embedding"):
            pass
        futures = {}
        for one in longest_first:
            for system in systems:
                if one.fine_tunes and system.kind != "log-mel":
                    how = (one.seconds, place(system, one), one.recipe, LABELS, one.most_tested)
                    futures[submit(ruler.fine_tuned, system, one.labelled, *how)] = (one, system, True)
                futures[submit(ruler.probed, system, one.labelled, place(system, one))] = (one, system, False)
        for (one, system, few), result in _finished(pool, futures, "probing and fine-tuning"):
            if few:
                one.few[system] = result
            else:
                one.results[system], one.ranks[system] = result


def _finished(pool: ProcessPoolExecutor, futures: dict[Future, Any], what: str) -> Iterator[tuple[Any, Any]]:
    """Each job and its result, as jobs end; after a failure no more are started."""
    try:
        with bar(what) as show:
            for number, future in enumerate(as_completed(futures), start=1):
                yield futures[future], future.result()
                show(number, len(futures))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _one_thread() -> None:
    torch.set_num_threads(1)


def _with_plain_errors(job: Callable[..., Any], *arguments: Any) -> Any:
    """Run a job; its errors are converted so that they can be passed to another process."""
    try:
        return job(*arguments)
    except AaspError as error:
        raise AaspError(str(error)) from None


def measure(arguments: argparse.Namespace) -> None:
    if arguments.jobs < 1:
        raise AaspError(f"--jobs {arguments.jobs}: give a number of at least 1")
    for file in (arguments.json, arguments.cache / "vectors"):
        if file:
            check_output(file, overwrite=True)
    pairs, alike = [], {}
    for path in dict.fromkeys(arguments.models):
        model = System("model", path)
        pattern = alike.setdefault(fingerprint(model.encoder.config), path)  # one untrained encoder per architecture
        pairs.append((model, System("untrained", pattern)))
    log_mel = System("log-mel")
    sets = list(chosen_sets(arguments.sets, arguments.set, arguments.data, arguments.full))
    systems = list(dict.fromkeys([log_mel, *(system for pair in pairs for system in pair)]))
    with tempfile.TemporaryDirectory() as passing:
        kept = lambda system: Path(passing) if system.kind == "model" else arguments.cache
        run_jobs(sets, systems, lambda s, one: kept(s) / one.labelled.name.replace("/", "-"), arguments.jobs)
    out: dict[str, Any] = {"full": arguments.full, "machine": machine(1), "sets": show_sets(sets)}
    out["models"] = {model.model: show_model(sets, model, untrained, log_mel) for model, untrained in pairs}
    used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"\n{used:.0f} seconds of processors, {used / 2:.0f} on each of two cores.")
    if arguments.json:
        with atomic_write(arguments.json) as beside:
            beside.write_text(json.dumps(out | {"processor_seconds": round(used)}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", default="", metavar="A,B")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=INDEX,LABEL,SPLIT,CLUSTER")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cache", type=Path, default=cache_folder() / "ruler")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    try:
        measure(parser.parse_args())
    except AaspError as error:
        raise SystemExit(f"ruler: {error}") from None


if __name__ == "__main__":
    main()
