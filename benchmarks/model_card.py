"""Write the card of the package's model: its training, its scores, and the sources of its training sound.

usage: python benchmarks/model_card.py RUN SCORES SOUND [--model src/aasp/packaged/aasp-tiny]

RUN is the run from which `package_model.py` took the model, SCORES the file that `ruler.py MODEL --json SCORES` wrote,
SOUND the index that the run was trained on, with columns source, kind, licence and seconds; the folders in its paths
have an index.csv of their own, whose column `original` begins with a package or repository.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

import torch

from aasp.config import from_dict
from aasp.errors import AaspError
from aasp.evaluate.intervals import Interval
from aasp.evaluate.whitening import plain_weights
from aasp.files import atomic_write
from aasp.markup import in_markdown
from aasp.model.audio_encoder import AudioEncoder, load
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.pretrain.recipe import Recipe
from aasp.training import checkpoint
from aasp.training.tracking import read_metrics, read_starts

TEMPLATE = Path(__file__).with_suffix(".md")
DEFAULT, STRONGEST = "Default vector, ridge regression", "minus the strongest"


def card(model: AudioEncoder, run: Path, scores: Mapping[str, Any], sound: Path) -> str:
    """The card as Markdown.

    Raises:
        AaspError: the run has another model, or scores are of none or of several models.
    """
    trained, own = (plain_weights(one) for one in (load(run), model))  # the whitening is learned on packaging
    same = lambda one, other: torch.equal(one.half().to(other.dtype) if one.is_floating_point() else one, other)
    if trained.keys() != own.keys() or not all(same(trained[name], own[name]) for name in own):
        raise AaspError(f"{run}: its model is not the packaged one; run package_model.py and ruler.py again")
    if len(scores["models"]) != 1:
        raise AaspError(f"SCORES has {len(scores['models'])} models; run ruler.py on the packaged one alone")
    (found,) = scores["models"].values()
    where = run / "recipe.json"
    recipe = from_dict(Recipe, json.loads(where.read_text(encoding="utf-8")), str(where))
    if not isinstance(method := recipe.method, AaSPConfig):
        raise AaspError(f"{where}: the method is not AaSP, which the card describes")
    step = int(checkpoint.latest(run).name.removeprefix("step-"))  # type: ignore[union-attr]
    last = max((line for line in read_metrics(run) if line["step"] <= step), key=lambda line: line["step"])
    starts, config = read_starts(run / "environment.json"), model.config
    first = starts[0]
    extensions = starts[-1].get("extended") or []  # by `--extend`, which the command of the last start then has
    processors = dict.fromkeys(_processors(start) for start in starts)
    keys = [f"{pooling} of layer {layer}" for layer, pooling in config.keys]
    learned = f" Its {config.whitened} directions of largest variance are scaled down, as\n"
    learned += "learned from the sound that it was trained on."
    tables = {
        **found["readings"],
        **{f"Fine-tuned with {_labels(count)} a class": some for count, some in found["few labels"].items()},
        **{f"The last block, {title[0].lower()}{title[1:]}": some for title, some in found["last block"].items()},
    }
    with torch.no_grad():
        width = model(torch.zeros(1, config.frontend.rate)).clip.shape[1]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        width=f"{width:,}",
        parameters=f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}",
        model=f"{type(config.stem).__name__.removesuffix('Config')} on patches of {_by(config.stem.patch)} "
        f"(frames of 10 ms, mel bins), {config.encoder.width} wide, {config.encoder.depth} blocks of "
        f"{config.encoder.heads} heads, windows of {config.window_seconds:g} s, {config.frontend.rate / 1000:g} kHz.",
        vector=" and ".join(keys),
        whitened=learned if config.whitened else "",
        targets=_targets(method),
        visible=f"{100 * method.masking.keep_ratio:.0f}",
        views=method.masking.views,
        command=_command(starts[-1 if extensions else 0]["command"]),
        commit="`, then `".join(dict.fromkeys(start["commit"] for start in starts)),
        steps=f"{step:,}",
        planned=" + ".join(f"{steps:,}" for steps in (recipe.steps, *(one["steps"] for one in extensions))),
        batch=recipe.data.batch,
        seen=f"{last['hours_seen']:,.0f}",
        clock=f"{last['seconds'] / 3600:.1f}",
        processors=", then ".join(processors),
        hours=f"{first['hours']:.1f}",
        files=f"{first['files']:,}",
        thinned="" if scores["full"] else ", of sets thinned to 1,000 clips",
        scores="\n\n".join(_scores(title, some) for title, some in tables.items()),
        ranks=", ".join(f"{rank:.1f} on {name}" for name, rank in found["effective rank"].items()),
        weak="\n".join(_weak(found["readings"][DEFAULT])),
        sources="\n".join(f"| {' | '.join(map(in_markdown, row))} |" for row in _sources(sound)),
    )


def _processors(start: Mapping[str, Any]) -> str:
    """Processes and threads of a start, in words."""
    threads, processes = start["threads"], start["processes"]
    of = f"{threads} thread{'s' * (threads > 1)}"
    return of if processes == 1 else f"{processes} processes of {of}"


def _targets(method: AaSPConfig) -> str:
    """What is predicted of hidden patches."""
    frame = {"layers": "the teacher's layers", "patches": "log-mels"}
    codes = ["codes"] if method.codebook.weight else []
    return ", ".join(codes + [frame[one] for one in method.teacher.frame.split("+")])


def _by(patch: tuple[int, int]) -> str:
    return " × ".join(map(str, patch))


def _command(words: list[str]) -> str:
    """The command as typed, with paths without the machine's folders."""
    return shlex.join(["aasp", *(Path(word).name if word.startswith("/") else word for word in words[1:])])


def _labels(count: str) -> str:
    return "1 label" if count == "1" else f"{count} labels"


def _better(lead: Interval) -> bool:
    return lead.excludes_zero() and lead.estimate > 0


def _scores(title: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """A table with one row per set and the lead over each control; bold if its interval is above zero."""
    controls = [name for name in found if name.startswith("minus ") and name != STRONGEST]
    lines = [f"### {title}", "", f"| set | aasp-tiny | {' | '.join(controls)} |", f"|{'---|' * (2 + len(controls))}"]
    for name, value in found["model"].items():
        leads = [Interval(**found[control][name]) for control in controls]
        leads_text = [f"**{one.percent('+')}**" if _better(one) else one.percent("+") for one in leads]
        lines.append(f"| {name} | {' | '.join([Interval(**value).percent(), *leads_text])} |")
    return "\n".join(lines)


def _weak(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Sets on which the lead over the strongest control is not clearly above zero."""
    for name, value in found[STRONGEST].items():
        lead = Interval(**value)
        if name != "average" and not _better(lead):
            how = "below" if lead.excludes_zero() else "not shown to be better than"
            yield f"- `{name}`: its vector is {how} the best of the controls, {lead.percent('+')} points."


def _sources(index: Path) -> Iterator[tuple[str, ...]]:
    """Source, package, kind, licence, segments and minutes, by kind."""
    rows = _read(index)
    packages: dict[str, set[str]] = defaultdict(set)
    for folder in sorted({row["path"].partition("/")[0] for row in rows}):
        for row in _read(index.parent / folder / "index.csv"):
            parts = 2 if row["original"].startswith("github:") else 1  # owner and repository, or a package of Debian
            packages[row["source"]].add("/".join(row["original"].split("/")[:parts]))
    seconds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        seconds[row["kind"], row["source"], row["licence"]].append(float(row["seconds"]))
    for (kind, source, licence), some in sorted(seconds.items()):
        yield source, ", ".join(sorted(packages[source])), kind, licence, str(len(some)), f"{sum(some) / 60:.1f}"


def _read(index: Path) -> list[dict[str, str]]:
    with index.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("sound", type=Path)
    default = Path(__file__).parents[1] / "src" / "aasp" / "packaged" / "aasp-tiny"
    parser.add_argument("--model", type=Path, default=default)
    arguments = parser.parse_args()
    scores = json.loads(arguments.scores.read_text(encoding="utf-8"))
    try:
        text = card(load(arguments.model), arguments.run, scores, arguments.sound)
    except AaspError as error:
        raise SystemExit(f"model_card: {error}") from None
    with atomic_write(arguments.model / "README.md") as beside:
        beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
