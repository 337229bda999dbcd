"""`aasp alias stability`: how far small changes over time move a model's embeddings, and whether it represents them."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from aasp.cli.arguments import parse
from aasp.cli.inputs import check_order
from aasp.cli.progress import bar
from aasp.cli.running import PrecisionOptions, VectorOptions
from aasp.errors import AaspError, one_line
from aasp.files import atomic_write, check_output

if TYPE_CHECKING:
    from aasp.encoders import EncoderAdapter


@dataclass(frozen=True, kw_only=True)
class Stability(VectorOptions, PrecisionOptions):
    """Measure how stable embeddings are under small changes over time.

    32 perturbations of each clip: shifts of 1 to 15 frames, and amplitude modulation from 1 to 45 Hz. Each is compared
    with the clean clip and with a slow amplitude modulation below the Nyquist frequency of the patches that changes the
    log-mel as much. Writes stability.json and, in sounds/, one of the clips with some of its perturbations.
    """

    models: tyro.conf.Positional[tuple[str, ...]]
    """Folders of models or of runs, or models on the hub; those after the first are compared with it."""
    data: Path
    """Folder of audio, or a .csv, .tsv or .parquet index with a column path."""
    out: Path
    """Folder for the result."""
    clips: int = 100
    """Number of clips, spread evenly over the set."""
    seconds: float = 2.5
    """Length of each excerpt in seconds: the loudest part of the clip."""
    label: str | None = None
    """Column of classes: also measure how often a linear probe's decision changes."""
    group: str | None = None
    """Column of groups (recording, speaker): probes keep them together, intervals resample them. Without it, clips of
    one file are a group."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Precision of the models."""
    channels: str = "mean"
    """Channel of multi-channel files: mean, first, loudest, a number (1, 2, …), or each (one clip per channel)."""
    seed: int = 0
    """Seed of rates and phases, and of the probes' folds."""
    path_column: str | None = None
    """Column of an index that holds the paths."""
    overwrite: bool = False
    """Replace the results in an existing folder."""


def run(argv: list[str]) -> int:
    arguments = parse(Stability, argv, prog="aasp alias stability")
    if not arguments.models:
        raise AaspError("no model; name the folder of a model or of a run")
    check_order(arguments.models, "alias stability", argv)
    if arguments.clips < 1:
        raise AaspError(f"--clips is {arguments.clips}; give a number of at least 1")
    out = check_output(arguments.out / "stability.json", overwrite=arguments.overwrite)

    from aasp.aliasing.stability.document import examine, nyquist, write_sounds
    from aasp.aliasing.stability.excerpts import gather, groups_of
    from aasp.audio.sounds import describe
    from aasp.datasets.manifest import Manifest
    from aasp.evaluate.records import software

    adapters = _open(arguments)
    nyquist(adapters, arguments.seconds)  # before the slow part, so that errors are reported at once
    manifest, unusable = Manifest.open(arguments.data, path_column=arguments.path_column, channels=arguments.channels)
    for note in manifest.notes:
        print(one_line(note), file=sys.stderr)
    label, group = (None if name is None else manifest.marks(name) for name in (arguments.label, arguments.group))
    with bar("reading clips") as show:
        gathered = gather(manifest, clips=arguments.clips, seconds=arguments.seconds, unusable=unusable, progress=show)
    with bar("embedding") as show:
        found = examine(
            adapters,
            gathered.excerpts,
            groups=groups_of(manifest, gathered.rows, group),
            labels=None if label is None else label[gathered.rows],
            seed=arguments.seed,
            progress=show,
        )
    sounds = write_sounds(arguments.out / "sounds", gathered.excerpts, found)
    document: dict[str, Any] = {
        "command": shlex.join(["aasp", "alias", "stability", *argv]),
        "software": software(),
        "source": str(arguments.data),
        "label": arguments.label,
        "group": arguments.group,
        "given": dict(zip([adapter.name for adapter in adapters], arguments.models, strict=True)),
        "skipped": [file._asdict() for file in gathered.skipped],
        "paths": [describe(manifest.sound(int(row))) for row in gathered.rows],
        **found,
        "sounds": sounds,
    }
    with atomic_write(out) as beside:
        beside.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    _show(document)
    for file in gathered.skipped:
        print(f"skipped {file.path}: {file.reason}", file=sys.stderr)
    print(f"{out}; `aasp alias report {arguments.out}` draws it")
    return 0


def _open(arguments: Stability) -> list[EncoderAdapter]:
    """The models, named by their folders if these names differ, else as typed."""
    from aasp.encoders import open_adapter
    from aasp.evaluate.embedding import requested_keys

    models, requested = arguments.models, bool(arguments.layer or arguments.pooling)
    keys = (lambda encoder: requested_keys(encoder, arguments.layer, arguments.pooling)) if requested else None
    adapters = [open_adapter(model, arguments.device, arguments.precision, keys) for model in models]
    names = [adapter.name for adapter in adapters]
    for adapter, model in zip(adapters, models, strict=True):
        if names.count(adapter.name) > 1:
            adapter.name = model
    return adapters


def _show(document: dict[str, Any]) -> None:
    """Print the main results: for each model and family the distance, the control's, and their ratio."""
    from rich.console import Console
    from rich.table import Table

    from aasp.aliasing.text import with_interval

    form = "{:.3f}".format
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for model in document["models"]:
        table = Table(box=None, pad_edge=False, padding=(0, 2), title=model["name"], title_justify="left")
        for name in ("", "distance", "control's", "excess", "ratio", "decisions changed"):
            table.add_column(name, justify="right" if name else "left")
        for family, numbers in model["families"].items():
            names = ("distance", "control_distance", "excess", "ratio", "flips")
            table.add_row(f"  {family}", *(with_interval(numbers.get(name), form) for name in names))
        console.print(table)
        reading = model["reading"]
        chance = 1 / len(document["rates_hz"])
        console.print(
            f"  modulation rate decoded: {with_interval(reading['alone'], form)}, clean clip known: "
            f"{with_interval(reading['compared'], form)}, chance {chance:.3f}"
        )
    if document["label"] is None:
        console.print("decisions were not looked at: no --label")
