"""The layouts that can be read, by name, and the one call that reads one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aasp.convert.ast import ast
from aasp.convert.atst import atst
from aasp.convert.beats import beats
from aasp.convert.eat import eat
from aasp.convert.made import Made
from aasp.convert.mae import audio_mae, m2d
from aasp.convert.published import Published, read_published
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder

LAYOUTS: dict[str, Callable[[Published, int | None], Made]] = {
    "ast": ast,
    "eat": eat,
    "sslam": eat,  # which is EAT trained on, and published in its layout
    "audio-mae": audio_mae,
    "m2d": m2d,
    "beats": beats,
    "atst": atst,
}


def convert(path: str | Path, layout: str, heads: int | None = None) -> AudioEncoder | AudioClassifier:
    """A published checkpoint as a model of ours, front end and normalisation included.

    It is a classifier where the file has a head.

    Args:
        path: a `.safetensors` file, one of PyTorch's, or a folder that transformers wrote.
        layout: one of `LAYOUTS`.
        heads: of attention, where it is not 64 channels a head and no `config.json` beside the file says it.

    Raises:
        AaspError: there is no such layout, the file is not a checkpoint, holds code, or is laid out otherwise.
    """
    if layout not in LAYOUTS:
        raise AaspError(f"no such layout: {layout}; give one of {', '.join(LAYOUTS)}")
    return LAYOUTS[layout](read_published(path), heads).model()
