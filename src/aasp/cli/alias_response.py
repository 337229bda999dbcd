"""`aasp alias response`: the response of a stem, and of its encoder, to pure modulations."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from aasp.cli.arguments import parse
from aasp.cli.inputs import check_order
from aasp.cli.progress import bar
from aasp.cli.running import DeviceOptions
from aasp.errors import AaspError
from aasp.files import atomic_write, check_output

if TYPE_CHECKING:
    from aasp.encoders import EncoderAdapter


@dataclass(frozen=True, kw_only=True)
class Response(DeviceOptions):
    """Feed pure modulations of 0.5 to 45 Hz to models and measure the response: gain, dependence on phase, the alias
    frequencies of modulations too fast for the tokens, behaviour under shifts, and how well the true rate can be
    decoded from the tokens.

    Writes OUT/response.json, from which `aasp alias report` draws.
    """

    models: tyro.conf.Positional[tuple[str, ...]]
    """Folders of models or of runs, models on the hub, transformers models, a stem or encoder of your own as
    module:name, or untrained stems as in stem=aape,phase=even. Further ones are compared with the first."""
    out: Path
    """Folder for response.json."""
    stage: Literal["stem", "encoder", "both"] = "both"
    """Tokens to measure: the output of the stem, or of the encoder."""
    frequencies: int = 24
    """Number of modulation frequencies."""
    depth: float = 0.5
    """Amplitude of a modulation in units of the normalised log-mel; sounds deviate by 0.5."""
    floor: float = 0.25
    """Deviation of the fixed noise under the modulations, in the same units; 0 for none."""
    seed: int = 0
    """Seed of that noise, and of the clips for decoding rates."""
    overwrite: bool = False
    """Replace an earlier response.json."""


def run(argv: list[str]) -> int:
    arguments = parse(Response, argv, prog="aasp alias response")
    if not arguments.models:
        raise AaspError("no model; name the folder of a model or of a run, module:name, or stem=aape")
    check_order(arguments.models, "alias response", argv)
    if arguments.frequencies < 2:
        raise AaspError(f"--frequencies is {arguments.frequencies}; give 2 or more")
    if not arguments.depth > 0:
        raise AaspError(f"--depth is {arguments.depth:g}; give an amplitude above 0, say 0.5")
    if not arguments.floor >= 0:
        raise AaspError(f"--floor is {arguments.floor:g}; give a deviation of 0 or more")
    out = check_output(arguments.out / "response.json", overwrite=arguments.overwrite)

    from aasp.aliasing.response.document import examine
    from aasp.aliasing.response.stimuli import Settings
    from aasp.evaluate.records import software

    adapters = _subjects(arguments.models, arguments.device)
    settings = Settings(arguments.frequencies, arguments.depth, arguments.floor, arguments.seed)
    wanted = ("stem", "encoder") if arguments.stage == "both" else (arguments.stage,)
    with bar("modulating") as show:
        found = examine(adapters, settings, wanted, show)
    made = {"command": shlex.join(["aasp", "alias", "response", *argv]), "software": software()}
    with atomic_write(out) as beside:
        beside.write_text(json.dumps(made | found, allow_nan=False) + "\n", encoding="utf-8")
    _print(found)
    print(f"{out}; `aasp alias report {arguments.out}` draws it")
    return 0


def _subjects(models: tuple[str, ...], device: str) -> list[EncoderAdapter]:
    """The models to measure; those whose names would be equal are named as typed.

    Raises:
        AaspError: a model is named twice.
    """
    from aasp.encoders import open_adapter

    twice = next((model for model, count in Counter(models).items() if count > 1), None)
    if twice is not None:
        raise AaspError(f"{twice} is named twice; name each model once")
    adapters = [open_adapter(model, device) for model in models]
    often = Counter(adapter.name for adapter in adapters)
    for model, adapter in zip(models, adapters, strict=True):
        if often[adapter.name] > 1:
            adapter.name = model
    return adapters


def _print(found: dict[str, Any]) -> None:
    """Print a row for each stage of each model, and for the frames."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from aasp.aliasing.response.page import STAGES, summary_cells
    from aasp.aliasing.text import percent, with_interval

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("tokens of", overflow="fold")
    heads = ("gain above\n/ below dB", "at the\nalias %", "shift\nvariance", "rate from\nmean %", "and devi-\nation %")
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    for model in found["models"]:
        rows = {(row["stage"], row["pooling"]): row["accuracy"] for row in (model["decoding"] or {"rows": []})["rows"]}
        read = lambda *key, rows=rows: with_interval(rows[key], percent()) if key in rows else "–"
        for one in model["stages"]:
            stage = one["stage"]
            accuracies = (read(stage, pooling) for pooling in ("mean", "mean+std"))
            table.add_row(f"{model['name']}, {STAGES[stage]}", *summary_cells(one["summary"]), *accuracies)
        table.add_row(f"{model['name']}, frames", "", "", "", read("frames", "DFT"), "")
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
    print("all of modulations above the post-patch Nyquist frequency; rates are one of eight, chance is 12.5 %")
