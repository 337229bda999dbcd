"""What is needed of an encoder, whoever made it: a function from waveforms to vectors over time.

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
    """Of some clips: one vector a clip, (B, D'); vectors over time, (B, G, D), and the centre of each in seconds, (G,);
    and what else a probe may read of a clip, layers by name, (B, D'') each."""

    clip: Tensor
    timestamps: Tensor
    seconds: Tensor
    layers: Mapping[str, Tensor] = field(default_factory=dict)


class EncoderAdapter(ABC):
    """A frozen encoder.

    Attributes:
        name: what tables and figures call it.
        rate: samples per second of the waveforms it takes.
        token_rate: vectors per second that it gives; half of it is its post-patch Nyquist frequency. 0 where it gives
            one vector a clip and nothing over time.
    """

    name: str
    rate: int
    token_rate: float

    @abstractmethod
    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        """Embed waveforms of one length, shape (B, S)."""

    def fingerprint(self) -> str:
        """Identifies the encoder, in hex: a hash of its weights, or of its name where these can't be read."""
        return sha256(self.name.encode()).hexdigest()


class LogMelAdapter(EncoderAdapter):
    """An encoder of normalised log-mels, so that modulations can be put into them exactly.

    Attributes:
        frontend: makes the log-mel that it reads, or what it reads instead.
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
    """Centres in seconds of that many vectors, evenly about the middle of the clip, shape (G,)."""
    return seconds / 2 + (torch.arange(count) - (count - 1) / 2) / token_rate
