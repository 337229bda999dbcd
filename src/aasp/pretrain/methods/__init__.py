"""Pre-training methods: each defines masking, predictions and losses."""

from __future__ import annotations

from aasp.parts import Parts
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig

METHODS: Parts[MethodConfig] = Parts(
    "method",
    MethodConfig,  # type: ignore[type-abstract]
    {
        "aasp": "aasp.pretrain.methods.aasp:AaSPConfig",
        "eat": "aasp.pretrain.methods.eat:EATConfig",
        "m2d": "aasp.pretrain.methods.m2d:M2DConfig",
        "byol_a": "aasp.pretrain.methods.byol_a:BYOLAConfig",
        "atst_frame": "aasp.pretrain.methods.atst_frame:ATSTFrameConfig",
        "atst_clip": "aasp.pretrain.methods.atst_clip:ATSTClipConfig",
        "cola": "aasp.pretrain.methods.cola:COLAConfig",
        "lejepa": "aasp.pretrain.methods.lejepa:LeJEPAConfig",
        "asit": "aasp.pretrain.methods.asit:ASiTConfig",
        "matpac": "aasp.pretrain.methods.matpac:MATPACConfig",
        "sslam": "aasp.pretrain.methods.sslam:SSLAMConfig",
        "mae": "aasp.pretrain.methods.mae:MAEConfig",
        "beats": "aasp.pretrain.methods.beats:BEATsConfig",
        "beats_tokenizer": "aasp.pretrain.methods.beats_tokenizer:BEATsTokenizerConfig",
        "ssast": "aasp.pretrain.methods.ssast:SSASTConfig",
    },
)

__all__ = ["METHODS", "Gather", "Method", "MethodConfig"]
