"""Where a model is read: its SBLU's states, its stem's tokens, its encoder's.

Legend: B clips, T frames, M mel bins, S samples, G time patches, C channels of all tokens of a time patch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.aliasing.subjects import LogMelSubject, StemSubject, Subject
from aasp.model.pooling import over_frequency
from aasp.stems.aape import AaPE
from aasp.stems.sblu import bilateral_laplace


@dataclass(frozen=True)
class Stage:
    """A place in a model.

    Attributes:
        name: "states", "stem" or "encoder".
        read: stimuli (log-mels (B, T, M), or waveforms (B, S)) to tokens (B, G, C).
        group: how many neighbouring channels of C are one token (or one state's two parts).
    """

    name: str
    read: Callable[[Tensor], Tensor]
    group: int


def stages(subject: Subject, wanted: tuple[str, ...]) -> list[Stage]:
    """Those stages of a subject that there are: a waveform's encoder has no stem, a stem no encoder.

    Args:
        subject: who is examined.
        wanted: "stem" (with the states of an AaPE before it), "encoder".
    """
    if not isinstance(subject, LogMelSubject):
        return [Stage("encoder", lambda wave_BS: subject.hear(wave_BS).timestamps, subject_width(subject))]
    stem = subject.stem
    found = []
    if "stem" in wanted or isinstance(subject, StemSubject):
        if isinstance(stem, AaPE):
            found.append(Stage("states", lambda mel_BTM: states(stem, mel_BTM), 2))
        found.append(Stage("stem", lambda mel_BTM: over_frequency(stem(mel_BTM), stem.subbands, flat=True), stem.width))
    if "encoder" in wanted and not isinstance(subject, StemSubject):
        found.append(Stage("encoder", lambda mel_BTM: subject.see(mel_BTM).timestamps, stem.width))
    return found


def states(stem: AaPE, mel_BTM: Tensor) -> Tensor:
    """Real and imaginary part of every state, before fusion, (B, G, F S 2)."""
    c, patches = stem.config, stem.cut(mel_BTM)
    options = dict(phase=c.phase, window=c.window, gain=c.gain)
    parts = bilateral_laplace(stem.windows(patches), *stem.parameters_of(patches), **options)  # type: ignore[arg-type]
    return torch.stack(parts, dim=-1).flatten(2)


def subject_width(subject: Subject) -> int:
    """Channels of a vector over time."""
    return subject.hear(0.1 * torch.randn(1, subject.rate)).timestamps.shape[-1]
