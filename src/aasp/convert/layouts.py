"""The supported layouts by name, and one function to convert a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aasp.convert.ast import ast
from aasp.convert.atst import atst
from aasp.convert.beats import beats
from aasp.convert.conversion import Conversion
from aasp.convert.eat import eat
from aasp.convert.mae import audio_mae, m2d
from aasp.convert.published import Published, read_published
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder

LAYOUTS: dict[str, Callable[[Published, int | None], Conversion]] = {
    "ast": ast,
    "eat": eat,
    "sslam": eat,  # a further training of EAT, published in EAT's layout
    "audio-mae": audio_mae,
    "m2d": m2d,
    "beats": beats,
    "atst": atst,
}


def convert(path: str | Path, layout: str, heads: int | None = None) -> AudioEncoder | AudioClassifier:
    """A published checkpoint as our model, including front end and normalisation.

    It is a classifier if the file has a head.

    Args:
        path: a `.safetensors` file, one of PyTorch's, or a folder that transformers wrote.
        layout: one of `LAYOUTS`.
        heads: number of attention heads, if not one per 64 channels and not in a `config.json` beside the file.

    Raises:
        AaspError: there is no such layout, the file is not a checkpoint, contains code, or has another layout.
    """
    if layout not in LAYOUTS:
        raise AaspError(f"no such layout: {layout}; give one of {', '.join(LAYOUTS)}")
    return LAYOUTS[layout](read_published(path), heads).model()
