"""The interface of an encoder, ours or external: a function from waveforms to vectors over time.

Legend: B clips of one length, S samples, T frames, M mel bins, G tokens over time, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import torch
from torch import Tensor

from aasp.features import FrontEnd
from aasp.stems.contract import Stem


@dataclass(frozen=True)
class EncoderEmbeddings:
    """Embeddings of some clips: one vector per clip, (B, D'); vectors over time, (B, G, D), and their centres in
    seconds, (G,); and further clip vectors for probes, layers by name, (B, D'') each."""

    clip: Tensor
    timestamps: Tensor
    seconds: Tensor
    layers: Mapping[str, Tensor] = field(default_factory=dict)


class EncoderAdapter(ABC):
    """A frozen encoder.

    Attributes:
        name: in tables and figures.
        rate: sample rate of its input, in Hz.
        token_rate: output vectors per second; half of it is the post-patch Nyquist frequency. 0 if it returns one
            vector per clip and none over time.
    """

    name: str
    rate: int
    token_rate: float

    @abstractmethod
    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        """Embed waveforms of one length, shape (B, S)."""

    def fingerprint(self) -> str:
        """Hex digest that identifies the encoder: a hash of its weights, or of its name if these can't be read."""
        return sha256(self.name.encode()).hexdigest()


class LogMelAdapter(EncoderAdapter):
    """An encoder of normalised log-mels, so that modulations can be added to the log-mel exactly.

    Attributes:
        frontend: computes the log-mel, or another input of the encoder.
        stem: its patch embedding.
    """

    frontend: FrontEnd
    stem: Stem

    @abstractmethod
    def embed_logmel(self, mel_BTM: Tensor) -> EncoderEmbeddings:
        """Embed normalised log-mels of one length, shape (B, T, M)."""

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        with torch.inference_mode():
            return self.embed_logmel(self.frontend(wave_BS)[0])


def centred(count: int, token_rate: float, seconds: float) -> Tensor:
    """Centres in seconds of `count` vectors, evenly spaced around the middle of the clip, shape (G,)."""
    return seconds / 2 + (torch.arange(count) - (count - 1) / 2) / token_rate
