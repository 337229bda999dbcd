"""Tokenizers: assign one of K labels to every patch of a clip, for methods that predict labels.

    random     z = argmin_k || l(v_k) - l(W x) ||       W, v drawn once
    distilled  z = argmax_k cos(v_k, P f(x))            f, P, v learned by `methods/beats_tokenizer`

Legend: B clips, N patches, P values of a patch, D width, E width of a code, K codes, l(.) normalisation to unit length.
Source: BEATs (Chen et al. 2023): 1,024 codes of 256 channels in both. The random projection is BEST-RQ's (Chiu et al.
2022), with vectors and codes of unit length; BEATs' formula has no normalisation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import without_autocast
from aasp.config import check_range
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.parts import Parts
from aasp.pretrain.codebook import Codebook
from aasp.pretrain.encoding import Clips, encode_all
from aasp.stems.contract import Stem

DECAY = 0.99  # of a distilled codebook's moving averages


class Tokenizer(nn.Module, ABC):
    """Assigns labels to patches; has a `codebook`."""

    codebook: UnitCodebook

    @abstractmethod
    def vectors(self, clips: Clips, stem: Stem) -> Tensor:
        """The vector of each patch for look-up in the codebook, of unit length, (B, N, E); the stem defines patches."""

    @torch.no_grad()
    def forward(self, clips: Clips, stem: Stem) -> Tensor:
        """The label of each patch, (B, N)."""
        return self.codebook(self.vectors(clips, stem))


@dataclass(frozen=True)
class TokenizerConfig(ABC):
    """Base class of a tokenizer's configuration.

    Attributes:
        count: number of codes K.
        width: width E of a code.
    """

    count: int = 1024
    width: int = 256

    def __post_init__(self) -> None:
        check_range(self, "tokenizer", "count", least=2)
        check_range(self, "tokenizer", "width", least=1)

    @abstractmethod
    def build(self, model: AudioEncoderConfig) -> Tokenizer:
        """The tokenizer for a model's patches, not trainable."""


@dataclass(frozen=True)
class RandomConfig(TokenizerConfig):
    """A random projection and random codes, drawn once: the first iteration.

    Attributes:
        kind: the name of this tokenizer in recipes.
    """

    kind: Literal["random"] = "random"

    def build(self, model: AudioEncoderConfig) -> RandomTokenizer:
        return RandomTokenizer(self, model)


@dataclass(frozen=True)
class DistilledConfig(TokenizerConfig):
    """An encoder and codes distilled from a model: further iterations. `--from` loads their weights.

    Attributes:
        kind: the name of this tokenizer in recipes.
    """

    kind: Literal["distilled"] = "distilled"

    def build(self, model: AudioEncoderConfig) -> DistilledTokenizer:
        return DistilledTokenizer(self, model).requires_grad_(False)


TOKENIZERS: Parts[TokenizerConfig] = Parts(
    "tokenizer",
    TokenizerConfig,  # type: ignore[type-abstract]
    {"random": "aasp.pretrain.tokenizers:RandomConfig", "distilled": "aasp.pretrain.tokenizers:DistilledConfig"},
)


class RandomTokenizer(Tokenizer):
    """The nearest random code to a random projection of the patch, its level included."""

    projection: Tensor

    def __init__(self, config: RandomConfig, model: AudioEncoderConfig) -> None:
        super().__init__()
        values = model.stem.patch[0] * model.stem.patch[1]
        self.register_buffer("projection", torch.randn(config.width, values))
        self.codebook = UnitCodebook(config.count, config.width, decay=1.0)
        self.codebook.centres.normal_()

    def vectors(self, clips: Clips, stem: Stem) -> Tensor:
        patches_BNP = stem.cut(clips.mel).flatten(1, 2).flatten(2)
        with without_autocast(patches_BNP):
            return functional.normalize(functional.linear(patches_BNP.float(), self.projection), dim=-1)


class DistilledTokenizer(Tokenizer):
    """The nearest code to the projection of an encoder's token."""

    def __init__(self, config: DistilledConfig, model: AudioEncoderConfig) -> None:
        super().__init__()
        self.encoder = AudioEncoder(model)
        width = model.encoder.width
        self.project = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, config.width))
        self.codebook = UnitCodebook(config.count, config.width, decay=DECAY)

    def vectors(self, clips: Clips, stem: Stem) -> Tensor:
        return functional.normalize(self.project(encode_all(self.encoder, clips).last[:, 1:]).float(), dim=-1)


class UnitCodebook(Codebook):
    """A codebook of directions: the code of a vector is the one with the smallest angle to it."""

    @property
    def directions(self) -> Tensor:
        """The codes, (K, E), of unit length."""
        return functional.normalize(self.centres, dim=-1)

    def nearest(self, rows: Tensor) -> Tensor:
        return (rows @ self.directions.T).argmax(1)
