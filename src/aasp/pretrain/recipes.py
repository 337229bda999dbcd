"""The named systems.

`aasp_base` is the paper's scale. Where the paper is silent, and that is nearly everywhere, it takes EAT's front end,
grid, masks, targets, optimizer and schedule; every number of the AaPE stem, the predictor, the loss weights and the
teacher's utterance target is ours. `aasp_small` and `aasp_large` differ from it in size, `aasp_tiny` is tuned to learn
from hours of audio on two cores (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.parts import look_up
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.predictor import PredictorConfig
from aasp.pretrain.recipe import DataConfig, LossesConfig, Recipe
from aasp.pretrain.teacher import TeacherConfig
from aasp.stems.aape import AaPEConfig
from aasp.training.optim import OptimizerConfig


def aasp_tiny() -> Recipe:
    """The whole method at 2.8 M parameters, tuned to learn from a few hours of audio on two cores.

    Its choices are ours: one-second crops and few blocks buy steps, a strong contrastive loss learns soonest, and the
    teacher's momentum is short enough for some thousand steps (docs/decisions.md).
    """
    return Recipe(
        name="aasp_tiny",
        summary="192 x 6: learns from hours of audio on two cores",
        model=AudioEncoderConfig(encoder=EncoderConfig(192, 6, 3), window_seconds=0.96),
        masking=MaskingConfig(views=4, visible=0.3, block=3, predicted=0.25),
        teacher=TeacherConfig(momentum=0.98, final_momentum=0.998, ramp=1.0),
        predictor=PredictorConfig(depth=2, width=192, heads=3),
        losses=LossesConfig(frame=1.0, utterance=0.3, contrastive=1.0, temperature=0.1),
        optimizer=OptimizerConfig(lr=1e-3, warmup=0.1),
        data=DataConfig(crop_seconds=0.975, batch=32, gain_db=6.0),
        steps=2_600,
    )


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
        masking=MaskingConfig(views=16, predicted=0.25),
        teacher=TeacherConfig(momentum=0.9998, final_momentum=0.99999, ramp=0.25),
        predictor=PredictorConfig(depth=6, width=512, heads=8),
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
        predictor=PredictorConfig(depth=6, width=384, heads=6),
    )


def aasp_large() -> Recipe:
    """`aasp_base` at 1024 x 24, with EAT-Large's learning rate, masks and momentum ramp."""
    base = aasp_base()
    return replace(
        base,
        name="aasp_large",
        summary="1024 x 24: aasp_base grown, with EAT-Large's rates",
        model=replace(base.model, encoder=EncoderConfig(1024, 24, 16, norm="post")),
        masking=replace(base.masking, visible=0.25, surplus=0.10),
        teacher=replace(base.teacher, layers=24, ramp=0.375),
        optimizer=replace(base.optimizer, lr=4e-4),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__: recipe for recipe in (aasp_tiny, aasp_small, aasp_base, aasp_large)
}


def names() -> list[str]:
    """Names of all recipes, small to large."""
    return list(RECIPES)


def get(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        AaspError: there is none of that name.
    """
    return look_up(name, RECIPES, "recipe")()
