"""Common to all suites: loading the model that a user names, the widths of its vectors, and checking clips.

Legend: B clips, S samples, D and D' widths.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from aasp.errors import AaspError
from aasp.features import FrontEndConfig
from aasp.model.audio_encoder import AudioEncoder, load
from aasp.waveforms import MAX_PEAK

VARIABLE = "AASP_MODEL"


@dataclass(frozen=True)
class Widths:
    """Widths of a model's default vectors: D' for a clip, and D for a time patch."""

    clip: int
    timestamp: int


def opened(model: AudioEncoder | str | Path | None, device: str | torch.device = "cpu") -> AudioEncoder:
    """The encoder itself, or the one that is named, in evaluation mode.

    Args:
        model: an encoder, or an argument of `aasp.load`; empty or None if a suite can't name one: then the value of the
            environment variable AASP_MODEL.
        device: for a model that is loaded.

    Raises:
        AaspError: no model is given, or it can't be loaded.
    """
    if isinstance(model, AudioEncoder):
        return model.eval()
    named = str(model or "") or os.environ.get(VARIABLE, "")
    if not named:
        raise AaspError(f"no model is named; give the folder of a model or of a run, or set {VARIABLE} to it")
    return load(named, device)


def widths(encoder: AudioEncoder) -> Widths:
    """Widths of an encoder's outputs, from a clip of the minimum length."""
    front = encoder.config.frontend
    silence = torch.zeros(1, front.window, device=next(encoder.parameters()).device)
    with torch.no_grad():
        found = encoder(silence)
    return Widths(int(found.clip.shape[1]), int(found.timestamps.shape[2]))


def patch_ms(encoder: AudioEncoder) -> float:
    """Milliseconds from one time patch to the next."""
    return 1000 * encoder.stem.stride[0] / encoder.config.frontend.frame_rate


def check_clip(front: FrontEndConfig, wave: np.ndarray, what: str) -> None:
    """Check that an encoder can use a clip, and name the clip if it can't: the encoder only sees a batch.

    Args:
        front: the model's front end.
        wave: samples (S,) at its rate.
        what: the clip's name in messages.

    Raises:
        AaspError: it is shorter than one analysis window, or its samples are not finite or far outside -1 to 1.
    """
    if len(wave) < front.window:
        text = f"{1000 * len(wave) / front.rate:.3g} ms, under one analysis window of {front.shortest_ms:g} ms"
        raise AaspError(f"{what}: too short: {text}; leave it out or give a longer clip")
    peak = np.abs(wave).max()
    if not np.isfinite(peak):
        raise AaspError(f"{what}: NaN or infinite samples; repair it or leave it out")
    if peak > MAX_PEAK:
        raise AaspError(f"{what}: samples reach {peak:g}, not a waveform in -1 to 1; divide it by its full scale")
