"""`aasp finetune`: from a pre-trained encoder and labelled clips to a classifier, its scores and a report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from aasp.cli.arguments import Settings, parse, set_threads, settings, stopping_with_75
from aasp.cli.facts import facts
from aasp.cli.inputs import check_models
from aasp.cli.labelled import LabelledOptions
from aasp.cli.running import DeviceOptions
from aasp.formats import duration_text, percent_text
from aasp.model.folder import DEFAULT

if TYPE_CHECKING:
    from aasp.evaluate.finetune.data import Finetuning
    from aasp.evaluate.finetune.run import Outcome
    from aasp.model.audio_encoder import AudioEncoder


@dataclass(frozen=True, kw_only=True)
class Finetune(LabelledOptions, DeviceOptions):
    """Fine-tune a model on labelled clips. Writes the classifier to RUN/model (with folds, RUN/fold-NAME/model).

    The best checkpoint on the valid part (without one, a tenth of train, in whole groups) is scored on the test part.
    The same command again resumes the run. RUN/results.json holds the scores for `aasp table` and every prediction,
    RUN/report.html the figures.
    """

    model: tyro.conf.Positional[str] = DEFAULT
    """Folder of a model or of a run, or a model on the hub; by default the model in the package; with --scratch also
    the name of a recipe (`aasp recipes`), or ast_base."""
    out: Path
    """Folder of the run: a new one, or this run, to resume."""
    recipe: str | None = None
    """Name of a fine-tuning recipe (`aasp recipes --finetune`), or your own function that returns one, as
    package.module:name or file.py:name. By default the benchmark's recipe, or tiny for a small model."""
    scratch: bool = False
    """Start from random weights of the same architecture, for comparison."""
    train: Literal["all", "frozen-stem", "head"] | None = None
    """What is trained: everything, all but the stem, or only the head."""
    steps: int | None = None
    """Optimizer steps (of each fold); the schedules scale with them."""
    set: Settings = ()
    """Recipe fields to change (`aasp recipes --finetune NAME` shows them all)."""
    seed: int | None = None
    """Seed of the head, data order and augmentation."""
    resume: Literal["auto", "never"] = "auto"
    """auto: resume what --out holds; never: require a new folder."""
    workers: int = 2
    """Threads that decode audio."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of training; auto: bf16 or fp32, whichever is faster on this machine. Scores are in fp32."""
    threads: int | None = None
    """CPU threads of torch, one per core by default; with the same number, a resumed run is bit-exact."""
    log_every: int = 50
    """Steps between log lines."""
    track: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ("tensorboard",)
    """Trackers, in addition to metrics.jsonl; TensorBoard by default."""


def run(argv: list[str]) -> int:
    arguments = parse(Finetune, argv, prog="aasp finetune")
    check_models((arguments.model,), "finetune", argv)
    arguments.place()
    with stopping_with_75():
        return train(arguments, finetuning_of(arguments))


def train(arguments: Finetune, job: Finetuning) -> int:
    """Fine-tune with the command's other options, write and print the scores; returns the exit code."""
    from aasp.evaluate.finetune.run import finetune

    set_threads(arguments.threads)
    outcome = finetune(
        job,
        arguments.out,
        resume=arguments.resume,
        workers=arguments.workers,
        precision=arguments.precision,
        device=arguments.device,
        log_every=arguments.log_every,
        track=arguments.track,
    )
    if outcome.result is not None:
        _print_outcome(arguments, job, outcome)
    return outcome.exit_code


def finetuning_of(arguments: Finetune) -> Finetuning:
    """The requested model, data and recipe."""
    from aasp.config import with_fields
    from aasp.evaluate.finetune import recipes
    from aasp.evaluate.finetune.data import Finetuning, suited_to
    from aasp.model.audio_encoder import load
    from aasp.model.folder import find, read_config

    labelled = arguments.open(arguments.out.with_name(f"{arguments.out.name}.missing.csv"))
    untrained = _untrained(arguments.model) if arguments.scratch else None
    encoder = load(arguments.model) if untrained is None else untrained
    known = read_config(find(arguments.model) / "config.json").get("classes") if untrained is None else None
    if known is not None and os.environ.get("RANK", "0") == "0":
        print(f"{arguments.model}: a classifier of {len(known)} classes; its encoder is used with a new head")
    width = encoder.config.encoder.width
    recipe = suited_to(labelled, width) if arguments.recipe is None else recipes.get(arguments.recipe)
    fields = settings(arguments.set, steps=arguments.steps, seed=arguments.seed, train=arguments.train)
    recipe = with_fields(recipe, fields)
    return Finetuning(encoder, arguments.model, labelled, recipe, arguments.scratch)


def _untrained(name: str) -> AudioEncoder | None:
    """The encoder of a recipe or architecture of that name, if there is one; a model of that name has precedence."""
    from aasp.cli.inputs import is_model
    from aasp.model.architectures import ARCHITECTURES
    from aasp.model.audio_encoder import AudioEncoder
    from aasp.pretrain import recipes

    if is_model(name):
        return None
    if name in ARCHITECTURES:
        return AudioEncoder(ARCHITECTURES[name]())
    return AudioEncoder(recipes.get(name).model) if name in recipes.names() or ":" in name else None


def _print_outcome(arguments: Finetune, job: Finetuning, outcome: Outcome) -> None:
    """Write results and report, and print the scores."""
    from aasp.audio.sounds import describe
    from aasp.cli.linear_results import with_unit
    from aasp.evaluate.finetune.results import learning, minutes, write_results
    from aasp.report.classification import ClassificationReport, write_classification_report

    result, task, data = outcome.result, outcome.task, outcome.labelled
    assert result is not None
    scores = write_results(arguments.out / "results.json", job, outcome)
    plain = task.regression
    parts = zip(task.rounds, result.round_scores(), strict=True)
    heading = f"{arguments.model} {'from scratch' if job.scratch else 'fine-tuned'} on {data.task_name}"
    trained = duration_text(60 * sum(map(minutes, outcome.folders)))
    shown = {
        **{name: with_unit(one, plain) for name, one in scores.items()},
        "interval": next(iter(scores.values())).about(),
        "parts": ", ".join(f"{r.name}: {f'{value:.3g}' if plain else percent_text(value)}" for r, value in parts),
        "clips": f"{len(result.test):,} scored, "
        + (f"numbers: {task.classes[0]}" if plain else f"{len(task.classes)} classes"),
        "training": f"{job.recipe.name}, {job.recipe.steps:,} steps, {trained}",
        "missing": f"{len(data.missing):,} clips" if data.missing else None,
        "note": "; ".join(task.notes) or None,
    }
    written = [str(arguments.out / "results.json")]
    if plain:  # the page is for classes only
        facts(heading, {**shown, "written": written})
        return
    report = ClassificationReport(
        title=heading,
        classes=task.classes,
        truth=result.truth,
        probabilities=result.probabilities,
        rounds=result.rounds,
        names=[describe(data.sounds[row]) for row in result.test],
        score=scores[result.metric],
        history=[learning(folder) for folder in outcome.folders],
        facts={name: text for name, text in shown.items() if text is not None},
    )
    write_classification_report(arguments.out / "report.html", report)
    written.append(str(arguments.out / "report.html"))
    facts(heading, {**shown, "written": written})
