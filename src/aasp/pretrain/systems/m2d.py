"""M2D, and MATPAC, which adds a classification to it.

Settings are those of the papers and of the configurations published with them. Ours in M2D: gradients clipped to a norm
of 4 (its training loop clips none).
"""

from __future__ import annotations

from aasp.features.logmel import LogMelConfig
from aasp.pretrain.ema import EMAConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.m2d import M2DConfig
from aasp.pretrain.methods.matpac import MATPACConfig
from aasp.pretrain.predictors import PredictorConfig
from aasp.pretrain.prototypes import PrototypesConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.systems.scale import base, tiny, vit_base
from aasp.training.optim import OptimizerConfig

M2D = vit_base(6.08, frontend=LogMelConfig.slaney80())


def m2d_base() -> Recipe:
    """M2D (Niizumi et al. 2023): 80 bins, 608 frames, 133 of 190 patches hidden, 300 epochs of 2,048 clips per step.

    The steps are for 2,005,132 clips. The online network encodes the visible patches, the target network the hidden
    ones; as in the paper, they are not swapped. The target network averages all parameters; in their code its patch
    embedding and class token are the online network's.
    """
    optimizer = OptimizerConfig(lr=3e-4 * 2048 / 256, warmup=20 / 300)
    return base("m2d_base", "M2D", M2DConfig(), optimizer, 2048, 293_720, M2D)


def m2d_tiny() -> Recipe:
    """M2D at the size of `aasp_tiny`, with M2D's keep ratio and two views per clip."""
    method = M2DConfig(
        masking=MaskingConfig(views=2, keep_ratio=0.3, scheme="random"),
        teacher=EMAConfig(momentum=0.998, final_momentum=0.9998, ramp=1.0),
        predictor=PredictorConfig("self", depth=2, width=192, heads=3),
    )
    return tiny("m2d_tiny", "M2D, whose target network sees only what is hidden, on two cores", method)


def matpac_base() -> Recipe:
    """MATPAC (Quelennec et al. 2025): M2D's masks and networks, 2,048 prototypes, the rates of its configuration."""
    optimizer = OptimizerConfig(lr=3e-4, warmup=19_654 / 294_816, clip=3.0)
    return base("matpac_base", "MATPAC, M2D with prototypes", MATPACConfig(), optimizer, 2048, 294_816, M2D)


def matpac_tiny() -> Recipe:
    """MATPAC with the views, predictor and momentum of `m2d_tiny` and 256 prototypes."""
    method = MATPACConfig(
        masking=MaskingConfig(views=2, keep_ratio=0.3, scheme="random"),
        teacher=EMAConfig(momentum=0.998, final_momentum=0.9998, ramp=1.0),
        predictor=PredictorConfig("self", depth=2, width=192, heads=3),
        prototypes=PrototypesConfig(count=256, hidden=256, bottleneck=64),
    )
    return tiny("matpac_tiny", "MATPAC, which predicts and classifies hidden patches, on two cores", method)


RECIPES = (
    m2d_tiny,
    m2d_base,
    matpac_tiny,
    matpac_base,
)
