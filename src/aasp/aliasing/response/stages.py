"""Where a model is read: its SBLU's states, its stem's tokens, its encoder's.

Legend: B clips, T frames, M mel bins, S samples, G time patches, C channels of all tokens of a time patch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.aliasing.subjects import LogMelSubject, StemSubject, Subject
from aasp.errors import AaspError
from aasp.model.pooling import over_frequency
from aasp.stems.states import States


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
    """Those stages of a subject that are wanted and that there are.

    Args:
        subject: who is examined.
        wanted: "stem" (with the states before it, of a stem that has some), "encoder".

    Raises:
        AaspError: there are none: a waveform's encoder has no stem, a stem no encoder.
    """
    found = []
    if isinstance(subject, LogMelSubject):
        stem = subject.stem
        if "stem" in wanted and (inner := stem.states) is not None:
            found.append(Stage("states", lambda mel_BTM: states(inner, mel_BTM), 2))
        if "stem" in wanted:
            read = lambda mel_BTM: over_frequency(stem(mel_BTM), stem.subbands, flat=True)
            found.append(Stage("stem", read, stem.width))
        if "encoder" in wanted and not isinstance(subject, StemSubject):
            found.append(Stage("encoder", lambda mel_BTM: subject.see(mel_BTM).timestamps, stem.width))
    elif "encoder" in wanted:
        width = subject.hear(0.1 * torch.randn(1, subject.rate)).timestamps.shape[-1]
        found.append(Stage("encoder", lambda wave_BS: subject.hear(wave_BS).timestamps, width))
    if not found:
        raise AaspError(f"{subject.name}: has no {' or '.join(wanted)} to look at; leave out --stage {wanted[0]}")
    return found


def states(stem: States, mel_BTM: Tensor) -> Tensor:
    """Real and imaginary part of every state, before fusion, (B, G, F S 2)."""
    return torch.stack(stem.responses(mel_BTM), dim=-1).flatten(2)
