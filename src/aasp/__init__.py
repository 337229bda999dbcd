"""AaSP: aliasing-aware self-supervised pre-training for audio spectrogram transformers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aasp.errors import AaspError
    from aasp.evaluate.embedding import embed
    from aasp.features.logmel import LogMel, LogMelConfig
    from aasp.model.audio_encoder import AudioEncoder, load
    from aasp.stems.aape import AaPE

__version__ = "0.1.0"

_HOMES = {
    "AaPE": "aasp.stems.aape",
    "AaspError": "aasp.errors",
    "AudioEncoder": "aasp.model.audio_encoder",
    "LogMel": "aasp.features.logmel",
    "LogMelConfig": "aasp.features.logmel",
    "embed": "aasp.evaluate.embedding",
    "load": "aasp.model.audio_encoder",
}
__all__ = ["AaPE", "AaspError", "AudioEncoder", "LogMel", "LogMelConfig", "__version__", "embed", "load"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import aasp` costs nothing."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'aasp' has no attribute {name!r}")
