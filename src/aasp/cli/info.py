"""`aasp info`: what a path contains, from headers and JSON alone, without loading torch."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from aasp.cli.arguments import parse
from aasp.cli.facts import facts
from aasp.cli.inputs import line
from aasp.config import flat
from aasp.documents import as_written, parse_json, read_object
from aasp.errors import AaspError
from aasp.formats import duration_text, percent_text
from aasp.model.folder import PACKAGED, packaged
from aasp.shapes import read_shapes

REMEDY = "copy it again"
MAX_LISTED = 12  # distinct values of a column that are listed individually


@dataclass(frozen=True)
class Info:
    """Show details of a model, a run, an index, a manifest or an audio file."""

    path: tyro.conf.Positional[Path]
    """Folder of an encoder, a classifier, a run or an index, the name of a model in the package, a .csv, .tsv or
    .parquet manifest, or an audio file."""


def run(argv: list[str]) -> int:
    path = parse(Info, argv, prog="aasp info").path
    if not path.exists() and str(path) in packaged():
        path = PACKAGED / path
    if (path / "config.json").is_file():
        with as_written(path / "config.json", REMEDY):
            show_model(path)
    elif (path / "recipe.json").is_file():
        with as_written(path, REMEDY):
            show_run(path)
    elif any(path.glob("fold-*/recipe.json")):
        with as_written(path, REMEDY):
            show_folds(path)
    elif (path / "index.json").is_file():
        with as_written(path / "index.json", "make the index again"):
            show_index(path)
    elif path.is_dir():
        listed = line("scan", str(path))
        raise AaspError(f"neither a model, a run nor an index: {path}; a folder of audio is listed by {listed}")
    elif not path.exists():
        raise AaspError(f"no such file or folder: {path}; check the path")
    elif path.suffix.lower() in (".csv", ".tsv", ".parquet"):
        show_manifest(path)
    elif path.suffix.lower() in (".onnx", ".npz"):
        raise AaspError(f"{path}: not sound; an exported model is for --engine onnx, and vectors for numpy.load")
    else:
        show_audio(path)
    return 0


def show_model(path: Path) -> None:
    """Architecture, front end and parameters of an encoder, and the classes of a classifier."""
    config = _json(path / "config.json")
    parameters, metadata = _parameters(path / "model.safetensors")
    classes = config.get("classes")
    facts(
        f"{'model' if classes is None else 'classifier'} {path}",
        {
            "parameters": f"{sum(parameters.values()):,}",
            **{f"  {part}": f"{count:,}" for part, count in parameters.items()},
            **flat(config),
            **({} if classes is None else {"classes": f"{len(classes):,}: {_few(classes)}"}),
            "started from": _started(parse_json(metadata.get("started_from", "null"), str(path), REMEDY)),
            "whitened on": metadata.get("whitened_on"),
        },
    )


def show_index(path: Path) -> None:
    """Number of sounds in an index of `aasp index`, and its model."""
    said = _json(path / "index.json")
    made = {name: value for name, value in flat(said["settings"]).items() if value is not None}
    facts(
        f"index {path}",
        {
            "rows": f"{said['rows']:,}",
            "dimensions": f"{said['width']:,}",
            "model": f"{said['model']['name']} ({said['model']['digest'][:12]})",
            **made,
            "root": said["root"],
        },
    )


def show_run(path: Path) -> None:
    """State of a run: recipe, step, losses, health, checkpoints, time; for a fine-tuning also data and scores."""
    from aasp.training.tracking import read_metrics

    recipe = _json(path / "recipe.json")
    metrics = read_metrics(path)
    last = metrics[-1] if metrics else {}
    checkpoints = sorted(folder.name for folder in path.glob("checkpoints/step-*"))
    history = _history(path)
    extended, changed = history.get("extended", []), history.get("data_changed", [])
    steps = recipe["steps"] + sum(one["steps"] for one in extended) if "steps" in recipe else "?"
    facts(
        f"run {path}",
        {
            "recipe": recipe.get("name"),
            **_finetuned(recipe.get("finetuned")),
            "started from": _started(recipe.get("started_from")),
            "step": f"{last.get('step', 0)} of {steps}",
            "extended": ", ".join(f"by {one['steps']:,} steps at {one['step']:,}" for one in extended) or None,
            "data changed": ", ".join(f"at step {one['step']:,}: {_change(one)}" for one in changed) or None,
            "last logged": f"{duration_text(_seconds_since(path / 'metrics.jsonl'))} ago" if metrics else None,
            **{name: value for name, value in last.items() if name != "step" and value is not None},
            "checkpoints": checkpoints or "none yet",
            "best on valid": _best(path),
            **_scores(path / "results.json"),
            "model": path / "model" if (path / "model").is_dir() else "not finished yet",
            **_starts(path / "environment.json"),
            "skipped files": f"listed in {path / 'skipped.csv'}" if (path / "skipped.csv").exists() else None,
        },
    )


def show_folds(path: Path) -> None:
    """State of each fold of a fine-tuning, and the scores of all."""
    from aasp.training.tracking import read_metrics

    folds = {}
    runs = (file.parent for file in path.glob("fold-*/recipe.json"))
    for folder in sorted(runs, key=lambda run: (len(run.name), run.name)):  # fold-10 after fold-9
        recipe, metrics = _json(folder / "recipe.json"), read_metrics(folder)
        step = f"step {metrics[-1]['step'] if metrics else 0} of {recipe.get('steps', '?')}"
        done = "tested" if (folder / "predictions.npz").exists() else "not finished yet"
        folds[folder.name] = [step, *([f"best on valid {best}"] if (best := _best(folder)) else []), done]
    facts(
        f"run of folds {path}",
        {
            "recipe": recipe.get("name"),
            **_finetuned({**recipe.get("finetuned", {}), "round": None}),
            **folds,
            **_scores(path / "results.json"),
            "models": f"{path}/fold-*/model, together: `aasp predict {path}`",
        },
    )


def _seconds_since(path: Path) -> float:
    """Seconds since a file was written; at least 0, also if the clock went back."""
    return max(0.0, time.time() - path.stat().st_mtime)


def show_manifest(path: Path) -> None:
    """Rows, hours and columns of an index; its files are not opened."""
    import pyarrow.compute as pc

    from aasp.datasets.index import read_index

    table = read_index(str(path))
    seconds = table["seconds"] if "seconds" in table.column_names else None
    columns: dict[str, Any] = {}
    for name in table.column_names:
        values = pc.unique(table[name]).drop_null()
        columns[f"  {name}"] = values.sort().to_pylist() if len(values) <= MAX_LISTED else f"{len(values):,} values"
    facts(
        f"manifest {path}",
        {
            "files": f"{len(table):,}",
            "duration": "not measured: `aasp scan`"
            if seconds is None
            else duration_text(pc.sum(seconds).as_py() or 0.0),
            "columns": len(columns),
            **columns,
        },
    )


def show_audio(path: Path) -> None:
    """Duration, rate, channels and codec of a sound file."""
    from aasp.audio.io import codec, probe

    header = probe(path)
    facts(
        f"audio {path}",
        {
            "duration": f"{duration_text(header.seconds)} ({header.frames:,} frames)",
            "rate": f"{header.rate:,} Hz",
            "channels": header.channels,
            "codec": codec(path),
            "size": f"{path.stat().st_size:,} bytes",
        },
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_object(path, REMEDY)
    except OSError as error:
        raise AaspError(f"not readable as JSON: {path} ({error}); {REMEDY}") from None
    except AaspError as error:
        raise _reworded(error, path) from None


def _parameters(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Number of parameters of each part of the model, without buffers, and its metadata, from the weights' header."""
    try:
        shapes, metadata = read_shapes(path, "the model is incomplete, copy it again")
    except AaspError as error:
        raise _reworded(error, path) from None
    counts: Counter[str] = Counter()
    for name, shape in shapes.items():
        if "whitening" not in (steps := name.split(".")) and not steps[-1].startswith(("running_", "num_")):
            counts[steps[0]] += math.prod(shape)
    return dict(counts), metadata


def _reworded(error: AaspError, path: Path) -> AaspError:
    """The message in this command's order: first what is wrong, since only one of several files can be meant."""
    what, _, rest = str(error).removeprefix(f"{path}: ").partition(" (" if " (" in str(error) else ";")
    return AaspError(f"{what}: {path}" + (f" ({rest}" if " (" in str(error) else f";{rest}"))


def _started(model: dict[str, Any] | None) -> str | None:
    """The model whose weights training started from."""
    if not model:
        return None
    at = f", {model['recipe']} at step {model['step']:,}" if "step" in model else ""
    return f"{model['model']}{at}, fingerprint {model['model_hash'][:16]}"


def _history(run: Path) -> dict[str, Any]:
    """Events in a run's history, from its last checkpoint."""
    last = max(run.glob("checkpoints/step-*/state.json"), default=None)
    return {} if last is None else _json(last).get("history", {})


def _finetuned(requested: dict[str, Any] | None) -> dict[str, Any]:
    """The start and the data of a fine-tuning."""
    if not requested:
        return {}
    part, clips = requested["round"], requested["clips"]
    return {
        "fine-tunes": requested["model"] + (", its architecture from scratch" if requested["scratch"] else ""),
        "data": f"{requested['data']} ({requested['source']}), {requested['classes']:,} classes",
        "clips": part and ", ".join(f"{count:,} {name}" for name, count in clips.items()),
        "part": part,
    }


def _best(run: Path) -> str | None:
    """The best score on a fine-tuning's valid part so far."""
    from aasp.evaluate.metrics import plain
    from aasp.training.tracking import read_lines

    best = [line for line in read_lines(run / "validation.jsonl") if line["best"]]
    form = plain if _json(run / "recipe.json").get("loss") == "squared" else lambda score: f"{percent_text(score)} %"
    return f"{form(best[-1]['score'])} at step {best[-1]['step']}" if best else None


def _scores(path: Path) -> dict[str, str]:
    """The scores in a results file, with their intervals."""
    from aasp.evaluate.intervals import as_text

    found = _json(path).get("scores", {}) if path.exists() else {}
    return {f"test {name}": as_text(name, one) for name, one in found.items()}


def _change(change: dict[str, Any]) -> str:
    """A change of the data as text."""
    was, now = change["was"], change["is"]
    return ", ".join("other files" if name == "listing" else f"{name} {was[name]} to {now[name]}" for name in was)


def _few(names: list[str]) -> str:
    return ", ".join(names[:MAX_LISTED]) + (", …" if len(names) > MAX_LISTED else "")


def _starts(path: Path) -> dict[str, str]:
    """The data of a run, when it was started and resumed, and its last machine."""
    from aasp.training.tracking import read_starts

    if not (starts := read_starts(path)):
        return {}
    first, last = starts[0], starts[-1]
    machine = f"{last['device']} in {last['precision']}, {last['processes']} × {last['threads']} threads"
    resumed = f", resumed {len(starts) - 1} ×, last {last['time']}" if len(starts) > 1 else ""
    return {
        **({"data": f"{last['data']}: {last['files']:,} files, {last['hours']:.2f} h"} if "files" in last else {}),
        "started": f"{first['time']}{resumed}",
        "on": f"{machine}, torch {last['torch']}",
    }
