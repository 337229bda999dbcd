"""Patch embeddings: log-mel in, tokens out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aasp.stems.aape import AaPEConfig
    from aasp.stems.contract import Stem
    from aasp.stems.conv import ConvConfig

    StemConfig = ConvConfig | AaPEConfig


def build_stem(config: StemConfig, width: int, mels: int) -> Stem:
    """The stem that a configuration names.

    Args:
        config: of the stem.
        width: token width D.
        mels: mel bins M of the front end.
    """
    from aasp.stems.aape import AaPE, AaPEConfig
    from aasp.stems.conv import ConvStem

    if isinstance(config, AaPEConfig):
        return AaPE(width, mels, config)
    return ConvStem(width, mels, config)
