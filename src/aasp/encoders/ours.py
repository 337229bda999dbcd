"""Adapters for the encoders and stems of this package.

Legend: B clips, T frames, M mel bins, N tokens of G time patches x F subbands, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from aasp.config import from_dict
from aasp.encoders.contract import EncoderEmbeddings, LogMelAdapter
from aasp.errors import AaspError
from aasp.features.logmel import LogMel, LogMelConfig
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.embeddings import Embeddings
from aasp.model.pooling import over_frequency
from aasp.model.readout import Key
from aasp.stems import STEMS, Stem, StemConfig
from aasp.training.precision import Precision, autocast
from aasp.weights import model_hash

WIDTH = 192
"""Width of an untrained stem's tokens, as in `aasp_tiny`."""


class AudioEncoderAdapter(LogMelAdapter):
    """An `AudioEncoder`, which stays on its device; embeddings, `frontend` and `stem` are on the CPU.

    The clip vector has the (layer, pooling) pairs `keys`, or is the model's default vector.
    """

    def __init__(
        self, name: str, encoder: AudioEncoder, precision: Precision = "fp32", keys: Sequence[Key] | None = None
    ) -> None:
        self.name, self.encoder, self.keys = name, encoder.eval(), keys
        self.device = next(encoder.parameters()).device
        self._casting = autocast(precision, self.device)
        here = encoder if self.device.type == "cpu" else copy.deepcopy(encoder).cpu()
        self.frontend, self.stem = here.frontend, here.stem
        self.rate = encoder.config.frontend.rate
        self.token_rate = encoder.config.frontend.frame_rate / encoder.stem.patch[0]

    def fingerprint(self) -> str:
        return model_hash(self.encoder)

    def embed_logmel(self, mel_BTM: Tensor) -> EncoderEmbeddings:
        frames = torch.full((len(mel_BTM),), mel_BTM.shape[1])
        with torch.inference_mode(), self._casting:
            found: Embeddings = self.encoder.embed(mel_BTM.to(self.device), frames, pooling=self.keys)
        return EncoderEmbeddings(found.clip.cpu(), found.timestamps.cpu(), found.seconds.cpu())


class StemAdapter(LogMelAdapter):
    """A stem alone, after our log-mel: its tokens are the vectors over time, their mean and deviation the clip's.

    Raises:
        AaspError: it does not return one token for each patch of its grid.
    """

    def __init__(self, name: str, stem: Stem) -> None:
        config = LogMelConfig(mels=stem.mels)
        self.name, self.stem, self.frontend = name, stem.eval(), LogMel(config)
        self.rate, self.token_rate = config.rate, config.frame_rate / stem.patch[0]
        columns, subbands = stem.grid(4 * stem.patch[0])
        with torch.inference_mode():
            given = tuple(stem(torch.zeros(2, 4 * stem.patch[0], stem.mels)).shape)
        if given != (2, columns * subbands, stem.width):
            raise AaspError(
                f"{name}: gives {given} for 2 clips of {columns} time patches x {subbands} subbands; "
                f"a stem gives a token for each, {(2, columns * subbands, stem.width)}"
            )

    def embed_logmel(self, mel_BTM: Tensor) -> EncoderEmbeddings:
        with torch.inference_mode():
            vectors = over_frequency(self.stem(mel_BTM).float(), self.stem.subbands, flat=True)
        clip = torch.cat([vectors.mean(1), vectors.std(1, correction=0)], dim=-1)
        return EncoderEmbeddings(clip, vectors, (torch.arange(vectors.shape[1]) + 0.5) / self.token_rate)


def open_stem(text: str) -> StemAdapter:
    """An untrained stem by its kind and fields of its configuration: `stem=conv`, or `stem=aape,phase=even,taps=48`.

    An untrained AaPE's token comes from the convolution alone; here the SBLU's token is added to it with weight 1
    (`Stem.with_all_features`), so that the SBLU can be analysed.

    Raises:
        AaspError: there is no such kind or field.
    """
    kind, *fields = text.removeprefix("stem=").split(",")
    settings = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise AaspError(f"{text}: {field!r} has no value; write it as in stem=aape,phase=even,taps=48")
        settings[name] = value
    try:
        found = STEMS.find(kind)
    except AaspError as error:
        raise AaspError(f"{text}: {error}") from None
    return untrained(text, from_dict(found, settings, text))


def untrained(name: str, config: StemConfig) -> StemAdapter:
    """A new stem of a configuration, as in `open_stem`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stem = config.build(WIDTH, LogMelConfig().mels)
    return StemAdapter(name, stem.with_all_features())
