"""The interface of an encoder, ours or external: a function from waveforms to vectors over time.

Legend: B clips of one length, S samples, T frames, M mel bins, G tokens over time, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from aasp.features import FrontEnd
from aasp.parts import source_hash
from aasp.stems.contract import Stem
from aasp.weights import weights_hash


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
        """Embed waveforms of one length, in -1..1 at `rate`, shape (B, S)."""

    def fingerprint(self) -> str:
        """Hex digest that identifies the encoder: of its name, its modules' weights and the files of its classes.

        If no `nn.Module` with parameters can be found in it, its output for noise, in two digits, takes their place.
        """
        digest, modules = sha256(self.name.encode()), 0
        for held in held_by(self):
            place = getattr(held, "__module__", None)
            place = place if isinstance(place, str) else type(held).__module__
            if place.partition(".")[0] not in ("aasp", "torch", "builtins"):
                digest.update(source_hash(place).encode())
            if isinstance(held, nn.Module):
                digest.update(weights_hash("", held).encode())
                modules += next(held.parameters(), None) is not None
        if not modules:
            wave = 0.1 * torch.randn(1, 2 * self.rate, generator=torch.Generator().manual_seed(0))
            digest.update(" ".join(f"{x:.1e}" for x in self.embed_waveform(wave).clip.flatten().tolist()).encode())
        return digest.hexdigest()


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


def held_by(encoder: object) -> list[Any]:
    """An encoder, and what its attributes and functions hold, three levels deep; nothing inside a module or tensor."""
    found: list[Any] = [encoder]
    level = found
    for _ in range(3):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, nn.Module):
                continue
            cells = [cell.cell_contents for cell in getattr(one, "__closure__", None) or ()]
            own = [getattr(one, "__self__", None), getattr(one, "__wrapped__", None)]
            inner += [*getattr(one, "__dict__", {}).values(), *cells, *own]
        level = [one for one in inner if callable(one) or hasattr(one, "__dict__")]
        level = [one for one in level if not isinstance(one, type | ModuleType | Tensor)]
        found += [one for one in level if not any(one is other for other in found)]
    return found


def centred(count: int, token_rate: float, seconds: float) -> Tensor:
    """Centres in seconds of `count` vectors, evenly spaced around the middle of the clip, shape (G,)."""
    return seconds / 2 + (torch.arange(count) - (count - 1) / 2) / token_rate
