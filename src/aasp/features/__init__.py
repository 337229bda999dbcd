"""Front ends: waveforms in, normalised frames out."""

from __future__ import annotations

from aasp.features.contract import FrontEnd, FrontEndConfig
from aasp.parts import Parts

FRONTENDS: Parts[FrontEndConfig] = Parts(
    "front end",
    FrontEndConfig,  # type: ignore[type-abstract]
    {
        "logmel": "aasp.features.logmel:LogMelConfig",
        "pcen": "aasp.features.pcen:PCENConfig",
        "stft": "aasp.features.bands:STFTConfig",
        "cqt": "aasp.features.bands:LogFrequencyConfig",
        "leaf": "aasp.features.leaf:LEAFConfig",
        "multires": "aasp.features.multires:MultiresConfig",
        "sblu": "aasp.features.sblu:SBLUBankConfig",
        "ranged": "aasp.features.ranged:RangedConfig",
    },
    unnamed="logmel",
)

__all__ = ["FRONTENDS", "FrontEnd", "FrontEndConfig"]
