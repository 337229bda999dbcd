"""`aasp convert`: a published checkpoint of others as our model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from aasp.cli.arguments import parse
from aasp.cli.inputs import line
from aasp.errors import AaspError


@dataclass(frozen=True)
class Convert:
    """Convert a published checkpoint to a model folder: encoder, front end and normalisation, and the classes if it has
    a head. Its tensors are read and renamed; nothing in the file is run, and a file that contains code is refused.
    """

    checkpoint: tyro.conf.Positional[Path]
    """A .safetensors file, one of PyTorch's (.pt, .pth, .bin, .ckpt), or a folder that transformers wrote."""
    layout: Annotated[str | None, tyro.conf.arg(name="as")] = None
    """Layout of the checkpoint: ast, eat, sslam, audio-mae, m2d, beats or atst; see docs/convert.md."""
    out: Path | None = None
    """Folder to write."""
    heads: int | None = None
    """Number of attention heads, which the tensors do not determine; by default from config.json next to it, else 64
    channels per head."""
    overwrite: bool = False
    """Replace an existing model."""


def run(argv: list[str]) -> int:
    arguments = parse(Convert, argv, prog="aasp convert")
    if arguments.layout is None:
        raise AaspError(f"whose layout? {line('convert', *argv, '--as', 'ast')}")
    if arguments.out is None:
        raise AaspError(f"--out is missing: {line('convert', *argv, '--out', f'models/{arguments.layout}')}")
    if arguments.out.exists() and not arguments.overwrite:
        raise AaspError(f"output exists: {arguments.out}; choose another folder or add --overwrite")
    if arguments.out.resolve() in (arguments.checkpoint.resolve(), arguments.checkpoint.resolve().parent):
        raise AaspError(f"{arguments.out}: the checkpoint itself is there; choose another folder")

    from aasp.convert.layouts import convert
    from aasp.features.logmel import LogMelConfig
    from aasp.features.ranged import RangedConfig
    from aasp.model.audio_classifier import AudioClassifier

    model = convert(arguments.checkpoint, arguments.layout, arguments.heads)
    model.save(arguments.out)
    encoder = model.encoder if isinstance(model, AudioClassifier) else model
    front, size = encoder.config.frontend, encoder.config.encoder
    assert isinstance(front, LogMelConfig | RangedConfig)
    classes = f", {len(model.config.classes)} classes" if isinstance(model, AudioClassifier) else ""
    text = f"width {size.width}, {size.depth} blocks of {size.heads} heads{classes}"
    print(f"{arguments.out}: {text}; log-mel of {front.bins} bins, less {front.mean:g}, over {front.std:g}")
    return 0
