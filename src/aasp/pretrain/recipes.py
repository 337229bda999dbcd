"""The named systems.

`aasp_base` is the paper's scale. Where the paper is silent, and that is nearly everywhere, it takes EAT's front end,
grid, masks, targets, optimizer and schedule; every number of the AaPE stem, the predictor, the loss weights and the
teacher's utterance target is ours. `aasp_small` and `aasp_large` differ from it in size, `aasp_tiny` is tuned to learn
from hours of audio on two cores (docs/decisions.md). `…_8k`, `…_32k` and `…_48k` differ in the front end alone. More
systems of others are in `recipes_latents` and `recipes_patches`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from aasp.features.logmel import RATES, LogMelConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.differential import DifferentialConfig
from aasp.model.encoder import EncoderConfig
from aasp.parts import made
from aasp.pretrain import recipes_latents, recipes_patches
from aasp.pretrain.ema import AverageConfig
from aasp.pretrain.losses import LossesConfig
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.pretrain.methods.eat import EATConfig, EATLossesConfig
from aasp.pretrain.methods.m2d import M2DConfig
from aasp.pretrain.predictors import DecoderConfig, PredictorConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.pretrain.scale import tiny
from aasp.pretrain.systems.asit import asit_base, asit_tiny
from aasp.pretrain.systems.atst import atst_clip_base, atst_clip_tiny, atst_frame_base, atst_frame_tiny
from aasp.pretrain.systems.byol_a import byol_a_base, byol_a_tiny
from aasp.pretrain.systems.cola import cola_base, cola_tiny
from aasp.pretrain.systems.lejepa import lejepa_base, lejepa_tiny
from aasp.pretrain.targets import TeacherConfig
from aasp.pretrain.views import MaskingConfig
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig
from aasp.training.optim import OptimizerConfig

BASE = AaSPConfig(
    masking=MaskingConfig(views=16, predicted=0.25),
    teacher=TeacherConfig(momentum=0.9998, final_momentum=0.99999, ramp=0.25),
    predictor=PredictorConfig(depth=6, width=512, heads=8),
)


def aasp_tiny() -> Recipe:
    """The whole method at 2.8 M parameters, tuned to learn from a few hours of audio on two cores.

    Its choices are ours: one-second crops and few blocks buy steps, a strong contrastive loss learns soonest, and the
    teacher's momentum is short enough for some thousand steps (docs/decisions.md).
    """
    method = AaSPConfig(
        masking=MaskingConfig(views=4, visible=0.3, block=3, predicted=0.25),
        teacher=TeacherConfig(momentum=0.98, final_momentum=0.998, ramp=1.0),
        predictor=PredictorConfig(depth=2, width=192, heads=3),
        losses=LossesConfig(frame=1.0, utterance=0.3, contrastive=1.0, temperature=0.1),
    )
    return tiny("aasp_tiny", "learns from hours of audio on two cores", method, AaPEConfig())


def aasp_base() -> Recipe:
    """The paper's scale: ViT-Base on ten seconds, 400 k steps of 48 clips x 16 masks."""
    return Recipe(
        name="aasp_base",
        summary="768 x 12: the paper's scale, on AudioSet with EAT's schedule",
        model=AudioEncoderConfig(
            stem=AaPEConfig(encoder_width=128, encoder_depth=2),
            encoder=EncoderConfig(768, 12, 12, norm="post"),
            window_seconds=10.24,
            pooling="cls",
        ),
        method=BASE,
        optimizer=OptimizerConfig(lr=5e-4, warmup=53_333 / 400_000),
        data=DataConfig(crop_seconds=10.255, batch=48),
        steps=400_000,
    )


def aasp_small() -> Recipe:
    """Half the width of `aasp_base`, all else equal."""
    base = aasp_base()
    return replace(
        base,
        name="aasp_small",
        summary="384 x 12: aasp_base at half its width",
        model=replace(base.model, stem=AaPEConfig(), encoder=EncoderConfig(384, 12, 6, norm="post")),
        method=replace(BASE, predictor=PredictorConfig(depth=6, width=384, heads=6)),
    )


def aasp_large() -> Recipe:
    """`aasp_base` at 1024 x 24, with EAT-Large's learning rate, masks and momentum ramp."""
    base = aasp_base()
    return replace(
        base,
        name="aasp_large",
        summary="1024 x 24: aasp_base grown, with EAT-Large's rates",
        model=replace(base.model, encoder=EncoderConfig(1024, 24, 16, norm="post")),
        method=replace(
            BASE,
            masking=replace(BASE.masking, visible=0.25, surplus=0.10),
            teacher=replace(BASE.teacher, layers=24, ramp=0.375),
        ),
        optimizer=replace(base.optimizer, lr=4e-4),
    )


def eat_base() -> Recipe:
    """EAT as published (Chen et al. 2024), but for the class token's deviation of 1 (ours: 0.02).

    Its losses are sums: one over channels, divided by their root, and over masked patches for the frame, over the views
    of one of its four processors (12 clips x 16) for the utterance. As means the utterance loss so weighs 192 times the
    frame loss, and gradients are the root of 768 times smaller: the norm that is clipped to 4 there is clipped to
    4 / 768 ** 0.5 here.
    """
    return Recipe(
        name="eat_base",
        summary="768 x 12: EAT, a convolutional decoder and sixteen clones of a clip",
        model=AudioEncoderConfig(
            stem=ConvConfig(), encoder=EncoderConfig(768, 12, 12, norm="post"), window_seconds=10.24, pooling="cls"
        ),
        method=EATConfig(
            masking=MaskingConfig(views=16),
            teacher=AverageConfig(momentum=0.9998, final_momentum=0.99999, ramp=0.25),
            losses=EATLossesConfig(utterance=192.0),
        ),
        optimizer=OptimizerConfig(lr=5e-4, warmup=53_333 / 400_000, clip=4 / 768**0.5),
        data=DataConfig(crop_seconds=10.255, batch=48),
        steps=400_000,
    )


def eat_tiny() -> Recipe:
    """EAT at the size of `aasp_tiny`, with its crops, steps, views and rates."""
    tiny = aasp_tiny()
    return replace(
        tiny,
        name="eat_tiny",
        summary="192 x 6: EAT on two cores",
        model=replace(tiny.model, stem=ConvConfig()),
        method=EATConfig(
            masking=MaskingConfig(views=4, visible=0.3, block=3),
            teacher=AverageConfig(momentum=0.98, final_momentum=0.998, ramp=1.0),
            predictor=DecoderConfig(depth=3),
            losses=EATLossesConfig(utterance=1.0),
        ),
    )


def m2d_tiny() -> Recipe:
    """M2D (Niizumi et al. 2023) at the size of `aasp_tiny`: its ratio of masks, two views of a clip."""
    tiny = aasp_tiny()
    return replace(
        tiny,
        name="m2d_tiny",
        summary="192 x 6: M2D, whose target network sees only what is hidden, on two cores",
        model=replace(tiny.model, stem=ConvConfig()),
        method=M2DConfig(
            masking=MaskingConfig(views=2, visible=0.3, scheme="random"),
            teacher=AverageConfig(momentum=0.998, final_momentum=0.9998, ramp=1.0),
            predictor=PredictorConfig("self", depth=2, width=192, heads=3),
        ),
    )


def asda_base() -> Recipe:
    """ASDA (Wang et al. 2025): EAT's method with differential attention; half the heads, each of twice the width."""
    base = eat_base()
    encoder = replace(base.model.encoder, heads=6, attention=DifferentialConfig())
    summary = "768 x 12: ASDA, EAT with differential attention"
    return replace(base, name="asda_base", summary=summary, model=replace(base.model, encoder=encoder))


def asda_tiny() -> Recipe:
    """`eat_tiny` with differential attention, in as many heads: its three can't be halved."""
    tiny = eat_tiny()
    encoder = replace(tiny.model.encoder, attention=DifferentialConfig())
    summary = "192 x 6: ASDA, EAT with differential attention, on two cores"
    return replace(tiny, name="asda_tiny", summary=summary, model=replace(tiny.model, encoder=encoder))


def at_rate(recipe: Recipe, rate: int) -> Recipe:
    """The same system with the front end of another sampling rate, in Hz.

    Raises:
        AaspError: there is no front end of that rate.
    """
    front = LogMelConfig.at(rate)
    return replace(
        recipe,
        name=f"{recipe.name}_{rate // 1000}k",
        summary=f"{recipe.name} at {rate // 1000} kHz: {front.mels} mel bins up to {front.high_hz / 1000:g} kHz",
        model=replace(recipe.model, frontend=front),
    )


VIEWS = (
    *(byol_a_tiny, byol_a_base, atst_frame_tiny, atst_frame_base, atst_clip_tiny, atst_clip_base),
    *(cola_tiny, cola_base, lejepa_tiny, lejepa_base, asda_tiny, asda_base, asit_tiny, asit_base),
)
"""Of the systems that learn from agreement between views, and of differential attention."""

OURS = (aasp_tiny, aasp_small, aasp_base, aasp_large, eat_tiny, eat_base, m2d_tiny)

RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__: recipe for recipe in (*OURS, *recipes_latents.RECIPES, *recipes_patches.RECIPES, *VIEWS)
} | {
    f"{recipe.__name__}_{rate // 1000}k": partial(lambda recipe, rate: at_rate(recipe(), rate), recipe, rate)
    for recipe in (aasp_tiny, aasp_base)
    for rate in RATES
    if rate != 16_000
}


def names() -> list[str]:
    """Names of all recipes, small to large, those of other sampling rates last."""
    return list(RECIPES)


def get(name: str) -> Recipe:
    """A recipe by name, or what a user's function returns that `package.module:name` or `file.py:name` stands for.

    Raises:
        AaspError: there is none of that name, or it makes no recipe.
    """
    return made(name, RECIPES, "recipe", Recipe)
