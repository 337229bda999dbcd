"""`aasp demo`: the whole way on sounds made on the spot, with a table and a report at the end."""

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
    from aasp.report.scores import TaskScores

RECIPE = "aasp_tiny"
PRETRAINED, UNTRAINED, STATISTICS = "pre-trained", "untrained", "log-mel statistics"


@dataclass(frozen=True)
class Demo:
    """Make labelled sounds, pre-train aasp_tiny on them, probe it, and write OUT/report.html. About ten minutes.

    What is finished is kept: the same command again goes on where the last one stopped.
    """

    out: Path = Path("demo")
    """Folder for the sounds, the run and the report."""
    steps: int = 600
    """Optimizer steps of the pre-training."""


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
    from aasp.pretrain import recipes

    return demonstrate(arguments.out, replace(recipes.get(RECIPE), steps=arguments.steps), Size())


def demonstrate(out: Path, recipe: Recipe, size: Size) -> int:
    """Run the demo's stages, or those that are not finished in `out`.

    Args:
        out: the demo's folder.
        recipe: what to pre-train.
        size: how many sounds to make.

    Returns:
        0, or what the pre-training returned when a signal stopped it.
    """
    from aasp.datasets import demo
    from aasp.model.audio_encoder import load
    from aasp.pretrain.run import pretrain
    from aasp.report.collect import collect
    from aasp.report.comparison import compare
    from aasp.report.story import tell
    from aasp.training.tracking import read_metrics

    stages = Stages(4)
    sounds, trained = out / "sounds", out / "run"

    with stages.stage("making sounds: notes of sampled instruments, and modulated signals") as bar:
        show = bar("sounds")
        demo.build(sounds, size=size, progress=lambda done: show(done, size.clips))

    stages.announce(f"pre-training {recipe.name} on the train part of them, labels unseen")
    result = pretrain(recipe, sounds / "train", trained, log_every=max(1, min(20, recipe.steps // 10)))
    if result.exit_code:
        stages.console.print("stopped and saved; the same command goes on from there")
        return result.exit_code

    models = {PRETRAINED: load(trained), UNTRAINED: _untrained(recipe, out / "untrained")}
    with stages.stage("probing what three encoders tell of new instruments and voices") as bar:
        readings = {name: _reading(out, name, model, sounds, bar) for name, model in models.items()}
        readings[STATISTICS] = _reading(out, STATISTICS, None, sounds, bar)
    tasks = compare(readings, sounds)

    stages.announce("drawing the report")
    metrics = read_metrics(trained)
    story = collect(
        sounds,
        models[PRETRAINED],
        models[UNTRAINED],
        recipe,
        tasks=tasks,
        readings={name: readings[name] for name in models},
        metrics=metrics,
        facts=_facts(recipe, size, readings, metrics),
    )
    report = out / "report.html"
    with atomic_write(report) as beside:
        beside.write_text(tell(story, eyebrow=f"aasp demo · {recipe.name} · {recipe.steps:,} steps"), encoding="utf-8")
    _print(stages.console, tasks)
    stages.console.print(f"report: {report}\nmodel:  {trained / 'model'}", soft_wrap=True)
    return 0


def _untrained(recipe: Recipe, folder: Path) -> AudioEncoder:
    """The encoder that the pre-training started from."""
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


def _print(console: Console, tasks: Sequence[TaskScores]) -> None:
    """The table of scores, and the pre-trained encoder's leads."""
    from aasp.report.scores import verdict

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("accuracy in %", no_wrap=True)
    for task in tasks:
        table.add_column(task.name.lower(), justify="right", no_wrap=True)
    for name in tasks[0].accuracy:
        scores = (task.accuracy[name].percent() for task in tasks)
        table.add_row(name, *scores, style="bold" if name == PRETRAINED else None)
    console.print(table)
    for task in tasks:
        for other, lead in task.difference.items():
            console.print(f"{task.name}, {PRETRAINED} against {other}: {verdict(lead)}", soft_wrap=True)
