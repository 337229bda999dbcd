"""`aasp demo`: the model of the package at work, training on from it, and a report, on sounds made on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from aasp.cli.arguments import parse
from aasp.cli.facts import clock
from aasp.cli.stages import Bar, Stages
from aasp.errors import AaspError
from aasp.files import atomic_write

if TYPE_CHECKING:
    from aasp.datasets.demo import Size
    from aasp.model.audio_encoder import AudioEncoder
    from aasp.pretrain.recipe import Recipe
    from aasp.report.comparison import Reading
    from aasp.report.first_look import FirstLook
    from aasp.report.scores import TaskScores

RECIPE = "aasp_tiny"
LR_SHARE = 0.25
"""Of the recipe's learning rates, for training on."""
TRAINED_ON, PACKAGED, UNTRAINED, STATISTICS = "trained on", "aasp-tiny", "untrained", "log-mel statistics"


@dataclass(frozen=True)
class Demo:
    """Make labelled sounds, see what aasp-tiny makes of them, train on from it, and write OUT/report.html: ten minutes.

    Finished steps are kept: the same command again resumes.
    """

    out: Path = Path("demo")
    """Folder for the sounds, the run and the report."""
    steps: int = 150
    """Optimizer steps of training on."""


def run(argv: list[str]) -> int:
    arguments = parse(Demo, argv, prog="aasp demo")
    if arguments.steps < 1:
        raise AaspError(f"--steps is {arguments.steps}; give a number of at least 1")
    there = next(path for path in (arguments.out, *arguments.out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise AaspError(f"output is a file: {there}; --out names a folder, {arguments.out} can't be one")
    if arguments.out.is_dir() and any(arguments.out.iterdir()) and not (arguments.out / "sounds").is_dir():
        raise AaspError(f"output is neither empty nor a demo: {arguments.out}; choose another --out")

    from aasp.datasets.demo import Size
    from aasp.model.folder import DEFAULT
    from aasp.pretrain import recipes
    from aasp.training.matrices import MuonConfig

    recipe = recipes.get(RECIPE)
    assert isinstance(recipe.optimizer.matrices, MuonConfig)
    matrices = replace(recipe.optimizer.matrices, lr=LR_SHARE * recipe.optimizer.matrices.lr)
    optimizer = replace(recipe.optimizer, lr=LR_SHARE * recipe.optimizer.lr, matrices=matrices)
    return demonstrate(arguments.out, replace(recipe, steps=arguments.steps, optimizer=optimizer), DEFAULT, Size())


def demonstrate(out: Path, recipe: Recipe, model: str, size: Size) -> int:
    """Run the demo's stages, or those that are not finished in `out`.

    Args:
        out: the demo's folder.
        recipe: how to train on.
        model: what to train on from: the package's own, or another's folder.
        size: how many sounds to make.

    Returns:
        0, or what the training returned when a signal stopped it.
    """
    from aasp.datasets import demo
    from aasp.model.audio_encoder import load
    from aasp.pretrain.run import pretrain
    from aasp.report.collect import collect
    from aasp.report.comparison import compare
    from aasp.report.first_look import first_look
    from aasp.report.story import tell
    from aasp.training.tracking import read_metrics

    stages = Stages(5)
    sounds, trained = out / "sounds", out / "run"
    packaged = load(model)

    with stages.stage("making sounds: notes of sampled instruments, and modulated signals") as bar:
        show = bar("sounds")
        demo.build(sounds, size=size, progress=lambda done: show(done, size.clips))

    with stages.stage(f"what {PACKAGED} knows of them as it comes") as bar:
        readings = {PACKAGED: _reading(out, PACKAGED, packaged, sounds, bar)}
        readings[STATISTICS] = _reading(out, STATISTICS, None, sounds, bar)
    look = first_look(sounds, {name: reading.notes for name, reading in readings.items()})
    _print_look(stages.console, look)

    stages.announce("training on from it on the train part, labels unseen")
    result = pretrain(
        recipe, sounds / "train", trained, start_from=model, log_every=max(1, min(10, recipe.steps // 10))
    )
    if result.exit_code:
        stages.console.print("stopped and saved; run the same command again to resume")
        return result.exit_code

    models = {TRAINED_ON: load(trained), PACKAGED: packaged, UNTRAINED: _untrained(recipe, out / "untrained")}
    with stages.stage("probing the encoders on new instruments and voices") as bar:
        for name in (TRAINED_ON, UNTRAINED):
            readings[name] = _reading(out, name, models[name], sounds, bar)
    readings = {name: readings[name] for name in (*models, STATISTICS)}
    tasks = compare(readings, sounds)

    stages.announce("drawing the report")
    metrics = read_metrics(trained)
    story = collect(
        sounds,
        models[TRAINED_ON],
        models[UNTRAINED],
        recipe,
        look=look,
        tasks=tasks,
        readings={name: readings[name] for name in (PACKAGED, STATISTICS)},
        metrics=metrics,
        facts=_facts(recipe, size, readings, metrics),
    )
    report = out / "report.html"
    with atomic_write(report) as beside:
        beside.write_text(tell(story, eyebrow=f"aasp demo · {PACKAGED} · {recipe.steps:,} steps"), encoding="utf-8")
    _print(stages.console, tasks)
    stages.console.print(f"report: {report}\nmodel:  {trained / 'model'}", soft_wrap=True)
    return 0


def _untrained(recipe: Recipe, folder: Path) -> AudioEncoder:
    """An encoder of the recipe with random weights."""
    from aasp.model.audio_encoder import AudioEncoder
    from aasp.training.randomness import seed

    seed(recipe.seed)
    encoder = AudioEncoder(recipe.model).eval()
    encoder.save(folder)
    return encoder


def _reading(out: Path, name: str, model: AudioEncoder | None, sounds: Path, bar: Bar) -> Reading:
    """What probes read from a model, or from log-mel statistics: kept from an earlier run on the same, or new."""
    from aasp.report.comparison import Reading, fingerprint, read_encoder, read_statistics

    file, made = out / "readings" / f"{name.replace(' ', '-')}.npz", fingerprint(sounds, model)
    reading = Reading.load(file, made)
    if reading is None:
        shows = {"embedding": bar(f"{name}, embedding clips"), "probing": bar(f"{name}, probing")}
        reading = read_statistics(sounds, **shows) if model is None else read_encoder(model, sounds, **shows)
        reading.save(file, made)
    return reading


def _facts(
    recipe: Recipe, size: Size, readings: Mapping[str, Reading], metrics: Sequence[Mapping[str, float]]
) -> dict[str, str]:
    """How the report was made, HTML by term."""
    from html import escape

    import torch

    from aasp import __version__
    from aasp.datasets.notes import INSTRUMENTS
    from aasp.report.comparison import LABELS

    last = metrics[-1]
    chosen = "<br>".join(
        escape(
            f"{LABELS[label][0]}: " + "; ".join(f"{name} {reading.chosen[label]}" for name, reading in readings.items())
        )
        for label in LABELS
    )
    return {
        "Command": f"<code>aasp demo --steps {recipe.steps}</code>, the same numbers from the same seed {recipe.seed} "
        "on the same machine",
        "Sounds": f"{size.clips:,} clips: notes of {len(INSTRUMENTS)} sampled instruments from the SoundFont in "
        "<code>pretty_midi</code>, and generated signals; made on the spot, instruments and voices apart in "
        "train, valid and test",
        "Training": f"{recipe.steps:,} steps of {recipe.data.batch} clips, {last['hours_seen']:.1f} h of sound in "
        f"{clock(last['seconds'])} on {torch.get_num_threads()} CPU thread(s)",
        "Features": f"chosen on the valid part. {chosen}",
        "Software": f"aasp {__version__}, torch {torch.__version__}",
    }


def _print_look(console: Console, look: FirstLook) -> None:
    """Few labels, and which some notes are most like."""
    for name, found in look.few.items():
        scores = ", ".join(f"{count}: {100 * one.estimate:.0f} %" for count, one in found.items())
        console.print(f"    families of notes by {name}, by labels a family: {scores}", soft_wrap=True)
    for (name, _), others in zip(look.asked, look.found, strict=True):
        console.print(f"    most like {name}: {', '.join(other for other, _ in others)}", soft_wrap=True)


def _print(console: Console, tasks: Sequence[TaskScores]) -> None:
    """The table of scores, and the leads of the encoder that was trained on."""
    from aasp.report.scores import verdict

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("accuracy in %", no_wrap=True)
    for task in tasks:
        table.add_column(task.name.lower(), justify="right", no_wrap=True)
    for name in tasks[0].accuracy:
        scores = (task.accuracy[name].percent() for task in tasks)
        table.add_row(name, *scores, style="bold" if name == TRAINED_ON else None)
    console.print(table)
    for task in tasks:
        for other, lead in task.difference.items():
            console.print(f"{task.name}, {TRAINED_ON} against {other}: {verdict(lead)}", soft_wrap=True)
