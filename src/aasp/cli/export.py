"""`aasp export`: a model as one file for other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from aasp.cli.arguments import parse
from aasp.cli.inputs import line
from aasp.errors import AaspError
from aasp.files import check_output

if TYPE_CHECKING:
    import numpy as np

    from aasp.audio.sounds import Sound
    from aasp.deploy.graph import Extent, Model

MOST = 128  # sounds used for calibration
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "executorch": ".pte", "web": ""}
PACKAGES = {"openvino": ("openvino",), "executorch": ("executorch.exir",)}  # in addition to those of ONNX


@dataclass(frozen=True)
class Export:
    """Write a model as one file that needs no PyTorch, and check that its outputs equal the model's.

    Inputs are waveforms (clips, samples) of any number and length, and their lengths; outputs are, for an encoder,
    `clip`, `timestamps`, `seconds`, `valid` and `cls`, for a classifier `probabilities`. The front end is included. Its
    configuration and the version of the operators are in the file's metadata.
    """

    model: tyro.conf.Positional[str]
    """Folder of a model, a classifier or a run, or a model on the hub."""
    out: Path | None = None
    """File to write: .onnx; .xml (and a .bin next to it) for OpenVINO; .pte for ExecuTorch; a folder for the web,
    web/model for the demo."""
    to: Literal["onnx", "openvino", "executorch", "web"] = "onnx"
    """Target runtime; web is for the browser demo, executorch for one clip that fills the model's window."""
    window: bool = False
    """Only clips that fill the model's window: a smaller graph, for streams and small devices."""
    int8: tuple[str, ...] = ()
    """Quantise large matrix products to 8-bit integers. The scales are calibrated on these sound files or folders,
    which should be like those the model will receive; at most 128 are read, spread over all."""
    neighbours: Path | None = None
    """For the web: a folder of sounds for each label; the demo shows the nearest ones to its input."""
    opset: int | None = None
    """Version of the ONNX operator set; 18 by default."""
    overwrite: bool = False
    """Replace an existing file."""


def run(argv: list[str]) -> int:
    arguments = parse(Export, argv, prog="aasp export")
    out = _output(arguments, argv)

    from aasp.deploy import executorch, onnx, openvino, web
    from aasp.deploy.graph import Graph, checked
    from aasp.deploy.int8 import int8

    for package in PACKAGES.get(arguments.to, ()):
        onnx.extra(package, arguments.to)
    for package in ("onnx", "onnxscript", "onnxruntime") if arguments.to != "executorch" else ():
        onnx.extra(package)
    sounds = _sounds(arguments.int8)
    model = _loaded(arguments.model)
    extent: Extent = "window" if arguments.window else "whole"
    if arguments.to == "web":
        text = web.write_web(model, out, *_neighbours(model, arguments.neighbours))
        print(f"{out}: for the page in web/, {text}; see docs/deploy.md")
        return 0
    if arguments.to == "executorch":
        program = executorch.program(model)
        text = checked(out, executorch.difference(model, program), onnx.TOLERANCE)
        executorch.write(program, out)
        print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {text}")
        return 0
    proto = onnx.onnx_model(model, extent, arguments.opset or onnx.OPSET)
    if arguments.to == "openvino":
        made = openvino.converted(proto)
        text = checked(out, openvino.difference(model, extent, made), openvino.TOLERANCE)
        openvino.write(made, out)
    else:
        text = checked(out, onnx.difference(model, extent, onnx.session(proto)), onnx.TOLERANCE)
        if sounds:
            proto = int8(proto, Graph(model, extent).encoder.config, sounds)
            text = f"8-bit integers scaled by {len(sounds)} sounds"
        onnx.write(proto, out)
    files = [out, out.with_suffix(".bin")] if arguments.to == "openvino" else [out]
    print(f"{out}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB, {text}")
    return 0


def _output(arguments: Export, argv: list[str]) -> Path:
    """The output path, after checking that it can be written.

    Raises:
        AaspError: it can't, or options contradict each other.
    """
    out, to = arguments.out, arguments.to
    if out is None:
        name = "web/model" if to == "web" else f"{Path(arguments.model).resolve().name}{SUFFIXES[to]}"
        raise AaspError(f"--out is missing: {line('export', *argv, '--out', name)}")
    if out.suffix != SUFFIXES[to]:
        ending = f"end it in {SUFFIXES[to]}" if SUFFIXES[to] else "name a folder, as web/model"
        raise AaspError(f"no such format: {out}; {ending}, as --to {to} writes")
    for option, given, fits in (
        ("--int8", arguments.int8, to == "onnx"),
        ("--neighbours", arguments.neighbours, to == "web"),
        ("--window", arguments.window, to != "web"),
        ("--opset", arguments.opset, to in ("onnx", "openvino")),
    ):
        if given and not fits:
            raise AaspError(f"{option} with --to {to}: they do not go together; leave out one of them")
    if to == "web":
        from aasp.deploy.web import check_folder

        check_folder(out)
        if out.exists() and not arguments.overwrite:
            raise AaspError(f"output exists: {out}; choose another name or add --overwrite")
    else:
        for file in (out, out.with_suffix(".bin")) if to == "openvino" else (out,):
            check_output(file, overwrite=arguments.overwrite)
    return out


def _loaded(model: str) -> Model:
    """The encoder or classifier in a folder."""
    from aasp.model.audio_classifier import load_classifier
    from aasp.model.audio_encoder import load
    from aasp.model.folder import find, read_config

    directory = find(model)
    return load_classifier(directory) if "classes" in read_config(directory / "config.json") else load(directory)


def _sounds(names: Sequence[str], most: int = MOST) -> list[Sound]:
    """The named files, and those in named folders, at most `most` of them, spread over all."""
    from aasp.datasets.index import Skipped, walk

    skipped: list[Skipped] = []
    found: list[Sound] = []
    for name in names:
        here = list(walk(name, skipped)) if Path(name).is_dir() else [name]
        if not here:
            raise AaspError(f"no audio to calibrate with: {name}; give a folder of sounds like those it will receive")
        found += here
    return found[:: max(1, -(-len(found) // most))]


def _neighbours(model: Model, folder: Path | None) -> tuple[list[str], np.ndarray | None]:
    """Labels and vectors of the sounds in a folder for each label, about as many of each, at most MOST in all."""
    import numpy as np

    from aasp.evaluate.features import embedded
    from aasp.model.audio_encoder import AudioEncoder

    if folder is None:
        return [], None
    if not isinstance(model, AudioEncoder):
        raise AaspError(f"--neighbours {folder} with a classifier, which has its own classes; leave it out")
    labels = _folders(folder)
    if len(labels) > MOST:
        raise AaspError(f"--neighbours {folder} has {len(labels):,} labels, and a page can show {MOST}; choose some")
    found = [(place.name, sound) for place in labels for sound in _sounds([str(place)], MOST // len(labels))]
    vectors: dict[int, np.ndarray] = {}
    for rows, embeddings in embedded(model, [sound for _, sound in found]):
        vectors |= zip(rows, embeddings.clip.numpy(), strict=True)
    return [label for label, _ in found], np.stack([vectors[row] for row in range(len(found))])


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise AaspError(f"no such folder: {folder}; give one that contains a folder of sounds for each label")
    found = sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
    if not found:
        raise AaspError(
            f"no labels: {folder} holds no folders; put the sounds of each label into a folder of that name"
        )
    return found
