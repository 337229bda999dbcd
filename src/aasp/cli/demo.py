"""`aasp demo`: the package's model on generated sounds, its continued training, and a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from aasp.cli.arguments import parse
from aasp.cli.stages import Stages
from aasp.errors import AaspError
from aasp.formats import duration_text, percent_text

if TYPE_CHECKING:
    from aasp.datasets.demo import Size
    from aasp.evaluate.demo import FirstLook, Reading, TaskScores
    from aasp.evaluate.probe import Progress
    from aasp.model.audio_encoder import AudioEncoder
    from aasp.pretrain.recipe import Recipe

RECIPE = "aasp_tiny"
LR_SHARE = 0.25
"""Factor on the recipe's learning rates for continued training."""
TRAINED_ON, PACKAGED, UNTRAINED, STATISTICS = "further trained", "aasp-tiny", "untrained", "log-mel statistics"


@dataclass(frozen=True)
class Demo:
    """Generate labelled sounds, try aasp-tiny on them, continue its training, and write OUT/report.html.

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
    """Run the demo's stages, skipping those that are finished in `out`.

    Args:
        out: the demo's folder.
        recipe: recipe of the continued training.
        model: the model to continue from: the package's own, or another's folder.
        size: how many sounds to generate.

    Returns:
        0, or the training's exit code if a signal stopped it.
    """
    from aasp.datasets import demo
    from aasp.evaluate.demo import compare, first_look, read
    from aasp.model.audio_encoder import load
    from aasp.pretrain.run import pretrain
    from aasp.report.demo_report import write_demo_report
    from aasp.training.tracking import read_metrics

    stages = Stages(5)
    sounds, trained, kept = out / "sounds", out / "run", out / "kept"
    packaged = load(model)

    with stages.stage("making sounds: notes of sampled instruments, and modulated signals") as bar:
        show = bar("sounds")
        demo.build(sounds, size=size, progress=lambda done: show(done, size.clips))

    with stages.stage(f"{PACKAGED} at work: sounds named from a few labels, and similar notes") as bar:
        embedding = lambda name: bar(f"{name}, embedding sounds")
        look = first_look(sounds, {PACKAGED: packaged, STATISTICS: None}, kept, embedding)
    _print_look(stages.console, look)

    stages.announce("continuing its training on the train part, without labels")
    result = pretrain(
        recipe, sounds / "train", trained, start_from=model, log_every=max(1, min(10, recipe.steps // 10))
    )
    if result.exit_code:
        stages.console.print("stopped and saved; run the same command again to resume")
        return result.exit_code

    with stages.stage("probing the encoders on new instruments and voices") as bar:
        whitening = lambda: bar(f"{TRAINED_ON}, whitening")
        further = _whitened(load(trained), packaged.config.whitened, sounds / "train", out / "model", whitening)
        models = {TRAINED_ON: further, PACKAGED: packaged, UNTRAINED: _untrained(recipe, out / "untrained")}
        probed = {**models, STATISTICS: None}
        part = lambda name: lambda what: bar(f"{name}, {what}")
        readings = {name: read(one, sounds, kept, part(name)) for name, one in probed.items()}
    tasks = compare(readings, sounds)

    stages.announce("drawing the report")
    metrics = read_metrics(trained)
    report = out / "report.html"
    write_demo_report(
        report,
        sounds,
        models[TRAINED_ON],
        models[UNTRAINED],
        recipe,
        look=look,
        tasks=tasks,
        metrics=metrics,
        facts=_facts(recipe, size, readings, metrics),
        eyebrow=f"aasp demo · {PACKAGED} · {recipe.steps:,} steps",
    )
    _print(stages.console, tasks)
    stages.console.print(f"report: {report}\nmodel:  {out / 'model'}", soft_wrap=True)
    return 0


def _whitened(
    encoder: AudioEncoder, directions: int, data: Path, folder: Path, bar: Callable[[], Progress]
) -> AudioEncoder:
    """The encoder with a whitening as the packaged model's, learned once from `data` and kept in `folder`."""
    import torch

    from aasp.datasets.manifest import Manifest
    from aasp.evaluate.whitening import excerpts, whitened
    from aasp.model.audio_encoder import load

    if folder.exists():
        made = load(folder)
        same = (torch.equal(made.state_dict()[name], x) for name, x in encoder.state_dict().items())
        if made.config.whitened == directions and all(same):
            return made
    if directions:
        encoder = whitened(encoder, excerpts(Manifest.open(data)[0]), directions, progress=bar())
    encoder.save(folder)
    return encoder


def _untrained(recipe: Recipe, folder: Path) -> AudioEncoder:
    """An encoder of the recipe with random weights."""
    from aasp.model.audio_encoder import AudioEncoder
    from aasp.training.randomness import seed

    seed(recipe.seed)
    encoder = AudioEncoder(recipe.model).eval()
    encoder.save(folder)
    return encoder


def _facts(
    recipe: Recipe, size: Size, readings: Mapping[str, Reading], metrics: Sequence[Mapping[str, float]]
) -> dict[str, str]:
    """How the report was made, by term."""
    import torch
    from markupsafe import Markup

    from aasp import __version__
    from aasp.datasets.notes import INSTRUMENTS
    from aasp.evaluate.demo import LABELS

    last = metrics[-1]
    chosen = Markup("<br>").join(
        f"{LABELS[label][0]}: " + "; ".join(f"{name} {reading.chosen[label]}" for name, reading in readings.items())
        for label in LABELS
    )
    return {
        "Command": Markup("<code>aasp demo --steps {}</code>").format(recipe.steps)
        + f", the same numbers from the same seed {recipe.seed} on the same machine",
        "Sounds": f"{size.clips:,} clips: notes of {len(INSTRUMENTS)} sampled instruments from the SoundFont in "
        + Markup("<code>pretty_midi</code>")
        + ", and generated signals; made on the spot, instruments and voices apart in train, valid and test",
        "Training": f"{recipe.steps:,} steps of {recipe.data.batch} clips, {last['hours_seen']:.1f} h of sound in "
        f"{duration_text(last['seconds'])} on {torch.get_num_threads()} CPU thread(s)",
        "Features": "chosen on the valid part. " + chosen,
        "Software": f"aasp {__version__}, torch {torch.__version__}",
    }


def _print_look(console: Console, look: FirstLook) -> None:
    """Print the scores with few labels, and the notes most similar to some others."""
    for one in look.few:
        for count, scores in one.accuracy.items():
            right = ", ".join(f"{name} {percent_text(score.estimate, 0)} %" for name, score in scores.items())
            console.print(f"    {one.name.lower()}, labels per class {count}: {right}", soft_wrap=True)
    sound = lambda row: f"{row['instrument']}, key {row['pitch']}"
    for query, others in zip(look.queries, look.neighbours, strict=True):
        console.print(f"    most like {sound(query)}: {', '.join(map(sound, others))}", soft_wrap=True)


def _print(console: Console, tasks: Sequence[TaskScores]) -> None:
    """Print the table of scores, and the leads of the encoder after continued training."""
    from aasp.evaluate.demo import verdict

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
