"""`aasp ablate`: recipes that differ in one thing, trained and measured identically, compared with intervals."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from aasp.cli.arguments import check_running, parse, stopping_with_75
from aasp.cli.running import DeviceOptions
from aasp.errors import AaspError

if TYPE_CHECKING:
    from aasp.compare.measures import Measure, Probe


@dataclass(frozen=True, kw_only=True)
class Ablate(DeviceOptions):
    """Train the cells of a suite, probe each, and print means and paired differences with 95 % intervals.

    Suites: isolation, stem, framework, losses, stride. Cells differ from each other in one setting. Finished
    cells are kept: the same command again resumes, and several processes, up to one per core, can work on one folder.
    Several suites can share a folder. The result is OUT/ablation.json; `aasp alias report OUT` draws it.
    """

    suite: tyro.conf.Positional[str]
    """Name of a suite."""
    data: Path
    """Folder, .csv or .parquet manifest of audio to pre-train on."""
    out: Path
    """Folder of the ablation: a new one, or this one, to resume."""
    benchmarks: tuple[str, ...] = ()
    """What to probe, in addition to modulation rates: NAME=ROOT of a benchmark, or INDEX:LABEL:SPLIT, or
    INDEX:LABEL:SPLIT:GROUP."""
    stability: str | None = None
    """Also measure the stability of embeddings of these clips: a folder, an INDEX, or INDEX:GROUP."""
    seeds: int = 3
    """Trainings (seeds) of each cell."""
    steps: int | None = None
    """Optimizer steps of each training."""
    budget: float | None = None
    """Minutes for all trainings together, instead of --steps; the equal number of steps is derived from timings on this
    machine. Decoding and probing take additional time."""
    cells: tuple[str, ...] = ()
    """Only these cells of the suite; all by default."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the forward pass in training."""
    workers: int = 1
    """Threads that decode audio."""
    threads: int | None = None
    """CPU threads of torch; one per core by default."""
    engine: Literal["here", "ray"] = "here"
    """Where cells run: in this process, or as tasks on the Ray cluster of RAY_ADDRESS or `ray start`, whose nodes must
    share the folder."""


def run(argv: list[str]) -> int:
    arguments = parse(Ablate, argv, prog="aasp ablate")
    if arguments.seeds < 1:
        raise AaspError(f"--seeds is {arguments.seeds}; give at least 1, and 3 to separate a cell from its seeds")
    check_running(arguments.threads, arguments.workers)
    arguments.place()
    with stopping_with_75():
        return _ablate(arguments, argv)


def _ablate(arguments: Ablate, argv: list[str]) -> int:
    from aasp.aliasing.ablation import results
    from aasp.aliasing.ablation.settings import Length, resolve
    from aasp.aliasing.ablation.stability_metric import open_stability_metrics
    from aasp.aliasing.ablation.suite import SUITES
    from aasp.compare.folder import Folder, write_json
    from aasp.compare.inputs import Given, Inputs, check_files, data_given, set_hash
    from aasp.compare.measures import MODULATIONS, Listener, modulation_rates, open_measure
    from aasp.compare.on_ray import workers
    from aasp.compare.shared_settings import TrainingOptions
    from aasp.compare.training import Training
    from aasp.evaluate.records import software
    from aasp.model.audio_encoder import load
    from aasp.parts import look_up

    length = Length(arguments.steps, arguments.budget)
    suite = look_up(arguments.suite, SUITES, "suite")
    only = suite.only(arguments.cells)
    folder = Folder(arguments.out, "ablation")
    _ = folder.settings  # errors in it, as in data, are reported before anything is written
    probes: dict[str, Probe] = {}
    sets: dict[str, Given] = {}
    for word in arguments.benchmarks:
        probe = open_measure(word)
        if probe.name in (*probes, MODULATIONS):
            raise AaspError(f"--benchmarks {word}: two have the name {probe.name}; give each once")
        check_files(probe.name, word, {name: given.word for name, given in sets.items()})
        probes[probe.name], sets[probe.name] = probe, Given(word, set_hash(probe.labelled))
    steady = open_stability_metrics(arguments.stability)
    for clip in steady.skipped:
        print(f"--stability: skipped {clip.path}: {clip.reason}", file=sys.stderr)
    inputs = Inputs(data_given(arguments.data), sets, steady.given)
    options = TrainingOptions(arguments.precision, arguments.threads, arguments.device)
    settings = resolve(folder, only, arguments.seeds, length, options, inputs)
    training = Training(arguments.data, arguments.workers, settings["precision"], arguments.device)
    measures: list[Measure] = [*probes.values(), modulation_rates(folder.path / "modulations"), *steady.measures]
    names = [measure.name for measure in measures]

    work = workers(arguments.engine, arguments.device, settings["threads"])
    trainings = only.trainings(settings["steps"], arguments.seeds, measures)
    listen = lambda cell, model: Listener(load(model, training.device))
    outcome = work(trainings, folder, train=training, listen=listen)
    if outcome.exit_code:
        return outcome.exit_code
    found = results.document(folder, suite, names, arguments.seeds)
    write_json(folder.result, found | {"command": f"aasp ablate {shlex.join(argv)}", "software": software()})
    for name in names:
        print(f"\n{name}\n")
        print("\n".join(results.table([row for row in found["rows"] if row["measure"] == name])))
    for place, why in outcome.failed.items():
        print(f"\nfailed: {place}: {why}")
    if outcome.busy:
        busy = "another process works on it; run the same command again later to include its results"
        print(f"\nnot here: {'; '.join(outcome.busy)}: {busy}")
    print(f"\n{folder.result}: `aasp alias report {folder.path}` draws it")
    return 0
