"""EAT and systems related to it: EAT-Large, data2vec 2.0, SSLAM, ASDA.

Settings are those of the papers and of the configurations published with them. Where their losses are sums, weights and
the clipped norm are converted to the equivalent for means (see `eat_base`). Ours in the tiny ones: sizes, views, rates,
a norm clipped to 4, and unconverted weights of the utterance loss, 1 or 0.01. Converted, they would be 96 times as
large, and this loss would dominate the gradient; the two were not compared.
"""

from __future__ import annotations

from dataclasses import replace

from aasp.model.differential import DifferentialConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.ema import EMAConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.eat import EATConfig, EATLossesConfig
from aasp.pretrain.methods.sslam import SSLAMConfig, SSLAMLossesConfig
from aasp.pretrain.predictors import DecoderConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.pretrain.systems.scale import TINY_TEACHER, base, tiny, vit_base
from aasp.training.optim import OptimizerConfig

TEACHER = EMAConfig(momentum=0.9998, final_momentum=0.99999, ramp=0.25)
POST = replace(vit_base(encoder=EncoderConfig(768, 12, 12, norm="post")), pooling="cls")


def eat_base() -> Recipe:
    """EAT as published (Chen et al. 2024), except for two initial deviations: the class token's of 1 (ours: 0.02), and
    those of linear layers, 0.02 (ours: Xavier's).

    Its losses are sums: over channels, divided by the square root of their number, and over masked patches for the
    frame loss, over the views on one of its four GPUs (12 clips x 16) for the utterance loss. As means, the utterance
    loss has 192 times the weight of the frame loss, and gradients are smaller by a factor of 768 ** 0.5: the norm is
    clipped to 4 / 768 ** 0.5, not 4.
    """
    return Recipe(
        name="eat_base",
        summary="768 x 12: EAT, a convolutional decoder and sixteen clones of a clip",
        model=POST,
        method=EATConfig(
            masking=MaskingConfig(views=16),
            teacher=TEACHER,
            losses=EATLossesConfig(utterance=192.0),
        ),
        optimizer=OptimizerConfig(lr=5e-4, warmup=53_333 / 400_000, clip=4 / 768**0.5),
        data=DataConfig(crop_seconds=10.255, batch=48),
        steps=400_000,
    )


def eat_tiny() -> Recipe:
    """EAT at the size of `aasp_tiny`, with its crops, steps, views and rates."""
    method = EATConfig(
        masking=MaskingConfig(views=4, keep_ratio=0.3, block=3),
        teacher=TINY_TEACHER,
        predictor=DecoderConfig(depth=3),
        losses=EATLossesConfig(utterance=1.0),
    )
    return tiny("eat_tiny", "EAT on two cores", method)


def eat_large() -> Recipe:
    """EAT-Large: 1024 x 24, 25 % visible, three 5 x 5 layers in the decoder, momentum rising over 150 k steps."""
    method = EATConfig(
        masking=MaskingConfig(views=16, keep_ratio=0.25, block_overlap=0.10),
        teacher=replace(TEACHER, ramp=150 / 400),
        predictor=DecoderConfig(depth=3, kernel=5),
        losses=EATLossesConfig(utterance=192.0),
    )
    model = replace(POST, encoder=EncoderConfig(1024, 24, 16, norm="post"))
    optimizer = OptimizerConfig(lr=4e-4, warmup=53_333 / 400_000, clip=4 / 1024**0.5)
    return base("eat_large", "EAT-Large", method, optimizer, 48, 400_000, model)


def data2vec_base() -> Recipe:
    """data2vec 2.0 (Baevski et al. 2023), its ViT-Base for images, on log-mels: blocks of 3 x 3, targets of 10 layers.

    From its configuration (base_images_only_task.yaml): 16 clips on each of 16 GPUs, 375,300 steps, targets of its ten
    shared blocks, betas, momentum and warm-up. Front end, patches and class token are `eat_base`'s. Its class loss, a
    sum over the 16 x 16 views of a GPU with weight 0.01, has weight 2.56 as a mean.
    """
    method = EATConfig(
        masking=MaskingConfig(views=16, block=3),
        teacher=replace(TEACHER, ramp=100_000 / 375_300),
        losses=EATLossesConfig(utterance=2.56),
        layers=10,
    )
    optimizer = OptimizerConfig(lr=1e-3, warmup=50_040 / 375_300, clip=4 / 768**0.5)
    return base("data2vec_base", "data2vec 2.0 on log-mels", method, optimizer, 256, 375_300, POST)


def data2vec_tiny() -> Recipe:
    """data2vec 2.0 with 4 views per clip, blocks of 2 x 2, targets of 5 of 6 layers; in `eat_tiny`, 3 x 3 and all 6."""
    method = EATConfig(
        masking=MaskingConfig(views=4, keep_ratio=0.3, block=2),
        teacher=TINY_TEACHER,
        predictor=DecoderConfig(depth=3),
        losses=EATLossesConfig(utterance=0.01),
        layers=5,
    )
    return tiny("data2vec_tiny", "data2vec 2.0 on two cores", method)


def sslam_base() -> Recipe:
    """SSLAM (Alex et al. 2025), its second stage, from `eat_base` (`--from`): 200 k steps at a tenth of EAT's rate.

    Eight views of each clip and of each mixture; the utterance loss, a sum over the 12 x 8 x 2 views on a GPU in its
    code, has weight 192 as a mean.
    """
    method = SSLAMConfig(
        masking=MaskingConfig(views=8),
        teacher=replace(TEACHER, ramp=100_000 / 200_000),
        losses=SSLAMLossesConfig(utterance=192.0),
    )
    optimizer = OptimizerConfig(lr=5e-5, warmup=25 / 200, clip=4 / 768**0.5)
    return base("sslam_base", "SSLAM, which continues EAT with mixtures", method, optimizer, 48, 200_000, POST)


def sslam_tiny() -> Recipe:
    """SSLAM from `eat_tiny` (`--from`), with 2 views of each clip and mixture, at a third of its rate."""
    method = SSLAMConfig(
        masking=MaskingConfig(views=2, keep_ratio=0.3, block=3),
        teacher=TINY_TEACHER,
        predictor=DecoderConfig(depth=3),
    )
    return tiny("sslam_tiny", "SSLAM, which continues EAT with mixtures, on two cores", method, lr=6e-4)


def asda_base() -> Recipe:
    """ASDA (Wang et al. 2025): EAT with differential attention of a constant weight and MLPs of 3.5 times the width.

    From its code and configuration (modules.py, pretraining_AS2M.yaml): 12 heads of width 64 for both maps, 800,000
    steps, warm-up and ramp. Its utterance loss, half a sum over 12 x 16 views, has weight 96 as a mean. The rest is
    `eat_base`'s.
    """
    eat = eat_base()
    encoder = replace(eat.model.encoder, mlp_ratio=3.5, attention=DifferentialConfig(fixed=0.1))
    method = EATConfig(
        masking=MaskingConfig(views=16),
        teacher=replace(TEACHER, ramp=100_000 / 800_000),
        losses=EATLossesConfig(utterance=96.0),
    )
    optimizer = replace(eat.optimizer, warmup=106_666 / 800_000)
    model = replace(eat.model, encoder=encoder)
    summary = "768 x 12: ASDA, EAT with differential attention"
    return replace(
        eat, name="asda_base", summary=summary, model=model, method=method, optimizer=optimizer, steps=800_000
    )


def asda_tiny() -> Recipe:
    """`eat_tiny` with ASDA's attention; the ratio of the MLP stays 4 (ours), as in the other tiny recipes."""
    eat = eat_tiny()
    encoder = replace(eat.model.encoder, attention=DifferentialConfig(fixed=0.1))
    summary = "192 x 6: ASDA, EAT with differential attention, on two cores"
    return replace(eat, name="asda_tiny", summary=summary, model=replace(eat.model, encoder=encoder))


RECIPES = (
    eat_tiny,
    eat_base,
    eat_large,
    data2vec_tiny,
    data2vec_base,
    sslam_tiny,
    sslam_base,
    asda_tiny,
    asda_base,
)
