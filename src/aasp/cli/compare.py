"""`aasp compare`: recipes trained with equal budgets, measured identically, compared with intervals."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from aasp.cli.arguments import Settings, check_running, parse, settings, stopping_with_75
from aasp.cli.running import DeviceOptions
from aasp.errors import AaspError
from aasp.formats import duration_text

if TYPE_CHECKING:
    from aasp.aliasing.ablation.stability_metric import StabilityMetric
    from aasp.compare.budget import Budget, Trainable
    from aasp.compare.folder import Folder
    from aasp.compare.layout import Layout
    from aasp.compare.readings import Announced, Readable, Reading


@dataclass(frozen=True, kw_only=True)
class Compare(DeviceOptions):
    """Train recipes with the same budget, probe each after a quarter, a half and all of it, and compare any two.

    Baselines are the untrained encoder of each architecture and log-mel statistics; optionally architectures trained
    with labels (--scratch) and frozen encoders that are not trained here (--encoder). Finished trainings are kept: the
    same command again resumes, and several processes, up to one per core, can work on one folder. The result is
    OUT/comparison.json, .csv, .md and .html.
    """

    recipes: tyro.conf.Positional[tuple[str, ...]]
    """Names of recipes (`aasp recipes` lists them), or your own as file.py:function."""
    data: Path
    """Folder, .csv, .tsv or .parquet manifest of audio to pre-train on."""
    benchmarks: tuple[str, ...]
    """What to probe: NAME=ROOT of a benchmark, INDEX:LABEL:SPLIT, INDEX:LABEL:SPLIT:GROUP, or modulations."""
    scratch: tuple[str, ...] = ()
    """Recipes whose architecture is also trained from random weights with the labels of each set, with the same budget
    each time."""
    encoder: tuple[str, ...] = ()
    """Encoders to probe without training: folders of models or runs, and anything `aasp linear --encoder` takes."""
    out: Path
    """Folder of the comparison: a new one, or this one, to resume."""
    steps: int | None = None
    """Budget of each training: optimizer steps,"""
    minutes: float | None = None
    """or minutes of training steps, timed on this machine before the start,"""
    flops: float | None = None
    """or FLOPs as `aasp plan` counts them, as in 3e15. Give one of the three."""
    seeds: int = 3
    """Trainings (seeds) of each recipe."""
    set: Settings = ()
    """Fields to change in all recipes."""
    stability: str | None = None
    """Also measure the stability of embeddings of these clips: a folder, an INDEX, or INDEX:GROUP."""
    full: bool = False
    """Probe all clips of each set; by default 1,000 clips and 45 minutes of it."""
    last_only: bool = False
    """Measure trainings only at their end; the same command without this adds the quarters and halves later."""
    dry_run: bool = False
    """Show what would be done, how long it takes and how much disk space it needs, and stop."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the forward pass in training; auto is resolved once for all trainings."""
    workers: int = 1
    """Threads that decode audio."""
    threads: int | None = None
    """CPU threads of torch, the same for all trainings; one per core by default."""
    engine: Literal["here", "ray"] = "here"
    """Where cells run: in this process, or as tasks on the Ray cluster of RAY_ADDRESS or `ray start`, whose nodes must
    share the folder."""

    def budget(self) -> Budget:
        """The budget that was given.

        Raises:
            AaspError: none or several were given, or it is zero.
        """
        from aasp.compare.budget import Budget

        requested = {"steps": self.steps, "minutes": self.minutes, "flops": self.flops}
        given = {unit: amount for unit, amount in requested.items() if amount is not None}
        if len(given) != 1:
            text = " and ".join(f"--{unit} {amount:g}" for unit, amount in given.items()) or "no budget"
            raise AaspError(f"{text}; give one of --steps N, --minutes M and --flops F for each training")
        ((unit, amount),) = given.items()
        return Budget(unit, float(amount))  # type: ignore[arg-type]


def run(argv: list[str]) -> int:
    arguments = parse(Compare, argv, prog="aasp compare")
    if arguments.seeds < 1:
        raise AaspError(f"--seeds is {arguments.seeds}; give at least 1, and 3 to distinguish a recipe from its seeds")
    for name, seen in (("recipes", arguments.recipes), ("--benchmarks", arguments.benchmarks)):
        if not seen:
            raise AaspError(f"no {name} named; as in `aasp compare aasp_tiny eat_tiny --benchmarks INDEX:LABEL:SPLIT`")
    fields = settings(arguments.set)
    for name, remedy in (("steps", "the budget says how many"), ("seed", "--seeds says how many")):
        if name in fields:
            raise AaspError(f"--set {name}={fields[name]}: {remedy}; leave it out")
    check_running(arguments.threads, arguments.workers)
    arguments.place()
    budget = arguments.budget()
    with stopping_with_75():
        return _compare(arguments, budget, fields, argv)


def _compare(arguments: Compare, budget: Budget, fields: Mapping[str, str], argv: Sequence[str]) -> int:
    from aasp.aliasing.ablation.stability_metric import open_stability_metrics
    from aasp.compare.folder import Folder
    from aasp.compare.inputs import Given, Inputs, data_given, set_hash
    from aasp.compare.layout import Layout, named_recipes, supervised
    from aasp.compare.measures import MODULATIONS
    from aasp.compare.on_ray import workers
    from aasp.compare.readings import Readers, announced, generated, open_readings
    from aasp.compare.results import Results
    from aasp.compare.shared_settings import TrainingOptions, resolve, rows_of
    from aasp.compare.training import Training

    recipes = named_recipes(arguments.recipes, fields)
    folder = Folder(arguments.out, "comparison")
    _ = folder.settings  # errors in it, as in data, are reported before anything is written
    data = data_given(arguments.data)
    given = [word for word in arguments.benchmarks if word != MODULATIONS]
    readings = open_readings(given, folder.path, arguments.full)
    steady = open_stability_metrics(arguments.stability)
    for clip in steady.skipped:
        print(f"--stability: skipped {clip.path}: {clip.reason}", file=sys.stderr)
    full = " in full" * arguments.full
    sets = {one.set: Given(f"{word}{full}", set_hash(one.labelled)) for word, (one, *_) in readings.items()}
    device, dry = arguments.device, arguments.dry_run
    tasks = [some[0].known for some in readings.values()]
    tasks += [generated()] if MODULATIONS in arguments.benchmarks else []
    labelled = supervised(named_recipes(arguments.scratch, fields), tasks)
    every: dict[str, Trainable] = {**recipes, **labelled}
    frozen, digests = _frozen(arguments, list(rows_of(every)))
    options, inputs = TrainingOptions(arguments.precision, arguments.threads, device), Inputs(data, sets, steady.given)
    shared = resolve(folder, every, budget, options, inputs, frozen=digests, dry_run=dry)
    layout = Layout(recipes, shared.costs, arguments.seeds, labelled, list(frozen), curve=not arguments.last_only)
    flat = [reading for some in readings.values() for reading in some]
    planned: list[Reading | Announced] = [*flat, *(announced() if MODULATIONS in arguments.benchmarks else [])]
    print(_to_do(layout, folder, planned, steady.measures, device))
    notes = {reading.set: reading.notes for reading in flat if reading.notes}
    for name, some in notes.items():
        print(*(f"{name}: {note}" for note in some), sep="\n")
    if dry:
        return 0

    if MODULATIONS in arguments.benchmarks:
        flat += open_readings([MODULATIONS], folder.path / MODULATIONS, arguments.full)[MODULATIONS]
    training = Training(arguments.data, arguments.workers, shared.precision, device)
    work = workers(arguments.engine, device, shared.threads)
    outcome = work(layout.cells(flat, steady.measures), folder, train=training, listen=Readers(device, frozen))
    if outcome.exit_code:
        return outcome.exit_code
    facts = {"budget": str(budget), "data": str(arguments.data), "failed": outcome.failed, "notes": notes}
    facts |= {"command": f"aasp compare {shlex.join(argv)}", "settings": folder.settings}
    _write(folder, Results(folder, layout, flat, steady.measures).document(facts))
    if outcome.busy:
        text = "another process works on it; run the same command again later to include its results"
        print(f"\nnot here: {'; '.join(outcome.busy)}: {text}")
    broken = [place for place in outcome.failed if place.rpartition(",")[0] in recipes]
    if len(broken) == len(recipes) * arguments.seeds:
        raise AaspError(f"every training failed; {broken[0]}: {outcome.failed[broken[0]]}")
    return 0


def _frozen(arguments: Compare, taken: Sequence[str]) -> tuple[dict[str, Callable[[], Readable]], dict[str, str]]:
    """By short name, a function that opens each encoder that is not trained here, and its hash.

    Raises:
        AaspError: it can't be opened, or its name is taken.
    """
    from aasp.cli.linear_others import Other

    readers: dict[str, Callable[[], Readable]] = {}
    digests: dict[str, str] = {}
    for word in arguments.encoder:
        other = Other.open(word, arguments.device, "fp32")
        if other.short in (*taken, *digests):
            raise AaspError(f"--encoder {word}: {other.short} is another row's name; rename one of them")
        digests[other.short] = other.adapter.fingerprint()
        readers[other.short] = lambda word=word: Other.open(word, arguments.device, "fp32").reader()  # type: ignore[misc]
    return readers, digests


def _to_do(
    layout: Layout,
    folder: Folder,
    readings: Sequence[Reading | Announced],
    steady: Sequence[StabilityMetric],
    device: str,
) -> str:
    """The remaining work, its duration, and the disk space it needs."""
    from aasp.compare.layout import estimate

    cells, workloads = layout.cells(readings, steady), {one.name: one.workload for one in [*readings, *steady]}
    left = estimate(layout, folder, cells, workloads, device)
    steps = ", ".join(f"{name} {cost.steps:,} steps" for name, cost in layout.costs.items())
    free = shutil.disk_usage(
        next(path for path in [folder.path, *folder.path.absolute().parents] if path.exists())
    ).free
    return (
        f"{left.cells} of {len(cells)} cells to do, {left.trainings} of them trainings "
        f"({steps}): about {duration_text(left.training)} of training and {duration_text(left.embedding)} "
        f"of embedding by one process, {left.bytes / 1e6:,.0f} MB of disk ({free / 1e9:,.1f} GB free)"
    )


def _write(folder: Folder, found: Mapping[str, Any]) -> None:
    """Write the results to files, and print the first of them."""
    from aasp.compare import page, tables
    from aasp.compare.folder import write_json
    from aasp.evaluate.records import software
    from aasp.files import atomic_write

    found = {**found, "software": software()}
    write_json(folder.result, found)
    made = {"csv": tables.csv_lines, "md": tables.markdown, "html": page.render_comparison}
    for kind, make in made.items():
        with atomic_write(folder.result.with_suffix(f".{kind}")) as beside:
            beside.write_text(make(found), encoding="utf-8")
    for question in tables.headlines(found):
        print(
            "", question, "", *tables.scores_table(found, question), "", *tables.pairs_table(found, question), sep="\n"
        )
    for place, why in found["failed"].items():
        print(f"\nfailed: {place}: {why}")
    print(f"\n{folder.result.with_suffix('')}: .json, .csv, .md and .html")
