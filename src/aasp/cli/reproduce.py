"""`aasp reproduce`: repeat a run from its record; first list what differs, at the end compare the losses."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console
from rich.table import Table

from aasp.cli import finetune, pretrain
from aasp.cli.arguments import parse, stopping_with_75
from aasp.cli.finetune import Finetune
from aasp.cli.main import COMMANDS
from aasp.cli.pretrain import Pretrain
from aasp.errors import AaspError

if TYPE_CHECKING:
    from aasp.evaluate.finetune.recipe import FinetuneRecipe
    from aasp.pretrain.recipe import Recipe
    from aasp.training.reproduction import Difference, Recorded


@dataclass(frozen=True)
class Reproduce:
    """Repeat a run of `aasp pretrain` or `aasp finetune` from its record: the same command, recipe, seed, threads and
    precision, on the same data. Differences since then (commit, versions, machine, data) are listed first; at the end
    the losses are compared bit for bit. Nothing named in the record is imported: give your own parts again with
    --plugin.

    The exit code is 0 if they are equal, 1 if they differ. The same command again resumes a stopped repetition.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run; recipe.json, environment.json and metrics.jsonl are enough."""
    out: Path | None = None
    """Folder of the repetition, RUN-again by default."""
    data: Path | None = None
    """Path of the pre-training data, if it has moved."""
    anyway: bool = False
    """Repeat although the data, or the model that the run started from, has changed."""


def run(argv: list[str]) -> int:
    arguments = parse(Reproduce, argv, prog="aasp reproduce")
    folder, place = arguments.run.absolute(), Path.cwd()
    parts = sorted(folder.glob("fold-*/recipe.json"))
    from aasp.training.reproduction import Recorded

    if not (folder / "recipe.json").exists():
        _refuse_cells(arguments.run)
    recorded = Recorded.of(parts[0].parent if parts else folder)
    words = _without_plugins(recorded.argv)
    out = (arguments.out or folder.with_name(f"{folder.name}-again")).absolute()
    if out == folder or folder in out.parents:
        raise AaspError(f"--out {out}: is inside the run to repeat; choose another folder")
    if recorded.history.get("data_changed"):
        text = "the data changed during the run, and only the last version is recorded"
        raise AaspError(f"{arguments.run}: {text}; it can't be repeated")
    command = words[0] if words else ""
    if command not in ("pretrain", "finetune"):
        typed = shlex.join(["aasp" if command in COMMANDS else str(recorded.start["command"][0]), *words])
        raise AaspError(f"{arguments.run}: started by `{typed}`; run that again, with another folder to write to")
    started = Path(str(recorded.start.get("folder", place)))
    data = arguments.data and arguments.data.absolute()
    if started.is_dir():
        os.chdir(started)  # the recorded words may name files relative to it
    try:
        with stopping_with_75():
            again = _pretrained if command == "pretrain" else _finetuned
            code = again(recorded, words[1:], out, data, arguments.anyway)
    finally:
        os.chdir(place)
    if code:
        return code
    runs = [(part.parent, out / part.parent.name) for part in parts] or [(folder, out)]
    return int(not all([_compared(then, now) for then, now in runs]))


def _pretrained(recorded: Recorded, words: list[str], out: Path, data: Path | None, anyway: bool) -> int:
    from aasp.config import from_dict
    from aasp.datasets.clips import listing
    from aasp.datasets.manifest import Manifest
    from aasp.pretrain.initial import read_initial
    from aasp.pretrain.recipe import Recipe
    from aasp.pretrain.run import data_facts
    from aasp.training.reproduction import Difference

    given = parse(Pretrain, words, prog="aasp pretrain")
    given = replace(given, out=out, data=data or given.data, track=("tensorboard",), **_as_then(recorded))
    document = {name: value for name, value in recorded.recipe.items() if name != "started_from"}
    recipe = from_dict(Recipe, document, str(recorded.run / "recipe.json"))
    assert given.data is not None
    manifest, _ = Manifest.open(given.data, path_column=given.path_column, channels=given.channels)
    changed = list(recorded.data_differences(data_facts(manifest, listing(manifest))))
    origin = (recorded.recipe.get("started_from") or {}).get("model_hash")
    if given.from_ is not None and origin is not None:
        now = read_initial(given.from_).facts["model_hash"]
        changed += [Difference("weights it started from", origin, now, "everything")] * (now != origin)
    _print_differences(recorded, _environment(recorded, given, recipe), changed, anyway)
    code = pretrain.train(replace(given, extend=None), recipe)
    for extension in recorded.history.get("extended", ()):
        code = code or pretrain.train(replace(given, extend=extension["steps"]), recipe)
    return code


def _finetuned(recorded: Recorded, words: list[str], out: Path, data: Path | None, anyway: bool) -> int:
    from aasp.cli.inputs import is_model
    from aasp.config import from_dict
    from aasp.datasets.fingerprint import contents
    from aasp.evaluate.finetune.recipe import FinetuneRecipe

    if data is not None:
        raise AaspError(f"--data {data}: it is for pre-training runs; put the labelled clips back where they were")
    given = parse(Finetune, words, prog="aasp finetune")
    given = replace(given, out=out, track=("tensorboard",), **_as_then(recorded))
    given = replace(given, recipe=None, set=(), steps=None, seed=None, train=None)  # these are in the record
    document = {name: value for name, value in recorded.recipe.items() if name != "finetuned"}
    recipe = from_dict(FinetuneRecipe, document, str(recorded.run / "recipe.json"))
    if given.scratch and ":" in given.model and not is_model(given.model):
        text = f"trained from scratch by {given.model}, and nothing is imported because a file names it"
        raise AaspError(f"{recorded.run}: {text}; run its `aasp finetune` command again with another --out")
    job = replace(finetune.finetuning_of(given), recipe=recipe)
    now = {
        "model_hash": job.encoder_hash,
        "classes": len(job.labelled.classes),
        "labels_hash": job.labels_hash,
        "contents": contents(len(job.labelled), job.labelled.sounds.__getitem__),
    }
    _print_differences(recorded, _environment(recorded, given, recipe), list(recorded.data_differences(now)), anyway)
    return finetune.train(given, job)


def _without_plugins(words: Sequence[str]) -> list[str]:
    """Recorded words without plugins, which the user must give."""
    left = [word for word in words if not word.startswith("--plugin=")]
    while "--plugin" in left:
        place = left.index("--plugin")
        del left[place : place + 2]
    return left


def _as_then(recorded: Recorded) -> dict[str, Any]:
    """Options taken from the record, whatever was typed."""
    known = {name: recorded.start.get(name) for name in ("threads", "precision")}
    return {"resume": "auto"} | {name: value for name, value in known.items() if value is not None}


def _environment(recorded: Recorded, given: Pretrain | Finetune, recipe: Recipe | FinetuneRecipe) -> list[Difference]:
    from aasp.cli.arguments import set_threads
    from aasp.training import engine, environment

    set_threads(given.threads)
    now = environment.describe(engine.accelerator(given.device), given.precision)
    own = environment.own_code_fact(recipe)
    if environment.OWN_CODE in recorded.start:
        own = {environment.OWN_CODE: "none", **own}
    return list(recorded.environment_differences(now | own))


def _print_differences(
    recorded: Recorded, differences: Sequence[Difference], changed: Sequence[Difference], anyway: bool
) -> None:
    """Print the differences.

    Raises:
        AaspError: the data differs, and --anyway is not given.
    """
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"{recorded.run}, started {recorded.start.get('time', 'at an unknown time')}")
        if differences or changed:
            _table([*differences, *changed])
        else:
            print("nothing differs: commit, versions, machine and data are the same")
    if changed and not anyway:
        text = f"{changed[0].name} was {changed[0].then} and is {changed[0].now}"
        raise AaspError(f"{recorded.run}: its data has changed: {text}; bring it back, or add --anyway")


def _table(differences: Sequence[Difference]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("differs", "then", "now", "what may change"):
        table.add_column(name, overflow="fold")
    for one in differences:
        table.add_row(one.name, one.then, one.now, one.changes)
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as lines:
        console.print(table)
    for line in lines.get().splitlines():
        print(line.rstrip())


def _compared(then: Path, now: Path) -> bool:
    """Print how the losses compare, and return whether they are equal."""
    from aasp.training.reproduction import Losses

    losses = Losses.of(then, now)
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"{now} beside {then}: {losses.summary()}")
    return losses.equal


def _refuse_cells(folder: Path) -> None:
    """Refuse a comparison or an ablation, naming its command."""
    for kind in ("comparison", "ablation"):
        try:
            command = json.loads((folder / f"{kind}.json").read_text())["command"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        raise AaspError(f"{folder} is a {kind} of many runs; run its own command with another --out: `{command}`")
