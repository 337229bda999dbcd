"""`aasp export`: a model as one file for other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from aasp.cli.arguments import parse
from aasp.errors import AaspError
from aasp.files import check_output

if TYPE_CHECKING:
    from aasp.audio.sounds import Sound
    from aasp.deploy.graph import Model

MOST = 128  # sounds that a calibration reads
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}


@dataclass(frozen=True)
class Export:
    """Write a model as one file that needs no PyTorch, and check that it says what the model says.

    Waveforms (clips, samples) of any number and length go in, with their lengths; out come of an encoder `clip`,
    `timestamps`, `seconds`, `valid` and `cls`, of a classifier `probabilities`. The front end is inside. Its
    configuration and the version of the operators are in the file's metadata.
    """

    model: tyro.conf.Positional[str]
    """Folder of a model, a classifier or a run, or a model on the hub."""
    out: Path
    """File to write: .onnx, or .xml (beside it .bin) for OpenVINO."""
    to: Literal["onnx", "openvino"] = "onnx"
    """For which runtime."""
    window: bool = False
    """Only clips that fill the model's window: a smaller graph, for streams and small devices."""
    int8: tuple[str, ...] = ()
    """Sound files, or folders of them, like those the model will hear: its large products are made 8-bit integers,
    scaled by them; 128 are read at most, spread over all."""
    opset: int | None = None
    """Version of ONNX's operators; 18 when left out."""
    overwrite: bool = False
    """Replace an existing file."""


def run(argv: list[str]) -> int:
    arguments = parse(Export, argv, prog="aasp export")
    out = arguments.out
    if out.suffix != SUFFIXES[arguments.to]:
        raise AaspError(f"no such format: {out}; end it in {SUFFIXES[arguments.to]}, as --to {arguments.to} writes")
    if arguments.int8 and arguments.to != "onnx":
        raise AaspError(f"--int8 with --to {arguments.to}: it is made for ONNX; leave out one of them")
    check_output(out, overwrite=arguments.overwrite)

    from aasp.deploy.graph import Graph
    from aasp.deploy.onnx import OPSET, TOLERANCE, difference, extra, onnx_model, session, write

    for package in ("onnx", "onnxruntime", "onnxscript", *(["openvino"] if arguments.to == "openvino" else [])):
        extra(package)
    sounds = _sounds(arguments.int8)
    model = _loaded(arguments.model)
    extent: Literal["whole", "window"] = "window" if arguments.window else "whole"
    proto = onnx_model(model, extent, arguments.opset or OPSET)
    differs = difference(model, extent, session(proto))
    if not differs <= TOLERANCE:
        raise AaspError(f"{out}: not written, since it differs from the model by {differs:.2g}, over {TOLERANCE:g}")
    told = f"within {differs:.1g} of PyTorch"
    if arguments.to == "openvino":
        from aasp.deploy.openvino import write as write_openvino

        write_openvino(proto, out)
    else:
        if arguments.int8:
            from aasp.deploy.int8 import int8

            proto = int8(proto, Graph(model, extent).encoder.config, sounds)
            told = f"8-bit integers, scaled by {len(sounds)} sounds"
        write(proto, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {told}")
    return 0


def _loaded(model: str) -> Model:
    """The encoder, or the classifier, that a folder holds."""
    from aasp.model.audio_classifier import load_classifier
    from aasp.model.audio_encoder import load
    from aasp.model.folder import find, read_config

    directory = find(model)
    return load_classifier(directory) if "classes" in read_config(directory / "config.json") else load(directory)


def _sounds(names: Sequence[str]) -> list[Sound]:
    """Files named, and those in folders named, at most MOST of them, spread over all."""
    from aasp.datasets.index import Skipped, walk

    skipped: list[Skipped] = []
    found: list[Sound] = []
    for name in names:
        here = list(walk(name, skipped)) if Path(name).is_dir() else [name]
        if not here:
            raise AaspError(f"no audio to calibrate with: {name}; name a folder of sounds like those to be heard")
        found += here
    return found[:: max(1, -(-len(found) // MOST))]
