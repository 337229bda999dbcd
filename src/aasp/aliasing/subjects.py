"""Who is examined: any encoder, as a function from waveforms to vectors over time.

Legend: B clips of one length, S samples, T frames, M mel bins, G tokens over time, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aasp.evaluate.outcome import system_name
from aasp.features.logmel import LogMel
from aasp.model.audio_encoder import AudioEncoder, Embeddings, load
from aasp.stems.contract import Stem


@dataclass(frozen=True)
class Heard:
    """What an encoder makes of some clips.

    Attributes:
        clip: one vector a clip, shape (B, D').
        timestamps: vectors over time, shape (B, G, D).
        seconds: centre of each, shape (G,).
    """

    clip: Tensor
    timestamps: Tensor
    seconds: Tensor


class Subject(ABC):
    """An encoder under examination, frozen.

    Attributes:
        name: what tables and figures call it.
        rate: samples per second of the waveforms it takes.
        token_rate: vectors per second that it gives; half of it is its post-patch Nyquist frequency.
    """

    name: str
    rate: int
    token_rate: float

    @abstractmethod
    def hear(self, wave_BS: Tensor) -> Heard:
        """Embed waveforms of one length, shape (B, S)."""


class LogMelSubject(Subject):
    """A subject that reads normalised log-mels, so that modulations can be put into it exactly.

    Attributes:
        frontend: the log-mel that it reads.
        stem: its patch embedding.
    """

    frontend: LogMel
    stem: Stem

    @abstractmethod
    def see(self, mel_BTM: Tensor) -> Heard:
        """Embed normalised log-mels of one length, shape (B, T, M)."""

    def hear(self, wave_BS: Tensor) -> Heard:
        with torch.inference_mode():
            return self.see(self.frontend(wave_BS)[0])


class EncoderSubject(LogMelSubject):
    """An `AudioEncoder`.

    Args:
        name: what to call it.
        encoder: the model.
    """

    def __init__(self, name: str, encoder: AudioEncoder) -> None:
        self.name, self.encoder = name, encoder.eval()
        self.frontend, self.stem = encoder.frontend, encoder.stem
        self.rate = encoder.config.frontend.rate
        self.token_rate = encoder.config.frontend.frame_rate / encoder.stem.patch[0]

    def see(self, mel_BTM: Tensor) -> Heard:
        with torch.inference_mode():
            found: Embeddings = self.encoder.embed(mel_BTM, torch.full((len(mel_BTM),), mel_BTM.shape[1]))
        return Heard(found.clip, found.timestamps, found.seconds)


def open_subject(name: str | Path) -> Subject:
    """The encoder that a command line names: a model's folder, a run's, or a model on the hub.

    Raises:
        AaspError: there is none.
    """
    return EncoderSubject(system_name(str(name)), load(name))
