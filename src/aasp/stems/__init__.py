"""Patch embeddings: log-mel in, tokens out."""

from __future__ import annotations

from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.contract import Stem
from aasp.stems.conv import ConvConfig, ConvStem
from aasp.stems.lowpass import LowpassConfig, LowpassStem

StemConfig = ConvConfig | LowpassConfig | AaPEConfig


def build_stem(config: StemConfig, width: int, mels: int) -> Stem:
    """The stem that a configuration names.

    Args:
        config: of the stem.
        width: token width D.
        mels: mel bins M of the front end.
    """
    if isinstance(config, AaPEConfig):
        return AaPE(width, mels, config)
    if isinstance(config, LowpassConfig):
        return LowpassStem(width, mels, config)
    return ConvStem(width, mels, config)
