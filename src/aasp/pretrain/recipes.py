"""The named systems.

`aasp_base` has the paper's scale. The paper gives few settings; the others are EAT's front end, grid, masks, targets,
optimizer and schedule. All settings of the AaPE stem, the predictor, the loss weights and the teacher's utterance
target are ours. `aasp_small` and `aasp_large` differ from it in size; `aasp_tiny` is tuned to learn from hours of audio
on two cores (docs/decisions). `…_8k`, `…_32k` and `…_48k` differ only in the front end. Published systems are in
`systems`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from aasp.features.logmel import RATES, LogMelConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.parts import made
from aasp.pretrain.codebook import KMeansConfig
from aasp.pretrain.losses import LossesConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.pretrain.predictors import PredictorConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.pretrain.systems import asit, atst, beats, byol_a, cola, eat, lejepa, m2d, mae, ssast
from aasp.pretrain.systems.scale import PATCH, TINY_TEACHER, tiny
from aasp.pretrain.targets import TeacherConfig
from aasp.stems.aape import AaPEConfig
from aasp.training.optim import OptimizerConfig

BASE = AaSPConfig(
    masking=MaskingConfig(views=16, predicted=0.25),
    teacher=TeacherConfig(momentum=0.9998, final_momentum=0.99999, ramp=0.25),
    predictor=PredictorConfig(depth=6, width=512, heads=8),
)


def aasp_tiny() -> Recipe:
    """The whole method at 2.8 M parameters, tuned to learn from hours of audio on two cores.

    Its settings are ours (docs/decisions): patches with half the frames and twice the mel bins, random masks, patches
    and their codes in addition to the teacher's layers, positions in the predictor's context, utterance and contrastive
    losses with low weights, Muon.
    """
    method = AaSPConfig(
        masking=MaskingConfig(views=4, scheme="random"),
        teacher=TeacherConfig(**vars(TINY_TEACHER), frame="layers+patches"),
        predictor=PredictorConfig(depth=2, width=192, heads=3, context_positions=True),
        losses=LossesConfig(utterance=0.03, contrastive=0.03, temperature=0.1),
        codebook=KMeansConfig(),
    )
    return tiny("aasp_tiny", "learns from hours of audio on two cores", method, AaPEConfig(patch=PATCH))


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
    """`aasp_base` at half its width."""
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
            masking=replace(BASE.masking, keep_ratio=0.25, block_overlap=0.10),
            teacher=replace(BASE.teacher, layers=24, ramp=0.375),
        ),
        optimizer=replace(base.optimizer, lr=4e-4),
    )


def at_rate(recipe: Recipe, rate: int) -> Recipe:
    """The same system with the front end of another sampling rate, in Hz.

    Raises:
        AaspError: there is no front end of that rate.
    """
    front = LogMelConfig.at(rate)
    stem: Any = recipe.model.stem
    if front.bins % stem.patch[1]:  # 176 bins are not divisible by 32: square patches, with the same tokens per second
        stem = replace(stem, patch=(16, 16))
    return replace(
        recipe,
        name=f"{recipe.name}_{rate // 1000}k",
        summary=f"{recipe.name} at {rate // 1000} kHz: {front.mels} mel bins up to {front.high_hz / 1000:g} kHz",
        model=replace(recipe.model, frontend=front, stem=stem),
    )


SYSTEMS = (eat, m2d, mae, ssast, beats, byol_a, atst, cola, lejepa, asit)

RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__: recipe
    for recipe in (aasp_tiny, aasp_small, aasp_base, aasp_large, *chain.from_iterable(one.RECIPES for one in SYSTEMS))
} | {
    f"{recipe.__name__}_{rate // 1000}k": partial(lambda recipe, rate: at_rate(recipe(), rate), recipe, rate)
    for recipe in (aasp_tiny, aasp_base)
    for rate in RATES
    if rate != 16_000
}


def names() -> list[str]:
    """Names of all recipes, those for other sampling rates last."""
    return list(RECIPES)


def get(name: str) -> Recipe:
    """A recipe by name, or from a user's function, given as `package.module:name` or `file.py:name`.

    Raises:
        AaspError: there is none of that name, or the function does not return a recipe.
    """
    return made(name, RECIPES, "recipe", Recipe)
