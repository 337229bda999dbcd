"""Systems after EAT and M2D, which predict a teacher's tokens, as published and at the size of `aasp_tiny`.

Numbers are those of the papers and of the configurations published with them. Where sums stand there, weights are those
that the sums amount to as means, and norms are clipped accordingly (see `eat_base`). In the tiny ones sizes, views,
rates and momenta are ours: those of `eat_tiny` and `m2d_tiny`, so that the systems differ in what they predict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aasp.features.logmel import LogMelConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.ema import AverageConfig
from aasp.pretrain.methods.eat import EATConfig, EATLossesConfig
from aasp.pretrain.methods.m2d import M2DConfig
from aasp.pretrain.methods.matpac import MATPACConfig
from aasp.pretrain.methods.sslam import SSLAMConfig, SSLAMLossesConfig
from aasp.pretrain.predictors import DecoderConfig, PredictorConfig
from aasp.pretrain.prototypes import PrototypesConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.scale import base, tiny, vit_base
from aasp.pretrain.views import MaskingConfig
from aasp.training.optim import OptimizerConfig

AVERAGE = AverageConfig(momentum=0.9998, final_momentum=0.99999, ramp=0.25)
POST = replace(vit_base(encoder=EncoderConfig(768, 12, 12, norm="post")), pooling="cls")
M2D = vit_base(6.08, frontend=LogMelConfig.htk80())


def eat_large() -> Recipe:
    """EAT-Large: 1024 x 24, 25 % seen, three layers of 5 x 5 in the decoder, momentum rising over 150 k steps."""
    method = EATConfig(
        masking=MaskingConfig(views=16, visible=0.25, surplus=0.10),
        teacher=replace(AVERAGE, ramp=150 / 400),
        predictor=DecoderConfig(depth=3, kernel=5),
        losses=EATLossesConfig(utterance=192.0),
    )
    model = replace(POST, encoder=EncoderConfig(1024, 24, 16, norm="post"))
    optimizer = OptimizerConfig(lr=4e-4, warmup=53_333 / 400_000, clip=4 / 1024**0.5)
    return base("eat_large", "EAT-Large", method, optimizer, 48, 400_000, model)


def data2vec_base() -> Recipe:
    """data2vec 2.0 (Baevski et al. 2023), its ViT-Base for images, on log-mels: blocks of 3 x 3, targets of 10 layers.

    512 clips a step, 16 on each processor, 375,300 steps; front end, patches and class token are `eat_base`'s. Its
    class loss, 0.01 of a sum over a processor's 16 x 16 views, weighs 2.56 as a mean.
    """
    method = EATConfig(
        masking=MaskingConfig(views=16, block=3),
        teacher=replace(AVERAGE, ramp=100_000 / 375_300),
        losses=EATLossesConfig(utterance=2.56),
        layers=10,
    )
    optimizer = OptimizerConfig(lr=1e-3, warmup=50_040 / 375_300, betas=(0.9, 0.98), clip=4 / 768**0.5)
    return base("data2vec_base", "data2vec 2.0 on log-mels", method, optimizer, 512, 375_300, POST)


def data2vec_tiny() -> Recipe:
    """data2vec 2.0 with 4 views a clip, blocks of 2 x 2, targets of 5 of 6 layers; `eat_tiny` has 3 x 3 and all."""
    method = EATConfig(
        masking=MaskingConfig(views=4, visible=0.3, block=2),
        teacher=AverageConfig(momentum=0.98, final_momentum=0.998, ramp=1.0),
        predictor=DecoderConfig(depth=3),
        losses=EATLossesConfig(utterance=0.01),
        layers=5,
    )
    return tiny("data2vec_tiny", "data2vec 2.0 on two cores", method)


def sslam_base() -> Recipe:
    """SSLAM (Alex et al. 2025), its second stage, from `eat_base` (`--from`): 200 k steps at a tenth of EAT's rate.

    Eight views of each clip and of each mixture; the utterance loss, a sum over a processor's 12 x 8 views of clips,
    weighs 96 as a mean.
    """
    method = SSLAMConfig(
        masking=MaskingConfig(views=8),
        teacher=replace(AVERAGE, ramp=100_000 / 200_000),
        losses=SSLAMLossesConfig(utterance=96.0),
    )
    optimizer = OptimizerConfig(lr=5e-5, warmup=25 / 200, clip=4 / 768**0.5)
    return base("sslam_base", "SSLAM, which goes on from EAT with mixtures", method, optimizer, 48, 200_000, POST)


def sslam_tiny() -> Recipe:
    """SSLAM from `eat_tiny` (`--from`), with 2 views of each clip and mixture, at a third of its rate."""
    method = SSLAMConfig(
        masking=MaskingConfig(views=2, visible=0.3, block=3),
        teacher=AverageConfig(momentum=0.98, final_momentum=0.998, ramp=1.0),
        predictor=DecoderConfig(depth=3),
    )
    return tiny("sslam_tiny", "SSLAM, which goes on from EAT with mixtures, on two cores", method, lr=3e-4)


def m2d_base() -> Recipe:
    """M2D (Niizumi et al. 2023): 80 bins, 608 frames, 133 of 190 patches hidden, 300 epochs of 2,048 clips a step.

    Steps are those of 2,005,132 clips. Target and online network see the two halves that a mask parts; neither the
    paper nor this swaps them.
    """
    optimizer = OptimizerConfig(lr=3e-4 * 2048 / 256, warmup=20 / 300)
    return base("m2d_base", "M2D", M2DConfig(), optimizer, 2048, 293_720, M2D)


def matpac_base() -> Recipe:
    """MATPAC (Quelennec et al. 2025): M2D's masks and networks, 2,048 prototypes, at its configuration's rates."""
    optimizer = OptimizerConfig(lr=3e-4, warmup=19_654 / 294_816, clip=3.0)
    return base("matpac_base", "MATPAC, M2D with prototypes", MATPACConfig(), optimizer, 2048, 294_816, M2D)


def matpac_tiny() -> Recipe:
    """MATPAC with the views, predictor and momentum of `m2d_tiny` and 256 prototypes."""
    method = MATPACConfig(
        masking=MaskingConfig(views=2, visible=0.3, scheme="random"),
        teacher=AverageConfig(momentum=0.998, final_momentum=0.9998, ramp=1.0),
        predictor=PredictorConfig("self", depth=2, width=192, heads=3),
        prototypes=PrototypesConfig(count=256, hidden=256, bottleneck=64),
    )
    return tiny("matpac_tiny", "MATPAC, which predicts and classifies hidden patches, on two cores", method)


RECIPES: tuple[Callable[[], Recipe], ...] = (
    data2vec_tiny, data2vec_base, sslam_tiny, sslam_base, m2d_base, matpac_tiny, matpac_base, eat_large
)  # fmt: skip
