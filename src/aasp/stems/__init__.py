"""Patch embeddings: log-mel in, tokens out."""

from __future__ import annotations

from aasp.parts import Parts
from aasp.stems.contract import Stem, StemConfig

STEMS: Parts[StemConfig] = Parts(
    "stem",
    StemConfig,  # type: ignore[type-abstract]
    {
        "conv": "aasp.stems.conv:ConvConfig",
        "lowpass": "aasp.stems.lowpass:LowpassConfig",
        "aape": "aasp.stems.aape:AaPEConfig",
        "ast": "aasp.stems.ast:ASTConfig",
        "polyphase": "aasp.stems.polyphase:PolyphaseConfig",
        "s4d": "aasp.stems.state_space:S4DConfig",
        "mamba": "aasp.stems.state_space:MambaConfig",
    },
)

__all__ = ["STEMS", "Stem", "StemConfig"]
