"""ATST's recipes. Source: Li & Li 2022 (ATST-Clip); Li, Shao & Li 2024 (ATST-Frame)."""

from __future__ import annotations

from dataclasses import replace

from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.methods.atst_clip import ATSTClipConfig
from aasp.pretrain.methods.atst_frame import ATSTFrameConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.pretrain.systems.byol_a import front_end
from aasp.pretrain.systems.scale import TINY_TEACHER, tiny
from aasp.stems.conv import ConvConfig
from aasp.training.optim import OptimizerConfig

FRAMES = ConvConfig(patch=(4, 128))


def atst_frame_base() -> Recipe:
    """ViT-Base on 250 tokens of 40 ms. Front end, patch, masks, momentum, learning rate, batch (144 on each of six
    GPUs), warm-up, stochastic depth and steps are as published (its README and code: 8e-5 per 256 clips). Decibels are
    scaled from -79.65..50.68 to -1..1. Ours: the weight decay, biases of queries, keys and values, and decibels without
    a limit of 80 below a clip's peak.
    """
    front = front_end(floor=1e-10, mean=-3.335, std=15.005)
    return Recipe(
        name="atst_frame_base",
        summary="768 x 12: ATST-Frame, hidden frames of one view distinguished from another",
        model=AudioEncoderConfig(
            front, ConvConfig(patch=(4, 64)), EncoderConfig(768, 12, 12, drop_path=0.1), window_seconds=10.0
        ),
        method=ATSTFrameConfig(),
        optimizer=OptimizerConfig(lr=8e-5 * 864 / 256, final_lr=1e-6, warmup=19_900 / 398_000, betas=(0.9, 0.999)),
        data=DataConfig(crop_seconds=9.99, batch=864),
        steps=398_000,
    )


def atst_clip_base() -> Recipe:
    """ViT-Base on two segments of six seconds, 150 tokens each. Front end, patch, segments and momentum are as
    published; so are (train_base.sh) the batch (256 on each of six GPUs), warm-up, steps, stochastic depth and a
    learning rate of 2e-4 per 256 clips. Ours: a constant weight decay (there it rises from 0.04 to 0.4), biases of
    queries, keys and values, and decibels without a limit of 80 below a segment's peak.
    """
    base = atst_frame_base()
    optimizer = OptimizerConfig(lr=1.2e-3, final_lr=1e-6, warmup=15_860 / 318_000, betas=(0.9, 0.999))
    return replace(
        base,
        name="atst_clip_base",
        summary="768 x 12: ATST-Clip, the class tokens of two segments of a clip",
        model=replace(base.model, window_seconds=6.0, pooling="cls"),
        method=ATSTClipConfig(seconds=5.99),
        optimizer=optimizer,
        data=DataConfig(crop_seconds=10.0, batch=1536),
        steps=318_000,
    )


def atst_frame_tiny() -> Recipe:
    """ATST-Frame at the size of `aasp_tiny`, on 48 tokens of all mel bins x 4 frames, without stochastic depth."""
    method = ATSTFrameConfig(teacher=TINY_TEACHER, head=(1024, 128))
    return tiny(
        "atst_frame_tiny", "ATST-Frame, hidden frames distinguished from another view, on two cores", method, FRAMES
    )


def atst_clip_tiny() -> Recipe:
    """ATST-Clip at the size of `aasp_tiny`: crops of twice its length, with two segments of its crop's length."""
    method = ATSTClipConfig(seconds=1.935, teacher=TINY_TEACHER, head=(1024, 128))
    recipe = tiny(
        "atst_clip_tiny", "ATST-Clip, class tokens of two segments, on two cores", method, FRAMES, crop_seconds=3.87
    )
    return replace(recipe, model=replace(recipe.model, pooling="cls", vector=()))


RECIPES = (atst_frame_tiny, atst_frame_base, atst_clip_tiny, atst_clip_base)
