"""What `torch.hub.load` finds here: an encoder, a classifier, the patch embedding alone."""

from __future__ import annotations

import importlib as _importlib
import importlib.util as _util
import sys as _sys
from pathlib import Path as _Path
from typing import Any as _Any

dependencies = ["torch", "numpy", "soxr", "soundfile", "av", "safetensors", "huggingface_hub"]

if _util.find_spec("aasp") is None:
    _sys.path.insert(0, str(_Path(__file__).parent / "src"))


def encoder(model: str, device: str = "cpu") -> _Any:
    """An AudioEncoder: waveforms (B, S) in; clip, timestamp and layer embeddings out.

    Args:
        model: a folder of a model or of a run, or the name of one on the Hugging Face hub.
        device: where to put it.
    """
    return _importlib.import_module("aasp").load(model, device)


def classifier(model: str, device: str = "cpu") -> _Any:
    """An AudioClassifier: waveforms (B, S) in, logits (B, K) out; `config.classes` are their names.

    Args:
        model: a folder that `aasp finetune` made, or the name of such a model on the Hugging Face hub.
        device: where to put it.
    """
    return _importlib.import_module("aasp.model.audio_classifier").load_classifier(model, device)


def aape(width: int, mels: int = 128) -> _Any:
    """AaPE with random weights: log-mels (B, T, mels) in, tokens (B, N, width) out.

    Args:
        width: of a token.
        mels: mel bins.
    """
    return _importlib.import_module("aasp").AaPE(width=width, mels=mels)
